// Package exported makes exports of OTLP metrics as an SDK does, with
// OpenTelemetry's own messages, and reads them back. Use it in the tests of what
// reads or writes metrics; a test that is about one odd field sets it itself.
package exported

import (
	"math"
	"testing"
	"time"

	commonpb "go.opentelemetry.io/proto/slim/otlp/common/v1"
	metricspb "go.opentelemetry.io/proto/slim/otlp/metrics/v1"
	resourcepb "go.opentelemetry.io/proto/slim/otlp/resource/v1"
	"google.golang.org/protobuf/proto"

	"slipstream/telemetry"
	"slipstream/wire"
)

// Text gives attributes of pairs of a key and a text.
func Text(pairs ...string) (list []*commonpb.KeyValue) {
	for i := 0; i < len(pairs); i += 2 {
		list = append(list, &commonpb.KeyValue{Key: pairs[i],
			Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: pairs[i+1]}}})
	}
	return list
}

// Metrics gives a request with metrics of the function shop: of version 7, in
// the environment env-1.
func Metrics(t testing.TB, metrics ...*metricspb.Metric) []byte {
	t.Helper()
	return MetricsOf(t, Text("service.name", "shop", "faas.name", "shop", "faas.instance", "env-1", "faas.version", "7",
		"process.pid", "1"), metrics...)
}

// MetricsOf gives a request with metrics of a resource.
func MetricsOf(t testing.TB, resource []*commonpb.KeyValue, metrics ...*metricspb.Metric) []byte {
	t.Helper()
	body, err := proto.Marshal(&metricspb.MetricsData{ResourceMetrics: []*metricspb.ResourceMetrics{{
		Resource: &resourcepb.Resource{Attributes: resource}, ScopeMetrics: []*metricspb.ScopeMetrics{{Metrics: metrics}}}}})
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// Read gives the messages of an export of metrics, which must be sound and have
// as many records as it says.
func Read(t testing.TB, x telemetry.Export) *metricspb.MetricsData {
	t.Helper()
	if n, err := wire.CheckExport(telemetry.Metrics, x.Body); err != nil || n != x.Records {
		t.Fatalf("an export of %d records has %d: %v", x.Records, n, err)
	}
	var data metricspb.MetricsData
	if err := proto.Unmarshal(x.Body, &data); err != nil {
		t.Fatal(err)
	}
	return &data
}

// Gauge is a metric of points.
func Gauge(name, unit string, points ...*metricspb.NumberDataPoint) *metricspb.Metric {
	return &metricspb.Metric{Name: name, Unit: unit, Data: &metricspb.Metric_Gauge{
		Gauge: &metricspb.Gauge{DataPoints: points}}}
}

// Sum is a metric of points. Temporality 1 is delta, 2 cumulative.
func Sum(name, unit string, temporality metricspb.AggregationTemporality, monotonic bool,
	points ...*metricspb.NumberDataPoint) *metricspb.Metric {
	return &metricspb.Metric{Name: name, Unit: unit, Data: &metricspb.Metric_Sum{Sum: &metricspb.Sum{DataPoints: points,
		AggregationTemporality: temporality, IsMonotonic: monotonic}}}
}

// Histogram is a metric of points with bounds of their own.
func Histogram(name, unit string, temporality metricspb.AggregationTemporality,
	points ...*metricspb.HistogramDataPoint) *metricspb.Metric {
	return &metricspb.Metric{Name: name, Unit: unit, Data: &metricspb.Metric_Histogram{Histogram: &metricspb.Histogram{
		AggregationTemporality: temporality, DataPoints: points}}}
}

// ExponentialHistogram is a metric of points whose bounds follow from a scale.
func ExponentialHistogram(name, unit string, temporality metricspb.AggregationTemporality,
	points ...*metricspb.ExponentialHistogramDataPoint) *metricspb.Metric {
	return &metricspb.Metric{Name: name, Unit: unit, Data: &metricspb.Metric_ExponentialHistogram{
		ExponentialHistogram: &metricspb.ExponentialHistogram{AggregationTemporality: temporality, DataPoints: points}}}
}

// Number is what is at one moment.
func Number(at time.Time, v float64, attributes ...string) *metricspb.NumberDataPoint {
	return &metricspb.NumberDataPoint{TimeUnixNano: uint64(at.UnixNano()), Attributes: Text(attributes...),
		Value: &metricspb.NumberDataPoint_AsDouble{AsDouble: v}}
}

// Counted is what there was in the minute before at.
func Counted(at time.Time, v float64, attributes ...string) *metricspb.NumberDataPoint {
	p := Number(at, v, attributes...)
	p.StartTimeUnixNano = minuteBefore(at)
	return p
}

// Exponential has the values of the minute before at, as an SDK at that scale
// counts them.
func Exponential(at time.Time, scale int32, values ...float64) *metricspb.ExponentialHistogramDataPoint {
	total := 0.0
	p := &metricspb.ExponentialHistogramDataPoint{TimeUnixNano: uint64(at.UnixNano()), Scale: scale,
		StartTimeUnixNano: minuteBefore(at), Count: uint64(len(values)), Sum: &total,
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

func minuteBefore(at time.Time) uint64 { return uint64(at.Add(-time.Minute).UnixNano()) }
