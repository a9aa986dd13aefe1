// Package flush decides when records leave and when the extension may: pure
// state, no clock, no I/O. Use a Batching for each destination's open batch and
// one Ending for the life of the environment.
package flush

import "time"

// Limits are the triggers that close a batch. Each holds by itself; zero turns
// one off.
type Limits struct {
	Bytes   int           // encoded bytes in the batch
	Invokes int           // invocations begun since the last batch was closed
	Age     time.Duration // time since the batch's first record
}

// Batching tells when the open batch of one destination is due. Its methods
// return true when the batch has to be closed now.
type Batching struct {
	limits  Limits
	bytes   int
	invokes int
	opened  time.Time // of the first record; zero while the batch is empty
}

// New starts with an empty batch.
func New(l Limits) Batching { return Batching{limits: l} }

// Appended takes note of a record of the given encoded size.
func (b *Batching) Appended(now time.Time, bytes int) bool {
	if b.opened.IsZero() {
		b.opened = now
	}
	b.bytes += bytes
	return b.limits.Bytes > 0 && b.bytes >= b.limits.Bytes || b.Due(now)
}

// Invoked takes note of an invocation that begins.
func (b *Batching) Invoked(now time.Time) bool {
	b.invokes++
	return b.limits.Invokes > 0 && b.invokes >= b.limits.Invokes && !b.opened.IsZero() || b.Due(now)
}

// Due tells whether the batch has reached its age.
func (b *Batching) Due(now time.Time) bool {
	return b.limits.Age > 0 && !b.opened.IsZero() && !now.Before(b.DueAt())
}

// DueAt is when the open batch reaches its age, the zero time for never.
func (b *Batching) DueAt() time.Time {
	if b.opened.IsZero() || b.limits.Age == 0 {
		return time.Time{}
	}
	return b.opened.Add(b.limits.Age)
}

// Closed begins a new, empty batch.
func (b *Batching) Closed() { *b = Batching{limits: b.limits} }
