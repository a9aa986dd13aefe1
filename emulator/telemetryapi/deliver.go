package telemetryapi

import (
	"context"
	"net/http"
	"time"

	"slipstream/emulator/fault"
)

const (
	firstBackoff = 50 * time.Millisecond
	lastBackoff  = time.Second
)

// run sends batches until ctx ends.
func (s *subscriber) run(ctx context.Context) {
	defer close(s.ended)
	line := &connection{hub: s.hub, want: s.want}
	defer line.close()
	for {
		if s.hub.gate.wait(ctx) != nil {
			s.finish(nil)
			return
		}
		b, left := s.take(time.Now())
		if b == nil {
			s.pause(ctx, left)
			continue
		}
		if !s.deliver(ctx, line, b) {
			s.finish(b)
			return
		}
		s.release(b)
	}
}

// pause waits until d is over (negative: for ever), something wakes the
// subscriber, or ctx ends.
func (s *subscriber) pause(ctx context.Context, d time.Duration) {
	var over <-chan time.Time
	if d >= 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		over = t.C
	}
	select {
	case <-over:
	case <-s.wake:
	case <-ctx.Done():
	}
}

// deliver sends b until the subscriber has taken it. It gives false if ctx has
// ended before.
func (s *subscriber) deliver(ctx context.Context, line *connection, b *batch) bool {
	v := s.verdict(ctx, b)
	// A record of which only a part is dropped could not be accounted for.
	if v.Drop && !b.fragment {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.drop(int64(b.records), b.raw)
		return true
	}
	begin := time.Now()
	backoff := firstBackoff
	s.forgetFlush()
	for try := 1; s.hub.gate.wait(ctx) == nil; try++ {
		if try > 1 {
			s.hub.count(func(c *counts) { c.Retries++ })
		}
		status, err := line.send(ctx, b.body, v.Cut)
		v.Cut = false
		refused := err != nil || status >= http.StatusBadRequest
		// An answer that comes in while frozen is read at the thaw; one that says the
		// batch was taken counts, even if it is the last thing to happen.
		if s.hub.gate.wait(ctx) != nil && refused {
			return false
		}
		switch {
		case refused:
			s.pauseFor(ctx, backoff)
			backoff = min(2*backoff, lastBackoff)
		case v.Duplicate:
			v.Duplicate = false
			line.close()
		default:
			s.delivered(b, try, status, begin)
			return true
		}
	}
	return false
}

// verdict asks for faults and serves the delay.
func (s *subscriber) verdict(ctx context.Context, b *batch) fault.Verdict {
	if s.hub.config.Fault == nil {
		return fault.Verdict{}
	}
	v := s.hub.config.Fault(fault.Post{Extension: s.name, Bytes: len(b.body), At: time.Now()})
	if v.Delay > 0 {
		t := time.NewTimer(v.Delay)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
		}
	}
	return v
}

// pauseFor waits out a backoff; only Flush may end it early, not new events.
func (s *subscriber) pauseFor(ctx context.Context, d time.Duration) {
	for end := time.Now().Add(d); ctx.Err() == nil; {
		left := time.Until(end)
		if s.forgetFlush() || left <= 0 {
			return
		}
		s.pause(ctx, left)
	}
}

// forgetFlush tells whether Flush was called since the last time.
func (s *subscriber) forgetFlush() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	flushed := s.flushed
	s.flushed = false
	return flushed
}

func (s *subscriber) delivered(b *batch, tries, status int, begin time.Time) {
	s.hub.count(func(c *counts) {
		c.Delivered += int64(b.records)
		c.Deliveries++
		c.Bytes += int64(len(b.body))
	})
	if s.hub.config.Observe != nil {
		now := time.Now()
		s.hub.config.Observe(Delivery{Extension: s.name, API: s.want.api, Body: b.body, Records: b.records,
			Tries: tries, Status: status, At: now, Took: now.Sub(begin)})
	}
}
