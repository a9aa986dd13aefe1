package wavefront

import (
	"bytes"
	"encoding/hex"
	"math"
	"strconv"
	"time"

	"slipstream/telemetry"
)

type (
	traceID [16]byte
	spanID  [8]byte
)

// span is what a span line says.
type span struct {
	trace           traceID
	id, parent      spanID
	name, source    []byte
	start, duration time.Duration // since 1970
	kind            uint64
	failed          bool
	links           []link
	tags            []telemetry.Tag
}

// link is a further parent, or a span that this one follows from.
type link struct {
	to      spanID
	follows bool
}

// spanLine reads `name key=value ... start duration`.
func (p *parser) spanLine() string {
	name, ok := p.scan.word()
	if !ok {
		return reasonMalformed
	}
	p.startSpan(name)
	return p.restOfSpan()
}

// spanFrom is spanLine for a line whose name and first key have been read.
func (p *parser) spanFrom(name, key []byte) string {
	p.startSpan(name)
	value, ok := p.value()
	if !ok || !p.annotate(key, value) {
		return reasonMalformed
	}
	return p.restOfSpan()
}

func (p *parser) startSpan(name []byte) {
	p.span = span{name: name, links: p.span.links[:0], tags: p.span.tags[:0]}
	p.source = nil
}

func (p *parser) restOfSpan() string {
	for p.scan.peek() == word && !isDigits(p.scan.text) {
		key, value, ok := p.pair()
		if !ok || !p.annotate(key, value) {
			return reasonMalformed
		}
	}
	s := &p.span
	if !p.times() || s.trace == (traceID{}) || s.id == (spanID{}) || p.scan.peek() != end || p.scan.broken {
		return reasonMalformed
	}
	if reason := p.checkSpan(); reason != "" {
		return reason
	}
	p.out.span(s)
	return ""
}

// annotate takes a pair to where it belongs; false for an id that is no UUID.
func (p *parser) annotate(key, value []byte) bool {
	s := &p.span
	var id [16]byte
	switch string(key) {
	case "source", "host":
		s.source = value
		return true
	case "traceId", "spanId", "parent", "followsFrom":
		if !uuid(value, &id) {
			return false
		}
	case "span.kind":
		s.kind = spanKind(value)
	case "error":
		s.failed = s.failed || string(value) == "true"
	}
	switch string(key) {
	case "traceId":
		s.trace = id
	case "spanId":
		s.id = fold(id)
	case "parent":
		if s.parent == (spanID{}) {
			s.parent = fold(id)
		} else {
			s.links = append(s.links, link{to: fold(id)})
		}
	case "followsFrom":
		s.links = append(s.links, link{to: fold(id), follows: true})
	default:
		s.tags = append(s.tags, telemetry.Tag{Key: key, Value: value})
	}
	return true
}

// fold makes the 8 bytes of an OTLP span id of a UUID: its halves, one XOR the
// other. So an id of 8 bytes that was padded with zeros to be a UUID, on
// whichever side, is itself again, and the ids of one host that differ only in
// the time, in the first half of version 1, stay different.
func fold(id [16]byte) spanID {
	var s spanID
	for i := range s {
		s[i] = id[i] ^ id[i+8]
	}
	if s == (spanID{}) { // two equal halves: zero would mean no id
		copy(s[:], id[:8])
	}
	return s
}

// uuid reads the 36 characters of a UUID that is not all zeros.
func uuid(text []byte, id *[16]byte) bool {
	if len(text) != 36 || text[8] != '-' || text[13] != '-' || text[18] != '-' || text[23] != '-' {
		return false
	}
	var digits [32]byte
	n := copy(digits[:], text[:8])
	n += copy(digits[n:], text[9:13])
	n += copy(digits[n:], text[14:18])
	n += copy(digits[n:], text[19:23])
	copy(digits[n:], text[24:])
	_, err := hex.Decode(id[:], digits[:])
	return err == nil && *id != [16]byte{}
}

// spanKind is OTLP's number for OpenTracing's span.kind, 0 for others.
func spanKind(value []byte) uint64 {
	switch string(value) {
	case "server":
		return 2
	case "client":
		return 3
	case "producer":
		return 4
	case "consumer":
		return 5
	}
	return 0
}

// times reads start and duration. Their unit is told by the size of the start;
// a duration that is not before the start is the end, as the proxy sees it.
func (p *parser) times() bool {
	start, ok := p.whole()
	if !ok {
		return false
	}
	duration, ok := p.whole()
	if !ok {
		return false
	}
	if duration >= start {
		duration -= start
	}
	unit := time.Second
	switch {
	case start > 999_999_999_999_999_999:
		unit = time.Nanosecond
	case start > 999_999_999_999_999:
		unit = time.Microsecond
	case start > 999_999_999_999:
		unit = time.Millisecond
	}
	if start > math.MaxInt64/int64(unit) || duration > math.MaxInt64/int64(unit) {
		return false
	}
	p.span.start, p.span.duration = time.Duration(start)*unit, time.Duration(duration)*unit
	return true
}

// whole takes a number that is not negative, without its fraction.
func (p *parser) whole() (int64, bool) {
	text, ok := p.scan.word()
	if !ok {
		return 0, false
	}
	if isDigits(text) {
		n, err := strconv.ParseInt(asString(text), 10, 64)
		return n, err == nil
	}
	v, ok := number(text)
	if !ok || v < 0 || v >= math.MaxInt64 {
		return 0, false
	}
	return int64(v), true
}

// checkSpan gives the reason for which the span is refused. A value may be long,
// where the proxy would cut it: half a secret is not known as one, so nothing is
// cut before it is redacted.
func (p *parser) checkSpan() string {
	s := &p.span
	switch {
	case s.source != nil && blank(s.source):
		return reasonSpanNoSource
	case longer(s.source, maxName):
		return reasonSpanSrcLong
	case longer(s.name, maxSpanName):
		return reasonSpanLong
	case bytes.IndexByte(s.name, '*') >= 0:
		return reasonSpanName
	}
	annotations := len(s.tags) + len(s.links)
	if s.parent != (spanID{}) {
		annotations++
	}
	if annotations > maxSpanTags {
		return reasonSpanTags
	}
	for _, tag := range s.tags {
		switch {
		case longer(tag.Key, maxSpanTagKey):
			return reasonSpanKeyLong
		case !legalName(tag.Key):
			return reasonSpanKey
		case blank(tag.Value):
			return reasonSpanNoValue
		}
	}
	return ""
}
