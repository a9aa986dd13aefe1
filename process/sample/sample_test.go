package sample

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipstream/process/frame"
	"slipstream/telemetry"
)

var epoch = time.Date(2026, 10, 1, 9, 0, 0, 0, time.UTC)

// tale plays short words to a Sampler: each is a record or a call.
type tale struct {
	*Sampler
	out   []string
	now   time.Time
	begun string
}

// at is now if that is known.
func (t *tale) at(timed bool) (at time.Time) {
	if timed {
		at = t.now
	}
	return at
}

func newTale(c Config, store Store) *tale {
	t := &tale{now: epoch}
	if c.Next == nil {
		c.Next = func(id string) string {
			if next := after(id); next == t.begun {
				return next
			}
			return ""
		}
	}
	t.Sampler = New(c, store, Emit{Log: func(l *telemetry.Log) {
		word := l.RequestID + " " + l.Type
		if !isPlatform(l.Type) {
			word = l.RequestID + " " + strings.Trim(string(l.Body), `"`)
		}
		if l.AdjustedCount > 1 {
			word += fmt.Sprintf(" x%d", l.AdjustedCount)
		}
		t.out = append(t.out, strings.TrimPrefix(word, " "))
	}, Export: func(x *telemetry.Export, weighed bool) {
		word := string(x.Body)
		if weighed {
			word += fmt.Sprintf(" x%d", c.OneIn)
		}
		t.out = append(t.out, word)
	}})
	return t
}

// play does one word: "a start", "a done", "a done timeout", "a done 1s ago", "a report", "a text",
// "a !text" for an error, "a ~text" for an export, "a ~text@" for one that was made now, "- text" for a record of no
// invocation, and calls.
func (t *tale) play(word string) {
	id, what, _ := strings.Cut(word, " ")
	what, status, _ := strings.Cut(what, " ")
	if status == "" {
		status = "success"
	}
	l := telemetry.Log{Time: t.now, Type: "function", RequestID: strings.TrimPrefix(id, "-"),
		Body: []byte(`"` + what + `"`)}
	switch {
	case id == "wait":
		d, err := time.ParseDuration(what)
		if err != nil {
			panic(err)
		}
		t.now = t.now.Add(d)
		return
	case id == "tick":
		t.Tick(t.now)
		return
	case id == "invoke" || what == "invoke":
		t.begun = id
		t.Invoked(t.now)
		return
	case id == "finish":
		t.Finish()
		return
	case strings.HasPrefix(what, "span"):
		t.FailedAt(id, t.at(what == "span@"), t.now)
		return
	case strings.HasPrefix(what, "~"):
		text, timed := strings.CutSuffix(strings.TrimPrefix(word, "- "), "@")
		x := telemetry.Export{Signal: telemetry.Traces, Records: 1, Body: []byte(text)}
		t.AddExport(&x, l.RequestID, t.at(timed), t.now)
		return
	case what == "start":
		l.Type, l.Body = "platform.start", []byte(`{"requestId":"`+id+`"}`)
	case what == "done":
		if ago, told := strings.CutSuffix(status, " ago"); told {
			before, _ := time.ParseDuration(ago)
			l.Time, status = t.now.Add(-before), "success"
		}
		l.Type, l.Body = "platform.runtimeDone", fmt.Appendf(nil, `{"x":[1],"status":%q}`, status)
	case what == "report":
		l.Type = "platform.report"
		l.Body = fmt.Appendf(nil, `{"status":"success","metrics":{"billedDurationMs":9,"durationMs":%q}}`, status)
		if status != "success" {
			l.Body = fmt.Appendf(nil, `{"metrics":{"billedDurationMs":9,"durationMs":%s},"status":"success"}`, status)
		}
	case strings.HasPrefix(what, "!"):
		l.Level = telemetry.LevelError
	}
	t.Add(&l, t.now)
}

// after is the order of the tales' invocations.
func after(id string) string { return map[string]string{"a": "b", "b": "c"}[id] }

func TestTales(t *testing.T) {
	long := strings.Repeat("x", 120)
	quiet := Config{SamplePlatform: true}
	next := Config{SamplePlatform: true, Next: after}
	late := Config{SamplePlatform: true} // the next one is known when it is invoked
	tests := []struct {
		name   string
		config Config
		words  string
		want   string
	}{
		{"a good invocation goes", quiet, "a start; a 1; a 2; a done; a 3; a report; a 4", ""},
		{"its platform events stay unless told otherwise", Config{}, "a start; a 1; a done; a report",
			"a platform.start; a platform.runtimeDone; a platform.report"},
		{"an error brings everything, in order", quiet, "a start; a 1; a !2; a 3; a done; a report",
			"a platform.start; a 1; a !2; a 3; a platform.runtimeDone; a platform.report"},
		{"so does a status", quiet, "a 1; a done timeout; a 2", "a 1; a platform.runtimeDone; a 2"},
		{"and an error span", quiet, "a 1; a span; a 2; a span", "a 1; a 2"},
		{"an exception is told after the runtime's success", quiet, "a 1; a done; a !late; a report",
			"a 1; a platform.runtimeDone; a !late; a platform.report"},
		{"an error after the decision is kept, and what follows", quiet, "a 1; a done; a report; a 2; a !3; a 4",
			"a !3; a 4"},
		{"a long one by the report", Config{Slow: time.Second, SamplePlatform: true}, "a 1; a done; a report 1000.0",
			"a 1; a platform.runtimeDone; a platform.report"},
		{"not quite a long one", Config{Slow: time.Second, SamplePlatform: true}, "a 1; a done; a report 999.9", ""},
		{"a long one while it runs", Config{Slow: time.Second, SamplePlatform: true}, "a start; a 1; wait 1s; a 2",
			"a platform.start; a 1; a 2"},
		{"what it exports goes with it", quiet, "a ~1; a 2; a done; a ~3; a report; a ~4", ""},
		{"or stays with it, in order", quiet, "a start; a ~1; a 2; a done error; a ~3; a report",
			"a platform.start; a ~1; a 2; a platform.runtimeDone; a ~3; a platform.report"},
		{"an export says nothing of the end", quiet, "a ~1; b done; a ~2; finish", "a ~1; a ~2; b platform.runtimeDone"},
		{"an error span keeps the exports", quiet, "a ~1; b ~1; a span; a ~2; a done; b done",
			"a ~1; a ~2; a platform.runtimeDone"},
		{"what may be the next one's is kept with that", next,
			"a ~1@; wait 1s; a done; wait 1s; a ~2@; a report; a ~3@; b !4",
			"a ~2; a ~3; b !4"},
		{"or with its own", next, "a ~1@; a !2; a done; wait 1s; a ~3@; b done; b report",
			"a ~1; a !2; a platform.runtimeDone; a ~3"},
		{"or with neither", next, "a done; wait 1s; a ~2@; b 3; b done; b report; a ~4@", ""},
		{"also where that is unknown until then", Config{SamplePlatform: true, MaxInvocations: 1, Next: after},
			"a done; wait 1s; a ~1@; a report; b !2", "a ~1; b !2"},
		{"it waits for the next one", late, "a done; wait 1s; a ~1@; a report; a ~2@; b invoke; b !3", "a ~1; a ~2; b !3"},
		{"and may have to be dropped", late,
			"a done; wait 1s; a ~1@; a report; b invoke; a ~2@; b done; b report; b !3", "b !3"},
		{"exports may be known before", next, "b ~1; a 1; a done; a report; b done; b report", ""},
		{"nobody comes", late, "a 1; a done; wait 1s; a ~2@; a report; finish", "a ~2"},
		{"no room to wait", Config{SamplePlatform: true, MaxBytes: 340, Next: func(string) string { return "" }},
			"a done; wait 1s; a ~" + long + "@; a report; b 2; b 3", "a ~" + long},
		{"a failure may be the next one's", late, "a done; wait 1s; a span@; b invoke; b 1; a 2", "b 1"},
		{"a failure is its own, as its end tells", next, "a 2; b 1; a span@; a done", "a 2; a platform.runtimeDone"},
		{"or the next one's", next, "a 2; b 1; a span@; a done 1s ago", "b 1"},
		{"or both have failed", next, "a 2; b 1; a span@; wait 2s; a span@; a done 1s ago",
			"a 2; b 1; a platform.runtimeDone"},
		{"exports of no invocation stay", quiet, "- ~init; a ~1; a done; a report", "~init"},
		{"records of no invocation stay", quiet, "- init; a 1; - more", "init; more"},
		{"one in one", Config{OneIn: 1}, "a 1; a done; a report", "a platform.runtimeDone; a 1; a platform.report"},
		{"the next one's end decides", quiet, "a 1; a done; b 1; a !2; b done; b !3; a 4",
			"a 1; a platform.runtimeDone; a !2; b 1; b platform.runtimeDone; b !3; a 4"},
		{"the next one's end decides, for good", quiet, "a 1; a done; b 1; b done; a !2", "a !2"},
		{"an end that was never told", quiet, "a 1; b 1; b done; b report", "a 1"},
		{"at once, another's end says nothing", Config{SamplePlatform: true, Concurrent: true},
			"a 1; b 1; b done; b report; a !2; b 3", "a 1; a !2"},
		{"time decides", quiet, "a 1; a done; wait 4999ms; tick; a 2; wait 1ms; tick; a !3; a 4", "a !3; a 4"},
		{"time that was frozen does not", quiet, "a 1; a done; wait 1h; invoke; tick; a !2",
			"a 1; a platform.runtimeDone; a !2"},
		{"no word for longer than any invocation", quiet, "a 1; wait 959s; tick; wait 1s; tick; a 2", "a 1; a 2"},
		{"the end", quiet, "a 1; b 1; b done; finish; a 2", "a 1; b 1; b platform.runtimeDone; a 2"},
		{"too many", Config{MaxInvocations: 2, SamplePlatform: true, Concurrent: true},
			"a 1; b 1; b done; b report; c 1; d 1; a 2; b 2", "a 1; c 1; a 2"},
		{"too much", Config{MaxBytes: 300, SamplePlatform: true}, "a 1; a 2; b 1; b 2; b 3; b 4; b 5; a 3",
			"a 1; a 2; a 3"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newTale(tt.config, nil)
			for word := range strings.SplitSeq(tt.words, "; ") {
				s.play(word)
			}
			if got := strings.Join(s.out, "; "); got != tt.want {
				t.Errorf("%s\n gave %s\n want %s\ncounts %+v", tt.words, got, tt.want, s.Counts())
			}
		})
	}
}

// One of N stands for N; a failed one stands for itself, chosen or not.
func TestAdjustedCount(t *testing.T) {
	chosen, other := "", ""
	for i := 0; chosen == "" || other == ""; i++ {
		if id := fmt.Sprint("r", i); Chosen(id, 10) {
			chosen = id
		} else {
			other = id
		}
	}
	s := newTale(Config{OneIn: 10, SamplePlatform: true}, nil)
	for _, word := range []string{"C 1", "C done", "C report", "C 2", "C ~3", "o 1", "o ~2", "o done", "o report"} {
		s.play(strings.NewReplacer("C", chosen, "o ", other+" ").Replace(word))
	}
	want := []string{chosen + " 1 x10", chosen + " platform.runtimeDone x10", chosen + " platform.report x10",
		chosen + " 2 x10", chosen + " ~3 x10"}
	if diff := cmp.Diff(want, s.out); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	s = newTale(Config{OneIn: 10, SamplePlatform: true}, nil)
	s.play(chosen + " 1")
	s.play(chosen + " !2")
	if diff := cmp.Diff([]string{chosen + " 1", chosen + " !2"}, s.out); diff != "" {
		t.Errorf("a failed one (-want +got):\n%s", diff)
	}
	s = newTale(Config{OneIn: 10, SamplePlatform: true}, nil)
	s.play(chosen + " 1")
	s.play("finish")
	if diff := cmp.Diff([]string{chosen + " 1"}, s.out); diff != "" {
		t.Errorf("one that is kept in doubt (-want +got):\n%s", diff)
	}
}

// The choice is the same everywhere and for ever, and one in N.
func TestChosen(t *testing.T) {
	const n = 200_000
	for _, oneIn := range []int{2, 10, 100, 1000} {
		chosen := 0
		for i := range n {
			if Chosen(fmt.Sprintf("3b0e4c1d-0a53-4a0e-9f5f-%012x", i), oneIn) {
				chosen++
			}
		}
		if want := float64(n) / float64(oneIn); float64(chosen) < want*0.8 || float64(chosen) > want*1.2 {
			t.Errorf("1 in %d: %d of %d", oneIn, chosen, n)
		}
	}
	if Chosen("a", 0) || !Chosen("a", 1) {
		t.Error("0 is none, 1 is all")
	}
	chosen := ""
	for id := 'a'; id <= 'f'; id++ {
		if Chosen(string(id), 3) {
			chosen += string(id)
		}
	}
	if chosen != "e" {
		t.Errorf("another choice than ever: %q", chosen)
	}
}

// survivor is a Store as the edge has one: what is in it outlives the Sampler.
type survivor struct{ runs []*survivingRun }

type survivingRun struct {
	heapRun
	over bool
}

func (s *survivor) Open(time.Time) Run {
	r := &survivingRun{}
	s.runs = append(s.runs, r)
	return r
}

func (r *survivingRun) Release() { r.over = true }

// After a kill at any moment, what was emitted, what was dropped by a decision and
// what the next process finds is everything, once.
func TestCrashKeepsAll(t *testing.T) {
	words := strings.Split("a start; a 1; a 2; a done; b start; b 1; a report; b !2; b done; c start; c 1; c done", "; ")
	words = slices.Insert(words, 3, "a ~1")
	words = slices.Insert(words, 5, "a ~2")
	words = slices.Insert(words, 8, "b ~1")
	for cut := range len(words) + 1 {
		store := &survivor{}
		s := newTale(Config{SamplePlatform: true}, store)
		for _, word := range words[:cut] {
			s.play(word)
		}
		found := 0
		for _, r := range store.runs {
			for rest := r.frames; !r.over && len(rest) > 0; found++ {
				var err error
				if frame.Exported(rest) {
					_, rest, err = frame.DecodeExport(rest, &telemetry.Export{})
				} else {
					rest, err = frame.Decode(rest, &telemetry.Log{})
				}
				if err != nil {
					t.Fatal(err)
				}
			}
		}
		dropped := 0
		for _, c := range s.Counts() {
			if c.Dropped {
				dropped += c.Records + c.Exported
			}
		}
		if held, _ := s.Held(); found != held || len(s.out)+dropped+found != cut {
			t.Errorf("killed after %d records: %d out, %d dropped, %d found of %d held", cut, len(s.out), dropped, found, held)
		}
	}
}

// A verdict is what AddExport would do, also on invocations that made room.
func TestVerdict(t *testing.T) {
	s := newTale(Config{SamplePlatform: true, MaxInvocations: 2}, nil)
	for _, word := range strings.Split("good 1; good report; bad !1; open 1; open2 1", "; ") {
		s.play(word)
	}
	verdicts := map[string]Verdict{"": Keep, "good": Drop, "bad": Keep, "open": Hold, "open2": Hold, "new": Hold}
	for id, want := range verdicts {
		if got := s.Verdict(id, time.Time{}, 7); got != want {
			t.Errorf("%q: %d, want %d", id, got, want)
		}
	}
	counts := s.Counts()
	want := []Count{{"failed", false, 1, 1, 0}, {"not_sampled", true, 1, 2, 7}}
	if diff := cmp.Diff(want, counts); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if len(s.order) > 2 {
		t.Errorf("%d invocations are known", len(s.order))
	}
}

func TestNoAllocations(t *testing.T) {
	s := New(Config{Slow: time.Hour}, nil, Emit{Log: func(*telemetry.Log) {}})
	line := telemetry.Log{Time: epoch, Type: "function", RequestID: "a", Body: []byte(`"x"`)}
	bad := line
	bad.RequestID, bad.Level = "b", telemetry.LevelError
	start := telemetry.Log{Time: epoch, Type: "platform.start", RequestID: "a", Body: []byte(`{}`)}
	s.Add(&start, epoch)
	s.Add(&bad, epoch)
	for _, l := range []*telemetry.Log{&start, &bad} { // an event that is kept, a line of a failed invocation
		if n := testing.AllocsPerRun(100, func() { s.Add(l, epoch) }); n != 0 {
			t.Errorf("%v allocations for %s", n, l.Type)
		}
	}
	run := s.known["a"]
	run.run = &heapRun{from: &heap{}, frames: make([]byte, 0, 1<<20)}
	if n := testing.AllocsPerRun(100, func() { s.Add(&line, epoch) }); n != 0 {
		t.Errorf("%v allocations for a held line", n)
	}
}
