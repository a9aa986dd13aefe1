package process

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"slipstream/process/limit"
	"slipstream/telemetry"
	"slipstream/wire"
)

// typicalLogs are 1,000 records like those of an SDK; every so manieth has a
// secret, 0 for none.
func typicalLogs(t testing.TB, secrets int) *telemetry.Export {
	var records []string
	for i := range 1000 {
		text := "order %d was placed and paid, sending the confirmation"
		if secrets > 0 && i%secrets == 0 {
			text = "order %d was placed with hunter2"
		}
		records = append(records, fmt.Sprintf(`"timeUnixNano":"1790845200000000000","severityNumber":9,`+
			`"severityText":"INFO","body":{"stringValue":"`+text+`"},%s,"traceId":"5b8efff798038103d269b633813fc60c",`+
			`"spanId":"eee19b7ec3c1b174","flags":1`, i, attributes("http.request.method", "POST",
			"http.response.status_code", `{"intValue":"200"}`, "order.total", `{"doubleValue":99.5}`,
			"order.paid", `{"boolValue":true}`, "code.function.name", "shop/checkout.(*Handler).Place")))
	}
	return export(t, telemetry.Logs, logText(records...))
}

// typicalSpans are 1,000 calls with a header and two bodies; with secrets every
// so manieth body is JSON with a password.
func typicalSpans(t testing.TB, secrets int) *telemetry.Export {
	var spans []string
	for i := range 1000 {
		body := `items=1&items=2&total=99.5&currency=EUR`
		if secrets > 0 && i%secrets == 0 {
			body = `{"user":"me","password":"hunter2","items":[1,2]}`
		}
		spans = append(spans, `"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174",`+
			`"parentSpanId":"eee19b7ec3c1b175","name":"POST","kind":3,"startTimeUnixNano":"1790845200000000000",`+
			`"endTimeUnixNano":"1790845200000000100",`+attributes("http.request.method", "POST", "server.address",
			"api.example.com", "url.full", "https://api.example.com/orders?id=123", "http.response.status_code",
			`{"intValue":"200"}`, "http.request.body", body, "http.response.body", `order placed`,
			"http.request.header.accept", `{"arrayValue":{"values":[{"stringValue":"application/json"}]}}`))
	}
	return export(t, telemetry.Traces, spanText(spans...))
}

// cases are what is measured and must not allocate.
func cases(t testing.TB) map[string]struct {
	x *Exports
	e *telemetry.Export
} {
	l := limit.Default()
	l.Spans, l.Bytes = 0, 0
	tight := limit.Limits{Attribute: 25, Body: 20, Record: 100}
	keep := wanted(func(r Record) bool { return r.Level() != telemetry.LevelDebug && r.Attribute("noise") == nil })
	type one = struct {
		x *Exports
		e *telemetry.Export
	}
	return map[string]one{
		"logs/clean":         {NewExports(Policy{Limits: l, Redactor: rules{}}), typicalLogs(t, 0)},
		"logs/clean+filter":  {NewExports(Policy{Limits: l, Redactor: rules{}, Filter: keep}), typicalLogs(t, 0)},
		"logs/no-redaction":  {NewExports(Policy{Limits: l}), typicalLogs(t, 0)},
		"logs/1-in-100":      {NewExports(Policy{Limits: l, Redactor: rules{}}), typicalLogs(t, 100)},
		"logs/all-dirty":     {NewExports(Policy{Limits: l, Redactor: rules{}}), typicalLogs(t, 1)},
		"logs/all-too-long":  {NewExports(Policy{Limits: tight}), typicalLogs(t, 0)},
		"spans/clean":        {NewExports(Policy{Limits: l, Redactor: rules{}}), typicalSpans(t, 0)},
		"spans/1-in-100":     {NewExports(Policy{Limits: l, Redactor: rules{}}), typicalSpans(t, 100)},
		"spans/all-dirty":    {NewExports(Policy{Limits: l, Redactor: rules{}}), typicalSpans(t, 1)},
		"spans/all-too-long": {NewExports(Policy{Limits: tight}), typicalSpans(t, 0)},
	}
}

func TestExportsAllocateNothing(t *testing.T) {
	for name, tt := range cases(t) {
		if strings.Contains(name, "dirty") || strings.Contains(name, "100") {
			continue // the test's own Redactor allocates
		}
		body, now := tt.e.Body, time.Unix(0, 0)
		n := testing.AllocsPerRun(20, func() {
			tt.e.Body = body
			tt.x.Apply(tt.e, "r", now)
		})
		if n != 0 {
			t.Errorf("%s: %v allocations for 1,000 records", name, n)
		}
		if clean := &tt.e.Body[0] == &body[0]; clean == strings.Contains(name, "long") {
			t.Errorf("%s: copied: %v", name, !clean)
		}
	}
}

func BenchmarkExports(b *testing.B) {
	for name, tt := range cases(b) {
		b.Run(name, func(b *testing.B) {
			body, now := tt.e.Body, time.Unix(0, 0)
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				tt.e.Body = body
				tt.x.Apply(tt.e, "r", now)
			}
			b.ReportMetric(math.Round(b.Elapsed().Seconds()*1e9/float64(b.N)/1000), "ns/record")
		})
	}
}

// Whatever the sender writes, the result is an export, no secret is in it, and
// no text is longer than the limits say.
func FuzzExports(f *testing.F) {
	for _, e := range []*telemetry.Export{
		export(f, telemetry.Logs, logText(`"body":{"stringValue":"hunter2"},`+attributes("http.request.body", "hunter2"))),
		export(f, telemetry.Traces, spanText(`"name":"hunter2",`+attributes("url", "http://secretsmanager.x/hunter2",
			"faas.event", `{"kvlistValue":{"values":[{"key":"gone"},{"key":"hashed","value":{"intValue":"1"}}]}}`,
			"a", strings.Repeat("long ", 99)))),
		export(f, telemetry.Metrics, `{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"n","gauge":{"dataPoints":[{`+
			attributes("password", "x")+`}]}}]}]}]}`),
	} {
		f.Add(string(e.Signal), e.Body, uint8(3))
	}
	f.Fuzz(func(t *testing.T, signal string, body []byte, size uint8) {
		n, err := wire.CheckExport(telemetry.Signal(signal), body)
		if err != nil {
			return
		}
		l := limit.Limits{Attribute: int(size), Body: int(size), Record: 2 * int(size), Bytes: 10 * int(size)}
		x := NewExports(Policy{Limits: l, Redactor: rules{}})
		e := &telemetry.Export{Signal: telemetry.Signal(signal), Records: n, Body: bytes.Clone(body)}
		x.Apply(e, "r", time.Unix(0, 0))
		again, err := wire.CheckExport(e.Signal, e.Body)
		if err != nil || again != e.Records || again > n {
			t.Fatalf("%d records of %d, %d checked, %v", e.Records, n, again, err)
		}
		for w := (&wire.ExportEdit{}); ; {
			w.Text = func(dst, path, text []byte) ([]byte, bool) {
				if bytes.Contains(text, []byte("hunter2")) {
					t.Fatalf("%s says %q", path, text)
				}
				if size > 0 && len(text) > 2*int(size) && w.Field() != "key" && string(text) != unavailable {
					t.Fatalf("%s has %d bytes", path, len(text))
				}
				return dst, false
			}
			w.Edit(nil, e.Signal, e.Body)
			return
		}
	})
}
