package edge

import (
	"context"
	"log/slog"
	"maps"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"slipstream/intake/handoff"
	"slipstream/process"
	"slipstream/telemetry"
	"slipstream/wire"
)

// exports is the way in for everything that the function hands over itself. It
// has a lock of its own: a large export does not keep the platform waiting.
type exports struct {
	mu         sync.Mutex
	completion *wire.Completion
	policy     *process.Exports
	invocation string   // whose spans the policy counts
	failed     []string // invocations that the export in hand says have failed
	body       []byte   // the export that is being taken, completed
	rest       []byte   // of one of metrics, what cannot be rolled up
	over       bool
	records    map[telemetry.Signal]int
	unwanted   int
	dropped    map[string]int // by listener and reason
}

// keptExport is the largest buffer that is kept for the next export.
const keptExport = 1 << 20

// takeExport puts an export into every lane that wants it. When it returns nil,
// what was taken survives the process.
func (e *edge) takeExport(x *telemetry.Export) error {
	<-e.ready
	id, now := e.invocation.current(), e.clock.now()
	failed, err := e.appendExport(x, id, now)
	if len(failed) > 0 {
		e.mu.Lock()
		defer e.mu.Unlock()
		for _, named := range failed {
			if !e.over {
				e.now = now
				e.logs.Failed(first(named, id), now)
				e.commit()
			}
		}
	}
	return err
}

// appendExport does it, and gives the invocations that the export says have
// failed, "" for the one under way.
func (e *edge) appendExport(x *telemetry.Export, id string, now time.Time) (failed []string, err error) {
	e.exports.mu.Lock()
	defer e.exports.mu.Unlock()
	if e.exports.over {
		return nil, telemetry.ErrOver
	}
	if !e.hasRoom(x.Signal) {
		return nil, telemetry.ErrNoRoom
	}
	whole := *x
	failed = e.exports.apply(&whole, id, now)
	if x.Signal == telemetry.Metrics && e.aggregate != nil {
		whole, err = e.aggregate.addExport(e.exports.rest[:0], &whole)
		if err != nil {
			return failed, err
		}
		if e.exports.rest = whole.Body; cap(whole.Body) > keptExport {
			e.exports.rest = nil
		}
	}
	e.exports.count(x)
	if whole.Records == 0 && x.Records > 0 {
		return failed, nil // the policy has counted them, or they are in a bin
	}
	whole.Body = e.exports.completion.Complete(e.exports.body[:0], x.Signal, whole.Body)
	if e.exports.body = whole.Body; cap(whole.Body) > keptExport {
		e.exports.body = nil
	}
	wanted := false
	for _, l := range e.lanes {
		if enc := l.exports(x.Signal); enc != nil {
			l.appendExport(enc, &whole, now)
			l.commit()
			wanted = true
		}
	}
	if !wanted {
		if e.exports.unwanted == 0 {
			slog.Error("records dropped: no destination takes them", "signal", x.Signal, "records", whole.Records)
		}
		e.exports.unwanted += whole.Records
	}
	return failed, nil
}

// apply has the policy change the export, at the expense of the invocation under
// way. The caller holds x.mu.
func (x *exports) apply(e *telemetry.Export, id string, now time.Time) (failed []string) {
	if id != x.invocation {
		x.policy.Done(x.invocation)
		x.invocation = id
	}
	x.failed = nil
	x.policy.Apply(e, id, now)
	return x.failed
}

// count counts what was taken. The caller holds x.mu.
func (x *exports) count(e *telemetry.Export) {
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

// policyCounts tells what the policy has done to exports.
func (x *exports) policyCounts() map[string]int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.policy.Counts()
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
	e.exports.mu.Lock()
	e.exports.over = true
	e.exports.mu.Unlock()
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
