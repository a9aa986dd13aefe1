// Package secrets plants secrets into logs, bodies, headers and attributes, for
// tests of redaction and for bench/leaks. It is its own judge of what a secret
// looks like and shares nothing with process/redact. None of them is real.
package secrets

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
)

// Form is what a Case's body is.
type Form uint8

// The forms.
const (
	Text  Form = iota // of a log line
	JSON              // one complete value
	Value             // of the header, attribute or tag Key
)

// Case is a secret in its surroundings.
type Case struct {
	Kind  string // of the secret: a detector's name, or "key": only the key tells it
	Place string
	Form  Form
	Key   string
	Body  []byte
	// Secret is what must not be in the result.
	Secret string
}

// Cases makes n cases: every kind at every place in turn, so that 2,000 have each
// several times. Equal seeds make equal cases.
func Cases(seed uint64, n int) []Case {
	d := dice{rand.New(rand.NewPCG(seed, 0x5ec4e7))}
	kinds := Kinds()
	cases := make([]Case, 0, n)
	for i := range n {
		kind := kinds[i%len(kinds)]
		cases = append(cases, d.at(kind, i/len(kinds)))
	}
	return cases
}

// at makes one secret of a kind and plants it at the place of that number.
func (d dice) at(kind string, place int) Case {
	if kind == "key" {
		return d.keyed(place)
	}
	lead, secret := d.secret(kind)
	c := d.plant(lead+secret, place)
	c.Kind, c.Secret = kind, secret
	return c
}

// Leaked gives a piece of the secret that is still in a result, "" if none is:
// all of it, any line of it, in plain or escaped for JSON, or a piece long enough
// to be of use.
func (c Case) Leaked(result []byte) string {
	pieces := strings.FieldsFunc(c.Secret, func(r rune) bool { return r == '\n' || r == '\r' })
	for _, piece := range pieces {
		if strings.HasPrefix(piece, "-----") || len(piece) < 3 {
			continue
		}
		long := min(len(piece), 12)
		for i := 0; i+long <= len(piece); i++ {
			part := piece[i : i+long]
			if bytes.Contains(result, []byte(part)) || bytes.Contains(result, []byte(escaped(part))) {
				return part
			}
		}
	}
	return ""
}

// dice makes the choices.
type dice struct{ *rand.Rand }

func pick[T any](d dice, from []T) T { return from[d.IntN(len(from))] }

const (
	digits   = "0123456789"
	lowers   = "abcdefghijklmnopqrstuvwxyz"
	uppers   = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	alnum    = digits + lowers + uppers
	base32   = uppers + "234567"
	hexes    = "0123456789abcdef"
	base64s  = alnum + "+/"
	base64us = alnum + "-_"
)

// of gives n characters; of more than 8 at least a digit and a letter of each case,
// where the alphabet has them.
func (d dice) of(alphabet string, n int) string {
	for {
		b := make([]byte, n)
		for i := range b {
			b[i] = alphabet[d.IntN(len(alphabet))]
		}
		complete := true
		for _, class := range []string{digits, lowers, uppers} {
			if n > 8 && strings.ContainsAny(alphabet, class) && !bytes.ContainsAny(b, class) {
				complete = false
			}
		}
		if complete {
			return string(b)
		}
	}
}

var words = []string{"order", "took", "cache miss for", "user", "retry", "failed with", "connected to", "reading",
	"done",
	"item", "status", "200", "in 31.5 ms", "über", "客户", "naïve", "—", "42", "→"}

func (d dice) prose(n int) string {
	picked := make([]string, n)
	for i := range picked {
		picked[i] = pick(d, words)
	}
	return strings.Join(picked, " ")
}

// escaped is text as in a string of JSON, without the quotes.
func escaped(text string) string {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(text) // a string always can be
	return strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(b.String()), `"`), `"`)
}

// unicode escapes some characters more than JSON demands, all kinds of them.
func (d dice) unicode(text string) string {
	var b strings.Builder
	for _, r := range text {
		if r < 0x10000 && d.IntN(3) == 0 {
			fmt.Fprintf(&b, pick(d, []string{`\u%04x`, `\u%04X`}), r)
			continue
		}
		b.WriteString(escaped(string(r)))
	}
	return b.String()
}

// mixed changes the case of letters at random.
func (d dice) mixed(text string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x80 && d.IntN(2) == 0 {
			return []rune(strings.ToUpper(string(r)))[0]
		}
		return r
	}, text)
}
