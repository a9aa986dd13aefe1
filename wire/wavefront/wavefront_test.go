package wavefront

import (
	"context"
	"io"
	"maps"
	"math"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	commonpb "go.opentelemetry.io/proto/slim/otlp/common/v1"
	metricspb "go.opentelemetry.io/proto/slim/otlp/metrics/v1"
	resourcepb "go.opentelemetry.io/proto/slim/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/slim/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	intake "slipstream/intake/wavefront"
	"slipstream/telemetry"
	"slipstream/test/exported"
	"slipstream/wire"
	"slipstream/wire/otlpread"
)

const at = 1533529977

func number(nanos int64, v float64, attributes ...string) *metricspb.NumberDataPoint {
	return exported.Number(time.Unix(at, nanos), v, attributes...)
}

// encode gives the lines and what was dropped.
func encode(o Options, body []byte) (string, map[string]int) {
	dropped := map[string]int{}
	lines := New(o).AppendBody(nil, body, func(reason string, n int) { dropped[reason] += n })
	return string(lines), dropped
}

// taken gives what the local proxy makes of lines: its exports, and its
// complaints.
func taken(t testing.TB, lines string) (exports []telemetry.Export, dropped map[string]int) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	dropped = map[string]int{}
	server := intake.Serve(listener, intake.Options{
		Completion: wire.NewCompletion(&telemetry.Resource{}),
		Take: func(x *telemetry.Export) error {
			mu.Lock()
			defer mu.Unlock()
			kept := *x
			kept.Body = slices.Clone(x.Body)
			exports = append(exports, kept)
			return nil
		},
		Drop: func(reason string, n int) {
			mu.Lock()
			defer mu.Unlock()
			dropped[reason] += n
		},
	})
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, lines); err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(conn); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	return exports, dropped
}

func TestMetricLines(t *testing.T) {
	fifteen := 600.0
	least, most := 30.0, 30.0
	for name, tt := range map[string]struct {
		metric  *metricspb.Metric
		want    string
		dropped map[string]int
	}{
		"the SDK's golden point": {exported.Gauge("foo.metric", "", number(0, 1.2, "env", "test")),
			`"foo.metric" 1.2 1533529977 source="test_source" "env"="test"` + "\n", nil},
		"the SDK's golden histogram": {exported.Histogram("request.latency", "", 1, &metricspb.HistogramDataPoint{
			TimeUnixNano: at * 1e9, Count: 20, Sum: &fifteen, BucketCounts: []uint64{20, 0},
			ExplicitBounds: []float64{50}, Min: &least, Max: &most, Attributes: exported.Text("env", "test")}),
			`!M 1533529920 #20 30 "request.latency" source="test_source" "env"="test"` + "\n", nil},
		"no time": {exported.Gauge("g", "", &metricspb.NumberDataPoint{Value: &metricspb.NumberDataPoint_AsInt{AsInt: 5}}),
			`"g" 5 source="test_source"` + "\n", nil},
		"a gauge twice in one second": {exported.Gauge("g", "", number(5, 1), number(9, 2), number(7, 3), number(1e9, 4)),
			`"g" 2 1533529977 source="test_source"` + "\n" + `"g" 4 1533529978 source="test_source"` + "\n",
			map[string]int{"superseded": 2}},
		"deltas add up": {exported.Sum("c", "", 1, true, number(5, 1), number(9, 2), number(9, 0), number(9, 4, "a", "b")),
			`"∆c" 3 1533529977 source="test_source"` + "\n" + `"∆c" 4 1533529977 source="test_source" "a"="b"` + "\n", nil},
		"a negative delta": {exported.Sum("c", "", 1, true, number(5, -1)), "", map[string]int{"negative_delta": 1}},
		"cumulative": {exported.Sum("c", "", 2, true, number(5, 7)),
			`"c" 7 1533529977 source="test_source"` + "\n", nil},
		"no number": {exported.Gauge("g", "", number(5, math.NaN()), number(5, math.Inf(1))), "",
			map[string]int{"not_a_number": 2}},
		"no name": {exported.Gauge("", "", number(5, 1)), "", map[string]int{"no_name": 1}},
		"a cumulative histogram": {exported.Histogram("h", "", 2, &metricspb.HistogramDataPoint{TimeUnixNano: at * 1e9,
			Count: 3, Sum: &fifteen, BucketCounts: []uint64{1, 2}, ExplicitBounds: []float64{50}}),
			`"h.count" 3 1533529977 source="test_source"` + "\n" + `"h.sum" 600 1533529977 source="test_source"` + "\n" +
				`"h" 1 1533529977 source="test_source" "le"="50"` + "\n" +
				`"h" 3 1533529977 source="test_source" "le"="+Inf"` + "\n", nil},
		"hard text": {exported.Gauge("ä b\"", "", number(0, 1, "k ey", "a\"b\nc\\", "empty", " ", "host", "h",
			"source", " own\\\\")),
			`"---b-" 1 1533529977 source="own//" "k-ey"="a\"b\nc/" "_host"="h"` + "\n", nil},
		"the minute that ended": {exported.Sum("c", "", 1, true, exported.Counted(time.Unix(120, 0), 5)),
			`"∆c" 5 119 source="test_source"` + "\n", nil},
	} {
		t.Run(name, func(t *testing.T) {
			got, dropped := encode(Options{Source: "test_source"}, exported.MetricsOf(t, nil, tt.metric))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			if !maps.Equal(dropped, tt.dropped) {
				t.Errorf("dropped %v", dropped)
			}
			if _, complaints := taken(t, got); len(complaints) > 0 {
				t.Errorf("a proxy refuses: %v", complaints)
			}
		})
	}
}

// What the lines say is what was exported, as another reads them.
func TestRoundTrip(t *testing.T) {
	total := 9.5
	lines, _ := encode(Options{Tags: []string{"faas.instance"}}, exported.MetricsOf(t,
		exported.Text("faas.name", "shop", "faas.instance", "env-1", "process.pid", "7"),
		exported.Gauge("memory", "", number(0, 64, "k", `a "b" \c`)),
		exported.Sum("calls", "", 1, true, number(0, 2), number(1, 3)),
		exported.ExponentialHistogram("duration", "", 1, &metricspb.ExponentialHistogramDataPoint{TimeUnixNano: at * 1e9,
			Count: 4, Sum: &total, Positive: &metricspb.ExponentialHistogramDataPoint_Buckets{BucketCounts: []uint64{2, 2}}})))
	exports, complaints := taken(t, lines)
	if len(complaints) > 0 {
		t.Fatalf("%v in:\n%s", complaints, lines)
	}
	var got []string
	var r otlpread.Reader
	for _, x := range exports {
		if err := r.Metrics(x.Body, func(p *otlpread.Point) {
			said := string(p.Name)
			for k, v := range p.Attributes.All() {
				said += " " + string(k) + "=" + string(v.AppendText(nil))
			}
			switch p.Name[0] {
			case 'd':
				if p.Count != 4 || math.Abs(p.Sum-total) > 1e-9 || p.Temporality != otlpread.Delta {
					t.Errorf("the distribution is %+v", p)
				}
			case 'c':
				if p.Value != 5 || p.Temporality != otlpread.Delta || !p.Monotonic {
					t.Errorf("the counter is %+v", p)
				}
			}
			got = append(got, said)
		}); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{`memory source=shop k=a "b" \c faas.instance=env-1`, "calls source=shop faas.instance=env-1",
		"duration source=shop faas.instance=env-1"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s\n%s", diff, lines)
	}
}

// Every limit of the proxy, reached: it refuses nothing.
func TestWithinLimits(t *testing.T) {
	var attributes []string
	for i := range 300 {
		key := strings.Repeat("k", i) + string(rune('a'+i%26))
		attributes = append(attributes, key, strings.Repeat("ü\"", 400))
	}
	point := number(0, 1, attributes...)
	counts := make([]uint64, maxLines*maxCentroids+100)
	for i := range counts {
		counts[i] = uint64(i) + 1
	}
	long := strings.Repeat("n", 5000)
	lines, dropped := encode(Options{Source: strings.Repeat("é", 2000)}, exported.MetricsOf(t, nil,
		exported.Gauge(long, "", point), exported.Sum(long, "", 1, true, point),
		exported.ExponentialHistogram(long, "", 1, &metricspb.ExponentialHistogramDataPoint{TimeUnixNano: at * 1e9,
			Count: 980700, Scale: 6, Attributes: point.Attributes,
			Positive: &metricspb.ExponentialHistogramDataPoint_Buckets{BucketCounts: counts}})))
	_, complaints := taken(t, lines)
	if n := strings.Count(lines, "\n"); len(complaints) > 0 || len(dropped) > 0 || n != 2+maxLines {
		t.Errorf("complaints %v, dropped %v, %d lines of %d bytes", complaints, dropped, n, len(lines))
	}
}

func spanRequest(t testing.TB, resource []*commonpb.KeyValue, list ...*tracepb.Span) []byte {
	t.Helper()
	body, err := proto.Marshal(&tracepb.TracesData{ResourceSpans: []*tracepb.ResourceSpans{{
		Resource: &resourcepb.Resource{Attributes: resource}, ScopeSpans: []*tracepb.ScopeSpans{{Spans: list}}}}})
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func TestSpanLines(t *testing.T) {
	span := &tracepb.Span{TraceId: []byte("\x01\x23\x45\x67\x89\xab\xcd\xef\x01\x23\x45\x67\x89\xab\xcd\xef"),
		SpanId: []byte("\xfe\xdc\xba\x98\x76\x54\x32\x10"), ParentSpanId: []byte("\x00\x00\x00\x00\x00\x00\x00\x07"),
		Name: "GET /*", Kind: 2, StartTimeUnixNano: 1533529977_123456789, EndTimeUnixNano: 1533529977_456999999,
		Attributes: exported.Text("http.route", "/", "5", "x"), Status: &tracepb.Status{Code: 2, Message: "no"},
		Events: []*tracepb.Span_Event{{TimeUnixNano: 1533529977_200000000, Name: "re\"try",
			Attributes: exported.Text("n", "1")}}}
	lines, dropped := encode(Options{Signal: telemetry.Traces, Tags: []string{"faas.instance"}},
		spanRequest(t, exported.Text("faas.name", "shop", "service.name", "checkout", "faas.instance", "env-1"), span,
			&tracepb.Span{Name: "no id"}, &tracepb.Span{TraceId: span.TraceId, SpanId: span.SpanId}))
	const line = `"GET /-" source="shop" traceId=01234567-89ab-cdef-0123-456789abcdef ` +
		`spanId=00000000-0000-0000-fedc-ba9876543210 parent=00000000-0000-0000-0000-000000000007 "_spanLogs"="true" ` +
		`"application"="checkout" "service"="checkout" "span.kind"="server" "error"="true" "status.message"="no" ` +
		`"http.route"="/" "_5"="x" "faas.instance"="env-1" 1533529977123 333` + "\n"
	logs := `{"traceId":"01234567-89ab-cdef-0123-456789abcdef","spanId":"00000000-0000-0000-fedc-ba9876543210",` +
		`"logs":[{"timestamp":1533529977200000,"fields":{"event":"re\"try","n":"1"}}],"span":` +
		string(otlpread.AppendQuoted(nil, []byte(strings.TrimSuffix(line, "\n")))) + "}\n"
	if diff := cmp.Diff(line+logs, lines); diff != "" {
		t.Error(diff)
	}
	if !maps.Equal(dropped, map[string]int{"no_id": 1, "no_time": 1}) {
		t.Errorf("dropped %v", dropped)
	}
	exports, complaints := taken(t, lines)
	if len(complaints) > 0 || len(exports) != 2 {
		t.Fatalf("complaints %v, %d exports", complaints, len(exports))
	}
	var r otlpread.Reader
	for _, x := range exports {
		if x.Signal != telemetry.Traces {
			continue
		}
		if err := r.Spans(x.Body, func(s *otlpread.Span) {
			if string(s.Trace) != string(span.TraceId) || string(s.ID) != string(span.SpanId) ||
				string(s.Parent) != string(span.ParentSpanId) || s.Kind != 2 || s.Status != 2 {
				t.Errorf("it came back as %+v", s)
			}
		}); err != nil {
			t.Error(err)
		}
	}
}

// Whatever is exported, a proxy refuses no line of it.
func FuzzLines(f *testing.F) {
	f.Add("name", "key", "value", "source", 1.5, int64(at*1e9))
	f.Add("∆\"", "5", "a\\", "\x04\x00", math.Inf(-1), int64(-1))
	f.Add("0", " ", "A", "\x1c", -27.0, int64(at*1e9))
	f.Add("~", "=", "\xff\n\r\"", "a b", 1e300, int64(math.MaxInt64))
	f.Fuzz(func(t *testing.T, name, key, value, source string, v float64, when int64) {
		valid := func(s string) string { return strings.ToValidUTF8(s, "?") }
		name, key, value, source = valid(name), valid(key), valid(value), valid(source)
		point := &metricspb.NumberDataPoint{TimeUnixNano: uint64(when), Attributes: exported.Text(key, value, value, key),
			Value: &metricspb.NumberDataPoint_AsDouble{AsDouble: v}}
		body := exported.MetricsOf(t, exported.Text(key, value, "faas.name", source), exported.Gauge(name, "", point),
			exported.Sum(name, "", 1, true, point), exported.Histogram(name, "", 1, &metricspb.HistogramDataPoint{
				TimeUnixNano: uint64(when), Attributes: point.Attributes, BucketCounts: []uint64{1, 2},
				ExplicitBounds: []float64{v}}))
		lines, _ := encode(Options{Source: source, Tags: []string{key}}, body)
		if _, complaints := taken(t, lines); len(complaints) > 0 {
			t.Errorf("%v: %q", complaints, lines)
		}
		lines, _ = encode(Options{Signal: telemetry.Traces, Tags: []string{key}}, spanRequest(t, exported.Text(key, value),
			&tracepb.Span{TraceId: []byte("0123456789abcdef"), SpanId: []byte("01234567"), Name: name,
				StartTimeUnixNano: uint64(when), Attributes: point.Attributes,
				Events: []*tracepb.Span_Event{{TimeUnixNano: uint64(when), Name: value, Attributes: point.Attributes}}}))
		if _, complaints := taken(t, lines); len(complaints) > 0 {
			t.Errorf("%v: %q", complaints, lines)
		}
	})
}

// What is allocated are the body's own lists, nothing for a point.
func TestNoAllocationForEachPoint(t *testing.T) {
	points := make([]*metricspb.NumberDataPoint, 1000)
	for i := range points {
		points[i] = number(int64(i)*1e9, float64(i), "route", "/cart")
	}
	metrics := []*metricspb.Metric{exported.Sum("requests", "", 1, true, points...)}
	for range 1000 {
		metrics = append(metrics, exported.Histogram("took", "", 1, &metricspb.HistogramDataPoint{
			TimeUnixNano: at * 1e9, Count: 3, BucketCounts: []uint64{1, 2}, ExplicitBounds: []float64{50}}))
	}
	body := exported.MetricsOf(t, nil, metrics...)
	e := New(Options{})
	var dst []byte
	if n := testing.AllocsPerRun(10, func() { dst = e.AppendBody(dst[:0], body, func(string, int) {}) }); n > 200 {
		t.Errorf("%v allocations for 2,000 points", n)
	}
}

func BenchmarkAppendBody(b *testing.B) {
	points := make([]*metricspb.NumberDataPoint, 1000)
	for i := range points {
		points[i] = number(int64(i)*1e9, float64(i), "route", "/cart", "status", "200")
	}
	body := exported.MetricsOf(b,
		exported.Text("faas.name", "shop", "faas.instance", "0d4e3a52-5a1f-4d7c-9d5e-3f6f9e6c1c11"),
		exported.Sum("requests", "", 1, true, points...))
	e := New(Options{Tags: []string{"faas.instance"}})
	var dst []byte
	for b.Loop() {
		dst = e.AppendBody(dst[:0], body, func(string, int) {})
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/point")
}
