package otlpread

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	commonpb "go.opentelemetry.io/proto/slim/otlp/common/v1"
	logspb "go.opentelemetry.io/proto/slim/otlp/logs/v1"
	resourcepb "go.opentelemetry.io/proto/slim/otlp/resource/v1"
	"google.golang.org/protobuf/proto"

	"slipstream/test/exported"
)

// logs is the official package's bytes of two records.
func logs(t testing.TB) []byte {
	t.Helper()
	body, err := proto.Marshal(&logspb.LogsData{ResourceLogs: []*logspb.ResourceLogs{{
		Resource: &resourcepb.Resource{Attributes: exported.Text("service.name", "shop")},
		ScopeLogs: []*logspb.ScopeLogs{{LogRecords: []*logspb.LogRecord{
			{TimeUnixNano: 5, ObservedTimeUnixNano: 7, SeverityNumber: 17, SeverityText: "ERROR", EventName: "e",
				Body:       &commonpb.AnyValue{Value: &commonpb.AnyValue_IntValue{IntValue: 3}},
				Attributes: exported.Text("a", "b"), TraceId: []byte("0123456789abcdef"), SpanId: []byte("01234567")},
			{},
		}}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func TestLogs(t *testing.T) {
	var r Reader
	var got []string
	visit := func(l *Log) {
		attribute, _ := l.Attributes.Get("a")
		service, _ := l.Resource.Get("service.name")
		got = append(got, fmt.Sprintf("%d %d %d %s %s %s a=%s of %s, %s %s", l.Time, l.Observed, l.Severity, l.SeverityText,
			l.EventName, l.Body.AppendText(nil), attribute.AppendText(nil), service.AppendText(nil), l.Trace, l.Span))
	}
	if err := r.Logs(logs(t), visit); err != nil {
		t.Fatal(err)
	}
	want := "5 7 17 ERROR e 3 a=b of shop, 0123456789abcdef 01234567\n0 0 0    a= of shop,  "
	if diff := cmp.Diff(want, strings.Join(got, "\n")); diff != "" {
		t.Error(diff)
	}
	if err := r.Logs(logs(t)[:40], visit); err == nil {
		t.Error("a request that is cut is read without an error")
	}
}

func FuzzLogs(f *testing.F) {
	f.Add(logs(f))
	f.Add([]byte("\x0a\x02\x12\xff"))
	f.Fuzz(func(_ *testing.T, body []byte) {
		var r Reader
		var scratch []byte
		_ = r.Logs(body, func(l *Log) {
			scratch = l.Body.AppendText(scratch[:0])
			for _, v := range l.Attributes.All() {
				scratch = v.AppendText(scratch[:0])
			}
		})
	})
}
