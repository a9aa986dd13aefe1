package edge

import (
	"testing"
	"testing/synctest"
	"time"
)

// What the edge takes for elapsed is the longer of what the two clocks say, and
// a wall clock that is set back, or a little, takes nothing away and adds nothing.
func TestClock(t *testing.T) {
	type tick struct{ passes, set time.Duration }
	tests := map[string]struct {
		ticks []tick
		want  time.Duration
	}{
		"nothing happens":                    {[]tick{{time.Second, 0}, {time.Second, 0}}, 2 * time.Second},
		"frozen, the monotonic clock stands": {[]tick{{time.Second, 0}, {0, time.Hour}}, time.Hour + time.Second},
		"frozen, both go on":                 {[]tick{{time.Hour, 0}}, time.Hour},
		"set back":                           {[]tick{{time.Second, -time.Hour}, {time.Second, 0}}, 2 * time.Second},
		"set back and right again": {
			[]tick{{time.Second, -time.Hour}, {time.Second, time.Hour}}, time.Hour + 2*time.Second,
		},
		"a slew does not count": {[]tick{{time.Second, 60 * time.Millisecond}}, time.Second},
		"short freezes add up": {
			[]tick{{0, 60 * time.Millisecond}, {0, 60 * time.Millisecond}}, 120 * time.Millisecond,
		},
		"a slew back and forth does not count": {[]tick{{0, 60 * time.Millisecond}, {0, -60 * time.Millisecond}}, 0},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var set time.Duration
				c := newClock(func() time.Time { return time.Now().Add(set) })
				began := c.now()
				for _, tick := range tc.ticks {
					time.Sleep(tick.passes)
					set += tick.set
					c.now()
				}
				if got := c.now().Sub(began); got != tc.want {
					t.Errorf("%v have passed, want %v", got, tc.want)
				}
				if got := c.stamp(c.now()); !got.Equal(time.Now().Add(set)) {
					t.Errorf("stamp gives %v, the wall clock is at %v", got, time.Now().Add(set))
				}
			})
		})
	}
}

// A deadline is reached when either clock says so, wherever the wall clock was
// when it was read, and SHUTDOWN's is believed only as far as it can be true.
func TestClockDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		set := -time.Hour // behind, as after a thaw
		c := newClock(func() time.Time { return time.Now().Add(set) })
		deadline := c.place(c.now(), time.Now().Add(3*time.Second))
		set = 0
		if left := c.until(deadline); left != 3*time.Second {
			t.Errorf("set right after the deadline was read: %v are left, want 3s", left)
		}
		set = -time.Hour
		if left := c.until(deadline); left != 3*time.Second {
			t.Errorf("set back after the deadline was read: %v are left, want 3s", left)
		}
		set = 0
		for stated, want := range map[time.Duration]time.Duration{
			1400 * time.Millisecond: 1400 * time.Millisecond, 0: 0, -time.Second: -time.Second,
			time.Hour: shutdownTime, -time.Hour: shutdownTime,
		} {
			now := c.now()
			if got := c.lastDeadline(now, c.stamp(now).Add(stated)).Sub(now); got != want {
				t.Errorf("SHUTDOWN with %v left counts as %v, want %v", stated, got, want)
			}
		}
		c.settle()
		before := c.now()
		if set = time.Hour; c.now() != before {
			t.Error("a wall clock that is set takes time away from SHUTDOWN")
		}
	})
}

func TestClockOfTheMachine(t *testing.T) {
	var none *clock
	for _, c := range []*clock{newClock(nil), none} {
		now := c.now()
		if off := c.stamp(now).Sub(now.Round(0)).Abs(); off > time.Hour {
			t.Errorf("stamped %v off", off)
		}
		c.settle()
		if c.now().Before(now) {
			t.Error("the clock goes back")
		}
	}
}
