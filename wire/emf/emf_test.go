package emf

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metricspb "go.opentelemetry.io/proto/slim/otlp/metrics/v1"

	"slipstream/test/exported"
)

const at = 1790000040000 // milliseconds

func number(v float64, attributes ...string) *metricspb.NumberDataPoint {
	return exported.Number(time.UnixMilli(at), v, attributes...)
}

func sum(name string, temporality metricspb.AggregationTemporality,
	points ...*metricspb.NumberDataPoint) *metricspb.Metric {
	return exported.Sum(name, "{call}", temporality, true, points...)
}

// values is a histogram whose bounds are its values.
func values(name string, counts map[float64]uint64) *metricspb.Metric {
	p := &metricspb.HistogramDataPoint{TimeUnixNano: at * 1e6, Sum: new(float64)}
	for _, v := range slices.Sorted(maps.Keys(counts)) {
		p.ExplicitBounds, p.BucketCounts = append(p.ExplicitBounds, v), append(p.BucketCounts, counts[v])
		p.Count += counts[v]
		*p.Sum += v * float64(counts[v])
	}
	p.BucketCounts = append(p.BucketCounts, 0)
	return exported.Histogram(name, "ms", 1, p)
}

func encode(o Options, records []byte) (string, map[string]int) {
	dropped := map[string]int{}
	return string(New(o).AppendBody(nil, records, func(reason string, n int) { dropped[reason] += n })), dropped
}

var shop = Options{Namespace: "Shop", Tags: []string{"faas.name"}}

func TestDocuments(t *testing.T) {
	ended := number(7, "a", "b")
	ended.StartTimeUnixNano = at*1e6 - 60e9
	got, dropped := encode(shop, exported.Metrics(t, sum("calls", 1, number(2, "a", "b"), ended),
		exported.Gauge("memory", "By", number(64, "a", "b")),
		values("wait", map[float64]uint64{1.5: 2, 4: 1}), sum("total", 2, number(1)),
		exported.Gauge("nan", "", number(math.NaN())), exported.Gauge("", "", number(1)),
		exported.Gauge("a", "", number(5, "a", "b"), number(6, "a", "b")),
		exported.Gauge("t", "", &metricspb.NumberDataPoint{})))
	const (
		head = `{"_aws":{"Timestamp":1790000040000,"CloudWatchMetrics":[{"Namespace":"Shop","Dimensions":[["a",` +
			`"faas.name"]],"Metrics":[`
		want = head + `{"Name":"calls","Unit":"Count"},{"Name":"memory","Unit":"Bytes"},{"Name":"a_"}]}]},"a":"b",` +
			`"faas.name":"shop","calls":2,"memory":64,"a_":5}` + "\n" +
			`{"_aws":{"Timestamp":1790000039999,"CloudWatchMetrics":[{"Namespace":"Shop","Dimensions":[["a","faas.name"]],` +
			`"Metrics":[{"Name":"calls","Unit":"Count"}]}]},"a":"b","faas.name":"shop","calls":7}` + "\n" +
			`{"_aws":{"Timestamp":1790000040000,"CloudWatchMetrics":[{"Namespace":"Shop","Dimensions":[["faas.name"]],` +
			`"Metrics":[{"Name":"wait","Unit":"Milliseconds"}]}]},"faas.name":"shop","wait":[1.5,1.5,4]}` + "\n" +
			head + `{"Name":"a_"}]}]},"a":"b","faas.name":"shop","a_":6}` + "\n"
	)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if want := map[string]int{"cumulative_temporality": 1, "not_a_number": 1, "no_name": 1, "no_time": 1}; !maps.Equal(
		want, dropped) {
		t.Errorf("dropped %v", dropped)
	}
	check(t, got)
}

func TestDistributions(t *testing.T) {
	rising, wide, many := map[float64]uint64{}, map[float64]uint64{}, map[float64]uint64{}
	for i := range 100 {
		rising[float64(i)] = uint64(i) + 1
	}
	for i := range 600 {
		wide[math.Exp2(float64(i)/32)] = 1
		many[math.Exp2(float64(i)/32)] = 2 + uint64(i%3)
	}
	for name, tt := range map[string]struct {
		counts    map[float64]uint64
		documents int
		count     float64 // that CloudWatch will see
	}{
		"few":       {map[float64]uint64{1: 3}, 1, 3},
		"a hundred": {map[float64]uint64{1: 99, 2: 1}, 1, 100},
		"more":      {map[float64]uint64{1: 99, 2: 102}, 3, 201},
		"rounded":   {rising, 10, 1000},
		"different": {wide, 6, 600},
		"both":      {many, 10, 1000},
		"too many":  {map[float64]uint64{1: 900_000, 2: 99_000, 50: 1000}, 10, 1000},
	} {
		body := exported.Metrics(t, values("wait", tt.counts))
		got, dropped := encode(shop, body)
		sum, count := 0.0, 0.0
		least, most := math.Inf(1), math.Inf(-1)
		wantSum, wantCount := 0.0, 0.0
		for v, n := range tt.counts {
			wantSum, wantCount = wantSum+v*float64(n), wantCount+float64(n)
		}
		for line := range strings.Lines(got) {
			var document struct{ Wait []float64 }
			if err := json.Unmarshal([]byte(line), &document); err != nil {
				t.Fatal(err)
			}
			for _, v := range document.Wait {
				sum, count = sum+v, count+1
				least, most = min(least, v), max(most, v)
			}
		}
		if keys := slices.Sorted(maps.Keys(tt.counts)); least != keys[0] || most != keys[len(keys)-1] {
			t.Errorf("%s: from %v to %v", name, least, most)
		}
		mean := wantSum / wantCount
		if count != tt.count || math.Abs(sum/count-mean) > .01*max(1, mean/10) ||
			strings.Count(got, "\n") != tt.documents || len(dropped) > 0 {
			t.Errorf("%s: %v values of mean %v, not of %v, in %d documents", name, count, sum/count, wantSum/wantCount,
				strings.Count(got, "\n"))
		}
		check(t, got)
	}
	o := shop
	o.Counts, o.HighResolution = true, true
	got, _ := encode(o, exported.Metrics(t, values("wait", map[float64]uint64{1: 900, 2: 100})))
	if want := `"Unit":"Milliseconds","StorageResolution":1}]}]},"faas.name":"shop",` +
		`"wait":{"Values":[1,2],"Counts":[900,100],"Max":2,"Min":1,"Count":1000,"Sum":1100}}` +
		"\n"; !strings.HasSuffix(got, want) {
		t.Error(got)
	}
	got, _ = encode(o, exported.Metrics(t, values("wait", wide)))
	if n := strings.Count(got, `"Count":100,`); n != 6 || strings.Count(got, "\n") != 6 {
		t.Errorf("%d documents of a hundred different values", n)
	}
}

func TestWithinLimits(t *testing.T) {
	var metrics []*metricspb.Metric
	var attributes []string
	for i := range 50 {
		attributes = append(attributes, fmt.Sprintf("%02d%s", i, strings.Repeat("k", 300)), strings.Repeat("ü", 600))
	}
	for i := range 250 {
		metrics = append(metrics, exported.Gauge(fmt.Sprintf("%d%s", i, strings.Repeat("n", 2000)), "",
			number(1, attributes...)))
	}
	got, dropped := encode(shop, exported.Metrics(t, metrics...))
	if n := check(t, got); n != 250 || len(dropped) > 0 {
		t.Errorf("%d metrics, dropped %v", n, dropped)
	}
}

// check judges documents by the rules of the specification, and gives how many
// metrics they have.
func check(t testing.TB, documents string) (metrics int) {
	t.Helper()
	for line := range strings.Lines(documents) {
		if len(line) > 256<<10 || !strings.HasSuffix(line, "\n") {
			t.Errorf("a line of %d bytes", len(line))
		}
		var root map[string]any
		var head struct {
			AWS struct {
				Timestamp         int64
				CloudWatchMetrics []struct {
					Namespace  string
					Dimensions [][]string
					Metrics    []struct {
						Name, Unit        string
						StorageResolution int
					}
				}
			} `json:"_aws"`
		}
		if err := json.Unmarshal([]byte(line), &root); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if err := json.Unmarshal([]byte(line), &head); err != nil || head.AWS.Timestamp <= 0 ||
			len(head.AWS.CloudWatchMetrics) == 0 {
			t.Errorf("%v: %s", err, line)
		}
		for _, directive := range head.AWS.CloudWatchMetrics {
			if n := len(directive.Namespace); n == 0 || n > 1024 || len(directive.Dimensions) == 0 ||
				len(directive.Metrics) > 100 {
				t.Errorf("%s", line)
			}
			for _, set := range directive.Dimensions {
				if len(set) > 30 {
					t.Errorf("%d dimensions", len(set))
				}
				for _, name := range set {
					if value, ok := root[name].(string); !ok || name == "" || len(name) > 250 || value == "" ||
						len([]rune(value)) > 1024 {
						t.Errorf("dimension %q is %v", name, root[name])
					}
				}
			}
			for _, m := range directive.Metrics {
				metrics++
				list, isList := root[m.Name].([]any)
				_, isNumber := root[m.Name].(float64)
				if m.Name == "" || len(m.Name) > 1024 || !isNumber && !isList || len(list) > 100 || isList && len(list) == 0 {
					t.Errorf("metric %q is %v", m.Name, root[m.Name])
				}
			}
		}
	}
	return metrics
}

func FuzzDocuments(f *testing.F) {
	f.Add("calls", "a", "b", 1.5)
	f.Add("a", "a", "\"\n\\", -1e300)
	f.Add("_aws", "_aws", "x", 0.0)
	f.Add("a_", "a", "\u2028", math.Inf(1))
	f.Fuzz(func(t *testing.T, name, key, value string, v float64) {
		name, key, value = strings.ToValidUTF8(name, "?"), strings.ToValidUTF8(key, "?"), strings.ToValidUTF8(value, "?")
		got, _ := encode(Options{Namespace: "n", Tags: []string{"faas.name"}}, exported.Metrics(t,
			exported.Gauge(name, "", number(v, key, value, value, key)), sum(key, 1, number(v, key+"_", value)),
			values(value, map[float64]uint64{v: 7})))
		check(t, got)
	})
}

func BenchmarkAppendBody(b *testing.B) {
	var metrics []*metricspb.Metric
	for i := range 100 { // of ten minutes
		points := make([]*metricspb.NumberDataPoint, 10)
		for n := range points {
			points[n] = number(float64(i), "route", "/cart", "status", "200")
			points[n].TimeUnixNano += uint64(n) * 60e9
		}
		metrics = append(metrics, sum(fmt.Sprintf("requests.%d", i), 1, points...))
	}
	body := exported.Metrics(b, metrics...)
	e := New(shop)
	var dst []byte
	for b.Loop() {
		dst = e.AppendBody(dst[:0], body, func(string, int) {})
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/point")
}
