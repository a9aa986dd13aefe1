package sim_test

import (
	"time"
)

// quick is how long a send takes at most where nothing is the matter.
const quick = 5 * time.Millisecond

// unseen is the largest step of the wall clock that the edge may overlook.
const unseen = 100 * time.Millisecond

// span is a freeze.
type span struct{ from, to time.Time }

// reading is one INVOKE that the edge has read, and what its wall clock showed.
type reading struct{ at, wall time.Time }

// health is what a destination was like lately in one life.
type health struct {
	flying int       // sends under way that will fail or take long
	ill    bool      // one has, and none has gone well since
	well   time.Time // since then all have
}

// began notes a send that will be as the verdict says.
func (h *health) began(v verdict) {
	if v.fails || v.after > quick {
		h.flying++
	}
}

// ended notes its end.
func (h *health) ended(planned, got verdict, took time.Duration, now time.Time) {
	if planned.fails || planned.after > quick {
		h.flying--
	}
	switch {
	case got.fails || took > quick:
		h.ill = true
	case h.ill:
		h.ill, h.well = false, now
	}
}

// since tells whether all has gone well since a time.
func (h *health) since(t time.Time) bool { return h.flying == 0 && !h.ill && !t.Before(h.well) }

// judgeAge checks SLIPSTREAM_MAX_STALENESS for a record that is delivered just
// now, or still is not: while the environment runs, or when an invocation comes,
// and the destination is well, a record is on its way when it is that old. Then
// the sends before it and its own may take their time, and no pause is between
// them. The caller holds w.mu.
func (l *life) judgeAge(lane *lane, r *record) {
	if l.w.plan.policy != nil { // what is held back is older
		return
	}
	now := time.Now()
	mine := l.lanes[lane.number]
	if r.life != l.number || !lane.wants(r.kind) || !mine.health.since(r.settled) || l.ending() || l.isKilled() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.w.plan.kind == "snap-start" && (l.restoredAt.IsZero() || r.settled.Before(l.restoredAt.Add(time.Second))) {
		return // nothing is sent before the restore
	}
	due := l.dueAt(r)
	late := now.Sub(due)
	for _, f := range l.frozen {
		if from, to := later(f.from, due), earlier(f.to, now); to.After(from) {
			late -= to.Sub(from)
		}
	}
	if late <= 2*quick {
		return
	}
	allowed := 2 * quick
	for _, a := range mine.answers {
		if !a.at.Before(due) {
			allowed += quick
		}
	}
	if late > allowed {
		l.w.problem("%s: record %d (%s) was taken %v ago, may be %v old, and is %v late (%v for other sends)",
			lane.plan.name, r.token, r.kind, now.Sub(r.settled), l.w.settings().staleness, late, allowed)
	}
}

// dueAt is when a record has to be on its way. The caller holds l.mu.
func (l *life) dueAt(r *record) time.Time {
	age := l.w.settings().staleness
	due := r.settled.Add(age)
	for _, f := range l.frozen {
		if !due.Before(f.from) && due.Before(f.to) {
			due = f.to
		}
	}
	for _, read := range l.reads {
		if read.at.After(r.settled) && read.wall.Sub(r.shown) > age+unseen {
			return earlier(due, read.at)
		}
	}
	return due
}

// judgeWaiting is judgeAge for every record that has not been delivered.
func (l *life) judgeWaiting() {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	for _, r := range l.w.records {
		for _, lane := range l.w.lanes {
			if _, there := lane.where[r.token]; !there && !lane.refused[r.token] && r.definite() {
				l.judgeAge(lane, r)
			}
		}
	}
}

// judgeLeft checks, when next is called after a hold that was shorter than it may
// be, that nothing was left behind that had been taken before the runtime was
// done: that is what the invocation was held for.
func (l *life) judgeLeft(i int, told time.Time) {
	if !l.mustHold(i) || l.w.plan.policy != nil {
		return
	}
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	for _, r := range l.w.records {
		for _, lane := range l.w.lanes {
			mine := l.lanes[lane.number]
			if _, there := lane.where[r.token]; there || lane.refused[r.token] || !lane.wants(r.kind) || r.life != l.number ||
				!r.definite() || !r.settled.Before(told) || !mine.health.since(r.settled) || !mine.health.well.IsZero() {
				continue
			}
			l.w.problem("%s: next was called, and record %d (%s), taken %v before, was not delivered",
				lane.plan.name, r.token, r.kind, time.Since(r.settled))
			return
		}
	}
}

// mustHold tells whether the edge has to hold invocation i until its records are
// delivered: with end always, with adaptive when all the gaps so far, and the
// edge knew them, were longer than a record may become old; and as far as nothing
// was lost on the way in.
func (l *life) mustHold(i int) bool {
	set := l.w.settings()
	l.post.mu.Lock()
	lossy := len(l.post.refusals) > 0 || len(l.post.drops) > 0 || l.post.lost > 0
	l.post.mu.Unlock()
	pressed := l.w.plan.variables["SLIPSTREAM_BUFFER_BYTES"] != "" // a body that waits for memory ends a hold
	if lossy || pressed || !l.longHold.IsZero() || l.w.clock.forward() > 0 || l.w.clock.off() > 0 {
		return false
	}
	switch set.strategy {
	case "end":
		return true
	case "adaptive":
		apart := i > 1 && l.plan.trouble.skew <= 0 && l.w.clock.off() == 0
		for k := 1; k <= i && apart; k++ {
			p := &l.plan.invocations[k]
			apart = p.gap > set.staleness+time.Second && l.dones[k-1].definite() && l.dones[k-1].settled.Before(l.begins[k])
		}
		return apart
	}
	return false
}
