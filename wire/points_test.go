package wire

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	commonpb "go.opentelemetry.io/proto/slim/otlp/common/v1"
	metricspb "go.opentelemetry.io/proto/slim/otlp/metrics/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"slipstream/telemetry"
)

var testNow = time.Unix(1_700_000_000, 0)

func newTestPoints() *Points { return NewPoints(NewCompletion(testResource()), "test") }

// metricsOracle reads a body with OpenTelemetry's own messages. MetricsData has
// the same fields as ExportMetricsServiceRequest.
func metricsOracle(t *testing.T, body []byte) *metricspb.ResourceMetrics {
	t.Helper()
	var data metricspb.MetricsData
	if err := proto.Unmarshal(body, &data); err != nil {
		t.Fatalf("the oracle refuses the body: %v", err)
	}
	if len(data.ProtoReflect().GetUnknown()) != 0 || len(data.ResourceMetrics) != 1 ||
		len(data.ResourceMetrics[0].ScopeMetrics) != 1 {
		t.Fatalf("not one resource and one scope: %v", &data)
	}
	return data.ResourceMetrics[0]
}

func text(s string) *commonpb.AnyValue {
	return &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: s}}
}

func attribute(key, value string) *commonpb.KeyValue {
	return &commonpb.KeyValue{Key: key, Value: text(value)}
}

func number(start, at time.Time, v float64, attributes ...*commonpb.KeyValue) *metricspb.NumberDataPoint {
	return &metricspb.NumberDataPoint{StartTimeUnixNano: unixNano(start), TimeUnixNano: unixNano(at),
		Value: &metricspb.NumberDataPoint_AsDouble{AsDouble: v}, Attributes: attributes}
}

func sumOf(name string, monotonic bool, points ...*metricspb.NumberDataPoint) *metricspb.Metric {
	return &metricspb.Metric{Name: name, Data: &metricspb.Metric_Sum{Sum: &metricspb.Sum{DataPoints: points,
		IsMonotonic: monotonic, AggregationTemporality: metricspb.AggregationTemporality_AGGREGATION_TEMPORALITY_DELTA}}}
}

func gaugeOf(name string, points ...*metricspb.NumberDataPoint) *metricspb.Metric {
	return &metricspb.Metric{Name: name, Data: &metricspb.Metric_Gauge{Gauge: &metricspb.Gauge{DataPoints: points}}}
}

func histogramOf(name, unit string, points ...*metricspb.HistogramDataPoint) *metricspb.Metric {
	return &metricspb.Metric{Name: name, Unit: unit, Data: &metricspb.Metric_Histogram{Histogram: &metricspb.Histogram{
		DataPoints:             points,
		AggregationTemporality: metricspb.AggregationTemporality_AGGREGATION_TEMPORALITY_DELTA}}}
}

func tags(pairs ...string) (tags []telemetry.Tag) {
	for i := 0; i < len(pairs); i += 2 {
		tags = append(tags, telemetry.Tag{Key: []byte(pairs[i]), Value: []byte(pairs[i+1])})
	}
	return tags
}

// at is a moment given by a point itself, so that its start is unknown.
var at = time.Unix(1_600_000_000, 5)

func TestPoints(t *testing.T) {
	var none time.Time
	tenth := 0.1
	for _, tt := range []struct {
		name  string
		point telemetry.Point
		want  *metricspb.Metric
	}{
		{"counter", telemetry.Point{Kind: telemetry.Counter, Time: at, Value: 2.5, Count: 1, Tags: tags("a", "1", "b", "")},
			sumOf("m", true, number(none, at, 2.5, attribute("a", "1"), attribute("b", "")))},
		{"negative counter", telemetry.Point{Kind: telemetry.Counter, Time: at, Value: -2},
			sumOf("m", false, number(none, at, -2))},
		{"gauge", telemetry.Point{Kind: telemetry.Gauge, Time: at, Value: -1, Source: []byte("host"),
			Tags: tags("source", "tag")}, gaugeOf("m", number(none, at, -1, attribute("source", "host")))},
		{"gauge change", telemetry.Point{Kind: telemetry.GaugeChange, Time: at, Value: 3},
			sumOf("m", false, number(none, at, 3))},
		{"set", telemetry.Point{Kind: telemetry.Set, Time: at, Member: []byte("ü7"), Tags: tags("set.member", "x", "k", "v")},
			sumOf("m", true, number(none, at, 1, attribute("set.member", "ü7"), attribute("k", "v")))},
		{"value", telemetry.Point{Kind: telemetry.Distribution, Time: at, Value: 7.5, Count: 1, Unit: "ms"},
			histogramOf("m", "ms", &metricspb.HistogramDataPoint{TimeUnixNano: unixNano(at), Count: 1,
				Sum: proto.Float64(7.5), Min: proto.Float64(7.5), Max: proto.Float64(7.5),
				ExplicitBounds: []float64{7.5}, BucketCounts: []uint64{1, 0}})},
		{"sampled value", telemetry.Point{Kind: telemetry.Distribution, Time: at, Value: tenth, Count: 1 / 0.3},
			histogramOf("m", "", &metricspb.HistogramDataPoint{TimeUnixNano: unixNano(at), Count: 3,
				Sum: proto.Float64(3 * tenth), Min: proto.Float64(tenth), Max: proto.Float64(tenth),
				ExplicitBounds: []float64{tenth}, BucketCounts: []uint64{3, 0}})},
		{"centroids", telemetry.Point{Kind: telemetry.Distribution, Time: at, Bin: time.Minute, Tags: tags("k", "v"),
			Centroids: []telemetry.Centroid{{Value: -1, Count: 2}, {Value: 4, Count: 1}, {Value: 4, Count: 3},
				{Value: 10, Count: 0}}},
			histogramOf("m", "", &metricspb.HistogramDataPoint{StartTimeUnixNano: unixNano(at),
				TimeUnixNano: unixNano(at.Add(time.Minute)), Count: 7, Sum: proto.Float64(24),
				Min: proto.Float64(-1), Max: proto.Float64(10), ExplicitBounds: []float64{-1, 4, 10},
				BucketCounts: []uint64{2, 4, 1, 0}, Attributes: []*commonpb.KeyValue{attribute("k", "v")}})},
		{"a name several times", telemetry.Point{Kind: telemetry.Gauge, Time: at, Value: 1,
			Tags: tags("env", "a", "x", "y", "env", "b", "env", strings.Repeat("c", 200))},
			gaugeOf("m", number(none, at, 1, &commonpb.KeyValue{Key: "env", Value: &commonpb.AnyValue{
				Value: &commonpb.AnyValue_ArrayValue{ArrayValue: &commonpb.ArrayValue{
					Values: []*commonpb.AnyValue{text("a"), text("b"), text(strings.Repeat("c", 200))}}}}}, attribute("x", "y")))},
		{"not UTF-8", telemetry.Point{Kind: telemetry.Gauge, Time: at, Value: 1, Tags: tags("a\xff", "b\xfe")},
			gaugeOf("m", number(none, at, 1, attribute("a\ufffd", "b\ufffd")))},
	} {
		p := newTestPoints()
		tt.point.Name = []byte("m")
		p.Append(&tt.point, testNow)
		export := p.Export()
		scope := &commonpb.InstrumentationScope{Name: "test"}
		want := &metricspb.ScopeMetrics{Scope: scope, Metrics: []*metricspb.Metric{tt.want}}
		got := metricsOracle(t, export.Body)
		if diff := cmp.Diff(want, got.ScopeMetrics[0], protocmp.Transform()); diff != "" || export.Records != 1 {
			t.Errorf("%s: %d records (-want +got):\n%s", tt.name, export.Records, diff)
		}
		if v := got.Resource.GetAttributes(); len(v) == 0 || v[0].Key != "service.name" {
			t.Errorf("%s: resource %v", tt.name, got.Resource)
		}
	}
}

// Points of one name, unit and shape share a Metric; their times rise and no two
// of them overlap, whatever the clock does.
func TestPointsOfOneMetric(t *testing.T) {
	p := newTestPoints()
	count := func(name string, v float64, now time.Time) {
		p.Append(&telemetry.Point{Kind: telemetry.Counter, Name: []byte(name), Value: v}, now)
	}
	count("a", 1, testNow)
	count("a", 2, testNow)
	count("a", 3, testNow.Add(time.Second))
	if got := p.Export().Records; got != 3 {
		t.Errorf("%d records in between", got)
	}
	count("a", 4, testNow)
	count("a", -5, testNow.Add(5*time.Second))
	count("b", 6, testNow.Add(6*time.Second))
	hour := testNow.Add(-time.Hour)
	count("b", 7, hour)
	second := testNow.Add(time.Second)
	want := []*metricspb.Metric{
		sumOf("a", true, number(time.Time{}, testNow, 1), number(testNow, testNow.Add(1), 2),
			number(testNow.Add(1), second, 3)),
		sumOf("a", true, number(second, second.Add(1), 4)),
		sumOf("a", false, number(second.Add(1), testNow.Add(5*time.Second), -5)),
		sumOf("b", true, number(testNow.Add(5*time.Second), testNow.Add(6*time.Second), 6), number(time.Time{}, hour, 7)),
	}
	got := metricsOracle(t, p.Export().Body).ScopeMetrics[0].Metrics
	if second == testNow || len(got) != 4 {
		t.Fatalf("%d metrics: %v", len(got), got)
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := p.Export(); got.Records != 7 || len(got.Body) > p.Size() {
		t.Errorf("%d records, %d bytes, said %d", got.Records, len(got.Body), p.Size())
	}
	p.Reset()
	if e := p.Export(); e.Records != 0 || len(e.Body) != 0 || p.Size() != 0 || e.Signal != telemetry.Metrics {
		t.Errorf("after Reset: %+v", e)
	}
}

// Metrics of every size around the widths of a length, and bodies one after the other.
func TestPointsOfAnySize(t *testing.T) {
	p := newTestPoints()
	var both []byte
	points := 0
	for _, size := range []int{0, 1, 60, 100, 120, 127, 128, 200, 8000, 16_300, 16_384, 70_000} {
		for range 300 {
			p.Append(&telemetry.Point{Kind: telemetry.Distribution, Name: []byte("m"), Value: 1, Tags: tags("k", "v")}, testNow)
		}
		value := strings.Repeat("x", size)
		p.Append(&telemetry.Point{Name: []byte(value), Value: 1, Unit: value, Tags: tags("k", value)}, testNow)
		metrics := metricsOracle(t, p.Export().Body).ScopeMetrics[0].Metrics
		last := metrics[len(metrics)-1]
		if got := last.GetGauge().DataPoints[0].Attributes[0].Value.GetStringValue(); got != value || last.Unit != value ||
			last.Name != value {
			t.Errorf("a value of %d bytes came back as %d", size, len(got))
		}
		if len(metrics) > 10 {
			t.Errorf("%d metrics: they share none", len(metrics))
		}
		both, points = append(both, p.Export().Body...), points+p.Export().Records
		p.Reset()
	}
	var data metricspb.MetricsData
	if err := proto.Unmarshal(both, &data); err != nil || len(data.ResourceMetrics) != 12 || points != 12*301 {
		t.Errorf("bodies after each other: %d resources, %d points, %v", len(data.ResourceMetrics), points, err)
	}
}

func benchmarkPoints() []telemetry.Point {
	label := tags("environment", "production", "region", "eu-central-1", "function", "checkout")
	return []telemetry.Point{
		{Kind: telemetry.Counter, Name: []byte("shop.orders.placed"), Value: 1, Count: 1, Tags: label},
		{Kind: telemetry.Distribution, Name: []byte("shop.latency"), Value: 12.5, Count: 1, Unit: "ms", Tags: label},
		{Kind: telemetry.Gauge, Name: []byte("shop.stock"), Value: 1999, Tags: label},
		{Kind: telemetry.Set, Name: []byte("shop.visitors"), Member: []byte("7f3a"), Source: []byte("host-1"),
			Tags: tags("team", "a", "team", "b")},
	}
}

func TestPointsAllocateNothing(t *testing.T) {
	p, points := newTestPoints(), benchmarkPoints()
	round := func() {
		for range 50 {
			for i := range points {
				p.Append(&points[i], testNow)
			}
		}
		if len(p.Export().Body) == 0 {
			t.Error("nothing exported")
		}
		p.Reset()
	}
	round()
	if n := testing.AllocsPerRun(20, round); n != 0 {
		t.Errorf("%v allocations for 200 points", n)
	}
}

func BenchmarkPoints(b *testing.B) {
	p, points := newTestPoints(), benchmarkPoints()
	b.ReportAllocs()
	size, n := 0, 0
	for b.Loop() {
		p.Append(&points[n%len(points)], testNow)
		if n++; p.Size() > 64<<10 {
			size += len(p.Export().Body)
			p.Reset()
		}
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "points/s")
	b.ReportMetric(float64(size)/float64(n), "bytes/point")
}

func FuzzPoints(f *testing.F) {
	f.Add(uint8(1), "name", "k", "v", "member", 1.5, 2.0, int64(5))
	f.Add(uint8(3), "\xff", "", "\xfe", "", -1e300, 1e300, int64(-1))
	f.Fuzz(func(t *testing.T, kind uint8, name, key, value, member string, v, count float64, nanos int64) {
		if math.IsNaN(v) || math.IsInf(v, 0) || math.IsInf(2*v, 0) {
			return
		}
		point := telemetry.Point{Kind: telemetry.PointKind(kind % 5), Name: []byte(name), Value: v, Count: count,
			Member: []byte(member), Unit: value, Source: []byte(value), Tags: tags(key, value, "x", "y", key, member),
			Time: time.Unix(0, nanos), Bin: time.Duration(count)}
		if nanos%2 == 0 {
			point.Centroids = []telemetry.Centroid{{Value: v, Count: count}, {Value: v, Count: 1}}
		}
		p := newTestPoints()
		p.Append(&point, testNow)
		p.Append(&telemetry.Point{Name: []byte(name), Value: 1}, testNow)
		p.Append(&point, testNow)
		points := 0
		for _, m := range metricsOracle(t, p.Export().Body).ScopeMetrics[0].Metrics {
			if want := string(bytes.ToValidUTF8([]byte(name), []byte("\ufffd"))); utf8Runs(m.Name) != utf8Runs(want) {
				t.Errorf("name %q became %q", name, m.Name)
			}
			points += len(m.GetGauge().GetDataPoints()) + len(m.GetSum().GetDataPoints()) + len(m.GetHistogram().GetDataPoints())
			for _, h := range m.GetHistogram().GetDataPoints() {
				if len(h.BucketCounts) != len(h.ExplicitBounds)+1 || len(h.BucketCounts) == 0 || *h.Min != v || *h.Max != v {
					t.Errorf("not a histogram: %v", h)
				}
			}
		}
		if points != 3 {
			t.Errorf("%d points of 3", points)
		}
	})
}

// utf8Runs makes one replacement character of several in a row.
func utf8Runs(s string) string {
	for strings.Contains(s, "\ufffd\ufffd") {
		s = strings.ReplaceAll(s, "\ufffd\ufffd", "\ufffd")
	}
	return s
}

func ExamplePoints() {
	p := NewPoints(NewCompletion(&telemetry.Resource{FunctionName: "f"}), "statsd")
	p.Append(&telemetry.Point{Kind: telemetry.Counter, Name: []byte("orders"), Value: 1}, time.Unix(1, 0))
	fmt.Println(p.Export().Signal, p.Export().Records)
	// Output: metrics 1
}
