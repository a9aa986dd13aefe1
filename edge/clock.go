package edge

import (
	"context"
	"sync"
	"time"
)

// leastJump is the smallest difference between the two clocks that counts. Less
// is the slew of a clock that is being corrected, or a pause between reading the
// one and the other.
const leastJump = 100 * time.Millisecond

// clock is the time that decisions are made by. The machine has two, and neither
// will do alone: the wall clock, in which the platform states its deadlines, may
// be set at any moment, back too; the monotonic one may stand still while the
// environment is frozen. This one goes on by whichever of them goes further, so
// what is late by either is late. Its times are good for comparing with each
// other; what others are to read is stamped by the wall clock. A nil clock is
// the machine's.
type clock struct {
	read func() time.Time // the wall clock

	mu      sync.Mutex
	began   time.Time     // of the monotonic clock
	base    time.Time     // of the wall clock, then
	offset  time.Duration // of the wall clock, since then
	ahead   time.Duration // of the monotonic clock
	settled bool          // it follows the monotonic clock alone
}

// newClock reads the wall clock with read, nil for the machine's.
func newClock(read func() time.Time) *clock {
	if read == nil {
		read = func() time.Time { return time.Now().Round(0) }
	}
	return &clock{read: read, began: time.Now(), base: read()}
}

func (c *clock) now() time.Time {
	if c == nil {
		return time.Now()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	offset := c.read().Sub(c.base) - now.Sub(c.began)
	if jump := offset - c.offset; !c.settled && jump.Abs() >= leastJump {
		c.offset = offset
		c.ahead += max(jump, 0)
	}
	return now.Add(c.ahead)
}

// until is how long it is until then.
func (c *clock) until(then time.Time) time.Duration { return then.Sub(c.now()) }

// wait waits for wake, at most until at (zero: no limit) and at most so long. It
// returns false when ctx has ended.
func (c *clock) wait(ctx context.Context, at time.Time, most time.Duration, wake <-chan struct{}) bool {
	if !at.IsZero() {
		most = min(max(c.until(at), 0), most)
	}
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-wake:
	case <-timer.C:
	case <-ctx.Done():
		return false
	}
	return true
}

// stamp is now as the wall clock has it, for names and records.
func (c *clock) stamp(now time.Time) time.Time {
	if c == nil {
		return now
	}
	return c.read()
}

// place puts a time that the platform states, in the wall clock's terms, among
// our own.
func (c *clock) place(now, stated time.Time) time.Time { return now.Add(stated.Sub(c.stamp(now))) }

// settle is for SHUTDOWN: there is no freeze any more, and little time, of which
// a wall clock that is set takes nothing away.
func (c *clock) settle() {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.settled = true
}

// shutdownTime is what Lambda gives an external extension between SHUTDOWN and
// SIGKILL.
const shutdownTime = 2 * time.Second

// lastDeadline places SHUTDOWN's deadline. One that is further away than it can
// be, or so long past that we could not be here any more, says that the
// platform's clock is not ours: then there is as much time as there ever is.
func (c *clock) lastDeadline(now, stated time.Time) time.Time {
	deadline := c.place(now, stated)
	if left := deadline.Sub(now); left.Abs() > shutdownTime {
		return now.Add(shutdownTime)
	}
	return deadline
}
