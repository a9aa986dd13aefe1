package sim_test

import (
	"time"
)

// memorySlack is how far the bytes that the edge owes may go beyond
// SLIPSTREAM_BUFFER_BYTES: room is looked for before a body is read, so one body
// of at most maxBytes and one record over it comes on top.
const memorySlack = 256<<10 + 2*hugeRecord

// judge checks, after the end of a life, that its books agree with what the
// platform and the destinations know.
func (l *life) judge() {
	l.w.logs.Lock()
	accounts, heap, refused := l.w.accounts, l.w.heap, l.w.refused
	l.w.accounts, l.w.heap, l.w.refused = map[string]*account{}, map[string]int{}, 0
	l.w.logs.Unlock()
	if l.plan.ownFailure() {
		return // it has taken nothing, and what the lives before left stays
	}
	lost := 0
	for i, lane := range l.w.lanes {
		a := accounts[lane.plan.name]
		if a == nil {
			l.w.problem("%s has no closing account", lane.plan.name)
			continue
		}
		lost += l.judgeLane(lane, l.lanes[i], a, heap[lane.plan.name])
	}
	if l.isKilled() {
		return
	}
	if want := l.platformDropped(); want >= 0 && want != refused {
		l.w.problem("the platform dropped %d records and said so; the edge says %d", want, refused)
	}
	l.judgeEnd(lost)
}

// tally counts a lane's records: of this life, those with a 200 and those that
// the edge may have taken without the platform knowing; of this life and all
// before it, those with a 200 that no destination holds or has refused for good.
type tally struct {
	definite, perhaps, missing int
	early                      int // of definite: from before the restore, when nothing is on the disk
	one                        int // of missing: its number
}

func (l *life) tally(lane *lane) tally {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	var t tally
	for _, r := range l.w.records {
		if !lane.wants(r.kind) {
			continue
		}
		_, there := lane.where[r.token]
		switch {
		case !r.definite():
			if r.life == l.number {
				t.perhaps += r.doubts()
			}
			continue
		case !there && !lane.refused[r.token] && l.w.mustKeep(r):
			t.missing, t.one = t.missing+1, r.token
		}
		if r.life != l.number {
			continue
		}
		t.definite++
		t.perhaps += r.doubts()
		if l.w.plan.kind == "snap-start" && (r.token < l.early || l.early == 0) {
			t.early++
		}
	}
	return t
}

// judgeLane checks one destination's books and gives how many records it lost.
func (l *life) judgeLane(lane *lane, mine *laneLife, a *account, heap int) int {
	t := l.tally(lane)
	own := 0
	if l.w.plan.variables["SLIPSTREAM_SELF_METRICS"] == "true" {
		own = 1
	}
	wrong := func(format string, args ...any) {
		l.w.problem("life %d, %s: "+format+"; account %+v", append(append([]any{l.number, lane.plan.name}, args...), *a)...)
	}
	if l.w.plan.policy != nil {
		if !l.judgeCounts(lane, a, t, own) {
			wrong("received %d, the platform has a 200 for %d and may have given %d more, and the policy's counts do not "+
				"make up for it", a.received, t.definite, t.perhaps)
		}
	} else if a.received < t.definite || a.received > t.definite+t.perhaps+own {
		wrong("received %d, the platform has a 200 for %d and may have given %d more", a.received, t.definite, t.perhaps)
	}
	if a.received+a.recovered != a.delivered+a.spooled+a.lost() {
		wrong("the account does not add up")
	}
	if a.delivered != mine.told || a.dropped["rejected"] != mine.rejected {
		wrong("the destination has confirmed %d and refused %d", mine.told, mine.rejected)
	}
	if a.recovered < lane.left[0] || a.recovered > lane.left[1] {
		wrong("recovered %d, the life before left %d to %d", a.recovered, lane.left[0], lane.left[1])
	}
	if l.isKilled() { // what the old process did after that instant is nothing
		l.judgeKill(lane, mine, a, t, heap, own)
		return 0
	}
	late := a.dropped["undelivered_at_shutdown"]
	full := a.dropped["buffer_full"]
	if other := a.lost() - late - full - mine.rejected; other != 0 {
		wrong("%d records were dropped for a reason that the adversary did not give", other)
	}
	lane.given += late + full
	lane.left = [2]int{a.spooled, a.spooled}
	if t.missing > lane.given+a.spooled {
		wrong("%d records with a 200 are missing (%d is the last), and %d were given up by this life and others", t.missing,
			t.one, lane.given)
	}
	if full > 0 && len(l.w.lanes) == 1 {
		wrong("the only destination's records were given up for want of memory")
	}
	switch {
	case late > 0 && l.goesOn() && !l.w.plan.noDisk && l.w.plan.variables["SLIPSTREAM_SPOOL_BYTES"] == "":
		wrong("%d records were given up, and the next life could have had them", late)
	case late > 0 && !l.mayLose(mine):
		wrong("%d records were given up at SHUTDOWN, while the destination took everything at once", late)
	case a.spooled > 0 && (!l.goesOn() || l.w.plan.noDisk):
		wrong("nobody will ever look for what it has spooled")
	}
	return late + full + a.spooled
}

// judgeKill works out what the next life must find after SIGKILL.
func (l *life) judgeKill(lane *lane, mine *laneLife, a *account, t tally, heap, own int) {
	left := a.recovered - mine.told - mine.rejected
	full := a.dropped["buffer_full"] // before, or after it
	lane.left = [2]int{max(left+t.definite-t.early-full-heap, 0), left + t.definite + t.perhaps + own}
	if l.w.plan.policy != nil { // what was held comes in again, and is not recovered
		lane.left[0] = 0
		lane.left[1] += l.earlier
	}
	lane.given += full + heap
	switch {
	case l.w.plan.noDisk:
		lane.left = [2]int{}
		lane.given += t.missing
	default:
		lane.given += t.early
	}
	l.w.logf("judge: the next life must recover %d to %d", lane.left[0], lane.left[1])
}

// goesOn tells whether the environment has another life after this one.
func (l *life) goesOn() bool { return l.number < len(l.w.plan.lives)-1 }

// mayLose tells whether a destination may have lost records at SHUTDOWN: when a
// try that ended after it failed or was not answered within 20 ms, when all the
// answers took a quarter of the time there was, or when there was less than half
// a second.
func (l *life) mayLose(mine *laneLife) bool {
	left := l.deadline.Sub(l.began())
	return mine.denied || left < 500*time.Millisecond || mine.busy > left/4
}

// platformDropped counts what the platform has dropped and told, -1 if that
// cannot be told for sure.
func (l *life) platformDropped() int {
	n := 0
	for _, d := range l.post.drops {
		if !d.r.definite() {
			return -1
		}
		n += d.n
	}
	return n
}

// began is when the edge knew of SHUTDOWN: one that holds an invocation reads it
// only after that.
func (l *life) began() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return later(l.shutdown, l.read)
}

// lastPost is when the edge last heard of the platform.
func (l *life) lastPost() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.posted
}

// judgeEnd checks when the edge ended: it waits for the last record, bounded,
// and then for its sends, and not for anything else.
func (l *life) judgeEnd(lost int) {
	const slack = 5 * time.Millisecond
	began := l.began()
	left := max(l.deadline.Sub(began), 0)
	wait := min(l.w.settings().wait, left/3)
	until := began.Add(wait)
	several := l.w.plan.kind == "lambda-managed-instances"
	if l.plan.deaf != "" {
		until = began
	} else if r := l.last; r != nil && r.definite() && !several {
		until = earlier(later(r.settled, began), began.Add(2*left/3)) // other posts before it may have let it wait on
	} else if (r == nil || r.offered == 0) && l.returned.Before(until.Add(-slack)) && !several {
		l.w.problem("life %d: the edge ended %v after SHUTDOWN; the last record was still to come and had %v",
			l.number, l.returned.Sub(began), until.Sub(began))
	}
	// Each post lets it wait on; where what comes last is delivered, that is later than what is asked for here.
	if (l.last == nil || !l.last.definite() || several || l.w.plan.policy != nil) && l.plan.deaf == "" {
		until = later(until, earlier(later(began, l.lastPost()).Add(wait), began.Add(2*left/3)))
	}
	for _, mine := range l.lanes {
		until = later(until, mine.lastReturn)
	}
	if lost == 0 && l.returned.After(until.Add(slack)) {
		l.w.problem("life %d: the edge ended %v after SHUTDOWN, and had nothing to do after %v", l.number,
			l.returned.Sub(began), until.Sub(began))
	}
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// owes notes that the edge holds a record's bytes, or no longer does, and tells
// whether that is within the bound: memory, and what is on the disk. The caller holds w.mu. With several
// destinations a full one gives up records, and compressed bytes are fewer:
// neither is seen from outside, so only one that takes plain bytes is judged.
func (w *world) owes(l *lane, bytes int) bool {
	if l.owed += bytes; w.plan.policy != nil { // some are dropped, and nobody outside sees when
		return true
	}
	bound := w.settings().buffer + memorySlack
	return len(w.lanes) > 1 || l.plan.encoding != "none" || l.owed <= bound || l.owed <= bound+w.disk.spooled()
}
