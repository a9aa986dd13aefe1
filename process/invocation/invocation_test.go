package invocation

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipstream/telemetry"
	"slipstream/wire"
)

var seed = flag.Uint64("seed", 0, "of the random exports; 0 takes the clock")

// span is one in OTLP/JSON: "name", "name@invocation", "name/t" of a trace, "name+ms"
// that long after the epoch, with an exclamation mark in front if it failed.
func span(word string) string {
	word, failed := strings.CutPrefix(word, "!")
	word, ms, timed := strings.Cut(word, "+")
	rest, trace, traced := strings.Cut(word, "/")
	name, id, named := strings.Cut(rest, "@")
	text := fmt.Sprintf(`{"name":%q`, name)
	if named {
		key := "faas.invocation_id"
		if id, named = strings.CutPrefix(id, "old-"); named {
			key = "faas.execution"
		}
		text += fmt.Sprintf(`,"attributes":[{"key":%q,"value":{"stringValue":%q}}]`, key, id)
	}
	if traced {
		text += fmt.Sprintf(`,"traceId":"%032x"`, trace)
	}
	if timed {
		text += fmt.Sprintf(`,"startTimeUnixNano":"%s000000"`, ms)
	}
	if failed {
		text += `,"status":{"code":2}`
	}
	return text + "}"
}

// export makes one of spans, in two scopes if there is a bar between them.
func export(t testing.TB, words string) *telemetry.Export {
	t.Helper()
	var scopes []string
	for _, scope := range strings.Split(words, " | ") {
		var spans []string
		for _, word := range strings.Fields(scope) {
			spans = append(spans, span(word))
		}
		scopes = append(scopes, `{"spans":[`+strings.Join(spans, ",")+`]}`)
	}
	return fromJSON(t, telemetry.Traces, `{"resourceSpans":[{"scopeSpans":[`+strings.Join(scopes, ",")+`]}]}`)
}

func fromJSON(t testing.TB, signal telemetry.Signal, text string) *telemetry.Export {
	t.Helper()
	body, err := wire.ExportFromJSON(nil, signal, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	n, err := wire.CheckExport(signal, body)
	if err != nil {
		t.Fatal(err)
	}
	return &telemetry.Export{Signal: signal, Records: n, Body: body}
}

var nameOf = regexp.MustCompile(`"name":"([^"]+)"`)

// names are those of an export's spans.
func names(t testing.TB, x *telemetry.Export) string {
	t.Helper()
	if n, err := wire.CheckExport(x.Signal, x.Body); err != nil || n != x.Records {
		t.Fatalf("%d records, not %d: %v", n, x.Records, err)
	}
	text, err := wire.ExportToJSON(nil, x.Signal, x.Body)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, m := range nameOf.FindAllSubmatch(text, -1) {
		all = append(all, string(m[1]))
	}
	return strings.Join(all, " ")
}

// history is one of one invocation a second.
func history(ids ...string) *History {
	h := &History{}
	for i, id := range ids {
		h.Begin(id, time.Unix(int64(i+1), 0))
	}
	return h
}

// told is what a Divider makes of an export: "invocation: names; …".
func told(t testing.TB, d *Divider, x *telemetry.Export, invocations ...string) string {
	t.Helper()
	var all []string
	for i, p := range d.Read(x, history(invocations...), time.UnixMilli(9500)) {
		cut := d.Cut(x, func(part int) bool { return part == i })
		if cut.Records != p.Records {
			t.Fatalf("part %+v has %d records", p, cut.Records)
		}
		mark := ""
		if p.Failed {
			mark = "!"
		}
		if !p.At.IsZero() && p.At != time.UnixMilli(9500) {
			p.RequestID += fmt.Sprintf("+%d", p.At.UnixMilli())
		}
		all = append(all, fmt.Sprintf("%s%s: %s", mark, p.RequestID, names(t, &cut)))
	}
	return strings.Join(all, "; ")
}

func TestDivide(t *testing.T) {
	for _, tt := range []struct{ name, words, want string }{
		{"nothing says anything", "a b | c", "now: a b c"},
		{"a name is believed", "a@one b@two | c@one", "one: a c; two: b"},
		{"so is that of older SDKs", "a@old-one b", "one: a; now: b"},
		{"a trace joins", "a/1 b/2 | c@one/1 d@two/2", "one: a c; two: b d"},
		{"a trace of two invocations does not", "a/1 b@one/1 c@two/1", "one: b; two: c; now: a"},
		{"an error is its own invocation's", "!a/1 b@one/1 !c d@two", "!one: a b; two: d; !now: c"},
		{"else the time tells", "a+1000 b+1500 c+2000 d@one+2500 | e+1799 f+2001 g+9000",
			"one: d; one+1799: a b e; now+9000: c f g"},
		{"it is that of the last one", "a+1800 !b+1999 c+2000", "!one+1999: a b; now+2000: c"},
		{"before the first it is nobody's", "a+799 b+999 c+1000", ": a b; one+1000: c"},
		{"a trace tells more than the time", "a/1+1000 b@now/1+2000", "now: a b"},
		{"an id that is too long is none", "a@" + strings.Repeat("x", maxID+1) + " b@" + strings.Repeat("y", maxID),
			strings.Repeat("y", maxID) + ": b; now: a"},
		{"nor is an empty one", "a@ b", "now: a b"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := told(t, New(), export(t, tt.words), "one", "now"); got != tt.want {
				t.Errorf("%s\n gave %s\n want %s", tt.words, got, tt.want)
			}
		})
	}
}

// A trace is remembered from one export to the next, so many of them.
func TestTracesAreRemembered(t *testing.T) {
	d := New()
	told(t, d, export(t, "root@one/1"), "one")
	if got := told(t, d, export(t, "late/1 other/2"), "two"); got != "one: late; two: other" {
		t.Errorf("late: %s", got)
	}
	for i := range maxTraces {
		told(t, d, export(t, fmt.Sprintf("root@x/n%d", i)), "x")
	}
	if got := told(t, d, export(t, "late/1"), "two"); got != "two: late" {
		t.Errorf("forgotten: %s", got)
	}
}

func TestLogs(t *testing.T) {
	x := fromJSON(t, telemetry.Logs, `{"resourceLogs":[{"scopeLogs":[{"logRecords":[`+
		`{"severityNumber":17,"body":{"kvlistValue":{"values":[`+
		`{"key":"faas.invocation_id","value":{"stringValue":"one"}}]}}},`+
		`{"traceId":"0102030405060708090a0b0c0d0e0f10","severityNumber":9}]}]}]}`)
	now := time.UnixMilli(9500)
	want := []Part{{RequestID: "one", Failed: true, Records: 1}, {RequestID: "now", At: now, Records: 1}}
	if diff := cmp.Diff(want, New().Read(x, history("now"), now)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	x = fromJSON(t, telemetry.Logs, `{}`)
	if got := New().Read(x, history("now"), time.Now()); len(got) != 0 {
		t.Errorf("nothing has parts: %+v", got)
	}
}

// However many invocations there are: each record is in one part, and what is
// more than can be told apart is of nobody knows which.
func TestTooMany(t *testing.T) {
	var words []string
	for i := range maxParts + 50 {
		words = append(words, fmt.Sprintf("s%d@i%d", i, i))
	}
	x := export(t, strings.Join(words, " "))
	parts := New().Read(x, history("now"), time.Now())
	if len(parts) != maxParts || parts[maxParts-1] != (Part{Records: 51}) {
		t.Errorf("%d parts, the last is %+v", len(parts), parts[len(parts)-1])
	}
}

// Any cut and the rest of it are the whole, in order.
func TestCutsAreTheWhole(t *testing.T) {
	from := *seed
	if from == 0 {
		from = uint64(time.Now().UnixNano())
	}
	t.Logf("go test ./process/invocation -seed=%d", from)
	r := rand.New(rand.NewPCG(from, 1))
	d := New()
	for range 300 {
		var words []string
		for i := range 1 + r.IntN(30) {
			word := fmt.Sprintf("s%d", i)
			if r.IntN(2) == 0 {
				word += fmt.Sprintf("@i%d", r.IntN(6))
			}
			if r.IntN(2) == 0 {
				word += fmt.Sprintf("/%d", r.IntN(6))
			}
			if words = append(words, word); r.IntN(6) == 0 {
				words = append(words, "|")
			}
		}
		text := strings.TrimSuffix(strings.Join(words, " "), " |")
		x := export(t, text)
		parts := d.Read(x, history("now"), time.Now())
		which := r.Uint64()
		var both [2]string
		for i := range both {
			cut := d.Cut(x, func(part int) bool { return which>>part&1 == uint64(i) })
			both[i] = names(t, &cut)
		}
		seen := map[string]bool{}
		for _, name := range strings.Fields(both[0] + " " + both[1]) {
			if seen[name] {
				t.Fatalf("%s is in both of %q, which are parts of %s", name, both, text)
			}
			seen[name] = true
		}
		sum := 0
		for _, p := range parts {
			sum += p.Records
		}
		if len(seen) != x.Records || sum != x.Records {
			t.Fatalf("%d of %d records, %d by parts: %q of %s", len(seen), x.Records, sum, both, text)
		}
		whole := d.Cut(x, func(int) bool { return true })
		if diff := cmp.Diff(*x, whole); diff != "" {
			t.Fatalf("the whole (-want +got):\n%s", diff)
		}
	}
}

// Only names of invocations are new memory, once each.
func TestAllocations(t *testing.T) {
	d := New()
	x := export(t, "a/1 b@one/1 c@two/2 d")
	wanted, h := func(part int) bool { return part == 0 }, history("now")
	if n := testing.AllocsPerRun(100, func() { d.Read(x, h, time.Time{}); d.Cut(x, wanted) }); n > 2 {
		t.Errorf("%v allocations", n)
	}
}

// A History knows its last invocations; what was before all of them is of none.
func TestHistory(t *testing.T) {
	h := &History{}
	if id := h.At(time.Now()); id+h.Current()+h.Next("") != "" {
		t.Errorf("an empty one knows %q", id)
	}
	const all = 100
	for i := range all {
		h.Begin(fmt.Sprint(i), time.Unix(int64(i), 0))
	}
	for i := range all {
		want, next := fmt.Sprint(i), fmt.Sprint(i+1)
		if i < all-len(h.begun) {
			want, next = "", ""
		}
		if i == all-1 {
			next = ""
		}
		for _, ns := range []int64{0, 999_999_999} {
			if id := h.At(time.Unix(int64(i), ns)); id != want {
				t.Errorf("in %d it was %q", i, id)
			}
		}
		if got := h.Next(fmt.Sprint(i)); got != next {
			t.Errorf("after %d came %q", i, got)
		}
	}
	if h.Current() != "99" {
		t.Errorf("now it is %q", h.Current())
	}
}
