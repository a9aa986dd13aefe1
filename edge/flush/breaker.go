package flush

import (
	"slices"
	"time"
)

// rememberedSends is how many sends the expectation of the next is made of.
const rememberedSends = 4

// Breaker tells how much one destination may be bothered: as many sends at once
// as its limit while it answers; none after a failure until a pause is over, and
// then one alone, until one succeeds.
type Breaker struct {
	limit    int
	flying   int
	failures int             // in a row
	retry    time.Time       // not before, after a failure
	slow     bool            // it made an invocation wait too long
	took     []time.Duration // the last sends that it answered
	hurry    bool            // the environment is shutting down
}

// NewBreaker allows limit sends at once.
func NewBreaker(limit int) Breaker { return Breaker{limit: max(limit, 1)} }

// Allow tells whether a send may begin now; if not, At is when to ask again,
// zero for when a send under way has ended.
func (b *Breaker) Allow(now time.Time) (ok bool, at time.Time) {
	switch {
	case b.failures == 0:
		return b.flying < b.limit, time.Time{}
	case b.flying > 0 && !b.hurry || b.flying >= b.limit:
		return false, time.Time{}
	case now.Before(b.retry):
		return false, b.retry
	}
	return true, time.Time{}
}

// Limit is how many sends at once the destination may get.
func (b *Breaker) Limit() int { return b.limit }

// Began takes note of a send.
func (b *Breaker) Began() { b.flying++ }

// Succeeded ends a send that the destination answered, with yes or with never.
// It gives the number of failures that went before.
func (b *Breaker) Succeeded(took time.Duration) (failures int) {
	b.flying--
	if b.took = append(b.took, took); len(b.took) > rememberedSends {
		b.took = slices.Delete(b.took, 0, 1)
	}
	failures = b.failures
	b.failures, b.slow, b.retry = 0, false, time.Time{}
	return failures
}

// Cancelled ends a send that says nothing about the destination.
func (b *Breaker) Cancelled() { b.flying-- }

// Failed ends a send that has to be tried again, after wait at the earliest.
// Sends that were under way together count as one failure, and wait as long as
// the one of them that has to wait longest. It gives the number of failures in a
// row, 0 if this one does not count.
func (b *Breaker) Failed(now time.Time, wait func(failures int) time.Duration) int {
	b.flying--
	if b.failures > 0 && now.Before(b.retry) {
		if at := now.Add(wait(b.failures)); at.After(b.retry) {
			b.retry = at
		}
		return 0
	}
	b.failures++
	b.retry = now.Add(wait(b.failures))
	return b.failures
}

// Slow takes note that an invocation was held for this destination as long as
// it may be.
func (b *Breaker) Slow() { b.slow = true }

// Answers tells whether the destination is worth holding an invocation for: it
// answers, and has done so within the hold. The quickest of the last sends counts,
// because one during which the environment was frozen seems to have taken long.
func (b *Breaker) Answers(hold time.Duration) bool {
	return b.failures == 0 && !b.slow && (len(b.took) == 0 || slices.Min(b.took) <= hold)
}

// Failures counts the failed tries since the last success.
func (b *Breaker) Failures() int { return b.failures }

// Hurry is for the environment's end: the pause is over, as many as limit sends
// may be under way, also after a failure.
func (b *Breaker) Hurry(limit int) {
	b.hurry, b.retry = true, time.Time{}
	b.limit = max(b.limit, limit)
}
