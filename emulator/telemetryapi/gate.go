package telemetryapi

import (
	"context"
	"sync"
	"time"
)

// gate holds deliveries back while the environment is frozen, and runs a clock
// that stands still meanwhile. Its zero value is open.
type gate struct {
	mu     sync.Mutex
	shut   chan struct{} // closed at the thaw; nil when open
	since  time.Time     // of the freeze
	frozen time.Duration // all freezes before this one
}

func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut == nil {
		g.shut = make(chan struct{})
		g.since = time.Now()
	}
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut != nil {
		close(g.shut)
		g.shut = nil
		g.frozen += time.Since(g.since)
	}
}

// wait returns when the gate is open, or with ctx's error.
func (g *gate) wait(ctx context.Context) error {
	for {
		g.mu.Lock()
		shut := g.shut
		g.mu.Unlock()
		if shut == nil {
			return ctx.Err()
		}
		select {
		case <-shut:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// frozenFor is how long the gate has been shut in all.
func (g *gate) frozenFor() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut != nil {
		return g.frozen + time.Since(g.since)
	}
	return g.frozen
}

// after calls do once d has passed, not counting frozen time, unless the
// returned function is called first.
func (g *gate) after(d time.Duration, do func()) (stop func()) {
	done := make(chan struct{})
	start, frozen := time.Now(), g.frozenFor()
	var once sync.Once
	var timer *time.Timer
	var mu sync.Mutex // orders the assignment of timer before its first firing
	mu.Lock()
	timer = time.AfterFunc(d, func() {
		mu.Lock()
		defer mu.Unlock()
		select {
		case <-done:
			return
		default:
		}
		left := d - (time.Since(start) - (g.frozenFor() - frozen))
		if left > 0 {
			timer.Reset(max(left, 10*time.Millisecond))
			return
		}
		do()
	})
	mu.Unlock()
	return func() {
		once.Do(func() { close(done) })
		timer.Stop()
	}
}
