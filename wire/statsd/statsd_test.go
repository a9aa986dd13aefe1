package statsd

import (
	"maps"
	"math"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metricspb "go.opentelemetry.io/proto/slim/otlp/metrics/v1"

	intake "slipstream/intake/statsd"
	"slipstream/telemetry"
	"slipstream/test/exported"
	"slipstream/wire"
	"slipstream/wire/otlpread"
)

func number(v float64, attributes ...string) *metricspb.NumberDataPoint {
	return exported.Number(time.Unix(1500000000, 0), v, attributes...)
}

// histogram has the values one, two times two, and four.
func histogram(name string, temporality metricspb.AggregationTemporality) *metricspb.Metric {
	total, least, most := 9.0, 1.0, 4.0
	return exported.Histogram(name, "s", temporality, &metricspb.HistogramDataPoint{TimeUnixNano: 1500000000e9, Count: 4,
		Sum: &total, BucketCounts: []uint64{1, 2, 1, 0}, ExplicitBounds: []float64{1, 2, 4}, Min: &least, Max: &most})
}

func everything() []*metricspb.Metric {
	return []*metricspb.Metric{
		exported.Sum("calls", "", 1, true, number(2, "route", "/a|b,c", "k:y", "v")),
		exported.Sum("total", "", 2, true, number(5)), exported.Sum("level", "", 2, false, number(-5)),
		exported.Sum("change", "", 1, false, number(3), number(-4)), exported.Gauge("g", "", number(-1.5)),
		histogram("d", 1), histogram("c", 2), exported.Gauge("nan", "", number(math.NaN())),
		exported.Gauge("", "", number(1)),
		{Name: "q", Data: &metricspb.Metric_Summary{Summary: &metricspb.Summary{DataPoints: []*metricspb.SummaryDataPoint{{
			QuantileValues: []*metricspb.SummaryDataPoint_ValueAtQuantile{{Quantile: .5, Value: 2},
				{Quantile: 1, Value: 3}}}}}}},
		exported.Gauge(strings.Repeat("n", 2000), "", number(1)),
	}
}

func encode(t testing.TB, d Dialect, records []byte) (string, map[string]int) {
	t.Helper()
	e, err := New(Options{Dialect: d, Tags: []string{"faas.name"}})
	if err != nil {
		t.Fatal(err)
	}
	dropped := map[string]int{}
	return string(e.AppendBody(nil, records, func(reason string, n int) { dropped[reason] += n })), dropped
}

func TestLines(t *testing.T) {
	for dialect, want := range map[Dialect]string{
		DogStatsD: `calls:2|c|#route:/a_b_c,k_y:v,faas.name:shop|T1500000000
level:-5|g|#faas.name:shop|T1500000000
change:3|c|#faas.name:shop|T1500000000
change:-4|c|#faas.name:shop|T1500000000
g:-1.5|g|#faas.name:shop|T1500000000
d:1:4|d|#faas.name:shop
d:2|d|@0.5|#faas.name:shop
q:2|g|#faas.name:shop,quantile:0.5
q:3|g|#faas.name:shop,quantile:1
`,
		StatsD: `calls:2|c|#route:/a_b_c,k_y:v,faas.name:shop
level:0|g|#faas.name:shop
level:-5|g|#faas.name:shop
change:+3|g|#faas.name:shop
change:-4|g|#faas.name:shop
g:0|g|#faas.name:shop
g:-1.5|g|#faas.name:shop
d:1|h|#faas.name:shop
d:4|h|#faas.name:shop
d:2|h|@0.5|#faas.name:shop
q:2|g|#faas.name:shop,quantile:0.5
q:3|g|#faas.name:shop,quantile:1
`,
		Etsy: `calls.route._a_b_c.k_y.v:2|c
level:0|g
level:-5|g
change:+3|g
change:-4|g
g:0|g
g:-1.5|g
d:1000|ms
d:4000|ms
d:2000|ms|@0.5
q.quantile.0_5:2|g
q.quantile.1:3|g
`,
	} {
		got, dropped := encode(t, dialect, exported.Metrics(t, everything()...))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", dialect, diff)
		}
		if want := map[string]int{"cumulative_temporality": 2, "not_a_number": 1, "no_name": 1, "too_long": 1}; !maps.Equal(
			want, dropped) {
			t.Errorf("%s: dropped %v", dialect, dropped)
		}
	}
	if _, err := New(Options{Dialect: "x"}); err == nil || !strings.Contains(err.Error(), `format="x"`) {
		t.Error(err)
	}
}

// The local listener takes every line of both dialects with tags, and reads the
// numbers that were exported.
func TestRoundTrip(t *testing.T) {
	for _, dialect := range []Dialect{DogStatsD, StatsD} {
		path := filepath.Join(t.TempDir(), "s")
		socket, err := net.ListenPacket("unixgram", path)
		if err != nil {
			t.Fatal(err)
		}
		sums := map[string]float64{}
		var r otlpread.Reader
		server := intake.Serve(socket, intake.Config{Completion: wire.NewCompletion(&telemetry.Resource{}),
			Drop: func(reason string, n int) { t.Errorf("%s: dropped %d: %s", dialect, n, reason) },
			Take: func(x *telemetry.Export) error {
				return r.Metrics(x.Body, func(p *otlpread.Point) {
					tag, _ := p.Attributes.Get("faas.name")
					sums[string(p.Name)+" "+string(tag.AppendText(nil))] += p.Value + p.Sum
				})
			}})
		conn, err := net.Dial("unixgram", path)
		if err != nil {
			t.Fatal(err)
		}
		lines, _ := encode(t, dialect, exported.Metrics(t, everything()...))
		for line := range strings.Lines(lines) {
			if _, err := conn.Write([]byte(line)); err != nil {
				t.Fatal(err)
			}
		}
		conn.Close()
		if err := server.Close(); err != nil {
			t.Fatal(err)
		}
		want := map[string]float64{"calls shop": 2, "level shop": -5, "change shop": -1, "g shop": -1.5, "d shop": 9,
			"q shop": 5}
		if diff := cmp.Diff(want, sums); diff != "" {
			t.Errorf("%s: %s", dialect, diff)
		}
	}
}

func FuzzLines(f *testing.F) {
	f.Add(exported.Metrics(f, everything()...))
	f.Fuzz(func(t *testing.T, records []byte) {
		for _, dialect := range []Dialect{DogStatsD, StatsD, Etsy} {
			lines, _ := encode(t, dialect, records)
			for line := range strings.Lines(lines) {
				if len(line) > MaxLine || !strings.HasSuffix(line, "\n") || strings.Count(line, ":") == 0 {
					t.Errorf("%s: %d bytes: %q", dialect, len(line), line)
				}
			}
		}
	})
}

// What is allocated are the body's own lists, nothing for a point.
func TestNoAllocationForEachPoint(t *testing.T) {
	points := make([]*metricspb.NumberDataPoint, 1000)
	for i := range points {
		points[i] = number(float64(i), "route", "/cart")
	}
	body := exported.Metrics(t, exported.Sum("requests", "", 1, true, points...))
	e, err := New(Options{Dialect: DogStatsD})
	if err != nil {
		t.Fatal(err)
	}
	var dst []byte
	if n := testing.AllocsPerRun(10, func() { dst = e.AppendBody(dst[:0], body, func(string, int) {}) }); n > 200 {
		t.Errorf("%v allocations for 1,000 points", n)
	}
}

func BenchmarkAppendBody(b *testing.B) {
	points := make([]*metricspb.NumberDataPoint, 1000)
	for i := range points {
		points[i] = number(float64(i), "route", "/cart", "status", "200")
	}
	body := exported.Metrics(b, exported.Sum("requests", "", 1, true, points...))
	e, err := New(Options{Dialect: DogStatsD, Tags: []string{"faas.name"}})
	if err != nil {
		b.Fatal(err)
	}
	var dst []byte
	for b.Loop() {
		dst = e.AppendBody(dst[:0], body, func(string, int) {})
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/point")
}
