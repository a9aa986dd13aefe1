// Package forwarded is the form in which a request that an agent made to a
// local listener waits to be sent on: a frame of bytes, unread but for its
// head. Use Append or Begin and End where it comes in, and Parse where it goes
// out.
package forwarded

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
)

// Request is one HTTP request. Its target, its fields and its body are the
// agent's own and may be secret: nobody logs them.
type Request struct {
	Route  int    // which of the configured routes took it, from 0
	Method string // "POST"
	Target string // what follows the route's prefix, byte for byte: "", "/path?query" or "?query"
	Header []Field
	Body   []byte // byte for byte, as the agent compressed it or not
}

// Field is one header's line.
type Field struct{ Name, Value string }

// A frame is
//
//	4 bytes  "fwd1"
//	4 bytes  length of the head, big endian
//	4 bytes  length of the body, big endian
//	head     route, method, target, number of fields, then name and value of each;
//	         numbers and the lengths before the texts are unsigned varints
//	body
//
// so that a reader needs no more than twelve bytes to step over it, and frames
// written one after the other are a batch.
const (
	magic   = "fwd1"
	prefix  = len(magic) + 8
	maxHead = 256 << 10 // bytes; intake/forward takes far less
)

// Append appends the frame of r to dst.
func Append(dst []byte, r *Request) []byte {
	start := len(dst)
	dst = append(Begin(dst, r), r.Body...)
	End(dst, start)
	return dst
}

// Begin appends a frame without its body: the caller appends that, which saves
// a copy, and then calls End with the length that dst had here.
func Begin(dst []byte, r *Request) []byte {
	start := len(dst)
	dst = append(append(dst, magic...), make([]byte, prefix-len(magic))...)
	dst = binary.AppendUvarint(dst, uint64(r.Route))
	dst = appendText(dst, r.Method)
	dst = appendText(dst, r.Target)
	dst = binary.AppendUvarint(dst, uint64(len(r.Header)))
	for _, f := range r.Header {
		dst = appendText(appendText(dst, f.Name), f.Value)
	}
	binary.BigEndian.PutUint32(dst[start+len(magic):], uint32(len(dst)-start-prefix))
	return dst
}

// End completes the frame that begins at start and goes to the end of frame.
func End(frame []byte, start int) {
	lengths := frame[start+len(magic):]
	head := int(binary.BigEndian.Uint32(lengths))
	binary.BigEndian.PutUint32(lengths[4:], uint32(len(frame)-start-prefix-head))
}

func appendText(dst []byte, text string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(text))), text...)
}

var errCut = errors.New("it is cut short")

// Parse reads the first of the frames and gives those after it. Body is part of
// frames. What it accepts is fit to be sent: no text in it can break out of its
// place in a request. Errors hold nothing of the request.
func Parse(frames []byte) (r Request, rest []byte, err error) {
	if len(frames) < prefix || string(frames[:len(magic)]) != magic {
		return r, nil, errors.New("read a forwarded request: that is no frame of one")
	}
	head, body := binary.BigEndian.Uint32(frames[4:]), binary.BigEndian.Uint32(frames[8:])
	after := frames[prefix:]
	if head > maxHead {
		return r, nil, fmt.Errorf("read a forwarded request: a head of %d bytes, at most %d", head, maxHead)
	}
	if uint64(head)+uint64(body) > uint64(len(after)) {
		return r, nil, fmt.Errorf("read a forwarded request: %w", errCut)
	}
	if err := r.parseHead(after[:head]); err != nil {
		return Request{}, nil, fmt.Errorf("read a forwarded request's head: %w", err)
	}
	r.Body = after[head : head+body : head+body]
	return r, after[head+body:], nil
}

func (r *Request) parseHead(head []byte) error {
	in := reader{rest: head}
	r.Route = in.number(math.MaxInt32)
	r.Method = in.text()
	r.Target = in.text()
	fields := in.number(len(head) / 2) // no field is shorter than its two lengths
	if in.err == nil {
		r.Header = make([]Field, 0, fields)
	}
	for range fields {
		f := Field{Name: in.text(), Value: in.text()}
		if in.err == nil && (!isToken(f.Name) || !isPrintable(f.Value, true)) {
			in.err = errors.New("a header's name or value holds what it must not")
		}
		r.Header = append(r.Header, f)
	}
	switch {
	case in.err != nil:
		return in.err
	case len(in.rest) > 0:
		return errors.New("something follows it")
	case !isToken(r.Method):
		return errors.New("the method is none")
	case r.Target != "" && r.Target[0] != '/' && r.Target[0] != '?' || !isPrintable(r.Target, false):
		return errors.New("the target is no path with a query")
	}
	return nil
}

// reader takes numbers and texts off a head; after its first error they are
// zero.
type reader struct {
	rest []byte
	err  error
}

func (in *reader) number(most int) int {
	if in.err != nil {
		return 0
	}
	n, size := binary.Uvarint(in.rest)
	switch {
	case size == 0:
		in.err = errCut
	case size < 0 || n > uint64(most):
		in.err = errors.New("a number is too large")
	case size > 1 && in.rest[size-1] == 0:
		in.err = errors.New("a number is written too long")
	default:
		in.rest = in.rest[size:]
		return int(n)
	}
	return 0
}

func (in *reader) text() string {
	n := in.number(math.MaxInt32)
	if n > len(in.rest) {
		in.err = errCut
		return ""
	}
	text := string(in.rest[:n])
	in.rest = in.rest[n:]
	return text
}

// isToken tells whether s may be a method or a header's name (RFC 9110, 5.6.2).
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != ""
}

// isPrintable tells that s holds no control characters; blanks are for values
// of headers only.
func isPrintable(s string, blanks bool) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && (c != '\t' || !blanks) || c == ' ' && !blanks || c == 0x7f {
			return false
		}
	}
	return true
}
