// Package frame keeps log records and exports as bytes for a while: an Encoder
// appends them to memory or to a file, Decode and DecodeExport read them again, in
// the process that wrote them or, after a crash, in the next one. It is no format
// for others.
package frame

import (
	"encoding/binary"
	"errors"
	"math"
	"time"

	"slipstream/telemetry"
)

// The first byte of each frame, the version of what it holds; another one is not
// read.
const (
	version         = 1 // a log record
	exportedVersion = 2 // an export
)

// The parts that a record may lack.
const (
	hasMessage = 1 << iota
	hasFields
)

// Encoder appends frames; it is a wire.Encoder, so that chunks can hold them.
type Encoder struct{ Note }

// Note is kept with an export, for whoever holds it.
type Note struct {
	At       time.Time // when it was made; zero: it is known whose it is
	Doubtful bool      // it may be of this invocation
}

// AppendLog appends one record as a frame: its version; the length of the rest;
// seconds and nanoseconds; level, flags, adjusted count; type, request id, body,
// message and fields, each behind its length. Numbers are varints.
func (Encoder) AppendLog(dst []byte, l *telemetry.Log) []byte {
	dst = append(dst, version)
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	flags := byte(0)
	if l.Message != nil {
		flags |= hasMessage
	}
	if l.Fields != nil {
		flags |= hasFields
	}
	dst = binary.AppendVarint(dst, l.Time.Unix())
	dst = binary.AppendUvarint(dst, uint64(l.Time.Nanosecond()))
	dst = append(dst, byte(l.Level), flags)
	dst = binary.AppendUvarint(dst, uint64(l.AdjustedCount))
	dst = appendPart(dst, l.Type)
	dst = appendPart(dst, l.RequestID)
	dst = appendPart(dst, l.Body)
	if l.Message != nil {
		dst = appendPart(dst, l.Message)
	}
	if l.Fields != nil {
		dst = binary.AppendUvarint(dst, uint64(len(l.Fields)))
		for i := range l.Fields {
			dst = appendPart(dst, l.Fields[i].Key)
			dst = appendPart(dst, l.Fields[i].Value)
		}
	}
	binary.LittleEndian.PutUint32(dst[start:], uint32(len(dst)-start-4))
	return dst
}

// AppendExport appends an export as a frame: its version; the length of the rest;
// signal and body, each behind its length; the number of records; seconds and
// nanoseconds of At; whether it is doubtful.
func (e Encoder) AppendExport(dst []byte, x *telemetry.Export) []byte {
	dst = append(dst, exportedVersion)
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	dst = appendPart(dst, x.Signal)
	dst = appendPart(dst, x.Body)
	dst = binary.AppendUvarint(dst, uint64(x.Records))
	dst = binary.AppendVarint(dst, e.At.Unix())
	dst = binary.AppendUvarint(dst, uint64(e.At.Nanosecond()))
	doubtful := byte(0)
	if e.Doubtful {
		doubtful = 1
	}
	dst = append(dst, doubtful)
	binary.LittleEndian.PutUint32(dst[start:], uint32(len(dst)-start-4))
	return dst
}

func appendPart[T ~string | ~[]byte](dst []byte, part T) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(part))), part...)
}

// AppendHead appends nothing: frames stand for themselves.
func (Encoder) AppendHead(dst []byte, _ int) []byte { return dst }

// ContentType is that of bytes: frames are never sent.
func (Encoder) ContentType() string { return "application/octet-stream" }

// Extension is that of no file of ours.
func (Encoder) Extension() string { return ".frames" }

// Errors of Decode.
var (
	// ErrCut says that the frame's end is missing: of an append-only store it is the
	// last one, which a crash has cut.
	ErrCut = errors.New("read a held record: it is cut")
	// ErrBroken says that the bytes are no frame, or one of another version.
	ErrBroken = errors.New("read a held record: the bytes are none")
)

// Decode reads the frame that b begins with into l and gives the bytes behind it.
// The Log borrows from b. What l has is used again where it can be: its Fields'
// memory, and strings that are equal, so that a Decode after the other of one
// invocation's records allocates nothing.
func Decode(b []byte, l *telemetry.Log) (rest []byte, err error) {
	r, rest, err := open(b, version)
	if err != nil {
		return b, err
	}
	seconds, nanoseconds := r.signed(), r.number()
	level, flags := r.byte(), r.byte()
	count := r.number()
	kind, id, body := r.part(), r.part(), r.part()
	var message []byte
	if flags&hasMessage != 0 {
		message = r.part()
	}
	fields := r.fields(l.Fields, flags&hasFields != 0)
	if r.bad || len(r.b) > 0 || count > math.MaxUint32 ||
		flags&^(hasMessage|hasFields) != 0 {
		return b, ErrBroken
	}
	l.Time = time.Unix(seconds, int64(nanoseconds)).UTC()
	l.Type, l.RequestID = known(l.Type, kind), same(l.RequestID, id)
	l.Body, l.Message, l.Fields = body, message, fields
	l.Level, l.AdjustedCount = telemetry.Level(level), uint32(count)
	return rest, nil
}

// Exported tells whether the frame that b begins with is an export's.
func Exported(b []byte) bool { return len(b) > 0 && b[0] == exportedVersion }

// DecodeExport reads an export's frame as Decode does a log record's, and gives the
// Encoder's Note.
func DecodeExport(b []byte, x *telemetry.Export) (n Note, rest []byte, err error) {
	r, rest, err := open(b, exportedVersion)
	if err != nil {
		return n, b, err
	}
	signal, body, records := r.part(), r.part(), r.number()
	seconds, nanoseconds, doubtful := r.signed(), r.number(), r.byte()
	if r.bad || len(r.b) > 0 || records > math.MaxInt32 || nanoseconds >= 1e9 || doubtful > 1 {
		return n, b, ErrBroken
	}
	x.Signal, x.Body, x.Records = telemetry.Signal(same(string(x.Signal), signal)), body, int(records)
	n = Note{At: time.Unix(seconds, int64(nanoseconds)).UTC(), Doubtful: doubtful == 1}
	return n, rest, nil
}

// open gives what the frame that b begins with holds, and what is behind it.
func open(b []byte, version byte) (r reader, rest []byte, err error) {
	switch {
	case len(b) == 0:
		return r, b, ErrCut
	case b[0] != version:
		return r, b, ErrBroken
	case len(b) < 5:
		return r, b, ErrCut
	}
	size := binary.LittleEndian.Uint32(b[1:])
	if uint64(size) > uint64(len(b)-5) {
		return r, b, ErrCut
	}
	return reader{b: b[5 : 5+size]}, b[5+size:], nil
}

// same gives the string that is there if it is the text.
func same(have string, text []byte) string {
	if have == string(text) {
		return have
	}
	return string(text)
}

// known does the same, and knows the types that come in turns.
func known(have string, text []byte) string {
	switch string(text) {
	case "function":
		return "function"
	case "extension":
		return "extension"
	}
	return same(have, text)
}

// reader takes a frame apart; bad once it was no frame.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) number() uint64 {
	n, size := binary.Uvarint(r.b)
	r.skip(size)
	return n
}

func (r *reader) signed() int64 {
	n, size := binary.Varint(r.b)
	r.skip(size)
	return n
}

// skip passes so many bytes; a size that is none makes the frame bad.
func (r *reader) skip(size int) {
	if size <= 0 {
		r.bad, r.b = true, nil
		return
	}
	r.b = r.b[size:]
}

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.bad = true
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

// part gives bytes that are not nil, whatever their length.
func (r *reader) part() []byte {
	size := r.number()
	if r.bad || size > uint64(len(r.b)) {
		r.bad = true
		return nil
	}
	part := r.b[:size:size]
	if part == nil {
		part = []byte{}
	}
	r.b = r.b[size:]
	return part
}

// fields reads them into the memory of others; nil if there are none.
func (r *reader) fields(into []telemetry.Field, there bool) []telemetry.Field {
	if !there {
		return nil
	}
	n := r.number()
	if n > uint64(len(r.b)/2) { // each has two lengths at least
		r.bad = true
		return nil
	}
	if into = into[:0]; into == nil {
		into = make([]telemetry.Field, 0, n)
	}
	for range n {
		into = append(into, telemetry.Field{Key: r.part(), Value: r.part()})
	}
	return into
}
