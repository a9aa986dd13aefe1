package wire

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	commonpb "go.opentelemetry.io/proto/slim/otlp/common/v1"
	logspb "go.opentelemetry.io/proto/slim/otlp/logs/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"slipstream/telemetry"
)

// oracle reads a body with OpenTelemetry's own messages. LogsData has the same
// fields as ExportLogsServiceRequest and does not bring gRPC along.
func oracle(t *testing.T, body []byte) *logspb.ScopeLogs {
	t.Helper()
	var data logspb.LogsData
	if err := proto.Unmarshal(body, &data); err != nil {
		t.Fatalf("the oracle refuses the body: %v", err)
	}
	if len(data.ProtoReflect().GetUnknown()) != 0 || len(data.ResourceLogs) != 1 ||
		len(data.ResourceLogs[0].ScopeLogs) != 1 {
		t.Fatalf("not one resource and one scope: %v", &data)
	}
	return data.ResourceLogs[0].ScopeLogs[0]
}

func TestGoldenOTLP(t *testing.T) {
	body := encode(OTLPLogs(testResource()), testLogs())
	var data logspb.LogsData
	if err := proto.Unmarshal(body, &data); err != nil {
		t.Fatal(err)
	}
	text, err := protojson.Marshal(&data)
	if err != nil {
		t.Fatal(err)
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, text, "", "  "); err != nil {
		t.Fatal(err)
	}
	golden(t, "otlp.json", append(indented.Bytes(), '\n'))
	golden(t, "otlp.pb", body)
}

// No record, a record of each size around the widths of a length, and many:
// the head's lengths always fit.
func TestHeadFitsAnySize(t *testing.T) {
	e := OTLPLogs(testResource())
	for _, n := range []int{0, 1, 50, 100, 127, 128, 200, 16_000, 16_384, 2_097_152} {
		body, _ := json.Marshal(strings.Repeat("x", n))
		logs := []telemetry.Log{{Time: time.Unix(1, 0), Type: "function", Body: body}}
		got := oracle(t, encode(e, logs)).LogRecords
		if len(got) != 1 || len(got[0].Body.GetStringValue()) != n {
			t.Errorf("%d bytes came back as %d records", n, len(got))
		}
	}
	if got := oracle(t, encode(e, nil)).LogRecords; len(got) != 0 {
		t.Errorf("no records came back as %d", len(got))
	}
}

func TestBodies(t *testing.T) {
	str := func(s string) *commonpb.AnyValue {
		return &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: s}}
	}
	for _, tt := range []struct {
		body string
		want *commonpb.AnyValue
	}{
		{`"a\u0000\ud800b"`, str("a\x00\ufffdb")},
		{`9223372036854775807`, &commonpb.AnyValue{Value: &commonpb.AnyValue_IntValue{IntValue: 1<<63 - 1}}},
		{`-9223372036854775808`, &commonpb.AnyValue{Value: &commonpb.AnyValue_IntValue{IntValue: -1 << 63}}},
		{`-9223372036854775809`, str("-9223372036854775809")},
		{`9223372036854775808`, str("9223372036854775808")},
		{`1e999`, str("1e999")},
		{`1.0`, &commonpb.AnyValue{Value: &commonpb.AnyValue_DoubleValue{DoubleValue: 1}}},
		{`null`, &commonpb.AnyValue{}},
		{``, str("")},
		{`{"cut":`, str(`{"cut":`)},
		{`{"a":1,}`, str(`{"a":1,}`)},
		{`[1,]`, str(`[1,]`)},
		{`{} {}`, str(`{} {}`)},
		{`"x" y`, str(`"x" y`)},
		{`"the line's end\r\n"`, str("the line's end")},
		{`"\n"`, str("")},
		{"broken \xff\xc3", str("broken \ufffd\ufffd")},
		{"\"broken \xff inside\"", str("broken \ufffd inside")},
	} {
		logs := []telemetry.Log{{Time: time.Unix(1, 0), Type: "function", Body: []byte(tt.body)}}
		got := oracle(t, encode(OTLPLogs(testResource()), logs)).LogRecords[0].Body
		if diff := cmp.Diff(tt.want, got, protocmp.Transform()); diff != "" {
			t.Errorf("%q (-want +got):\n%s", tt.body, diff)
		}
	}
}

func TestDepthIsLimited(t *testing.T) {
	const deep = 5000
	body := strings.Repeat(`{"a":[`, deep) + "1" + strings.Repeat(`]}`, deep)
	logs := []telemetry.Log{{Time: time.Unix(1, 0), Type: "function", Body: []byte(body)}}
	v := oracle(t, encode(OTLPLogs(testResource()), logs)).LogRecords[0].Body
	levels := 0
	for v.GetKvlistValue() != nil || v.GetArrayValue() != nil {
		if list := v.GetKvlistValue(); list != nil {
			v = list.Values[0].Value
		} else {
			v = v.GetArrayValue().Values[0]
		}
		levels++
	}
	if rest := strings.Repeat(`{"a":[`, deep-maxDepth/2) + "1"; levels != maxDepth ||
		!strings.HasPrefix(v.GetStringValue(), rest) {
		t.Errorf("%d levels, then %.40s…", levels, v.GetStringValue())
	}
}

func TestLevels(t *testing.T) {
	for level, want := range map[string]int32{
		"TRACE": 1, "debug": 5, "Info": 9, "WARN": 13, "warning": 13, "ERROR": 17, "Fatal": 21, "CRITICAL": 21,
		"": 0, "beginner": 0, "INFORMATION": 0, "infö": 0,
	} {
		logs := []telemetry.Log{
			{Time: time.Unix(1, 0), Type: "function", Body: []byte(`{"level":"` + level + `","x":{"level":"FATAL"}}`)}}
		got := oracle(t, encode(OTLPLogs(testResource()), logs)).LogRecords[0]
		text := level
		if want == 0 {
			text = ""
		}
		if int32(got.SeverityNumber) != want || got.SeverityText != text {
			t.Errorf("level %q became %d %q", level, got.SeverityNumber, got.SeverityText)
		}
	}
}

func TestTimesOutsideTheFormatAreUnknown(t *testing.T) {
	for _, at := range []time.Time{{}, time.Unix(-1, 0), time.Date(3000, 1, 1, 0, 0, 0, 0, time.UTC)} {
		logs := []telemetry.Log{{Time: at, Type: "function", Body: []byte(`"x"`)}}
		if got := oracle(t, encode(OTLPLogs(testResource()), logs)).LogRecords[0]; got.TimeUnixNano != 0 {
			t.Errorf("%v became %d", at, got.TimeUnixNano)
		}
	}
}

func FuzzOTLP(f *testing.F) {
	for _, l := range testLogs() {
		f.Add(l.Body, l.Type, l.RequestID)
	}
	f.Add([]byte("{\"\xff\":\"\\udc00\"}"), "platform.\xff", "\xff")
	e := OTLPLogs(testResource())
	f.Fuzz(func(t *testing.T, body []byte, typ, request string) {
		logs := []telemetry.Log{{Time: time.Unix(1, 0), Type: typ, RequestID: request, Body: body}}
		logs = append(logs, logs[0])
		got := oracle(t, encode(e, logs)).LogRecords
		if len(got) != 2 || !proto.Equal(got[0], got[1]) {
			t.Fatalf("two equal records came back as %v", got)
		}
		var text string
		if json.Unmarshal(withoutLineEnd(t, body), &text) == nil && bytes.HasPrefix(trimSpace(body), []byte{'"'}) &&
			got[0].Body.GetStringValue() != strings.ToValidUTF8(text, "\ufffd") {
			t.Fatalf("%q came back as %q", text, got[0].Body.GetStringValue())
		}
	})
}
