package metrics

import (
	"bytes"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metricspb "go.opentelemetry.io/proto/slim/otlp/metrics/v1"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"slipstream/telemetry"
	"slipstream/test/exported"
	"slipstream/wire"
)

// request makes a request of the text form of the metrics of one scope.
func request(t testing.TB, metrics string) []byte {
	t.Helper()
	var data metricspb.MetricsData
	text := `resource_metrics { resource { attributes { key: "service.name" value { string_value: "shop" } } }
		schema_url: "r" scope_metrics { scope { name: "sdk" } schema_url: "s" ` + metrics + `} }`
	if err := prototext.Unmarshal([]byte(text), &data); err != nil {
		t.Fatal(err)
	}
	body, err := proto.Marshal(&data)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

const (
	delta      = "aggregation_temporality: AGGREGATION_TEMPORALITY_DELTA"
	cumulative = "aggregation_temporality: AGGREGATION_TEMPORALITY_CUMULATIVE"
	when       = "start_time_unix_nano: 60000000000 time_unix_nano: 120000000000"
	typed      = `attributes { key: "s" value { string_value: "x" } } attributes { key: "code" value { int_value: 200 } }`
)

// What goes out of Split and into a Writer is the same again.
func TestSplitTakes(t *testing.T) {
	for _, m := range []string{
		`name: "g" unit: "1" description: "what" gauge {
			data_points { time_unix_nano: 5000000000 as_double: 1.5 ` + typed + `} }`,
		`name: "c" sum { is_monotonic: true ` + delta + ` data_points { ` + when + ` as_double: 3 }
			data_points { ` + when + ` as_double: 4 ` + typed + ` } }`,
		`name: "u" sum { ` + delta + ` data_points { ` + when + ` as_double: -3 } }`,
		`name: "h" exponential_histogram { ` + delta + ` data_points { ` + when + ` count: 9 sum: 2.5 scale: -2 zero_count: 1
			min: -4 max: 5 positive { offset: -3 bucket_counts: [1, 0, 300] } negative { bucket_counts: 7 } ` + typed + ` } }`,
	} {
		body := request(t, "metrics { "+m+" }")
		var w Writer
		var s Splitter
		rest := s.Split(nil, body, func(p *telemetry.Point, h *Histogram) bool {
			end := p.Time
			if p.Kind != telemetry.Gauge {
				end = end.Add(1)
			}
			w.Append(p, h, Span{Start: time.Unix(60, 0), End: end})
			return true
		})
		if len(rest.Body) != 0 || rest.Records != 0 {
			t.Errorf("%s: %d records are left", m, rest.Records)
		}
		want := exported.Read(t, telemetry.Export{Body: body, Records: bytes.Count([]byte(m), []byte("data_points"))})
		if diff := cmp.Diff(want, exported.Read(t, w.Export(nil)), protocmp.Transform()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", m, diff)
		}
	}
}

// What cannot be rolled up without loss stays as it is, in its place.
func TestSplitLeaves(t *testing.T) {
	good := `data_points { ` + when + ` as_double: 1 }`
	for _, m := range []string{
		`sum { is_monotonic: true ` + cumulative + ` ` + good + ` }`,
		`sum { is_monotonic: true ` + good + ` }`,
		`sum { is_monotonic: true ` + delta + ` data_points { ` + when + ` as_double: -1 } }`,
		`sum { ` + delta + ` data_points { ` + when + ` as_int: 9007199254740993 } }`,
		`sum { ` + delta + ` data_points { as_double: 1 } }`,
		`sum { ` + delta + ` data_points { ` + when + ` } }`,
		`sum { ` + delta + ` data_points { ` + when + ` as_double: inf } }`,
		`sum { ` + delta + ` data_points { ` + when + ` as_double: 1 flags: 1 } }`,
		`sum { ` + delta + ` data_points { ` + when + ` as_double: 1 exemplars { as_double: 1 } } }`,
		`metadata { key: "k" value { } } sum { ` + delta + ` ` + good + ` }`,
		`histogram { ` + delta + ` data_points { ` + when + ` count: 1 sum: 1 bucket_counts: [1, 0] explicit_bounds: 1 } }`,
		`summary { data_points { ` + when + ` count: 1 sum: 1 } }`,
		`exponential_histogram { ` + cumulative + ` data_points { ` + when + ` count: 1 sum: 1 min: 1 max: 1 } }`,
		`exponential_histogram { ` + delta + ` data_points { ` + when + ` count: 1 sum: 1 min: 1 max: 1
			zero_threshold: 1 } }`,
		`exponential_histogram { ` + delta + ` data_points { ` + when + ` count: 1 sum: 1 max: 1 } }`,
		`exponential_histogram { ` + delta + ` data_points { ` + when + ` count: 0 sum: 0 min: 0 max: 0 } }`,
	} {
		body := request(t, `metrics { name: "m" description: "d" `+m+` }`)
		var s Splitter
		rest := s.Split(nil, body, func(p *telemetry.Point, _ *Histogram) bool {
			t.Errorf("%s: %+v can be rolled up", m, p)
			return true
		})
		want := exported.Read(t, telemetry.Export{Body: body, Records: 1})
		if diff := cmp.Diff(want, exported.Read(t, rest), protocmp.Transform()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", m, diff)
		}
	}
}

// Of one metric some points go and some stay; what take refuses stays, too.
func TestSplitsWithinAMetric(t *testing.T) {
	point := func(v int, flags string) string {
		return fmt.Sprintf("data_points { %s as_int: %d %s }", when, v, flags)
	}
	body := request(t, `metrics { name: "a" sum { `+point(1, "")+delta+` `+point(2, "flags: 1")+point(3, "")+point(4, "")+
		` } } metrics { name: "b" sum { `+delta+` `+point(5, "")+` } }
		metrics { name: "c" summary { data_points { count: 1 } } }`)
	var s Splitter
	sum := 0.0
	rest := s.Split(nil, body, func(p *telemetry.Point, _ *Histogram) bool {
		if p.Value == 3 {
			return false
		}
		sum += p.Value
		if string(p.Name) == "a" && p.Kind != telemetry.GaugeChange || !p.Time.Equal(time.Unix(120, -1)) {
			t.Errorf("%+v", p)
		}
		return true
	})
	want := request(t, `metrics { name: "a" sum { `+delta+` `+point(2, "flags: 1")+point(3, "")+` } }
		metrics { name: "c" summary { data_points { count: 1 } } }`)
	diff := cmp.Diff(exported.Read(t, telemetry.Export{Body: want, Records: 3}), exported.Read(t, rest),
		protocmp.Transform())
	if diff != "" || sum != 10 {
		t.Errorf("sum %g (-want +got):\n%s", sum, diff)
	}
}

// The Writer begins a metric where anything of its identity changes.
func TestWriterKeepsMetricsApart(t *testing.T) {
	var w Writer
	at := Span{End: time.Unix(60, 0)}
	for range 2 {
		for _, p := range []telemetry.Point{
			{Name: []byte("a")}, {Name: []byte("a")}, {Name: []byte("a"), Unit: "s"},
			{Name: []byte("a"), Kind: telemetry.Counter}, {Name: []byte("a"), Kind: telemetry.GaugeChange},
			{Name: []byte("a"), Scope: []byte{26, 1, 's'}}, {Name: []byte("a"), Resource: []byte{26, 1, 's'}},
		} {
			w.Append(&p, nil, at)
		}
		p := telemetry.Point{Name: []byte("a"), Kind: telemetry.Counter}
		w.Append(&p, nil, at)
		w.Append(&p, nil, Span{End: at.End, Cumulative: true})
		data := exported.Read(t, w.Export(nil))
		n := []int{}
		for _, r := range data.ResourceMetrics {
			for _, s := range r.ScopeMetrics {
				n = append(n, len(s.Metrics))
			}
		}
		if diff := cmp.Diff([]int{4, 1, 1, 2}, n); diff != "" {
			t.Error(diff)
		}
	}
	if x := w.Export([]byte("before")); string(x.Body) != "before" || x.Records != 0 {
		t.Errorf("nothing is %q", x.Body)
	}
}

// Nothing gets lost: what goes and what stays are all the points there were, and
// what stays is a right request.
func FuzzSplit(f *testing.F) {
	f.Add(request(f, `metrics { name: "a" sum { `+delta+` data_points { `+when+` as_int: 1 `+typed+` } } }
		metrics { name: "h" exponential_histogram { `+delta+` data_points { `+when+` count: 2 sum: 1 min: 1 max: 1
			positive { bucket_counts: [1, 1] } } } } metrics { name: "g" gauge { data_points { time_unix_nano: 9 } } }
		metrics { summary { data_points { count: 1 } } }`))
	f.Fuzz(func(t *testing.T, body []byte) {
		n, err := wire.CheckExport(telemetry.Metrics, body)
		if err != nil {
			return
		}
		var s Splitter
		var w Writer
		taken := 0
		rest := s.Split(nil, body, func(p *telemetry.Point, h *Histogram) bool {
			if math.IsNaN(p.Value) && h == nil || p.Time.Unix() <= 0 {
				t.Fatalf("%+v", p)
			}
			taken++
			w.Append(p, h, Span{End: p.Time})
			return true
		})
		again, err := wire.CheckExport(telemetry.Metrics, rest.Body)
		if err != nil || again != rest.Records || taken+again != n {
			t.Fatalf("%d points: %d taken, %d left (said to be %d): %v", n, taken, again, rest.Records, err)
		}
		x := w.Export(nil)
		if again, err := wire.CheckExport(telemetry.Metrics, x.Body); err != nil || again != taken {
			t.Fatalf("%d points written as %d: %v", taken, again, err)
		}
	})
}
