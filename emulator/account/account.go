// Package account adds up what invocations cost: how long responses took, what
// the extensions added, and each program's memory and CPU. Give Book.Observe to
// an emulator's Config and print the Summary when it has shut down.
package account

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"sync"
	"time"

	"slipstream/emulator"
)

// maxSamples bounds what is kept for the quantiles; beyond it the oldest go.
const maxSamples = 100_000

// Book collects from one emulator.
type Book struct {
	mu        sync.Mutex
	total     Summary
	responses samples
	added     samples
	programs  map[string]*Program
}

// samples are the newest maxSamples durations.
type samples struct {
	kept []time.Duration
	seen int
}

func (s *samples) add(d time.Duration) {
	if len(s.kept) < maxSamples {
		s.kept = append(s.kept, d)
	} else {
		s.kept[s.seen%maxSamples] = d
	}
	s.seen++
}

// Spread is the quantiles of a time.
type Spread struct{ P50, P99, Max time.Duration }

func (s *samples) spread() Spread {
	if len(s.kept) == 0 {
		return Spread{}
	}
	sorted := slices.Sorted(slices.Values(s.kept))
	at := func(q float64) time.Duration { return sorted[int(math.Round(q*float64(len(sorted)-1)))] }
	return Spread{P50: at(0.5), P99: at(0.99), Max: sorted[len(sorted)-1]}
}

// Program is all processes of one function or one extension.
type Program struct {
	Name        string
	Processes   int
	MaxRSSBytes int64 // of the largest process
	CPU         time.Duration
}

// Summary is what it all cost.
type Summary struct {
	Invocations int
	ColdStarts  int
	Failed      int    // timeouts and crashes; a handler's error is not one
	Response    Spread // from the event to the response's last byte
	Added       Spread // from the runtime's next to the last extension's next
	Programs    []Program
}

// New makes an empty Book.
func New() *Book { return &Book{programs: map[string]*Program{}} }

// Observe gives the hooks for the emulator's Config.
func (b *Book) Observe() emulator.Observe {
	return emulator.Observe{Report: b.report, ProcessEnd: b.processEnd}
}

func (b *Book) report(r emulator.Report) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.total.Invocations++
	if r.ColdStart {
		b.total.ColdStarts++
	}
	if r.Status != "success" {
		b.total.Failed++
		return // its times are those of the failure
	}
	b.responses.add(r.ResponseLatency + r.ResponseDuration)
	b.added.add(r.ExtensionOverhead)
}

func (b *Book) processEnd(end emulator.ProcessEnd) {
	b.mu.Lock()
	defer b.mu.Unlock()
	name := "function " + end.Function
	if end.Extension != "" {
		name = "extension " + end.Extension
	}
	p := b.programs[name]
	if p == nil {
		p = &Program{Name: name}
		b.programs[name] = p
	}
	p.Processes++
	p.MaxRSSBytes = max(p.MaxRSSBytes, end.MaxRSSBytes)
	p.CPU += end.CPU
}

// Invocations is how many have ended so far.
func (b *Book) Invocations() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.total.Invocations
}

// Summary adds up. Processes count when they have ended: ask after Shutdown.
func (b *Book) Summary() Summary {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.total
	s.Response, s.Added = b.responses.spread(), b.added.spread()
	s.Programs = nil
	for _, p := range b.programs {
		s.Programs = append(s.Programs, *p)
	}
	slices.SortFunc(s.Programs, func(a, b Program) int { return cmp.Compare(a.Name, b.Name) })
	return s
}

// Print writes the lines that a person reads.
func (s Summary) Print(w io.Writer) error {
	text := fmt.Appendf(nil, "  invocations          %d (%d cold starts, %d failed)\n",
		s.Invocations, s.ColdStarts, s.Failed)
	text = fmt.Appendf(text, "  response             p50 %s   p99 %s\n", ms(s.Response.P50), ms(s.Response.P99))
	text = fmt.Appendf(text, "  added by extensions  p50 %s   p99 %s   max %s   after the response was out\n",
		ms(s.Added.P50), ms(s.Added.P99), ms(s.Added.Max))
	for _, p := range s.Programs {
		text = fmt.Appendf(text, "  %-20s max memory %.1f MiB   CPU %s in %d processes\n",
			p.Name, float64(p.MaxRSSBytes)/(1<<20), ms(p.CPU), p.Processes)
	}
	_, err := w.Write(text)
	return err
}

// ms writes a duration in milliseconds.
func ms(d time.Duration) string { return fmt.Sprintf("%.2f ms", float64(d)/float64(time.Millisecond)) }
