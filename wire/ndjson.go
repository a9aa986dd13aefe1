package wire

import (
	"strconv"

	"slipstream/telemetry"
)

// ndjson writes the project's own line format.
type ndjson struct {
	resource []byte // the columns that are the same on every line, pre-encoded
}

// NDJSON writes one flat JSON object a line with snake_case columns that
// Athena's OpenX JSON SerDe reads as they are: time (RFC 3339, UTC), type,
// function, version, environment, account_id, region, request_id, level (TRACE
// to FATAL), and the record: message for a JSON string, record for any other
// JSON value, or message and attributes (an object) where a structured record
// has been taken apart. adjusted_count is there for a record that stands for
// more than itself. A column without a value is left out. The record's bytes are
// copied, never decoded, but for the line end that the platform leaves on a
// message; each line ends in "\n" and holds no other line break.
func NDJSON(res *telemetry.Resource) Encoder {
	e := &ndjson{}
	for _, column := range []struct{ name, value string }{
		{"function", res.FunctionName},
		{"version", res.FunctionVersion},
		{"environment", res.EnvironmentID},
		{"account_id", res.AccountID},
		{"region", res.Region},
	} {
		if column.value != "" {
			e.resource = append(append(append(e.resource, `,"`...), column.name...), `":`...)
			e.resource = appendText(e.resource, column.value)
		}
	}
	return e
}

func (e *ndjson) AppendLog(dst []byte, l *telemetry.Log) []byte {
	dst = append(dst, `{"time":`...)
	dst = appendTime(dst, l.Time)
	dst = append(dst, `,"type":`...)
	dst = appendText(dst, l.Type)
	dst = append(dst, e.resource...)
	if l.RequestID != "" {
		dst = append(dst, `,"request_id":`...)
		dst = appendText(dst, l.RequestID)
	}
	if name := l.Level.String(); name != "" {
		dst = append(append(append(dst, `,"level":"`...), name...), '"')
	}
	if body := trimSpace(l.Body); l.Message != nil && l.Fields != nil {
		dst = appendStructured(dst, l)
	} else if len(body) > 0 && body[0] == '"' {
		dst = append(dst, `,"message":`...)
		dst = cutLineEnd(appendValue(dst, l.Body))
	} else {
		dst = append(dst, `,"record":`...)
		dst = appendValue(dst, l.Body)
	}
	if l.AdjustedCount > 1 {
		dst = append(dst, `,"adjusted_count":`...)
		dst = strconv.AppendUint(dst, uint64(l.AdjustedCount), 10)
	}
	return append(dst, "}\n"...)
}

// appendStructured appends the columns of a record that was taken apart.
func appendStructured(dst []byte, l *telemetry.Log) []byte {
	dst = append(dst, `,"message":`...)
	dst = appendValue(dst, l.Message)
	for i, f := range l.Fields {
		if i == 0 {
			dst = append(dst, `,"attributes":{`...)
		} else {
			dst = append(dst, ',')
		}
		dst = append(appendText(dst, f.Key), ':')
		dst = appendValue(dst, f.Value)
	}
	if len(l.Fields) > 0 {
		dst = append(dst, '}')
	}
	return dst
}

// AppendExport appends an export as a line of OTLP/JSON; nothing for a body that
// CheckExport would refuse.
func (*ndjson) AppendExport(dst []byte, e *telemetry.Export) []byte {
	line, err := ExportToJSON(dst, e.Signal, e.Body)
	if err != nil {
		return dst
	}
	return append(line, '\n')
}

func (*ndjson) AppendHead(dst []byte, _ int) []byte { return dst }
func (*ndjson) ContentType() string                 { return "application/x-ndjson" }
func (*ndjson) Extension() string                   { return ".ndjson" }

// telemetryEvents writes what the Telemetry and Logs API sent, a line an event.
type telemetryEvents struct{}

// TelemetryEvents writes each record as the platform sent it, one object
// {"time":…,"type":…,"record":…} a line. It is the payload of AWS's adaptive
// batching sample made valid: NDJSON, where the sample runs arrays together.
func TelemetryEvents() Encoder { return telemetryEvents{} }

func (telemetryEvents) AppendLog(dst []byte, l *telemetry.Log) []byte {
	dst = append(dst, `{"time":`...)
	dst = appendTime(dst, l.Time)
	dst = append(dst, `,"type":`...)
	dst = appendText(dst, l.Type)
	dst = append(dst, `,"record":`...)
	dst = appendValue(dst, l.Body)
	return append(dst, "}\n"...)
}

func (telemetryEvents) AppendHead(dst []byte, _ int) []byte { return dst }
func (telemetryEvents) ContentType() string                 { return "application/x-ndjson" }
func (telemetryEvents) Extension() string                   { return ".ndjson" }
