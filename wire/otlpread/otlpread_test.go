package otlpread

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	commonpb "go.opentelemetry.io/proto/slim/otlp/common/v1"
	metricspb "go.opentelemetry.io/proto/slim/otlp/metrics/v1"
	tracepb "go.opentelemetry.io/proto/slim/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"slipstream/telemetry"
	"slipstream/test/exported"
)

func everyShape() []*metricspb.Metric {
	number := &metricspb.NumberDataPoint{StartTimeUnixNano: 1, TimeUnixNano: 2e9, Flags: 1,
		Value: &metricspb.NumberDataPoint_AsInt{AsInt: -7}, Attributes: exported.Text("a", "b")}
	half, two := 0.5, 2.0
	return []*metricspb.Metric{
		{Name: "g", Unit: "By", Description: "d", Data: &metricspb.Metric_Gauge{Gauge: &metricspb.Gauge{
			DataPoints: []*metricspb.NumberDataPoint{{Value: &metricspb.NumberDataPoint_AsDouble{AsDouble: 1.5}}}}}},
		{Name: "s", Data: &metricspb.Metric_Sum{Sum: &metricspb.Sum{IsMonotonic: true, AggregationTemporality: 1,
			DataPoints: []*metricspb.NumberDataPoint{number}}}},
		{Name: "h", Data: &metricspb.Metric_Histogram{Histogram: &metricspb.Histogram{AggregationTemporality: 2,
			DataPoints: []*metricspb.HistogramDataPoint{{Count: 3, Sum: &two, BucketCounts: []uint64{1, 2},
				ExplicitBounds: []float64{.5}, Min: &half, Max: &two}}}}},
		{Name: "e", Data: &metricspb.Metric_ExponentialHistogram{ExponentialHistogram: &metricspb.ExponentialHistogram{
			AggregationTemporality: 1, DataPoints: []*metricspb.ExponentialHistogramDataPoint{{Count: 4, Sum: &two,
				Scale: -1, ZeroCount: 1, ZeroThreshold: .25, Attributes: exported.Text("k", "v"),
				Positive: &metricspb.ExponentialHistogramDataPoint_Buckets{Offset: -3, BucketCounts: []uint64{1, 0}},
				Negative: &metricspb.ExponentialHistogramDataPoint_Buckets{Offset: 2, BucketCounts: []uint64{2}}}}}}},
		{Name: "q", Data: &metricspb.Metric_Summary{Summary: &metricspb.Summary{
			DataPoints: []*metricspb.SummaryDataPoint{{Count: 2, Sum: 5,
				QuantileValues: []*metricspb.SummaryDataPoint_ValueAtQuantile{{Quantile: .5, Value: 2}}}}}}},
		{Name: "nothing"},
	}
}

func TestMetricsOfEveryShape(t *testing.T) {
	var got []Point
	var attributes []string
	var r Reader
	body := exported.Metrics(t, everyShape()...)
	if err := r.Metrics(append(body, body...), func(p *Point) {
		kept := *p
		kept.Counts, kept.Bounds = append([]uint64(nil), p.Counts...), append([]float64(nil), p.Bounds...)
		kept.Quantiles = append([]Quantile(nil), p.Quantiles...)
		kept.Positive.Counts = append([]uint64(nil), p.Positive.Counts...)
		kept.Negative.Counts = append([]uint64(nil), p.Negative.Counts...)
		for k, v := range p.Attributes.All() {
			attributes = append(attributes, string(v.AppendText(append(k, '='))))
		}
		if v, ok := p.Resource.Get("service.name"); !ok || string(v.AppendText(nil)) != "shop" {
			t.Errorf("%s: the resource is %v", p.Name, v)
		}
		kept.Resource, kept.Attributes = Attributes{}, Attributes{}
		got = append(got, kept)
	}); err != nil {
		t.Fatal(err)
	}
	want := []Point{
		{Name: []byte("g"), Unit: []byte("By"), Description: []byte("d"), Value: 1.5},
		{Name: []byte("s"), Kind: Sum, Temporality: Delta, Monotonic: true, Start: 1, Time: 2e9, Missing: true, Value: -7},
		{Name: []byte("h"), Kind: Histogram, Temporality: Cumulative, Count: 3, Sum: 2, HasSum: true, Min: .5, HasMin: true,
			Max: 2, HasMax: true, Bounds: []float64{.5}, Counts: []uint64{1, 2}},
		{Name: []byte("e"), Kind: Exponential, Temporality: Delta, Count: 4, Sum: 2, HasSum: true, Scale: -1, Zero: 1,
			ZeroThreshold: .25, Positive: Buckets{-3, []uint64{1, 0}}, Negative: Buckets{2, []uint64{2}}},
		{Name: []byte("q"), Kind: Summary, Count: 2, Sum: 5, HasSum: true, Quantiles: []Quantile{{.5, 2}}},
	}
	if len(got) != 2*len(want) {
		t.Fatalf("%d points", len(got))
	}
	if diff := cmp.Diff(want, got[5:], cmp.Comparer(func(a, b Attributes) bool { return true }),
		cmp.Transformer("empty", func(b []uint64) int { return len(b) }), cmp.Comparer(func(a, b []float64) bool {
			return cmp.Equal(append([]float64{}, a...), append([]float64{}, b...))
		}), cmp.Comparer(func(a, b []Quantile) bool { return len(a) == len(b) })); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"a=b", "k=v", "a=b", "k=v"}, attributes); diff != "" {
		t.Error(diff)
	}
	if at := want[1].When(time.Time{}); !at.Equal(time.Unix(2, 0)) {
		t.Errorf("its time is %v", at)
	}
}

func TestSpans(t *testing.T) {
	span := &tracepb.Span{TraceId: []byte("0123456789abcdef"), SpanId: []byte("01234567"),
		ParentSpanId: []byte("76543210"),

		Name: "GET /", Kind: 2, StartTimeUnixNano: 5, EndTimeUnixNano: 9, Attributes: exported.Text("a", "b"),
		Events: []*tracepb.Span_Event{{TimeUnixNano: 6, Name: "retry",
			Attributes: exported.Text("n", "1")}},
		Links:  []*tracepb.Span_Link{{TraceId: []byte("fedcba9876543210"), SpanId: []byte("abcdefgh")}},
		Status: &tracepb.Status{Code: 2, Message: "no"}}
	body, err := proto.Marshal(&tracepb.TracesData{ResourceSpans: []*tracepb.ResourceSpans{{
		ScopeSpans: []*tracepb.ScopeSpans{{Spans: []*tracepb.Span{span, {Name: "next"}}}}}}})
	if err != nil {
		t.Fatal(err)
	}
	var r Reader
	n := 0
	if err := r.Spans(body, func(s *Span) {
		if n++; n == 2 {
			if string(s.Name) != "next" || len(s.Events)+len(s.Links) > 0 || s.Status != 0 {
				t.Errorf("something stays of the span before: %+v", s)
			}
			return
		}
		v, _ := s.Events[0].Attributes.Get("n")
		a, _ := s.Attributes.Get("a")
		if string(s.Trace) != "0123456789abcdef" || string(s.ID) != "01234567" || string(s.Parent) != "76543210" ||
			string(s.Name) != "GET /" || s.Kind != 2 || s.Start != 5 || s.End != 9 || s.Status != 2 ||
			string(s.StatusMessage) != "no" || string(s.Links[0].ID) != "abcdefgh" || s.Events[0].Time != 6 ||
			string(s.Events[0].Name) != "retry" || string(v.AppendText(nil)) != "1" || string(a.AppendText(nil)) != "b" {
			t.Errorf("%+v", s)
		}
	}); err != nil || n != 2 {
		t.Error(n, err)
	}
}

func TestValuesAsText(t *testing.T) {
	list := &commonpb.AnyValue{Value: &commonpb.AnyValue_ArrayValue{ArrayValue: &commonpb.ArrayValue{
		Values: []*commonpb.AnyValue{
			{Value: &commonpb.AnyValue_StringValue{StringValue: "a\"\n"}},
			{Value: &commonpb.AnyValue_BoolValue{BoolValue: true}},
			{Value: &commonpb.AnyValue_DoubleValue{DoubleValue: 1.5}}, {},
			{Value: &commonpb.AnyValue_KvlistValue{KvlistValue: &commonpb.KeyValueList{
				Values: exported.Text("k", "v")}}},
			{Value: &commonpb.AnyValue_BytesValue{BytesValue: []byte("x")}},
			{Value: &commonpb.AnyValue_IntValue{IntValue: -1}},
		}}}}
	for want, value := range map[string]*commonpb.AnyValue{
		"": {}, "plain \"": exported.Text("", "plain \"")[0].Value,
		`["a\"\u000a",true,1.5,null,{"k":"v"},"eA==",-1]`: list,
		`"NaN"`: {Value: &commonpb.AnyValue_DoubleValue{DoubleValue: math.NaN()}},
	} {
		message, err := proto.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		if got := string((Value{message}).AppendText(nil)); got != want {
			t.Errorf("%s, not %s", got, want)
		}
	}
}

// The mean of the centroids is the distribution's, whatever the buckets, and
// there are never more than asked for.
func TestCentroidsKeepTheMean(t *testing.T) {
	const seed = 7
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for range 500 {
		p := Point{HasSum: true, Kind: Exponential, Scale: int32(random.IntN(12) - 3)}
		least, most := math.Inf(1), math.Inf(-1)
		for range random.IntN(300) + 1 {
			v := math.Exp(random.NormFloat64() * 2)
			if random.IntN(4) == 0 {
				v = -v
			}
			p.add(v)
			least, most = min(least, v), max(most, v)
		}
		if p.HasMin, p.HasMax = random.IntN(2) == 0, random.IntN(2) == 0; p.HasMin {
			p.Min = least
		}
		if p.HasMax {
			p.Max = most
		}
		limit := random.IntN(60) + 4
		all := len(p.Centroids(nil, math.MaxInt))
		got := p.Centroids([]telemetry.Centroid{{Value: 99, Count: 99}}, limit)[1:]
		sum, count := 0.0, 0.0
		for i, c := range got {
			sum, count = sum+c.Value*c.Count, count+c.Count
			if i > 0 && c.Value < got[i-1].Value {
				t.Fatalf("they do not rise: %v", got)
			}
		}
		scale := max(math.Abs(p.Sum), (most-least)*count*1e-3)
		if count != float64(p.Count) || math.Abs(sum-p.Sum) > 1e-9*scale || len(got) != min(all, limit) {
			t.Fatalf("scale %d: %d centroids of at most %d, count %v of %d, sum %v of %v", p.Scale, len(got), limit, count,
				p.Count, sum, p.Sum)
		}
	}
}

// add counts a value as an SDK does it.
func (p *Point) add(v float64) {
	p.Count, p.Sum = p.Count+1, p.Sum+v
	b, value := &p.Positive, v
	if v < 0 {
		b, value = &p.Negative, -v
	}
	index := int32(math.Ceil(math.Log2(value)*math.Ldexp(1, int(p.Scale)))) - 1
	if len(b.Counts) == 0 {
		b.Offset = index
	}
	for ; index < b.Offset; b.Offset-- {
		b.Counts = append([]uint64{0}, b.Counts...)
	}
	for int(index-b.Offset) >= len(b.Counts) {
		b.Counts = append(b.Counts, 0)
	}
	b.Counts[index-b.Offset]++
}

// Bounds that are the values come out to the bit, whatever their sum was rounded to.
func TestCentroidsThatAreTheBounds(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for range 1000 {
		near, spread := 100*random.NormFloat64(), math.Exp(20*random.Float64()-10)
		values := make([]float64, random.IntN(100)+1)
		for i := range values {
			values[i] = near + spread*random.NormFloat64()
		}
		slices.Sort(values)
		p := Point{Kind: Histogram, HasSum: true, HasMin: true, Min: values[0], HasMax: true, Max: values[len(values)-1]}
		var want []telemetry.Centroid
		for _, v := range values {
			n := random.IntN(9) + 1
			want = append(want, telemetry.Centroid{Value: v, Count: float64(n)})
			p.Bounds, p.Counts, p.Sum = append(p.Bounds, v), append(p.Counts, uint64(n)), p.Sum+v*float64(n)
		}
		p.Counts = append(p.Counts, 0)
		if got := p.Centroids(nil, 200); !slices.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
	}
}

func TestCentroidsOfExplicitBuckets(t *testing.T) {
	for name, tt := range map[string]struct {
		p    Point
		want []telemetry.Centroid
	}{
		"bounds that are the values": {Point{Counts: []uint64{2, 1, 0}, Bounds: []float64{3, 9}, Sum: 15,
			HasSum: true, Min: 3, HasMin: true, Max: 9, HasMax: true},
			[]telemetry.Centroid{{Value: 3, Count: 2}, {Value: 9, Count: 1}}},
		"no min, no max, no sum": {Point{Counts: []uint64{2, 2, 2}, Bounds: []float64{10, 20}},
			[]telemetry.Centroid{{Value: 5, Count: 2}, {Value: 15, Count: 2}, {Value: 20, Count: 2}}},
		"one bucket": {Point{Counts: []uint64{4}, Count: 4, Min: 1, HasMin: true, Max: 3, HasMax: true, Sum: 7, HasSum: true},
			[]telemetry.Centroid{{Value: 1, Count: 1}, {Value: 1.5, Count: 2}, {Value: 3, Count: 1}}},
		"the wider leans more": {Point{Counts: []uint64{4, 1}, Bounds: []float64{4, 12}, Sum: 20, HasSum: true},
			[]telemetry.Centroid{{Value: 2.5, Count: 4}, {Value: 10, Count: 1}}},
		"down, too": {Point{Counts: []uint64{4, 1}, Bounds: []float64{4, 12}, Sum: 12, HasSum: true},
			[]telemetry.Centroid{{Value: 1.5, Count: 4}, {Value: 6, Count: 1}}},
		"the wider is at its end": {Point{Counts: []uint64{4, 1}, Bounds: []float64{4, 12}, Sum: 26, HasSum: true},
			[]telemetry.Centroid{{Value: 3.5, Count: 4}, {Value: 12, Count: 1}}},
		"a sum that is no number": {Point{Counts: []uint64{4, 1}, Bounds: []float64{4, 12}, Sum: math.NaN(), HasSum: true},
			[]telemetry.Centroid{{Value: 2, Count: 4}, {Value: 8, Count: 1}}},
		"no buckets": {Point{Count: 4, Sum: 8, HasSum: true}, []telemetry.Centroid{{Value: 2, Count: 4}}},
		"nothing":    {Point{HasSum: true}, nil},
		"an impossible sum": {Point{Counts: []uint64{1, 0}, Bounds: []float64{4}, Sum: -8, HasSum: true},
			[]telemetry.Centroid{{Value: 0, Count: 1}}},
	} {
		tt.p.Kind = Histogram
		if diff := cmp.Diff(tt.want, tt.p.Centroids(nil, 10)); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
}

func TestNoAllocations(t *testing.T) {
	body := exported.Metrics(t, everyShape()...)
	var r Reader
	var scratch []byte
	var centroids []telemetry.Centroid
	visit := func(p *Point) {
		for _, v := range p.Attributes.All() {
			scratch = v.AppendText(scratch[:0])
		}
		centroids = p.Centroids(centroids[:0], 10)
	}
	if n := testing.AllocsPerRun(100, func() { _ = r.Metrics(body, visit) }); n > 0 {
		t.Errorf("%v allocations for six data points", n)
	}
}

func FuzzMetrics(f *testing.F) {
	f.Add(exported.Metrics(f, everyShape()...))
	f.Add([]byte("\x0a\x02\x12\xff"))
	f.Fuzz(func(t *testing.T, body []byte) {
		var r Reader
		var scratch []byte
		_ = r.Metrics(body, func(p *Point) {
			for _, v := range p.Attributes.All() {
				scratch = v.AppendText(scratch[:0])
			}
			if got := p.Centroids(nil, 20); len(got) > 20 {
				t.Errorf("%d centroids", len(got))
			}
		})
		_ = r.Spans(body, func(s *Span) {
			for _, v := range s.Attributes.All() {
				scratch = v.AppendText(scratch[:0])
			}
		})
	})
}

func BenchmarkMetrics(b *testing.B) {
	body := exported.Metrics(b, everyShape()...)
	var r Reader
	for b.Loop() {
		_ = r.Metrics(body, func(*Point) {})
	}
}
