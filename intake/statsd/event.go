package statsd

import (
	"bytes"
	"time"
	"unicode/utf8"
	"unsafe"

	"github.com/VictoriaMetrics/easyproto"

	"slipstream/telemetry"
	"slipstream/wire"
)

// Field numbers of opentelemetry-proto 1.x: collector/logs/v1, logs/v1 and
// common/v1.
const (
	fieldResourceLogs = 1 // of ExportLogsServiceRequest
	fieldScopeLogs    = 2 // of ResourceLogs
	fieldScope        = 1 // of ScopeLogs
	fieldLogRecords   = 2
	fieldScopeName    = 1 // of InstrumentationScope

	fieldTime           = 1 // of LogRecord
	fieldSeverityNumber = 2
	fieldSeverityText   = 3
	fieldBody           = 5
	fieldAttributes     = 6
	fieldObservedTime   = 11
	fieldEventName      = 12

	fieldKey    = 1 // of KeyValue
	fieldValue  = 2
	fieldString = 1 // of AnyValue
	fieldInt    = 3
	fieldArray  = 5
	fieldValues = 1 // of ArrayValue
)

// What an event and a service check are called among log records, and their
// attributes beside the tags.
const (
	eventName = "statsd.event"
	checkName = "statsd.service_check"

	attributeTitle       = "statsd.event.title"
	attributeAggregation = "statsd.event.aggregation_key"
	attributePriority    = "statsd.event.priority"
	attributeSourceType  = "statsd.event.source_type"
	attributeAlertType   = "statsd.event.alert_type"
	attributeCheckName   = "statsd.service_check.name"
	attributeCheckStatus = "statsd.service_check.status"
	attributeHost        = "host.name"
)

// OpenTelemetry's severities.
const (
	severityInfo  = 9
	severityWarn  = 13
	severityError = 17
)

// notice is an event or a service check: one log record.
type notice struct {
	name       string
	fields     fields
	body       []byte
	severity   int32
	attributes []telemetry.Tag // before the tags
	status     int64           // of a service check
	unescaped  []byte
}

// notices collects them as OTLP log records.
type notices struct {
	marshaler easyproto.Marshaler
	scopeLogs *easyproto.MessageMarshaler // nil as long as there is none
	records   int
	size      int // about
	body      []byte
	complete  []byte
	export    telemetry.Export
}

// isNotice tells an event or a service check from a metric.
func isNotice(line []byte) bool {
	return bytes.HasPrefix(line, []byte("_e{")) || bytes.HasPrefix(line, []byte("_sc|"))
}

// parse reads either of them and gives the reason why it cannot be, or "".
func (n *notice) parse(line []byte) (reason string) {
	*n = notice{fields: fields{tags: n.fields.tags[:0], rate: 1}, attributes: n.attributes[:0],
		unescaped: n.unescaped[:0]}
	if rest, ok := bytes.CutPrefix(line, []byte("_e{")); ok {
		return n.parseEvent(rest)
	}
	return n.parseCheck(bytes.TrimPrefix(line, []byte("_sc|")))
}

// parseEvent reads TITLE_SIZE,TEXT_SIZE}:TITLE|TEXT[|d:TIME][|h:HOST][|k:KEY]
// [|p:PRIORITY][|s:SOURCE][|t:ALERT][|#TAGS]…, the sizes in bytes.
func (n *notice) parseEvent(line []byte) (reason string) {
	n.name, n.severity = eventName, severityInfo
	sizes, rest, ok := bytes.Cut(line, []byte("}:"))
	if !ok {
		return reasonMalformed
	}
	first, second, _ := bytes.Cut(sizes, comma)
	title, ok1 := parseSize(first)
	text, ok2 := parseSize(second)
	if !ok1 || !ok2 || title == 0 || title+1+text > len(rest) || rest[title] != '|' {
		return reasonMalformed
	}
	n.attribute(attributeTitle, rest[:title])
	n.body = n.unescape(rest[title+1 : title+1+text])
	if rest = rest[title+1+text:]; len(rest) > 0 && rest[0] != '|' {
		return reasonMalformed
	}
	return n.parseFields(rest)
}

// parseCheck reads NAME|STATUS[|d:TIME][|h:HOST][|#TAGS]…[|m:MESSAGE[|c:ID]…].
func (n *notice) parseCheck(line []byte) (reason string) {
	n.name = checkName
	name, rest, ok := bytes.Cut(line, bar)
	status, rest, _ := bytes.Cut(rest, bar)
	if !ok || len(name) == 0 || len(status) != 1 || status[0] < '0' || status[0] > '3' {
		return reasonMalformed
	}
	n.attribute(attributeCheckName, name)
	n.status = int64(status[0] - '0')
	n.severity = [...]int32{severityInfo, severityWarn, severityError, severityWarn}[n.status]
	return n.parseFields(rest)
}

// parseFields reads what both have, and what only one of them has: no letter
// means something else in the other one.
func (n *notice) parseFields(rest []byte) (reason string) {
	for len(rest) > 0 {
		var field []byte
		if rest = bytes.TrimPrefix(rest, bar); n.name == checkName && bytes.HasPrefix(rest, []byte("m:")) {
			n.body = n.unescape(message(rest[2:]))
			return ""
		}
		if i := bytes.IndexByte(rest, '|'); i >= 0 {
			field, rest = rest[:i], rest[i:]
		} else {
			field, rest = rest, nil
		}
		if reason := n.parseField(field); reason != "" {
			return reason
		}
	}
	return ""
}

// message is what a service check says: up to the end, bars and all, but for the
// fields that Datadog's clients write behind it.
func message(rest []byte) []byte {
	for {
		i := bytes.LastIndexByte(rest, '|')
		if i < 0 {
			return rest
		}
		last := rest[i+1:]
		if !bytes.HasPrefix(last, []byte("c:")) && !bytes.HasPrefix(last, []byte("e:")) &&
			!bytes.HasPrefix(last, []byte("card:")) {
			return rest
		}
		rest = rest[:i]
	}
}

func (n *notice) parseField(field []byte) (reason string) {
	if len(field) < 2 || field[1] != ':' || field[0] == '#' {
		return n.fields.parse(field)
	}
	value := field[2:]
	switch field[0] {
	case 'd':
		at, ok := parseTime(value)
		if !ok {
			return reasonMalformed
		}
		n.fields.time = at
	case 'h':
		n.attribute(attributeHost, value)
	case 'k':
		n.attribute(attributeAggregation, value)
	case 'p':
		n.attribute(attributePriority, value)
	case 's':
		n.attribute(attributeSourceType, value)
	case 't':
		n.attribute(attributeAlertType, value)
		switch string(value) {
		case "error":
			n.severity = severityError
		case "warning":
			n.severity = severityWarn
		}
	}
	return ""
}

// attribute adds one, the first of its name: a field that comes again is not
// kept. It has no allocation as names are constants.
func (n *notice) attribute(name string, value []byte) {
	key := unsafe.Slice(unsafe.StringData(name), len(name)) // only read
	if !namedIn(n.attributes, key) {
		n.attributes = append(n.attributes, telemetry.Tag{Key: key, Value: value})
	}
}

// unescape gives text with its line ends, which a line has as \n, and m:, which
// a service check's message has as m\:.
func (n *notice) unescape(text []byte) []byte {
	if bytes.IndexByte(text, '\\') < 0 {
		return text
	}
	dst := n.unescaped[:0]
	for i := 0; i < len(text); i++ {
		switch rest := text[i:]; {
		case bytes.HasPrefix(rest, []byte(`\n`)):
			dst = append(dst, '\n')
			i++
		case bytes.HasPrefix(rest, []byte(`m\:`)) && n.name == checkName:
			dst = append(dst, "m:"...)
			i += 2
		default:
			dst = append(dst, text[i])
		}
	}
	n.unescaped = dst
	return dst
}

func parseSize(s []byte) (int, bool) {
	if len(s) == 0 || len(s) > 6 {
		return 0, false
	}
	size := 0
	for _, c := range s {
		if c < '0' || c > '9' {
			return 0, false
		}
		size = size*10 + int(c-'0')
	}
	return size, true
}

// add appends n as a log record.
func (s *notices) add(n *notice, now time.Time) {
	if s.scopeLogs == nil {
		s.marshaler.Reset()
		s.scopeLogs = s.marshaler.MessageMarshaler().AppendMessage(fieldResourceLogs).AppendMessage(fieldScopeLogs)
		s.scopeLogs.AppendMessage(fieldScope).AppendString(fieldScopeName, scopeName)
	}
	at := n.fields.time
	if at.IsZero() {
		at = now
	}
	r := s.scopeLogs.AppendMessage(fieldLogRecords)
	r.AppendFixed64(fieldTime, uint64(at.UnixNano()))
	r.AppendFixed64(fieldObservedTime, uint64(now.UnixNano()))
	r.AppendInt32(fieldSeverityNumber, n.severity)
	r.AppendString(fieldSeverityText, severityText(n.severity))
	appendText(r.AppendMessage(fieldBody), fieldString, n.body)
	r.AppendString(fieldEventName, n.name)
	for _, a := range n.attributes {
		appendText(appendAttribute(r, a.Key), fieldString, a.Value)
		s.size += len(a.Key) + len(a.Value) + 8
	}
	if n.name == checkName {
		appendAttribute(r, []byte(attributeCheckStatus)).AppendInt64(fieldInt, n.status)
	}
	for i, tag := range n.fields.tags {
		if !namedIn(n.attributes, tag.Key) && !namedIn(n.fields.tags[:i], tag.Key) {
			appendTag(r, n.fields.tags[i:])
		}
		s.size += len(tag.Key) + len(tag.Value) + 8
	}
	s.size += len(n.body) + 100
	s.records++
}

func severityText(severity int32) string {
	switch severity {
	case severityError:
		return "ERROR"
	case severityWarn:
		return "WARN"
	}
	return "INFO"
}

// appendTag appends the first tag as an attribute, with the values of all others of its name.
func appendTag(r *easyproto.MessageMarshaler, tags []telemetry.Tag) {
	value := appendAttribute(r, tags[0].Key)
	if !namedIn(tags[1:], tags[0].Key) {
		appendText(value, fieldString, tags[0].Value)
		return
	}
	array := value.AppendMessage(fieldArray)
	for _, tag := range tags {
		if bytes.Equal(tag.Key, tags[0].Key) {
			appendText(array.AppendMessage(fieldValues), fieldString, tag.Value)
		}
	}
}

func appendAttribute(r *easyproto.MessageMarshaler, key []byte) *easyproto.MessageMarshaler {
	kv := r.AppendMessage(fieldAttributes)
	appendText(kv, fieldKey, key)
	return kv.AppendMessage(fieldValue)
}

func appendText(m *easyproto.MessageMarshaler, field uint32, text []byte) {
	m.AppendBytes(field, validText(text))
}

// validText replaces what is not UTF-8: a protobuf string must be.
func validText(text []byte) []byte {
	if utf8.Valid(text) { // bytes.ToValidUTF8 would copy it
		return text
	}
	return bytes.ToValidUTF8(text, []byte("\ufffd"))
}

func namedIn(tags []telemetry.Tag, key []byte) bool {
	for _, tag := range tags {
		if bytes.Equal(tag.Key, key) {
			return true
		}
	}
	return false
}

// take is what was collected, for which it begins anew. It is valid until the
// next take.
func (s *notices) take(c *wire.Completion) *telemetry.Export {
	s.export = telemetry.Export{Signal: telemetry.Logs, Records: s.records}
	if s.scopeLogs != nil {
		s.body = s.marshaler.Marshal(s.body[:0])
		s.complete = c.Complete(s.complete[:0], telemetry.Logs, s.body)
		s.export.Body = s.complete
	}
	s.scopeLogs, s.records, s.size = nil, 0, 0
	return &s.export
}
