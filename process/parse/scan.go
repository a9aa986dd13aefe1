package parse

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth bounds how deep a record's values may nest.
const maxDepth = 512

// skipSpace gives the place of the first byte from i on that is not JSON's white
// space.
func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}

// skipEscapedSpace is the same in a JSON string's content.
func skipEscapedSpace(b []byte, i int) int {
	for {
		switch {
		case i < len(b) && b[i] == ' ':
			i++
		case i+1 < len(b) && b[i] == '\\' && (b[i+1] == 't' || b[i+1] == 'n' || b[i+1] == 'r'):
			i += 2
		default:
			return i
		}
	}
}

// skipValue gives the place behind the JSON value at b[i], false if none is
// whole there. It checks RFC 8259's grammar, but not UTF-8: encoders copy values
// as they are.
func skipValue(b []byte, i, depth int) (int, bool) {
	if i >= len(b) || depth > maxDepth {
		return i, false
	}
	switch c := b[i]; {
	case c == '"':
		return skipString(b, i)
	case c == '{', c == '[':
		return skipContainer(b, i, depth)
	case c == '-' || isDigit(c):
		return skipNumber(b, i)
	}
	for _, word := range [...]string{"true", "false", "null"} {
		if bytes.HasPrefix(b[i:], []byte(word)) {
			return i + len(word), true
		}
	}
	return i, false
}

func skipContainer(b []byte, i, depth int) (end int, ok bool) {
	closing := b[i] + 2 // of { and [
	if i = skipSpace(b, i+1); i < len(b) && b[i] == closing {
		return i + 1, true
	}
	for {
		if closing == '}' {
			if i, ok = skipString(b, i); !ok {
				return i, false
			}
			if i = skipSpace(b, i); i >= len(b) || b[i] != ':' {
				return i, false
			}
			i = skipSpace(b, i+1)
		}
		if i, ok = skipValue(b, i, depth+1); !ok {
			return i, false
		}
		i = skipSpace(b, i)
		switch {
		case i < len(b) && b[i] == closing:
			return i + 1, true
		case i >= len(b) || b[i] != ',':
			return i, false
		}
		i = skipSpace(b, i+1)
	}
}

func skipString(b []byte, i int) (int, bool) {
	if i >= len(b) || b[i] != '"' {
		return i, false
	}
	for i++; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"':
			return i + 1, true
		case c < ' ':
			return i, false
		case c == '\\':
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
	return i, false
}

func skipNumber(b []byte, i int) (int, bool) {
	digits := func() bool {
		from := i
		for i < len(b) && isDigit(b[i]) {
			i++
		}
		return i > from
	}
	if b[i] == '-' {
		i++
	}
	if i < len(b) && b[i] == '0' {
		i++
	} else if !digits() {
		return i, false
	}
	if i < len(b) && b[i] == '.' {
		if i++; !digits() {
			return i, false
		}
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		if i++; i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		if !digits() {
			return i, false
		}
	}
	return i, true
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
func hex4(b []byte, i int) (rune, bool) {
	if i+4 > len(b) {
		return 0, false
	}
	n := rune(0)
	for _, c := range b[i : i+4] {
		switch {
		case isDigit(c):
			n = n<<4 | rune(c-'0')
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			n = n<<4 | rune(c|0x20-'a'+10)
		default:
			return 0, false
		}
	}
	return n, true
}

// unescape appends a JSON string's content as the text that it stands for. A
// broken escape is copied as it is, half a surrogate pair becomes U+FFFD.
func unescape(dst, text []byte) []byte {
	for {
		at := bytes.IndexByte(text, '\\')
		if at < 0 || at+1 == len(text) {
			return append(dst, text...)
		}
		dst = append(dst, text[:at]...)
		text = text[at:]
		c := plainEscape(text[1])
		switch r, ok := hex4(text, 2); {
		case c != 0:
			dst, text = append(dst, c), text[2:]
		case text[1] != 'u' || !ok:
			dst, text = append(dst, text[0]), text[1:]
		default:
			text = text[6:]
			if utf16.IsSurrogate(r) {
				low, whole := rune(0), false
				if len(text) >= 6 && text[0] == '\\' && text[1] == 'u' {
					low, whole = hex4(text, 2)
				}
				if r = utf16.DecodeRune(r, low); whole && r != utf8.RuneError {
					text = text[6:]
				}
			}
			dst = utf8.AppendRune(dst, r)
		}
	}
}
