package edge

import (
	"context"
	"math"
	"time"

	"slipstream/edge/flush"
	"slipstream/edge/lambda"
)

// invoked takes note of an invocation and returns when next may be called.
func (e *edge) invoked(ctx context.Context, now time.Time, event lambda.Event) {
	e.invocation.Begin(event.RequestID, e.clock.stamp(now))
	if e.aggregate != nil {
		signal(e.aggregate.wake) // after a freeze its bins may be over
	}
	answering := false
	for _, l := range e.lanes {
		l.invoked(now)
		answering = answering || l.answers()
	}
	e.mu.Lock()
	e.restored(now)
	e.ending.Invoked(event.RequestID)
	if e.open() {
		e.logs.Invoked(now)
	}
	e.pacer.Invoked(now, event.RequestID, e.clock.place(now, event.Deadline), answering && !e.noRoom && !e.deaf)
	e.mu.Unlock()
	next := e.decide(e.clock.now()).Next
	signal(e.changed) // keepPace has a new time to look at
	if next {
		return
	}
	select {
	case <-e.release:
	case <-ctx.Done():
	}
}

// keepPace looks after the invocation under way: it releases one that is held,
// and has the records of one that is about to time out sent before it does.
func (e *edge) keepPace(ctx context.Context) {
	for {
		e.scanHandoff(ctx)
		d := e.decide(e.clock.now())
		if d.Next {
			signal(e.release)
		}
		if !e.awaitChange(ctx, earlier(d.At, e.tick(e.clock.now()))) {
			return
		}
	}
}

// earlier is the first of two times; zero is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// decide asks the pacer and does to the lanes what it says. What is left to wait
// for is known only after a flush: it may be nothing.
func (e *edge) decide(now time.Time) flush.Decision {
	for {
		d := e.decideOnce(now)
		if !d.Flush || d.Next {
			return d
		}
	}
}

func (e *edge) decideOnce(now time.Time) flush.Decision {
	sent := true
	for _, l := range e.lanes {
		sent = sent && l.sent()
	}
	e.mu.Lock()
	d := e.pacer.Decide(now, sent)
	e.mu.Unlock()
	for _, l := range e.lanes {
		if d.Flush {
			l.flush(now)
		}
		if d.HeldLong {
			l.slow()
		}
	}
	return d
}

// look is how often the clock is read while there is a time to wait for: it may
// have been set.
const look = time.Second

// awaitChange waits for a change, at most until at (zero: no limit). It returns
// false when ctx has ended.
func (e *edge) awaitChange(ctx context.Context, at time.Time) bool {
	most := time.Duration(math.MaxInt64)
	if !at.IsZero() || e.collector.scan != nil {
		most = look
	}
	return e.clock.wait(ctx, at, most, e.changed)
}
