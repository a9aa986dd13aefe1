package wire

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"slipstream/telemetry"
)

func TestCheckCountsLogRecords(t *testing.T) {
	body := encode(OTLPLogs(testResource()), testLogs())
	for _, b := range [][]byte{nil, body, append(body[:len(body):len(body)], body...)} {
		want := len(b) / len(body) * len(testLogs())
		if n, err := CheckExport(telemetry.Logs, b); n != want || err != nil {
			t.Errorf("%d records, %v, not %d", n, err, want)
		}
	}
}

func TestCheckTellsWhatIsWrong(t *testing.T) {
	logs := encode(OTLPLogs(testResource()), testLogs())
	deep := appendStringField(nil, fieldString, "x")
	for range maxNesting {
		deep = nest(nil, fieldArray, nest(nil, fieldValues, deep))
	}
	record := func(content []byte) []byte {
		scope := nest(nil, fieldLogRecords, content)
		return nest(nil, fieldResourceLogs, nest(nil, fieldScopeLogs, scope))
	}
	for name, tt := range map[string]struct {
		signal telemetry.Signal
		body   []byte
		want   error
		path   string
	}{
		"signal":   {"profiles", logs, errSignal, ""},
		"cut":      {telemetry.Logs, logs[:len(logs)-1], errProtobuf, ""},
		"text":     {telemetry.Logs, []byte(`{"resourceLogs":[]}`), errProtobuf, ""},
		"type":     {telemetry.Logs, record(appendStringField(nil, fieldTime, "now")), errWireType, "timeUnixNano"},
		"utf8":     {telemetry.Logs, record([]byte{fieldSeverityText<<3 | wireBytes, 1, 0xff}), errUTF8, "severityText"},
		"id":       {telemetry.Logs, record(appendStringField(nil, 9, "short")), errID, "traceId"},
		"deep":     {telemetry.Logs, record(nest(nil, fieldBody, deep)), errNesting, "body.arrayValue.values."},
		"twice":    {telemetry.Logs, record(nest(nest(nil, fieldBody, nil), fieldBody, nil)), errTwice, "logRecords.body"},
		"many":     {telemetry.Logs, bytes.Repeat([]byte{fieldResourceLogs<<3 | wireBytes, 0}, maxResources+1), errMany, ""},
		"number 0": {telemetry.Logs, record([]byte{0, 0}), errProtobuf, "logRecords"},
		"varint": {telemetry.Logs, record([]byte{fieldSeverityNumber << 3, 255, 255, 255, 255, 255, 255, 255, 255, 255, 2}),
			errProtobuf, ""},
		"group end": {telemetry.Logs, record([]byte{99<<3&0x7f | wireGroup, 1}), errProtobuf, "logRecords"},
	} {
		n, err := CheckExport(tt.signal, tt.body)
		if n != 0 || !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.path) {
			t.Errorf("%s: %d, %v; want %v in %s", name, n, err, tt.want, tt.path)
		}
	}
}

// nest appends content as a message field.
func nest(dst []byte, field int, content []byte) []byte {
	dst, m := openField(dst, field, len(content))
	return closeField(append(dst, content...), m)
}
