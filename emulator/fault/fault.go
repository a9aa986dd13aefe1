// Package fault says what the emulator does wrong on purpose. Use Parse for the
// rules of --fault, one Plan per execution environment, and ask the Plan at the
// few places where the platform can fail: a telemetry POST, an answer to next,
// Init, and a process that dies.
//
// A rule is POINT:ACTION, then any number of selectors after commas:
//
//	telemetry:delay=200ms    wait before the POST
//	telemetry:drop           give the batch up; platform.logsDropped counts it
//	telemetry:duplicate      lose the answer, send again on a new connection
//	telemetry:cut            break the connection within the body, send again
//	record:whole             send a record over maxBytes in one piece, not cut as
//	                         the platform does
//	kill:function            SIGKILL the runtime's process group
//	kill:extension=NAME      SIGKILL that extension's process group
//	next:delay=500ms         answer next late, to the runtime and extensions
//	init:delay=2s            start Init late
//
// Selectors narrow a rule down; those left out do not narrow:
//
//	invoke=2                 only during the second invocation (1 is the first)
//	after=100ms              telemetry and kill: not before this time into it
//	every=3                  only each third of the moments left over by those
//	p=0.1                    of those, each with this chance
//	times=1                  at most so often in all
//	seed=42                  makes p repeatable; chosen and printed if missing
//
// The same rules, seed and moments give the same faults.
package fault

import (
	"math/rand/v2"
	"sync"
	"time"
)

// Post is one telemetry batch that is about to be sent for the first time.
// Resends of a batch are not asked about again.
type Post struct {
	Extension string    // whose subscription it is
	Bytes     int       // length of the body
	At        time.Time // now
}

// Verdict is what goes wrong with a Post; the zero Verdict is: nothing.
type Verdict struct {
	Delay     time.Duration // wait this long first
	Drop      bool          // never send it
	Duplicate bool          // ignore the answer and send it again
	Cut       bool          // break the first try in the middle of the body
}

// Kill is a process that has to die, After the invocation's start.
type Kill struct {
	Extension string // the extension's name, "" for the function
	After     time.Duration
}

// Plan applies rules to one environment and keeps their counts. It may be used
// from several goroutines; a nil Plan has no rules.
type Plan struct {
	mu         sync.Mutex
	rules      []*state
	invocation int
	began      time.Time
}

type state struct {
	rule  Rule
	seen  int
	fired int
	rand  *rand.Rand
}

// New makes a Plan of rules, each with counts of its own.
func New(rules ...Rule) *Plan {
	p := &Plan{}
	for i, r := range rules {
		p.rules = append(p.rules, &state{rule: r, rand: rand.New(rand.NewPCG(r.Seed, uint64(i)))})
	}
	return p
}

// Begin tells that the invocation with this number, counted from 1, has begun.
func (p *Plan) Begin(invocation int, at time.Time) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.invocation, p.began = invocation, at
}

// Post decides about a telemetry batch.
func (p *Plan) Post(post Post) Verdict {
	var v Verdict
	p.each(pointTelemetry, post.At, func(r Rule) {
		switch r.action {
		case actionDelay:
			v.Delay += r.delay
		case actionDrop:
			v.Drop = true
		case actionDuplicate:
			v.Duplicate = true
		case actionCut:
			v.Cut = true
		}
	})
	return v
}

// Whole tells whether a record that is larger than maxBytes has to be sent in
// one piece, where the platform cuts it.
func (p *Plan) Whole(at time.Time) bool {
	whole := false
	p.each(pointRecord, at, func(Rule) { whole = true })
	return whole
}

// Next gives how long an answer to next has to be held back.
func (p *Plan) Next(at time.Time) time.Duration {
	var d time.Duration
	p.each(pointNext, at, func(r Rule) { d += r.delay })
	return d
}

// Init gives how long the start of Init has to be held back.
func (p *Plan) Init(at time.Time) time.Duration {
	var d time.Duration
	p.each(pointInit, at, func(r Rule) { d += r.delay })
	return d
}

// Kills gives the processes that have to die in the invocation that has just
// begun. Ask once for each.
func (p *Plan) Kills() []Kill {
	var kills []Kill
	p.each(pointKill, time.Time{}, func(r Rule) {
		kills = append(kills, Kill{Extension: r.extension, After: r.after})
	})
	return kills
}

// each calls do for the rules of a point that come true now.
func (p *Plan) each(point string, at time.Time, do func(Rule)) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.rules {
		if s.rule.point == point && p.selected(s, at) {
			s.fired++
			do(s.rule)
		}
	}
}

func (p *Plan) selected(s *state, at time.Time) bool {
	r := s.rule
	if r.invoke != 0 && r.invoke != p.invocation {
		return false
	}
	if r.point == pointTelemetry && r.after > 0 && (p.invocation == 0 || at.Sub(p.began) < r.after) {
		return false
	}
	s.seen++
	if r.every > 1 && s.seen%r.every != 0 {
		return false
	}
	if r.p > 0 && s.rand.Float64() >= r.p {
		return false
	}
	return r.times == 0 || s.fired < r.times
}
