package wire

import "slipstream/telemetry"

// The messages of opentelemetry-proto 1.x that a request of logs, traces or
// metrics holds, as one table: it drives the check, the count, the completion
// and both directions of JSON. Profiles are not in it.

// otlpKind is what a field holds, with how that is written in both forms.
type otlpKind uint8

const (
	kindUnknown otlpKind = iota // no such field
	kindMessage
	kindString
	kindBytes
	kindTraceID // bytes; hexadecimal in JSON, where other bytes are base64
	kindSpanID
	kindBool
	kindEnum // a number in JSON
	kindInt32
	kindUint32
	kindInt64 // 64 bits are a string in JSON
	kindUint64
	kindSint32  // zigzag
	kindFixed32 // uint32
	kindFixed64 // uint64
	kindSfixed64
	kindDouble
)

// wireTypes is how one value of a kind is written in protobuf.
var wireTypes = [...]uint64{
	kindUnknown: 8, // none
	kindMessage: wireBytes, kindString: wireBytes, kindBytes: wireBytes, kindTraceID: wireBytes, kindSpanID: wireBytes,
	kindBool: wireVarint, kindEnum: wireVarint, kindInt32: wireVarint, kindUint32: wireVarint, kindInt64: wireVarint,
	kindUint64: wireVarint, kindSint32: wireVarint, kindFixed32: wireFixed32, kindFixed64: wireFixed64,
	kindSfixed64: wireFixed64, kindDouble: wireFixed64,
}

// Sizes of the identifiers. A receiver refuses the whole batch for another one,
// but for none.
const (
	traceIDSize = 16
	spanIDSize  = 8
)

// otlpTrait is what else is to know about a field.
type otlpTrait uint8

const (
	repeated otlpTrait = 1 << iota
	counted            // a log record, a span or a data point
	oneOf              // of the message's fields with this trait only the last holds
	explicit           // a zero is not the same as nothing
	once     otlpTrait = 0
)

// otlpField is a field of a message. Its number is its index there.
type otlpField struct {
	name  string // in JSON
	kind  otlpKind
	trait otlpTrait
	of    uint8 // which message or enum it holds
}

// The messages, as indexes of otlpMessages.
const (
	msgLogs uint8 = iota
	msgTraces
	msgMetrics
	msgResourceLogs
	msgResourceSpans
	msgResourceMetrics
	msgResource
	msgEntityRef
	msgScope
	msgKeyValue
	msgAnyValue
	msgArrayValue
	msgKeyValueList
	msgScopeLogs
	msgLogRecord
	msgScopeSpans
	msgSpan
	msgSpanEvent
	msgSpanLink
	msgSpanStatus
	msgScopeMetrics
	msgMetric
	msgGauge
	msgSum
	msgHistogram
	msgExponential
	msgSummary
	msgNumberPoint
	msgHistogramPoint
	msgExponentialPoint
	msgBuckets
	msgSummaryPoint
	msgQuantile
	msgExemplar
)

// The enums, as indexes of otlpEnums.
const (
	enumSeverity uint8 = iota
	enumSpanKind
	enumStatus
	enumTemporality
)

// maxFields is the highest number of a field, plus one.
const maxFields = 17

// otlpMessages is the table.
var otlpMessages = [...][]otlpField{
	msgLogs:    {1: {"resourceLogs", kindMessage, repeated, msgResourceLogs}},
	msgTraces:  {1: {"resourceSpans", kindMessage, repeated, msgResourceSpans}},
	msgMetrics: {1: {"resourceMetrics", kindMessage, repeated, msgResourceMetrics}},
	msgResourceLogs: {
		1: {"resource", kindMessage, once, msgResource},
		2: {"scopeLogs", kindMessage, repeated, msgScopeLogs},
		3: {"schemaUrl", kindString, once, 0},
	},
	msgResourceSpans: {
		1: {"resource", kindMessage, once, msgResource},
		2: {"scopeSpans", kindMessage, repeated, msgScopeSpans},
		3: {"schemaUrl", kindString, once, 0},
	},
	msgResourceMetrics: {
		1: {"resource", kindMessage, once, msgResource},
		2: {"scopeMetrics", kindMessage, repeated, msgScopeMetrics},
		3: {"schemaUrl", kindString, once, 0},
	},
	msgResource: {
		1: {"attributes", kindMessage, repeated, msgKeyValue},
		2: {"droppedAttributesCount", kindUint32, once, 0},
		3: {"entityRefs", kindMessage, repeated, msgEntityRef},
	},
	msgEntityRef: {
		1: {"schemaUrl", kindString, once, 0},
		2: {"type", kindString, once, 0},
		3: {"idKeys", kindString, repeated, 0},
		4: {"descriptionKeys", kindString, repeated, 0},
	},
	msgScope: {
		1: {"name", kindString, once, 0},
		2: {"version", kindString, once, 0},
		3: {"attributes", kindMessage, repeated, msgKeyValue},
		4: {"droppedAttributesCount", kindUint32, once, 0},
	},
	msgKeyValue: {
		1: {"key", kindString, once, 0},
		2: {"value", kindMessage, once, msgAnyValue},
		3: {"keyStrindex", kindInt32, once, 0},
	},
	msgAnyValue: {
		1: {"stringValue", kindString, oneOf, 0},
		2: {"boolValue", kindBool, oneOf, 0},
		3: {"intValue", kindInt64, oneOf, 0},
		4: {"doubleValue", kindDouble, oneOf, 0},
		5: {"arrayValue", kindMessage, oneOf, msgArrayValue},
		6: {"kvlistValue", kindMessage, oneOf, msgKeyValueList},
		7: {"bytesValue", kindBytes, oneOf, 0},
		8: {"stringValueStrindex", kindInt32, oneOf, 0},
	},
	msgArrayValue:   {1: {"values", kindMessage, repeated, msgAnyValue}},
	msgKeyValueList: {1: {"values", kindMessage, repeated, msgKeyValue}},
	msgScopeLogs: {
		1: {"scope", kindMessage, once, msgScope},
		2: {"logRecords", kindMessage, repeated | counted, msgLogRecord},
		3: {"schemaUrl", kindString, once, 0},
	},
	msgLogRecord: {
		1:  {"timeUnixNano", kindFixed64, once, 0},
		2:  {"severityNumber", kindEnum, once, enumSeverity},
		3:  {"severityText", kindString, once, 0},
		5:  {"body", kindMessage, once, msgAnyValue},
		6:  {"attributes", kindMessage, repeated, msgKeyValue},
		7:  {"droppedAttributesCount", kindUint32, once, 0},
		8:  {"flags", kindFixed32, once, 0},
		9:  {"traceId", kindTraceID, once, 0},
		10: {"spanId", kindSpanID, once, 0},
		11: {"observedTimeUnixNano", kindFixed64, once, 0},
		12: {"eventName", kindString, once, 0},
	},
	msgScopeSpans: {
		1: {"scope", kindMessage, once, msgScope},
		2: {"spans", kindMessage, repeated | counted, msgSpan},
		3: {"schemaUrl", kindString, once, 0},
	},
	msgSpan: {
		1:  {"traceId", kindTraceID, once, 0},
		2:  {"spanId", kindSpanID, once, 0},
		3:  {"traceState", kindString, once, 0},
		4:  {"parentSpanId", kindSpanID, once, 0},
		5:  {"name", kindString, once, 0},
		6:  {"kind", kindEnum, once, enumSpanKind},
		7:  {"startTimeUnixNano", kindFixed64, once, 0},
		8:  {"endTimeUnixNano", kindFixed64, once, 0},
		9:  {"attributes", kindMessage, repeated, msgKeyValue},
		10: {"droppedAttributesCount", kindUint32, once, 0},
		11: {"events", kindMessage, repeated, msgSpanEvent},
		12: {"droppedEventsCount", kindUint32, once, 0},
		13: {"links", kindMessage, repeated, msgSpanLink},
		14: {"droppedLinksCount", kindUint32, once, 0},
		15: {"status", kindMessage, once, msgSpanStatus},
		16: {"flags", kindFixed32, once, 0},
	},
	msgSpanEvent: {
		1: {"timeUnixNano", kindFixed64, once, 0},
		2: {"name", kindString, once, 0},
		3: {"attributes", kindMessage, repeated, msgKeyValue},
		4: {"droppedAttributesCount", kindUint32, once, 0},
	},
	msgSpanLink: {
		1: {"traceId", kindTraceID, once, 0},
		2: {"spanId", kindSpanID, once, 0},
		3: {"traceState", kindString, once, 0},
		4: {"attributes", kindMessage, repeated, msgKeyValue},
		5: {"droppedAttributesCount", kindUint32, once, 0},
		6: {"flags", kindFixed32, once, 0},
	},
	msgSpanStatus: {
		2: {"message", kindString, once, 0},
		3: {"code", kindEnum, once, enumStatus},
	},
	msgScopeMetrics: {
		1: {"scope", kindMessage, once, msgScope},
		2: {"metrics", kindMessage, repeated, msgMetric},
		3: {"schemaUrl", kindString, once, 0},
	},
	msgMetric: {
		1:  {"name", kindString, once, 0},
		2:  {"description", kindString, once, 0},
		3:  {"unit", kindString, once, 0},
		5:  {"gauge", kindMessage, oneOf, msgGauge},
		7:  {"sum", kindMessage, oneOf, msgSum},
		9:  {"histogram", kindMessage, oneOf, msgHistogram},
		10: {"exponentialHistogram", kindMessage, oneOf, msgExponential},
		11: {"summary", kindMessage, oneOf, msgSummary},
		12: {"metadata", kindMessage, repeated, msgKeyValue},
	},
	msgGauge: {1: {"dataPoints", kindMessage, repeated | counted, msgNumberPoint}},
	msgSum: {
		1: {"dataPoints", kindMessage, repeated | counted, msgNumberPoint},
		2: {"aggregationTemporality", kindEnum, once, enumTemporality},
		3: {"isMonotonic", kindBool, once, 0},
	},
	msgHistogram: {
		1: {"dataPoints", kindMessage, repeated | counted, msgHistogramPoint},
		2: {"aggregationTemporality", kindEnum, once, enumTemporality},
	},
	msgExponential: {
		1: {"dataPoints", kindMessage, repeated | counted, msgExponentialPoint},
		2: {"aggregationTemporality", kindEnum, once, enumTemporality},
	},
	msgSummary: {1: {"dataPoints", kindMessage, repeated | counted, msgSummaryPoint}},
	msgNumberPoint: {
		2: {"startTimeUnixNano", kindFixed64, once, 0},
		3: {"timeUnixNano", kindFixed64, once, 0},
		4: {"asDouble", kindDouble, oneOf, 0},
		5: {"exemplars", kindMessage, repeated, msgExemplar},
		6: {"asInt", kindSfixed64, oneOf, 0},
		7: {"attributes", kindMessage, repeated, msgKeyValue},
		8: {"flags", kindUint32, once, 0},
	},
	msgHistogramPoint: {
		2:  {"startTimeUnixNano", kindFixed64, once, 0},
		3:  {"timeUnixNano", kindFixed64, once, 0},
		4:  {"count", kindFixed64, once, 0},
		5:  {"sum", kindDouble, explicit, 0},
		6:  {"bucketCounts", kindFixed64, repeated, 0},
		7:  {"explicitBounds", kindDouble, repeated, 0},
		8:  {"exemplars", kindMessage, repeated, msgExemplar},
		9:  {"attributes", kindMessage, repeated, msgKeyValue},
		10: {"flags", kindUint32, once, 0},
		11: {"min", kindDouble, explicit, 0},
		12: {"max", kindDouble, explicit, 0},
	},
	msgExponentialPoint: {
		1:  {"attributes", kindMessage, repeated, msgKeyValue},
		2:  {"startTimeUnixNano", kindFixed64, once, 0},
		3:  {"timeUnixNano", kindFixed64, once, 0},
		4:  {"count", kindFixed64, once, 0},
		5:  {"sum", kindDouble, explicit, 0},
		6:  {"scale", kindSint32, once, 0},
		7:  {"zeroCount", kindFixed64, once, 0},
		8:  {"positive", kindMessage, once, msgBuckets},
		9:  {"negative", kindMessage, once, msgBuckets},
		10: {"flags", kindUint32, once, 0},
		11: {"exemplars", kindMessage, repeated, msgExemplar},
		12: {"min", kindDouble, explicit, 0},
		13: {"max", kindDouble, explicit, 0},
		14: {"zeroThreshold", kindDouble, once, 0},
	},
	msgBuckets: {
		1: {"offset", kindSint32, once, 0},
		2: {"bucketCounts", kindUint64, repeated, 0},
	},
	msgSummaryPoint: {
		2: {"startTimeUnixNano", kindFixed64, once, 0},
		3: {"timeUnixNano", kindFixed64, once, 0},
		4: {"count", kindFixed64, once, 0},
		5: {"sum", kindDouble, once, 0},
		6: {"quantileValues", kindMessage, repeated, msgQuantile},
		7: {"attributes", kindMessage, repeated, msgKeyValue},
		8: {"flags", kindUint32, once, 0},
	},
	msgQuantile: {
		1: {"quantile", kindDouble, once, 0},
		2: {"value", kindDouble, once, 0},
	},
	msgExemplar: {
		2: {"timeUnixNano", kindFixed64, once, 0},
		3: {"asDouble", kindDouble, oneOf, 0},
		4: {"spanId", kindSpanID, once, 0},
		5: {"traceId", kindTraceID, once, 0},
		6: {"asInt", kindSfixed64, oneOf, 0},
		7: {"filteredAttributes", kindMessage, repeated, msgKeyValue},
	},
}

// otlpEnums are the enums' names, each at its number.
var otlpEnums = [...][]string{
	enumSeverity: {
		"SEVERITY_NUMBER_UNSPECIFIED",
		"SEVERITY_NUMBER_TRACE", "SEVERITY_NUMBER_TRACE2", "SEVERITY_NUMBER_TRACE3", "SEVERITY_NUMBER_TRACE4",
		"SEVERITY_NUMBER_DEBUG", "SEVERITY_NUMBER_DEBUG2", "SEVERITY_NUMBER_DEBUG3", "SEVERITY_NUMBER_DEBUG4",
		"SEVERITY_NUMBER_INFO", "SEVERITY_NUMBER_INFO2", "SEVERITY_NUMBER_INFO3", "SEVERITY_NUMBER_INFO4",
		"SEVERITY_NUMBER_WARN", "SEVERITY_NUMBER_WARN2", "SEVERITY_NUMBER_WARN3", "SEVERITY_NUMBER_WARN4",
		"SEVERITY_NUMBER_ERROR", "SEVERITY_NUMBER_ERROR2", "SEVERITY_NUMBER_ERROR3", "SEVERITY_NUMBER_ERROR4",
		"SEVERITY_NUMBER_FATAL", "SEVERITY_NUMBER_FATAL2", "SEVERITY_NUMBER_FATAL3", "SEVERITY_NUMBER_FATAL4",
	},
	enumSpanKind: {
		"SPAN_KIND_UNSPECIFIED", "SPAN_KIND_INTERNAL", "SPAN_KIND_SERVER", "SPAN_KIND_CLIENT", "SPAN_KIND_PRODUCER",
		"SPAN_KIND_CONSUMER",
	},
	enumStatus: {"STATUS_CODE_UNSET", "STATUS_CODE_OK", "STATUS_CODE_ERROR"},
	enumTemporality: {
		"AGGREGATION_TEMPORALITY_UNSPECIFIED", "AGGREGATION_TEMPORALITY_DELTA", "AGGREGATION_TEMPORALITY_CUMULATIVE",
	},
}

// requestOf is the message that a signal's request is.
func requestOf(signal telemetry.Signal) (message uint8, flaw *otlpFlaw) {
	switch signal {
	case telemetry.Logs:
		return msgLogs, nil
	case telemetry.Traces:
		return msgTraces, nil
	case telemetry.Metrics:
		return msgMetrics, nil
	}
	return 0, &otlpFlaw{cause: errSignal}
}
