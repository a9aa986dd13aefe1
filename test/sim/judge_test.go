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
	accounts, refused := l.w.accounts, l.w.refused
	l.w.accounts, l.w.refused = map[string]*account{}, 0
	l.w.logs.Unlock()
	if l.isKilled() && !spooled {
		return // SPOOL: what was owed has to come out of the next life, see judgeLane
	}
	lost := 0
	for i, lane := range l.w.lanes {
		a := accounts[lane.plan.name]
		if a == nil {
			l.w.problem("%s has no closing account", lane.plan.name)
			continue
		}
		lost += l.judgeLane(lane, l.lanes[i], a)
	}
	if want := l.platformDropped(); want >= 0 && want != refused {
		l.w.problem("the platform dropped %d records and said so; the edge says %d", want, refused)
	}
	l.judgeEnd(lost)
}

// owed counts the lane's records of this life: those with a 200, those that the
// edge may have taken without the platform knowing, and those with a 200 that no
// destination holds or has refused for good.
func (l *life) owed(lane *lane) (definite, perhaps, missing int) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	for _, r := range l.w.records {
		if r.life != l.number || !lane.wants(r.kind) {
			continue
		}
		_, there := lane.where[r.token]
		switch {
		case !r.definite():
			if r.offered > 0 {
				perhaps++
			}
		case !there && !lane.refused[r.token]:
			missing++
			definite++
		default:
			definite++
		}
	}
	return definite, perhaps, missing
}

// judgeLane checks one destination's books and gives how many records it lost.
func (l *life) judgeLane(lane *lane, mine *laneLife, a *account) int {
	definite, perhaps, missing := l.owed(lane)
	own := 0
	if l.w.plan.variables["SLIPSTREAM_SELF_METRICS"] == "true" {
		own = 1
	}
	wrong := func(format string, args ...any) {
		l.w.problem("life %d, %s: "+format+"; account %+v", append(append([]any{l.number, lane.plan.name}, args...), *a)...)
	}
	if low := definite; a.received < low || a.received > definite+perhaps+own {
		wrong("received %d, the platform has a 200 for %d and may have given %d more", a.received, definite, perhaps)
	}
	if a.received+a.recovered != a.delivered+a.spooled+a.lost() {
		wrong("the account does not add up")
	}
	if a.delivered != mine.told || a.dropped["rejected"] != mine.rejected {
		wrong("the destination has confirmed %d and refused %d", mine.told, mine.rejected)
	}
	late := a.dropped["undelivered_at_shutdown"]
	full := a.dropped["buffer_full"]
	if other := a.lost() - late - full - mine.rejected; other != 0 {
		wrong("%d records were dropped for a reason that the adversary did not give", other)
	}
	if missing > late+full+a.spooled {
		wrong("%d records with a 200 are missing", missing)
	}
	if full > 0 && len(l.w.lanes) == 1 {
		wrong("the only destination's records were given up for want of memory")
	}
	if late > 0 && !l.mayLose(mine) {
		wrong("%d records were given up at SHUTDOWN, while the destination took everything at once", late)
	}
	return late + full
}

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

// judgeEnd checks when the edge ended: it waits for the last record, bounded,
// and then for its sends, and not for anything else.
func (l *life) judgeEnd(lost int) {
	const slack = 5 * time.Millisecond
	began := l.began()
	until := began.Add(min(l.w.settings().wait, max(l.deadline.Sub(began)/3, 0)))
	several := l.w.plan.kind == "lambda-managed-instances"
	if r := l.last; r != nil && r.definite() && !several {
		until = earlier(until, later(r.settled, began))
	} else if (r == nil || r.offered == 0) && l.returned.Before(until.Add(-slack)) && !several {
		l.w.problem("life %d: the edge ended %v after SHUTDOWN; the last record was still to come and had %v",
			l.number, l.returned.Sub(began), until.Sub(began))
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
// whether that is within the bound. The caller holds w.mu. With several
// destinations a full one gives up records, and compressed bytes are fewer:
// neither is seen from outside, so only one that takes plain bytes is judged.
func (w *world) owes(l *lane, bytes int) bool {
	l.owed += bytes
	return len(w.lanes) > 1 || l.plan.encoding != "none" || l.owed <= w.settings().buffer+memorySlack
}
