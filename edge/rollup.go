package edge

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"math"
	"sync"
	"time"

	"slipstream/destination"
	"slipstream/edge/buffer"
	"slipstream/rollup"
	"slipstream/telemetry"
	"slipstream/wire"
	"slipstream/wire/metrics"
)

const (
	// journalLane is what journals are called in the arena. It sorts before every
	// destination's, so that Recover hands out a journal before what was made of it.
	journalLane = 0
	// journalPage is about how much of a journal is in one page.
	journalPage = 8 << 10
	// maxJournals is how much memory all journals may take before their bins are
	// emitted, whatever the time: what comes later is another part of the minute.
	maxJournals = 1 << 20
)

// aggregate rolls points up, and loses none that add has answered for: each open
// bin has a journal in the arena. A bin goes out as a batch of its own in every
// lane that takes metrics, under names that were reserved when its journal was
// begun (decision 8): the journal is released when the batches are complete in
// the arena, and only then are they queued. So a kill at any point leaves the
// journal, which makes the same batches again, or the batches.
type aggregate struct {
	lanes     []*lane
	pool      *buffer.Pool
	clock     *clock
	staleness time.Duration // how old a point may become before it is sent
	// resource says whose data it is, for an environment.
	resource func(environment string) *telemetry.Resource
	// room tells whether the lanes have room for more.
	room func() bool

	mu          sync.Mutex
	rollup      *rollup.Rollup
	splitter    metrics.Splitter
	completion  *wire.Completion
	began       time.Time // when running totals begin
	environment string
	waiting     bool   // in a snapshot: nothing can survive, there is no name for it
	sequence    uint64 // of the last journal
	config      rollup.Config
	open        map[*rollup.Bin]*generation
	past        map[string]*past    // of dead processes, by environment
	replayed    map[reserved]string // environments of the batches that replay has made again
	over        bool
	wake        chan struct{} // there is something to wait for
	body        []byte
	step        func() // for tests: called where a kill must do no harm
}

// past is what a dead process's environment comes to: its running totals are not ours.
type past struct {
	rollup *rollup.Rollup
	began  time.Time
}

// generation is an open bin's journal, and the names of what the bin will be.
type generation struct {
	chunk *buffer.Chunk
	names []reserved
}

// reserved is the name of a batch: its lane's hash, and its number there.
type reserved struct{ lane, number uint64 }

// newAggregate makes one for an edge whose lanes are open.
func newAggregate(e *edge, res *telemetry.Resource, c rollup.Config) *aggregate {
	c.Journal = true
	for _, l := range e.lanes {
		c.Cumulative = c.Cumulative || l.cumulative && l.exports(telemetry.Metrics) != nil
	}
	a := &aggregate{
		lanes: e.lanes, pool: e.pool, clock: e.clock, staleness: e.config.MaxStaleness, rollup: rollup.New(c),
		completion: wire.NewCompletion(res), environment: res.EnvironmentID, waiting: e.frozen,
		config: c, past: map[string]*past{}, open: map[*rollup.Bin]*generation{}, replayed: map[reserved]string{},
		wake: make(chan struct{}, 1), began: e.clock.stamp(e.clock.now()),
	}
	a.room = func() bool { return e.hasRoom(telemetry.Metrics) }
	a.resource = func(environment string) *telemetry.Resource {
		res := e.resource()
		res.EnvironmentID = environment
		return res
	}
	return a
}

// add takes points, all of one request. When it returns nil they survive the process.
func (a *aggregate) add(points []telemetry.Point) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.takes(); err != nil {
		return err
	}
	now := a.now()
	for i := range points {
		a.rollup.Add(&points[i], now)
	}
	a.commit(now)
	return nil
}

// errAlone says that a point has no place in a bin. It goes out as it is.
var errAlone = errors.New("the point cannot be rolled up")

// put takes one point, if it has a place in a bin and it is not too late. It survives
// the process when save has returned.
func (a *aggregate) put(p *telemetry.Point, now time.Time) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.over {
		return telemetry.ErrOver
	}
	if !a.rollup.Add(p, now) {
		return errAlone
	}
	return nil
}

func (a *aggregate) save(now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.commit(now)
}

// addExport takes what can be rolled up of an export of metrics, and appends the
// rest to dst, which goes the usual way.
func (a *aggregate) addExport(dst []byte, x *telemetry.Export) (rest telemetry.Export, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.takes(); err != nil {
		return telemetry.Export{}, err
	}
	now := a.now()
	rest = a.splitter.Split(dst, x.Body, func(p *telemetry.Point, h *metrics.Histogram) bool {
		if h != nil {
			return a.rollup.AddHistogram(p, h, now)
		}
		return a.rollup.Add(p, now)
	})
	a.commit(now)
	return rest, nil
}

// takes tells why nothing can be taken now. The caller holds a.mu.
func (a *aggregate) takes() error {
	switch {
	case a.over:
		return telemetry.ErrOver
	case !a.room():
		return telemetry.ErrNoRoom
	}
	return nil
}

// now is the wall clock's: bins are told by it.
func (a *aggregate) now() time.Time {
	if a.clock == nil {
		return time.Now()
	}
	return a.clock.read()
}

// commit writes what was added to the journals. The caller holds a.mu.
func (a *aggregate) commit(now time.Time) {
	held := 0
	a.rollup.Flush(func(b *rollup.Bin, frame []byte, entries int) {
		g := a.open[b]
		if g == nil {
			g = a.begin(now)
			a.open[b] = g
			signal(a.wake)
		}
		g.chunk.AppendExport(wire.OTLPExports{}, &telemetry.Export{Body: frame, Records: entries})
		a.stepped()
		g.chunk.Commit()
		a.stepped()
	})
	for _, g := range a.open {
		held += g.chunk.Held()
	}
	if held > maxJournals {
		a.emit(now, true)
	}
}

// begin makes a journal. Its first frame says what the bin's batches will be called.
func (a *aggregate) begin(now time.Time) *generation {
	pool := a.pool
	if a.waiting {
		pool = &buffer.Pool{}
	}
	a.sequence++
	g := &generation{chunk: pool.Open(buffer.Name{
		Lane: journalLane, Environment: a.environment, Sequence: a.sequence}, now)}
	g.chunk.Limit = journalPage
	var note []byte
	for _, l := range a.lanes {
		if l.exports(telemetry.Metrics) != nil {
			name := reserved{lane: l.hash, number: l.sequence.Add(1)}
			g.names = append(g.names, name)
			note = binary.LittleEndian.AppendUint64(note, name.lane)
			note = binary.LittleEndian.AppendUint64(note, name.number)
		}
	}
	g.chunk.AppendExport(wire.OTLPExports{}, &telemetry.Export{Body: rollup.AppendNote(nil, note), Records: 1})
	return g
}

// tick emits the bins that are over, or all if the oldest point is due, and
// tells when to look again; zero for not before the next point.
func (a *aggregate) tick() (next time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	oldest := a.rollup.Oldest()
	a.emit(now, !oldest.IsZero() && now.Sub(oldest) >= a.staleness)
	next = a.rollup.Due()
	if oldest = a.rollup.Oldest(); !oldest.IsZero() && oldest.Add(a.staleness).Before(next) {
		next = oldest.Add(a.staleness)
	}
	if next.IsZero() {
		return next
	}
	return a.clock.place(a.clock.now(), next)
}

// run ticks until ctx ends.
func (a *aggregate) run(ctx context.Context) {
	for ctx.Err() == nil {
		at, most := a.tick(), time.Duration(math.MaxInt64)
		if !at.IsZero() {
			most = look // a freeze may have stopped the timer's clock
		}
		a.clock.wait(ctx, at, most, a.wake)
	}
}

// close emits everything, and takes nothing any more. Call it at SHUTDOWN when
// the listeners are closed and before the lanes finish.
func (a *aggregate) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.over = true
	a.emit(a.now(), true)
	if c := a.rollup.Counts(); len(c.Dropped) > 0 || c.Overflowed > 0 || len(c.Mixed) > 0 {
		slog.Warn("not every point was rolled up as it came", "points", c.Points, "left_alone", c.Dropped,
			"overflowed", c.Overflowed, "clamped", c.Clamped, "of_several_kinds", c.Mixed)
	}
}

// renew gives it the identity of an environment that was restored from a
// snapshot. The lanes must have it already; what came before goes out under it.
func (a *aggregate) renew(res *telemetry.Resource) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.environment, a.waiting, a.completion = res.EnvironmentID, false, wire.NewCompletion(res)
	a.began = a.now().Add(-time.Second) // not when the snapshot was made, but before what goes out now
	a.emit(a.now(), true)
}

// emit makes batches of the bins that are over, or of all. The caller holds a.mu.
func (a *aggregate) emit(now time.Time, all bool) {
	for _, b := range a.rollup.Close(now, all) {
		g := a.open[b]
		delete(a.open, b)
		if g == nil { // its points were never answered for
			g = a.begin(now)
		}
		made := map[*lane]*closed{}
		for _, name := range g.names {
			l := a.lane(name.lane) // begin has found it
			x := a.export(b, l, a.completion, a.began, now)
			made[l] = l.alone(name.number, &x, now)
			a.stepped()
		}
		g.chunk.Release() // from here on the batches count
		a.stepped()
		for l, c := range made {
			l.enqueue(c)
			a.stepped()
		}
	}
}

func (a *aggregate) stepped() {
	if a.step != nil {
		a.step()
	}
}

func (a *aggregate) lane(hash uint64) *lane {
	for _, l := range a.lanes {
		if l.hash == hash && l.exports(telemetry.Metrics) != nil {
			return l
		}
	}
	return nil
}

// export is what a bin is in a lane. It is valid until the next call.
func (a *aggregate) export(b *rollup.Bin, l *lane, c *wire.Completion, began, now time.Time) telemetry.Export {
	var x telemetry.Export
	if l.cumulative {
		x = b.AppendCumulative(nil, began, now)
	} else {
		x = b.AppendExport(nil)
	}
	a.body = c.Complete(a.body[:0], x.Signal, x.Body)
	x.Body = a.body
	if cap(a.body) > keptExport {
		a.body = nil
	}
	return x
}

// alone makes a batch of nothing but an export, under a number that was reserved
// for it. It survives the process, but is not queued: nobody sends it.
func (l *lane) alone(number uint64, x *telemetry.Export, stamp time.Time) *closed {
	l.mu.Lock()
	defer l.mu.Unlock()
	pool := l.pool
	if l.waiting {
		pool = &buffer.Pool{}
	}
	chunk := pool.Open(buffer.Name{Lane: l.hash, Environment: l.environment, Sequence: number}, stamp)
	chunk.Limit = len(x.Body) // a page of its size is enough
	chunk.AppendExport(l.exports(x.Signal), x)
	chunk.Close(stamp)
	return l.closed(chunk, number, stamp)
}

// enqueue has the lane send a batch that alone has made.
func (l *lane) enqueue(c *closed) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count.received += c.batch.Records
	l.push(c)
}

// knows tells whether what an earlier process has left is a journal, or was made
// of one that replay has read already.
func (a *aggregate) knows(left *buffer.Leftover) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return left.Lane == journalLane || a.replayed[reserved{left.Lane, left.Sequence}] == left.Environment
}

// recovered is a batch for a lane.
type recovered struct {
	lane  *lane
	batch *destination.Batch
}

// replay makes the batches that a journal would have become, under their names.
// One that is not whole gets names of its own, as in rebuild.
func (a *aggregate) replay(left *buffer.Leftover, now time.Time) (batches []recovered) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if left.Lane != journalLane || left.Chunk == nil { // made of a journal that was there, too
		return nil
	}
	var names []reserved
	var sealer buffer.Sealer
	before := a.past[left.Environment]
	if before == nil {
		before = &past{rollup: rollup.New(a.config), began: left.Opened}
		a.past[left.Environment] = before
	}
	journal, err := sealer.Seal(left.Chunk, wire.OTLPExports{}, buffer.Plain)
	var b *rollup.Bin
	if err == nil {
		b, err = before.rollup.Replay(journal, now, func(note []byte) {
			for ; len(note) >= 16; note = note[16:] {
				names = append(names, reserved{binary.LittleEndian.Uint64(note), binary.LittleEndian.Uint64(note[8:])})
			}
		})
	}
	if err != nil || left.Missing > 0 {
		slog.Error("points dropped: a part of an earlier process's journal cannot be read", "pages", left.Missing,
			"error", err)
	}
	if b == nil {
		return nil
	}
	completion := wire.NewCompletion(a.resource(left.Environment))
	for _, name := range names {
		l := a.lane(name.lane)
		if l == nil {
			slog.Error("records dropped: an earlier process had them for a destination that is not configured any more",
				"records", b.Series())
			continue
		}
		a.replayed[name] = left.Environment
		x := a.export(b, l, completion, before.began, now)
		batch, err := l.remake(left, name.number, &x, now)
		if err != nil {
			slog.Error("records dropped: they cannot be encoded", "destination", l.name, "records", x.Records, "error", err)
			continue
		}
		batches = append(batches, recovered{l, batch})
	}
	return batches
}

// remake makes the batch that alone would have made in an earlier process.
func (l *lane) remake(left *buffer.Leftover, number uint64, x *telemetry.Export, now time.Time) (
	*destination.Batch, error) {
	chunk := (&buffer.Pool{}).Open(buffer.Name{Lane: l.hash, Environment: left.Environment, Sequence: number}, left.Opened)
	chunk.AppendExport(l.exports(x.Signal), x)
	chunk.Close(now)
	return l.rebuild(&buffer.Leftover{
		Name:   buffer.Name{Lane: l.hash, Environment: left.Environment, Sequence: number},
		Opened: left.Opened, Sealed: now, Records: x.Records, Missing: left.Missing, Chunk: chunk,
	}, now)
}
