package prometheus

import (
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	commonpb "go.opentelemetry.io/proto/slim/otlp/common/v1"
	metricspb "go.opentelemetry.io/proto/slim/otlp/metrics/v1"
	resourcepb "go.opentelemetry.io/proto/slim/otlp/resource/v1"
	"google.golang.org/protobuf/proto"

	"slipstream/wire/otlpread"
)

func text(pairs ...string) (list []*commonpb.KeyValue) {
	for i := 0; i < len(pairs); i += 2 {
		list = append(list, &commonpb.KeyValue{Key: pairs[i],
			Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: pairs[i+1]}}})
	}
	return list
}

func export(t testing.TB, metrics ...*metricspb.Metric) []byte {
	t.Helper()
	body, err := proto.Marshal(&metricspb.MetricsData{ResourceMetrics: []*metricspb.ResourceMetrics{{
		Resource: &resourcepb.Resource{Attributes: text("service.name", "shop", "faas.instance", "env-1", "faas.version", "7",
			"process.pid", "1")},
		ScopeMetrics: []*metricspb.ScopeMetrics{{Metrics: metrics}}}}})
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func number(at time.Time, v float64, attributes ...string) *metricspb.NumberDataPoint {
	return &metricspb.NumberDataPoint{TimeUnixNano: uint64(at.UnixNano()), Attributes: text(attributes...),
		StartTimeUnixNano: uint64(at.UnixNano()) - 60e9, Value: &metricspb.NumberDataPoint_AsDouble{AsDouble: v}}
}

func gauge(name, unit string, points ...*metricspb.NumberDataPoint) *metricspb.Metric {
	return &metricspb.Metric{Name: name, Unit: unit, Data: &metricspb.Metric_Gauge{
		Gauge: &metricspb.Gauge{DataPoints: points}}}
}

func sum(name, unit string, temporality int32, monotonic bool, points ...*metricspb.NumberDataPoint) *metricspb.Metric {
	return &metricspb.Metric{Name: name, Unit: unit, Data: &metricspb.Metric_Sum{Sum: &metricspb.Sum{DataPoints: points,
		AggregationTemporality: metricspb.AggregationTemporality(temporality), IsMonotonic: monotonic}}}
}

// exponential is a histogram of values, as an SDK at that scale counts them.
func exponential(at time.Time, scale int32, values ...float64) *metricspb.ExponentialHistogramDataPoint {
	total := 0.0
	p := &metricspb.ExponentialHistogramDataPoint{TimeUnixNano: uint64(at.UnixNano()), Scale: scale,
		StartTimeUnixNano: uint64(at.UnixNano()) - 60e9, Count: uint64(len(values)), Sum: &total,
		Positive: &metricspb.ExponentialHistogramDataPoint_Buckets{},
		Negative: &metricspb.ExponentialHistogramDataPoint_Buckets{}}
	for _, v := range values {
		total += v
		side := p.Positive
		if v < 0 {
			side = p.Negative
		}
		if v == 0 {
			p.ZeroCount++
			continue
		}
		index := int32(math.Ceil(math.Log2(math.Abs(v))*math.Ldexp(1, int(scale)))) - 1
		if len(side.BucketCounts) == 0 {
			side.Offset = index
		}
		for ; index < side.Offset; side.Offset-- {
			side.BucketCounts = append([]uint64{0}, side.BucketCounts...)
		}
		for int(index-side.Offset) >= len(side.BucketCounts) {
			side.BucketCounts = append(side.BucketCounts, 0)
		}
		side.BucketCounts[index-side.Offset]++
	}
	return p
}

func histogram(name string, points ...*metricspb.ExponentialHistogramDataPoint) *metricspb.Metric {
	return &metricspb.Metric{Name: name, Unit: "s", Data: &metricspb.Metric_ExponentialHistogram{
		ExponentialHistogram: &metricspb.ExponentialHistogram{AggregationTemporality: 2, DataPoints: points}}}
}

// encode gives the request and what was dropped.
func encode(o Options, records []byte) ([]byte, map[string]int) {
	dropped := map[string]int{}
	return New(o).AppendBody(nil, records, func(reason string, n int) { dropped[reason] += n }), dropped
}

func TestNames(t *testing.T) {
	for in, want := range map[string]string{
		"faas.invoke_duration s":     "faas_invoke_duration_seconds",
		"system.memory.usage By":     "system_memory_usage_bytes",
		"memory.bytes By":            "memory_bytes",
		"a..b {thing}":               "a_b",
		"7up 1":                      "_7up_ratio",
		"http.server.request.total ": "http_server_request_total",
		"rate By/s":                  "rate_bytes_per_second",
		"speed m/{x}":                "speed_meters",
		"ü ":                         "_",
		"usage %":                    "usage_percent",
		"odd foo^2":                  "odd_foo_2",
	} {
		metric, unit, _ := strings.Cut(in, " ")
		body, _ := encode(Options{}, export(t, gauge(metric, unit, number(time.Unix(1, 0), 1))))
		if !strings.Contains(string(body), "\x22"+string(rune(len(want)))+want) { // field 4, its length, the text
			t.Errorf("%s: no %s in %q", in, want, body)
		}
	}
	for in, want := range map[string]string{"requests ": "requests_total", "io_total By": "io_bytes_total",
		"c 1": "c_total"} {
		metric, unit, _ := strings.Cut(in, " ")
		body, _ := encode(Options{}, export(t, sum(metric, unit, 2, true, number(time.Unix(1, 0), 1))))
		if !strings.Contains(string(body), "\x22"+string(rune(len(want)))+want) {
			t.Errorf("%s: no %s in %q", in, want, body)
		}
	}
}

func TestNothingIsNoByte(t *testing.T) {
	if body, _ := encode(Options{}, export(t, sum("d", "", 1, true, number(time.Unix(1, 0), 1)))); len(body) > 0 {
		t.Errorf("%q", body)
	}
}

func TestSamplesAreInOrder(t *testing.T) {
	at := time.Unix(100, 0)
	body, dropped := encode(Options{}, export(t,
		gauge("g", "", number(at.Add(time.Hour), 1), number(at, 2), number(at, 3)),
		histogram("h", exponential(at.Add(time.Hour), 2, 1), exponential(at, 2, 1))))
	if err := checkRequest(body); err != nil || dropped["superseded"] != 1 {
		t.Errorf("%v, dropped %v", err, dropped)
	}
}

// Buckets stand in spans; up to two empty ones are cheaper than another span.
func TestSpans(t *testing.T) {
	for _, tt := range []struct {
		offset  int32
		counts  []uint64
		coarser int32
		want    string
	}{
		{-1, []uint64{5, 3}, 0, "\x5a\x04\x08\x00\x10\x02" + "\x62\x02\x0a\x03"},              // from bucket 0 two: 5, -2
		{0, []uint64{1, 0, 0, 1}, 0, "\x5a\x04\x08\x02\x10\x04" + "\x62\x04\x02\x01\x00\x02"}, // the gap is written
		{0, []uint64{1, 0, 0, 0, 1}, 0,
			"\x5a\x04\x08\x02\x10\x01" + "\x5a\x04\x08\x06\x10\x01" + "\x62\x02\x02\x00"},
		{-2, []uint64{1, 1, 1, 1}, 1, "\x5a\x04\x08\x00\x10\x02" + "\x62\x02\x04\x00"}, // two by two
		{7, []uint64{0, 0}, 0, ""},
	} {
		b := otlpread.Buckets{Offset: tt.offset, Counts: tt.counts}
		if got := new(request).appendBuckets(nil, 11, 12, b, tt.coarser); string(got) != tt.want {
			t.Errorf("%+v: %q, not %q", tt, got, tt.want)
		}
	}
}

func FuzzAppendBody(f *testing.F) {
	f.Add(export(f, gauge("g", "By/s", number(time.Unix(1, 0), 1, "a", "b")),
		histogram("h", exponential(time.Unix(1, 0), 9, 1, 2, -3, 0))))
	f.Fuzz(func(t *testing.T, records []byte) {
		one, _ := encode(Options{}, records)
		two, _ := encode(Options{}, records)
		if string(one) != string(two) {
			t.Error("equal records give other bytes")
		}
		if len(one) > 0 && checkRequest(one) != nil {
			t.Errorf("%v: %q", checkRequest(one), one)
		}
	})
}

// What is allocated are the body's own lists, nothing for a point.
func TestNoAllocationForEachPoint(t *testing.T) {
	points := make([]*metricspb.NumberDataPoint, 1000)
	for i := range points {
		points[i] = number(time.Unix(int64(i), 0), float64(i), "route", "/cart")
	}
	body := export(t, sum("requests", "", 2, true, points...))
	e := New(Options{})
	var dst []byte
	if n := testing.AllocsPerRun(10, func() { dst = e.AppendBody(dst[:0], body, func(string, int) {}) }); n > 200 {
		t.Errorf("%v allocations for 1,000 points", n)
	}
}

func BenchmarkAppendBody(b *testing.B) {
	points := make([]*metricspb.NumberDataPoint, 1000)
	for i := range points {
		points[i] = number(time.Unix(int64(i), 0), float64(i), "route", "/cart", "status", strconv.Itoa(i%10))
	}
	body := export(b, sum("requests", "", 2, true, points...))
	e := New(Options{})
	var dst []byte
	for b.Loop() {
		dst = e.AppendBody(dst[:0], body, func(string, int) {})
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/point")
}
