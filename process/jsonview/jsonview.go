// Package jsonview reads JSON where it lies: values, members and elements are
// parts of the bytes given, nothing is copied or allocated. Use it to look a few
// things up in a record that must go on as it came.
package jsonview

import (
	"bytes"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"
)

// maxDepth bounds how deep arrays and objects may nest, where no other bound is given.
const maxDepth = 512

// Valid tells whether b is one JSON value and white space around it.
func Valid(b []byte) bool {
	end, ok := Skip(b, Space(b, 0), maxDepth)
	return ok && Space(b, end) == len(b)
}

// Space gives the index of the first byte at or after i that is no white space.
func Space(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}

// Skip checks the value that begins at b[i] and gives the index after it; false,
// and where that was seen, if there is none. No part of it may be in more than
// depth arrays and objects. It checks the grammar of RFC 8259, but not UTF-8.
func Skip(b []byte, i, depth int) (end int, ok bool) {
	if i >= len(b) || depth < 0 {
		return i, false
	}
	switch c := b[i]; {
	case c == '"':
		return skipString(b, i)
	case c == '{' || c == '[':
		return skipContainer(b, i, depth-1)
	case c == '-' || isDigit(c):
		return skipNumber(b, i)
	case c == 't':
		return skipWord(b, i, "true")
	case c == 'f':
		return skipWord(b, i, "false")
	case c == 'n':
		return skipWord(b, i, "null")
	}
	return i, false
}

func skipContainer(b []byte, i, depth int) (end int, ok bool) {
	object, closing := b[i] == '{', b[i]+2 // ']' and '}' are two after their openings
	i = Space(b, i+1)
	if i < len(b) && b[i] == closing {
		return i + 1, true
	}
	for {
		if object {
			if _, i, ok = SkipKey(b, i); !ok {
				return i, false
			}
		}
		if i, ok = Skip(b, i, depth); !ok {
			return i, false
		}
		if i = Space(b, i); i >= len(b) {
			return i, false
		}
		switch b[i] {
		case ',':
			i = Space(b, i+1)
		case closing:
			return i + 1, true
		default:
			return i, false
		}
	}
}

// SkipKey passes a key, its colon and the white space: end is after the key's
// last quote, value is where the value begins, or where it was seen that there is
// no key.
func SkipKey(b []byte, i int) (end, value int, ok bool) {
	if i >= len(b) || b[i] != '"' {
		return i, i, false
	}
	if end, ok = skipString(b, i); !ok {
		return end, end, false
	}
	if i = Space(b, end); i >= len(b) || b[i] != ':' {
		return end, i, false
	}
	return end, Space(b, i+1), true
}

// plain tells the bytes that stand for themselves inside a string.
var plain = func() (t [256]bool) {
	for c := range t {
		t[c] = c >= ' ' && c != '"' && c != '\\'
	}
	return t
}()

func skipString(b []byte, i int) (end int, ok bool) {
	for i++; ; i++ {
		for i < len(b) && plain[b[i]] {
			i++
		}
		switch {
		case i >= len(b):
			return i, false
		case b[i] == '"':
			return i + 1, true
		case b[i] != '\\':
			return i, false
		}
		if i++; i >= len(b) {
			return i, false
		}
		if b[i] == 'u' {
			if _, ok := hex4(b, i+1); !ok {
				return i, false
			}
			i += 4
		} else if plainEscape(b[i]) == 0 {
			return i, false
		}
	}
}

// plainEscape is what the letter behind a backslash stands for, 0 for none.
func plainEscape(c byte) byte {
	switch c {
	case '"', '\\', '/':
		return c
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	}
	return 0
}

// hex4 reads the four digits of a \u escape.
func hex4(b []byte, i int) (r rune, ok bool) {
	if i+4 > len(b) {
		return 0, false
	}
	for _, c := range b[i : i+4] {
		switch {
		case isDigit(c):
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

func skipNumber(b []byte, i int) (end int, ok bool) {
	if b[i] == '-' {
		i++
	}
	if i < len(b) && b[i] == '0' {
		i++
	} else if i, ok = skipDigits(b, i); !ok {
		return i, false
	}
	if i < len(b) && b[i] == '.' {
		if i, ok = skipDigits(b, i+1); !ok {
			return i, false
		}
	}
	if i < len(b) && (b[i] == 'e' || b[i] == 'E') {
		if i++; i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		return skipDigits(b, i)
	}
	return i, true
}

// skipDigits passes one digit or more.
func skipDigits(b []byte, i int) (end int, ok bool) {
	start := i
	for i < len(b) && isDigit(b[i]) {
		i++
	}
	return i, i > start
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func skipWord(b []byte, i int, word string) (end int, ok bool) {
	if len(b)-i < len(word) || string(b[i:i+len(word)]) != word {
		return i, false
	}
	return i + len(word), true
}

// Iterator goes through the members of an object or the elements of an array.
type Iterator struct {
	// Key is the member's name as it is written, without its quotes: see KeyIs.
	Key []byte
	// Value is the member's or element's value as it is written.
	Value []byte

	b       []byte
	i       int
	closing byte // '}', ']', or 0 at the end
}

// Each goes through value, a JSON object or array. Of anything else, and of what
// is not JSON from there on, there is no Next.
func Each(value []byte) Iterator {
	i := Space(value, 0)
	it := Iterator{b: value, i: i + 1}
	if i < len(value) && (value[i] == '{' || value[i] == '[') {
		it.closing = value[i] + 2
	}
	return it
}

// Next goes to the next member or element, if there is one.
func (it *Iterator) Next() bool {
	if it.closing == 0 {
		return false
	}
	i := Space(it.b, it.i)
	if i < len(it.b) && it.b[i] == ',' && it.Value != nil {
		i = Space(it.b, i+1)
	}
	it.i = len(it.b)
	if it.closing == '}' {
		end, value, ok := SkipKey(it.b, i)
		if !ok {
			it.closing = 0
			return false
		}
		it.Key, i = it.b[i+1:end-1], value
	}
	end, ok := Skip(it.b, i, maxDepth)
	if !ok {
		it.closing = 0
		return false
	}
	it.Value, it.i = it.b[i:end], end
	return true
}

// KeyIs tells whether the member has that name, however it is escaped.
func (it *Iterator) KeyIs(name string) bool {
	if string(it.Key) == name {
		return true
	}
	if bytes.IndexByte(it.Key, '\\') < 0 {
		return false
	}
	var room [64]byte
	return string(AppendText(room[:0], it.Key)) == name
}

// Member gives the object's member of that name, nil if there is none. Of several
// with one name the first counts.
func Member(object []byte, name string) []byte {
	it := Each(object)
	if it.closing != '}' {
		return nil
	}
	for it.Next() {
		if it.KeyIs(name) {
			return it.Value
		}
	}
	return nil
}

// Inside gives what is between the quotes of a string, and whether it has escapes;
// ok is false for any other value.
func Inside(value []byte) (inside []byte, escaped, ok bool) {
	if len(value) < 2 || value[0] != '"' {
		return nil, false, false
	}
	inside = value[1 : len(value)-1]
	return inside, bytes.IndexByte(inside, '\\') >= 0, true
}

// Text gives what a string stands for: a part of value if nothing is escaped, else
// written behind what buf has, which is given back for the next call.
func Text(value, buf []byte) (text, newBuf []byte, ok bool) {
	inside, escaped, ok := Inside(value)
	if !ok || !escaped {
		return inside, buf, ok
	}
	start := len(buf)
	buf = AppendText(buf, inside)
	return buf[start:], buf, true
}

// AppendText appends what the inside of a string stands for. Half of a surrogate
// pair becomes U+FFFD; a broken escape, which Skip would not pass, is copied.
func AppendText(dst, inside []byte) []byte {
	for {
		at := bytes.IndexByte(inside, '\\')
		if at < 0 || at+1 == len(inside) {
			return append(dst, inside...)
		}
		dst = append(dst, inside[:at]...)
		inside = inside[at:]
		if c := plainEscape(inside[1]); c != 0 {
			dst, inside = append(dst, c), inside[2:]
			continue
		}
		r, ok := hex4(inside, 2)
		if inside[1] != 'u' || !ok {
			dst, inside = append(dst, inside[0]), inside[1:]
			continue
		}
		inside = inside[6:]
		if utf16.IsSurrogate(r) {
			low, whole := rune(0), false
			if len(inside) >= 6 && inside[0] == '\\' && inside[1] == 'u' {
				low, whole = hex4(inside, 2)
			}
			if r = utf16.DecodeRune(r, low); whole && r != utf8.RuneError {
				inside = inside[6:]
			}
		}
		dst = utf8.AppendRune(dst, r)
	}
}

// Number reads a finite decimal number: what JSON allows, and a plus or a bare
// point besides. Words as NaN and forms as 0x1p4 are none.
func Number(text []byte) (v float64, ok bool) {
	if len(text) == 0 || len(text) > 64 {
		return 0, false
	}
	whole, plain := uint64(0), len(text) <= 15
	for _, c := range text {
		switch {
		case c >= '0' && c <= '9':
			whole = whole*10 + uint64(c-'0')
		case c == '.' || c == '-' || c == '+' || c == 'e' || c == 'E':
			plain = false
		default:
			return 0, false
		}
	}
	if plain {
		return float64(whole), true
	}
	// The string is read before this returns, and the error, which quotes it, is not kept.
	v, err := strconv.ParseFloat(unsafe.String(&text[0], len(text)), 64)
	return v, err == nil
}
