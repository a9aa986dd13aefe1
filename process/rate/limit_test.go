package rate

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipstream/telemetry"
)

var seed = flag.Uint64("seed", 0, "of the random records; 0 takes the clock")

var epoch = time.Date(2026, 10, 1, 9, 0, 0, 0, time.UTC)

func newRandom(t *testing.T) *rand.Rand {
	s := *seed
	if s == 0 {
		s = uint64(time.Now().UnixNano())
	}
	t.Logf("go test ./process/rate -seed=%d", s)
	return rand.New(rand.NewPCG(s, 0))
}

func line(id, text string) *telemetry.Log {
	body, err := json.Marshal(text)
	if err != nil {
		panic(err)
	}
	return &telemetry.Log{Time: epoch, Type: "function", RequestID: id, Body: body}
}

func limiter(t *testing.T, rules string) *Limiter { return windowed(t, rules, 10*time.Second) }

func windowed(t *testing.T, rules string, window time.Duration) *Limiter {
	t.Helper()
	l, errs := NewLimiter(rules, window)
	if errs != nil {
		t.Fatal(errs)
	}
	return l
}

// summary is what a record of a cut says.
type summary struct {
	Records int
	Keys    []cutKey
	More    int `json:"more_records"`
}

func read(t *testing.T, l *telemetry.Log) (s summary) {
	t.Helper()
	if l.Type != CutType || l.Level != telemetry.LevelWarn {
		t.Errorf("a summary is %s of level %d", l.Type, l.Level)
	}
	if err := json.Unmarshal(l.Body, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestTokenBucket(t *testing.T) {
	l := limiter(t, `[{"limit":{},"records":10,"burst":3}]`)
	now, passed := epoch, ""
	for _, after := range []time.Duration{0, 0, 0, 0, 99, 1, 0, 250, 0, 0, 10_000, 0, 0, 0} {
		now = now.Add(after * time.Millisecond)
		if l.Allow(line("", "x"), now) {
			passed += "+"
		} else {
			passed += "-"
		}
	}
	if want := "+++--+-++-+++-"; passed != want {
		t.Errorf("%s, want %s", passed, want)
	}
	if cut := l.Cut(); cut[0] != strings.Count(passed, "-") {
		t.Errorf("%d cut", cut[0])
	}
}

func TestKeysAndSummary(t *testing.T) {
	l := limiter(t, `[{"limit":{"level":">=warn"},"records":1000},
		{"limit":{"message":"order"},"records":1,"every":"1h","per":"message"},
		{"limit":{"field":"user.id","exists":true},"records":1,"per":"user.id"},
		{"limit":{"message":"chatty"},"records":1,"per":"request"}]`)
	user := line("a", "x")
	user.Fields = []telemetry.Field{{Key: []byte("user"), Value: []byte(`{"id":"u-7"}`)}}
	warning := line("a", "order 1 failed")
	warning.Level = telemetry.LevelWarn
	passed := ""
	for _, log := range []*telemetry.Log{line("a", "order 1 placed\n"),
		line("b", "order 22-af placed"), line("a", "order 3 gone"), user, user, user, warning, warning,
		line("a", "chatty"), line("b", "chatty"), line("a", "chatty 2"),
		line("a", "none of these")} {
		if l.Allow(log, epoch) {
			passed += "+"
		} else {
			passed += "-"
		}
	}
	if want := "+-++--++++-+"; passed != want {
		t.Errorf("%s, want %s", passed, want)
	}
	var out []*telemetry.Log
	emit := func(l *telemetry.Log) { out = append(out, l) }
	l.Tick(epoch.Add(9999*time.Millisecond), emit)
	if at := l.Deadline(); len(out) > 0 || !at.Equal(epoch.Add(10*time.Second)) {
		t.Fatalf("a summary before %v", at)
	}
	l.Tick(epoch.Add(10*time.Second), emit)
	l.Tick(epoch.Add(99*time.Second), emit)
	l.Finish(emit)
	if len(out) != 1 || !l.Deadline().IsZero() {
		t.Fatalf("%d summaries", len(out))
	}
	want := summary{4, []cutKey{{3, "u-7", 2}, {2, "order # placed", 1}, {4, "a", 1}}, 0}
	if diff := cmp.Diff(want, read(t, out[0])); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Keys are bounded: what has none shares one, and idle ones make room.
func TestKeysAreBounded(t *testing.T) {
	l := limiter(t, `[{"limit":{},"records":1,"per":"request"}]`)
	passed := 0
	for i := range maxKeys + 10 {
		if l.Allow(line(fmt.Sprint(i), "x"), epoch) {
			passed++
		}
	}
	if passed != maxKeys+1 || len(l.buckets) != maxKeys {
		t.Errorf("%d passed, %d keys", passed, len(l.buckets))
	}
	if l.Allow(line("new", "x"), epoch.Add(999*time.Millisecond)) || !l.Allow(line("new", "x"), epoch.Add(time.Second)) ||
		len(l.buckets) != 1 {
		t.Errorf("%d keys when all are idle", len(l.buckets))
	}
	var got summary
	l.Finish(func(log *telemetry.Log) { got = read(t, log) })
	if diff := cmp.Diff(summary{10, []cutKey{{1, "(others)", 10}}, 0}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestPatterns(t *testing.T) {
	for text, want := range map[string]string{
		"order 42 placed": "order # placed", "3b0e4c1d-0a53: x=1,y=2.5": "#: x=#,y=#.#", "v1 abc": "# abc", "": "",
		"naïve1 é": "# é", "user-7a/b": "#/b", strings.Repeat("ab ", 200): strings.Repeat("ab ", 200)[:maxKeyBytes],
	} {
		if got := string(appendPattern([]byte("k"), []byte(text))); got != "k"+want {
			t.Errorf("%q became %q", text, got)
		}
	}
}

func TestBadLimitsCutLess(t *testing.T) {
	for rules, want := range map[string]string{
		`[{"limit":{},"records":1}`: "nothing is limited", `[{"limit":{},"records":0}]`: "1 to 1000000",
		`[{"limit":{},"records":1,"every":"soon"}]`: "duration", `[{"limit":{},"records":1,"burst":-1}]`: "burst",
		`[{"records":1}]`:                 "condition",
		`[{"limit":{},"rate":1}]`:         "records, every",
		`[{"limit":{"x":1},"records":1}]`: "type, level",
		`[{"limit":{"level":"x"},"records":9},{"limit":{},"records":1}]`: "rate limit 1",
		"[" + strings.Repeat(`{"limit":{"type":"extension"},"records":1},`, maxRules) +
			`{"limit":{},"records":1}]`: "at most 100",
	} {
		l, errs := NewLimiter(rules, time.Second)
		if len(errs) != 1 || !strings.Contains(errs[0].Error(), want) {
			t.Errorf("%.80s: %v, want %q", rules, errs, want)
		}
		for range 3 {
			if !l.Allow(line("", "x"), epoch) {
				t.Errorf("%.80s cuts", rules)
			}
		}
	}
	if l, errs := NewLimiter(" ", time.Second); errs != nil || !l.Allow(line("", "x"), epoch) {
		t.Error("no rules")
	}
}

// Records in are records through and those that the summaries tell of, and no key
// gets more than its rate and burst.
func TestCutsAreExact(t *testing.T) {
	r := newRandom(t)
	for range 100 {
		burst, records := 1+r.IntN(5), 1+r.IntN(50)
		rules := fmt.Sprintf(`[{"limit":{},"records":%d,"burst":%d,"per":"request"}]`, records, burst)
		l := windowed(t, rules, time.Duration(1+r.IntN(1000))*time.Millisecond)
		now, passed, told := epoch, map[string]int{}, 0
		emit := func(log *telemetry.Log) { told += read(t, log).Records }
		const in = 500
		for range in {
			id := fmt.Sprint(r.IntN(4))
			if l.Allow(line(id, "x"), now) {
				passed[id]++
			}
			now = now.Add(time.Duration(r.IntN(20)) * time.Millisecond)
			l.Tick(now, emit)
		}
		l.Finish(emit)
		through := 0
		for id, n := range passed {
			through += n
			if most := float64(burst) + now.Sub(epoch).Seconds()*float64(records) + 1; float64(n) > most {
				t.Fatalf("%d of %s, at most %v", n, id, most)
			}
		}
		if through+told != in || l.Cut()[0] != told {
			t.Fatalf("%d in, %d through, %d told, %v cut", in, through, told, l.Cut())
		}
	}
}

func TestNoAllocations(t *testing.T) {
	l := limiter(t, `[{"limit":{"level":">=error"},"records":1},{"limit":{},"records":1000000,"per":"message"}]`)
	passed := line("a", "order 42 \"placed\"\n")
	repeats := NewRepeats(time.Second, func(*telemetry.Log) {})
	texts := []*telemetry.Log{line("a", "one"), line("a", "two")}
	for name, f := range map[string]func(){
		"Allow":        func() { l.Allow(passed, epoch) },
		"Add":          func() { repeats.Add(texts[0], epoch); repeats.Add(texts[1], epoch) },
		"Add, held":    func() { repeats.Add(texts[1], epoch) },
		"Deadline":     func() { repeats.Deadline() },
		"Tick, no end": func() { repeats.Tick(epoch) },
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkAllow(b *testing.B) {
	l, _ := NewLimiter(`[{"limit":{},"records":1000000,"per":"message"}]`, time.Second)
	passed := line("a", "order 42 placed by customer c-0000007 in 17 ms")
	for b.Loop() {
		l.Allow(passed, epoch)
	}
}
