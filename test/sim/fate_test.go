package sim_test

import (
	"slices"
	"time"

	"slipstream/process/sample"
)

// fate is what became of an invocation: what there is to say for keeping it.
type fate struct {
	l      *life
	index  int
	id     string
	woke   time.Time     // when the environment did, for it
	done   *record       // platform.runtimeDone; nil: there is none
	took   time.Duration // as that says
	status string        // the same; "killed" where the process did not see the end
	report *record       // nil: there is none yet
}

// begin notes an invocation that the platform begins.
func (l *life) begin(id string, index int, woke time.Time) *fate {
	f := &fate{l: l, index: index, id: id, woke: woke, status: "success"}
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	l.w.fates[id] = f
	return f
}

// ends notes how it ended.
func (f *fate) ends(done *record, took time.Duration, status string) {
	f.l.w.mu.Lock()
	defer f.l.w.mu.Unlock()
	f.done, f.took, f.status = done, took.Truncate(time.Millisecond), status
}

// fails notes that it ends with the process.
func (f *fate) fails() { f.ends(nil, 0, "killed") }

// told tells whether the edge knows how it ended.
func (f *fate) told() bool { return f.done != nil && f.done.definite() }

// before is the invocation before it, nil for none.
func (f *fate) before() *fate {
	if f.index == 0 {
		return nil
	}
	return f.l.w.fates[f.l.id(f.index-1)]
}

// chosen tells whether an invocation is the one of so many.
func (w *world) chosen(id string) bool {
	return w.plan.policy != nil && sample.Chosen(id, w.plan.policy.oneIn)
}

// keeps tells whether a record of the invocation, which the edge has taken, has to be
// there. The invocation is the one of many; or the edge was told that it failed, or
// was slow; or the process was killed in the middle of it; or an exported record told
// that it failed, and had its 200 before the invocation can have been decided, or else
// before the record was sent. The caller holds w.mu.
func (f *fate) keeps(r *record) bool {
	w := f.l.w
	p := w.plan.policy
	switch {
	case w.chosen(f.id), f.status == "killed":
		return true
	case f.told() && (f.status != "success" || p.slow > 0 && f.took >= p.slow):
		return true
	}
	for _, x := range w.failing[f.id] {
		if x.definite() && w.surely(x) && (x.settled.Before(r.first) || x.settled.Before(f.undecided())) {
			return true
		}
	}
	return false
}

// undecided is until when the edge cannot have decided on the invocation: until it
// heard of its report, or of the end of a later one; until a freeze, after which much
// time may be over; or for 5 s after it heard of its end.
func (f *fate) undecided() time.Time {
	until := time.Now()
	first := func(at time.Time) {
		if !at.IsZero() {
			until = earlier(until, at)
		}
	}
	if f.l.w.clock.forward() > 0 {
		return time.Time{}
	}
	for _, other := range f.l.w.fates {
		if other.l == f.l && other.index > f.index && other.done != nil {
			first(other.done.first)
		}
	}
	for _, s := range f.l.frozen {
		if !s.from.Before(f.woke) {
			first(s.from)
		}
	}
	if f.done != nil && !f.done.first.IsZero() {
		first(f.done.first.Add(5 * time.Second))
	}
	if f.report != nil {
		first(f.report.first)
	}
	return until
}

// clean tells whether the function's clock is the platform's: else the time of a
// record tells nothing.
func (w *world) clean() bool {
	c := w.plan.clock
	if c.wrong != 0 || c.still && c.lag > 0 {
		return false
	}
	for i := range w.plan.lives {
		l := &w.plan.lives[i]
		if l.trouble.skew != 0 {
			return false
		}
		for k := range l.invocations {
			if l.invocations[k].step != 0 {
				return false
			}
		}
	}
	return true
}

// blur is around an invocation's end where nobody can tell whose a record is, with
// the millisecond of the platform's clock, and some room.
const blur = 4 * time.Millisecond

// surely tells whether the edge has to take an exported record for one of the
// invocation that made it: it says so, or shares a trace with one that does, or its
// time says so. That is between INVOKE and the runtime's end, if the edge was told of
// it; before the edge had read INVOKE also of the end before, which has to be clearly
// before that. The caller holds w.mu.
func (w *world) surely(r *record) bool {
	x := r.export
	f := w.fates[r.of]
	switch {
	case x.tells != "time" || f == nil:
		return x.sure
	case !w.clean() || !f.told() || r.made.Before(f.woke) || r.made.After(f.done.made) || len(f.l.reads) <= f.index:
		return false
	case r.made.After(f.l.reads[f.index].at):
		return true
	}
	before := f.before()
	return before != nil && before.told() && f.woke.Sub(before.done.made) > blur
}

// unusual tells whether there is any reason to keep the invocation beside its number,
// whether or not the edge has heard of it. The caller holds w.mu.
func (f *fate) unusual() bool {
	w := f.l.w
	if f.status != "success" {
		return true
	}
	for _, x := range w.failing[f.id] {
		if x.offered > 0 {
			return true
		}
	}
	last := f.report
	if f.done != nil {
		last = f.done
	}
	slow := w.plan.policy.slow
	return slow > 0 && (last == nil || last.made.Sub(f.woke) > slow-10*time.Millisecond)
}

// ended tells whether the edge was told of the invocation's end, soon enough: before
// the first freeze after it, in which more time may pass than it waits for that, as
// when its clock is set forward. The caller holds w.mu.
func (f *fate) ended() bool {
	if f.report == nil || !f.report.definite() || f.l.w.clock.forward() > 0 {
		return false
	}
	told := f.report.settled
	if f.told() {
		told = f.done.settled
	}
	for _, s := range f.l.frozen {
		if s.from.After(f.woke) && !told.Before(s.from) {
			return false
		}
	}
	return true
}

// byNumber tells whether nothing but its invocation's number decides on an exported
// record: it is surely of one that ended well, the edge was told so, and there is no
// other reason of the sampler's: no want of room, and none of the failures in this
// life of which it is not sure whose they are; where the process was killed, none that
// it may have kept back for the next invocation, together with this one. What only its
// time tells was not made close to an end, nor exported together with what was made
// after it, unless all this is so of the next invocation; and if the edge had not read
// INVOKE then, of the one before. The caller holds w.mu.
func (w *world) byNumber(r *record) bool {
	p, f := w.plan.policy, w.fates[r.of]
	if p == nil || !p.sampled || !p.exports || f == nil || !w.surely(r) || f.unusual() || !f.ended() {
		return false
	}
	if r.export.tells == "time" {
		before, after := f.before(), w.fates[f.l.id(f.index+1)]
		switch {
		case f.done.made.Sub(r.export.last) < blur && (after == nil || after.unusual() || w.chosen(after.id)):
			return false
		case f.done.made.Sub(r.made) < blur:
			return false
		case r.made.After(f.l.reads[f.index].at):
		case before.unusual() || w.chosen(before.id) || !before.ended():
			return false
		}
	}
	of := w.crowds[f.l.number]
	return of.bytes < p.bytes && !of.unsure && !(of.timed && f.l.killed)
}

// crowd is what there is together in one life.
type crowd struct {
	bytes  int  // that its records may take while they are held, at most
	unsure bool // one tells of a failure, and it is not sure of which invocation
	timed  bool // one has only its time
}

// crowdOf sums up a life. The caller holds w.mu.
func (w *world) crowdOf(number int) (c crowd) {
	const platform, exported = 400, 3000 // beside the text; of an export each record may be in a part of its own
	for _, r := range w.records {
		switch {
		case r.life != number || r.offered == 0:
		case r.export == nil:
			c.bytes += len(r.value) + platform
		default:
			c.bytes += r.offered * (len(r.value) + exported)
			c.timed = c.timed || r.export.tells != "id"
			c.unsure = c.unsure || r.export.failed && !w.surely(r)
		}
	}
	return c
}

// judgeExports checks, at the very end, what must not be there, and that the edge has
// counted exactly what is not.
func (w *world) judgeExports() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for number := range w.lived {
		w.crowds = append(w.crowds, w.crowdOf(number))
		w.judgeUnwanted(number)
	}
	for _, lane := range w.lanes {
		for _, r := range w.records {
			if _, there := lane.where[r.token]; there && r.export != nil && w.byNumber(r) {
				w.judgeNumber(lane, r)
			}
		}
		if lane.plan.types != "" || lane.given > 0 || len(lane.refused) > 0 {
			continue // what is missing was told to be
		}
		for _, l := range w.lived {
			w.judgeDropped(lane, l)
		}
	}
}

// judgeNumber checks a record that is there, though only its invocation's number can
// be why: then it stands for all of which it is the one.
func (w *world) judgeNumber(lane *lane, r *record) {
	switch {
	case !w.chosen(r.of):
		w.problem("%s: record %d (%s) is of invocation %s, which was good, and was not dropped", lane.plan.name,
			r.token, r.kind, r.of)
	case !r.export.weighed:
		w.problem("%s: record %d (%s) of invocation %s, which was chosen, stands for itself alone", lane.plan.name,
			r.token, r.kind, r.of)
	}
}

// judgeUnwanted checks a life's count of exported records that no destination takes:
// all of them, where none are dropped before. The caller holds w.mu.
func (w *world) judgeUnwanted(life int) {
	least, most := 0, 0
	for _, r := range w.records {
		wanted := func(lane *lane) bool { return lane.wants(r.kind) }
		switch {
		case r.export == nil || slices.ContainsFunc(w.lanes, wanted):
		case r.life == life:
			least, most = least+r.acked, most+r.offered
		case r.life < life && w.plan.policy != nil: // an earlier process may have held it
			most += r.offered
		}
	}
	if n := w.unwanted[life]; n > most || n < least && w.plan.policy == nil {
		w.problem("life %d: %d to %d exported records are of a kind that no destination takes, and the edge says %d", life,
			least, most, n)
	}
}

// judgeDropped checks a life's count of not_sampled against what a lane that takes
// everything has not got. An export whose answer did not come may have been dropped or
// never have arrived. A process that was killed may have counted more since, of what
// the next one kept; and what it held may be lost, where nothing survives it. The
// caller holds w.mu.
func (w *world) judgeDropped(lane *lane, l *life) {
	least, most := 0, 0
	for _, r := range w.records {
		if r.export == nil || r.life != l.number {
			continue
		}
		copies := lane.copies[r.token]
		least += max(r.acked-copies, 0)
		most += max(r.offered-copies, 0)
	}
	counts := w.exports[l.number]
	n := counts["not_sampled"]
	switch {
	case len(counts) > 1 || len(counts) == 1 && n == 0:
		w.problem("life %d: the policy has done %v to exports", l.number, counts)
	case l.killed && (w.plan.noDisk || w.plan.kind == "snap-start"):
	case n < least, n > most && !l.killed:
		w.problem("life %d, %s: %d to %d exported records were dropped, and the edge says %d", l.number,
			lane.plan.name, least, most, n)
	}
}

// doubts is how often an exported record may have been taken beside once for its 200.
func (r *record) doubts() int {
	switch {
	case r.export == nil && r.definite() || r.offered == 0:
		return 0
	case r.export == nil:
		return 1
	}
	return r.offered - r.acked
}
