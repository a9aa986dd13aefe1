package flush

import (
	"testing"
	"time"
)

// beat is one thing that happens to a Pacer, and what it decides then. Times
// are seconds.
type beat struct {
	at       float64
	what     string // invoke, done, failed, lost, look
	id       string
	doneAt   float64
	deadline float64 // of invoke, after at; 0 for 10
	silent   bool    // of invoke: no destination answers
	unsent   bool    // something waits to be sent
	next     bool
	flush    bool
	long     bool
	again    float64 // 0 for no time, else when
}

func TestPacer(t *testing.T) {
	pace := Pace{Strategy: Adaptive, Staleness: 20 * time.Second, Hold: 250 * time.Millisecond}
	with := func(s Strategy) Pace { p := pace; p.Strategy = s; return p }
	tests := map[string]struct {
		pace  Pace
		beats []beat
	}{
		"periodic and continuous hold nothing": {with(Periodic), []beat{
			{at: 0, what: "look"},
			{at: 1, what: "invoke", id: "a", unsent: true, next: true, again: 10.5},
			{at: 2, what: "done", id: "a", doneAt: 1.9, unsent: true},
		}},
		"an invocation that is about to time out is sent before": {with(Continuous), []beat{
			{at: 1, what: "invoke", id: "a", next: true, again: 10.5},
			{at: 10.4, what: "look", again: 10.5},
			{at: 10.5, what: "look", flush: true},
			{at: 10.6, what: "look"},
		}},
		"a short timeout leaves a quarter": {with(Continuous), []beat{
			{at: 0, what: "invoke", id: "a", deadline: 1, next: true, again: 0.75},
		}},
		"a failed invocation is sent at once, also when that is known late": {with(Periodic), []beat{
			{at: 1, what: "invoke", id: "a", next: true, again: 10.5},
			{at: 2, what: "failed", id: "a", doneAt: 2, flush: true},
			{at: 3, what: "invoke", id: "b", next: true, again: 12.5},
			{at: 4, what: "invoke", id: "c", next: true, again: 13.5},
			{at: 4, what: "failed", id: "b", doneAt: 3.5, flush: true, again: 13.5},
			{at: 4.1, what: "look", again: 13.5},
		}},
		"end holds until everything is sent": {with(End), []beat{
			{at: 1, what: "invoke", id: "a", again: 10.5},
			{at: 2, what: "look", again: 10.5},
			{at: 3, what: "done", id: "a", doneAt: 2.98, unsent: true, flush: true, again: 3.228},
			{at: 3.1, what: "look", unsent: true, again: 3.228},
			{at: 3.15, what: "look", next: true},
			{at: 3.2, what: "look"},
		}},
		"a hold is bounded": {with(End), []beat{
			{at: 1, what: "invoke", id: "a", again: 10.5},
			{at: 3, what: "done", id: "a", doneAt: 3, unsent: true, flush: true, again: 3.248},
			{at: 3.248, what: "look", unsent: true, next: true, long: true},
		}},
		"a hold begins with the runtime's end, however late that is known": {with(End), []beat{
			{at: 1, what: "invoke", id: "a", again: 10.5},
			{at: 3.1, what: "done", id: "a", doneAt: 3, unsent: true, flush: true, again: 3.248},
			{at: 4, what: "invoke", id: "b", again: 13.5},
			{at: 5.3, what: "done", id: "b", doneAt: 5, unsent: true, flush: true, again: 5.3625}, // some of it is left
			{at: 6, what: "invoke", id: "c", again: 15.5},
			{at: 6.1, what: "done", id: "c", doneAt: 9, unsent: true, flush: true, again: 6.348}, // another clock
		}},
		"a hold never reaches the deadline": {with(End), []beat{
			{at: 0, what: "invoke", id: "a", deadline: 3, again: 2.5},
			{at: 2.5, what: "look", flush: true, again: 2.9},
			{at: 2.8, what: "done", id: "a", doneAt: 2.8, unsent: true, flush: true, again: 2.9},
			{at: 2.9, what: "look", unsent: true, next: true, long: true},
		}},
		"without a sign of the runtime's end": {with(End), []beat{
			{at: 0, what: "invoke", id: "a", deadline: 3, again: 2.5},
			{at: 2.9, what: "look", flush: true, next: true},
		}},
		"the sign may be among what the platform dropped": {with(End), []beat{
			{at: 0, what: "invoke", id: "a", again: 9.5},
			{at: 1, what: "lost", next: true, again: 9.5},
		}},
		"the end may be known before the INVOKE is read": {with(End), []beat{
			{at: 1, what: "done", id: "a", doneAt: 1},
			{at: 1.1, what: "invoke", id: "a", unsent: true, flush: true, again: 1.248},
			{at: 1.2, what: "look", next: true},
		}},
		"nothing is held for those that do not answer": {with(End), []beat{
			{at: 0, what: "invoke", id: "a", silent: true, unsent: true, next: true, again: 9.5},
		}},
		"adaptive holds when the next invocation is far": {pace, []beat{
			{at: 0, what: "invoke", id: "a", next: true, again: 9.5}, // nothing is known yet
			{at: 1, what: "done", id: "a", doneAt: 1},
			{at: 31, what: "invoke", id: "b", again: 40.5}, // 30 s apart
			{at: 32, what: "done", id: "b", doneAt: 32, flush: true, unsent: true, again: 32.248},
			{at: 32.1, what: "look", next: true},
			{at: 33, what: "invoke", id: "c", next: true, again: 42.5}, // 30 s and 1 s
			{at: 34, what: "done", id: "c", doneAt: 34},
		}},
		"adaptive learns from an end that it hears of late": {pace, []beat{
			{at: 0, what: "invoke", id: "a", next: true, again: 9.5},
			{at: 60, what: "invoke", id: "b", next: true, again: 69.5},
			{at: 60, what: "done", id: "a", doneAt: 5, again: 69.5},
			{at: 61, what: "done", id: "b", doneAt: 60.5},
			{at: 120, what: "invoke", id: "c", again: 129.5},
		}},
		"a long run is no gap": {pace, []beat{
			{at: 0, what: "invoke", id: "a", deadline: 100, next: true, again: 99.5},
			{at: 60, what: "done", id: "a", doneAt: 60},
			{at: 61, what: "invoke", id: "b", next: true, again: 70.5},
		}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) { play(t, NewPacer(tc.pace), tc.beats) })
	}
}

// Of what was dropped before an INVOKE is read, its invocation's end may be a part: it is
// held only where that end is known.
func TestLostBeforeInvoke(t *testing.T) {
	play(t, NewPacer(Pace{Strategy: End, Hold: 250 * time.Millisecond}), []beat{
		{at: 1, what: "lost"},
		{at: 1.1, what: "invoke", id: "a", next: true, again: 10.6},
		{at: 1.2, what: "done", id: "a", doneAt: 1.2},
		{at: 2, what: "lost"},
		{at: 2, what: "done", id: "b", doneAt: 2},
		{at: 2.1, what: "invoke", id: "b", unsent: true, flush: true, again: 2.248},
		{at: 2.2, what: "look", next: true},
		{at: 3, what: "invoke", id: "c", again: 12.5},
	})
}

func play(t *testing.T, p Pacer, beats []beat) {
	t.Helper()
	for i, b := range beats {
		now := at(b.at)
		switch b.what {
		case "invoke":
			if b.deadline == 0 {
				b.deadline = 10
			}
			p.Invoked(now, b.id, at(b.at+b.deadline), !b.silent)
		case "done", "failed":
			p.Done(b.id, at(b.doneAt), b.what == "failed")
		case "lost":
			p.Lost()
		}
		want := Decision{Next: b.next, Flush: b.flush, HeldLong: b.long}
		if b.again != 0 {
			want.At = at(b.again)
		}
		got := p.Decide(now, !b.unsent)
		if got.Next != want.Next || got.Flush != want.Flush || got.HeldLong != want.HeldLong || !got.At.Equal(want.At) {
			t.Errorf("beat %d, %s %s at %v: got %+v, want %+v", i, b.what, b.id, b.at, got, want)
		}
	}
}

func TestBreaker(t *testing.T) {
	b := NewBreaker(2)
	allowed := func(at time.Time) bool { ok, _ := b.Allow(at); return ok }
	wait := func(failures int) time.Duration { return time.Duration(failures) * time.Second }
	b.Began()
	if !allowed(at(0)) {
		t.Fatal("a second send is refused")
	}
	b.Began()
	if allowed(at(0)) {
		t.Fatal("a third send at once")
	}
	b.Failed(at(0), wait)
	b.Failed(at(0.1), wait) // it was under way together with the first
	if b.Failures() != 1 || b.Answers(time.Second) {
		t.Errorf("%d failures", b.Failures())
	}
	if ok, again := b.Allow(at(0.5)); ok || !again.Equal(at(1.1)) {
		t.Errorf("before the pause is over: %v, again %v", ok, again)
	}
	if !allowed(at(1.1)) {
		t.Error("after the pause a try is refused")
	}
	b.Began()
	if allowed(at(1.1)) {
		t.Error("a second try beside the first after a failure")
	}
	b.Failed(at(1.1), wait)
	if allowed(at(3)) || !allowed(at(3.1)) {
		t.Error("the pause after the second failure is not 2 s")
	}
	b.Began()
	b.Began() // two at once, as before the failures
	b.Failed(at(4), func(int) time.Duration { return time.Second })
	n := b.Failed(at(4), func(int) time.Duration { return 10 * time.Second }) // this one has a Retry-After
	if ok, again := b.Allow(at(5)); n != 0 || ok || !again.Equal(at(14)) {
		t.Errorf("a longer pause asked for at the same time: counts %d, %v, again %v", n, ok, again)
	}
	b.Hurry(3)
	for range 3 {
		if !allowed(at(1.1)) {
			t.Error("SHUTDOWN does not end the pause, or allows too little")
		}
		b.Began()
	}
	if allowed(at(1.1)) {
		t.Error("SHUTDOWN allows a fourth send")
	}
	b.Cancelled()
	b.Cancelled()
	b.Slow()
	if n = b.Succeeded(time.Millisecond); n != 3 || !b.Answers(time.Second) || !allowed(at(1.2)) {
		t.Errorf("after a success: %d failures before, %+v", n, b)
	}
	b.Slow()
	if b.Answers(time.Second) {
		t.Error("held for a slow destination again")
	}
}

// What takes longer than the hold is not waited for, unless a freeze made it so.
func TestBreakerKnowsHowLongSendsTake(t *testing.T) {
	b := NewBreaker(1)
	for i, tt := range []struct {
		took    time.Duration
		answers bool
	}{
		{time.Minute, false}, {time.Second, false}, {50 * time.Millisecond, true}, {time.Hour, true}, {time.Hour, true},
		{time.Hour, true}, {time.Hour, false},
	} {
		b.Began()
		b.Succeeded(tt.took)
		if b.Answers(250*time.Millisecond) != tt.answers {
			t.Errorf("after send %d, which took %v: answers %v", i, tt.took, !tt.answers)
		}
	}
}
