package limit

import "time"

// Verdict is what of a span is kept.
type Verdict uint8

// The verdicts.
const (
	Whole Verdict = iota
	Bare          // without what was captured: bodies, headers, addresses
	Dropped
)

// Span is what a Budget has to know of one.
type Span struct {
	Size int
	// Bare is its size without what was captured.
	Bare int
	// Reserved is true for a span that failed, and for the function's own.
	Reserved bool
}

// maxInvocations is how many are remembered: more than any environment runs at a
// time. The one that was silent the longest makes room, and begins anew.
const maxInvocations = 256

// longest is how long an invocation can take. What is silent for so long is over.
const longest = 15 * time.Minute

// Budget bounds what each invocation sends of spans. An export arrives in one
// piece, and those before it have left: nothing can be taken back when a more
// important span comes later. So room is held back instead of made. In three
// quarters of the budget a span is whole, in the last one ordinary spans are
// bare; when it is spent they are dropped. Behind it lies a reserve, as large as
// the limits on error are larger, for spans that failed and the function's own;
// these are whole as long as they fit, then bare, and dropped last.
type Budget struct {
	limits      Limits
	invocations map[string]*spent
}

type spent struct {
	spans, bytes int
	last         time.Time
}

// NewBudget makes one; the limits on error count at least as much as the others.
func NewBudget(l Limits) *Budget {
	l.SpansOnError = max(l.Spans, l.SpansOnError)
	l.BytesOnError = max(l.Bytes, l.BytesOnError)
	return &Budget{limits: l, invocations: map[string]*spent{}}
}

// Take decides on one span and pays for what is kept. Spans of no invocation
// (an empty id) have no budget: nothing would ever renew it.
func (b *Budget) Take(requestID string, now time.Time, s Span) Verdict {
	if requestID == "" || b.limits.Spans == 0 && b.limits.Bytes == 0 {
		return Whole
	}
	i := b.of(requestID, now)
	v := b.judge(i, s)
	switch v {
	case Whole:
		i.bytes += s.Size
		i.spans++
	case Bare:
		i.bytes += s.Bare
		i.spans++
	}
	return v
}

func (b *Budget) judge(i *spent, s Span) Verdict {
	spans, bytes := b.limits.Spans, b.limits.Bytes
	whole := bytes - bytes/4
	if s.Reserved {
		spans, bytes, whole = b.limits.SpansOnError, b.limits.BytesOnError, b.limits.BytesOnError
	}
	switch {
	case spans > 0 && i.spans >= spans:
		return Dropped
	case bytes == 0 || i.bytes+s.Size <= whole || s.Size == s.Bare && i.bytes+s.Size <= bytes:
		return Whole
	case s.Bare < s.Size && i.bytes+s.Bare <= bytes:
		return Bare
	}
	return Dropped
}

// of is what the invocation has spent.
func (b *Budget) of(requestID string, now time.Time) *spent {
	i := b.invocations[requestID]
	if i == nil {
		if len(b.invocations) >= maxInvocations {
			b.forget()
		}
		i = &spent{}
		b.invocations[requestID] = i
	} else if now.Sub(i.last) > longest {
		*i = spent{}
	}
	i.last = now
	return i
}

// forget makes room.
func (b *Budget) forget() {
	var oldest string
	for id, i := range b.invocations {
		if oldest == "" || i.last.Before(b.invocations[oldest].last) {
			oldest = id
		}
	}
	delete(b.invocations, oldest)
}

// Done says that the invocation is over: its spans have come.
func (b *Budget) Done(requestID string) { delete(b.invocations, requestID) }
