package otlp

import (
	"encoding/json"
	"strings"
	"testing"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	"google.golang.org/protobuf/proto"

	"slipstream/telemetry"
	"slipstream/wire"
)

// Requests as OpenTelemetry's examples write them, with what JavaScript's
// exporters do: identifiers in hexadecimal, times as strings or numbers.
const (
	logsJSON = `{"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}]},
"scopeLogs":[{"scope":{"name":"test"},"logRecords":[{"timeUnixNano":"1700000000000000000","severityNumber":9,
"severityText":"INFO",
"body":{"stringValue":"a line of a usual length that a function might well have logged, or another one"},
"traceId":"01010101010101010101010101010101","spanId":"0202020202020202","newField":[{}],
"attributes":[{"key":"code.function","value":{"stringValue":"handler"}},{"key":"n","value":{"intValue":"0"}}]}]}]}]}`
	spansJSON = `{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}]},
"scopeSpans":[{"spans":[
{"traceId":"01010101010101010101010101010101","spanId":"0202020202020202","name":"a","kind":"SPAN_KIND_SERVER"},
{"traceId":"01010101010101010101010101010101","spanId":"0303030303030303","name":"b","endTimeUnixNano":5}]}]}]}`
	metricsJSON = `{"resourceMetrics":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}]},
"scopeMetrics":[{"metrics":[{"name":"one","gauge":{"dataPoints":[{"asDouble":1},{"asDouble":"2"}]}},
{"name":"two","histogram":{"dataPoints":[{"count":"3","bucketCounts":["1",2]}]}}]}]}]}`
)

func TestJSON(t *testing.T) {
	s := newStage(t, Config{})
	for _, tt := range []struct {
		path, json string
		signal     telemetry.Signal
		records    int
		want       proto.Message
	}{
		{"/v1/logs", logsJSON, telemetry.Logs, 1, someLogs(1)},
		{"/v1/traces", spansJSON, telemetry.Traces, 2, someSpans()},
		{"/v1/metrics", metricsJSON, telemetry.Metrics, 3, someMetrics()},
	} {
		for _, encoding := range encodings {
			r := s.post(t, tt.path, strings.NewReader(string(compressed(t, encoding, []byte(tt.json)))),
				"Content-Type", "application/json; charset=utf-8", "Content-Encoding", encoding)
			if r.status != 200 || string(r.body) != "{}" || r.header.Get("Content-Type") != jsonContentType {
				t.Fatalf("%s, %q: answer %d %q %v", tt.path, encoding, r.status, r.body, r.header)
			}
			same(t, tt.want, s.one(t, tt.signal, tt.records))
		}
		if r := s.post(t, tt.path, strings.NewReader("{}"), "Content-Type", jsonContentType); r.status != 200 {
			t.Errorf("%s: an empty request: %d %q", tt.path, r.status, r.body)
		}
	}
	if got := s.exports(); len(got) != 0 {
		t.Errorf("empty requests were taken: %+v", got)
	}
}

func TestJSONRefused(t *testing.T) {
	s := newStage(t, Config{MaxExport: 200_000})
	nested := strings.Repeat(`{"arrayValue":{"values":[`, 10_000)
	for _, tt := range []struct {
		name, json string
		status     int
		reason     string
	}{
		{"nothing", "", 400, "malformed"},
		{"no JSON", "hello", 400, "malformed"},
		{"cut", logsJSON[:len(logsJSON)-3], 400, "malformed"},
		{"more behind", logsJSON + logsJSON, 400, "malformed"},
		{"an array", "[]", 400, "malformed"},
		{"wrong type", `{"resourceLogs":[{"scopeLogs":7}]}`, 400, "malformed"},
		{"deep", `{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":` + nested, 413, "too_large"},
		{"deep", `{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":` + nested[:150_000], 400, "malformed"},
		{"deep where unknown", `{"x":` + strings.Repeat("[", 150_000), 400, "malformed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := s.post(t, "/v1/logs", strings.NewReader(tt.json), "Content-Type", jsonContentType)
			var status struct {
				Code    int
				Message string
			}
			if err := json.Unmarshal(r.body, &status); err != nil || r.status != tt.status || status.Code == 0 ||
				status.Message == "" {
				t.Errorf("answer %d %q: %v", r.status, r.body, err)
			}
			if d := s.drops(); d[tt.reason] != 1 || len(d) != 1 {
				t.Errorf("dropped %v, want 1 %s", d, tt.reason)
			}
		})
	}
}

// The answer's JSON is right whatever is in a message.
func TestAnswersInJSON(t *testing.T) {
	for _, text := range []string{"", "plain", "\"\\\n\x00\x1f", "é\u2028", "\xff"} {
		for signal, name := range rejectedNames {
			body := appendResponseJSON(nil, verdict{rejected: 3, message: text, signal: signal})
			var got map[string]map[string]string
			want := strings.ToValidUTF8(text, "\ufffd")
			if err := json.Unmarshal(body, &got); err != nil || got["partialSuccess"][name] != "3" ||
				got["partialSuccess"]["errorMessage"] != want {
				t.Errorf("%q: %s: %v", text, body, err)
			}
		}
	}
}

// The resource is completed, in JSON and in protobuf, and never overwritten.
func TestResourceIsCompleted(t *testing.T) {
	s := newStage(t, Config{Completion: wire.NewCompletion(&telemetry.Resource{
		ServiceName: "of the function", FunctionName: "checkout", Region: "eu-west-1"})})
	want := someLogs(1)
	attributes := &want.ResourceLogs[0].Resource.Attributes
	for _, pair := range [][2]string{{"cloud.provider", "aws"}, {"cloud.platform", "aws_lambda"},
		{"cloud.region", "eu-west-1"}, {"faas.name", "checkout"}} {
		*attributes = append(*attributes, &commonpb.KeyValue{Key: pair[0], Value: text(pair[1])})
	}
	for contentType, body := range map[string]string{
		jsonContentType: logsJSON, protobufContentType: string(marshal(t, someLogs(1)))} {
		if r := s.post(t, "/v1/logs", strings.NewReader(body), "Content-Type", contentType); r.status != 200 {
			t.Fatalf("%s: %d %q", contentType, r.status, r.body)
		}
		same(t, want, s.one(t, telemetry.Logs, 1))
	}
}
