package edge

import (
	"context"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"slipstream/intake/handoff"
	"slipstream/process"
	"slipstream/process/invocation"
	"slipstream/process/sample"
	"slipstream/telemetry"
	"slipstream/wire"
)

// exports is the way in for everything that the function hands over itself. It
// has locks of its own: a large export does not keep the platform waiting.
type exports struct {
	taking     sync.Mutex // who takes an export has it first, then any other
	mu         sync.Mutex
	completion *wire.Completion
	policy     *process.Exports
	divider    *invocation.Divider // nil: every invocation is kept
	invocation string              // whose spans the policy counts
	body       []byte              // the export that is being taken, completed
	rest       []byte              // of one of metrics, what cannot be rolled up
	over       bool
	records    map[telemetry.Signal]int
	unwanted   int
	dropped    map[string]int // by listener and reason
}

// keptExport is the largest buffer that is kept for the next export.
const keptExport = 1 << 20

// takeExport puts an export into every lane that wants it, or keeps it until it is
// known whether its invocations are. When it returns nil, what was taken survives
// the process.
func (e *edge) takeExport(x *telemetry.Export) error {
	<-e.ready
	e.exports.taking.Lock()
	defer e.exports.taking.Unlock()
	id, now := e.invocation.Current(), e.clock.now()
	if err := e.admit(x); err != nil {
		return err
	}
	if e.exports.divider != nil && x.Signal != telemetry.Metrics {
		e.sampleExport(x, id, now)
		return nil
	}
	whole, err := e.shape(x, id, now)
	if err != nil {
		return err
	}
	e.exports.count(x)
	if whole.Records > 0 || x.Records == 0 { // else the policy has counted them, or they are in a bin
		e.putExport(&whole, now)
		e.commitExports(&whole)
	}
	return nil
}

// admit tells why an export cannot be taken.
func (e *edge) admit(x *telemetry.Export) error {
	e.exports.mu.Lock()
	over := e.exports.over
	e.exports.mu.Unlock()
	switch {
	case over:
		return telemetry.ErrOver
	case !e.hasRoom(x.Signal):
		return telemetry.ErrNoRoom
	}
	return nil
}

// shape applies the policy to an export and completes it; what can be rolled up of
// it goes there. The result is borrowed until the next one. The caller holds
// e.exports.taking.
func (e *edge) shape(x *telemetry.Export, id string, now time.Time) (whole telemetry.Export, err error) {
	e.exports.mu.Lock()
	defer e.exports.mu.Unlock()
	whole = *x
	e.exports.apply(&whole, id, now)
	if x.Signal == telemetry.Metrics && e.aggregate != nil {
		whole, err = e.aggregate.addExport(e.exports.rest[:0], &whole)
		if err != nil {
			return whole, err
		}
		if e.exports.rest = whole.Body; cap(whole.Body) > keptExport {
			e.exports.rest = nil
		}
	}
	if whole.Records == 0 && x.Records > 0 {
		return whole, nil
	}
	whole.Body = e.exports.completion.Complete(e.exports.body[:0], x.Signal, whole.Body)
	if e.exports.body = whole.Body; cap(whole.Body) > keptExport {
		e.exports.body = nil
	}
	return whole, nil
}

// sampleExport asks the sampler about each invocation that the export tells of
// before it looks closer. The caller holds e.exports.taking.
func (e *edge) sampleExport(x *telemetry.Export, current string, now time.Time) {
	e.exports.count(x)
	parts := e.exports.divider.Read(x, &e.invocation, e.clock.stamp(now))
	verdicts := make([]sample.Verdict, len(parts))
	e.mu.Lock()
	e.now = now
	for i := range parts {
		e.logs.Told(&parts[i], now)
		if verdicts[i] = sample.Keep; e.config.Policy.SampleExports {
			verdicts[i] = e.logs.Verdict(&parts[i])
		}
	}
	e.mu.Unlock()
	take := func(wanted func(part int) bool, on func(*telemetry.Export)) {
		cut := e.exports.divider.Cut(x, wanted)
		if cut.Records == 0 {
			return
		}
		// Only metrics could not be taken.
		if whole, _ := e.shape(&cut, current, now); whole.Records > 0 {
			e.mu.Lock()
			defer e.mu.Unlock()
			e.now = now
			on(&whole)
		}
	}
	for _, v := range []sample.Verdict{sample.Keep, sample.Weigh} {
		if slices.Contains(verdicts, v) {
			take(func(part int) bool { return verdicts[part] == v },
				func(x *telemetry.Export) { e.logs.Pass(x, v == sample.Weigh) })
		}
	}
	for i, v := range verdicts {
		if v == sample.Hold {
			take(func(part int) bool { return part == i }, func(x *telemetry.Export) { e.logs.Hold(x, &parts[i], now) })
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.commit()
	e.lookAgain()
}

// putExport puts a completed export into every lane that wants it.
func (e *edge) putExport(x *telemetry.Export, now time.Time) {
	wanted := false
	for _, l := range e.lanes {
		if enc := l.exports(x.Signal); enc != nil {
			l.appendExport(enc, x, now)
			wanted = true
		}
	}
	if wanted {
		return
	}
	e.exports.mu.Lock()
	defer e.exports.mu.Unlock()
	if e.exports.unwanted == 0 {
		slog.Error("records dropped: no destination takes them", "signal", x.Signal, "records", x.Records)
	}
	e.exports.unwanted += x.Records
}

// commitExports makes what was put into the lanes survive the process.
func (e *edge) commitExports(x *telemetry.Export) {
	for _, l := range e.lanes {
		if l.exports(x.Signal) != nil {
			l.commit()
		}
	}
}

// apply has the policy change the export, at the expense of the invocation under
// way. The caller holds x.mu.
func (x *exports) apply(e *telemetry.Export, id string, now time.Time) {
	if id != x.invocation {
		x.policy.Done(x.invocation)
		x.invocation = id
	}
	x.policy.Apply(e, id, now)
}

// count counts what was taken.
func (x *exports) count(e *telemetry.Export) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.records == nil {
		x.records = map[telemetry.Signal]int{}
	}
	x.records[e.Signal] += e.Records
}

// hasRoom tells whether every lane that wants the signal has room. One whose
// destination fails while others work gives up its oldest batches instead.
func (e *edge) hasRoom(signal telemetry.Signal) bool {
	wanting := 0
	for _, l := range e.lanes {
		if l.exports(signal) != nil {
			wanting++
		}
	}
	for _, l := range e.lanes {
		if l.exports(signal) == nil {
			continue
		}
		full, failing := l.full()
		switch {
		case !full:
		case failing && wanting > 1:
			l.dropOldest()
		default:
			return false
		}
	}
	return true
}

// dropExport counts what a listener has dropped, and says so the first time.
func (e *edge) dropExport(listener string) func(reason string, n int) {
	return func(reason string, n int) {
		e.exports.mu.Lock()
		defer e.exports.mu.Unlock()
		key := listener + "." + reason
		if e.exports.dropped[key] == 0 {
			slog.Error("data from the function dropped", "listener", listener, "reason", reason, "records", n)
		}
		if e.exports.dropped == nil {
			e.exports.dropped = map[string]int{}
		}
		e.exports.dropped[key] += n
	}
}

// identify completes exports with the resource from now on.
func (e *edge) identify(res *telemetry.Resource) {
	e.exports.mu.Lock()
	defer e.exports.mu.Unlock()
	e.exports.completion = wire.NewCompletion(res)
}

// counts gives copies of the counters.
func (x *exports) counts() (taken map[telemetry.Signal]int, unwanted int, dropped map[string]int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return maps.Clone(x.records), x.unwanted, maps.Clone(x.dropped)
}

// exportCounts tells what the policy has done to exports. The caller holds e.mu.
func (e *edge) exportCounts() map[string]int {
	e.exports.mu.Lock()
	defer e.exports.mu.Unlock()
	counts := e.exports.policy.Counts()
	maps.Copy(counts, e.logs.ExportCounts())
	return counts
}

// collector is the local listeners that are open.
type collector struct {
	ids       handoff.IDs  // of payloads that may come on two ways
	forwarded http.Handler // of vendors' agents; nil for none
	closers   []func(context.Context) error
	scan      func(context.Context, time.Time) (int, error) // the hand-off's folder; nil while it is off
	due       atomic.Bool                                   // a runtime is done: its files are complete
	scanning  sync.Mutex
	scanned   time.Time
}

// closing is how long the listeners may take at SHUTDOWN to hand on what they
// have accepted: the function is gone, so all of it is there.
const closing = 150 * time.Millisecond

// closeListeners takes what the function has left behind, and then no more.
func (e *edge) closeListeners() {
	e.mu.Lock()
	until := e.clock.until(e.ending.SendUntil())
	e.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), max(min(closing, until/2), 0))
	defer cancel()
	var all sync.WaitGroup
	for _, closer := range e.collector.closers {
		all.Go(func() {
			if err := closer(ctx); err != nil {
				slog.Warn("close a local listener", "error", err)
			}
		})
	}
	all.Wait()
	e.collector.due.Store(true) // what no socket took in time is a file
	e.scanHandoff(ctx)
	e.exports.taking.Lock()
	defer e.exports.taking.Unlock()
	e.exports.mu.Lock()
	defer e.exports.mu.Unlock()
	e.exports.over = true
}

// scanHandoff takes the files that wait, when a runtime is done and else once in
// a while.
func (e *edge) scanHandoff(ctx context.Context) {
	c := &e.collector
	if c.scan == nil {
		return
	}
	c.scanning.Lock()
	defer c.scanning.Unlock()
	now := e.clock.now()
	if !c.due.Swap(false) && now.Sub(c.scanned) < look {
		return
	}
	c.scanned = now
	if _, err := c.scan(ctx, e.clock.stamp(now)); err != nil && ctx.Err() == nil {
		slog.Debug("read the hand-off's folder", "cause", err)
	}
}
