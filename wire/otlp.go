package wire

import (
	"encoding/binary"
	"math"
	"strings"
	"time"

	"slipstream/telemetry"
)

// Field numbers of opentelemetry-proto 1.x: collector/logs/v1, logs/v1,
// resource/v1 and common/v1.
const (
	fieldResourceLogs = 1 // of ExportLogsServiceRequest
	fieldResource     = 1 // of ResourceLogs
	fieldScopeLogs    = 2
	fieldScope        = 1 // of ScopeLogs
	fieldLogRecords   = 2

	fieldTime           = 1 // of LogRecord
	fieldSeverityNumber = 2
	fieldSeverityText   = 3
	fieldBody           = 5
	fieldLogAttributes  = 6
	fieldObservedTime   = 11
	fieldEventName      = 12

	fieldResourceAttributes = 1 // of Resource
	fieldScopeName          = 1 // of InstrumentationScope
	fieldKey                = 1 // of KeyValue
	fieldValue              = 2

	fieldString   = 1 // of AnyValue
	fieldBool     = 2
	fieldInt      = 3
	fieldDouble   = 4
	fieldArray    = 5
	fieldKeyValue = 6
	fieldValues   = 1 // of ArrayValue and KeyValueList
)

// Attribute names. The event type has no name in the semantic conventions yet;
// ours stays within their aws.lambda namespace.
const (
	attributeInvocationID = "faas.invocation_id"
	attributeEventType    = "aws.lambda.event.type"
	// What sampling calls it in OpenTelemetry's papers; not in the conventions yet.
	attributeAdjustedCount = "sampling.adjusted_count"
	scopeName              = "slipstream"
	platformPrefix         = "platform."
)

// otlpLogs writes OTLP log records of one resource.
type otlpLogs struct {
	resource []byte // ResourceLogs.resource, encoded as a field
	scope    []byte // ScopeLogs.scope, encoded as a field
}

// OTLPLogs writes OpenTelemetry's ExportLogsServiceRequest as protobuf: one
// resource, one scope, a LogRecord a record.
//
//   - time_unix_nano and observed_time_unix_nano are both the event's time: the
//     platform observed it then, and an encoder has no clock.
//   - body is the record: a JSON string as a string, objects and arrays as
//     kvlist and array (at most 30 levels, deeper ones as JSON text; an integer
//     beyond 64 bits as its digits). A body that is no JSON is kept as a string.
//   - severity is the Log's Level; where that is unknown, an object's own "level"
//     (Lambda's JSON log format).
//   - a record with a Message has that as its body, and its Fields, if any, as
//     attributes with their types.
//   - attributes: faas.invocation_id, and aws.lambda.event.type; platform.*
//     events have that type as event_name too. sampling.adjusted_count is there
//     for a record that stands for more than itself.
func OTLPLogs(res *telemetry.Resource) Encoder {
	return &otlpLogs{resource: appendResource(nil, res), scope: appendScope(nil)}
}

func (e *otlpLogs) AppendLog(dst []byte, l *telemetry.Log) []byte {
	body := trimSpace(l.Body)
	if l.Message != nil {
		body = trimSpace(l.Message)
	}
	dst, record := openField(dst, fieldLogRecords, len(body)+len(l.RequestID)+len(l.Type)+100)
	if at := unixNano(l.Time); at != 0 {
		dst = appendFixed64Field(dst, fieldTime, at)
		dst = appendFixed64Field(dst, fieldObservedTime, at)
	}
	dst, level := appendBody(dst, body)
	if l.Level != 0 && uint64(l.Level) != level.number {
		level = levelText(l.Level)
	}
	if level.number != 0 {
		dst = appendVarintField(dst, fieldSeverityNumber, level.number)
		dst = appendStringField(dst, fieldSeverityText, level.text[:level.size])
	}
	if l.RequestID != "" {
		dst = appendAttribute(dst, fieldLogAttributes, attributeInvocationID, l.RequestID)
	}
	dst = appendAttribute(dst, fieldLogAttributes, attributeEventType, l.Type)
	if l.Message != nil && len(l.Fields) > 0 {
		dst = appendFields(dst, l.Fields)
	}
	if l.AdjustedCount > 1 {
		dst = appendIntAttribute(dst, fieldLogAttributes, attributeAdjustedCount, uint64(l.AdjustedCount))
	}
	if strings.HasPrefix(l.Type, platformPrefix) {
		dst = appendStringField(dst, fieldEventName, l.Type)
	}
	return closeField(dst, record)
}

// AppendHead appends everything that stands before size bytes of records. The
// lengths of the two messages around them count the records in.
func (e *otlpLogs) AppendHead(dst []byte, size int) []byte {
	scopeLogs := len(e.scope) + size
	resourceLogs := len(e.resource) + 1 + varintSize(scopeLogs) + scopeLogs
	dst = appendTag(dst, fieldResourceLogs, wireBytes)
	dst = binary.AppendUvarint(dst, uint64(resourceLogs))
	dst = append(dst, e.resource...)
	dst = appendTag(dst, fieldScopeLogs, wireBytes)
	dst = binary.AppendUvarint(dst, uint64(scopeLogs))
	return append(dst, e.scope...)
}

func (*otlpLogs) ContentType() string { return "application/x-protobuf" }
func (*otlpLogs) Extension() string   { return ".otlp.pb" }

// appendResource appends ResourceLogs.resource with OpenTelemetry's names for
// what runs in Lambda. A value that is not known is left out.
func appendResource(dst []byte, res *telemetry.Resource) []byte {
	const field = fieldResourceAttributes
	dst, m := openField(dst, fieldResource, 0)
	service := res.ServiceName
	if service == "" {
		service = res.FunctionName
	}
	for _, a := range []telemetry.Attribute{
		{Key: "service.name", Value: service},
		{Key: "cloud.provider", Value: "aws"},
		{Key: "cloud.platform", Value: "aws_lambda"},
		{Key: "cloud.region", Value: res.Region},
		{Key: "cloud.account.id", Value: res.AccountID},
		{Key: "faas.name", Value: res.FunctionName},
		{Key: "faas.version", Value: res.FunctionVersion},
		{Key: "faas.instance", Value: res.EnvironmentID},
		{Key: "host.arch", Value: res.Architecture},
	} {
		if a.Value != "" {
			dst = appendAttribute(dst, field, a.Key, a.Value)
		}
	}
	if res.MemoryMB > 0 {
		dst = appendIntAttribute(dst, field, "faas.max_memory", uint64(res.MemoryMB)<<20)
	}
	return closeResource(dst, m, res)
}

// closeResource appends the user's own attributes and ends the resource.
func closeResource(dst []byte, m mark, res *telemetry.Resource) []byte {
	for _, a := range res.Attributes {
		dst = appendAttribute(dst, fieldResourceAttributes, a.Key, a.Value)
	}
	return closeField(dst, m)
}

func appendScope(dst []byte) []byte {
	dst, m := openField(dst, fieldScope, 0)
	return closeField(appendStringField(dst, fieldScopeName, scopeName), m)
}

// appendAttribute appends a KeyValue with a string value as the given field.
func appendAttribute(dst []byte, field int, key, value string) []byte {
	dst, kv := openField(dst, field, len(key)+len(value)+6)
	dst = appendStringField(dst, fieldKey, key)
	dst, v := openField(dst, fieldValue, len(value)+2)
	dst = appendStringField(dst, fieldString, value)
	return closeField(closeField(dst, v), kv)
}

// appendIntAttribute is the same with a whole number.
func appendIntAttribute(dst []byte, field int, key string, value uint64) []byte {
	dst, kv := openField(dst, field, len(key)+14)
	dst = appendStringField(dst, fieldKey, key)
	dst, v := openField(dst, fieldValue, 2)
	dst = appendVarintField(dst, fieldInt, value)
	return closeField(closeField(dst, v), kv)
}

// unixNano is t for a fixed64 field: 0, which says unknown, where t is before
// 1970 or beyond what 63 bits of nanoseconds hold (2262).
func unixNano(t time.Time) uint64 {
	if s := t.Unix(); s < 0 || s >= math.MaxInt64/int64(time.Second) {
		return 0
	}
	return uint64(t.UnixNano())
}
