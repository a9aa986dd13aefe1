package process

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipstream/process/filter"
	"slipstream/process/rate"
	"slipstream/process/redact"
	"slipstream/process/sample"
	"slipstream/telemetry"
)

var epoch = time.Date(2026, 10, 1, 9, 0, 0, 0, time.UTC)

// through gives what comes out of a policy, line by line: level and body.
func through(t *testing.T, p LogPolicy, lines ...string) (l *Logs, out []string) {
	t.Helper()
	l = NewLogs(p, func(log *telemetry.Log) { out = append(out, fmt.Sprintf("%d %s", log.Level, log.Body)) })
	for i, line := range lines {
		l.Take(&telemetry.Log{Type: "function", RequestID: "r", Time: epoch, Body: []byte(line)},
			epoch.Add(time.Duration(i)*time.Millisecond))
	}
	return l, out
}

func drops(t *testing.T, text string) *filter.Filter {
	t.Helper()
	f, errs := filter.New(text)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	return f
}

// Redaction comes first but for metrics, whose numbers a mask would hide: nothing
// behind it has seen a secret, a cut cannot hide half of one, and a filter sees
// what is left.
func TestOrderOfLogs(t *testing.T) {
	policy, errs := redact.New(redact.Config{})
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	secret := "ghp_0123456789abcdefghijABCDEFGHIJ012345"
	var seen []string
	p := LogPolicy{
		Redactor: policy, Record: 60, Parse: true,
		Filter: drops(t, `[{"drop":{"message":"ghp_"}},{"drop":{"level":"debug"}}]`),
		Metrics: func(l *telemetry.Log) bool {
			seen = append(seen, string(l.Body))
			return strings.Contains(string(l.Body), "_aws")
		},
	}
	l, out := through(t, p, `{"level":"warn","msg":"token `+secret+`"}`, `{"level":"debug","msg":"x"}`,
		`"[ERROR] `+strings.Repeat("x", 30)+" "+secret+`"`, `{"_aws":{},"level":"warn"}`, `"plain"`)
	want := []string{`13 {"level":"warn","msg":"token ****"}`,
		`17 "[ERROR] ` + strings.Repeat("x", 30) + ` ****"`, `0 "plain"`}
	if diff := cmp.Diff(want, out); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if !strings.Contains(strings.Join(seen, ""), secret) || len(seen) != 5 { // as they came: points are redacted apart
		t.Errorf("metrics were made of %q", seen)
	}
	wantCounts := map[string]int{"redacted": 2, "metric_only": 1, "filtered": 1}
	if diff := cmp.Diff(wantCounts, l.Counts()); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
}

// A private key that is printed line by line is a record a line.
func TestKeysInLines(t *testing.T) {
	policy, errs := redact.New(redact.Config{})
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	line := `"` + strings.Repeat("Abc3+/x9", 8) + `\n"`
	_, out := through(t, LogPolicy{Redactor: policy}, `"before\n"`, `"key: -----BEGIN RSA PRIVATE KEY-----\n"`,
		`"Proc-Type: 4,ENCRYPTED\n"`, line, line, `"a line between\n"`, `"Ab0=\n"`, `"-----END RSA PRIVATE KEY-----\n"`,
		`"after\n"`, line)
	got := strings.Join(out, " ")
	if strings.Count(got, "Abc3") != 8 || strings.Contains(got, "Ab0=") || strings.Count(got, "****") < 4 {
		t.Errorf("%s", got)
	}
	for _, want := range []string{"before", "Proc-Type", "a line between", "after"} {
		if !strings.Contains(got, want) {
			t.Errorf("%s is gone: %s", want, got)
		}
	}
	_, out = through(t, LogPolicy{Redactor: policy}, `"-----BEGIN PUBLIC KEY-----\n"`, line)
	if got := strings.Join(out, " "); strings.Contains(got, "****") {
		t.Errorf("a public key became %s", got)
	}
}

// A body that is too long is cut, is still JSON, and is counted.
func TestLongLogs(t *testing.T) {
	l, out := through(t, LogPolicy{Record: 64}, `{"a":"`+strings.Repeat("x", 100)+`","b":1}`, `"short"`)
	if len(out) != 2 || len(out[0]) > 70 || !strings.HasSuffix(out[0], "}") || l.Counts()["record_too_long"] != 1 {
		t.Errorf("%q, %v", out, l.Counts())
	}
}

// Whatever is dropped before the sampler sees it is still noted there: it may be
// the error that keeps the invocation.
func TestErrorsKeepTheirInvocation(t *testing.T) {
	limiter, errs := rate.NewLimiter(`[{"limit":{"level":"error"},"records":1,"every":"1h"}]`, time.Hour)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	fail := `{"level":"error","msg":"no"}`
	for name, p := range map[string]LogPolicy{
		"filtered": {Filter: drops(t, `[{"drop":{"level":"error"}}]`)}, "limited": {Limiter: limiter},
		"repeated": {Repeats: time.Minute}, "passed on": {},
	} {
		p.Parse, p.Sample = true, &sample.Config{OneIn: 0}
		lines := []string{`"one"`, fail, fail, `"two"`}
		if name == "limited" {
			limiter.Allow(&telemetry.Log{Level: telemetry.LevelError}, epoch) // the one
		}
		l, out := through(t, p, lines...)
		if text := strings.Join(out, "; "); !strings.HasPrefix(text, `0 "one"`) || !strings.HasSuffix(text, `0 "two"`) {
			t.Errorf("%s: %s", name, text)
		}
		if n := l.Counts()["not_sampled"]; n != 0 {
			t.Errorf("%s: %v", name, l.Counts())
		}
	}
}

// Every record that came in is emitted, counted, or held; at the end nothing is.
func TestLogsAddUp(t *testing.T) {
	p := LogPolicy{Parse: true, Filter: drops(t, `[{"drop":{"level":"debug"}}]`), Repeats: time.Minute,
		Sample: &sample.Config{OneIn: 0, SamplePlatform: true}}
	emitted, summaries := 0, 0
	l := NewLogs(p, func(log *telemetry.Log) {
		if strings.Contains(string(log.Body), `"repeated":`) {
			summaries++
			return
		}
		emitted++
	})
	taken := 0
	say := func(id, kind, body string) {
		taken++
		l.Take(&telemetry.Log{Type: kind, RequestID: id, Time: epoch, Body: []byte(body)}, epoch)
	}
	for _, id := range []string{"good", "bad", "open"} {
		for range 5 {
			say(id, "function", `"same"`)
		}
		say(id, "function", `{"level":"debug","msg":"x"}`)
		if id == "bad" {
			say(id, "function", `{"level":"fatal","msg":"x"}`)
		}
		if id != "open" {
			say(id, "platform.runtimeDone", `{"status":"success"}`)
			say(id, "platform.report", `{"status":"success"}`)
		}
	}
	if held, bytes := l.Held(); held == 0 || bytes == 0 {
		t.Error("nothing is held")
	}
	l.Finish(epoch)
	held, _ := l.Held()
	counts := l.Counts()
	// A summary of the good invocation is dropped with it: it is one more that was made, not one that came.
	if got := emitted + counts["filtered"] + counts["repeated"] + counts["not_sampled"] - 1; held != 0 || got != taken {
		t.Errorf("%d taken; %d emitted, %d summaries, %d held, %v", taken, emitted, summaries, held, counts)
	}
	if summaries != 2 || !l.Deadline().IsZero() {
		t.Errorf("%d summaries; deadline %v", summaries, l.Deadline())
	}
}

// Lines with nothing to do, and lines that go nowhere, cost no memory.
func TestLogsAllocateNothing(t *testing.T) {
	policy, errs := redact.New(redact.Config{})
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	l := NewLogs(LogPolicy{Redactor: policy, Record: 1 << 20, Parse: true,
		Filter: drops(t, `[{"drop":{"level":"debug"}}]`)}, func(*telemetry.Log) {})
	for name, body := range map[string]string{
		"clean text": `"order 17 was placed"`, "clean JSON": `{"level":"info","msg":"order 17 was placed","ms":12.5}`,
		"filtered": `{"level":"debug","msg":"cache"}`,
	} {
		log := telemetry.Log{Type: "function", RequestID: "r", Time: epoch}
		n := testing.AllocsPerRun(100, func() {
			log.Body, log.Message, log.Fields, log.Level = []byte(nil), nil, nil, 0
			log.Body = append(log.Body, body...)[:len(body):len(body)]
			l.Take(&log, epoch)
		})
		if n > 1 { // the one is the test's own copy
			t.Errorf("%s: %v allocations", name, n-1)
		}
	}
}

// A buffer that one record has made large does not stay.
func TestLogsGiveLargeBuffersBack(t *testing.T) {
	l := NewLogs(LogPolicy{Redactor: rules{}}, func(*telemetry.Log) {})
	take := func(body string) {
		l.Take(&telemetry.Log{Type: "function", Body: []byte(body)}, epoch)
	}
	take(`{"password":"x","hunter2":"` + strings.Repeat("x", 2*keptBuffer) + `"}`)
	take(`{"password":"x","hunter2":"x"}`)
	if cap(l.redacted) > keptBuffer {
		t.Errorf("%d bytes are kept", cap(l.redacted))
	}
}

// Another Redactor holds from the next record on.
func TestLogsTakeAnotherRedactor(t *testing.T) {
	l, out := through(t, LogPolicy{}, `{"password":"x"}`)
	var after []string
	l.emit = func(log *telemetry.Log) { after = append(after, string(log.Body)) }
	l.on = l.emit
	l.Redact(rules{})
	l.Take(&telemetry.Log{Type: "function", Body: []byte(`{"password":"x","a":"hunter2"}`)}, epoch)
	if out[0] != `0 {"password":"x"}` || len(after) != 1 || !strings.Contains(after[0], `"password":"****"`) {
		t.Errorf("%q, then %q", out, after)
	}
}
