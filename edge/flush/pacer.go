package flush

import (
	"slices"
	"time"
)

// Strategy says when the extension asks for the next event, and so whether an
// invocation waits until its records are sent.
type Strategy string

const (
	// Adaptive is End while invocations are further apart than the promised
	// staleness, else Periodic.
	Adaptive Strategy = "adaptive"
	// End sends at the end of each invocation and holds it until then.
	End Strategy = "end"
	// Periodic holds nothing; batches leave when their triggers say so.
	Periodic Strategy = "periodic"
	// Continuous holds nothing and sends whatever is there, all the time.
	Continuous Strategy = "continuous"
)

// Strategies are all of them, the default first.
func Strategies() []Strategy { return []Strategy{Adaptive, End, Periodic, Continuous} }

const (
	// margin before an invocation's deadline is never used.
	margin = 100 * time.Millisecond
	// lateness is how long before its deadline an invocation counts as timing out.
	lateness = 500 * time.Millisecond
	// waking is what a timer that goes off late and the call to next may take of
	// the hold, so that next arrives before it is over.
	waking = 2 * time.Millisecond
	// remembered is how many gaps between invocations the expectation is made of.
	remembered = 8
)

// Pace is how a Pacer is set.
type Pace struct {
	Strategy  Strategy
	Staleness time.Duration // how old a record may become
	Hold      time.Duration // the longest that an invocation is held after the runtime is done
}

// Pacer decides, for the whole environment, when to call next and when to send
// everything at once. It holds an invocation only for destinations that answer,
// never longer than Pace.Hold after the runtime is done, and never into the
// margin before the invocation's deadline.
type Pacer struct {
	pace    Pace
	now     run // the invocation under way
	last    run // the one before
	early   run // one that was done before we read its INVOKE
	gaps    []time.Duration
	pending bool // next has not been called since the INVOKE
	hold    bool // until everything is sent
	flushed bool // of this invocation, at its end
	urgent  bool // of this invocation, before its deadline
	owed    bool // a failed invocation's records wait
	lost    bool // records were, since next was called: the end of one whose INVOKE is not read yet may be among them
	until   time.Time
}

// run is what is known of one invocation.
type run struct {
	id                    string
	began, done, deadline time.Time
}

// Decision is what to do now.
type Decision struct {
	Next     bool      // call next
	Flush    bool      // close every batch and send it
	HeldLong bool      // Next, although not everything is sent: the hold took too long
	At       time.Time // decide again then at the latest; zero for not before the next input
}

// NewPacer starts before the first invocation, with next called.
func NewPacer(p Pace) Pacer { return Pacer{pace: p} }

// Invoked begins an invocation. answering tells whether any destination is
// known to answer: for those that do not, nothing is ever held.
func (p *Pacer) Invoked(now time.Time, requestID string, deadline time.Time, answering bool) {
	p.last = p.now
	p.now = run{id: requestID, began: now, deadline: deadline}
	if p.early.id == requestID {
		p.now.done = p.early.done
	}
	p.learn(p.last)
	p.pending, p.flushed, p.urgent, p.until = true, false, false, time.Time{}
	switch p.pace.Strategy {
	case End:
		p.hold = answering
	case Adaptive:
		p.hold = answering && p.apart()
	default:
		p.hold = false
	}
	p.hold = p.hold && !(p.lost && p.now.done.IsZero())
	p.lost = false
}

// Done takes note that the runtime is done with an invocation, at the time that
// the platform states, and whether it failed.
func (p *Pacer) Done(requestID string, at time.Time, failed bool) {
	p.owed = p.owed || failed
	switch requestID {
	case p.now.id:
		p.now.done = at
	case p.last.id:
		p.last.done = at
		p.learn(p.last)
	default:
		p.early = run{id: requestID, done: at}
	}
}

// Lost takes note that records were dropped, or cannot be taken now: what a hold
// waits for may be among them.
func (p *Pacer) Lost() {
	p.lost = p.lost || !p.pending
	if p.hold && p.now.done.IsZero() {
		p.hold = false
	}
}

// Decide says what to do. sent tells that nothing waits to be sent, but for
// destinations that do not answer.
func (p *Pacer) Decide(now time.Time, sent bool) Decision {
	var d Decision
	if p.now.id == "" {
		return d
	}
	if late := p.late(now); p.owed || late {
		p.owed, p.urgent, d.Flush = false, p.urgent || late, true
	}
	if !p.pending {
		d.At = p.urgentAt(now)
		return d
	}
	end := p.now.deadline.Add(-margin)
	switch {
	case !p.hold:
		d.Next = true
	case p.now.done.IsZero():
		d.Next = !now.Before(end)
		d.At = earlier(end, p.urgentAt(now))
	case !p.flushed:
		p.flushed, d.Flush = true, true
		// The word of the runtime's end comes late, up to SLIPSTREAM_TELEMETRY_TIMEOUT_MS:
		// what is left of the hold then is for the sends, but some of it always is.
		p.until = earlier(p.now.done, now).Add(max(p.pace.Hold-waking, p.pace.Hold/2))
		if least := now.Add(p.pace.Hold / 4); p.until.Before(least) {
			p.until = least
		}
		p.until = earlier(p.until, end)
		d.At = p.until
		if !now.Before(p.until) {
			d.Next, d.HeldLong = true, true
		}
	case sent:
		d.Next = true
	case !now.Before(p.until):
		d.Next, d.HeldLong = true, true
	default:
		d.At = p.until
	}
	if d.Next {
		p.pending = false
		d.At = p.urgentAt(now)
	}
	return d
}

// late tells whether the invocation is about to time out, once.
func (p *Pacer) late(now time.Time) bool {
	return !p.urgent && p.now.done.IsZero() && !p.lateAt().IsZero() && !now.Before(p.lateAt())
}

// lateAt is when the invocation begins to count as timing out: at most a
// quarter of its time before the deadline.
func (p *Pacer) lateAt() time.Time {
	if p.now.deadline.IsZero() {
		return time.Time{}
	}
	return p.now.deadline.Add(-min(lateness, p.now.deadline.Sub(p.now.began)/4))
}

// urgentAt is lateAt while it lies ahead and matters.
func (p *Pacer) urgentAt(now time.Time) time.Time {
	if at := p.lateAt(); !p.urgent && p.now.done.IsZero() && now.Before(at) {
		return at
	}
	return time.Time{}
}

// learn remembers the gap between the end of the last invocation and the
// beginning of this one, once it is known.
func (p *Pacer) learn(last run) {
	if last.done.IsZero() || last.id != p.last.id {
		return
	}
	p.gaps = append(p.gaps, max(p.now.began.Sub(last.done), 0))
	if len(p.gaps) > remembered {
		p.gaps = slices.Delete(p.gaps, 0, 1)
	}
}

// apart tells whether the next invocation is expected later than the staleness
// allows: when most of the remembered gaps were longer.
func (p *Pacer) apart() bool {
	long := 0
	for _, gap := range p.gaps {
		if gap > p.pace.Staleness {
			long++
		}
	}
	return 2*long > len(p.gaps)
}

// earlier gives the earlier of two times; zero means never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
