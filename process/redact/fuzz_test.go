package redact

import (
	"bytes"
	"encoding/json"
	"testing"

	"slipstream/test/secrets"
)

// JSON stays JSON, a second time changes nothing, dst stays in front, and nothing
// that the filter calls clean is changed.
func FuzzJSON(f *testing.F) {
	for _, c := range secrets.Cases(11, 400) {
		f.Add(c.Body)
	}
	for _, part := range append(nasty, "0@\ufffd.AA", "\u00e9://a:b@c", "\u00e9-4111111111111111", "\u00e9@a.com") {
		f.Add([]byte(part + part))
	}
	p := defaultPolicy(f)
	all := policy(f, Config{Detectors: allDetectors, Actions: map[string]Action{"key": Remove}, Rules: []Rule{
		{Name: "quote", Pattern: `a+`, Replacement: "\"\\\n"}}})
	keys := policy(f, Config{HashKey: make([]byte, 16), Actions: map[string]Action{"key": Hash, "email": Remove},
		Keys:  Keys{Exact: []string{"a.list"}, Patterns: []string{`user\.na`, "note|headers"}, Allow: []string{"^secret$"}},
		Rules: []Rule{{Name: "id", Pattern: `(?i)id":(\d)`, Replacement: `"$1`}}})
	f.Fuzz(func(t *testing.T, value []byte) {
		for _, p := range []*Policy{p, all, keys} {
			out, changed := p.JSON([]byte("x"), value)
			if out[0] != 'x' || !changed && len(out) != 1 {
				t.Fatalf("dst is lost: %q", out)
			}
			if !changed {
				continue
			}
			if !p.Suspect(value) {
				t.Fatalf("the filter sees nothing in %q, which becomes %q", value, out)
			}
			if out = out[1:]; json.Valid(value) && !json.Valid(out) {
				t.Fatalf("%q becomes %q", value, out)
			}
		}
		// What is redacted as the text of a string is suspect in every form.
		if quoted, err := json.Marshal(string(value)); err == nil {
			if out, changed := p.redactText(nil, nil, bytes.ToValidUTF8(value, []byte("\ufffd")), 0); changed &&
				!p.Suspect(quoted) {
				t.Fatalf("the filter sees nothing in %s, which becomes %q", quoted, out)
			}
		}
	})
}

// No planted secret survives between whatever is around it, as long as that does
// not make it part of another word.
func FuzzText(f *testing.F) {
	for i, part := range nasty {
		f.Add(uint16(i), []byte(part), []byte(part))
	}
	cases := secrets.Cases(12, 2000)
	p := defaultPolicy(f)
	f.Fuzz(func(t *testing.T, which uint16, before, after []byte) {
		c := cases[int(which)%len(cases)]
		if c.Form != secrets.Text {
			return
		}
		text := append(append(append(bytes.Clone(before), '\n'), c.Body...), '\n')
		text = append(text, after...)
		if c.Leaked(before) != "" || c.Leaked(after) != "" {
			return
		}
		out, _ := p.Text(nil, text)
		if piece := c.Leaked(out); piece != "" || len(out) == 0 {
			t.Fatalf("%s, %s: %q of %q is left of %q in %q", c.Kind, c.Place, piece, c.Secret, text, out)
		}
	})
}
