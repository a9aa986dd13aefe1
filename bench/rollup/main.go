// Command rollup prints what rolling points up costs: inserts a second of one
// core's time, with and without the journal, the journal's size, the memory of a
// series of each kind, and how far the quantiles of its histograms are off.
package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"time"

	"slipstream/bench/figure"
	"slipstream/rollup"
	"slipstream/telemetry"
)

const (
	runs    = 5
	inserts = 2_000_000
	series  = 1000
	// values is how many a distribution has whose quantiles are judged.
	values = 100_000
)

func main() { figure.Main("rollup", measure) }

func measure(context.Context) ([]figure.Figure, error) {
	var figures []figure.Figure
	for _, k := range kinds {
		plain, err := rate(k, false)
		if err != nil {
			return nil, err
		}
		journaled, err := rate(k, true)
		if err != nil {
			return nil, err
		}
		figures = append(figures, figure.Of(k.name+"/inserts", "M/s", plain),
			figure.Of(k.name+"/insert_cost", "ns", each(plain)),
			figure.Of(k.name+"/inserts_journaled", "M/s", journaled),
			figure.Of(k.name+"/journal", "B/point", []float64{journalSize(k)}),
			figure.Of(k.name+"/memory", "B/series", []float64{memory(k)}))
	}
	for _, d := range shapes {
		more, err := errorsOf(d.name, d.draw)
		if err != nil {
			return nil, err
		}
		figures = append(figures, more...)
	}
	return figures, nil
}

type kind struct {
	name string
	fill func(p *telemetry.Point, i int)
}

var kinds = []kind{
	{"counter", func(p *telemetry.Point, _ int) { p.Kind, p.Value = telemetry.Counter, 1 }},
	{"gauge", func(p *telemetry.Point, i int) { p.Kind, p.Value = telemetry.Gauge, float64(i%1000)/8 }},
	{"distribution", func(p *telemetry.Point, i int) {
		p.Kind, p.Count, p.Value = telemetry.Distribution, 1, latencies[i%len(latencies)]
	}},
	{"set", func(p *telemetry.Point, i int) { p.Kind, p.Member = telemetry.Set, members[i%len(members)] }},
}

// latencies are as a service has them, in milliseconds.
var latencies = func() []float64 {
	random := rand.New(rand.NewPCG(1, 1))
	all := make([]float64, 1<<14)
	for i := range all {
		all[i] = math.Exp(3 + 0.8*random.NormFloat64())
	}
	return all
}()

var members = func() [][]byte {
	all := make([][]byte, 1<<14)
	for i := range all {
		all[i] = []byte("user-" + strconv.Itoa(i))
	}
	return all
}()

var start = time.Unix(1_790_000_040, 0)

// points are one of each series, with three tags as they are usual.
func points() []telemetry.Point {
	all := make([]telemetry.Point, series)
	for i := range all {
		all[i] = telemetry.Point{Name: []byte("http.server.requests"), Tags: []telemetry.Tag{
			{Key: []byte("region"), Value: []byte("eu-west-1")}, {Key: []byte("kind"), Value: []byte("web")},
			{Key: []byte("route"), Value: []byte("/orders/" + strconv.Itoa(i))},
		}}
	}
	return all
}

// insert adds n points to a Rollup, every 64 of which are a request.
func insert(r *rollup.Rollup, all []telemetry.Point, k kind, n int, flushed func(frame []byte)) {
	for i := range n {
		p := &all[i*7919%series]
		k.fill(p, i)
		r.Add(p, start.Add(time.Duration(i)))
		if i%64 == 63 {
			r.Flush(func(_ *rollup.Bin, frame []byte, _ int) { flushed(frame) })
		}
	}
}

// rate gives millions of inserts into known series a second of CPU time.
func rate(k kind, journal bool) ([]float64, error) {
	all := points()
	var rates []float64
	for range runs {
		r := rollup.New(rollup.Config{Journal: journal})
		insert(r, all, k, 20*series, func([]byte) {})
		before, err := cpu()
		if err != nil {
			return nil, err
		}
		insert(r, all, k, inserts, func([]byte) {})
		after, err := cpu()
		if err != nil {
			return nil, err
		}
		rates = append(rates, inserts/(after-before).Seconds()/1e6)
	}
	return rates, nil
}

// each is how long one insert takes, in ns, at rates in millions a second.
func each(rates []float64) (costs []float64) {
	for _, rate := range rates {
		costs = append(costs, 1000/rate)
	}
	return costs
}

func cpu() (time.Duration, error) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0, err
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), nil
}

// journalSize is what a point takes in the journal once its series is known.
func journalSize(k kind) float64 {
	all, size := points(), 0
	r := rollup.New(rollup.Config{Journal: true})
	insert(r, all, k, 20*series, func([]byte) {})
	insert(r, all, k, inserts, func(frame []byte) { size += len(frame) })
	return float64(size) / inserts
}

// memory is what the heap grows by for a series that has 200 points.
func memory(k kind) float64 {
	all := points()
	heap := func() float64 {
		runtime.GC()
		runtime.GC() // what finalizers kept
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc)
	}
	before := heap()
	r := rollup.New(rollup.Config{})
	insert(r, all, k, 200*series, func([]byte) {})
	after := heap()
	runtime.KeepAlive(r)
	runtime.KeepAlive(all)
	return (after - before) / series
}

var shapes = []struct {
	name string
	draw func(*rand.Rand) float64
}{
	{"lognormal", func(r *rand.Rand) float64 { return math.Exp(3 + 1.5*r.NormFloat64()) }},
	{"uniform", func(r *rand.Rand) float64 { return 1 + 999*r.Float64() }},
	{"bimodal", func(r *rand.Rand) float64 {
		if r.IntN(10) == 0 {
			return 2000 + 200*r.NormFloat64()
		}
		return math.Abs(5+r.NormFloat64()) + 1e-3
	}},
	{"constant", func(*rand.Rand) float64 { return 42.5 }},
}

// errorsOf compares quantiles, as a reader of the export has them, with the exact ones.
func errorsOf(name string, draw func(*rand.Rand) float64) ([]figure.Figure, error) {
	quantiles := []float64{0.5, 0.9, 0.95, 0.99}
	off := make([][]float64, len(quantiles))
	for run := range runs {
		random := rand.New(rand.NewPCG(uint64(run), 0))
		r := rollup.New(rollup.Config{})
		all := make([]float64, values)
		for i := range all {
			all[i] = draw(random)
			r.Add(&telemetry.Point{Kind: telemetry.Distribution, Name: []byte("m"), Value: all[i], Count: 1}, start)
		}
		slices.Sort(all)
		h, err := histogramOf(r.Close(start, true)[0].AppendExport(nil).Body)
		if err != nil {
			return nil, err
		}
		for i, q := range quantiles {
			rank := int(math.Ceil(q*values)) - 1
			off[i] = append(off[i], 100*math.Abs(quantile(h, rank)/all[rank]-1))
		}
	}
	var figures []figure.Figure
	for i, q := range quantiles {
		figures = append(figures, figure.Of(fmt.Sprintf("%s/p%g_error", name, 100*q), "%", off[i]))
	}
	return figures, nil
}
