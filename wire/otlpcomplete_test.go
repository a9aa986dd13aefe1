package wire

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	commonpb "go.opentelemetry.io/proto/slim/otlp/common/v1"
	resourcepb "go.opentelemetry.io/proto/slim/otlp/resource/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"slipstream/telemetry"
)

// own are the attributes that a Completion of res adds where nothing is.
func own(t testing.TB, res *telemetry.Resource) []*commonpb.KeyValue {
	t.Helper()
	var r resourcepb.Resource
	body := NewCompletion(res).Complete(nil, telemetry.Logs, []byte{fieldResourceLogs<<3 | wireBytes, 0})
	data := unmarshal(t, telemetry.Logs, body, true).ProtoReflect()
	proto.Merge(&r, resources(data)[0].Interface())
	return r.Attributes
}

// resources are the resources of a request; where one has none it is added.
func resources(m protoreflect.Message) (all []protoreflect.Message) {
	list := m.Get(m.Descriptor().Fields().ByNumber(fieldResourceLogs)).List()
	for i := range list.Len() {
		data := list.Get(i).Message()
		all = append(all, data.Mutable(data.Descriptor().Fields().ByNumber(fieldResource)).Message())
	}
	return all
}

// completed is the model: what Complete has to make of m.
func completed(m proto.Message, attributes []*commonpb.KeyValue) {
	for _, r := range resources(m.ProtoReflect()) {
		r := r.Interface().(*resourcepb.Resource)
		has := map[string]bool{}
		for _, kv := range r.Attributes {
			has[kv.Key] = true
		}
		for _, kv := range attributes {
			if !has[kv.Key] {
				r.Attributes = append(r.Attributes, kv)
			}
		}
	}
}

func TestCompletionIsThatOfOTLPLogs(t *testing.T) {
	logs := oracleResource(t, encode(OTLPLogs(testResource()), testLogs()))
	want := map[string]string{}
	for _, kv := range logs.Attributes {
		want[kv.Key] = kv.Value.String()
	}
	got := own(t, testResource())
	for _, kv := range got {
		if want[kv.Key] != kv.Value.String() {
			t.Errorf("%s is %v, not %s", kv.Key, kv.Value, want[kv.Key])
		}
	}
	if len(got) != len(want) || len(got) != 11 {
		t.Errorf("%d attributes, not %d: %v", len(got), len(want), got)
	}
}

func oracleResource(t *testing.T, body []byte) *resourcepb.Resource {
	t.Helper()
	return resources(unmarshal(t, telemetry.Logs, body, true).ProtoReflect())[0].Interface().(*resourcepb.Resource)
}

// What the sender says stays, also where it is empty or said twice.
func TestCompletionNeverOverwrites(t *testing.T) {
	c := NewCompletion(testResource())
	for name, tt := range map[string]struct {
		data string // the JSON of a ResourceLogs
		want map[string]string
	}{
		"no resource":       {`{}`, map[string]string{"faas.name": `"shop"`, "service.name": `"checkout"`}},
		"an empty resource": {`{"resource":{}}`, map[string]string{"faas.name": `"shop"`}},
		"another name": {`{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"mine"}}]}}`,
			map[string]string{"service.name": `"mine"`, "faas.name": `"shop"`, "cloud.region": `"eu-west-1"`}},
		"another kind": {`{"resource":{"attributes":[{"key":"faas.name","value":{"intValue":"7"}}]}}`,
			map[string]string{"faas.name": `7`}},
		"an empty value": {`{"resource":{"attributes":[{"key":"faas.name","value":{}},{"key":"host.arch"}]}}`,
			map[string]string{"faas.name": ``, "host.arch": ``, "faas.version": `"$LATEST"`}},
		"a name in a record": {`{"scopeLogs":[{"logRecords":[{"attributes":[{"key":"faas.name"}]}]}]}`,
			map[string]string{"faas.name": `"shop"`}},
	} {
		body, err := ExportFromJSON(nil, telemetry.Logs, []byte(`{"resourceLogs":[`+tt.data+`]}`))
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for _, kv := range oracleResource(t, c.Complete(nil, telemetry.Logs, body)).Attributes {
			if _, ok := got[kv.Key]; ok {
				t.Errorf("%s: %s is there twice", name, kv.Key)
			}
			_, value, _ := strings.Cut(kv.Value.String(), ":")
			got[kv.Key] = value
		}
		for key, want := range tt.want {
			if got[key] != want {
				t.Errorf("%s: %s is %s, not %s", name, key, got[key], want)
			}
		}
		if len(got) != 11 {
			t.Errorf("%s: %d attributes: %v", name, len(got), got)
		}
	}
}

// The user's attribute with the name of a known one replaces it, and what a
// Completion takes has a bound.
func TestCompletionOfManyAttributes(t *testing.T) {
	res := testResource()
	res.Attributes = []telemetry.Attribute{
		{Key: "cloud.region", Value: "mars"}, {Key: "a", Value: "1"}, {Key: "a", Value: "2"}}
	got := map[string]string{}
	for _, kv := range own(t, res) {
		got[kv.Key] += kv.Value.GetStringValue()
	}
	if got["cloud.region"] != "mars" || got["a"] != "2" || len(got) != 11 {
		t.Errorf("attributes are %v", got)
	}
	res.Attributes = nil
	for i := range 2 * maxCompletion {
		res.Attributes = append(res.Attributes, telemetry.Attribute{Key: fmt.Sprint("key.", i), Value: "x"})
	}
	if n := len(own(t, res)); n != maxCompletion {
		t.Errorf("%d attributes, not %d", n, maxCompletion)
	}
	if n := len(own(t, &telemetry.Resource{})); n != 2 { // the cloud's
		t.Errorf("%d attributes of nothing", n)
	}
}

// Complete equals the model on random messages; unknown fields stay; two bodies
// one after the other are both.
func TestCompleteIsFieldEqual(t *testing.T) {
	r := newRandom(t)
	r.unknown = true
	c, attributes := NewCompletion(testResource()), own(t, testResource())
	for _, signal := range signals {
		var all []byte
		both := newRequest(signal)
		for range rounds {
			want := r.request(signal)
			body := marshal(t, want)
			got := c.Complete([]byte("before "), signal, body)[len("before "):]
			completed(want, attributes)
			same(t, "complete", want, unmarshal(t, signal, got, true))
			if again := c.Complete(nil, signal, got); string(again) != string(got) {
				t.Fatal("the second time changed it again")
			}
			all = OTLPExports{}.AppendExport(all, &telemetry.Export{Signal: signal, Body: got})
			// proto.Merge would lose zeros with a sign.
			if err := (proto.UnmarshalOptions{Merge: true}).Unmarshal(marshal(t, want), both); err != nil {
				t.Fatal(err)
			}
		}
		n, err := CheckExport(signal, all)
		if err != nil || n != records(both.ProtoReflect()) {
			t.Fatalf("%d records, %v; not %d", n, err, records(both.ProtoReflect()))
		}
		same(t, "concatenated", both, unmarshal(t, signal, all, true))
	}
}

// Protobuf may say a message in several parts, to be joined.
func TestSeveralParts(t *testing.T) {
	r := newRandom(t)
	c, attributes := NewCompletion(testResource()), own(t, testResource())
	for _, signal := range signals {
		for range rounds {
			var parts []byte
			for range 3 {
				for _, data := range split(t, marshal(t, r.request(signal))) {
					parts = append(parts, data...)
				}
			}
			body := nest(nil, fieldResourceLogs, parts)
			want := unmarshal(t, signal, body, true)
			line, err := ExportToJSON(nil, signal, body)
			if err != nil {
				t.Fatal(err)
			}
			same(t, "to JSON", want, readJSON(t, signal, line))
			completed(want, attributes)
			same(t, "complete", want, unmarshal(t, signal, c.Complete(nil, signal, body), true))
		}
	}
}

// split gives the contents of the fields of a message.
func split(t *testing.T, b []byte) (all [][]byte) {
	t.Helper()
	for at := 0; at < len(b); {
		_, size, end := readField(b, at)
		if end < 0 {
			t.Fatal("not protobuf")
		}
		all = append(all, b[end-int(size):end])
		at = end
	}
	return all
}

// A log like those of an SDK: 10 resources of 100 records with 5 attributes.
func benchmarkLogs(t testing.TB) []byte {
	var text strings.Builder
	text.WriteString(`{"resourceLogs":[`)
	for i := range 10 {
		if i > 0 {
			text.WriteByte(',')
		}
		text.WriteString(`{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"checkout"}},` +
			`{"key":"telemetry.sdk.language","value":{"stringValue":"go"}},` +
			`{"key":"telemetry.sdk.name","value":{"stringValue":"opentelemetry"}}]},` +
			`"scopeLogs":[{"scope":{"name":"shop/checkout"},"logRecords":[`)
		for k := range 100 {
			if k > 0 {
				text.WriteByte(',')
			}
			fmt.Fprintf(&text, `{"timeUnixNano":"%d","observedTimeUnixNano":"%[1]d","severityNumber":9,`+
				`"severityText":"INFO","body":{"stringValue":"order %d was placed and paid, sending the confirmation"},`+
				`"attributes":[{"key":"http.request.method","value":{"stringValue":"POST"}},`+
				`{"key":"http.response.status_code","value":{"intValue":"200"}},`+
				`{"key":"order.total","value":{"doubleValue":99.5}},{"key":"order.paid","value":{"boolValue":true}},`+
				`{"key":"code.function.name","value":{"stringValue":"shop/checkout.(*Handler).Place"}}],`+
				`"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174","flags":1}`,
				time.Date(2026, 10, 1, 9, 0, 0, k, time.UTC).UnixNano(), i*100+k)
		}
		text.WriteString(`]}]}`)
	}
	text.WriteString(`]}`)
	body, err := ExportFromJSON(nil, telemetry.Logs, []byte(text.String()))
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func TestExportsAllocateNothing(t *testing.T) {
	body := benchmarkLogs(t)
	c := NewCompletion(testResource())
	line, err := ExportToJSON(nil, telemetry.Logs, body)
	if err != nil {
		t.Fatal(err)
	}
	dst := make([]byte, 0, 4<<20)
	e := &telemetry.Export{Signal: telemetry.Logs, Records: 1000, Body: body}
	lines := NDJSON(testResource()).(*ndjson)
	for name, f := range map[string]func(){
		"check":       func() { _, _ = CheckExport(telemetry.Logs, body) },
		"complete":    func() { dst = c.Complete(dst[:0], telemetry.Logs, body) },
		"to JSON":     func() { dst, _ = ExportToJSON(dst[:0], telemetry.Logs, body) },
		"from JSON":   func() { dst, _ = ExportFromJSON(dst[:0], telemetry.Logs, line) },
		"as it is":    func() { dst = OTLPExports{}.AppendExport(dst[:0], e) },
		"line export": func() { dst = lines.AppendExport(dst[:0], e) },
	} {
		if n := testing.AllocsPerRun(20, f); n != 0 {
			t.Errorf("%s: %v allocations for 1,000 records", name, n)
		}
	}
}

func BenchmarkExports(b *testing.B) {
	body := benchmarkLogs(b)
	c := NewCompletion(testResource())
	line, _ := ExportToJSON(nil, telemetry.Logs, body)
	dst := make([]byte, 0, 4<<20)
	for _, tt := range []struct {
		name string
		f    func()
	}{
		{"CheckAndComplete", func() {
			_, _ = CheckExport(telemetry.Logs, body)
			dst = c.Complete(dst[:0], telemetry.Logs, body)
		}},
		{"Check", func() { _, _ = CheckExport(telemetry.Logs, body) }},
		{"Complete", func() { dst = c.Complete(dst[:0], telemetry.Logs, body) }},
		{"ToJSON", func() { dst, _ = ExportToJSON(dst[:0], telemetry.Logs, body) }},
		{"FromJSON", func() { dst, _ = ExportFromJSON(dst[:0], telemetry.Logs, line) }},
	} {
		b.Run(tt.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				tt.f()
			}
			b.ReportMetric(math.Round(float64(b.N)*1000/b.Elapsed().Seconds()), "records/s")
		})
	}
}
