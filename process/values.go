package process

import (
	"bytes"
	"math"

	"github.com/go-faster/jx"

	"slipstream/process/captured"
	"slipstream/process/limit"
	"slipstream/process/redact"
	"slipstream/telemetry"
)

// about is what to do with a key. Exports have few different ones, so it is
// asked once for each.
func (x *Exports) about(path []byte) treatment {
	if t, ok := x.keys[string(path)]; ok {
		return t
	}
	t := treatment{part: captured.Of(path), by: x.policy.Redactor}
	if x.policy.Redactor != nil {
		if r := x.policy.Parts[t.part]; r != nil {
			t.by = r
		}
		t.action = t.by.Key(path)
	}
	if len(path) <= maxKey {
		if len(x.keys) >= maxKeys {
			clear(x.keys)
		}
		x.keys[string(path)] = t
	}
	return t
}

// treat is what to do with the value at a path: what its key demands, or what the
// name beside it does, as in {"name": "password", "value": "…"}.
func (x *Exports) treat(path []byte) treatment {
	t := x.about(path)
	if x.named.action > t.action && bytes.HasPrefix(path, x.namedAt) {
		if rest, ok := bytes.CutPrefix(path[len(x.namedAt):], []byte("value")); ok && (len(rest) == 0 || rest[0] == '.') {
			t.action = x.named.action
		}
	}
	return t
}

// noteName remembers what a text demands that is the name of the value beside it.
func (x *Exports) noteName(path, text []byte) {
	at := bytes.LastIndexByte(path, '.') + 1
	if name := string(path[at:]); name != "name" && name != "key" || x.policy.Redactor == nil {
		return
	}
	if x.named = (treatment{}); len(text) <= maxKey {
		x.named = x.about(text)
		x.name = append(x.name[:0], text...)
	}
	x.namedAt = append(x.namedAt[:0], path[:at]...)
}

// text is asked for each text.
func (x *Exports) text(dst, path, text []byte) ([]byte, bool) {
	if x.edit.Field() == "key" {
		if x.policy.Redactor == nil {
			return dst, false
		}
		return x.count(x.policy.Redactor.Text(dst, text))
	}
	t := treatment{by: x.policy.Redactor}
	if len(path) > 0 {
		t = x.treat(path)
		x.noteName(path, text)
		if out, done := x.withhold(dst, t); done {
			return out, true
		}
	}
	out, changed := x.redact(dst, path, text, t)
	if changed {
		text = out[len(dst):]
	}
	size, why := x.allowed(path, t)
	if len(text) <= size {
		x.spend(path, len(text))
		return out, changed
	}
	x.tooLong(why)
	x.spend(path, size)
	if size == 0 {
		return nil, true
	}
	if changed { // cut within out
		cut, _ := limit.Text(out, text, size)
		return append(dst, cut[len(out):]...), true
	}
	return limit.Text(dst, text, size)
}

// value is asked for each value that is no text.
func (x *Exports) value(dst, path []byte) ([]byte, bool) {
	if len(path) == 0 { // a log's body, whose members come
		return dst, false
	}
	t := x.treat(path)
	if out, done := x.withhold(dst, t); done {
		return out, true
	}
	if t.action != redact.Keep {
		x.number = x.edit.AppendValue(x.number[:0])
		if t.action == redact.Hash && len(x.number) > 0 {
			if out, changed := t.by.Value(dst, path, x.number); changed {
				return x.count(out, true)
			}
		}
		return x.count(append(dst, mask...), true)
	}
	switch size, why := x.allowed(path, t); {
	case size == 0:
		x.tooLong(why)
		return nil, true
	case x.edit.Size() > size && !x.within(path):
		x.list, x.listLeft = append(x.list[:0], path...), size
	}
	return dst, false
}

// withhold answers for what goes whatever it says: keys that are to be removed,
// what was captured of a scrubbed domain, or in a span that is sent bare.
func (x *Exports) withhold(dst []byte, t treatment) (out []byte, done bool) {
	switch {
	case t.action == redact.Remove:
		return x.count(nil, true)
	case t.part == captured.Nothing || !x.edit.InRecord():
		return dst, false
	case x.span.scrubbed && t.part >= captured.RequestBody && !x.span.bare:
		return append(dst, unavailable...), true
	case x.span.scrubbed && t.part >= captured.URL, x.span.bare && t.part >= captured.Query:
		return nil, true
	}
	return dst, false
}

// redact replaces what must not leave. A text that is JSON keeps its structure.
// Each text is looked at by itself: in protobuf the byte behind one may be a digit
// or a letter, so that a number would seem to go on.
func (x *Exports) redact(dst, path, text []byte, t treatment) ([]byte, bool) {
	switch {
	case t.by == nil:
		return dst, false
	case t.action != redact.Keep:
		if x.named.action == t.action && x.about(path).action < t.action {
			path = x.name
		}
		return x.count(t.by.Value(dst, path, text))
	case isJSON(text):
		return x.count(t.by.JSON(dst, text))
	case len(path) == 0:
		return x.count(t.by.Text(dst, text))
	}
	return x.count(t.by.Value(dst, path, text))
}

// isJSON tells whether a text is an object or a list.
func isJSON(text []byte) bool {
	for i, c := range text {
		switch c {
		case ' ', '\t', '\r', '\n':
			continue
		case '{', '[':
			return jx.Valid(text[i:])
		}
		return false
	}
	return false
}

// allowed is how long a value may be, and which limit says so.
func (x *Exports) allowed(path []byte, t treatment) (size int, why reason) {
	size, why = x.policy.Limits.Attribute, attributeTooLong
	switch {
	case x.edit.Field() == "body":
		size, why = x.policy.Limits.Record, recordTooLong
	case t.part >= captured.Query:
		size, why = x.policy.Limits.Body, bodyTooLong
		if x.edit.Size() > size && x.policy.Limits.BodyOnError > size && x.edit.Level() >= telemetry.LevelError {
			size = x.policy.Limits.BodyOnError
		}
	}
	if size == 0 {
		size = math.MaxInt
	}
	if left := *x.pot(); left >= 0 && left < size && x.edit.InRecord() {
		size, why = left, recordTooLong
	}
	if x.within(path) {
		size = min(size, x.listLeft)
	}
	return size, why
}

// pot is what the value is taken from.
func (x *Exports) pot() *int {
	if x.edit.Field() == "body" {
		return &x.left.body
	}
	return &x.left.other
}

// within tells whether the value stands in the list that is too large.
func (x *Exports) within(path []byte) bool {
	return len(x.list) > 0 && bytes.HasPrefix(path, x.list) &&
		(len(path) == len(x.list) || path[len(x.list)] == '.')
}

// spend takes a text of that size off what the record and the list may have.
func (x *Exports) spend(path []byte, size int) {
	if left := x.pot(); *left >= 0 && x.edit.InRecord() {
		*left -= min(size, *left)
	}
	if x.within(path) {
		x.listLeft -= min(size, x.listLeft)
	}
}

func (x *Exports) tooLong(why reason) {
	x.counts[why]++
	if x.edit.Signal() != telemetry.Metrics {
		x.edit.Mark(markTruncated)
	}
}

// count counts a redaction that took place.
func (x *Exports) count(out []byte, changed bool) ([]byte, bool) {
	if changed {
		x.counts[redacted]++
	}
	return out, changed
}
