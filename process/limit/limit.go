// Package limit decides how much of a record is kept: how long a text may be, how
// much an invocation may send. Use it behind redaction: half a secret would not
// be recognised. It is pure: it counts nothing and has no clock.
package limit

import (
	"bytes"
	"unicode/utf8"

	"github.com/go-faster/jx"
)

// Limits are sizes in bytes but for the numbers of spans; 0 is no limit.
type Limits struct {
	// Attribute is for one value of an attribute. A stack trace fits.
	Attribute int
	// Body is for what was captured of a call: a body, a header, a query.
	Body int
	// BodyOnError is Body in a span that failed, or in a log of level ERROR on.
	BodyOnError int
	// Record is for a log's body, and for all other texts of a record together.
	Record int
	// Spans and Bytes are what one invocation may send of spans, OnError with
	// those that failed and the function's own.
	Spans, SpansOnError int
	Bytes, BytesOnError int
}

// Default cuts no line that Lambda takes (1 MiB at most), and captured parts to
// the sizes of Lumigo's tracers.
func Default() Limits {
	return Limits{
		Attribute: 32 << 10, Body: 2048, BodyOnError: 2 * 2048, Record: 1 << 20,
		Spans: 2000, SpansOnError: 2200, Bytes: 500 << 10, BytesOnError: 990 << 10,
	}
}

// suffix ends a text that was cut.
const suffix = "...[too long]"

// Text appends text to dst, cut to max bytes with the suffix "...[too long]",
// and tells whether it had to; else dst is given back as it is. No character is
// cut in half.
func Text(dst, text []byte, max int) ([]byte, bool) {
	if len(text) <= max {
		return dst, false
	}
	if max < len(suffix) {
		return append(dst, suffix[:max]...), true
	}
	return append(append(dst, text[:runeStart(text, max-len(suffix))]...), suffix...), true
}

// runeStart is the last place up to n where a character begins.
func runeStart(text []byte, n int) int {
	for back := range utf8.UTFMax {
		if n-back <= 0 || utf8.RuneStart(text[n-back]) {
			return max(n-back, 0)
		}
	}
	return n // no UTF-8
}

// minJSON is the smallest size that JSON cuts to: a short text with its mark.
const minJSON = 64

// truncated is the member that says so in an object that lost members or the
// ends of texts.
const truncated = `"slipstream.truncated":true`

// JSON appends value, one JSON value, to dst, cut to max bytes (at least 64), and
// tells whether it had to; else dst is given back as it is. The result is JSON:
// texts end with the suffix of Text, no escape is cut in half; members and items
// for which there is no room are left out, and a text within takes at most half
// of the room there is, so that what stands behind it has some. What is no JSON
// becomes a string.
func JSON(dst, value []byte, max int) ([]byte, bool) {
	if max < minJSON {
		max = minJSON
	}
	if len(value) <= max {
		return dst, false
	}
	if !jx.Valid(value) {
		w := jx.Writer{}
		w.ByteStr(bytes.ToValidUTF8(value[:min(len(value), max)], []byte("\ufffd")))
		value = w.Buf
	}
	c := cutter{src: value, dst: dst, end: len(dst) + max}
	if !c.value() { // a number without end
		c.dst, _ = Text(append(dst, '"'), bytes.TrimSpace(value), max-len(`""`))
		c.dst = append(c.dst, '"')
	}
	return c.dst, true
}

// cutter copies as much of a JSON value as there is room for.
type cutter struct {
	src, dst []byte
	at       int // in src
	end      int // of dst
	depth    int
	cut      bool
}

// room is how many bytes are left besides those that end what is open.
func (c *cutter) room() int {
	n := c.end - len(c.dst) - c.depth
	if c.depth > 0 {
		n -= len(truncated) + 1
	}
	return n
}

func (c *cutter) space() byte {
	for {
		switch b := c.src[c.at]; b {
		case ' ', '\t', '\r', '\n':
			c.at++
		default:
			return b
		}
	}
}

// value copies the next value and tells whether there was room. If not, dst may
// hold a part of it.
func (c *cutter) value() bool {
	switch c.space() {
	case '"':
		token := c.token()
		room := c.room()
		if c.depth > 0 && len(token) > minJSON {
			room /= 2
		}
		if len(token) <= room {
			c.dst = append(c.dst, token...)
			return true
		}
		c.cut = true
		if room -= len(suffix) + len(`""`); room < 0 {
			return false
		}
		c.dst = append(c.dst, token[:1+escapeStart(token[1:len(token)-1], room)]...)
		c.dst = append(append(c.dst, suffix...), '"')
		return true
	case '{':
		return c.items('}')
	case '[':
		return c.items(']')
	}
	token := c.token()
	if len(token) > c.room() {
		c.cut = true
		return false
	}
	c.dst = append(c.dst, token...)
	return true
}

// items copies an object's members or an array's items.
func (c *cutter) items(closing byte) bool {
	fits := c.room() >= len(`{}`)
	c.dst = append(c.dst, c.src[c.at])
	c.at++
	c.depth++
	first := true
	for c.space() != closing {
		if c.src[c.at] == ',' {
			c.at++
			continue
		}
		start, ok := len(c.dst), true
		if !first {
			c.dst = append(c.dst, ',')
		}
		if closing == '}' {
			key := c.token()
			c.space()
			c.at++ // the colon
			if ok = len(key) < c.room(); ok {
				c.dst = append(append(c.dst, key...), ':')
			}
		}
		if ok = c.value() && ok && c.room() >= 0; ok {
			first = false
			continue
		}
		c.dst, c.cut = c.dst[:start], true
	}
	c.at++
	c.depth--
	if c.depth == 0 && closing == '}' && c.cut {
		if !first {
			c.dst = append(c.dst, ',')
		}
		c.dst = append(c.dst, truncated...)
	}
	c.dst = append(c.dst, closing)
	return fits
}

// token passes over a string, a number or a word.
func (c *cutter) token() []byte {
	start := c.at
	if c.src[start] == '"' {
		for c.at++; c.src[c.at] != '"'; c.at++ {
			if c.src[c.at] == '\\' {
				c.at++
			}
		}
		c.at++
		return c.src[start:c.at]
	}
	for c.at < len(c.src) && bytes.IndexByte([]byte(" \t\r\n,]}"), c.src[c.at]) < 0 {
		c.at++
	}
	return c.src[start:c.at]
}

// escapeStart is the last place up to n in a string's content where a character
// or an escape begins; two that are one character are not parted.
func escapeStart(content []byte, n int) int {
	for at := 0; ; {
		next := bytes.IndexByte(content[at:n], '\\')
		if next < 0 {
			return max(at, runeStart(content, n))
		}
		at += next
		size := 2
		if content[at+1] == 'u' {
			size = 6
			if d := content[at+2 : at+4]; (d[0] == 'd' || d[0] == 'D') && bytes.IndexByte([]byte("89abAB"), d[1]) >= 0 &&
				bytes.HasPrefix(content[at+6:], []byte(`\u`)) {
				size = 12
			}
		}
		if at+size > n {
			return at
		}
		at += size
	}
}
