package wavefront

import (
	"bytes"
	"errors"
	"math"
	"strconv"
	"time"
	"unsafe"
)

// kind is what a token is.
type kind uint8

const (
	end    kind = iota // of the line
	word               // quoted or not
	equals             // a bare =
	weight             // a bare #
)

// scanner cuts a line into tokens, as the proxy's StringParser does. A quoted
// token is unescaped where it stands: the line changes, nothing is copied.
type scanner struct {
	line   []byte
	at     int
	text   []byte // of the token that peek gave
	kind   kind
	peeked bool
	broken bool // a quote was not closed
}

func (s *scanner) reset(line []byte) { *s = scanner{line: line} }

// peek gives the next token and leaves it there.
func (s *scanner) peek() kind {
	if !s.peeked {
		s.kind, s.text = s.advance()
		s.peeked = true
	}
	return s.kind
}

// next takes the next token; its text is valid for a word.
func (s *scanner) next() (kind, []byte) {
	k := s.peek()
	s.peeked = false
	return k, s.text
}

// word takes the next token if it is a word.
func (s *scanner) word() ([]byte, bool) {
	if s.peek() != word {
		return nil, false
	}
	s.peeked = false
	return s.text, true
}

func (s *scanner) advance() (kind, []byte) {
	for s.at < len(s.line) && isSpace(s.line[s.at]) {
		s.at++
	}
	if s.at == len(s.line) {
		return end, nil
	}
	switch c := s.line[s.at]; c {
	case '"', '\'':
		s.at++
		return s.quoted(c)
	case '=':
		s.at++
		return equals, nil
	case '#':
		s.at++
		return weight, nil
	}
	start := s.at
	for s.at++; s.at < len(s.line); s.at++ {
		if c := s.line[s.at]; c == ' ' || c == '=' || c == '\t' {
			break
		}
	}
	return word, s.line[start:s.at]
}

// quoted takes what stands before the next quote that has no backslash before
// it. Such a pair becomes the quote; every other backslash stays as it is.
func (s *scanner) quoted(quote byte) (kind, []byte) {
	start, to := s.at, s.at
	for {
		n := bytes.IndexByte(s.line[s.at:], quote)
		if n < 0 {
			s.broken = true
			s.at = len(s.line)
			return end, nil
		}
		from := s.at
		s.at += n + 1
		escaped := s.line[s.at-2] == '\\' && s.at-2 >= start
		if escaped {
			n--
		}
		if to != from {
			copy(s.line[to:], s.line[from:from+n])
		}
		to += n
		if !escaped {
			return word, s.line[start:to]
		}
		s.line[to] = quote
		to++
	}
}

func isSpace(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' || c >= 0x1c && c <= 0x1f }

// number reads a decimal number. Unlike Java's it takes no NaN, no infinity and
// no hexadecimal: no destination could do anything with them.
func number(text []byte) (float64, bool) {
	if len(text) == 0 || len(text) > 400 {
		return 0, false
	}
	for _, c := range text {
		if (c < '0' || c > '9') && c != '.' && c != '-' && c != '+' && c != 'e' && c != 'E' {
			return 0, false
		}
	}
	v, err := strconv.ParseFloat(asString(text), 64)
	return v, err == nil
}

// asString is b for a call that does not keep it.
func asString(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

func isDigits(text []byte) bool {
	for _, c := range text {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(text) > 0
}

var errTime = errors.New("expected a time")

// timestamp takes a time if one comes next; zero if there is none.
func (s *scanner) timestamp() (time.Time, error) {
	if s.peek() != word || len(s.text) == 0 || s.text[0] < '0' || s.text[0] > '9' {
		return time.Time{}, nil
	}
	v, ok := number(s.text)
	if !ok {
		return time.Time{}, errTime
	}
	s.peeked = false
	at := instant(v)
	if at.IsZero() {
		return at, errTime
	}
	return at, nil
}

// instant tells seconds, milli-, micro- and nanoseconds since 1970 apart by
// their size, with the proxy's limits; zero for what is beyond 2262.
func instant(v float64) time.Time {
	switch {
	case v < 0 || v >= math.MaxInt64:
		return time.Time{}
	case v < 1e12:
		if v >= math.MaxInt64/1e9 {
			return time.Time{}
		}
		return time.UnixMilli(int64(1000 * v))
	case v < 1e13:
		return time.UnixMilli(int64(v))
	case v < 1e16:
		return time.UnixMicro(int64(v))
	}
	return time.Unix(0, int64(v))
}
