package prometheus

import (
	"context"
	"maps"
	"math"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/s2"
	metricspb "go.opentelemetry.io/proto/slim/otlp/metrics/v1"

	"slipstream/destination"
	"slipstream/test/exported"
	"slipstream/test/servers/metrics"
	format "slipstream/wire/prometheus"
)

// encode gives the request and what was dropped.
func encode(o format.Options, records []byte) ([]byte, map[string]int) {
	dropped := map[string]int{}
	return format.New(o).AppendBody(nil, records, func(reason string, n int) { dropped[reason] += n }), dropped
}

// write sends exports to a Prometheus as a lane does.
func write(t *testing.T, s *metrics.Prometheus, o format.Options, records []byte) map[string]int {
	t.Helper()
	body, dropped := encode(o, records)
	config, err := Parse("prometheus+" + s.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	c := New(config)
	defer c.Close()
	for range 2 { // a batch that is sent again does no harm
		if err := c.Send(context.Background(), &destination.Batch{ID: "env-1", Body: s2.EncodeSnappy(nil, body),
			Encoding: "snappy", ContentType: format.New(o).ContentType(), Records: 1}); err != nil {
			t.Fatal(err)
		}
	}
	return dropped
}

// value is what a query gives, which must be one series without a name.
func value(t *testing.T, s *metrics.Prometheus, query string, at time.Time) float64 {
	t.Helper()
	got := s.Query(t, query, at)
	if len(got) != 1 {
		t.Fatalf("%s: %v", query, got)
	}
	text, _ := got[0].Value[1].(string)
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.Fatalf("%s: %v", query, got)
	}
	return v
}

func TestARealPrometheusHasWhatWasExported(t *testing.T) {
	s := metrics.StartPrometheus(t)
	at := time.Now().Truncate(time.Second).Add(-10 * time.Minute)
	var values []float64
	for i := range 1000 {
		values = append(values, float64(i+1)/1000)
	}
	half := 0.7
	dropped := write(t, s, format.Options{Tags: []string{"faas.version"}}, exported.Metrics(t,
		exported.Gauge("faas.mem_usage", "By", exported.Counted(at, 64, "faas.trigger", "http", "7up", "x"),
			exported.Counted(at.Add(time.Minute), 65, "faas.trigger", "http", "7up", "x")),
		exported.Sum("faas.invocations", "{invocation}", 2, true, exported.Counted(at.Add(time.Minute), 8),
			exported.Counted(at, 3), exported.Counted(at, 3)),
		exported.Sum("in.flight", "1", 2, false, exported.Counted(at, -2)),
		exported.Sum("delta", "", 1, true, exported.Counted(at, 1)), exported.Gauge("", "", exported.Counted(at, 1)),
		exported.Gauge("no.time", "", &metricspb.NumberDataPoint{}),
		exported.ExponentialHistogram("faas.invoke_duration", "s", 2, exported.Exponential(at, 3, values...),
			exported.Exponential(at.Add(time.Minute), 3, append(values, -4, 0)...)),
		exported.ExponentialHistogram("finest", "s", 2, exported.Exponential(at, 12, values[500:]...)),
		exported.ExponentialHistogram("coarse", "s", 2, exported.Exponential(at, -6, values...)),
		exported.Histogram("old", "s", 2, &metricspb.HistogramDataPoint{TimeUnixNano: uint64(at.UnixNano()),
			Count: 3, Sum: &half, BucketCounts: []uint64{1, 1, 1}, ExplicitBounds: []float64{.1, .25}}),
		&metricspb.Metric{Name: "sum.mary", Data: &metricspb.Metric_Summary{Summary: &metricspb.Summary{
			DataPoints: []*metricspb.SummaryDataPoint{{TimeUnixNano: uint64(at.UnixNano()), Count: 3, Sum: 4,
				QuantileValues: []*metricspb.SummaryDataPoint_ValueAtQuantile{{Quantile: .5, Value: 1.5}}}}}}},
	))
	if want := map[string]int{"delta_temporality": 1, "no_name": 1, "no_time": 1, "superseded": 1,
		"histogram_scale": 1}; !maps.Equal(want, dropped) {
		t.Errorf("dropped %v", dropped)
	}
	got := s.Query(t, "faas_mem_usage_bytes", at)
	want := []metrics.Series{{Metric: map[string]string{"__name__": "faas_mem_usage_bytes", "job": "shop",
		"instance": "env-1", "faas_version": "7", "faas_trigger": "http", "key_7up": "x"},
		Value: [2]any{float64(at.Unix()), "64"}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for query, want := range map[string]float64{
		`faas_invocations_total`:                                    3,
		`increase(faas_invocations_total[61s] offset -1m) > bool 4`: 1,
		`in_flight`: -2,
		`histogram_count(faas_invoke_duration_seconds)`:            1000,
		`histogram_count(faas_invoke_duration_seconds offset -1m)`: 1002,
		`histogram_sum(faas_invoke_duration_seconds)`:              500.5,
		`histogram_count(finest_seconds)`:                          500,
		`old_seconds_bucket{le="0.25"}`:                            2,
		`old_seconds_bucket{le="+Inf"}`:                            3,
		`old_seconds_sum`:                                          .7,
		`old_seconds_count`:                                        3,
		`sum_mary{quantile="0.5"}`:                                 1.5,
		`sum_mary_count`:                                           3,
		`count({__name__=~".+"})`:                                  13,
	} {
		if v := value(t, s, query, at); math.Abs(v-want) > 1e-9 {
			t.Errorf("%s is %v, not %v", query, v, want)
		}
	}
	for query, want := range map[string]float64{ // within the buckets' width
		`histogram_quantile(0.9, faas_invoke_duration_seconds)`:               .9,
		`histogram_quantile(0.5, finest_seconds)`:                             .75,
		`histogram_fraction(0, 0.25, faas_invoke_duration_seconds)`:           .25,
		`histogram_quantile(0.0001, faas_invoke_duration_seconds offset -1m)`: -4,
	} {
		if v := value(t, s, query, at); math.Abs(v-want) > .06*math.Abs(want) {
			t.Errorf("%s is %v, not about %v", query, v, want)
		}
	}
}

func TestUTF8Names(t *testing.T) {
	s := metrics.StartPrometheus(t)
	at := time.Now().Truncate(time.Second).Add(-time.Minute)
	write(t, s, format.Options{UTF8: true}, exported.Metrics(t,
		exported.Sum("faas.cold starts", "", 2, true, exported.Counted(at, 3, "k.é", "v", "__name__", "x"))))
	if v := value(t, s, `{"faas.cold starts_total", "k.é"="v"}`, at); v != 3 {
		t.Errorf("%v", v)
	}
}

// A series that ends says so.
func TestStale(t *testing.T) {
	s := metrics.StartPrometheus(t)
	at := time.Now().Truncate(time.Second).Add(-2 * time.Minute)
	gone := exported.Counted(at.Add(10*time.Second), 0)
	gone.Flags = 1
	write(t, s, format.Options{}, exported.Metrics(t, exported.Gauge("g", "", exported.Counted(at, 1), gone)))
	if got := s.Query(t, "g", at.Add(5*time.Second)); len(got) != 1 {
		t.Errorf("before its end it is %v", got)
	}
	if got := s.Query(t, "g", at.Add(15*time.Second)); len(got) > 0 {
		t.Errorf("after its end it is %v", got)
	}
}

// With this feature increase sees what was counted before the first sample.
func TestStartTimes(t *testing.T) {
	at := time.Now().Truncate(time.Second).Add(-5 * time.Minute)
	for flag, want := range map[string]float64{"": 0, "--enable-feature=created-timestamp-zero-ingestion": 8} {
		var flags []string
		if flag != "" {
			flags = append(flags, flag)
		}
		s := metrics.StartPrometheus(t, flags...)
		write(t, s, format.Options{}, exported.Metrics(t, exported.Sum("calls", "", 2, true, exported.Counted(at, 8)),
			exported.ExponentialHistogram("wait", "s", 2, exported.Exponential(at, 3, 1, 2, 3, 4, 5, 6, 7, 8))))
		for _, query := range []string{"increase(calls_total[3m])", "histogram_count(increase(wait_seconds[3m]))"} {
			if want == 0 {
				if got := s.Query(t, query, at.Add(time.Minute)); len(got) > 0 {
					t.Errorf("%s without the feature: %v", query, got)
				}
			} else if v := value(t, s, query, at.Add(time.Minute)); v < want {
				t.Errorf("%s is %v", query, v)
			}
		}
	}
}
