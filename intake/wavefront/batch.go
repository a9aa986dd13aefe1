package wavefront

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/VictoriaMetrics/easyproto"

	"slipstream/telemetry"
	"slipstream/wire"
)

// fullBatch is when what was read is handed over though more is coming.
const fullBatch = 64 << 10

// fullCommit is how many points are committed at once.
const fullCommit = 4096

// batch is what was read and not yet handed over, with the parser that fills
// it. It belongs to one connection while that gives lines, and is empty between.
type batch struct {
	options *Options
	parser  parser
	closing <-chan struct{}
	starved bool // the last wait for room was in vain
	points  *wire.Points
	added   int // points, since the last Commit
	spans   section
	logs    section
	proto   easyproto.Marshaler
	body    []byte
	whole   []byte
	export  telemetry.Export
}

// section is the spans or the log records of a batch, encoded.
type section struct {
	records []byte
	count   int
}

func newBatch(o *Options, closing <-chan struct{}) *batch {
	b := &batch{options: o, closing: closing, points: wire.NewPoints(o.Completion, scopeName)}
	b.parser.out, b.parser.minute = b, o.Minute
	return b
}

func (b *batch) drop(reason string) { b.options.Drop(reason, 1) }

func (b *batch) point(p *telemetry.Point) {
	if b.options.Points != nil && b.options.Points.Add(p) == nil {
		b.added++
		return
	}
	b.points.Append(p, b.parser.now)
}

func (b *batch) full() bool {
	return b.added >= fullCommit || b.points.Size() >= fullBatch ||
		len(b.spans.records) >= fullBatch || len(b.logs.records) >= fullBatch
}

// line takes one line and counts it if it is dropped.
func (b *batch) line(line []byte, f format) {
	if reason := b.parser.line(line, f); reason != "" {
		b.drop(reason)
	}
}

// Field numbers of opentelemetry-proto 1.x. Logs and traces have the same
// shape down to the records.
const (
	fieldResource = 1 // ResourceSpans, ResourceLogs of the request
	fieldScoped   = 2 // ScopeSpans, ScopeLogs of those
	fieldScope    = 1
	fieldRecords  = 2
	fieldName     = 1 // of InstrumentationScope

	logTime       = 1
	logBody       = 5
	logAttributes = 6
	logTrace      = 9
	logSpan       = 10
	logObserved   = 11
	logEventName  = 12

	spanTrace      = 1
	spanSelf       = 2
	spanParent     = 4
	spanName       = 5
	spanKindField  = 6
	spanStart      = 7
	spanEnd        = 8
	spanAttributes = 9
	spanLinks      = 13
	spanStatus     = 15
	linkTrace      = 1
	linkSpan       = 2
	linkAttributes = 4
	statusCode     = 3
	statusError    = 2

	keyField    = 1 // of KeyValue
	valueField  = 2
	valueString = 1 // of AnyValue
	valueInt    = 3
	valueArray  = 5

	scopeName = "wavefront"
	bytesWire = 2
)

// Attributes of OpenTelemetry's OpenTracing shim for a link's reason.
const (
	attributeReference = "opentracing.ref_type"
	followsFrom        = "follows_from"
	childOf            = "child_of"
	attributeEnd       = "wavefront.event.end_time" // Unix milliseconds
)

// span appends a span.
func (b *batch) span(s *span) {
	b.proto.Reset()
	m := b.proto.MessageMarshaler()
	m.AppendBytes(spanTrace, s.trace[:])
	m.AppendBytes(spanSelf, s.id[:])
	if s.parent != (spanID{}) {
		m.AppendBytes(spanParent, s.parent[:])
	}
	m.AppendBytes(spanName, s.name)
	if s.kind != 0 {
		m.AppendUint64(spanKindField, s.kind)
	}
	m.AppendFixed64(spanStart, uint64(s.start))
	m.AppendFixed64(spanEnd, uint64(s.start)+uint64(s.duration))
	if s.source != nil {
		appendString(m.AppendMessage(spanAttributes), "source", asString(s.source))
	}
	appendAttributes(m, spanAttributes, s.tags)
	for i := range s.links {
		l := m.AppendMessage(spanLinks)
		l.AppendBytes(linkTrace, s.trace[:])
		l.AppendBytes(linkSpan, s.links[i].to[:])
		why := childOf
		if s.links[i].follows {
			why = followsFrom
		}
		appendString(l.AppendMessage(linkAttributes), attributeReference, why)
	}
	if s.failed {
		m.AppendMessage(spanStatus).AppendUint64(statusCode, statusError)
	}
	b.spans.close(&b.proto)
}

// record appends a log record; one without a time gets the present one.
func (b *batch) record(r *record, now time.Time) {
	b.proto.Reset()
	m := b.proto.MessageMarshaler()
	if !r.at.IsZero() {
		m.AppendFixed64(logTime, uint64(r.at.UnixNano()))
	}
	m.AppendFixed64(logObserved, uint64(now.UnixNano()))
	if r.body != nil {
		m.AppendMessage(logBody).AppendBytes(valueString, r.body)
	}
	appendAttributes(m, logAttributes, r.attributes)
	if !r.until.IsZero() {
		a := m.AppendMessage(logAttributes)
		a.AppendString(keyField, attributeEnd)
		a.AppendMessage(valueField).AppendInt64(valueInt, r.until.UnixMilli())
	}
	if r.trace != (traceID{}) {
		m.AppendBytes(logTrace, r.trace[:])
		m.AppendBytes(logSpan, r.span[:])
	}
	m.AppendString(logEventName, r.event)
	b.logs.close(&b.proto)
}

// close ends a record.
func (s *section) close(m *easyproto.Marshaler) {
	s.records = m.MarshalWithLen(append(s.records, fieldRecords<<3|bytesWire))
	s.count++
}

func appendString(m *easyproto.MessageMarshaler, key, value string) {
	m.AppendString(keyField, key)
	m.AppendMessage(valueField).AppendString(valueString, value)
}

// appendAttributes appends each key once: OTLP wants them unique. A key that
// comes again, and hosts and tags always, have a list of values.
func appendAttributes(m *easyproto.MessageMarshaler, field uint32, tags []telemetry.Tag) {
	for i, tag := range tags {
		if indexKey(tags[:i], tag.Key) >= 0 {
			continue
		}
		a := m.AppendMessage(field)
		again := indexKey(tags[i+1:], tag.Key) >= 0
		if !again && !sameKey(tag.Key, keyHosts) && !sameKey(tag.Key, keyTags) {
			appendString(a, asString(tag.Key), asString(tag.Value))
			continue
		}
		a.AppendBytes(keyField, tag.Key)
		list := a.AppendMessage(valueField).AppendMessage(valueArray)
		for _, other := range tags[i:] {
			if string(other.Key) == string(tag.Key) {
				list.AppendMessage(1).AppendBytes(valueString, other.Value)
			}
		}
	}
}

// sameKey tells whether key is one of ours, not a sender's of the same text.
func sameKey(key, ours []byte) bool { return len(key) > 0 && &key[0] == &ours[0] }

func indexKey(tags []telemetry.Tag, key []byte) int {
	for i := range tags {
		if string(tags[i].Key) == string(key) {
			return i
		}
	}
	return -1
}

// flush hands over what the batch has and empties it. The first refusal ends
// it; what was not handed over is then lost to the batch, and counted if lost
// is set: a sender who gets an answer keeps it itself.
func (b *batch) flush(lost bool) error {
	if b.added > 0 {
		b.options.Points.Commit()
		b.added = 0
	}
	var refused error
	hand := func(e *telemetry.Export) {
		if refused == nil {
			refused = b.hand(e)
		}
		if refused != nil && lost {
			b.options.Drop(reasonOf(refused), e.Records)
		}
	}
	if b.points.Size() > 0 {
		hand(b.points.Export())
		b.points.Reset()
	}
	if b.spans.count > 0 {
		hand(b.complete(telemetry.Traces, &b.spans))
	}
	if b.logs.count > 0 {
		hand(b.complete(telemetry.Logs, &b.logs))
	}
	b.shrink()
	return refused
}

func reasonOf(err error) string {
	if errors.Is(err, telemetry.ErrNoRoom) {
		return reasonNoRoom
	}
	return reasonOver
}

// complete makes an Export of a section and empties that.
func (b *batch) complete(signal telemetry.Signal, s *section) *telemetry.Export {
	scope := 2 + 2 + len(scopeName)
	scoped := scope + len(s.records)
	body := append(b.body[:0], fieldResource<<3|bytesWire)
	body = binary.AppendUvarint(body, uint64(1+uvarintSize(scoped)+scoped))
	body = append(body, fieldScoped<<3|bytesWire)
	body = binary.AppendUvarint(body, uint64(scoped))
	body = append(body, fieldScope<<3|bytesWire, byte(2+len(scopeName)), fieldName<<3|bytesWire, byte(len(scopeName)))
	body = append(body, scopeName...)
	b.body = append(body, s.records...)
	b.whole = b.options.Completion.Complete(b.whole[:0], signal, b.body)
	b.export = telemetry.Export{Signal: signal, Records: s.count, Body: b.whole}
	s.records, s.count = s.records[:0], 0
	return &b.export
}

func uvarintSize(n int) int {
	size := 1
	for ; n >= 0x80; n >>= 7 {
		size++
	}
	return size
}

// shrink lets go of buffers that one large line has made.
func (b *batch) shrink() {
	for _, buffer := range []*[]byte{&b.spans.records, &b.logs.records, &b.body, &b.whole, &b.parser.text} {
		if cap(*buffer) > 4*fullBatch {
			*buffer = nil
		}
	}
}

// hand gives an export away. It waits for room, within bounds, but not again
// and again while there is none.
func (b *batch) hand(e *telemetry.Export) error {
	err := b.options.Take(e)
	if errors.Is(err, telemetry.ErrNoRoom) && !b.starved {
		err = b.waitForRoom(e)
	}
	b.starved = errors.Is(err, telemetry.ErrNoRoom)
	return err
}

func (b *batch) waitForRoom(e *telemetry.Export) error {
	over := time.NewTimer(b.options.RoomWait)
	defer over.Stop()
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, 200*time.Millisecond) {
		again := time.NewTimer(pause)
		select {
		case <-over.C:
			again.Stop()
			return telemetry.ErrNoRoom
		case <-b.closing:
			again.Stop()
			return b.options.Take(e)
		case <-again.C:
		}
		if err := b.options.Take(e); !errors.Is(err, telemetry.ErrNoRoom) {
			return err
		}
	}
}
