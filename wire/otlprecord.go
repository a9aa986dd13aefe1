package wire

import (
	"math"
	"slices"
	"strconv"

	"slipstream/telemetry"
)

// What the hooks of an ExportEdit may ask of the record that the walk is in.
// Each answer is read from its bytes when it is asked for, before any change,
// and borrowed from them.

// Signal is the export's.
func (w *ExportEdit) Signal() telemetry.Signal { return w.signal }

// Field is where the value stands that a hook is asked for, by OTLP/JSON's name
// of the field: body, attributes, name, message (of a span's status), traceState
// and so on; key for the name of an attribute itself.
func (w *ExportEdit) Field() string { return w.field }

// InRecord is false for what is said of a resource, a scope or a metric.
func (w *ExportEdit) InRecord() bool { return w.record >= 0 }

// Size is how many bytes the text or value has that a hook is asked for; in
// Record, those of the record.
func (w *ExportEdit) Size() int {
	return w.current.size
}

// AppendValue appends the number or boolean that Value is asked for as text;
// nothing for a list, members, or bytes that are no text.
func (w *ExportEdit) AppendValue(dst []byte) []byte {
	return appendScalar(dst, w.current.kind, w.current.bits)
}

func appendScalar(dst []byte, kind otlpKind, bits uint64) []byte {
	switch kind {
	case kindBool:
		return strconv.AppendBool(dst, bits != 0)
	case kindInt64, kindInt32:
		return strconv.AppendInt(dst, int64(bits), 10)
	case kindDouble:
		return strconv.AppendFloat(dst, math.Float64frombits(bits), 'g', -1, 64)
	}
	return dst
}

// Mark adds an attribute of that name, true, to the record, unless it has one.
// Outside of records it does nothing.
func (w *ExportEdit) Mark(key string) { w.add(addition{key: key}) }

// Weigh says, as OTLPLogs does, that the record stands for n records.
func (w *ExportEdit) Weigh(n uint32) { w.add(addition{attributeAdjustedCount, int64(n)}) }

func (w *ExportEdit) add(a addition) {
	if w.record >= 0 && !slices.ContainsFunc(w.marks, func(known addition) bool { return known.key == a.key }) {
		w.marks = append(w.marks, a)
	}
}

// TraceID is the trace of a log record or a span, 16 bytes; nil for none.
func (w *ExportEdit) TraceID() (id []byte) {
	switch b, message := w.recordBytes(); message {
	case msgLogRecord:
		_, id = lastField(b, 9)
	case msgSpan:
		_, id = lastField(b, 1)
	}
	if len(id) != traceIDSize {
		return nil
	}
	return id
}

// Time is when a log record was made, or a span began, in ns since 1970; 0 if that
// is not said.
func (w *ExportEdit) Time() (at uint64) {
	switch b, message := w.recordBytes(); message {
	case msgLogRecord:
		if at, _ = lastField(b, fieldTime); at == 0 {
			at, _ = lastField(b, fieldObservedTime)
		}
	case msgSpan:
		at, _ = lastField(b, 7)
	}
	return at
}

// Level is a log record's severity, or LevelError for a span whose status says
// that it failed; else 0.
func (w *ExportEdit) Level() telemetry.Level {
	switch b, message := w.recordBytes(); message {
	case msgLogRecord:
		n, _ := lastField(b, fieldSeverityNumber)
		return telemetry.Level(min(n, 255))
	case msgSpan:
		const status, code, failed = 15, 3, 2
		_, s := lastField(b, status)
		if n, _ := lastField(s, code); n == failed {
			return telemetry.LevelError
		}
	}
	return 0
}

// Name is a span's name, a data point's metric's or a log record's event's.
func (w *ExportEdit) Name() (name []byte) {
	switch b, message := w.recordBytes(); message {
	case msgLogRecord:
		_, name = lastField(b, fieldEventName)
	case msgSpan:
		_, name = lastField(b, 5)
	default:
		for i := w.record; i >= 0; i-- {
			if f := &w.frames[i]; f.message == msgMetric {
				_, name = lastField(w.src[f.content:f.end], 1)
			}
		}
	}
	return name
}

// Entry tells whether the span is the first of this function in its trace: it
// serves a request, or its parent is elsewhere or nowhere.
func (w *ExportEdit) Entry() bool {
	b, message := w.recordBytes()
	if message != msgSpan {
		return false
	}
	const parent, kind, flags = 4, 6, 16
	const server, remote = 2, 0x300 // the bits that say "known" and "remote"
	if k, _ := lastField(b, kind); k == server {
		return true
	}
	if _, id := lastField(b, parent); len(id) == 0 {
		return true
	}
	f, _ := lastField(b, flags)
	return f&remote == remote
}

// Body is the text of a log record's body, nil for any other value.
func (w *ExportEdit) Body() []byte {
	if b, message := w.recordBytes(); message == msgLogRecord {
		_, body := lastField(b, fieldBody)
		return textOf(body)
	}
	return nil
}

// Attribute is the value of the record's attribute, or of the member of that
// name of a log record's body; of several the last attribute. A number or
// boolean is given as text, valid until the next call; an empty slice is given
// for a value that has no text, nil where there is none of that name.
func (w *ExportEdit) Attribute(key string) []byte {
	b, message := w.recordBytes()
	if message == 0 {
		return nil
	}
	v, found := valueOf(b, attributesField[message], key)
	if !found && message == msgLogRecord {
		_, body := lastField(b, fieldBody)
		_, members := lastField(body, fieldKeyValue)
		v, found = valueOf(members, fieldValues, key)
	}
	if !found {
		return nil
	}
	if text := textOf(v); text != nil {
		return text
	}
	w.rendered = w.rendered[:0]
	for at := 0; at < len(v); {
		tag, bits, end := readField(v, at)
		if end < 0 {
			break
		}
		if n := tag >> 3; n < uint64(len(otlpMessages[msgAnyValue])) {
			w.rendered = appendScalar(w.rendered[:0], otlpMessages[msgAnyValue][n].kind, bits)
		}
		at = end
	}
	if w.rendered == nil {
		w.rendered = make([]byte, 0, 32)
	}
	return w.rendered
}

// recordBytes is the record that the walk is in; 0 for the message if in none.
func (w *ExportEdit) recordBytes() (b []byte, message uint8) {
	if w.record < 0 {
		return nil, 0
	}
	f := &w.frames[w.record]
	return w.src[f.content:f.end], f.message
}

// look shows the record's attributes to Look.
func (w *ExportEdit) look(message uint8, at, to int) {
	want := uint64(attributesField[message])<<3 | wireBytes
	for at < to {
		tag, size, end := readField(w.src[:to], at)
		if end < 0 {
			break
		}
		if tag == want {
			key, v := keyAndValue(w.src[end-int(size) : end])
			w.Look(key, textOf(v), len(v))
		}
		at = end
	}
}

// lastField gives the number or the content of the last field of that number.
func lastField(b []byte, number int) (bits uint64, content []byte) {
	for at := 0; at < len(b); {
		tag, v, end := readField(b, at)
		if end < 0 {
			break
		}
		if tag>>3 == uint64(number) {
			bits, content = v, nil
			if tag&7 == wireBytes {
				content = b[end-int(v) : end]
			}
		}
		at = end
	}
	return bits, content
}

// keyAndValue gives the parts of a KeyValue.
func keyAndValue(kv []byte) (key, v []byte) {
	for at := 0; at < len(kv); {
		tag, size, end := readField(kv, at)
		if end < 0 {
			break
		}
		switch tag {
		case fieldKey<<3 | wireBytes:
			key = kv[end-int(size) : end]
		case fieldValue<<3 | wireBytes:
			v = kv[end-int(size) : end]
		}
		at = end
	}
	return key, v
}

// valueOf is the AnyValue of the last KeyValue with that key among a message's
// fields of that number.
func valueOf(b []byte, number int, key string) (v []byte, found bool) {
	want := uint64(number)<<3 | wireBytes
	for at := 0; at < len(b); {
		tag, size, end := readField(b, at)
		if end < 0 {
			break
		}
		if tag == want {
			if k, value := keyAndValue(b[end-int(size) : end]); string(k) == key {
				v, found = value, true
			}
		}
		at = end
	}
	return v, found
}

// textOf is the text of an AnyValue, nil where its last field is none.
func textOf(v []byte) (text []byte) {
	for at := 0; at < len(v); {
		tag, size, end := readField(v, at)
		if end < 0 {
			break
		}
		switch tag {
		case fieldString<<3 | wireBytes, 7<<3 | wireBytes:
			text = v[end-int(size) : end]
		default:
			if tag>>3 < uint64(len(otlpMessages[msgAnyValue])) {
				text = nil
			}
		}
		at = end
	}
	return text
}
