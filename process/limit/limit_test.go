package limit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestText(t *testing.T) {
	for _, tt := range []struct {
		text string
		max  int
		want string // "" for unchanged
	}{
		{"short", 5, ""}, {"", 0, ""}, {"a text of some length", 20, "a text ...[too long]"},
		{"aaaaaéaaaaaaaaaaaaaaaaaaaa", 19, "aaaaa...[too long]"}, {"aaaaaéaaaaaaaaaaaaaaaaaaaa", 20, "aaaaaé...[too long]"},
		{"😀😀😀😀😀😀😀😀", 16, "...[too long]"}, {"😀😀😀😀😀😀😀😀", 17, "😀...[too long]"}, {"too long", 3, "..."},
		{strings.Repeat("\x80", 30), 20, strings.Repeat("\x80", 7) + suffix},
	} {
		got, cut := Text([]byte("> "), []byte(tt.text), tt.max)
		if want := "> " + tt.want; string(got) != want || cut != (tt.want != "") {
			t.Errorf("%s to %d: %q, not %q", tt.text, tt.max, got, want)
		}
	}
}

func TestJSON(t *testing.T) {
	long := strings.Repeat("x", 200)
	for _, tt := range []struct{ in, want string }{
		{`"` + long + `"`, `"` + long[:85] + `...[too long]"`},
		{`  "` + long + `\n"`, `"` + long[:85] + `...[too long]"`},
		{`{"message":"` + long + `","level":"ERROR","n":1}`,
			`{"message":"` + long[:15] + `...[too long]","level":"ERROR","n":1,"slipstream.truncated":true}`},
		{`{"` + long + `":1,"a":[2,{ }]}`, `{"a":[2,{}],"slipstream.truncated":true}`},
		{`[` + strings.Repeat(`123456789,`, 20) + `1]`, `[` + strings.Repeat(`123456789,`, 6) + `123456789]`},
		{`{"a":{"b":{"c":"` + long + `"}},"d":null}`,
			`{"a":{"b":{"c":"` + long[:12] + `...[too long]"}},"d":null,"slipstream.truncated":true}`},
		{`no json ` + long, `"no json ` + long[:77] + `...[too long]"`},
		{`{"cut":"` + long, `"{\"cut\":\"` + long[:74] + `...[too long]"`},
		{strings.Repeat("9", 200), `"` + strings.Repeat("9", 85) + `...[too long]"`},
	} {
		got, cut := JSON([]byte("> "), []byte(tt.in), 100)
		if string(got) != "> "+tt.want || !cut {
			t.Errorf("%s became\n%s, not\n> %s", tt.in, got, tt.want)
		}
	}
	if got, cut := JSON([]byte("> "), []byte(`{"a":1}`), 7); cut || string(got) != "> " {
		t.Errorf("%q, %v", got, cut)
	}
}

// No escape is cut, wherever the limit is.
func TestJSONEscapes(t *testing.T) {
	const pieces = `a\n\"\\\\\u00e9\ud83d\ude00é😀\u0000\ud800x\udc00\ud800\u0041`
	for max := 64; max < 200; max++ {
		got, _ := JSON(nil, []byte(`"`+strings.Repeat(pieces, 9)+`"`), max)
		var text, whole string
		if err := json.Unmarshal(got, &text); err != nil || len(got) > max || len(got) < max-12 {
			t.Fatalf("%d: %s, %v", max, got, err)
		}
		if err := json.Unmarshal([]byte(`"`+strings.Repeat(pieces, 9)+`"`), &whole); err != nil {
			t.Fatal(err)
		}
		if text = strings.TrimSuffix(text, suffix); !strings.HasPrefix(whole, text) {
			t.Fatalf("%d: %q is not the beginning", max, text)
		}
	}
}

func FuzzJSON(f *testing.F) {
	f.Add([]byte(`{"a":"`+strings.Repeat(`\ud83d\ude00`, 20)+`","b":[1,{"c":null}]}`), 70)
	f.Add([]byte(`"`+strings.Repeat("é", 99)+`"`), 80)
	f.Add([]byte(strings.Repeat("7", 99)), 80)
	f.Add([]byte(`{"a":`+strings.Repeat("[", 70)+strings.Repeat("]", 70)+`}`), 64)
	f.Fuzz(func(t *testing.T, value []byte, max int) {
		got, cut := JSON(nil, value, max)
		if !cut {
			if len(value) > maxOf(max, minJSON) || len(got) > 0 {
				t.Fatalf("%d bytes are not cut to %d", len(value), max)
			}
			return
		}
		if limit := maxOf(max, minJSON); !json.Valid(got) || len(got) > limit {
			t.Fatalf("%q became %d bytes: %q", value, len(got), got)
		}
		if text, cut := Text(nil, value, maxOf(max, 0)); !cut || len(text) > maxOf(max, 0) ||
			utf8.Valid(value) && !utf8.Valid(text) {
			t.Fatalf("%q became %q", value, text)
		}
	})
}

func maxOf(a, b int) int { return max(a, b) }

func TestAllocatesNothing(t *testing.T) {
	text := []byte(`{"a":"` + strings.Repeat("x", 5000) + `"}`)
	dst := make([]byte, 0, 8192)
	b, now := NewBudget(Default()), time.Unix(0, 0)
	b.Take("r", now, Span{Size: 1})
	for name, f := range map[string]func(){
		"text":   func() { dst, _ = Text(dst[:0], text, 2048) },
		"JSON":   func() { dst, _ = JSON(dst[:0], text, 2048) },
		"budget": func() { b.Take("r", now, Span{Size: 1}) },
	} {
		if n := testing.AllocsPerRun(20, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// The order in which spans are given up as the budget is spent.
func TestBudgetGivesUpInOrder(t *testing.T) {
	l := Limits{Bytes: 1000, BytesOnError: 2050, Spans: 100, SpansOnError: 110}
	ordinary, plain := Span{Size: 100, Bare: 20}, Span{Size: 20, Bare: 20}
	failed := Span{Size: 100, Bare: 20, Reserved: true}
	now := time.Unix(0, 0)
	b := NewBudget(l)
	var got []string
	take := func(name string, s Span) {
		n, last := 0, Verdict(99)
		for ; n < 200; n++ {
			v := b.Take("r", now, s)
			if last != 99 && v != last {
				break
			}
			last = v
		}
		got = append(got, fmt.Sprint(name, " ", last, n))
	}
	take("ordinary", ordinary) // 7 are whole, then one is bare
	take("ordinary", ordinary)
	take("plain", plain)
	take("failed", failed)
	take("failed", failed)
	take("failed", failed)
	// The call that found the next verdict has paid too: 7 whole ones and 15 bare ones are 1000 bytes, 10 whole ones
	// and 2 bare ones 1040 of the reserve.
	want := []string{"ordinary 0 7", "ordinary 1 14", "plain 2 200", "failed 0 10", "failed 1 1", "failed 2 200"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if v := b.Take("other", now, ordinary); v != Whole {
		t.Errorf("another invocation pays too: %d", v)
	}
	b.Done("r")
	if v := b.Take("r", now, ordinary); v != Whole {
		t.Errorf("a finished invocation pays still: %d", v)
	}
	for range 500 {
		if v := b.Take("", now, Span{Size: 1000, Bare: 1}); v != Whole {
			t.Fatalf("spans of no invocation: %d", v)
		}
	}
}

func TestBudgetCountsSpans(t *testing.T) {
	b, now := NewBudget(Limits{Spans: 10, SpansOnError: 12}), time.Unix(0, 0)
	var got []Verdict
	for i := range 15 {
		got = append(got, b.Take("r", now, Span{Size: 1 << 20, Reserved: i > 10}))
	}
	if want := []byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 2, 2}; !bytes.Equal(want, bytesOf(got)) {
		t.Errorf("%v, not %v", got, want)
	}
	if v := b.Take("r", now.Add(longest+1), Span{}); v != Whole {
		t.Error("an invocation that cannot run any more is not over")
	}
}

func bytesOf(all []Verdict) (b []byte) {
	for _, v := range all {
		b = append(b, byte(v))
	}
	return b
}

func TestBudgetIsBounded(t *testing.T) {
	b, now := NewBudget(Limits{Spans: 1}), time.Unix(0, 0)
	b.Take("first", now, Span{})
	for i := range 10 * maxInvocations {
		b.Take("first", now.Add(time.Duration(i)), Span{}) // the busy one stays
		b.Take(fmt.Sprint(i), now.Add(time.Duration(i)), Span{})
	}
	if len(b.invocations) != maxInvocations || b.Take("first", now, Span{}) != Dropped {
		t.Errorf("%d invocations; the first is remembered: %v", len(b.invocations), b.invocations["first"])
	}
}

func TestDefault(t *testing.T) {
	want := Limits{Attribute: 32768, Body: 2048, BodyOnError: 4096, Record: 1048576, Spans: 2000, SpansOnError: 2200,
		Bytes: 512000, BytesOnError: 1013760}
	if diff := cmp.Diff(want, Default()); diff != "" {
		t.Error(diff)
	}
}

func BenchmarkJSON(b *testing.B) {
	value := []byte(`{"message":"` + strings.Repeat("a line of text. ", 20_000) + `","level":"INFO"}`)
	dst := make([]byte, 0, 1<<20)
	b.SetBytes(int64(len(value)))
	b.ReportAllocs()
	for b.Loop() {
		dst, _ = JSON(dst[:0], value, 256<<10)
	}
}
