package edge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strconv"
	"sync"
	"time"

	"slipstream/destination"
	"slipstream/edge/buffer"
	"slipstream/edge/flush"
	"slipstream/telemetry"
	"slipstream/wire"
)

// laneConfig is what a destination's URL says, beside the destination itself.
type laneConfig struct {
	name        string // for messages: the URL without query and secrets
	encoder     wire.Encoder
	encoding    string   // compression
	types       []string // event types' first words that it wants; nil for all
	limits      flush.Limits
	bufferBytes int
	sendTimeout time.Duration
	environment string
}

// lane is one destination's way out: the open batch, the queue of closed ones
// and the goroutine that sends them, oldest first, each until it is delivered
// or given up. Everything that it does with a record is counted.
type lane struct {
	laneConfig
	to     destination.Destination
	pool   *buffer.Pool
	sealer *buffer.Sealer

	mu       sync.Mutex
	batching flush.Batching
	open     *buffer.Chunk // nil: no record yet
	queue    []*closed
	held     int // memory of everything in the queue, bytes
	sequence uint64
	failures int // in a row
	count    count
	cancel   context.CancelFunc // of the try that is under way
	hurry    time.Time          // not zero: SHUTDOWN, everything must be out by then

	wake    chan struct{} // something to look at
	room    chan struct{} // memory became free
	drained chan struct{} // closed when hurried and empty
}

// closed is a batch that waits for its delivery: a chunk first, its bytes once
// they are compressed.
type closed struct {
	chunk  *buffer.Chunk
	batch  destination.Batch
	held   int
	flying bool
}

func newLane(c laneConfig, to destination.Destination, pool *buffer.Pool, sealer *buffer.Sealer) *lane {
	return &lane{
		laneConfig: c, to: to, pool: pool, sealer: sealer, batching: flush.New(c.limits),
		wake: make(chan struct{}, 1), room: make(chan struct{}, 1), drained: make(chan struct{}),
		count: count{dropped: map[string]int{}},
	}
}

// signal makes the reader of a one-place channel look, without waiting for it.
func signal(c chan struct{}) {
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
		l.open = l.pool.Open(buffer.Name{}, now)
		signal(l.wake) // its age begins to count
	}
	size := l.open.Append(l.encoder, log)
	l.count.received++
	if l.batching.Appended(now, size) || l.open.Held() > l.bufferBytes/2 {
		l.seal(now)
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

// seal closes the open batch and queues it. The caller holds l.mu.
func (l *lane) seal(now time.Time) {
	if l.open == nil {
		return
	}
	l.sequence++
	c := &closed{chunk: l.open, held: l.open.Held(), batch: destination.Batch{
		ID:          l.environment + "-" + strconv.FormatUint(l.sequence, 10),
		Environment: l.environment,
		Sequence:    l.sequence,
		Opened:      l.open.Opened,
		Sealed:      now,
		Records:     l.open.Records,
		ContentType: l.encoder.ContentType(),
		Encoding:    l.encoding,
	}}
	l.queue = append(l.queue, c)
	l.held += c.held
	l.open = nil
	l.batching.Closed()
	signal(l.wake)
}

// full tells whether the lane may take no more, and whether that is because its
// destination fails rather than because it is slow.
func (l *lane) full() (full, failing bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held >= l.bufferBytes, l.failures > 0
}

// dropOldest makes room by giving up the oldest batches that are not under way.
func (l *lane) dropOldest() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.held >= l.bufferBytes {
		i := slices.IndexFunc(l.queue, func(c *closed) bool { return !c.flying })
		if i < 0 {
			return
		}
		c := l.queue[i]
		l.count.drop("buffer_full", c.batch.Records)
		l.remove(c)
	}
}

// remove takes a batch out of the queue. The caller holds l.mu.
func (l *lane) remove(c *closed) {
	l.queue = slices.DeleteFunc(l.queue, func(other *closed) bool { return other == c })
	l.held -= c.held
	if c.chunk != nil {
		c.chunk.Release()
	}
	signal(l.room)
}

// finish makes the lane send everything at once and end; drained is closed when
// nothing is left, or at the deadline.
func (l *lane) finish(now, deadline time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seal(now)
	l.hurry = deadline
	if cancel := l.cancel; cancel != nil {
		// The try under way may hang on a connection that did not survive a
		// freeze: half of the time is kept for another.
		time.AfterFunc(deadline.Sub(now)/2, cancel)
	}
	signal(l.wake)
}

// run sends until finish has emptied the lane or ctx ends.
func (l *lane) run(ctx context.Context) {
	defer close(l.drained)
	for ctx.Err() == nil {
		l.sealDue(time.Now())
		l.compress()
		next, due, end := l.next()
		switch {
		case next != nil:
			l.deliver(ctx, next)
		case end:
			return
		default:
			l.sleep(ctx, due)
		}
	}
}

// sealDue closes the open batch when its age or SHUTDOWN asks for it.
func (l *lane) sealDue(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.batching.Due(now) || !l.hurry.IsZero() {
		l.seal(now)
	}
}

// next gives the batch to send, or when the open one will be due, or says that
// there will be none.
func (l *lane) next() (c *closed, due time.Time, end bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) > 0 {
		c = l.queue[0]
		c.flying = true
	}
	return c, l.batching.DueAt(), c == nil && l.open == nil && !l.hurry.IsZero()
}

// sleep waits for something to do, at most until due (zero: no limit).
func (l *lane) sleep(ctx context.Context, due time.Time) {
	wait := time.Duration(math.MaxInt64)
	if !due.IsZero() {
		wait = max(time.Until(due), 0)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-l.wake:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// deliver makes one try with the oldest batch and keeps account of it. After a
// failure it waits as long as the backoff says.
func (l *lane) deliver(ctx context.Context, c *closed) {
	if c.chunk != nil { // sealed since compress looked
		return
	}
	err := l.try(ctx, c)
	l.mu.Lock()
	wait, settled := l.settle(c, err)
	l.mu.Unlock()
	if !settled {
		l.pause(ctx, wait)
	}
}

// compress turns every chunk in the queue into bytes, so that a destination
// that is down costs as little memory as possible.
func (l *lane) compress() {
	for {
		c := l.nextChunk()
		if c == nil {
			return
		}
		body, err := l.sealer.Seal(c.chunk, l.encoder, l.encoding)
		l.compressed(c, body, err)
	}
}

// nextChunk gives the oldest batch that is not compressed and keeps dropOldest
// away from it.
func (l *lane) nextChunk() *closed {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.IndexFunc(l.queue, func(c *closed) bool { return c.chunk != nil })
	if i < 0 {
		return nil
	}
	l.queue[i].flying = true
	return l.queue[i]
}

// compressed books the memory of a batch's bytes. A chunk that cannot be
// compressed, which only a bug can cause, is dropped.
func (l *lane) compressed(c *closed, body []byte, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c.flying = false
	if err != nil {
		slog.Error("records dropped: they cannot be encoded", "destination", l.name, "records", c.batch.Records, "error", err)
		l.count.drop("encode_failed", c.batch.Records)
		l.remove(c)
		return
	}
	c.chunk, c.batch.Body = nil, body
	l.held += len(body) - c.held
	c.held = len(body)
	signal(l.room)
}

// try sends the batch once.
func (l *lane) try(ctx context.Context, c *closed) (err error) {
	defer func() { // our fault must not end the environment
		if r := recover(); r != nil {
			err = &destination.Error{Op: "send", Target: l.name, Permanent: true, Err: fmt.Errorf("BUG: %v", r)}
		}
	}()
	l.mu.Lock()
	limit := l.sendTimeout
	if !l.hurry.IsZero() {
		left := time.Until(l.hurry)
		if left > 200*time.Millisecond {
			left /= 2 // for another try
		}
		limit = min(limit, left)
	}
	ctx, cancel := withAwakeTimeout(ctx, limit)
	l.cancel = cancel
	l.mu.Unlock()
	defer cancel()
	return l.to.Send(ctx, &c.batch)
}

// withAwakeTimeout ends ctx when the process has run for d. Time that it spent
// frozen hardly counts, because a freeze uses up one slice at most: a try that
// was under way is not given up, and sent twice, for having been frozen.
func withAwakeTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	const slices = 10
	ctx, cancel := context.WithCancelCause(ctx)
	left := slices
	var mu sync.Mutex
	var timer *time.Timer
	mu.Lock()
	defer mu.Unlock()
	timer = time.AfterFunc(d/slices, func() {
		mu.Lock()
		defer mu.Unlock()
		if left--; left == 0 || ctx.Err() != nil {
			cancel(context.DeadlineExceeded)
			return
		}
		timer.Reset(d / slices)
	})
	return ctx, func() { cancel(context.Canceled); timer.Stop() }
}

// settle books a try's outcome. settled is false when the batch has to be sent
// again after wait. The caller holds l.mu.
func (l *lane) settle(c *closed, err error) (wait time.Duration, settled bool) {
	l.cancel = nil
	c.flying = false
	var partial *destination.Partial
	rejected := 0
	if errors.As(err, &partial) { // taken, but not every record of it
		slog.Error("records dropped: the destination took the others", "records", partial.Rejected, "error", err)
		rejected = min(partial.Rejected, c.batch.Records)
		err = nil
	}
	switch {
	case err == nil:
		if l.failures > 0 {
			slog.Info("delivery works again", "destination", l.name, "failed_tries", l.failures)
		}
		l.failures = 0
		l.count.delivered += c.batch.Records - rejected
		l.count.drop("rejected", rejected)
		l.count.batches++
		l.count.bytes += len(c.batch.Body)
		l.remove(c)
		return 0, true
	case destination.Permanent(err):
		slog.Error("records dropped: the destination will never take them", "records", c.batch.Records, "error", err)
		l.count.drop("rejected", c.batch.Records)
		l.remove(c)
		return 0, true
	}
	l.failures++
	l.count.retries++
	// One failure is nothing to tell: a connection that a freeze has cut.
	if l.failures == 2 || l.failures == 10 || l.failures%100 == 0 {
		slog.Warn("delivery failed, trying again", "tries", l.failures, "error", err)
	}
	wait = l.backoff(err)
	if !l.hurry.IsZero() {
		wait = min(wait, 100*time.Millisecond)
		if time.Until(l.hurry) <= wait {
			wait = max(time.Until(l.hurry), 0)
		}
	}
	return wait, false
}

// backoff is how long to wait after the failures so far.
func (l *lane) backoff(err error) time.Duration {
	var asked time.Duration
	var e *destination.Error
	if errors.As(err, &e) {
		asked = e.RetryAfter
	}
	return destination.Backoff{}.After(l.failures, asked)
}

// pause waits before the next try; SHUTDOWN cuts it short.
func (l *lane) pause(ctx context.Context, wait time.Duration) {
	until := time.Now().Add(wait)
	for ctx.Err() == nil && time.Now().Before(until) {
		hurried := l.hurried()
		l.sleep(ctx, until)
		if !hurried && l.hurried() {
			return
		}
		l.sealDue(time.Now())
		l.compress() // what came meanwhile
	}
}

func (l *lane) hurried() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.hurry.IsZero()
}

// count is what became of one destination's records.
type count struct {
	received  int
	delivered int
	batches   int
	bytes     int // delivered, as sent
	retries   int
	dropped   map[string]int // by reason
}

// account closes the books: what is still held now is lost.
func (l *lane) account() count {
	l.mu.Lock()
	defer l.mu.Unlock()
	left := 0
	for _, c := range l.queue {
		left += c.batch.Records
	}
	if l.open != nil {
		left += l.open.Records
	}
	l.count.drop("undelivered_at_shutdown", left)
	return l.count
}

// drop counts n records that nobody will get.
func (c *count) drop(reason string, n int) {
	if n > 0 {
		c.dropped[reason] += n
	}
}

func (c count) String() string {
	return fmt.Sprintf("received %d, delivered %d in %d batches of %d bytes, retries %d, dropped %v",
		c.received, c.delivered, c.batches, c.bytes, c.retries, c.dropped)
}
