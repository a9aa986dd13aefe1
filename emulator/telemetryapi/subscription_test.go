package telemetryapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestSubscriptionAnswers(t *testing.T) {
	const good = `{"protocol":"HTTP","URI":"http://sandbox.localdomain:8080/x"}`
	invalid := func(api, message string) string {
		typ := map[string]string{apiTelemetry: "ValidationError", apiLogs: "Logs.ValidationError"}[api]
		return fmt.Sprintf(`{"errorMessage":%q,"errorType":%q}`, message, typ)
	}
	for _, c := range []struct {
		name, api, body string
		code            int
		message         string // of the validation error
	}{
		{"complete", apiTelemetry, subscriptionTo(good), 200, ""},
		{"plain sandbox", apiTelemetry, subscriptionTo(`{"protocol":"HTTP","URI":"http://sandbox:8999/"}`), 200, ""},
		{"without path", apiTelemetry, subscriptionTo(`{"protocol":"HTTP","URI":"http://sandbox:8999"}`), 200, ""},
		{"TCP", apiTelemetry, subscriptionTo(`{"protocol":"TCP","port":9000}`), 200, ""},
		{"method and encoding, as some send", apiTelemetry,
			subscriptionTo(`{"protocol":"HTTP","URI":"http://sandbox:1/","method":"PUT","encoding":"JSON"}`), 200, ""},
		{"newest schema", apiTelemetry, subscriptionTo(good, `"schemaVersion":"2025-01-29"`), 200, ""},
		{"no buffering", apiTelemetry,
			`{"schemaVersion":"2022-07-01","types":["platform"],"destination":` + good + `}`, 200, ""},
		{"the reference's 400", apiTelemetry,
			subscriptionTo(`{"protocol":"HTTP","URI":"http://sandbox.localdomain"}`, `"types":[]`), 400,
			"URI port is not provided; types should not be empty"},
		{"no schema", apiTelemetry, `{"types":["platform"],"destination":` + good + `}`, 400,
			"schemaVersion is not provided"},
		{"schema of the Logs API", apiTelemetry, subscriptionTo(good, `"schemaVersion":"2021-03-18"`), 400,
			`schemaVersion "2021-03-18" is not supported, use one of 2022-07-01, 2022-12-13, 2025-01-29`},
		{"unknown type", apiTelemetry, subscriptionTo(good, `"types":["platform","logs"]`), 400,
			`type "logs" is not supported`},
		{"https", apiTelemetry, subscriptionTo(`{"protocol":"HTTP","URI":"https://sandbox:1"}`), 400,
			`URI scheme "https" is not supported, use http`},
		{"outside", apiTelemetry, subscriptionTo(`{"protocol":"HTTP","URI":"http://example.com:80"}`), 400,
			`URI host "example.com" is not supported, use sandbox.localdomain`},
		{"reserved port", apiTelemetry, subscriptionTo(`{"protocol":"HTTP","URI":"http://sandbox:9001"}`), 400,
			"URI port 9001 is reserved"},
		{"port out of range", apiTelemetry, subscriptionTo(`{"protocol":"HTTP","URI":"http://sandbox:65536"}`), 400,
			"URI port 65536 should be between 1 and 65535"},
		{"no URI", apiTelemetry, subscriptionTo(`{"protocol":"HTTP"}`), 400, "URI is not provided or not valid"},
		{"no destination", apiTelemetry, subscriptionTo(`{}`), 400, "destination protocol is not provided"},
		{"UDP", apiTelemetry, subscriptionTo(`{"protocol":"UDP"}`), 400,
			`destination protocol "UDP" is not supported, use HTTP or TCP`},
		{"TCP without port", apiTelemetry, subscriptionTo(`{"protocol":"TCP"}`), 400,
			"port 0 should be between 1 and 65535"},
		{"bounds from below", apiTelemetry,
			subscriptionTo(good, `"buffering":{"maxItems":999,"maxBytes":262143,"timeoutMs":24}`), 400,
			"maxItems 999 should be between 1000 and 10000; maxBytes 262143 should be between 262144 and 1048576; " +
				"timeoutMs 24 should be between 25 and 30000"},
		{"bounds from above", apiTelemetry,
			subscriptionTo(good, `"buffering":{"maxItems":10001,"maxBytes":1048577,"timeoutMs":30001}`), 400,
			"maxItems 10001 should be between 1000 and 10000; maxBytes 1048577 should be between 262144 and 1048576; " +
				"timeoutMs 30001 should be between 25 and 30000"},
		{"logs without schema", apiLogs, `{"types":["function"],"destination":` + good + `}`, 200, ""},
		{"logs by PUT", apiLogs, subscriptionTo(`{"protocol":"HTTP","URI":"http://sandbox:1/","method":"PUT"}`,
			`"schemaVersion":"2021-03-18"`), 200, ""},
		{"logs by GET", apiLogs, subscriptionTo(`{"protocol":"HTTP","URI":"http://sandbox:1/","method":"GET"}`,
			`"schemaVersion":"2021-03-18"`), 400, `destination method "GET" is not supported`},
		{"logs with the other schema", apiLogs, subscriptionTo(good), 400,
			`schemaVersion "2022-12-13" is not supported, use one of 2020-08-15, 2021-03-18`},
		{"not JSON", apiTelemetry, `{`, 400, "request body is not a valid subscription: unexpected end of JSON input"},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := `"OK"`
			if c.code != 200 {
				want = invalid(c.api, c.message)
			}
			code, body := put(newHub(t, Config{}), c.api, "e", c.body)
			if d := cmp.Diff(unquote(want), unquote(body)); code != c.code || d != "" {
				t.Errorf("%d %s", code, d)
			}
		})
	}
}

// unquote lets JSON be compared whatever it escapes.
func unquote(text string) any {
	var v any
	if json.Unmarshal([]byte(text), &v) != nil {
		return text
	}
	return v
}

func TestSubscriptionIsRefused(t *testing.T) {
	h, r := newHub(t, Config{}), newReceiver(t, nil)
	if code, _ := put(h, apiTelemetry, "", r.request()); code != 403 {
		t.Errorf("without an identifier: %d", code)
	}
	w := httptest.NewRecorder()
	h.ServeTelemetry(w, httptest.NewRequest(http.MethodPost, "/", nil))
	if w.Code != 405 {
		t.Errorf("POST: %d", w.Code)
	}
	subscribe(t, h, apiTelemetry, "e", r.request())
	if code, body := put(h, apiLogs, "e", r.request(`"schemaVersion":"2021-03-18"`)); code != 400 ||
		!strings.Contains(body, "subscribed through the other API already") {
		t.Errorf("second API: %d %s", code, body)
	}
	if code, body := put(h, apiTelemetry, "f", strings.Repeat(" ", maxSubscription+1)); code != 400 {
		t.Errorf("huge body: %d %s", code, body)
	}
	h.EndInit()
	for api, title := range map[string]string{apiTelemetry: "Telemetry", apiLogs: "Logs"} {
		want := `{"errorMessage":"` + title + ` API subscription is closed already","errorType":"` + title +
			`.SubscriptionClosed"}`
		if code, body := put(h, api, "late", "not even JSON"); code != 403 || body != want {
			t.Errorf("after Init: %d %s", code, body)
		}
	}
}

func TestLateSubscriberGetsTheEventsOfInit(t *testing.T) {
	h, early, late := newHub(t, Config{}), newReceiver(t, nil), newReceiver(t, nil)
	h.Platform("platform.initStart", told, struct{}{})
	subscribe(t, h, apiTelemetry, "early", early.request())
	write(t, h.Output("extension"), "starting\n")
	subscribe(t, h, apiTelemetry, "late", late.request(`"types":["platform"]`))
	h.EndInit()
	h.Platform("platform.initReport", told, struct{}{})
	types := func(r *receiver) string {
		all, err := join(r.got())
		if err != nil {
			t.Fatal(err)
		}
		var s []string
		for _, e := range all {
			s = append(s, strings.TrimPrefix(e.Type, "platform."))
		}
		return strings.Join(s, " ")
	}
	const both = "initStart telemetrySubscription telemetrySubscription initReport"
	eventually(t, "late: "+both, func() bool { return types(late) == both })
	want := "initStart telemetrySubscription extension telemetrySubscription initReport"
	eventually(t, "early: "+want, func() bool { return types(early) == want })
}

func TestRepeatedSubscription(t *testing.T) {
	h, a, b := newHub(t, Config{}), newReceiver(t, nil), newReceiver(t, nil)
	out := h.Output("function")
	write(t, out, "one\n")
	subscribe(t, h, apiTelemetry, "e", a.request(`"types":["function"]`))
	subscribe(t, h, apiTelemetry, "e", a.request(`"types":["function"]`))
	eventually(t, "one, once", func() bool { return strings.Count(strings.Join(a.got(), ""), "one") == 1 })
	subscribe(t, h, apiTelemetry, "e", b.request(`"types":["function"]`))
	write(t, out, "two\n")
	eventually(t, "both at the new destination", func() bool {
		all := strings.Join(b.got(), "")
		return strings.Contains(all, "one") && strings.Contains(all, "two")
	})
	if all := strings.Join(a.got(), ""); strings.Contains(all, "two") || strings.Count(all, "one") != 1 {
		t.Errorf("the first destination got %s", all)
	}
}

func TestResetVoidsSubscriptionsAndStartsInitAnew(t *testing.T) {
	h := newHub(t, Config{})
	r := newReceiver(t, func(http.ResponseWriter, int, []byte) int { return 500 })
	subscribe(t, h, apiTelemetry, "e", r.request(`"types":["function"]`))
	h.EndInit()
	write(t, h.Output("function"), "a\nb\nc\n")
	eventually(t, "a try", func() bool { return r.tried() > 0 })
	h.Reset()
	if s := h.counted(); s.Lost != 3 || s.Delivered != 0 {
		t.Errorf("%+v, want 3 lost", s)
	}
	tried := r.tried()
	again := newReceiver(t, nil)
	write(t, h.Output("function"), "of the new Init\n")
	subscribe(t, h, apiTelemetry, "e", again.request(`"types":["function"]`))
	eventually(t, "the new Init's line", func() bool { return len(again.got()) == 1 })
	if got := again.got()[0]; strings.Contains(got, `"a`) || !strings.Contains(got, "new Init") {
		t.Errorf("after the reset: %s", got)
	}
	if r.tried() != tried {
		t.Error("the old destination was tried after the reset")
	}
}

// TestEventsOfInitAreBounded: each line of Init, and the subscription event that
// finds the buffer full, is either delivered or told as dropped.
func TestEventsOfInitAreBounded(t *testing.T) {
	const lines = 1000
	h, r := newHub(t, Config{LimitBytes: 20_000}), newReceiver(t, nil)
	write(t, h.Output("function"), strings.Repeat(strings.Repeat("x", 99)+"\n", lines))
	subscribe(t, h, apiTelemetry, "e", r.request())
	var functions, others, told int64
	eventually(t, "all delivered or told as dropped", func() bool {
		all, err := join(r.got())
		if err != nil {
			t.Fatal(err)
		}
		functions, others, told = 0, 0, 0
		for _, e := range all {
			switch e.Type {
			case "function":
				functions++
			case "platform.logsDropped":
				var note struct{ DroppedRecords int64 }
				if err := json.Unmarshal(e.Record, &note); err != nil {
					t.Fatal(err)
				}
				told += note.DroppedRecords
			default:
				others++
			}
		}
		return functions+others+told == lines+1 // and the subscription event
	})
	if s := h.counted(); functions == 0 || functions > 200 || s.Dropped != told {
		t.Errorf("%d lines delivered, %d records told as dropped, %+v", functions, told, s)
	}
}

func TestCloseEndsEverything(t *testing.T) {
	h := newHub(t, Config{})
	h.try = time.Hour
	hold := make(chan struct{})
	r := newReceiver(t, func(http.ResponseWriter, int, []byte) int {
		<-hold
		return 200
	})
	subscribe(t, h, apiTelemetry, "e", r.request(`"types":["function"]`))
	write(t, h.Output("function"), "x\n")
	eventually(t, "a try", func() bool { return r.tried() > 0 })
	h.Freeze()
	h.Close()
	h.Close()
	close(hold)
	h.Platform("platform.start", told, struct{}{})
	h.Flush()
	if code, _ := put(h, apiTelemetry, "e", r.request()); code != 403 {
		t.Errorf("subscription after Close: %d", code)
	}
}

func FuzzParseSubscription(f *testing.F) {
	f.Add(apiTelemetry, subscriptionTo(`{"protocol":"HTTP","URI":"http://sandbox.localdomain:8080/x?y#z"}`))
	f.Add(apiTelemetry, subscriptionTo(`{"protocol":"TCP","port":1}`, `"buffering":{"maxItems":1e3}`))
	f.Add(apiLogs, `{"types":["function","function"],"destination":{"protocol":"HTTP","URI":"http://[::1%25a]:1/\r\n"}}`)
	f.Add(apiLogs, `null`)
	f.Fuzz(func(t *testing.T, api, body string) {
		if api != apiLogs {
			api = apiTelemetry
		}
		s, err := parseSubscription(api, []byte(body), false)
		if err != nil {
			return
		}
		if s.maxItems < 1000 || s.maxBytes < 262_144 || s.timeout < 25*time.Millisecond || len(s.typeNames()) == 0 {
			t.Errorf("accepted %s as %+v", body, s)
		}
		if strings.ContainsAny(s.path+s.address, " \r\n") {
			t.Errorf("a request for %q at %q would not be one", s.path, s.address)
		}
	})
}
