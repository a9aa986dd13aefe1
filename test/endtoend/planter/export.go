package main

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"slipstream/test/secrets"
)

// object is one of JSON.
type object = map[string]any

// attributes has the case in every attribute where one may be: of its own key,
// captured headers, bodies and queries, and lists.
func attributes(c secrets.Case) []object {
	text, alone := object{"stringValue": string(c.Body)}, object{"stringValue": textOf(c)}
	list := []object{
		{"key": keyOf(c), "value": text},
		{"key": "app.list", "value": object{"arrayValue": object{"values": []object{alone, alone}}}},
	}
	if c.Form == secrets.Value {
		member := object{"key": c.Key, "value": text}
		headers := object{"arrayValue": object{"values": []object{text}}}
		return append(list, object{"key": "http.request.header." + c.Key, "value": headers},
			object{"key": "http.response.header." + c.Key, "value": text},
			object{"key": "http.request.headers", "value": header(c)},
			object{"key": "app.map", "value": object{"kvlistValue": object{"values": []object{member}}}})
	}
	for _, key := range []string{"http.request.body", "http.response.body", "url.query", "db.statement", "url.full",
		"exception.message", "faas.event", "aws.lambda.result"} {
		list = append(list, object{"key": key, "value": text})
	}
	if value, ok := structure(c); ok {
		list = append(list, object{"key": "app.structure", "value": value})
	}
	return list
}

// header is the case as JSON in text.
func header(c secrets.Case) object {
	text, _ := json.Marshal(map[string]string{c.Key: string(c.Body)}) // strings always can be
	return object{"stringValue": string(text)}
}

// structure is a case of JSON as OTLP's own value.
func structure(c secrets.Case) (object, bool) {
	var value any
	if c.Form != secrets.JSON || json.Unmarshal(c.Body, &value) != nil {
		return nil, false
	}
	return anyValue(value), true
}

func anyValue(value any) object {
	switch v := value.(type) {
	case map[string]any:
		members := []object{}
		for _, name := range slices.Sorted(maps.Keys(v)) {
			members = append(members, object{"key": name, "value": anyValue(v[name])})
		}
		return object{"kvlistValue": object{"values": members}}
	case []any:
		items := []object{}
		for _, item := range v {
			items = append(items, anyValue(item))
		}
		return object{"arrayValue": object{"values": items}}
	case string:
		return object{"stringValue": v}
	case float64:
		return object{"intValue": int64(v)}
	case bool:
		return object{"boolValue": v}
	}
	return object{}
}

func exportLog(name string, c secrets.Case) []byte {
	record := func(body object) object {
		return object{"timeUnixNano": "1700000000000000000", "eventName": name, "attributes": attributes(c), "body": body}
	}
	records := []object{record(object{"stringValue": textOf(c)}),
		record(object{"bytesValue": base64.StdEncoding.EncodeToString([]byte(textOf(c)))})}
	if value, ok := structure(c); ok {
		records = append(records, record(value))
	}
	return encode(object{"resourceLogs": []object{{"resource": resource(c), "scopeLogs": []object{
		{"scope": scope(c), "logRecords": records}}}}})
}

func exportSpan(name string, c secrets.Case) []byte {
	return encode(object{"resourceSpans": []object{{"resource": resource(c), "scopeSpans": []object{{"scope": scope(c),
		"spans": []object{{
			"traceId": "0102030405060708090a0b0c0d0e0f10", "spanId": "0102030405060708", "name": name, "kind": 1,
			"startTimeUnixNano": "1700000000000000000", "endTimeUnixNano": "1700000000000000001",
			"attributes": attributes(c), "status": object{"code": 1, "message": textOf(c)},
			"traceState": "a=b",
			"events":     []object{{"timeUnixNano": "1700000000000000000", "name": textOf(c), "attributes": attributes(c)}},
			"links": []object{{"traceId": "0102030405060708090a0b0c0d0e0f10", "spanId": "0102030405060709",
				"attributes": attributes(c)}},
		}, {
			"traceId": "0102030405060708090a0b0c0d0e0f10", "spanId": "0102030405060710", "name": textOf(c),
			"startTimeUnixNano": "1700000000000000000", "endTimeUnixNano": "1700000000000000001",
		}}}}}}})
}

func exportPoint(name string, c secrets.Case) []byte {
	exemplar := object{"timeUnixNano": "1700000000000000000", "asInt": "1", "filteredAttributes": attributes(c)}
	point := object{"timeUnixNano": "1700000000000000000", "asInt": "1", "attributes": attributes(c),
		"exemplars": []object{exemplar}}
	metric := object{"name": name, "description": textOf(c), "gauge": object{"dataPoints": []object{point}}}
	return encode(object{"resourceMetrics": []object{{"resource": resource(c),
		"scopeMetrics": []object{{"metrics": []object{metric}}}}}})
}

func resource(c secrets.Case) object { return object{"attributes": attributes(c)} }

func scope(c secrets.Case) object {
	return object{"name": "planter", "version": textOf(c), "attributes": attributes(c)}
}

func encode(o object) []byte {
	text, err := json.Marshal(o)
	if err != nil {
		panic(fmt.Sprintf("a map of texts: %v", err))
	}
	return text
}

// binaryLog is an ExportLogsServiceRequest in protobuf with one record.
func binaryLog(name string, c secrets.Case) []byte {
	body := field(1, []byte(textOf(c)))
	record := append(binary.LittleEndian.AppendUint64([]byte{1<<3 | 1}, 1_700_000_000_000_000_000), field(5, body)...)
	record = append(record, field(6, append(field(1, []byte(keyOf(c))), field(2, field(1, c.Body))...))...)
	record = append(record, field(12, []byte(name))...)
	return field(1, field(2, field(2, record)))
}

// field is a protobuf field that has a length.
func field(number byte, content []byte) []byte {
	return append(binary.AppendUvarint([]byte{number<<3 | 2}, uint64(len(content))), content...)
}
