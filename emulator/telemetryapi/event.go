package telemetryapi

import (
	"bytes"
	"encoding/json"
	"slices"
	"time"
	"unicode/utf8"
)

// kind is the type that a subscription names.
type kind int

const (
	kindPlatform kind = iota
	kindFunction
	kindExtension
	kinds
)

// kindNames are the kinds' names in a subscription.
func kindNames() [kinds]string { return [kinds]string{"platform", "function", "extension"} }

// event is one event before it is encoded for a subscriber.
type event struct {
	at     string // as on the wire
	typ    string
	kind   kind
	record []byte // of the platform: its JSON; of a line: the line itself
	object bool   // the line is a JSON object, and the log format is JSON
}

// stamp writes a time as the platform does, in UTC with milliseconds.
func stamp(at time.Time) string { return at.UTC().Format("2006-01-02T15:04:05.000Z") }

// appendEnvelope appends the event up to where its record's value begins.
func (e *event) appendEnvelope(b []byte) []byte {
	b = append(b, `{"time":"`...)
	b = append(b, e.at...)
	b = append(b, `","type":"`...)
	b = append(b, e.typ...)
	return append(b, `","record":`...)
}

// appendValue appends the record's value as a subscriber of this API and schema
// gets it.
func (e *event) appendValue(b []byte, api string, objects bool) []byte {
	switch {
	case e.kind == kindPlatform && api == apiLogs:
		return append(b, logsRecord(e.typ, e.record)...)
	case e.kind == kindPlatform:
		return append(b, e.record...)
	case e.object && objects:
		return append(b, bytes.TrimSpace(e.record)...)
	}
	return appendString(b, e.record)
}

// isObject tells whether a line is a JSON object that can stand in a body as it
// is.
func isObject(line []byte) bool {
	line = bytes.TrimLeft(line, " \t\r\n")
	return len(line) > 0 && line[0] == '{' && utf8.Valid(line) && json.Valid(line)
}

// appendString appends text as a JSON string. What is not UTF-8 becomes U+FFFD.
func appendString(b, text []byte) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	done := 0
	for i := 0; i < len(text); {
		c := text[i]
		if c >= ' ' && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRune(text[i:])
			if r != utf8.RuneError || n > 1 {
				i += n
				continue
			}
		}
		b = append(b, text[done:i]...)
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c == '\n':
			b = append(b, '\\', 'n')
		case c == '\t':
			b = append(b, '\\', 't')
		case c == '\r':
			b = append(b, '\\', 'r')
		case c < ' ':
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			b = append(b, "\ufffd"...)
		}
		i++
		done = i
	}
	b = append(b, text[done:]...)
	return append(b, '"')
}

// receives tells whether a subscription gets events of this type at all.
func receives(api, schema, typ string) bool {
	switch typ {
	case "platform.end", "platform.fault", "platform.logsSubscription":
		return api == apiLogs
	case "platform.initStart", "platform.initRuntimeDone", "platform.initReport", "platform.telemetrySubscription":
		return api == apiTelemetry
	case "platform.runtimeDone":
		return api == apiTelemetry || schema >= "2021-03-18"
	}
	return true
}

// logsMembers lists the members that a record has in the Logs API, in order,
// for the types whose record has more in the Telemetry API.
func logsMembers(typ string) (members []string, known bool) {
	switch typ {
	case "platform.start":
		return []string{"requestId", "version"}, true
	case "platform.runtimeDone":
		return []string{"requestId", "status"}, true
	case "platform.report":
		return []string{"requestId", "metrics", "tracing"}, true
	case "platform.extension":
		return []string{"name", "state", "events"}, true
	case "platform.restoreStart":
		return nil, true
	case "platform.restoreRuntimeDone":
		return []string{"status"}, true
	case "platform.restoreReport":
		return []string{"metrics"}, true
	}
	return nil, false
}

// logsRecord makes the Logs API's record from the Telemetry API's. That API
// knows no status "error": it is a failure there.
func logsRecord(typ string, record []byte) []byte {
	members, known := logsMembers(typ)
	var all map[string]json.RawMessage
	if !known || json.Unmarshal(record, &all) != nil {
		return record
	}
	b := []byte{'{'}
	for _, name := range members {
		value, found := all[name]
		if !found {
			continue
		}
		if name == "status" && string(value) == `"error"` {
			value = json.RawMessage(`"failure"`)
		}
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(b, '"')
		b = append(b, name...)
		b = append(b, '"', ':')
		b = append(b, value...)
	}
	return append(b, '}')
}

// earlyEvents keeps the events of Init for those who subscribe late.
type earlyEvents struct {
	limit, bytes int
	events       []event
	dropped      [kinds]int64
	droppedBytes [kinds]int64
}

func (q *earlyEvents) add(e *event) {
	if q.bytes+len(e.record) > q.limit {
		q.dropped[e.kind]++
		q.droppedBytes[e.kind] += int64(len(e.record))
		return
	}
	kept := *e
	kept.record = slices.Clone(e.record)
	q.events = append(q.events, kept)
	q.bytes += len(e.record)
}

func (q *earlyEvents) clear() { *q = earlyEvents{limit: q.limit} }
