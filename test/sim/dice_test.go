package sim_test

import (
	"math/rand/v2"
	"time"
)

// dice makes the adversary's choices. There is one for each seed; those who
// choose while others do get dice of their own, drawn from it, so that the order
// in which goroutines run changes no choice.
type dice struct{ *rand.Rand }

func newDice(seed uint64) dice { return dice{rand.New(rand.NewPCG(seed, 0x51195712ea))} }

// split gives dice of their own to one part.
func (d dice) split() dice { return dice{rand.New(rand.NewPCG(d.Uint64(), d.Uint64()))} }

// chance is true so many times of 100.
func (d dice) chance(percent int) bool { return d.IntN(100) < percent }

// between gives a duration of at least low and less than high.
func (d dice) between(low, high time.Duration) time.Duration {
	return low + time.Duration(d.Int64N(int64(high-low)))
}

// pick chooses one of several.
func pick[T any](d dice, from ...T) T { return from[d.IntN(len(from))] }
