package exported

import (
	"math"
	"testing"
	"time"

	"slipstream/telemetry"
)

// Each value lies in its bucket, by OpenTelemetry's definition: above
// base^index, up to base^(index+1), where base is 2^(2^-scale).
func TestExponential(t *testing.T) {
	for _, scale := range []int32{-6, 0, 3, 12} {
		base := math.Pow(2, math.Pow(2, -float64(scale)))
		for _, v := range []float64{8, 1.5, 700, 0.7} {
			p := Exponential(time.Unix(120, 0), scale, 1, v, 0, -v)
			total, found := p.ZeroCount, false
			for i, n := range p.Positive.BucketCounts {
				total += n
				low := math.Pow(base, float64(p.Positive.Offset)+float64(i))
				found = found || n > 0 && low < v*(1-1e-9) && v <= low*base*(1+1e-9)
			}
			if !found || len(p.Negative.BucketCounts) != 1 || p.ZeroCount != 1 || total != 3 || p.Count != 4 || *p.Sum != 1 {
				t.Errorf("scale %d: 1, %v, 0, -%v became %d values of sum %v", scale, v, v, total, *p.Sum)
			}
		}
	}
}

// What was made is read back.
func TestRead(t *testing.T) {
	at := time.Unix(120, 0)
	data := Read(t, telemetry.Export{Records: 3, Body: Metrics(t, Gauge("g", "By", Number(at, 1, "k", "v")),
		Sum("s", "", 2, true, Counted(at, 2)), ExponentialHistogram("e", "s", 1, Exponential(at, 0, 3)))})
	m := data.ResourceMetrics[0].ScopeMetrics[0].Metrics
	if p := m[0].GetGauge().DataPoints[0]; p.StartTimeUnixNano != 0 || p.TimeUnixNano != 120e9 || p.GetAsDouble() != 1 ||
		p.Attributes[0].Value.GetStringValue() != "v" {
		t.Errorf("%v", p)
	}
	if p := m[1].GetSum().DataPoints[0]; p.StartTimeUnixNano != 60e9 || p.GetAsDouble() != 2 {
		t.Errorf("%v", p)
	}
	if p := m[2].GetExponentialHistogram().DataPoints[0]; p.StartTimeUnixNano != 60e9 || p.GetSum() != 3 {
		t.Errorf("%v", p)
	}
}
