package sim_test

import (
	"sync"
	"time"
)

// clocks are the three of a run. The virtual one is the environment's monotonic
// clock, and everybody's timers. The platform's is right, and goes on in a freeze
// in which the virtual one stands still. The environment's wall clock is set by
// the adversary: it is wrong from the start, late after a thaw, or jumps.
type clocks struct {
	mu    sync.Mutex
	leapt time.Duration // the platform's clock is so far ahead of the virtual one
	wrong time.Duration // the environment's is so far ahead of the platform's
	ahead time.Duration // what it has been set forward by, together
	shown []shown
}

// shown is what the environment's wall clock has been ahead of the virtual one
// from a time on.
type shown struct {
	from  time.Time // virtual
	ahead time.Duration
}

// clockPlan is what the adversary does to the clocks, beside the steps of single
// invocations.
type clockPlan struct {
	still bool          // the monotonic clock stands still in a freeze
	lag   time.Duration // with still: so long after a thaw the wall clock is set right
	wrong time.Duration // of the environment's wall clock, from the start
}

func drawClocks(d dice) clockPlan {
	c := clockPlan{still: d.chance(40)}
	if d.chance(50) {
		c.lag = pick(d, 3*time.Millisecond, 300*time.Millisecond, 5*time.Second, 100*time.Hour) + 137*time.Nanosecond
	}
	if d.chance(10) {
		c.wrong = pick(d, -time.Hour, -time.Second, -3*time.Millisecond, 3*time.Millisecond, time.Second, time.Hour)
	}
	return c
}

// drawStep sets the wall clock in one invocation of a hundred.
func (i *invocation) drawStep(d dice) {
	if d.chance(1) {
		i.stepAt = d.between(0, i.limit)
		i.step = pick(d, -time.Hour, -time.Minute, -time.Second, -50*time.Millisecond, time.Second, time.Minute, time.Hour)
	}
}

// set moves the environment's wall clock.
func (c *clocks) set(by time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wrong += by
	c.ahead += max(by, 0)
	c.note()
}

// note remembers what the wall clock shows from now on; the caller holds c.mu.
func (c *clocks) note() {
	c.shown = append(c.shown, shown{time.Now(), c.leapt + c.wrong})
}

// leap lets time pass that the virtual clock does not see, nor, yet, with late,
// the environment's wall clock.
func (c *clocks) leap(d time.Duration, late bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leapt += d
	if late {
		c.wrong -= d
	}
	c.note()
}

// platform is the platform's clock at a time of the virtual one.
func (c *clocks) platform(at time.Time) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return at.Add(c.leapt)
}

// wall is what the environment's wall clock shows.
func (c *clocks) wall() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.leapt + c.wrong)
}

// off is how far the environment's wall clock is ahead of the platform's.
func (c *clocks) off() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wrong
}

// forward is what the environment's wall clock has been set forward by so far:
// so much earlier the edge may take something for over.
func (c *clocks) forward() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ahead
}

// showed tells whether the environment's wall clock ever showed a time.
func (c *clocks) showed(t time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, s := range c.shown {
		at, to := t.Add(-s.ahead), time.Now()
		if i+1 < len(c.shown) {
			to = c.shown[i+1].from
		}
		if !at.Before(s.from) && !at.After(to) {
			return true
		}
	}
	return false
}

// wasRight tells whether the environment's wall clock was at any time between
// the two not behind the platform's, as far as that matters to a deadline. The
// platform's leaps are over then.
func (c *clocks) wasRight(from, to time.Time) bool {
	const slack = 50 * time.Millisecond
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, s := range c.shown {
		next := time.Now()
		if i+1 < len(c.shown) {
			next = c.shown[i+1].from
		}
		if s.ahead >= c.leapt-slack && s.from.Before(to) && next.After(from) {
			return true
		}
	}
	return false
}

// believed is when SHUTDOWN's time is over as far as the edge can know, which
// reads the deadline now: there are never more than two seconds, and where the
// wall clock has it that they were over before, it must be wrong.
func (c *clocks) believed(deadline time.Time) time.Time {
	const most = 2 * time.Second
	now := time.Now()
	left := c.platform(deadline).Sub(c.wall()).Truncate(time.Millisecond)
	if left.Abs() > most {
		left = most
	}
	return now.Add(left)
}
