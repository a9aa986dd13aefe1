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

// span is one in OTLP/JSON: "name", "name@invocation", "name/t" of a trace, with an
// exclamation mark in front if it failed.
func span(word string) string {
	word, failed := strings.CutPrefix(word, "!")
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

// told is what a Divider makes of an export: "invocation: names; …".
func told(t testing.TB, d *Divider, x *telemetry.Export, current string) string {
	t.Helper()
	var all []string
	for i, p := range d.Read(x, current) {
		cut := d.Cut(x, func(part int) bool { return part == i })
		if cut.Records != p.Records {
			t.Fatalf("part %+v has %d records", p, cut.Records)
		}
		mark := ""
		if p.Failed {
			mark = "!"
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
		{"an id that is too long is none", "a@" + strings.Repeat("x", maxID+1) + " b@" + strings.Repeat("y", maxID),
			strings.Repeat("y", maxID) + ": b; now: a"},
		{"nor is an empty one", "a@ b", "now: a b"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := told(t, New(), export(t, tt.words), "now"); got != tt.want {
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
	got := fmt.Sprintf("%+v", New().Read(x, "now"))
	if want := "[{RequestID:one Failed:true Records:1} {RequestID:now Failed:false Records:1}]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	x = fromJSON(t, telemetry.Logs, `{}`)
	if got := New().Read(x, "now"); len(got) != 0 {
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
	parts := New().Read(x, "now")
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
		parts := d.Read(x, "now")
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
	wanted := func(part int) bool { return part == 0 }
	if n := testing.AllocsPerRun(100, func() { d.Read(x, "now"); d.Cut(x, wanted) }); n > 2 {
		t.Errorf("%v allocations", n)
	}
}
