package filter

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipstream/process/parse"
	"slipstream/telemetry"
)

var seed = flag.Uint64("seed", 0, "of the random records and rules; 0 takes the clock")

const rules = `[
  {"drop":{"type":"platform.start"}},
  {"keep":{"level":">=warn"}},
  {"drop":{"field":"path","equals":"/health"}},
  {"drop":{"message":"~^DEBUG"}}
]`

func TestFirstRuleDecides(t *testing.T) {
	f, errs := New(rules)
	if errs != nil {
		t.Fatal(errs)
	}
	p := &parse.Parser{}
	for _, tt := range []struct {
		kind, body string
		keep       bool
	}{
		{"platform.start", `{"requestId":"x"}`, false},
		{"platform.report", `{"requestId":"x"}`, true},
		{"function", `{"level":"error","message":"x","path":"/health"}`, true},
		{"function", `{"level":"info","message":"x","path":"/health"}`, false},
		{"function", `"{\"level\":\"info\",\"message\":\"x\",\"path\":\"/health\"}\n"`, false},
		{"function", `"DEBUG x"`, false},
		{"function", `"x DEBUG"`, true},
	} {
		l := telemetry.Log{Type: tt.kind, Body: []byte(tt.body)}
		p.Parse(&l)
		if f.Keep(&l) != tt.keep {
			t.Errorf("%s %s: keep is not %v", tt.kind, tt.body, tt.keep)
		}
	}
	want := []Count{
		{`1 {"drop":{"type":"platform.start"}}`, true, 1}, {`2 {"keep":{"level":">=warn"}}`, false, 1},
		{`3 {"drop":{"field":"path","equals":"/health"}}`, true, 2}, {`4 {"drop":{"message":"~^DEBUG"}}`, true, 1},
	}
	if diff := cmp.Diff(want, f.Counts()); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
}

// A rule that cannot be read never makes a record drop that would be kept with it.
func TestBadRulesKeepMore(t *testing.T) {
	for _, tt := range []struct {
		rules, problem string
		keep           bool // of a line of no level
	}{
		{"", "", true},
		{" [] ", "", true},
		{"[{}", "nothing is dropped", true},
		{`{"drop":{}}`, "nothing is dropped", true},
		{`[{"drop":{}}]`, "", false},
		{`[{"drop":{"level":"loud"}}]`, "left out", true},
		{`[{"drop":{"level":"loud"}},{"drop":{}}]`, "rule 1 of the filter", false},
		{`[{"keep":{"level":"loud"}},{"drop":{}}]`, "keeps whatever", true},
		{`[{"kepe":{"level":"warn"}},{"drop":{}}]`, "nothing else", true},
		{`[{"keep":{},"drop":{}},{"drop":{}}]`, "nothing else", true},
		{`["drop",{"drop":{}}]`, "keeps whatever", true},
		{`[{"drop":null},{"keep":{}}]`, "left out", true},
		{`[{"keep":{"type":"function"}},{"drop":{}}]`, "", true},
		{"[" + strings.Repeat(`{"drop":{"type":"extension"}},`, maxRules) + `{"drop":{}}]`, "at most 100", true},
	} {
		f, errs := New(tt.rules)
		if got := fmt.Sprint(errs); tt.problem == "" && errs != nil || !strings.Contains(got, tt.problem) || len(errs) > 1 {
			t.Errorf("%.80s: errors %v, want one with %q", tt.rules, errs, tt.problem)
		}
		if keep := f.Keep(&telemetry.Log{Type: "function", Body: []byte(`"x"`)}); keep != tt.keep {
			t.Errorf("%.80s keeps: %v", tt.rules, keep)
		}
	}
}

// Records in are records kept and records that one rule each has dropped; and
// with any rule made unreadable no other record is dropped.
func TestCountsAreExact(t *testing.T) {
	s := *seed
	if s == 0 {
		s = uint64(time.Now().UnixNano())
	}
	t.Logf("go test ./process/filter -seed=%d", s)
	r := rand.New(rand.NewPCG(s, 0))
	conditions := []string{`{"level":">=warn"}`, `{"level":"<info"}`, `{"message":"a"}`, `{"message":"~b+"}`, `{}`,
		`{"type":"platform.*"}`, `{"field":"n","above":5}`, `{"field":"n","exists":false}`}
	for range 300 {
		var list []string
		for range r.IntN(6) {
			list = append(list, fmt.Sprintf(`{"%s":%s}`, []string{"drop", "keep"}[r.IntN(2)],
				conditions[r.IntN(len(conditions))]))
		}
		whole, errs := New("[" + strings.Join(list, ",") + "]")
		if errs != nil {
			t.Fatal(errs)
		}
		broken := whole
		if len(list) > 0 {
			at := r.IntN(len(list))
			list[at] = strings.Replace(list[at], "{", `{"typo":0,`, 2)
			if broken, errs = New("[" + strings.Join(list, ",") + "]"); len(errs) != 1 {
				t.Fatalf("%v: %v", list, errs)
			}
		}
		in, kept := 200, 0
		for range in {
			l := telemetry.Log{Type: []string{"function", "platform.end"}[r.IntN(2)], Level: telemetry.Level(r.IntN(25)),
				Body: []byte(`{}`), Message: fmt.Appendf(nil, "%q", []string{"abba", "x", ""}[r.IntN(3)])}
			if r.IntN(2) == 0 {
				l.Fields = []telemetry.Field{{Key: []byte("n"), Value: fmt.Append(nil, r.IntN(10))}}
			}
			keep := whole.Keep(&l)
			if keep {
				kept++
			}
			if broken != whole && keep && !broken.Keep(&l) {
				t.Fatalf("%v drops %+v", list, l)
			}
		}
		dropped := 0
		for _, c := range whole.Counts() {
			if c.Drops {
				dropped += c.Records
			}
		}
		if in != kept+dropped {
			t.Fatalf("%d in, %d kept, %d dropped by the rules", in, kept, dropped)
		}
	}
}

func TestNoAllocations(t *testing.T) {
	f, errs := New(rules)
	if errs != nil {
		t.Fatal(errs)
	}
	l := telemetry.Log{Type: "function", Level: 9, Body: []byte(`"a line \"with\" quotes\n"`)}
	if n := testing.AllocsPerRun(100, func() { f.Keep(&l) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkKeep(b *testing.B) {
	f, _ := New(rules)
	l := telemetry.Log{Type: "function", Level: 9, Message: []byte(`"order placed"`), Body: []byte(`{}`),
		Fields: []telemetry.Field{{Key: []byte("path"), Value: []byte(`"/orders"`)}}}
	for b.Loop() {
		f.Keep(&l)
	}
}
