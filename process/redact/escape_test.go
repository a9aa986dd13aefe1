package redact

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestUnescape(t *testing.T) {
	for text, want := range map[string]string{
		`a\u0041b`: `aAb`, `\u0022`: `\"`, `\\u0022`: `\\\"`, `\u005c`: `\\`, `\\u005C`: `\\\\`, `\\u0041`: `A`,
		`\\\u0041`: `\\A`, `\\\\u0041`: `A`, `\\\\\\u0041`: `\\\\A`, `\u00e9`: `\u00e9`, `\u000a`: `\u000a`,
		`\u00`: `\u00`, `\u00g1`: `\u00g1`, `\`: `\`,
		`\n\u003d\t`: `\n=\t`, ``: ``,
	} {
		if got := string(unescape(nil, []byte(text))); got != want {
			t.Errorf("%s becomes %s, want %s", text, got, want)
		}
	}
}

// JSON means the same without its escapes, also in a string of a string.
func TestUnescapeKeepsMeaning(t *testing.T) {
	const seed = 4
	random := rand.New(rand.NewPCG(seed, 0))
	for range 2000 {
		var text, inner strings.Builder
		for range random.IntN(12) {
			r := []rune(`ab"\/=:{ é`)[random.IntN(10)]
			text.WriteRune(r)
			if quoted, _ := json.Marshal(string(r)); random.IntN(2) == 0 {
				inner.Write(quoted[1 : len(quoted)-1])
			} else {
				fmt.Fprintf(&inner, `\u%04x`, r)
			}
		}
		document := `"` + inner.String() + `"`
		for strings := 0; strings < 3; strings++ {
			value := string(unescape(nil, []byte(document)))
			for range strings + 1 {
				if err := json.Unmarshal([]byte(value), &value); err != nil {
					t.Fatalf("seed %d: %s: %v", seed, document, err)
				}
			}
			if value != text.String() {
				t.Fatalf("seed %d: %s means %q, want %q", seed, document, value, text.String())
			}
			deeper, _ := json.Marshal(document)
			document = string(deeper)
		}
	}
}

// A key and a value may be far apart by their backslashes, which are twice as many
// when the text is escaped once more.
func TestSuspectReachesFarther(t *testing.T) {
	p := defaultPolicy(t)
	for _, text := range []string{
		`password` + strings.Repeat(`\`, 14) + `": "x1"`,
		`{"name":"password` + strings.Repeat(`\`, 10) + `", ` + strings.Repeat(`\`, 14) + `"value": "x1"`,
		`secret ` + strings.Repeat(`"`, 90) + ` wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY`,
		`a://b:` + strings.Repeat(`\`, 400) + `@c`,
		`bearer "'"'"' abc123def456`, `("password", "x1")`,
	} {
		if _, changed := p.Text(nil, []byte(text)); !changed {
			t.Errorf("Text changes nothing in %s", text)
		}
		if quoted, _ := json.Marshal(text); !p.Suspect(quoted) {
			t.Errorf("nothing suspect in %s", quoted)
		}
	}
}

// Letters of other scripts may be escaped within a secret: what a literal stands in
// is then not seen, but that something may be hidden is.
func TestSuspectOfEscapedLetters(t *testing.T) {
	p := policy(t, Config{Detectors: allDetectors &^ (1 << highEntropy)})
	for _, value := range []string{`"ann@b\u00fccher.de"`, `"\u00e9@a.com"`, `"0@\ufffd.AA"`, `"\u00e9::1"`,
		`"\u00e9123456789:AAabcdefghijklmnopqrstuvwxyz0123456"`,
		`"https:\/\/hooks.slack.com\/services\/T0\/B0\/abcdefghijklmno"`} {
		if _, changed := p.JSON(nil, []byte(value)); !changed || !p.Suspect([]byte(value)) {
			t.Errorf("%s: changed %t, suspect %t", value, changed, p.Suspect([]byte(value)))
		}
	}
}
