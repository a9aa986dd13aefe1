package edge

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"slipstream/destination"
	"slipstream/edge/buffer"
	"slipstream/edge/flush"
	"slipstream/edge/spool"
	"slipstream/telemetry"
	"slipstream/wire"
)

// laneConfig is what a destination's URL says, beside the destination itself.
type laneConfig struct {
	name          string           // for messages: the URL without query and secrets
	signal        telemetry.Signal // only exports of this one; empty for logs, and exports where the format has a place
	first         bool             // of its destination's lanes
	cumulative    bool             // the edge's own metrics go there as totals since the start, not as deltas
	hash          uint64           // of the URL: what this lane is called in the arena and the spool
	encoder       wire.Encoder
	encoding      string   // compression
	types         []string // event types' first words that it wants; nil for all
	limits        flush.Limits
	bufferBytes   int
	sendTimeout   time.Duration
	hold          time.Duration // of an invocation, at most
	retryInterval time.Duration // bound of the first wait after a failure; 0 for the backoff's own
	pushers       int           // sends at once
	environment   string
	fallback      destination.Destination // takes at SHUTDOWN what the destination does not; may be nil
	native        bool                    // the format is ours, so our own records fit in
	random        func() float64          // jitter of the waits between tries; nil but in simulations
	// reencode makes the encoder for another environment.
	reencode func(*telemetry.Resource) wire.Encoder
}

// hurriedPushers is how many sends are under way at SHUTDOWN: there is nothing
// else to do, and little time.
const hurriedPushers = 8

// store is the part of the spool that a lane needs.
type store interface {
	Put(lane uint64, b *destination.Batch) error
	Load(spool.Entry) (*destination.Batch, error)
	Remove(spool.Entry) error
}

// lane is one destination's way out: the open batch, the queue of closed ones,
// and the goroutines that send them, oldest first, each batch until it is
// delivered or given up. Everything that it does with a record is counted.
type lane struct {
	laneConfig
	to     destination.Destination
	pool   *buffer.Pool
	sealer *buffer.Sealer
	clock  *clock
	spool  store // nil: memory only, or not open yet

	mu       sync.Mutex
	batching flush.Batching
	breaker  flush.Breaker
	open     *buffer.Chunk  // nil: no record yet
	queue    []*closed      // the oldest first
	held     int            // memory of everything in the queue, bytes
	sequence *atomic.Uint64 // of the last batch; lanes to one destination share it
	number   uint64         // of the open batch
	count    count
	hurry    time.Time // not zero: SHUTDOWN, everything must be out by then
	waiting  bool      // nothing is sent yet: the environment has no identity before its restore
	over     bool      // nothing more is sent
	reset    bool      // SHUTDOWN, but the environment goes on with a new process
	refused  bool      // a try has failed since SHUTDOWN
	// spoolFailed: that the spool takes no more has been told.
	spoolFailed bool

	wake    chan struct{} // something to look at
	room    chan struct{} // memory became free
	changed chan<- struct{}
	drained chan struct{} // closed when hurried and empty
}

// closed is a batch that waits for its delivery: a chunk first, then its
// compressed bytes too, which in time move to the spool.
type closed struct {
	chunk  *buffer.Chunk // until the batch is delivered or spooled: it survives a kill
	batch  destination.Batch
	held   int
	stored bool // it is in the spool
	busy   bool // a goroutine has it
	cancel context.CancelFunc
}

// ready tells whether the batch can be sent.
func (c *closed) ready() bool { return !c.busy && (c.batch.Body != nil || c.stored) }

func newLane(c laneConfig, to destination.Destination, pool *buffer.Pool, sealer *buffer.Sealer) *lane {
	return &lane{
		laneConfig: c, to: to, pool: pool, sealer: sealer, batching: flush.New(c.limits),
		breaker: flush.NewBreaker(c.pushers), sequence: new(atomic.Uint64),
		wake: make(chan struct{}, 1), room: make(chan struct{}, 1), drained: make(chan struct{}),
		count: count{dropped: map[string]int{}},
	}
}

// signal makes the reader of a one-place channel look, without waiting for it.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// append takes one record.
func (l *lane) append(log *telemetry.Log, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open == nil {
		l.begin(now)
	}
	size := l.open.Append(l.encoder, log)
	l.count.received++
	if l.batching.Appended(now, size) || l.open.Held() > l.bufferBytes/2 {
		l.seal(now)
	}
}

// appendExport takes all records of an export.
func (l *lane) appendExport(enc buffer.ExportEncoder, x *telemetry.Export, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open == nil {
		l.begin(now)
	}
	size := l.open.AppendExport(enc, x)
	l.count.received += x.Records
	if l.batching.Appended(now, size) || l.open.Held() > l.bufferBytes/2 {
		l.seal(now)
	}
}

// begin opens a batch. What comes before a snapshot stays out of the arena: its
// name there would be that of every environment that is made of it. The caller
// holds l.mu.
func (l *lane) begin(now time.Time) {
	pool := l.pool
	if l.waiting {
		pool = &buffer.Pool{}
	}
	l.number = l.sequence.Add(1)
	l.open = pool.Open(buffer.Name{Lane: l.hash, Environment: l.environment, Sequence: l.number},
		l.clock.stamp(now))
	l.open.Limit = l.limits.Bytes
	signal(l.wake) // its age begins to count
}

// commit makes everything that was appended survive the process.
func (l *lane) commit() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open != nil {
		l.open.Commit()
	}
}

// invoked takes note of an invocation that begins.
func (l *lane) invoked(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.batching.Invoked(now) {
		l.seal(now)
	}
}

// flush closes the open batch, so that it is sent as soon as may be.
func (l *lane) flush(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seal(now)
}

// seal closes the open batch and queues it. The caller holds l.mu.
func (l *lane) seal(now time.Time) {
	if l.open == nil {
		return
	}
	stamp := l.clock.stamp(now)
	l.open.Close(stamp)
	l.push(l.closed(l.open, l.number, stamp))
	l.open = nil
	l.batching.Closed()
}

// closed makes the batch of a chunk that was closed. The caller holds l.mu.
func (l *lane) closed(chunk *buffer.Chunk, number uint64, stamp time.Time) *closed {
	return &closed{chunk: chunk, held: chunk.Held(), batch: destination.Batch{
		ID:          batchID(l.environment, number),
		Environment: l.environment,
		Sequence:    number,
		Opened:      chunk.Opened,
		Sealed:      stamp,
		Records:     chunk.Records,
		ContentType: l.encoder.ContentType(),
		Encoding:    l.encoding,
	}}
}

// push queues a batch. The caller holds l.mu.
func (l *lane) push(c *closed) {
	l.queue = append(l.queue, c)
	l.held += c.held
	signal(l.wake)
}

// adopt gives the lane its spool, and with it batches that an earlier process of the environment left in the
// spool, the oldest first. They go before everything else.
func (l *lane) adopt(s store, left []spool.Entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.spool = s
	adopted := make([]*closed, len(left))
	for i, e := range left {
		adopted[i] = &closed{stored: true, batch: destination.Batch{
			ID:          batchID(e.Environment, e.Sequence),
			Environment: e.Environment,
			Sequence:    e.Sequence,
			Sealed:      e.Sealed,
			Records:     e.Records,
		}}
		l.count.recovered += e.Records
	}
	l.queue = append(adopted, l.queue...)
	signal(l.wake)
}

// takeBack queues a batch of an earlier process that is nowhere but in memory.
func (l *lane) takeBack(b *destination.Batch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := &closed{batch: *b, held: len(b.Body)}
	l.queue = append(l.queue, c)
	l.held += c.held
	l.count.recovered += b.Records
	signal(l.wake)
}

// batchID is the name that a batch has for ever.
func batchID(environment string, sequence uint64) string {
	return environment + "-" + strconv.FormatUint(sequence, 10)
}

// entry is what the batch is called in the spool.
func (l *lane) entry(b *destination.Batch) spool.Entry {
	return spool.Entry{Lane: l.hash, Environment: b.Environment, Sequence: b.Sequence}
}

// renew gives the lane the identity of an environment that was restored from a
// snapshot; what came in before goes out under it.
func (l *lane) renew(res *telemetry.Resource, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	snapshot := l.environment
	l.environment, l.waiting = res.EnvironmentID, false
	for _, c := range l.queue {
		if c.batch.Environment != snapshot || c.stored { // an earlier process of this environment had it
			continue
		}
		c.batch.Environment, c.batch.ID = l.environment, batchID(l.environment, c.batch.Sequence)
	}
	l.seal(now) // in the old encoding
	if encoder := l.reencode(res); encoder != nil {
		l.encoder = encoder
	}
	signal(l.wake)
}

// full tells whether the lane may take no more, and whether that is because its
// destination fails rather than because it is slow.
func (l *lane) full() (full, failing bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held >= l.bufferBytes, l.breaker.Failures() > 0
}

// sent tells whether nothing waits to be sent. A destination that does not
// answer has nothing that is worth waiting for.
func (l *lane) sent() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.breaker.Answers(l.hold) || len(l.queue) == 0
}

// answers tells whether an invocation may be held for the destination.
func (l *lane) answers() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.breaker.Answers(l.hold)
}

// slow takes note that an invocation was held in vain, if it was for this lane.
func (l *lane) slow() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) > 0 {
		l.breaker.Slow()
	}
}

// dropOldest makes room by giving up the oldest batches that nobody has and
// that take memory.
func (l *lane) dropOldest() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.held >= l.bufferBytes {
		i := slices.IndexFunc(l.queue, func(c *closed) bool { return !c.busy && c.held > 0 })
		if i < 0 {
			return
		}
		c := l.queue[i]
		l.count.drop("buffer_full", c.batch.Records)
		l.done(c)
	}
}

// remove takes a batch out of the queue. The caller holds l.mu.
func (l *lane) remove(c *closed) {
	l.queue = slices.DeleteFunc(l.queue, func(other *closed) bool { return other == c })
	l.free(c, 0)
	signal(l.changed)
}

// free gives a batch's memory back but for what it still holds. The caller
// holds l.mu.
func (l *lane) free(c *closed, still int) {
	l.held += still - c.held
	c.held = still
	if still == 0 {
		c.batch.Body = nil
	}
	if c.chunk != nil {
		c.chunk.Release()
		c.chunk = nil
	}
	signal(l.room)
}

// finish makes the lane send everything at once and end; drained is closed when
// nothing is left, or at the deadline.
func (l *lane) finish(now, deadline time.Time, reset bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reset = reset
	l.seal(now)
	l.hurry = deadline
	l.breaker.Hurry(hurriedPushers)
	// A try under way may hang on a connection that did not survive a freeze:
	// half of the time is kept for another.
	time.AfterFunc(deadline.Sub(now)/2, l.cancelTries)
	signal(l.wake)
}

// cancelTries ends the tries that began before SHUTDOWN.
func (l *lane) cancelTries() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.queue {
		if c.cancel != nil {
			c.cancel()
		}
	}
}

// count is what became of one destination's records.
type count struct {
	received  int
	delivered int
	spooled   int // left for the next process of the environment
	batches   int
	bytes     int // delivered, as sent
	retries   int
	recovered int            // received by an earlier process of the environment
	fallback  int            // of those delivered, by the fallback
	dropped   map[string]int // by reason
}

// account closes the books: what is still held now is lost, unless the spool
// has it and the environment goes on.
func (l *lane) account(goesOn bool) count {
	l.mu.Lock()
	defer l.mu.Unlock()
	left := 0
	for len(l.queue) > 0 {
		c := l.queue[0]
		if goesOn && c.stored {
			l.count.spooled += c.batch.Records
			l.remove(c)
			continue
		}
		left += c.batch.Records
		l.done(c)
	}
	if l.open != nil {
		left += l.open.Records
		l.open.Release()
	}
	l.count.drop("undelivered_at_shutdown", left)
	return l.count
}

// keep moves to the spool what could not be delivered, for the environment's
// next process. Where there was no time left for finish, a batch is still open.
func (l *lane) keep() {
	l.flush(l.clock.now())
	for {
		c := l.take(func(c *closed) bool { return !c.stored })
		if c == nil {
			break
		}
		err := l.put(c)
		l.release(c)
		if err != nil {
			return // told by store; the others would not fit either
		}
	}
}

// drop counts n records that nobody will get.
func (c *count) drop(reason string, n int) {
	if n > 0 {
		c.dropped[reason] += n
	}
}

func (c count) String() string {
	return fmt.Sprintf("received %d, recovered %d, delivered %d in %d batches of %d bytes, spooled %d, retries %d, "+
		"dropped %v",
		c.received, c.recovered, c.delivered, c.batches, c.bytes, c.spooled, c.retries, c.dropped)
}
