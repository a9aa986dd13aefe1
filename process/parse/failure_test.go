package parse

import (
	"testing"

	"slipstream/telemetry"
)

// Reports of runtimes are told from what a function logs of an error.
func TestFailure(t *testing.T) {
	const id = `2026-01-01T00:00:00.000Z\taba1328d-5831-11e8-833f-b5cd5e8c0a59\t`
	for body, want := range map[string]string{
		`"` + id + `ERROR\tInvoke Error \t{\"errorType\":\"TypeError\",\"errorMessage\":\"x\",\"stack\":[]}\n"`: "TypeError",
		`"` + id + `ERROR\tUncaught Exception \t{\"errorType\":\"Error\"}\n"`:                                   "Error",
		`"[ERROR] ValueError: boom\nTraceback (most recent call last):\n  File \"a.py\"\n"`:                     "ValueError",
		`"[ERROR] Exception\nTraceback (most recent call last):\n"`:                                             "Exception",
		`{"level":"ERROR","errorType":"E","errorMessage":"x","stackTrace":["a"],"requestId":"1"}`:               "E",
		`{"log_level":"ERROR","errorMessage":"x","errorType":"E","requestId":"1","stackTrace":[]}`:              "E",
		`{"level":"ERROR","message":"Invoke Error","errorType":"E","errorMessage":"x","stack":[]}`:              "E",
		`"` + id + `ERROR\tdealt with Error: x\n"`:                                                              "",
		`"` + id + `INFO\tInvoke Error \t{\"errorType\":\"E\"}\n"`:                                              "",
		`"[ERROR]\t` + id + `dealt with\nTraceback (most recent call last):\n"`:                                 "",
		`"[ERROR] dealt with it\nTraceback (most recent call last):\n"`:                                         "",
		`{"level":"ERROR","message":"dealt with","errorType":"E","errorMessage":"x","stackTrace":[]}`:           "",
		`{"level":"ERROR","message":"dealt with","errorType":"E","stack":[]}`:                                   "",
		`{"level":"ERROR","errorType":"E","errorMessage":"x"}`:                                                  "",
		`{"level":"INFO","errorType":"E","errorMessage":"x","stackTrace":[]}`:                                   "",
		`"ERROR"`: "", `""`: "", `{}`: "", `"[ERROR] "`: "",
	} {
		l := telemetry.Log{Type: "function", RequestID: "1", Body: []byte(body)}
		var p Parser
		p.Parse(&l)
		class, ok := Failure(&l)
		if string(class) != want && (ok || want != "") || ok != (want != "") {
			t.Errorf("%s: %q %v, want %q", body, class, ok, want)
		}
	}
}

func FuzzFailure(f *testing.F) {
	for _, body := range []string{`"[ERROR] E: x\nTraceback (most recent call last)"`, `{"errorType":"E","stack":[]}`,
		`"`, ``} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		l := telemetry.Log{Type: "function", Body: body}
		var p Parser
		p.Parse(&l)
		if class, ok := Failure(&l); ok && l.Level < telemetry.LevelError {
			t.Errorf("%q of level %d is a failure of %q", body, l.Level, class)
		}
	})
}
