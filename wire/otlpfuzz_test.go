package wire

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"

	"slipstream/telemetry"
)

// What the check takes, the oracle takes too; it is completed as the model says
// and is the same in JSON and back. What it refuses brings nobody down.
func FuzzExport(f *testing.F) {
	r := newRandom(f)
	r.unknown = true
	for i, signal := range signals {
		for range 10 {
			if body := marshal(f, r.request(signal)); len(body) < 10_000 {
				f.Add(uint8(i), body)
			}
		}
	}
	f.Add(uint8(0), encode(OTLPLogs(testResource()), testLogs()))
	f.Add(uint8(0), []byte{0x0a, 0x08, 0x9b, 0x06, 0x0b, 0x0c, 0x9c, 0x06, 0x0a, 0x00}) // groups
	c, attributes := NewCompletion(testResource()), own(f, testResource())
	f.Fuzz(func(t *testing.T, which uint8, body []byte) {
		signal := signals[int(which)%len(signals)]
		n, err := CheckExport(signal, body)
		complete := c.Complete(nil, signal, body)
		line, lineErr := ExportToJSON(nil, signal, body)
		if err != nil {
			return
		}
		want := unmarshal(t, signal, body, true)
		if n < records(want.ProtoReflect()) {
			t.Fatalf("%d records, not %d", n, records(want.ProtoReflect()))
		}
		if lineErr != nil || bytes.ContainsAny(line, "\r\n") || !json.Valid(line) {
			t.Fatalf("%s: %v", line, lineErr)
		}
		back, err := ExportFromJSON(nil, signal, line)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		same(t, "JSON and back", unmarshal(t, signal, body, false), unmarshal(t, signal, back, true))
		completed(want, attributes)
		same(t, "complete", want, unmarshal(t, signal, complete, true))
		if again, err := CheckExport(signal, complete); err != nil || again != n {
			t.Fatalf("complete: %d records, not %d, %v", again, n, err)
		}
	})
}

// What is read from JSON passes the check, and is what protobuf's own reader
// reads, if that takes it.
func FuzzExportFromJSON(f *testing.F) {
	r := newRandom(f)
	for i, signal := range signals {
		for range 10 {
			if line, err := ExportToJSON(nil, signal, marshal(f, r.request(signal))); err == nil && len(line) < 10_000 {
				f.Add(uint8(i), line)
			}
		}
	}
	for _, text := range lenient {
		f.Add(uint8(0), []byte(text))
	}
	f.Fuzz(func(t *testing.T, which uint8, text []byte) {
		signal := signals[int(which)%len(signals)]
		body, err := ExportFromJSON([]byte("x"), signal, text)
		if err != nil {
			if string(body) != "x" {
				t.Fatalf("an error left %q", body)
			}
			return
		}
		body = body[1:]
		if !json.Valid(text) {
			t.Fatalf("accepted %s", text)
		}
		if _, err := CheckExport(signal, body); err != nil {
			t.Fatal(err)
		}
		got := unmarshal(t, signal, body, true)
		want := newRequest(signal)
		// It refuses a name that is there twice, and takes the names of proto files.
		if protojson.Unmarshal(text, newRequest(signal)) == nil && !strings.ContainsAny(string(text), `_\`) {
			if protojson.Unmarshal(translate(t, text, base64OfHex), want) == nil {
				same(t, "from JSON", want, got)
			}
		}
	})
}

// lenient are forms of one request that OTLP's receivers take.
var lenient = []string{
	`{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":1000,"severityNumber":"SEVERITY_NUMBER_INFO"}]}]}]}`,
	` { "resourceLogs" : [ { "scopeLogs" : [ { "logRecords" : [ { "timeUnixNano" : "1e3" , ` +
		`"severityNumber" : "9" } ] } ] } ] } `,
	`{"new":[{"x":null}],"resourceLogs":[{"resource":null,"scopeLogs":[{"logRecords":[{"timeUnixNano":1000.0,` +
		`"severityNumber":9,"body":null,"attributes":null,"traceId":"","droppedAttributesCount":0,"flags":0}]}]}]}`,
}

func TestLenientJSON(t *testing.T) {
	want, err := ExportFromJSON(nil, telemetry.Logs, []byte(lenient[0]))
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range lenient {
		if got, err := ExportFromJSON(nil, telemetry.Logs, []byte(text)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s gave %x, %v, not %x", text, got, err, want)
		}
	}
	line, err := ExportToJSON(nil, telemetry.Logs, want)
	const log = `{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":"1000","severityNumber":9}]}]}]}`
	if err != nil || string(line) != log {
		t.Errorf("the line is %s, %v", line, err)
	}
}

// record is the request with one log record of this content.
func record(content string) string {
	return `{"resourceLogs":[{"scopeLogs":[{"logRecords":[{` + content + `}]}]}]}`
}

func TestJSONNumbersAndIdentifiers(t *testing.T) {
	for content, want := range map[string]string{ // "" for an error
		`"timeUnixNano":"18446744073709551615"`:                `"timeUnixNano":"18446744073709551615"`,
		`"timeUnixNano":18446744073709551615`:                  `"timeUnixNano":"18446744073709551615"`,
		`"timeUnixNano":"18446744073709551616"`:                ``,
		`"timeUnixNano":1e20`:                                  ``,
		`"timeUnixNano":-1`:                                    ``,
		`"timeUnixNano":""`:                                    ``,
		`"timeUnixNano":1.5`:                                   ``,
		`"timeUnixNano":"0x10"`:                                ``,
		`"timeUnixNano":"1_0"`:                                 ``,
		`"timeUnixNano":true`:                                  ``,
		`"timeUnixNano":{}`:                                    ``,
		`"flags":4294967295`:                                   `"flags":4294967295`,
		`"flags":4294967296`:                                   ``,
		`"severityNumber":-2147483648`:                         `"severityNumber":-2147483648`,
		`"severityNumber":2147483648`:                          ``,
		`"severityNumber":99`:                                  `"severityNumber":99`,
		`"severityNumber":"INFO"`:                              ``,
		`"severityText":5`:                                     ``,
		`"traceId":"5B8EFFF798038103D269B633813FC60C"`:         `"traceId":"5b8efff798038103d269b633813fc60c"`,
		`"traceId":"W47/95gDgQPSabYzgT/GDA=="`:                 ``,
		`"spanId":"eee19b7ec3c1b17g"`:                          ``,
		`"spanId":"eee19b7ec3c1b174"`:                          `"spanId":"eee19b7ec3c1b174"`,
		`"attributes":{}`:                                      ``,
		`"attributes":[{"key":"a"},null]`:                      `"attributes":[{"key":"a"},{}]`,
		`"attributes":[1]`:                                     ``,
		`"body":[]`:                                            ``,
		`"body":{"intValue":"-9223372036854775808"}`:           `"body":{"intValue":"-9223372036854775808"}`,
		`"body":{"intValue":9223372036854775807}`:              `"body":{"intValue":"9223372036854775807"}`,
		`"body":{"intValue":9223372036854775808}`:              ``,
		`"body":{"intValue":0}`:                                `"body":{"intValue":"0"}`,
		`"body":{"boolValue":false}`:                           `"body":{"boolValue":false}`,
		`"body":{"boolValue":"false"}`:                         ``,
		`"body":{"stringValue":""}`:                            `"body":{"stringValue":""}`,
		`"body":{"doubleValue":"-Infinity"}`:                   `"body":{"doubleValue":"-Infinity"}`,
		`"body":{"doubleValue":"NaN"}`:                         `"body":{"doubleValue":"NaN"}`,
		`"body":{"doubleValue":"nan"}`:                         ``,
		`"body":{"doubleValue":"inf"}`:                         ``,
		`"body":{"doubleValue":"1.25"}`:                        `"body":{"doubleValue":1.25}`,
		`"body":{"doubleValue":1e999}`:                         ``,
		`"body":{"doubleValue":-0.0}`:                          `"body":{"doubleValue":-0}`,
		`"body":{"bytesValue":"-_8"}`:                          `"body":{"bytesValue":"+/8="}`,
		`"body":{"bytesValue":"+/8="}`:                         `"body":{"bytesValue":"+/8="}`,
		`"body":{"bytesValue":"?"}`:                            ``,
		`"body":{"arrayValue":{"values":[{},{"intValue":1}]}}`: `"body":{"arrayValue":{"values":[{},{"intValue":"1"}]}}`,
	} {
		body, err := ExportFromJSON(nil, telemetry.Logs, []byte(record(content)))
		if want == "" {
			if err == nil {
				t.Errorf("accepted %s", content)
			}
			continue
		}
		line, lineErr := ExportToJSON(nil, telemetry.Logs, body)
		if err != nil || lineErr != nil || string(line) != record(want) {
			t.Errorf("%s became %s, %v, %v", content, line, err, lineErr)
		}
	}
}

func TestBrokenJSON(t *testing.T) {
	for _, text := range []string{
		``, `null`, `[]`, `"x"`, `{`, `{}}`, `{} {}`, `{"resourceLogs":[}`, `{"resourceLogs":[{},]}`, `{"resourceLogs":{}}`,
		`{"resourceLogs":[{}}`, `{"x":[1,]}`, `{"resourceLogs":[{"resource":1}]}`, record(`"severityText":"`),
		record(`"body":{},"body":{}`), record(`"severityText":"a` + "\n" + `"`), record(`"severityText":"\x"`),
		record(`"body":` + strings.Repeat(`{"arrayValue":{"values":[`, 40) + strings.Repeat(`]}}`, 40)),
		strings.Repeat(`{"x":`, 20_000), strings.Repeat(`{"x":[`, 1_000_000),
	} {
		body, err := ExportFromJSON([]byte("before"), telemetry.Logs, []byte(text))
		if err == nil || string(body) != "before" {
			t.Errorf("accepted %.80s", text)
		}
	}
	_, err := ExportFromJSON(nil, telemetry.Logs, []byte(record(`"attributes":[{"key":1}]`)))
	if err == nil || !strings.Contains(err.Error(), "resourceLogs.scopeLogs.logRecords.attributes.key: ") {
		t.Errorf("the error is %v", err)
	}
}

// NDJSON has an export as a line; what is no request is not written.
func TestExportAsLine(t *testing.T) {
	lines := NDJSON(testResource()).(*ndjson)
	body, err := ExportFromJSON(nil, telemetry.Logs, []byte(lenient[0]))
	if err != nil {
		t.Fatal(err)
	}
	got := lines.AppendExport([]byte("before\n"), &telemetry.Export{Signal: telemetry.Logs, Records: 1, Body: body})
	if want := "before\n" + record(`"timeUnixNano":"1000","severityNumber":9`) + "\n"; string(got) != want {
		t.Errorf("the line is %s", got)
	}
	for _, e := range []telemetry.Export{
		{Signal: telemetry.Logs, Body: body[:len(body)-1]}, {Signal: telemetry.Metrics, Body: body},
		{Signal: "profiles", Body: body},
	} {
		if got := lines.AppendExport([]byte("before\n"), &e); string(got) != "before\n" {
			t.Errorf("%s became %s", e.Body, got)
		}
	}
}
