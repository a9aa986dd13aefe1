package sim_test

import (
	"regexp"
	"strconv"
	"strings"
	"time"
)

// policySeeds is the first of the seeds whose plans have a policy for volume, too:
// the plan of policySeeds+N is that of N with one.
const policySeeds = 1 << 40

// policy is what the adversary has the edge drop.
type policy struct {
	sampled  bool // invocations
	platform bool // the platform's events with them
	filtered bool // lines whose number ends with 3
	oneIn    int
	slow     time.Duration
	bytes    int  // that may be held
	exports  bool // what the function exports goes with its invocation
}

// drawPolicy chooses it. Values of records are all different, so repetitions are
// looked for, and there are none.
func (p *plan) drawPolicy(d dice) {
	p.policy = &policy{sampled: d.chance(80), platform: d.chance(50), filtered: d.chance(50)}
	if p.policy.sampled {
		p.policy.oneIn = pick(d, 0, 0, 2, 10)
		p.policy.bytes = pick(d, 64<<10, 4<<20)
		p.policy.slow = pick(d, 0, 0, time.Second)
		p.variables["SLIPSTREAM_SAMPLE"] = strconv.Itoa(p.policy.oneIn)
		p.variables["SLIPSTREAM_SAMPLE_PLATFORM"] = strconv.FormatBool(p.policy.platform)
		p.variables["SLIPSTREAM_SAMPLE_BYTES"] = strconv.Itoa(p.policy.bytes)
		p.variables["SLIPSTREAM_SAMPLE_SLOW_MS"] = strconv.FormatInt(p.policy.slow.Milliseconds(), 10)
	}
	if p.policy.filtered {
		p.variables["SLIPSTREAM_FILTER"] = `[{"drop":{"type":"function","message":"~~[0-9]*3~"}}]`
	}
	p.variables["SLIPSTREAM_REPEATS_MS"] = pick(d, "0", "100", "60000")
	p.policy.exports = !d.chance(15)
	p.variables["SLIPSTREAM_SAMPLE_EXPORTS"] = strconv.FormatBool(p.policy.exports)
}

// filters tells whether the user wants a record to be dropped.
func (p *policy) filters(r *record) bool {
	return p.filtered && r.kind == "function" && r.token%10 == 3
}

// mustKeep tells whether a record is to be delivered: all of those that no rule
// drops and that are of no invocation, of one that has to be kept, or of one whose end
// nobody was told. The caller holds w.mu.
func (w *world) mustKeep(r *record) bool {
	p := w.plan.policy
	switch {
	case p == nil:
		return true
	case p.filters(r):
		return false
	case !p.sampled, r.export != nil && !p.exports:
		return true
	case r.of == "":
		return r.export == nil || w.clean()
	case r.export == nil && !p.platform && strings.HasPrefix(r.kind, "platform."):
		return true
	case r.export == nil && r.request == "": // the edge may take it for another invocation's
		return false
	case r.export != nil && !w.surely(r):
		return false
	}
	return w.fates[r.of].keeps(r)
}

// judgePolicy checks, at the very end, that invocations were kept or dropped as a
// whole.
func (w *world) judgePolicy() {
	p := w.plan.policy
	if p == nil || !p.sampled {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, lane := range w.lanes {
		if lane.given > 0 || len(lane.refused) > 0 {
			continue // what is missing was told to be
		}
		there, missing := map[string]*record{}, map[string]*record{}
		for _, r := range w.records {
			if r.kind != "function" || r.request == "" || !r.definite() || p.filters(r) || !lane.wants(r.kind) {
				continue
			}
			if _, ok := lane.where[r.token]; ok {
				there[r.of] = r
			} else {
				missing[r.of] = r
			}
		}
		for id, r := range there {
			if other := missing[id]; other != nil {
				defer w.problem("%s: of invocation %s record %d was kept and record %d was not", lane.plan.name, id, r.token,
					other.token)
			}
		}
	}
}

// judgeCounts checks that nothing was dropped without a count, and tells whether
// it was all counted.
func (l *life) judgeCounts(lane *lane, a *account, t tally, own int) bool {
	l.w.logs.Lock()
	dropped := l.w.dropped[l.number]
	l.w.logs.Unlock()
	earlier := 0 // may have been held by a process that was killed
	l.w.mu.Lock()
	for _, r := range l.w.records {
		if r.life < l.number && r.offered > 0 && lane.wants(r.kind) {
			earlier += 1 + r.doubts()
		}
	}
	l.w.mu.Unlock()
	l.earlier = earlier
	most := t.definite + t.perhaps + own
	switch {
	case l.isKilled():
		return a.received <= most+earlier
	case l.number == 0 && lane.plan.types == "" && a.received+dropped > most:
		return false
	}
	return a.received+dropped >= t.definite && a.received <= most+earlier
}

var adjusted = regexp.MustCompile(`,"adjusted_count":\d+\}$`)
