package destination

import (
	"math/rand/v2"
	"time"
)

// Backoff says how long to wait before trying again: exponential with full
// jitter, so that environments which failed together do not come back together.
// The zero value is ready: 100 ms, doubled for each failure, at most 10 s, and
// a backend's Retry-After followed up to 60 s.
type Backoff struct {
	Base     time.Duration  // bound of the first wait
	Max      time.Duration  // bound of every wait that nobody asked for
	MaxAsked time.Duration  // bound of a Retry-After
	Rand     func() float64 // in [0, 1); nil for math/rand/v2's own
}

// After is the wait after this many failures in a row (from 1). asked is the
// backend's Retry-After: the wait is at least that long, within MaxAsked.
func (b Backoff) After(failures int, asked time.Duration) time.Duration {
	base, limit, maxAsked, random := b.Base, b.Max, b.MaxAsked, b.Rand
	if base <= 0 {
		base = 100 * time.Millisecond
	}
	if limit <= 0 {
		limit = 10 * time.Second
	}
	if maxAsked <= 0 {
		maxAsked = time.Minute
	}
	if random == nil {
		random = rand.Float64
	}
	bound := min(base, limit)
	for i := 1; i < failures && bound < limit; i++ {
		bound = min(2*bound, limit)
	}
	wait := time.Duration(random() * float64(bound))
	return max(wait, min(asked, maxAsked))
}
