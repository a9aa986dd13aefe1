package rollup

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/go-cmp/cmp"
	commonpb "go.opentelemetry.io/proto/slim/otlp/common/v1"
	metricspb "go.opentelemetry.io/proto/slim/otlp/metrics/v1"
	"google.golang.org/protobuf/proto"

	"slipstream/telemetry"
	"slipstream/wire/metrics"
)

// truth is what is known of each series of each environment in each minute, by
// a text that names them.
type truth map[string]*known

type known struct {
	sum       float64 // of numbers that float64 adds up exactly
	histogram histogram
	set       set
	last      int64 // when the last value of a gauge was
}

func (t truth) of(environment, name, kind, tag string, bin time.Time) *known {
	key := fmt.Sprint(environment, " ", name, " ", kind, " ", tag, " ", bin.UnixNano())
	if t[key] == nil {
		t[key] = &known{}
	}
	return t[key]
}

// add counts a point that has survived.
func (t truth) add(environment string, p placed) {
	tag := string(p.point.Tags[0].Value)
	of := func(kind string) *known { return t.of(environment, string(p.point.Name), kind, tag, p.bin) }
	switch v := p.point.Value; p.point.Kind {
	case telemetry.Gauge:
		k := of("gauge")
		k.histogram.note(v, v, 1)
		k.sum += v
		k.last = max(k.last, p.at.UnixNano())
	case telemetry.Counter:
		if v >= 0 {
			of("counter").sum += v
			return
		}
		of("change").sum += v
	case telemetry.GaugeChange:
		of("change").sum += v
	case telemetry.Set:
		of("set").set.insert(placeOf(p.point.Member))
	case telemetry.Distribution:
		h := &of("distribution").histogram
		switch {
		case p.point.histogram != nil:
			h.merge(new(scratch).read(p.point.histogram), 20)
		case len(p.point.Centroids) == 0:
			h.insert(v, wholeCount(p.point.Count), 20)
		}
		for _, c := range p.point.Centroids {
			h.insert(c.Value, wholeCount(c.Count), 20)
		}
	}
}

// receive counts what a lane has delivered.
func (t truth) receive(x telemetry.Export) {
	var data metricspb.MetricsData
	if err := proto.Unmarshal(x.Body, &data); err != nil {
		panic(err)
	}
	for _, r := range data.ResourceMetrics {
		environment := ""
		for _, a := range r.Resource.Attributes {
			if a.Key == "faas.instance" {
				environment = a.Value.GetStringValue()
			}
		}
		for _, s := range r.ScopeMetrics {
			summaries := map[string]map[string]*metricspb.HistogramDataPoint{} // of gauges, by name and tag
			for _, m := range s.Metrics {
				byTag := map[string]*metricspb.HistogramDataPoint{}
				for _, p := range m.GetHistogram().GetDataPoints() {
					byTag[p.Attributes[0].Value.GetStringValue()] = p
				}
				summaries[m.Name] = byTag
			}
			for _, m := range s.Metrics {
				t.receiveMetric(environment, m, summaries[m.Name+summarySuffix])
			}
		}
	}
}

func (t truth) receiveMetric(environment string, m *metricspb.Metric,
	summaries map[string]*metricspb.HistogramDataPoint) {
	of := func(kind string, attributes []*commonpb.KeyValue, nanos uint64) *known {
		bin := floor(time.Unix(0, int64(nanos)), time.Minute)
		return t.of(environment, m.Name, kind, attributes[0].Value.GetStringValue(), bin)
	}
	for _, p := range m.GetGauge().GetDataPoints() {
		if len(p.Attributes) == 2 { // a sketch
			k, sketch := of("set", p.Attributes, p.TimeUnixNano-1), p.Attributes[1].Value.GetBytesValue()
			for ; len(sketch) > 0; sketch = sketch[3:] {
				k.set.insert(uint32(sketch[0])<<16 | uint32(sketch[1])<<8 | uint32(sketch[2]))
			}
			continue
		}
		k := of("gauge", p.Attributes, p.TimeUnixNano)
		k.last = max(k.last, int64(p.TimeUnixNano))
		if s := summaries[p.Attributes[0].Value.GetStringValue()]; s == nil {
			k.histogram.note(p.GetAsDouble(), p.GetAsDouble(), 1)
			k.sum += p.GetAsDouble()
		} else {
			k.histogram.note(s.GetMin(), s.GetMax(), s.Count)
			k.sum += s.GetSum()
		}
	}
	for _, p := range m.GetSum().GetDataPoints() {
		kind := map[bool]string{false: "change", true: "counter"}[m.GetSum().IsMonotonic]
		of(kind, p.Attributes, p.StartTimeUnixNano).sum += p.GetAsDouble()
	}
	for _, p := range m.GetExponentialHistogram().GetDataPoints() {
		h := metrics.Histogram{Scale: p.Scale, Count: p.Count, Zeros: p.ZeroCount, Sum: p.GetSum(), Min: p.GetMin(),
			Max:         p.GetMax(),
			PositiveLow: p.Positive.GetOffset(), Positive: p.Positive.GetBucketCounts(),
			NegativeLow: p.Negative.GetOffset(), Negative: p.Negative.GetBucketCounts()}
		of("distribution", p.Attributes, p.StartTimeUnixNano).histogram.merge(new(scratch).read(&h), 20)
	}
}

// differs tells the first difference to what was received.
func (t truth) differs(got truth) string {
	for _, key := range slices.Sorted(maps.Keys(t)) {
		want, have := t[key], got[key]
		if have == nil {
			return key + ": nothing came"
		}
		if diff := cmp.Diff(shapeOf(&want.histogram), shapeOf(&have.histogram)); diff != "" {
			return fmt.Sprintf("%s (-want +got):\n%s", key, diff)
		}
		if a, b := want.histogram.sum.value(), have.histogram.sum.value(); a-b > 1e-6 || b-a > 1e-6 {
			return fmt.Sprintf("%s: the histogram's sum is %g, want %g", key, b, a)
		}
		if !slices.Equal(want.set.appendSketch(nil), have.set.appendSketch(nil)) || want.sum != have.sum ||
			want.last != have.last {
			return fmt.Sprintf("%s: sum %g and last %d, want %g and %d; or another set", key, have.sum, have.last,
				want.sum, want.last)
		}
	}
	if len(got) > len(t) {
		return fmt.Sprintf("%d series came, want %d", len(got), len(t))
	}
	return ""
}
