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

// maxDepth bounds how deep arrays and objects may nest.
const maxDepth = 512

// Valid tells whether b is one JSON value and white space around it.
func Valid(b []byte) bool {
	end := Skip(b, Space(b, 0))
	return end >= 0 && Space(b, end) == len(b)
}

// Space gives the index of the first byte at or after i that is no white space.
func Space(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}

// Skip checks the value that begins at b[i] and gives the index after it, or -1
// if there is none. It checks the grammar of RFC 8259, but not UTF-8.
func Skip(b []byte, i int) int { return skip(b, i, 0) }

func skip(b []byte, i, depth int) int {
	if i < 0 || i >= len(b) || depth > maxDepth {
		return -1
	}
	switch c := b[i]; {
	case c == '"':
		return skipString(b, i)
	case c == '{' || c == '[':
		return skipContainer(b, i, depth+1)
	case c == '-' || c >= '0' && c <= '9':
		return skipNumber(b, i)
	case c == 't':
		return skipWord(b, i, "true")
	case c == 'f':
		return skipWord(b, i, "false")
	case c == 'n':
		return skipWord(b, i, "null")
	}
	return -1
}

func skipContainer(b []byte, i, depth int) int {
	object, closing := b[i] == '{', b[i]+2 // ']' and '}' are two after their openings
	i = Space(b, i+1)
	if i < len(b) && b[i] == closing {
		return i + 1
	}
	for {
		if object {
			if _, i = skipKey(b, i); i < 0 {
				return -1
			}
		}
		if i = skip(b, i, depth); i < 0 {
			return -1
		}
		if i = Space(b, i); i >= len(b) {
			return -1
		}
		switch b[i] {
		case ',':
			i = Space(b, i+1)
		case closing:
			return i + 1
		default:
			return -1
		}
	}
}

// skipKey passes a key, its colon and the white space: end is after the key's
// last quote, value is where the value begins, or -1.
func skipKey(b []byte, i int) (end, value int) {
	if i >= len(b) || b[i] != '"' {
		return -1, -1
	}
	if end = skipString(b, i); end < 0 {
		return -1, -1
	}
	if i = Space(b, end); i >= len(b) || b[i] != ':' {
		return -1, -1
	}
	return end, Space(b, i+1)
}

// plain tells the bytes that stand for themselves inside a string.
var plain = func() (t [256]bool) {
	for c := range t {
		t[c] = c >= ' ' && c != '"' && c != '\\'
	}
	return t
}()

func skipString(b []byte, i int) int {
	for i++; ; i++ {
		for i < len(b) && plain[b[i]] {
			i++
		}
		switch {
		case i >= len(b):
			return -1
		case b[i] == '"':
			return i + 1
		case b[i] != '\\' || i+1 >= len(b):
			return -1
		}
		i++
		switch b[i] {
		case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		case 'u':
			if _, ok := hex4(b, i+1); !ok {
				return -1
			}
			i += 4
		default:
			return -1
		}
	}
}

func hex4(b []byte, i int) (r rune, ok bool) {
	if i+4 > len(b) {
		return 0, false
	}
	for _, c := range b[i : i+4] {
		switch {
		case c >= '0' && c <= '9':
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

func skipNumber(b []byte, i int) int {
	if b[i] == '-' {
		i++
	}
	if i < len(b) && b[i] == '0' {
		i++
	} else if i = skipDigits(b, i); i < 0 {
		return -1
	}
	if i < len(b) && b[i] == '.' {
		if i = skipDigits(b, i+1); i < 0 {
			return -1
		}
	}
	if i < len(b) && (b[i] == 'e' || b[i] == 'E') {
		if i++; i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		return skipDigits(b, i)
	}
	return i
}

// skipDigits passes one digit or more.
func skipDigits(b []byte, i int) int {
	start := i
	for i < len(b) && b[i] >= '0' && b[i] <= '9' {
		i++
	}
	if i == start {
		return -1
	}
	return i
}

func skipWord(b []byte, i int, word string) int {
	if len(b)-i < len(word) || string(b[i:i+len(word)]) != word {
		return -1
	}
	return i + len(word)
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
		end, value := skipKey(it.b, i)
		if end < 0 {
			it.closing = 0
			return false
		}
		it.Key, i = it.b[i+1:end-1], value
	}
	end := Skip(it.b, i)
	if end < 0 {
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
// pair becomes U+FFFD; inside must be well-formed, as Skip checks it.
func AppendText(dst, inside []byte) []byte {
	for {
		i := bytes.IndexByte(inside, '\\')
		if i < 0 || i+1 >= len(inside) {
			return append(dst, inside...)
		}
		dst = append(dst, inside[:i]...)
		c := inside[i+1]
		inside = inside[i+2:]
		switch c {
		case 'b':
			c = '\b'
		case 'f':
			c = '\f'
		case 'n':
			c = '\n'
		case 'r':
			c = '\r'
		case 't':
			c = '\t'
		case 'u':
			dst, inside = appendRune(dst, inside)
			continue
		}
		dst = append(dst, c)
	}
}

// appendRune appends the character of the four digits, and of the pair that they begin.
func appendRune(dst, inside []byte) (newDst, rest []byte) {
	r, ok := hex4(inside, 0)
	if !ok {
		return utf8.AppendRune(dst, utf8.RuneError), inside
	}
	inside = inside[4:]
	if utf16.IsSurrogate(r) {
		low, ok := rune(0), false
		if len(inside) >= 6 && inside[0] == '\\' && inside[1] == 'u' {
			low, ok = hex4(inside, 2)
		}
		if r = utf16.DecodeRune(r, low); ok && r != utf8.RuneError {
			inside = inside[6:]
		}
	}
	return utf8.AppendRune(dst, r), inside
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
