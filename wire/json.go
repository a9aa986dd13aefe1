package wire

import (
	"bytes"
	"time"
	"unicode/utf8"
)

// appendTime appends t in UTC as a quoted RFC 3339 time with milliseconds, and
// with micro- or nanoseconds only where t has them. By hand because
// time.Time's own formatting takes a third of a record's time.
func appendTime(dst []byte, t time.Time) []byte {
	t = t.UTC()
	year, month, day := t.Date()
	if year < 0 || year > 9999 { // no RFC 3339; never from the platform
		return t.AppendFormat(dst, `"2006-01-02T15:04:05.000Z"`)
	}
	hour, minute, second := t.Clock()
	dst = append(dst, '"')
	dst = append(appendDigits(dst, year, 4), '-')
	dst = append(appendDigits(dst, int(month), 2), '-')
	dst = append(appendDigits(dst, day, 2), 'T')
	dst = append(appendDigits(dst, hour, 2), ':')
	dst = append(appendDigits(dst, minute, 2), ':')
	dst = append(appendDigits(dst, second, 2), '.')
	switch ns := t.Nanosecond(); {
	case ns%1_000 != 0:
		dst = appendDigits(dst, ns, 9)
	case ns%1_000_000 != 0:
		dst = appendDigits(dst, ns/1_000, 6)
	default:
		dst = appendDigits(dst, ns/1_000_000, 3)
	}
	return append(dst, `Z"`...)
}

// appendDigits appends n with exactly width digits.
func appendDigits(dst []byte, n, width int) []byte {
	const zeros = "000000000"
	dst = append(dst, zeros[:width]...)
	for i := len(dst) - 1; n > 0; i-- {
		dst[i] = byte('0' + n%10)
		n /= 10
	}
	return dst
}

// appendText appends s as a JSON string. Bytes that are not UTF-8 become
// U+FFFD, so the result is JSON whatever s holds.
func appendText[T string | ~[]byte](dst []byte, s T) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(string(s[i:min(len(s), i+utf8.UTFMax)]))
			if r == utf8.RuneError && size == 1 {
				dst = append(append(dst, s[start:i]...), "\ufffd"...)
				start = i + 1
			}
			i += size
			continue
		}
		if c < ' ' || c == '"' || c == '\\' {
			dst = append(dst, s[start:i]...)
			if c < ' ' {
				dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
			} else {
				dst = append(dst, '\\', c)
			}
			start = i + 1
		}
		i++
	}
	return append(append(dst, s[start:]...), '"')
}

// appendValue appends the JSON value in body byte for byte, without the white
// space around it. Raw line feeds and carriage returns are left out: within
// valid JSON they only stand between tokens, and readers of line formats end a
// line at either. An empty body becomes null.
func appendValue(dst, body []byte) []byte {
	body = trimSpace(body)
	if len(body) == 0 {
		return append(dst, "null"...)
	}
	if bytes.IndexByte(body, '\n') < 0 && bytes.IndexByte(body, '\r') < 0 {
		return append(dst, body...)
	}
	for _, c := range body {
		if c != '\n' && c != '\r' {
			dst = append(dst, c)
		}
	}
	return dst
}

// cutLineEnd takes an escaped "\n" or "\r\n" off the JSON string that dst ends
// with: the platform keeps the one that ended the function's line.
func cutLineEnd(dst []byte) []byte {
	for _, letter := range []byte("nr") {
		end := len(dst) - len(`n"`)
		escapes := 0
		for end-escapes > 0 && dst[end-escapes-1] == '\\' {
			escapes++
		}
		if escapes%2 == 0 || dst[end] != letter { // an even number is backslashes, then a letter
			break
		}
		dst = append(dst[:end-1], '"')
	}
	return dst
}

// trimSpace takes JSON's white space off both ends.
func trimSpace(b []byte) []byte {
	for len(b) > 0 && isSpace(b[0]) {
		b = b[1:]
	}
	for len(b) > 0 && isSpace(b[len(b)-1]) {
		b = b[:len(b)-1]
	}
	return b
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\r' || c == '\t' }
