package wire

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	logspb "go.opentelemetry.io/proto/slim/otlp/logs/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"slipstream/telemetry"
	"slipstream/wire/lines"
)

// shapedLogs are records as package process/parse leaves them, with the line of
// NDJSON behind its time and type, and the LogRecord, that each becomes.
func shapedLogs() []shaped {
	return []shaped{
		{telemetry.Log{Body: []byte(`{"level":30,"msg":"hi\n","n":42,"deep":{"a":[1,2.5]},"ok":true}`), Level: 9,
			Message: []byte(`"hi\n"`), Fields: fields("n", "42", "deep", "{\"a\":\n[1,2.5]}", "ok", "true")},
			`"level":"INFO","message":"hi\n","attributes":{"n":42,"deep":{"a":[1,2.5]},"ok":true}`,
			`{"severityNumber":9,"severityText":"INFO","body":{"stringValue":"hi"},"attributes":[EVENT,
			{"key":"n","value":{"intValue":"42"}},{"key":"deep","value":{"kvlistValue":{"values":[{"key":"a",
			"value":{"arrayValue":{"values":[{"intValue":"1"},{"doubleValue":2.5}]}}}]}}},
			{"key":"ok","value":{"boolValue":true}}]}`},
		{telemetry.Log{Body: []byte(`"{\"message\":\"x\"}"`), Message: []byte(`"x"`), Fields: fields()},
			`"message":"x"`, `{"body":{"stringValue":"x"},"attributes":[EVENT]}`},
		{telemetry.Log{Body: []byte(`"2026\tWARN\tlow\n"`), Level: 14, Message: []byte(`"low\n"`)},
			`"level":"WARN","message":"2026\tWARN\tlow"`,
			`{"severityNumber":14,"severityText":"WARN","body":{"stringValue":"low"},"attributes":[EVENT]}`},
		{telemetry.Log{Body: []byte(`{"level":"error","n":1}`), Level: 17, Fields: fields("n", "1")},
			`"level":"ERROR","record":{"level":"error","n":1}`,
			`{"severityNumber":17,"severityText":"error","body":{"kvlistValue":{"values":[{"key":"level",
			"value":{"stringValue":"error"}},{"key":"n","value":{"intValue":"1"}}]}},"attributes":[EVENT]}`},
		{telemetry.Log{Body: []byte(`"x"`), Level: 99, AdjustedCount: 100},
			`"message":"x","adjusted_count":100`,
			`{"severityNumber":99,"body":{"stringValue":"x"},"attributes":[EVENT,
			{"key":"sampling.adjusted_count","value":{"intValue":"100"}}]}`},
		{telemetry.Log{Body: []byte(`{}`), Message: []byte(`"x"`), Fields: fields("a\"\xff", "no JSON"), AdjustedCount: 1},
			`"message":"x","attributes":{"a\"�":no JSON}`,
			`{"body":{"stringValue":"x"},"attributes":[EVENT,{"key":"a\"�","value":{"stringValue":"no JSON"}}]}`},
	}
}

type shaped struct {
	log        telemetry.Log
	line, otlp string
}

// fields makes fields of names and values.
func fields(texts ...string) []telemetry.Field {
	made := []telemetry.Field{}
	for i := 0; i < len(texts); i += 2 {
		made = append(made, telemetry.Field{Key: []byte(texts[i]), Value: []byte(texts[i+1])})
	}
	return made
}

func TestShapedRecords(t *testing.T) {
	const event = `{"key":"aws.lambda.event.type","value":{"stringValue":"function"}}`
	for _, tt := range shapedLogs() {
		l := tt.log
		l.Time, l.Type = time.Unix(1, 0), "function"
		line := string(NDJSON(&telemetry.Resource{}).AppendLog(nil, &l))
		if want := `{"time":"1970-01-01T00:00:01.000Z","type":"function",` + tt.line + "}\n"; line != want {
			t.Errorf("NDJSON %s, not %s", line, want)
		}
		var want logspb.LogRecord
		text := strings.ReplaceAll(tt.otlp, "EVENT", event)
		if err := protojson.Unmarshal([]byte(text), &want); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		want.TimeUnixNano, want.ObservedTimeUnixNano = 1e9, 1e9
		got := oracle(t, encode(OTLPLogs(testResource()), []telemetry.Log{l})).LogRecords[0]
		if diff := cmp.Diff(&want, got, protocmp.Transform()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", l.Body, diff)
		}
		raw := telemetry.Log{Time: l.Time, Type: l.Type, Body: l.Body}
		for _, e := range []Encoder{TelemetryEvents(), EdgeDelta(testResource(), nil)} {
			if diff := cmp.Diff(e.AppendLog(nil, &raw), e.AppendLog(nil, &l)); diff != "" {
				t.Errorf("%T, of which others read each byte, has changed:\n%s", e, diff)
			}
		}
	}
}

// A record that was taken apart is taken apart again when its line is read.
func TestDecodeShapedLine(t *testing.T) {
	for _, tt := range shapedLogs() {
		l := tt.log
		l.Time, l.Type = time.Unix(1, 0).UTC(), "function"
		e := NDJSON(&telemetry.Resource{})
		line := e.AppendLog(nil, &l)
		if !json.Valid(line) {
			continue // of a value that was no JSON
		}
		var got telemetry.Log
		if err := lines.Decode(line, &got, &telemetry.Resource{}); err != nil {
			t.Fatal(err)
		}
		if again := e.AppendLog(nil, &got); string(again) != string(line) {
			t.Errorf("%s became %s", line, again)
		}
	}
}

func TestNoAllocationsForShapedRecords(t *testing.T) {
	dst := make([]byte, 0, 64<<10)
	for name, e := range encoders() {
		for _, tt := range shapedLogs()[:5] {
			if n := testing.AllocsPerRun(100, func() { dst = e.AppendLog(dst[:0], &tt.log) }); n != 0 {
				t.Errorf("%s: %v allocations for %s", name, n, tt.log.Body)
			}
		}
	}
}

// Whatever the fields hold, the message is protobuf.
func FuzzFields(f *testing.F) {
	f.Add([]byte("key"), []byte(`{"a":[1,"x"]}`), []byte(`"message"`), uint8(9))
	e := OTLPLogs(testResource())
	f.Fuzz(func(t *testing.T, key, value, message []byte, level uint8) {
		l := telemetry.Log{Type: "function", Message: message, Level: telemetry.Level(level),
			Fields: []telemetry.Field{{Key: key, Value: value}, {Key: key, Value: value}}}
		got := oracle(t, encode(e, []telemetry.Log{l, l})).LogRecords
		if len(got) != 2 || !proto.Equal(got[0], got[1]) {
			t.Fatalf("two equal records came back as %v", got)
		}
	})
}

func BenchmarkAppendShaped(b *testing.B) {
	l := shapedLogs()[0].log
	for name, e := range encoders() {
		b.Run(name, func(b *testing.B) {
			dst := make([]byte, 0, 64<<10)
			b.SetBytes(int64(len(l.Body)))
			b.ReportAllocs()
			for b.Loop() {
				dst = e.AppendLog(dst[:0], &l)
			}
		})
	}
}
