package wire

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math"
	"strconv"

	"slipstream/telemetry"
)

// ExportToJSON appends a request in protobuf as one line of OTLP/JSON without
// its line end, the format of OpenTelemetry's file exporter:
// {"resourceSpans":[…]}. Fields stand in the order of their numbers; those that
// OTLP does not know are left out, as are zeros that say nothing. For a body
// that CheckExport found right there is no error.
func ExportToJSON(dst []byte, signal telemetry.Signal, body []byte) ([]byte, error) {
	line := dst
	request, flaw := requestOf(signal)
	if flaw == nil {
		line, flaw = appendJSONMessage(dst, request, body, 0)
	}
	if flaw != nil {
		return dst, fmt.Errorf("write OTLP %s of %d bytes as JSON: %w", signal, len(body), flaw)
	}
	return line, nil
}

// spot is where a message has a field: the first and the last of n.
type spot struct{ first, last, n int }

// appendJSONMessage appends the object for one message. Protobuf may hold the
// fields in any order and several times, so they are found first.
func appendJSONMessage(dst []byte, message uint8, b []byte, depth int) ([]byte, *otlpFlaw) {
	if depth > maxNesting {
		return dst, &otlpFlaw{cause: errNesting}
	}
	fields := otlpMessages[message]
	var spots [maxFields]spot
	if flaw := findFields(fields, b, &spots); flaw != nil {
		return dst, flaw
	}
	dst = append(dst, '{')
	start := len(dst)
	for number := range fields {
		f, s := &fields[number], &spots[number]
		if s.n == 0 {
			continue
		}
		before := len(dst)
		if before > start {
			dst = append(dst, ',')
		}
		dst = append(append(append(dst, '"'), f.name...), `":`...)
		var flaw *otlpFlaw
		written := true
		if f.trait&repeated != 0 {
			dst, flaw = appendJSONList(dst, f, uint64(number), b[s.first:], depth)
		} else {
			dst, written, flaw = appendJSONField(dst, f, b, s, depth)
		}
		if flaw != nil {
			return dst, flaw.in(f.name)
		}
		if !written {
			dst = dst[:before]
		}
	}
	return append(dst, '}'), nil
}

// findFields notes where the message's known fields are.
func findFields(fields []otlpField, b []byte, spots *[maxFields]spot) *otlpFlaw {
	choice := uint64(0) // of the fields of which only the last holds
	for at := 0; at < len(b); {
		tag, _, end := readField(b, at)
		if end < 0 {
			return &otlpFlaw{cause: errProtobuf}
		}
		if number := tag >> 3; number < uint64(len(fields)) && fields[number].kind != kindUnknown {
			f := &fields[number]
			if tag&7 != wireTypes[f.kind] && (tag&7 != wireBytes || f.trait&repeated == 0) {
				return (&otlpFlaw{cause: errWireType}).in(f.name)
			}
			if f.trait&oneOf != 0 && choice != number {
				spots[choice].n = 0
				choice = number
			}
			s := &spots[number]
			if s.n == 0 {
				s.first = at
			}
			s.last = at
			s.n++
		}
		at = end
	}
	return nil
}

// appendJSONField appends the value of a field that is no list; written is
// false where it is a zero that says nothing.
func appendJSONField(dst []byte, f *otlpField, b []byte, s *spot, depth int) (_ []byte, written bool, _ *otlpFlaw) {
	_, value, end := readField(b, s.last)
	if f.kind != kindMessage {
		if wireTypes[f.kind] == wireVarint {
			value = narrow(f.kind, value)
		}
		if value == 0 && f.trait == once {
			return dst, false, nil
		}
		return appendJSONValue(dst, f.kind, value, b[:end]), true, nil
	}
	content := b[end-int(value) : end]
	if s.n > 1 && f.of != msgResource {
		return dst, false, &otlpFlaw{cause: errTwice}
	}
	if s.n > 1 { // protobuf joins them to one
		content = nil
		tag, _, _ := readField(b, s.first)
		for at := s.first; at <= s.last; {
			other, size, end := readField(b, at)
			if other == tag {
				content = append(content, b[end-int(size):end]...)
			}
			at = end
		}
	}
	dst, flaw := appendJSONMessage(dst, f.of, content, depth+1)
	return dst, true, flaw
}

// appendJSONList appends all values of a repeated field, packed or not.
func appendJSONList(dst []byte, f *otlpField, number uint64, b []byte, depth int) ([]byte, *otlpFlaw) {
	dst = append(dst, '[')
	start := len(dst)
	var flaw *otlpFlaw
	for at := 0; at < len(b); {
		tag, value, end := readField(b, at)
		at = end
		if tag>>3 != number {
			continue
		}
		if len(dst) > start {
			dst = append(dst, ',')
		}
		switch {
		case f.kind == kindMessage:
			if dst, flaw = appendJSONMessage(dst, f.of, b[end-int(value):end], depth+1); flaw != nil {
				return dst, flaw
			}
		case tag&7 == wireTypes[f.kind]:
			dst = appendJSONValue(dst, f.kind, value, b[:end])
		default:
			if dst, flaw = appendJSONPacked(dst, f.kind, b[end-int(value):end]); flaw != nil {
				return dst, flaw
			}
		}
		if len(dst) > start && dst[len(dst)-1] == ',' { // a packed list of none
			dst = dst[:len(dst)-1]
		}
	}
	return append(dst, ']'), nil
}

func appendJSONPacked(dst []byte, k otlpKind, b []byte) ([]byte, *otlpFlaw) {
	if !packed(k, b) {
		return dst, &otlpFlaw{cause: errProtobuf}
	}
	for at := 0; at < len(b); {
		if at > 0 {
			dst = append(dst, ',')
		}
		var value uint64
		if wireTypes[k] == wireFixed64 {
			value, at = littleEndian64(b[at:]), at+8
		} else {
			value, at = readVarint(b, at)
		}
		dst = appendJSONValue(dst, k, narrow(k, value), nil)
	}
	return dst, nil
}

// narrow is a varint as its kind takes it.
func narrow(k otlpKind, value uint64) uint64 {
	switch k {
	case kindBool:
		return min(value, 1)
	case kindEnum, kindInt32:
		return uint64(int64(int32(value)))
	case kindUint32, kindSint32:
		return uint64(uint32(value))
	}
	return value
}

// appendJSONValue appends one value that is no message, as readField gave it;
// bytes are the last of b.
func appendJSONValue(dst []byte, k otlpKind, value uint64, b []byte) []byte {
	switch k {
	case kindString:
		return appendText(dst, b[len(b)-int(value):])
	case kindBytes:
		dst = base64.StdEncoding.AppendEncode(append(dst, '"'), b[len(b)-int(value):])
		return append(dst, '"')
	case kindTraceID, kindSpanID:
		return append(hex.AppendEncode(append(dst, '"'), b[len(b)-int(value):]), '"')
	case kindBool:
		return strconv.AppendBool(dst, value != 0)
	case kindEnum, kindInt32:
		return strconv.AppendInt(dst, int64(value), 10)
	case kindSint32:
		return strconv.AppendInt(dst, int64(int32(uint32(value)>>1)^-int32(value&1)), 10)
	case kindUint32, kindFixed32:
		return strconv.AppendUint(dst, value, 10)
	case kindInt64, kindSfixed64:
		return append(strconv.AppendInt(append(dst, '"'), int64(value), 10), '"')
	case kindDouble:
		return appendDouble(dst, math.Float64frombits(value))
	}
	return append(strconv.AppendUint(append(dst, '"'), value, 10), '"')
}

// appendDouble appends f with the fewest digits that give it back, as
// encoding/json does; what JSON has no number for is text, as in protobuf's JSON.
func appendDouble(dst []byte, f float64) []byte {
	switch a := math.Abs(f); {
	case math.IsNaN(f):
		return append(dst, `"NaN"`...)
	case math.IsInf(f, 1):
		return append(dst, `"Infinity"`...)
	case math.IsInf(f, -1):
		return append(dst, `"-Infinity"`...)
	case a != 0 && (a < 1e-6 || a >= 1e21):
		return strconv.AppendFloat(dst, f, 'e', -1, 64)
	}
	return strconv.AppendFloat(dst, f, 'f', -1, 64)
}
