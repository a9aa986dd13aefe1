package edge

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"slices"
	"sync"
	"time"

	"slipstream/destination"
	"slipstream/edge/buffer"
	"slipstream/edge/spool"
)

// run sends until finish has emptied the lane or ctx ends. It compresses by
// itself and starts a goroutine for each send, as many as the breaker allows.
func (l *lane) run(ctx context.Context) {
	var pushers sync.WaitGroup
	defer close(l.drained)
	defer pushers.Wait()
	defer l.stop()
	for ctx.Err() == nil {
		l.sealDue(l.clock.now())
		l.compress(l.ahead())
		l.relieve()
		c, at, end := l.next(l.clock.now())
		switch {
		case c != nil:
			pushers.Go(func() { l.deliver(ctx, c) })
		case end:
			return
		default:
			l.clock.wait(ctx, at, math.MaxInt64, l.wake)
		}
	}
}

// stop ends what is under way: nothing of it counts any more.
func (l *lane) stop() {
	l.mu.Lock()
	l.over = true
	l.mu.Unlock()
	l.cancelTries()
}

// sealDue closes the open batch when its age or SHUTDOWN asks for it.
func (l *lane) sealDue(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.batching.Due(now) && !l.waiting || !l.hurry.IsZero() {
		l.seal(now)
	}
}

// next gives the batch to send now and marks it busy; else when to look again
// at the latest, or says that there will be nothing more.
func (l *lane) next(now time.Time) (c *closed, at time.Time, end bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at = l.batching.DueAt()
	if l.waiting && l.hurry.IsZero() {
		return nil, time.Time{}, false
	}
	if l.givenUp() {
		return nil, at, true
	}
	if len(l.queue) == 0 {
		return nil, at, l.open == nil && !l.hurry.IsZero()
	}
	i := slices.IndexFunc(l.queue, (*closed).ready)
	if i < 0 || !l.hurry.IsZero() && !now.Before(l.hurry) { // after SHUTDOWN's time no try can end well
		return nil, at, false
	}
	ok, retry := l.breaker.Allow(now)
	if !ok {
		if !retry.IsZero() && (at.IsZero() || retry.Before(at)) {
			at = retry
		}
		return nil, at, false
	}
	c = l.queue[i]
	c.busy = true
	l.breaker.Began()
	return c, at, false
}

// givenUp tells whether the rest is better left to the environment's next
// process: this one only makes it wait. The caller holds l.mu.
func (l *lane) givenUp() bool {
	return l.reset && l.refused && l.spool != nil && l.fallback == nil && l.breaker.Failures() > 1
}

// ahead is how many batches are to be ready beside those that are under way.
func (l *lane) ahead() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.breaker.Limit()
}

// compress makes the bytes of the oldest batches until as many as ahead are
// ready. The others would take the function's time for nothing while a
// destination hangs or fails.
func (l *lane) compress(ahead int) {
	for l.ready() < ahead {
		c := l.take(func(c *closed) bool { return c.chunk != nil && c.batch.Body == nil })
		if c == nil {
			return
		}
		l.encode(c)
		l.release(c)
	}
}

// ready counts the batches that can be sent now.
func (l *lane) ready() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.queue {
		if c.ready() {
			n++
		}
	}
	return n
}

// release gives a busy batch back to whoever wants it.
func (l *lane) release(c *closed) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c.busy = false
}

// take gives the oldest batch that nobody has and that fits, and marks it busy.
func (l *lane) take(fits func(*closed) bool) *closed {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.IndexFunc(l.queue, func(c *closed) bool { return !c.busy && fits(c) })
	if i < 0 {
		return nil
	}
	l.queue[i].busy = true
	return l.queue[i]
}

// encode makes a busy batch's bytes and books their memory. A chunk that cannot
// be compressed, which only a bug can cause, is dropped: then it gives false.
func (l *lane) encode(c *closed) bool {
	l.mu.Lock()
	encoder := l.encoder
	l.mu.Unlock()
	body, err := l.sealer.Seal(c.chunk, encoder, l.encoding)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		slog.Error("records dropped: they cannot be encoded", "destination", l.name, "records", c.batch.Records, "error", err)
		l.count.drop("encode_failed", c.batch.Records)
		l.remove(c)
		return false
	}
	l.leftOut(c.chunk)
	c.batch.Records = c.chunk.Records
	if len(body) == 0 { // the rest has nothing to say, as a counter that did not count
		l.count.delivered += c.batch.Records
		l.remove(c)
		return false
	}
	c.batch.Body = body
	still := len(body) + c.chunk.Held()
	l.held += still - c.held
	c.held = still
	signal(l.room)
	return true
}

// leftOut counts the records for which the format had no place. The caller holds
// l.mu.
func (l *lane) leftOut(c *buffer.Chunk) {
	for reason, n := range c.Dropped {
		if l.count.dropped[reason] == 0 {
			slog.Warn("records dropped: the destination's format has no place for them", "destination", l.name,
				"reason", reason, "records", n)
		}
		l.count.drop(reason, n)
	}
}

// relieve gives memory back while the lane holds more than half of what it may:
// batches that are not sent next move to the spool.
func (l *lane) relieve() {
	for l.pressed() {
		c := l.takeLast()
		if c == nil {
			return
		}
		err := l.put(c)
		l.release(c)
		if err != nil {
			return // told by store; the next one would not fit either
		}
	}
}

func (l *lane) pressed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	// In a snapshot a batch has no name yet that would be its own on the disk.
	return l.held >= l.bufferBytes/2 && !l.waiting
}

// takeLast gives the youngest batch that still has its chunk, but for those
// that are sent next, and marks it busy.
func (l *lane) takeLast() *closed {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := len(l.queue) - 1; i >= l.pushers; i-- {
		if c := l.queue[i]; !c.busy && c.chunk != nil {
			c.busy = true
			return c
		}
	}
	return nil
}

// put makes a busy batch's bytes, if it has none, and stores it.
func (l *lane) put(c *closed) error {
	if c.batch.Body == nil && !c.stored && !l.encode(c) {
		return nil // dropped
	}
	return l.store(c)
}

// store moves a busy batch to the spool and gives its memory back. Where there
// is no spool, or it takes no more, the batch stays as it is: what was answered
// with 200 survives a kill in the chunk, or not at all.
func (l *lane) store(c *closed) error {
	to, err := l.where(), errNoSpool
	if c.stored {
		err = nil
	} else if to != nil {
		err = to.Put(l.hash, &c.batch)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		if to != nil && !l.spoolFailed {
			slog.Warn("undelivered records stay in memory", "destination", l.name, "error", err)
			l.spoolFailed = true
		}
		return err
	}
	c.stored = true
	l.free(c, 0)
	return nil
}

// where gives the spool, nil until there is one.
func (l *lane) where() store {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.spool
}

var errNoSpool = errors.New("there is no spool")

// deliver makes one try with a batch and keeps account of it.
func (l *lane) deliver(ctx context.Context, c *closed) {
	if !l.load(c) {
		return
	}
	began := time.Now()
	err := l.try(ctx, c)
	took := time.Since(began)
	if err != nil && !settles(err) {
		_ = l.store(c) // told by store; memory keeps it
	}
	l.settle(c, err, took)
	signal(l.wake)
}

// load brings a batch's bytes back from the spool. What cannot be read any more
// is dropped.
func (l *lane) load(c *closed) bool {
	if c.batch.Body != nil {
		return true
	}
	b, err := l.where().Load(l.entry(&c.batch))
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil && !errors.Is(err, spool.ErrDamaged) && !errors.Is(err, fs.ErrNotExist) {
		c.busy = false
		l.failed(err) // it may work another time
		signal(l.wake)
		return false
	}
	if err != nil {
		slog.Error("records dropped: the spool cannot be read", "destination", l.name, "records", c.batch.Records,
			"error", err)
		l.breaker.Cancelled()
		l.count.drop("spool_unreadable", c.batch.Records)
		l.remove(c)
		signal(l.wake)
		return false
	}
	c.batch = *b
	l.held += len(b.Body) - c.held
	c.held = len(b.Body)
	return true
}

// try sends the batch once; at SHUTDOWN, when the destination has failed, to
// the fallback.
func (l *lane) try(ctx context.Context, c *closed) (err error) {
	defer func() { // our fault must not end the environment
		if r := recover(); r != nil {
			err = &destination.Error{Op: "send", Target: l.name, Permanent: true, Err: fmt.Errorf("BUG: %v", r)}
		}
	}()
	l.mu.Lock()
	limit, to := l.sendTimeout, l.to
	if !l.hurry.IsZero() {
		left := l.clock.until(l.hurry)
		if left > 200*time.Millisecond {
			left /= 2 // for another try
		}
		limit = min(limit, left)
		if l.fallback != nil && l.breaker.Failures() > 0 {
			to = l.fallback
		}
	}
	ctx, cancel := withAwakeTimeout(ctx, limit)
	c.cancel = cancel
	l.mu.Unlock()
	defer cancel()
	if err := to.Send(ctx, &c.batch); err != nil || to == l.to {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count.fallback += c.batch.Records
	return nil
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

// settles tells whether a try's outcome is final for the batch.
func settles(err error) bool { return err == nil || destination.Permanent(err) }

// settle books a try's outcome.
func (l *lane) settle(c *closed, err error, took time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c.cancel, c.busy = nil, false
	if l.over && !settles(err) {
		l.breaker.Cancelled()
		return
	}
	var partial *destination.Partial
	rejected := 0
	if errors.As(err, &partial) { // taken, but not every record of it
		slog.Error("records dropped: the destination took the others", "records", partial.Rejected, "error", err)
		rejected = min(partial.Rejected, c.batch.Records)
		err = nil
	}
	switch {
	case err == nil:
		if failures := l.breaker.Succeeded(took); failures > 0 {
			slog.Info("delivery works again", "destination", l.name, "failed_tries", failures)
		}
		l.count.delivered += c.batch.Records - rejected
		l.count.drop("rejected", rejected)
		l.count.batches++
		l.count.bytes += len(c.batch.Body)
		l.done(c)
	case destination.Permanent(err):
		l.breaker.Succeeded(took)
		slog.Error("records dropped: the destination will never take them", "records", c.batch.Records, "error", err)
		l.count.drop("rejected", c.batch.Records)
		l.done(c)
	default:
		l.failed(err)
	}
}

// done takes a settled batch out of queue and spool. The caller holds l.mu.
func (l *lane) done(c *closed) {
	if c.stored {
		if err := l.spool.Remove(l.entry(&c.batch)); err != nil {
			slog.Warn("a delivered batch stays in the spool", "destination", l.name, "batch", c.batch.ID, "error", err)
		}
	}
	l.remove(c)
}

// failed books a try that has to be made again. The caller holds l.mu.
func (l *lane) failed(err error) {
	now := l.clock.now()
	l.count.retries++
	l.refused = !l.hurry.IsZero()
	failures := l.breaker.Failed(now, func(failures int) time.Duration {
		wait := l.backoff(failures, err)
		if !l.hurry.IsZero() {
			wait = min(wait, 100*time.Millisecond, max(l.hurry.Sub(now), 0))
		}
		return wait
	})
	// One failure is nothing to tell: a connection that a freeze has cut.
	if failures == 2 || failures == 10 || failures > 0 && failures%100 == 0 {
		slog.Warn("delivery failed, trying again", "tries", failures, "error", err)
	}
	signal(l.changed)
}

// backoff is how long to wait after the failures so far.
func (l *lane) backoff(failures int, err error) time.Duration {
	var asked time.Duration
	var e *destination.Error
	if errors.As(err, &e) {
		asked = e.RetryAfter
	}
	return destination.Backoff{Base: l.retryInterval, Rand: l.random}.After(failures, asked)
}
