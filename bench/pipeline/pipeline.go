// Package pipeline measures the extension's whole way, from the Telemetry API to
// the destination, under the emulator. Use Run for one scenario at one place.
package pipeline

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"slipstream/bench/lines"
	"slipstream/bench/memory"
	"slipstream/demo/objects"
	"slipstream/deploy/layer"
	"slipstream/emulator"
	"slipstream/emulator/client"
)

// Scenario is what the function does.
type Scenario struct {
	Name        string
	Invocations int
	Lines       int // in each, of about 200 bytes
	Freeze      bool
	MemoryMB    int                        // of the function, which gives its share of the CPU; 0 for one whole core
	Timeout     time.Duration              // of an invocation; 0 for a generous one
	Cold        bool                       // Init comes with the first invocation, not before
	Before      func(invocation int) error // called before each invocation, counted from 0; may be nil
}

// Scenarios are those of the README: the everyday one, and the burst.
func Scenarios() []Scenario {
	return []Scenario{
		{Name: "50x100", Invocations: 50, Lines: 100, Freeze: true},
		{Name: "1x100000", Invocations: 1, Lines: 100_000, Freeze: true},
	}
}

// wholeCore is the memory that comes with one: less would measure the CPU quota.
const wholeCore = 1769

// generous is an invocation's timeout: a busy machine must not look like a lost
// line.
const generous = 2 * time.Minute

// Place is a destination that can be read back.
type Place interface {
	URL() string
	Each(context.Context, objects.Visit) error
}

// Result is one run of a scenario.
type Result struct {
	Lost, Doubled int
	ObjectBytes   int64 // of all objects, as they lie there
	TextBytes     int64 // of the lines, as the function wrote them
	CPU           time.Duration
	PeakMemory    int64             // bytes, of the extension alone
	Elapsed       time.Duration     // from the first event until the extension has delivered all and ended
	Reports       []emulator.Report // one for each invocation, in order
}

// Programs are the binaries of a run. Empty is an extension that does nothing,
// the yardstick for what any extension costs.
type Programs struct{ Extension, Empty, Function string }

// Build makes the programs as they ship. The folder gets the extension under
// the name that it has in the layer.
func Build(ctx context.Context, folder string) (p Programs, err error) {
	built, err := layer.Program(ctx, "./cmd/slipstream-extension", runtime.GOARCH)
	if err != nil {
		return p, err
	}
	p.Extension = filepath.Join(folder, layer.Name)
	if err := os.Symlink(built, p.Extension); err != nil {
		return p, err
	}
	if p.Empty, err = layer.Program(ctx, "./bench/emptyextension", runtime.GOARCH); err != nil {
		return p, err
	}
	p.Function, err = layer.Program(ctx, "./bench/function", runtime.GOARCH)
	return p, err
}

// RunEmpty plays the scenario with the extension that does nothing, and counts
// only what it costs.
func RunEmpty(ctx context.Context, s Scenario, p Programs) (Result, error) {
	return run(ctx, s, p.Function, p.Empty, emulator.Config{}, map[string]string{})
}

// Run plays the scenario with our extension delivering to the place, ends the
// environment straight after the last invocation, and counts.
func Run(ctx context.Context, s Scenario, p Programs, to Place, env map[string]string) (Result, error) {
	var config emulator.Config
	if folder, ok := to.(objects.Folder); ok {
		config.Binds = []string{string(folder)}
	}
	env["SLIPSTREAM_DESTINATIONS"] = to.URL()
	r, err := run(ctx, s, p.Function, p.Extension, config, env)
	if err != nil {
		return r, err
	}
	return r, r.count(ctx, s, to)
}

// run plays the scenario with one extension.
func run(ctx context.Context, s Scenario, function, extension string, config emulator.Config,
	env map[string]string) (r Result, err error) {
	var mu sync.Mutex
	var began, ended time.Time
	config.Observe = emulator.Observe{
		Report: func(report emulator.Report) {
			mu.Lock()
			defer mu.Unlock()
			if began.IsZero() {
				began = report.Start
			}
			r.Reports = append(r.Reports, report)
		},
		ProcessEnd: func(end emulator.ProcessEnd) {
			mu.Lock()
			defer mu.Unlock()
			if end.Extension != "" {
				r.CPU, ended = r.CPU+end.CPU, end.At
			}
		},
	}
	config.Freeze = s.Freeze
	f := emulator.Function{
		Name: "bench", Command: []string{function}, Extensions: []string{extension}, Env: env,
		MemoryMB: cmp.Or(s.MemoryMB, wholeCore), Timeout: cmp.Or(s.Timeout, generous),
	}
	if !s.Cold {
		f.Warm = 1
	}
	config.Functions = []emulator.Function{f}
	watcher := memory.Watch(filepath.Base(extension))
	err = play(ctx, config, s)
	mu.Lock()
	defer mu.Unlock()
	r.PeakMemory, r.Elapsed = watcher.Stop(), ended.Sub(began)
	if err == nil && r.PeakMemory == 0 {
		err = errors.New("the extension's process was never seen, so its memory is not known")
	}
	return r, err
}

// play starts, invokes and shuts down at once.
func play(ctx context.Context, config emulator.Config, s Scenario) error {
	running, err := emulator.Start(ctx, config)
	if err != nil {
		return err
	}
	for i := range s.Invocations {
		if s.Before != nil {
			if err = s.Before(i); err != nil {
				break
			}
		}
		event := fmt.Appendf(nil, `{"id":%d,"lines":%d}`, i+1, s.Lines)
		var result emulator.Result
		if result, err = client.Invoke(ctx, running, "bench", event); err != nil {
			break
		}
		if result.FunctionError != "" {
			err = fmt.Errorf("invocation %d: %s", i+1, result.Payload)
			break
		}
	}
	if e := running.Shutdown(ctx); err == nil {
		err = e
	}
	return err
}

// count looks for each line in what was delivered.
func (r *Result) count(ctx context.Context, s Scenario, at Place) error {
	seen := make([]int, s.Invocations*s.Lines)
	err := at.Each(ctx, func(_ string, size int64, body []byte) error {
		r.ObjectBytes += size
		for line := range bytes.Lines(body) {
			id, place, ok := lines.Number(line)
			if at := (id-1)*s.Lines + place; ok && id >= 1 && place < s.Lines && at < len(seen) {
				seen[at]++
			}
		}
		return nil
	})
	for _, n := range seen {
		if n == 0 {
			r.Lost++
		}
		r.Doubled += max(0, n-1)
	}
	if err != nil {
		return fmt.Errorf("read back %s: %w", at.URL(), err)
	}
	var written counter
	for id := range s.Invocations {
		err = errors.Join(err, lines.Write(&written, id+1, s.Lines))
	}
	r.TextBytes = int64(written)
	return err
}

// counter counts what is written to it.
type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}
