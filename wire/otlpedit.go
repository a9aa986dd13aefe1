package wire

import (
	"unicode/utf8"

	"slipstream/telemetry"
)

// ExportEdit is a walk over an export that changes what its hooks say and
// decodes nothing: what they leave is copied as it is, fields unknown to OTLP
// too. A hook that is nil changes nothing. The methods beside Edit look at the
// record that the walk is in, and are for hooks only. It keeps its memory from
// one export to the next and serves one goroutine at a time.
type ExportEdit struct {
	// Look sees each attribute of a record before Record is asked: its text, nil
	// where it is none, and how many bytes its value takes.
	Look func(key, text []byte, size int)
	// Record is asked at each log record, span and data point, before anything in
	// it is changed. false drops it, and with the last one of a metric, scope or
	// resource that too.
	Record func() (keep bool)
	// Text is asked for each string, and bytes that are UTF-8: values of
	// attributes with the dotted path of their keys, others without one. What
	// replaces the text is appended to dst and returned with true. nil and true
	// remove the attribute, or the item of a list, and empty any other text.
	Text func(dst, path, text []byte) (out []byte, changed bool)
	// Value is asked for each value that is no text: a number, a list, members.
	// If it leaves a list or members, their own values are asked for. Its answers
	// are those of Text: a text takes the place of the value.
	Value func(dst, path []byte) (out []byte, changed bool)

	signal           telemetry.Signal
	src, dst         []byte
	copied           int     // how much of src is in dst, or cut
	changed          bool    // else src is the result
	frames           []frame // the messages around the walk
	opened           int     // how many of them are begun in dst
	records, dropped int
	path             []byte
	text             []byte // what Text and Value append to
	field            string
	current          value
	record           int        // the index of the record's frame, -1 outside
	marks            []addition // to the record
	rendered         []byte     // what Attribute has made of a number
}

// frame is a message that the walk is in.
type frame struct {
	start, content, end int // in src: the field, what it holds, its end
	out                 int // in dst: the field, once it is opened
	mark                mark
	number              int
	message             uint8
	lost                int // attributes that were removed
	records, dropped    int
}

// addition is an attribute that a record gets.
type addition struct {
	key    string
	number int64 // 0 stands for true
}

// value is the field of an AnyValue that a hook is asked for.
type value struct {
	kind otlpKind
	bits uint64 // of a number
	size int
}

// Numbers of the fields of messages with attributes; 0 where there are none.
var (
	attributesField = [len(otlpMessages)]int{
		msgLogRecord: fieldLogAttributes, msgSpan: 9,
		msgNumberPoint: 7, msgHistogramPoint: 9, msgExponentialPoint: 1, msgSummaryPoint: 7,
	}
	droppedField = [len(otlpMessages)]int{
		msgResource: 2, msgScope: 4, msgLogRecord: 7, msgSpan: 10, msgSpanEvent: 4, msgSpanLink: 5,
	}
	// textless messages need no walk.
	textless = [len(otlpMessages)]bool{msgBuckets: true, msgQuantile: true}
)

// keptText is the largest text buffer that an ExportEdit keeps.
const keptText = 1 << 20

// Edit walks body, a request that CheckExport found right, and gives what the
// hooks make of it with the number of its records: body itself where nothing
// changed, else a right request again, in buf's memory if that suffices. Removed
// attributes are added to dropped_attributes_count where OTLP has it.
func (w *ExportEdit) Edit(buf []byte, signal telemetry.Signal, body []byte) (out []byte, records int) {
	request, flaw := requestOf(signal)
	if flaw != nil {
		return body, 0
	}
	if w.text == nil { // a nil answer has a meaning
		w.text = make([]byte, 0, 256)
	}
	w.signal, w.src, w.dst = signal, body, buf[:0]
	w.copied, w.changed, w.frames, w.opened = 0, false, w.frames[:0], 0
	w.records, w.dropped, w.path, w.record, w.marks = 0, 0, w.path[:0], -1, w.marks[:0]
	w.walk(request, 0, len(body))
	out = body
	if w.changed {
		out = append(w.dst, body[w.copied:]...)
	}
	w.src, w.dst = nil, nil
	if cap(w.text) > keptText || cap(w.path) > keptText {
		w.text, w.path = nil, nil
	}
	return out, w.records - w.dropped
}

// walk goes through a message that is not part of a value.
func (w *ExportEdit) walk(message uint8, at, to int) {
	fields := otlpMessages[message]
	for at < to {
		tag, size, end := readField(w.src[:to], at)
		if end < 0 {
			return
		}
		start, number := at, tag>>3
		at = end
		if tag&7 != wireBytes || number >= uint64(len(fields)) {
			continue
		}
		f := &fields[number]
		switch {
		case f.kind == kindString:
			w.field = f.name
			if w.editText(int(number), start, end-int(size), end) {
				w.replace(start, end)
			}
		case f.kind == kindMessage && !textless[f.of]:
			w.field = f.name
			w.child(f, int(number), start, end-int(size), end)
		}
	}
}

// child goes into a message. It tells whether that is gone from the result.
func (w *ExportEdit) child(f *otlpField, number, start, content, end int) (gone bool) {
	if len(w.frames) > maxNesting {
		return false
	}
	if n := len(w.frames); n < cap(w.frames) { // a tenth of the time is clearing it
		w.frames = w.frames[:n+1]
	} else {
		w.frames = append(w.frames, frame{})
	}
	this := &w.frames[len(w.frames)-1]
	this.start, this.content, this.end, this.number, this.message = start, content, end, number, f.of
	this.lost, this.records, this.dropped = 0, 0, 0
	switch {
	case f.trait&counted != 0:
		gone = w.walkRecord(f.of, content, end)
	case f.of == msgKeyValue:
		gone = w.walkKeyValue(content, end)
	case f.of == msgAnyValue:
		gone = w.walkAnyValue(content, end)
	case f.of == msgArrayValue || f.of == msgKeyValueList:
		w.walkList(&otlpMessages[f.of][fieldValues], content, end)
	default:
		w.walk(f.of, content, end)
	}
	this = &w.frames[len(w.frames)-1] // they may have moved
	records, dropped := this.records, this.dropped
	gone = gone || records > 0 && dropped == records
	if gone {
		w.cut()
	} else {
		w.leave()
	}
	if len(w.frames) == 0 {
		w.records, w.dropped = w.records+records, w.dropped+dropped
		return gone
	}
	parent := &w.frames[len(w.frames)-1]
	parent.records, parent.dropped = parent.records+records, parent.dropped+dropped
	if gone && f.of == msgKeyValue {
		parent.lost++
	}
	return gone
}

// walkRecord tells whether the record is to be dropped.
func (w *ExportEdit) walkRecord(message uint8, content, end int) (gone bool) {
	w.record, w.marks = len(w.frames)-1, w.marks[:0]
	this := &w.frames[w.record]
	this.records = 1
	if w.Look != nil {
		w.look(message, content, end)
	}
	w.current = value{size: end - content}
	if w.Record != nil && !w.Record() {
		this.dropped, gone = 1, true
	} else {
		w.walk(message, content, end)
		w.appendMarks()
	}
	w.record = -1
	return gone
}

// walkKeyValue tells whether the attribute is to be removed.
func (w *ExportEdit) walkKeyValue(at, to int) (gone bool) {
	before, field := len(w.path), w.field
	if before > 0 {
		w.path = append(w.path, '.')
	}
	w.path = append(w.path, attributeKey(w.src[at:to])...)
	for at < to && !gone {
		tag, size, end := readField(w.src[:to], at)
		if end < 0 {
			break
		}
		switch tag {
		case fieldKey<<3 | wireBytes:
			w.field = "key"
			if w.editText(fieldKey, at, end-int(size), end) {
				w.replace(at, end)
			}
			w.field = field
		case fieldValue<<3 | wireBytes:
			gone = w.child(&otlpMessages[msgKeyValue][fieldValue], fieldValue, at, end-int(size), end)
		}
		at = end
	}
	w.path = w.path[:before]
	return gone
}

// walkAnyValue tells whether the value is to be removed. Of several fields only
// the last holds, but each may say what must not leave.
func (w *ExportEdit) walkAnyValue(at, to int) (gone bool) {
	for at < to {
		tag, bits, end := readField(w.src[:to], at)
		if end < 0 {
			return false
		}
		start, number := at, tag>>3
		at = end
		if number >= uint64(len(otlpMessages[msgAnyValue])) || number == 0 {
			continue
		}
		f := &otlpMessages[msgAnyValue][number]
		content := start
		if tag&7 == wireBytes {
			content = end - int(bits)
		}
		if f.kind == kindString || f.kind == kindBytes && utf8.Valid(w.src[content:end]) {
			if w.editText(int(number), start, content, end) {
				return true
			}
			continue
		}
		w.current = value{kind: f.kind, bits: bits, size: end - content}
		if w.Value != nil {
			out, changed := w.Value(w.text[:0], w.path)
			if changed && out == nil {
				return true
			}
			if changed {
				w.text = out
				w.replace(start, end)
				w.dst = appendStringField(w.dst, fieldString, out)
				continue
			}
		}
		if f.kind == kindMessage {
			w.child(f, int(number), start, content, end)
		}
	}
	return false
}

// walkList goes through the values of an array, or of a list of members.
func (w *ExportEdit) walkList(f *otlpField, at, to int) {
	for at < to {
		tag, size, end := readField(w.src[:to], at)
		if end < 0 {
			return
		}
		if tag == fieldValues<<3|wireBytes {
			w.child(f, fieldValues, at, end-int(size), end)
		}
		at = end
	}
}

// editText asks for a text and writes what takes its place. It tells whether
// the text is to be removed instead.
func (w *ExportEdit) editText(number, start, content, end int) (gone bool) {
	if w.Text == nil {
		return false
	}
	w.current = value{kind: kindString, size: end - content}
	out, changed := w.Text(w.text[:0], w.path, w.src[content:end])
	if !changed || out == nil {
		return changed
	}
	w.text = out
	w.replace(start, end)
	w.dst = appendStringField(w.dst, number, out)
	return false
}

// replace brings dst to where the field src[start:end] begins, and passes over
// that.
func (w *ExportEdit) replace(start, end int) {
	w.open(len(w.frames))
	w.dst = append(w.dst, w.src[w.copied:start]...)
	w.copied, w.changed = end, true
}

// open begins the first n messages around the walk in dst, if they are not.
func (w *ExportEdit) open(n int) {
	for ; w.opened < n; w.opened++ {
		f := &w.frames[w.opened]
		w.dst = append(w.dst, w.src[w.copied:f.start]...)
		f.out = len(w.dst)
		w.dst, f.mark = openField(w.dst, f.number, f.end-f.content)
		w.copied = f.content
	}
}

// leave ends the innermost message.
func (w *ExportEdit) leave() {
	n := len(w.frames)
	f := &w.frames[n-1]
	if number := droppedField[f.message]; f.lost > 0 && number != 0 {
		before, _ := lastField(w.src[f.content:f.end], number)
		w.replace(f.end, f.end)
		w.dst = appendVarintField(w.dst, number, min(before+uint64(f.lost), 1<<32-1))
	}
	if w.opened == n {
		w.dst = append(w.dst, w.src[w.copied:f.end]...)
		w.copied = f.end
		w.dst = closeField(w.dst, f.mark)
		w.opened--
	}
	w.frames = w.frames[:n-1]
}

// cut leaves the innermost message out of the result.
func (w *ExportEdit) cut() {
	n := len(w.frames)
	f := &w.frames[n-1]
	if w.opened == n {
		w.dst = w.dst[:f.out]
		w.opened--
	} else {
		w.open(n - 1)
		w.dst = append(w.dst, w.src[w.copied:f.start]...)
	}
	w.copied, w.changed = f.end, true
	w.frames = w.frames[:n-1]
}

// appendMarks adds the record's marks that it has not yet.
func (w *ExportEdit) appendMarks() {
	number := attributesField[w.frames[w.record].message]
	for _, a := range w.marks {
		if w.Attribute(a.key) != nil {
			continue
		}
		end := w.frames[w.record].end
		w.replace(end, end)
		field, value := fieldBool, uint64(1)
		if a.number != 0 {
			field, value = fieldInt, uint64(a.number)
		}
		var kv, v mark
		w.dst, kv = openField(w.dst, number, len(a.key)+16)
		w.dst = appendStringField(w.dst, fieldKey, a.key)
		w.dst, v = openField(w.dst, fieldValue, 11)
		w.dst = appendVarintField(w.dst, field, value)
		w.dst = closeField(closeField(w.dst, v), kv)
	}
}
