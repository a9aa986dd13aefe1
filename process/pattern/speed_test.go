package pattern_test

import (
	"strings"
	"testing"

	"slipstream/process/pattern"
)

// typical are patterns with a line that matches and the value that is taken from it.
var typical = []struct{ name, pattern, line, selector string }{
	{"terms", `ERROR -"not found" "timed out"`, "2026-01-01 ERROR the request timed out after 3 s", ""},
	{"regexp", `%timed\sout\safter\s[0-9]+%`, "2026-01-01 ERROR the request timed out after 3 s", ""},
	{"json", `{ $.user.email = "John*" && $.users[*].id = 3 }`, people, "$.user.email"},
	{"fields", "[level=METRIC, timestamp, request_id, metric_name, metric_value > 0.5]", metric, "$metric_value"},
	{"ellipsis", "[..., request =*.html*, status_code = 4*, bytes]", apache, "$bytes"},
}

func compile(tb testing.TB, text, selector string) (*pattern.Pattern, *pattern.Selector) {
	tb.Helper()
	p, err := pattern.Compile(text)
	if err != nil {
		tb.Fatal(err)
	}
	if selector == "" {
		return p, nil
	}
	s, err := p.Selector(selector)
	if err != nil {
		tb.Fatal(err)
	}
	return p, s
}

func TestNoAllocation(t *testing.T) {
	for _, tt := range typical {
		p, s := compile(t, tt.pattern, tt.selector)
		line := []byte(tt.line)
		if n := testing.AllocsPerRun(100, func() {
			if !p.Match(line) {
				t.Error("no match")
			}
			if s != nil {
				p.Value(s)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations a line, want none", tt.name, n)
		}
	}
}

func BenchmarkMatch(b *testing.B) {
	for _, tt := range typical {
		b.Run(tt.name, func(b *testing.B) {
			p, s := compile(b, tt.pattern, tt.selector)
			line := []byte(tt.line)
			b.SetBytes(int64(len(line)))
			b.ReportAllocs()
			for b.Loop() {
				if p.Match(line) && s != nil {
					p.Value(s)
				}
			}
		})
	}
}

// FuzzPattern: nothing panics; a line that matches has the literal, unless it is
// JSON, where it may be escaped; matching twice gives the same; values are parts
// of a text no longer than the line.
func FuzzPattern(f *testing.F) {
	for _, tt := range typical {
		f.Add(tt.pattern, tt.line, tt.selector)
	}
	f.Add("?a ?b -c", "b", "$1")
	f.Add(`{ $.a IS NULL || ($.['b'] NOT EXISTS && $[0] = "\"*") }`, `{"a":null}`, "$['b'][1]")
	f.Add(`[a=%[a-z]{2}\x41\.% || a!=1e5, ..., "]`, `"a [b`, "$2")
	f.Fuzz(func(t *testing.T, text, line, selector string) {
		p, err := pattern.Compile(text)
		if err != nil {
			return
		}
		first := p.Match([]byte(line))
		if first && !strings.Contains(line, p.Literal()) && !strings.Contains(line, `\`) {
			t.Fatalf("%q matches %q without %q", text, line, p.Literal())
		}
		if s, err := p.Selector(selector); err == nil && first {
			if v, ok := p.Value(s); ok && len(v) > len(line) {
				t.Fatalf("%q of %q is %q", selector, line, v)
			}
		}
		if p.Match([]byte(line)) != first {
			t.Fatalf("%q matches %q once of twice", text, line)
		}
	})
}

// Lines made to be slow: in the square of their length the test would not end.
func TestLinear(t *testing.T) {
	for _, tt := range []struct{ pattern, unit string }{
		{"[..., a=x, b]", "["}, {"[..., a=x, b]", "[ "}, {"[..., a=x, b]", `"\ `},
		{"[..., a=x, b]", `\" "`}, {`{ $.a = "*a*a*a*b" }`, "a"},
		{"%a*a*a*a*a*c%", "a"}, {`{ $.a.b.c[*] = 1 }`, "["},
	} {
		p, _ := compile(t, tt.pattern, "")
		p.Match([]byte(strings.Repeat(tt.unit, 1<<20/len(tt.unit))))
		p.Match([]byte(`{"a":"` + strings.Repeat(tt.unit, 1<<18/len(tt.unit)) + `"}`))
	}
}
