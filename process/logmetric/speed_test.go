package logmetric_test

import (
	"math"
	"strings"
	"testing"

	"slipstream/process/logmetric"
	"slipstream/telemetry"
)

const typicalFilters = `[{"pattern":"[level=METRIC, t, r, n, v]","name":"$n","value":"$v"},
	{"pattern":"{ $.level = \"ERROR\" && $.latency > 5 }","name":"slow","value":"$.latency",
		"dimensions":{"S":"$.service"}},
	{"pattern":"\"timed out\"","name":"timeouts","namespace":"Shop"},
	{"regex":"took (?P<metric_value>[0-9.]+) ms","name":"took"}]`

// bodies are records, with the allocations that each may cost.
var bodies = []struct {
	name, body string
	allocs     float64
}{
	{"line without", quote("2026-10-01T09:00:00.330Z\t3b0e4c1d-0a53-4a0e-9f5f-2f1f7a6f6a01\tINFO\thello, order 17 is " +
		"ready\n"), 0},
	{"object without", `{"timestamp":"2026-10-01T09:00:00.330Z","level":"INFO","requestId":"3b0e","message":"hello"}`, 0},
	{"METRIC", quote(metricLine), 0},
	{"JSON", quote(`{"level":"ERROR","service":"cart","latency":12.5}` + "\n"), 0},
	{"phrase", quote("Task timed out after 3 s"), 0},
	{"regex", quote("it took 12.5 ms"), 1}, // the standard library's positions
	{"EMF", quote(document(`[{"Namespace":"Shop","Dimensions":[["service"],[]],"Metrics":[
		{"Name":"latency","Unit":"Milliseconds"},{"Name":"orders"}]}]`,
		`,"service":"cart","latency":[12.5,13.0,12.5],"orders":3,"requestId":"3b0e"`)), 0},
}

func TestAllocations(t *testing.T) {
	list, err := logmetric.ParseFilters(typicalFilters)
	if err != nil {
		t.Fatal(err)
	}
	x := logmetric.New(logmetric.Config{Filters: list, EMF: logmetric.Keep, Lines: logmetric.Keep,
		Drop: func(r logmetric.Reason) { t.Errorf("dropped: %s", r) }})
	points := 0
	emit := func(*telemetry.Point) { points++ }
	for _, b := range bodies {
		l := telemetry.Log{Type: "function", Body: []byte(b.body), Time: at}
		points = 0
		if n := testing.AllocsPerRun(100, func() { x.Take(&l, emit) }); n > b.allocs {
			t.Errorf("%s: %v allocations a record, at most %v", b.name, n, b.allocs)
		}
		if without := strings.HasSuffix(b.name, "without"); without != (points == 0) {
			t.Errorf("%s: %d points", b.name, points)
		}
	}
}

func BenchmarkTake(b *testing.B) {
	list, err := logmetric.ParseFilters(typicalFilters)
	if err != nil {
		b.Fatal(err)
	}
	x := logmetric.New(logmetric.Config{Filters: list, EMF: logmetric.Keep, Lines: logmetric.Keep})
	emit := func(*telemetry.Point) {}
	for _, tt := range bodies {
		b.Run(tt.name, func(b *testing.B) {
			l := telemetry.Log{Type: "function", Body: []byte(tt.body), Time: at}
			b.SetBytes(int64(len(tt.body)))
			b.ReportAllocs()
			for b.Loop() {
				x.Take(&l, emit)
			}
		})
	}
}

// FuzzTake: whatever a record is, points are such that they can be encoded, and a
// record with a fault stays.
func FuzzTake(f *testing.F) {
	for _, b := range bodies {
		f.Add([]byte(b.body))
	}
	f.Add([]byte(document(directive(`[["d"],["d","d"]]`, `[{"Name":"n"},{"Name":"n","Unit":"x"}]`),
		`,"n":[3,1,2,1e99],"d":"v"`)))
	f.Add([]byte(`{"_aws":{"Timestamp":1,"CloudWatchMetrics":[{"Namespace":"a","Dimensions":[[]],` +
		`"Metrics":[{"Name":"_aws"}]}]}}`))
	list, err := logmetric.ParseFilters(strings.ReplaceAll(typicalFilters, `"name":"slow"`,
		`"name":"slow","consume":true`))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		points := 0
		x := logmetric.New(logmetric.Config{Filters: list, EMF: logmetric.Consume, Lines: logmetric.Consume})
		before := string(body)
		consumed := x.Take(&telemetry.Log{Type: "function", Body: body, Time: at}, func(p *telemetry.Point) {
			points++
			values := p.Centroids
			if values == nil {
				values = []telemetry.Centroid{{Value: p.Value, Count: p.Count}}
			}
			last := math.Inf(-1)
			for _, c := range values {
				if !(c.Value > last) || math.IsInf(c.Value, 0) || !(c.Count >= 1) {
					t.Fatalf("%q gives the values %v", body, values)
				}
				last = c.Value
			}
			if len(p.Name) == 0 {
				t.Fatalf("%q gives a point without a name", body)
			}
		})
		if consumed && points == 0 {
			t.Fatalf("%q is gone without a point", body)
		}
		if string(body) != before {
			t.Fatalf("%q became %q", before, body)
		}
	})
}
