package wavefront

import (
	"bytes"
	"encoding/hex"
	"math"
	"slices"
	"strconv"

	"slipstream/wire/otlpread"
)

// spans writes the spans of a batch and their logs.
type spans struct {
	options     *Options
	drop        func(string, int)
	lines, logs []byte
	value       []byte
	tags        int
}

func (w *spans) span(s *otlpread.Span) {
	switch {
	case len(s.Trace) != 16 || len(s.ID) != 8 || isZero(s.Trace) || isZero(s.ID):
		w.drop("no_id", 1)
		return
	case s.Start == 0 || s.Start > math.MaxInt64:
		w.drop("no_time", 1)
		return
	}
	start := len(w.lines)
	dst := appendSpanName(w.lines, s.Name)
	w.value = w.options.source(w.value[:0], s.Resource, s.Attributes)
	dst = appendSource(dst, w.value)
	dst = appendUUID(append(dst, " traceId="...), s.Trace)
	dst = appendUUID(append(dst, " spanId="...), s.ID)
	w.tags = 0
	if len(s.Parent) == 8 && !isZero(s.Parent) {
		dst = appendUUID(append(dst, " parent="...), s.Parent)
		w.tags++
	}
	links := 0
	for _, l := range s.Links {
		if bytes.Equal(l.Trace, s.Trace) && len(l.ID) == 8 && !isZero(l.ID) && links < maxSpanLinks {
			dst = appendUUID(append(dst, " followsFrom="...), l.ID)
			links++
			w.tags++
		}
	}
	w.lines = dst
	w.annotate(s)
	w.lines = strconv.AppendUint(append(w.lines, ' '), s.Start/1e6, 10)
	duration := uint64(0)
	if s.End > s.Start {
		duration = (s.End - s.Start) / 1e6
	}
	w.lines = append(strconv.AppendUint(append(w.lines, ' '), duration, 10), '\n')
	if len(s.Events) > 0 {
		w.spanLogs(s, w.lines[start:])
	}
}

// annotate appends the tags: first those that Wavefront needs to make sense of a
// span, then as many others as there is room for.
func (w *spans) annotate(s *otlpread.Span) {
	if len(s.Events) > 0 {
		w.tag("_spanLogs", []byte("true"))
	}
	w.resourceTag(s, "application", "application", "service.namespace", "service.name", "faas.name")
	w.resourceTag(s, "service", "service", "service.name", "faas.name")
	if kind := spanKinds[min(s.Kind, uint64(len(spanKinds)-1))]; kind != "" {
		w.tag("span.kind", []byte(kind))
	}
	if s.Status == 2 {
		w.tag("error", []byte("true"))
		w.tag("status.message", s.StatusMessage)
	}
	for key, v := range s.Attributes.All() {
		switch string(key) {
		case "source", "application", "service", "span.kind", "error", "_spanLogs", "status.message", "parent",
			"followsFrom", "traceId", "spanId":
			continue
		}
		w.value = v.AppendText(w.value[:0])
		w.tag(string(key), w.value)
	}
	for key, v := range s.Resource.All() {
		if string(key) != "service.name" && slices.Contains(w.options.Tags, string(key)) {
			w.value = v.AppendText(w.value[:0])
			w.tag(string(key), w.value)
		}
	}
}

// spanKinds are the words for OTLP's numbers.
var spanKinds = [...]string{2: "server", 3: "client", 4: "producer", 5: "consumer", 6: ""}

// resourceTag appends the first of the attributes, the span's or its resource's.
func (w *spans) resourceTag(s *otlpread.Span, tag string, from ...string) {
	for _, key := range from {
		v, ok := s.Attributes.Get(key)
		if !ok {
			v, ok = s.Resource.Get(key)
		}
		if !ok {
			continue
		}
		w.value = v.AppendText(w.value[:0])
		if before := w.tags; w.tag(tag, w.value) > before {
			return
		}
	}
}

// tag appends a tag if there is room, and gives how many there are. A key that
// is a number would be the span's start.
func (w *spans) tag(key string, value []byte) int {
	if w.tags >= maxSpanTags {
		return w.tags
	}
	if key != "" && key[0] >= '0' && key[0] <= '9' {
		key = "_" + key
	}
	if lines, ok := appendTag(w.lines, key, value, maxSpanTag, maxSpanTag); ok {
		w.lines, w.tags = lines, w.tags+1
	}
	return w.tags
}

// spanLogs writes the events as JSON. Those that make the line too long are
// left out.
func (w *spans) spanLogs(s *otlpread.Span, line []byte) {
	dst := appendUUID(append(w.logs, `{"traceId":"`...), s.Trace)
	dst = appendUUID(append(dst, `","spanId":"`...), s.ID)
	dst = append(dst, `","logs":[`...)
	first := len(dst)
	for _, e := range s.Events {
		before := len(dst)
		if before > first {
			dst = append(dst, ',')
		}
		dst = strconv.AppendUint(append(dst, `{"timestamp":`...), min(e.Time, math.MaxInt64)/1000, 10)
		dst = otlpread.AppendQuoted(append(dst, `,"fields":{"event":`...), e.Name)
		fields := 1
		for key, v := range e.Attributes.All() {
			if string(key) == "event" || fields == maxSpanTags {
				continue
			}
			fields++
			w.value = v.AppendText(w.value[:0])
			dst = append(otlpread.AppendQuoted(append(dst, ','), key), ':')
			dst = otlpread.AppendQuoted(dst, w.value)
		}
		dst = append(dst, "}}"...)
		if len(dst)-len(w.logs)+2*len(line) > maxLine {
			dst = dst[:before]
			break
		}
	}
	dst = append(dst, `],"span":`...)
	dst = otlpread.AppendQuoted(dst, bytes.TrimSuffix(line, []byte("\n")))
	w.logs = append(dst, "}\n"...)
}

// appendSpanName appends a name, which may have any character but *.
func appendSpanName(dst, name []byte) []byte {
	mark := len(dst)
	if dst = appendValue(dst, name, maxSpanName); len(dst) == mark {
		return append(dst, `"unknown"`...)
	}
	for i := mark; i < len(dst); i++ {
		if dst[i] == '*' {
			dst[i] = '-'
		}
	}
	return dst
}

// appendUUID appends an id as a UUID, with zeros before the 8 bytes of a span's.
func appendUUID(dst, id []byte) []byte {
	var whole [16]byte
	copy(whole[16-len(id):], id)
	for _, part := range [...][2]int{{0, 4}, {4, 6}, {6, 8}, {8, 10}, {10, 16}} {
		if part[0] > 0 {
			dst = append(dst, '-')
		}
		dst = hex.AppendEncode(dst, whole[part[0]:part[1]])
	}
	return dst
}

func isZero(id []byte) bool {
	for _, c := range id {
		if c != 0 {
			return false
		}
	}
	return true
}
