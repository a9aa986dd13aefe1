package wire

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipstream/telemetry"
	"slipstream/wire/lines"
)

var update = flag.Bool("update", false, "rewrite the golden files in testdata")

func testResource() *telemetry.Resource {
	return &telemetry.Resource{
		ServiceName:     "checkout",
		FunctionName:    "shop",
		FunctionVersion: "$LATEST",
		EnvironmentID:   "0d4e3a52-5a1f-4d7c-9d5e-3f6f9e6c1c11",
		AccountID:       "123456789012",
		Region:          "eu-west-1",
		Architecture:    "arm64",
		MemoryMB:        512,
		Attributes:      []telemetry.Attribute{{Key: "deployment.environment.name", Value: "prüfung"}},
	}
}

const testRequest = "3b0e4c1d-0a53-4a0e-9f5f-2f1f7a6f6a01"

// testLogs are the shapes of record that the platform sends.
func testLogs() []telemetry.Log {
	start := time.Date(2026, 10, 1, 9, 0, 0, 330_000_000, time.UTC)
	at := start
	function := func(body string) telemetry.Log {
		at = at.Add(time.Millisecond)
		return telemetry.Log{Time: at, Type: "function", RequestID: testRequest, Body: []byte(body)}
	}
	logs := []telemetry.Log{
		{Time: start, Type: "platform.initStart",
			Body: []byte(`{"initializationType":"on-demand","phase":"init","functionName":"shop"}`)},
		{Time: start, Type: "extension", Body: []byte(`"ready in Init\n"`)},
		{Time: start, Type: "platform.report", RequestID: testRequest,
			Body: []byte(`{"requestId":"` + testRequest + `","status":"success","metrics":{"durationMs":110.2,` +
				`"billedDurationMs":423},"spans":[{"name":"extensionOverhead","durationMs":34.9}]}`)},
		function(`"plain text\twith \"quotes\", \u00e9, \ud83d\ude00 and a break\n"`),
		function(`{"timestamp":"2026-10-01T09:00:00.330Z","level":"INFO","message":"hello"}`),
		function(`{"level":"warning","n":-7,"big":18446744073709551615,"f":1.5e3,"yes":true,"no":false,"nil":null}`),
		function(`{"level":{"not":"a string"},"empty":{},"list":[],"long":"` + strings.Repeat("x", 300) + `"}`),
		function(`[1,"two",[3.25]]`),
		function("{\r\n  \"pretty\": [\n    1,\n    2\n  ]\r\n}\n"),
		function(` "spaces around" `),
		function(`null`),
		function(`true`),
		function(`-0.5`),
	}
	logs[3].Time = logs[3].Time.Add(123 * time.Microsecond)
	logs[4].Time = logs[4].Time.Add(1)
	return logs
}

func encode(e Encoder, logs []telemetry.Log) []byte {
	var records []byte
	for i := range logs {
		records = e.AppendLog(records, &logs[i])
	}
	return append(e.AppendHead(nil, len(records)), records...)
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got; rewrite with -update):\n%s", name, diff)
	}
}

func TestGoldenLines(t *testing.T) {
	for _, tt := range []struct {
		file    string
		encoder Encoder
	}{
		{"native.ndjson", NDJSON(testResource())},
		{"bare.ndjson", NDJSON(&telemetry.Resource{})},
		{"telemetry.ndjson", TelemetryEvents()},
	} {
		t.Run(tt.file, func(t *testing.T) {
			logs := testLogs()
			body := encode(tt.encoder, logs)
			golden(t, tt.file, body)
			lines := bytes.SplitAfter(body, []byte("\n"))
			if len(lines) != len(logs)+1 || len(lines[len(logs)]) != 0 {
				t.Fatalf("%d records made %d lines", len(logs), len(lines)-1)
			}
			for _, line := range lines[:len(logs)] {
				if !json.Valid(line) {
					t.Errorf("not JSON: %s", line)
				}
			}
			if tt.encoder.ContentType() != "application/x-ndjson" || tt.encoder.Extension() != ".ndjson" {
				t.Errorf("a line format is called %s, %s", tt.encoder.ContentType(), tt.encoder.Extension())
			}
		})
	}
}

func TestDecodeLineGivesTheRecordBack(t *testing.T) {
	for i, want := range testLogs() {
		for _, e := range []Encoder{NDJSON(testResource()), TelemetryEvents()} {
			var got telemetry.Log
			var res telemetry.Resource
			if err := lines.Decode(e.AppendLog(nil, &want), &got, &res); err != nil {
				t.Fatalf("record %d: %v", i, err)
			}
			_, sample := e.(telemetryEvents)
			body := want.Body
			if !sample {
				body = withoutLineEnd(t, body)
			}
			if !got.Time.Equal(want.Time) || got.Type != want.Type || !sameJSON(t, got.Body, body) {
				t.Errorf("record %d: got %v %s %s", i, got.Time, got.Type, got.Body)
			}
			if sample {
				continue
			}
			in := testResource()
			from := telemetry.Resource{FunctionName: in.FunctionName, FunctionVersion: in.FunctionVersion,
				EnvironmentID: in.EnvironmentID, AccountID: in.AccountID, Region: in.Region}
			if diff := cmp.Diff(from, res); diff != "" || got.RequestID != want.RequestID {
				t.Errorf("record %d: request %q, resource %s", i, got.RequestID, diff)
			}
		}
	}
}

func TestDecodeLineRefuses(t *testing.T) {
	const whole = `{"time":"2026-10-01T09:00:00.000Z","type":"function","message":"x"}`
	var l telemetry.Log
	var res telemetry.Resource
	if err := lines.Decode([]byte(whole), &l, &res); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"", "{", "[]", `"x"`, "null", whole + whole, whole + "]", whole[:len(whole)-1],
		`{"time":"yesterday","type":"function","message":"x"}`,
		`{"time":1,"type":"function","message":"x"}`,
		`{"time":"2026-10-01T09:00:00.000Z","type":"function"}`,
		`{"time":"2026-10-01T09:00:00.000Z","type":"","message":"x"}`,
		`{"type":"function","message":"x"}`,
		`{"time":"2026-10-01T09:00:00.000Z","type":"function","message":"x","region":{}}`,
	} {
		var l telemetry.Log
		if err := lines.Decode([]byte(line), &l, &res); err == nil {
			t.Errorf("accepted %s", line)
		}
	}
}

// The platform leaves the end of the line on a function's message.
func TestLineEndOfMessages(t *testing.T) {
	for body, want := range map[string]string{
		`"a\n"`: `"a"`, `"a\r\n"`: `"a"`, `"a\n\n"`: `"a\n"`, `"\n"`: `""`, `"a\r"`: `"a\r"`, `"a"`: `"a"`, `""`: `""`,
		`"a\\n"`: `"a\\n"`, `"a\\\n"`: `"a\\"`, `"n"`: `"n"`, `"a\n\r"`: `"a\n\r"`, `"\\r\n"`: `"\\r"`,
		`"a\"n"`: `"a\"n"`, ` "a\n" `: `"a"`,
	} {
		line := NDJSON(&telemetry.Resource{}).AppendLog(nil, &telemetry.Log{Type: "function", Body: []byte(body)})
		if got := string(line); !strings.HasSuffix(got, `"message":`+want+"}\n") {
			t.Errorf("%s became %s", body, got)
		}
	}
}

func TestTextIsAlwaysJSON(t *testing.T) {
	for in, want := range map[string]string{
		"":                   "",
		"plain":              "plain",
		"\"\\\n\t\x00\x1f\"": "\"\\\n\t\x00\x1f\"",
		"é\u2028😀":           "é\u2028😀",
		"a\xffb\xc3":         "a\ufffdb\ufffd",
	} {
		var got string
		if err := json.Unmarshal(appendText(nil, in), &got); err != nil || got != want {
			t.Errorf("%q became %q, %v", in, got, err)
		}
	}
}

// Nothing is allocated for a record once the batch's memory is there.
func TestNoAllocations(t *testing.T) {
	logs := testLogs()
	dst := make([]byte, 0, 64<<10)
	for name, e := range encoders() {
		for i := range logs {
			if n := testing.AllocsPerRun(100, func() { dst = e.AppendLog(dst[:0], &logs[i]) }); n != 0 {
				t.Errorf("%s: %v allocations for %s", name, n, logs[i].Body)
			}
		}
	}
}

func encoders() map[string]Encoder {
	res := testResource()
	return map[string]Encoder{"NDJSON": NDJSON(res), "TelemetryEvents": TelemetryEvents(), "OTLPLogs": OTLPLogs(res)}
}

// sameJSON compares two JSON texts, numbers digit for digit.
func sameJSON(t *testing.T, a, b []byte) bool {
	t.Helper()
	var values [2]any
	for i, text := range [][]byte{a, b} {
		d := json.NewDecoder(bytes.NewReader(text))
		d.UseNumber()
		if err := d.Decode(&values[i]); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
	return cmp.Equal(values[0], values[1])
}

// withoutLineEnd is the value that a message keeps.
func withoutLineEnd(t *testing.T, value []byte) []byte {
	t.Helper()
	var text string
	if json.Unmarshal(value, &text) != nil || !strings.HasSuffix(text, "\n") {
		return value
	}
	cut, err := json.Marshal(strings.TrimSuffix(strings.TrimSuffix(text, "\n"), "\r"))
	if err != nil {
		t.Fatal(err)
	}
	return cut
}

func FuzzLines(f *testing.F) {
	for _, l := range testLogs() {
		f.Add(l.Body, l.Type, l.RequestID)
	}
	res := testResource()
	f.Fuzz(func(t *testing.T, body []byte, typ, request string) {
		l := telemetry.Log{Time: time.Unix(1_790_000_000, 1).UTC(), Type: typ, RequestID: request, Body: body}
		for _, e := range []Encoder{NDJSON(res), TelemetryEvents()} {
			line := e.AppendLog(nil, &l)
			if bytes.IndexByte(line, '\n') != len(line)-1 || bytes.IndexByte(line, '\r') >= 0 {
				t.Fatalf("a line is broken: %q", line)
			}
			if json.Valid(body) && !json.Valid(line) {
				t.Fatalf("valid body %q, invalid line %q", body, line)
			}
		}
	})
}

func FuzzDecodeLine(f *testing.F) {
	for _, line := range bytes.SplitAfter(encode(NDJSON(testResource()), testLogs()), []byte("\n")) {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		var l, again telemetry.Log
		var res, resAgain telemetry.Resource
		if lines.Decode(line, &l, &res) != nil {
			return
		}
		if l.Type == "" || l.Time.IsZero() || !json.Valid(l.Body) {
			t.Fatalf("%q gave %+v", line, l)
		}
		if l.Time.Year() < 0 || l.Time.Year() > 9999 {
			return
		}
		if err := lines.Decode(NDJSON(&res).AppendLog(nil, &l), &again, &resAgain); err != nil {
			t.Fatalf("%q does not come back: %v", line, err)
		}
	})
}

func BenchmarkAppendLog(b *testing.B) {
	text := telemetry.Log{Time: time.Now(), Type: "function", RequestID: testRequest,
		Body: []byte(`"2026-10-01T09:00:00.330Z\t` + testRequest + `\tINFO\t` + strings.Repeat("order placed ", 8) + `\n"`)}
	object := text
	object.Body = []byte(`{"timestamp":"2026-10-01T09:00:00.330Z","level":"INFO","requestId":"` + testRequest +
		`","message":"order placed","order":{"id":123456,"total":99.5,"items":["a","b","c"]},"ok":true}`)
	for name, e := range encoders() {
		for shape, l := range map[string]telemetry.Log{"text": text, "object": object} {
			b.Run(name+"/"+shape, func(b *testing.B) {
				dst := make([]byte, 0, 64<<10)
				b.SetBytes(int64(len(l.Body)))
				b.ReportAllocs()
				for b.Loop() {
					dst = e.AppendLog(dst[:0], &l)
				}
			})
		}
	}
}

func TestTimesAreRFC3339(t *testing.T) {
	for in, want := range map[time.Time]string{
		{}: `"0001-01-01T00:00:00.000Z"`,
		time.Date(2026, 1, 2, 3, 4, 5, 6_000_000, time.FixedZone("", 3600)): `"2026-01-02T02:04:05.006Z"`,
		time.Date(2026, 12, 31, 23, 59, 59, 999_999_000, time.UTC):          `"2026-12-31T23:59:59.999999Z"`,
		time.Date(2026, 12, 31, 23, 59, 59, 1, time.UTC):                    `"2026-12-31T23:59:59.000000001Z"`,
		time.Date(12026, 1, 1, 0, 0, 0, 0, time.UTC):                        `"12026-01-01T00:00:00.000Z"`,
	} {
		if got := string(appendTime(nil, in)); got != want {
			t.Errorf("%v became %s, not %s", in, got, want)
		}
	}
}
