package fault

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseSaysRulesBackInOneForm(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"telemetry:delay=200ms", "telemetry:delay=200ms"},
		{"telemetry:drop", "telemetry:drop"},
		{"record:whole,times=1", "record:whole,times=1"},
		{" telemetry:duplicate, times=1", "telemetry:duplicate,times=1"},
		{"telemetry:cut,times=2,every=3", "telemetry:cut,every=3,times=2"},
		{"kill:function,invoke=2,after=100ms", "kill:function,invoke=2,after=100ms"},
		{"kill:extension=my-ext", "kill:extension=my-ext"},
		{"next:delay=500ms", "next:delay=500ms"},
		{"init:delay=2s", "init:delay=2s"},
		{"telemetry:drop,seed=42,p=0.1", "telemetry:drop,p=0.1,seed=42"},
	} {
		r, err := Parse(c.text)
		if err != nil {
			t.Errorf("Parse(%q): %v", c.text, err)
		} else if r.String() != c.want {
			t.Errorf("Parse(%q) = %s, want %s", c.text, r, c.want)
		}
	}
}

func TestParseErrorsSayWhatToWrite(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", "write POINT:ACTION"},
		{"telemetry", "no colon"},
		{"disk:full", `unknown point "disk": use one of init, kill, next, record, telemetry`},
		{"telemetry:eat", `unknown action "eat" of telemetry: use one of cut, delay, drop, duplicate`},
		{"telemetry:delay", "telemetry:delay=VALUE"},
		{"telemetry:delay=5", "use a duration such as 200ms"},
		{"telemetry:delay=-1s", "above 0"},
		{"telemetry:delay=1h", "at most 15m0s"},
		{"telemetry:drop=1", "takes no value"},
		{"kill:extension", "kill:extension=VALUE"},
		{"kill:function,every", "write NAME=VALUE"},
		{"kill:function,every=0", "whole number from 1"},
		{"kill:function,when=3", `unknown selector "when"`},
		{"next:delay=1s,after=1s", "after does not go with next: it goes with telemetry, kill"},
		{"init:delay=1s,invoke=1", "invoke does not go with init"},
		{"telemetry:drop,p=0", "p=0 is no chance"},
		{"telemetry:drop,p=NaN", "is no chance"},
		{"telemetry:drop,p=2", "is no chance"},
		{"telemetry:drop,p=0.5,seed=-1", "whole number from 0"},
		{"telemetry:drop,seed=1", "seed without p"},
		{"telemetry:drop,every=1,every=2", "every is given twice"},
	} {
		_, err := Parse(c.text)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "parse fault rule") {
			t.Errorf("Parse(%q): %v, want %q in it", c.text, err, c.want)
		}
	}
}

func TestSelectorsChooseTheMoments(t *testing.T) {
	start := time.Date(2026, 10, 1, 9, 0, 0, 0, time.UTC)
	// Three invocations a second apart, with posts at 0, 50, 100 and 150 ms.
	for _, c := range []struct{ rule, want string }{
		{"telemetry:drop", "xxxx xxxx xxxx"},
		{"telemetry:drop,invoke=2", ".... xxxx ...."},
		{"telemetry:drop,after=100ms", "..xx ..xx ..xx"},
		{"telemetry:drop,every=3", "..x. .x.. x..x"},
		{"telemetry:drop,times=1", "x... .... ...."},
		{"telemetry:drop,every=2,times=2", ".x.x .... ...."},
		{"telemetry:drop,invoke=3,after=50ms,times=2", ".... .... .xx."},
		{"telemetry:drop,p=1", "xxxx xxxx xxxx"},
	} {
		plan := New(mustParse(t, c.rule))
		var got strings.Builder
		for invocation := 1; invocation <= 3; invocation++ {
			at := start.Add(time.Duration(invocation) * time.Second)
			plan.Begin(invocation, at)
			for i := range 4 {
				v := plan.Post(Post{At: at.Add(time.Duration(i) * 50 * time.Millisecond)})
				got.WriteByte(map[bool]byte{true: 'x', false: '.'}[v.Drop])
			}
			got.WriteByte(' ')
		}
		if s := strings.TrimSpace(got.String()); s != c.want {
			t.Errorf("%s: %s, want %s", c.rule, s, c.want)
		}
	}
}

func TestChanceIsRepeatable(t *testing.T) {
	run := func(text string) (string, int) {
		plan := New(mustParse(t, text))
		var s strings.Builder
		for range 1000 {
			if plan.Post(Post{}).Cut {
				s.WriteByte('x')
			} else {
				s.WriteByte('.')
			}
		}
		return s.String(), plan.rules[0].fired
	}
	a, n := run("telemetry:cut,p=0.1,seed=42")
	b, _ := run("telemetry:cut,p=0.1,seed=42")
	c, _ := run("telemetry:cut,p=0.1,seed=43")
	if a != b {
		t.Error("the same seed gave two different runs")
	}
	if a == c {
		t.Error("two seeds gave the same run")
	}
	if n < 50 || n > 200 {
		t.Errorf("p=0.1 came true %d times in 1000", n)
	}
	without := mustParse(t, "telemetry:cut,p=0.1")
	again := mustParse(t, without.String())
	if d := cmp.Diff(without, again, cmp.AllowUnexported(Rule{})); d != "" {
		t.Errorf("the printed rule does not repeat the run: %s", d)
	}
}

func TestEachPointHasItsFaults(t *testing.T) {
	plan := New(mustParse(t, "telemetry:delay=1s"), mustParse(t, "telemetry:delay=2s"), mustParse(t, "telemetry:cut"),
		mustParse(t, "telemetry:duplicate"), mustParse(t, "kill:function,after=10ms"),
		mustParse(t, "kill:extension=a,invoke=2"), mustParse(t, "next:delay=3s"), mustParse(t, "init:delay=4s"),
		mustParse(t, "record:whole,times=1"))
	now := time.Now()
	plan.Begin(1, now)
	want := Verdict{Delay: 3 * time.Second, Cut: true, Duplicate: true}
	if d := cmp.Diff(want, plan.Post(Post{At: now})); d != "" {
		t.Errorf("Post: %s", d)
	}
	if d := plan.Next(now); d != 3*time.Second {
		t.Errorf("Next: %v", d)
	}
	if d := plan.Init(now); d != 4*time.Second {
		t.Errorf("Init: %v", d)
	}
	if first, second := plan.Whole(now), plan.Whole(now); !first || second {
		t.Errorf("Whole: %v, then %v", first, second)
	}
	if d := cmp.Diff([]Kill{{After: 10 * time.Millisecond}}, plan.Kills()); d != "" {
		t.Errorf("Kills in invocation 1: %s", d)
	}
	plan.Begin(2, now)
	if d := cmp.Diff([]Kill{{After: 10 * time.Millisecond}, {Extension: "a"}}, plan.Kills()); d != "" {
		t.Errorf("Kills in invocation 2: %s", d)
	}
	var counts []int
	for _, s := range plan.rules {
		counts = append(counts, s.fired)
	}
	if d := cmp.Diff([]int{1, 1, 1, 1, 2, 1, 1, 1, 1}, counts); d != "" {
		t.Errorf("how often each came true: %s", d)
	}
}

func TestNilPlanHasNoFaults(t *testing.T) {
	var plan *Plan
	plan.Begin(1, time.Now())
	if plan.Post(Post{}) != (Verdict{}) || plan.Next(time.Now()) != 0 || plan.Init(time.Now()) != 0 ||
		plan.Whole(time.Now()) || plan.Kills() != nil {
		t.Error("a nil Plan has faults")
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"telemetry:delay=200ms,every=3", "kill:extension=a,b", "next:delay=1s,p=0.5,seed=7",
		"init:delay=1ns,times=9", ":", "telemetry:drop,,", "telemetry:drop,p=1e-300"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := Parse(text)
		if err != nil {
			return
		}
		again, err := Parse(r.String())
		if err != nil || again != r {
			t.Errorf("Parse(%q) = %s, which reads back as %s, %v", text, r, again, err)
		}
		plan := New(r)
		plan.Begin(1, time.Time{})
		plan.Post(Post{})
		plan.Kills()
	})
}

func mustParse(t *testing.T, text string) Rule {
	t.Helper()
	r, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
