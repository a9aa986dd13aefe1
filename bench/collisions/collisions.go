package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"slipstream/bench/figure"
	"slipstream/deploy/layer"
	"slipstream/emulator"
	"slipstream/test/servers"
)

// ways are those on which the function sends each value.
var ways = []string{"wavefront", "statsd", "line", "emf", "otlp"}

const (
	perSecond    = 25
	environments = 4
)

// plan is one run.
type plan struct {
	seconds    int
	seed       uint64
	prometheus string // its endpoint
}

// sent is a value and when it was sent.
type sent struct {
	value float64
	at    time.Time
}

// values are how often each value came. The counts are whole but for a reader's own.
type values struct {
	count, sum, min, max float64
	quantile             func(q float64) float64
}

// quantiles are those that are compared.
var quantiles = []float64{0.5, 0.9, 0.95, 0.99}

// run has the function send, and compares what came to each destination.
func (p plan) run(ctx context.Context) ([]figure.Figure, error) {
	sink, err := newSink()
	if err != nil {
		return nil, err
	}
	defer sink.listener.Close()
	all, err := p.invoke(ctx, sink.listener.Addr().String())
	if err != nil {
		return nil, err
	}
	sink.done.Wait()
	truth := exact(all)
	figures := compare("naive", "off", truth, naive(all))
	for _, way := range ways {
		figures = append(figures, compare("wavefront/"+way, "error", truth, sink.of("random."+way))...)
		v, err := p.ask(ctx, "random_"+way)
		if err != nil {
			return nil, err
		}
		figures = append(figures, compare("prometheus/"+way, "error", truth, v)...)
	}
	return figures, nil
}

// invoke plays the function, 25 times a second, and gives what it sent.
func (p plan) invoke(ctx context.Context, sink string) ([]sent, error) {
	extension, err := layer.Program(ctx, "./cmd/slipstream-extension", runtime.GOARCH)
	if err != nil {
		return nil, err
	}
	function, err := layer.Program(ctx, "./bench/collisions/writer", runtime.GOARCH)
	if err != nil {
		return nil, err
	}
	scratch, err := os.MkdirTemp("", "slipstream-bench-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(scratch) }()
	named := filepath.Join(scratch, layer.Name)
	if err := os.Symlink(extension, named); err != nil {
		return nil, err
	}
	lambda, err := emulator.Start(ctx, emulator.Config{
		Freeze: true, Addresses: servers.Loopback(), LogWriter: warnings{},
		Functions: []emulator.Function{{
			Name: "random", Command: []string{function}, Extensions: []string{named}, MemoryMB: 1769,
			Timeout: 30 * time.Second, Concurrency: environments, Warm: environments,
			Env: map[string]string{
				"SLIPSTREAM_DESTINATIONS": "prometheus+" + p.prometheus + "/api/v1/write?extremes=true" +
					" wavefront+tcp://" + sink,
				"SLIPSTREAM_LISTEN": "all", "SLIPSTREAM_LOG_LEVEL": "warn", "SLIPSTREAM_EMF": "consume",
				"SLIPSTREAM_METRIC_LINES": "consume",
			},
		}},
	})
	if err != nil {
		return nil, err
	}
	all, err := p.send(ctx, lambda)
	return all, errors.Join(err, lambda.Shutdown(ctx))
}

// warnings shows what the extension has to complain of, and nothing else.
type warnings struct{}

func (warnings) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte("level=")) {
		return os.Stderr.Write(p)
	}
	return len(p), nil
}

// send invokes the function at a steady pace, in as many environments as it takes.
func (p plan) send(ctx context.Context, lambda *emulator.Lambda) ([]sent, error) {
	random := rand.New(rand.NewPCG(p.seed, 0))
	var mu sync.Mutex
	var all []sent
	var errs []error
	var running sync.WaitGroup
	free := make(chan struct{}, environments)
	tick := time.NewTicker(time.Second / perSecond)
	defer tick.Stop()
	for range p.seconds * perSecond {
		// Three decades, evenly by their logarithm; exact in binary, so that sums are.
		value := math.Round(math.Pow(10, 3*random.Float64())*1024) / 1024
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		free <- struct{}{}
		running.Go(func() {
			defer func() { <-free }()
			at := time.Now()
			result, err := lambda.Invoke(ctx, "random", fmt.Appendf(nil, `{"value":%g}`, value))
			mu.Lock()
			defer mu.Unlock()
			if err == nil && result.FunctionError != "" {
				err = fmt.Errorf("the function failed: %s", result.Payload)
			}
			errs = append(errs, err)
			all = append(all, sent{value, at})
		})
	}
	running.Wait()
	return all, errors.Join(errs...)
}

// exact is what was sent.
func exact(all []sent) values {
	v := values{min: math.Inf(1), max: math.Inf(-1)}
	var sorted []float64
	for _, s := range all {
		v.count++
		v.sum += s.value
		v.min, v.max = min(v.min, s.value), max(v.max, s.value)
		sorted = append(sorted, s.value)
	}
	slices.Sort(sorted)
	v.quantile = func(q float64) float64 {
		return sorted[min(max(int(math.Ceil(q*v.count-1e-9))-1, 0), len(sorted)-1)]
	}
	return v
}

// naive is what is left where each point is written as it comes, to one series with
// one value a second: the last of a second overwrites the others.
func naive(all []sent) values {
	bySecond := map[int64]sent{}
	for _, s := range all {
		if other, there := bySecond[s.at.Unix()]; !there || s.at.After(other.at) {
			bySecond[s.at.Unix()] = s
		}
	}
	var left []sent
	for _, s := range bySecond {
		left = append(left, s)
	}
	return exact(left)
}

// compare makes figures of what is missing, and of errors, by the word for them. What
// a destination does not keep is not a number.
func compare(name, word string, truth, got values) []figure.Figure {
	one := func(what, unit string, v float64) figure.Figure {
		return figure.Of(name+"/"+what, unit, []float64{v})
	}
	percent := func(got, want float64) float64 { return 100 * math.Abs(got-want) / want }
	figures := []figure.Figure{one("values", "values", got.count),
		one(map[string]string{"error": "values_lost", "off": "values_overwritten"}[word], "values", truth.count-got.count),
		one("sum_"+word, "%", percent(got.sum, truth.sum))}
	if !math.IsNaN(got.min) {
		figures = append(figures, one("range_"+word, "%", max(percent(got.min, truth.min), percent(got.max, truth.max))))
	}
	for _, q := range quantiles {
		at, v := "p"+strconv.FormatFloat(100*q, 'f', -1, 64), got.quantile(q)
		// What is between a value's neighbours is a right answer, by one definition or another.
		near := min(max(v, truth.quantile(q-1/truth.count)), truth.quantile(q+1/truth.count))
		figures = append(figures, one(at, "", v), one(at+"_"+word, "%", percent(v, near)))
	}
	return figures
}

// ask asks Prometheus for a native histogram, all environments together.
func (p plan) ask(ctx context.Context, metric string) (v values, err error) {
	all := "sum(last_over_time(" + metric + "[1h]))"
	number := func(query string) float64 {
		n, failed := p.query(ctx, query)
		err = errors.Join(err, failed)
		return n
	}
	v.count, v.sum = number("histogram_count("+all+")"), number("histogram_sum("+all+")")
	v.min = number("min(last_over_time(" + metric + "_min[1h]))")
	v.max = number("max(last_over_time(" + metric + "_max[1h]))")
	found := map[float64]float64{}
	for _, q := range quantiles {
		found[q] = number(fmt.Sprintf("histogram_quantile(%g, %s)", q, all))
	}
	v.quantile = func(q float64) float64 { return found[q] }
	return v, err
}

// query gives the one number that a query comes to.
func (p plan) query(ctx context.Context, query string) (float64, error) {
	form := url.Values{"query": {query}, "time": {time.Now().UTC().Add(time.Minute).Format(time.RFC3339)}}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.prometheus+"/api/v1/query?"+form.Encode(), nil)
	if err != nil {
		return 0, err
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	var answer struct {
		Error string
		Data  struct{ Result []struct{ Value [2]any } }
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || len(answer.Data.Result) != 1 {
		return 0, fmt.Errorf("query %s: %d results, %s %w", query, len(answer.Data.Result), answer.Error, err)
	}
	text, _ := answer.Data.Result[0].Value[1].(string)
	return strconv.ParseFloat(text, 64)
}

// sink is a Wavefront proxy that keeps its lines.
type sink struct {
	listener net.Listener
	done     sync.WaitGroup
	mu       sync.Mutex
	lines    []string
}

func newSink() (*sink, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &sink{listener: l}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.done.Go(func() {
				defer c.Close()
				for scan := bufio.NewScanner(c); scan.Scan(); {
					s.mu.Lock()
					s.lines = append(s.lines, scan.Text())
					s.mu.Unlock()
				}
			})
		}
	}()
	return s, nil
}

// of puts the distributions of a metric together: `!M TIME #COUNT VALUE ... "NAME" …`.
func (s *sink) of(name string) values {
	s.mu.Lock()
	defer s.mu.Unlock()
	type centroid struct{ value, count float64 }
	var all []centroid
	v := values{min: math.Inf(1), max: math.Inf(-1)}
	for _, line := range s.lines {
		head, _, found := strings.Cut(line, `"`+name+`"`)
		words := strings.Fields(head)
		if !found || len(words) < 2 || words[0] != "!M" {
			continue
		}
		for i := 2; i+1 < len(words); i += 2 {
			n, _ := strconv.ParseFloat(strings.TrimPrefix(words[i], "#"), 64)
			value, err := strconv.ParseFloat(words[i+1], 64)
			if err != nil {
				continue
			}
			all = append(all, centroid{value, n})
			v.count += n
			v.sum += n * value
			v.min, v.max = min(v.min, value), max(v.max, value)
		}
	}
	slices.SortFunc(all, func(a, b centroid) int { return int(math.Copysign(1, a.value-b.value)) })
	v.quantile = func(q float64) float64 {
		rank := math.Ceil(q * v.count)
		for _, c := range all {
			if rank -= c.count; rank <= 0 {
				return c.value
			}
		}
		return math.NaN()
	}
	return v
}
