package sample

import (
	"time"

	"slipstream/process/frame"
	"slipstream/telemetry"
)

// Verdict is what becomes of what an invocation exports.
type Verdict uint8

// The verdicts.
const (
	Hold  Verdict = iota // nobody knows yet: call AddExport
	Keep                 // it stands for itself
	Weigh                // it stands for Config.OneIn
	Drop
)

// Verdict tells it, of so many records as AddExport takes them: they are counted if
// they are to be dropped. So what is dropped need not be looked into.
func (s *Sampler) Verdict(requestID string, at time.Time, records int) Verdict {
	if requestID == "" {
		return Keep
	}
	is, why := s.decision(requestID)
	if i := s.known[requestID]; is == dropped && i != nil && i.over(at) {
		next := s.next(i)
		if next == "" {
			return Hold
		}
		if is, why = s.decision(next); is == kept && why == sampled && !i.after(at) {
			is = dropped // see keepExport
		}
	}
	switch {
	case is == dropped:
		s.tally.add(notSampled, amount{exported: records})
		return Drop
	case is == undecided:
		return Hold
	case why == sampled:
		return Weigh
	}
	return Keep
}

// decision is what is known of an invocation.
func (s *Sampler) decision(requestID string) (state, reason) {
	if i := s.known[requestID]; i != nil {
		return i.state, i.reason
	}
	if p := s.pastOf(requestID); p != nil {
		return p.state, p.reason
	}
	return undecided, 0
}

// AddExport takes an export whose records are of one invocation, "" for none. If at is
// not zero, it was made then, and by the next invocation if this one was over: close
// to that it is kept if either has failed. It says nothing of the outcome: call
// FailedAt first.
func (s *Sampler) AddExport(x *telemetry.Export, requestID string, at, now time.Time) {
	s.addExport(x, requestID, frame.Note{At: at}, now)
}

func (s *Sampler) addExport(x *telemetry.Export, requestID string, n frame.Note, now time.Time) {
	if requestID == "" {
		s.passExport(x, noInvocation)
		return
	}
	i := s.of(requestID, now)
	is := s.place(i, 128+len(x.Body))
	if is == dropped && i.over(n.At) {
		if next := s.next(i); next != "" {
			s.addExport(x, next, frame.Note{Doubtful: !i.after(n.At)}, now)
			return
		}
		if s.held+128+len(x.Body) > s.config.MaxBytes {
			s.passExport(x, overflow)
			return
		}
		if i.run == nil {
			s.orphans = append(s.orphans, i)
		}
		is = undecided
	}
	switch is {
	case kept:
		s.keepExport(x, n, i.reason)
	case dropped:
		s.tally.add(notSampled, amount{exported: x.Records})
	default:
		i.latest = later(i.latest, n.At)
		s.hold(i, s.runOf(i, now).AppendExport(x, n), amount{exported: x.Records})
	}
}

// keepExport emits an export of an invocation that is kept. If it is doubtful, it had
// its chance to be the one in N with the invocation before.
func (s *Sampler) keepExport(x *telemetry.Export, n frame.Note, why reason) {
	if n.Doubtful && why == sampled {
		s.tally.add(notSampled, amount{exported: x.Records})
		return
	}
	s.passExport(x, why)
}

func (s *Sampler) passExport(x *telemetry.Export, why reason) {
	s.tally.add(why, amount{exported: x.Records})
	s.emit.Export(x, why == sampled)
}

// FailedAt keeps an invocation of which an export says that it failed. If at is not
// zero, it was made then: whose failure it is, is known when it is known whether this
// one was over.
func (s *Sampler) FailedAt(requestID string, at, now time.Time) {
	if requestID == "" {
		return
	}
	i := s.of(requestID, now)
	if at.IsZero() {
		s.fail(i)
		return
	}
	if i.firstError.IsZero() || at.Before(i.firstError) {
		i.firstError = at
	}
	i.lastError = later(i.lastError, at)
	s.blame(i, now)
}

// blame finds out whose failures those were, as soon as that may be.
func (s *Sampler) blame(i *invocation, now time.Time) {
	if i.until.IsZero() || i.lastError.IsZero() {
		return
	}
	if !i.after(i.firstError) {
		s.fail(i)
		i.firstError = i.lastError
	}
	if next := s.next(i); next != "" || !i.after(i.lastError) {
		if i.after(i.lastError) {
			s.FailedAt(next, time.Time{}, now)
		}
		i.firstError, i.lastError = time.Time{}, time.Time{}
	}
}

// close is how close to an invocation's end nobody can tell whether something is the
// next one's: the platform's times have milliseconds.
const close = 2 * time.Millisecond

// over tells whether the runtime was done by then, or nearly, as far as is known.
func (i *invocation) over(at time.Time) bool {
	return !at.IsZero() && !i.until.IsZero() && at.After(i.until.Add(-close))
}

// after tells whether the runtime was done by then, for sure.
func (i *invocation) after(at time.Time) bool { return at.After(i.until.Add(close)) }

// next is the invocation after one, "" if nobody knows.
func (s *Sampler) next(i *invocation) string {
	if s.config.Next == nil {
		return ""
	}
	return s.config.Next(i.id)
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// waiting has bury wait for an invocation that is not known yet.
const waiting = reasons

// bury gives up what invocations hold that have been dropped, but for what may be the
// next one's: that goes there, or, if nobody knows which that is, waits; or is kept for
// another reason.
func (s *Sampler) bury(why reason) {
	if len(s.orphans) == 0 {
		return
	}
	left := s.orphans
	s.orphans = nil // new ones may come
	for _, i := range left {
		doubt := i.over(i.latest)
		next := ""
		if doubt {
			next = s.next(i)
		}
		if doubt && next == "" && why == waiting {
			s.orphans = append(s.orphans, i)
			continue
		}
		s.held -= i.bytes
		i.bytes = 0
		if doubt {
			i.held = i.held.less(s.rescue(i, next, why))
		}
		s.tally.add(notSampled, i.held)
		s.release(i)
	}
}

// rescue hands on what may be the next invocation's, and gives how much it was.
func (s *Sampler) rescue(i *invocation, next string, why reason) (n amount) {
	var x telemetry.Export
	i.run.Pages(func(frames []byte) {
		for err := error(nil); len(frames) > 0 && err == nil; {
			if !frame.Exported(frames) {
				frames, err = frame.Decode(frames, &s.replayed)
				continue
			}
			var note frame.Note
			if note, frames, err = frame.DecodeExport(frames, &x); err != nil || !i.over(note.At) {
				continue
			}
			if n.exported += x.Records; next == "" {
				s.passExport(&x, why)
				continue
			}
			s.addExport(&x, next, frame.Note{Doubtful: !i.after(note.At)}, i.seen)
		}
	})
	return n
}
