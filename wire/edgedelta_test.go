package wire

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipstream/telemetry"
)

var edgeDeltaResource = &telemetry.Resource{
	FunctionName: "shop", FunctionVersion: "$LATEST", AccountID: "123456789012", Region: "eu-west-1",
}

// The records below are written by hand, key for key, from what is known of Edge
// Delta's extension on the wire.
const (
	edgeDeltaCloud = `{"cloud":{"resource_id":"arn:aws:lambda:eu-west-1:123456789012:function:shop",` +
		`"account_id":"123456789012","region":"eu-west-1"},"faas":{"name":"shop","version":"$LATEST",`
	edgeDeltaID = `"request_id":"3b0e4c1d-0a53-4a0e-9f5f-2f1f7a6f6a01"`
)

func edgeDeltaEvents() []telemetry.Log {
	const id = "3b0e4c1d-0a53-4a0e-9f5f-2f1f7a6f6a01"
	at := func(ms int) time.Time { return time.Date(2026, 10, 1, 9, 0, 0, ms*int(time.Millisecond), time.UTC) }
	return []telemetry.Log{
		{Time: at(0), Type: "platform.initStart", Body: []byte(`{"phase":"init"}`)},
		{Time: at(1), Type: "function", Body: []byte(`"loading\n"`)},
		{Time: at(320), Type: "platform.start", RequestID: id,
			Body: []byte(`{"requestId":"` + id + `","version":"$LATEST"}`)},
		{Time: at(330), Type: "function", RequestID: id, Body: []byte(`" \thello \"world\"\\n \u00e9 <a>\r\n"`)},
		{Time: at(331), Type: "function", RequestID: id, Body: []byte("{\"level\":\"INFO\",\n \"message\":\"a\\tb\"}")},
		{Time: at(332), Type: "extension", RequestID: id, Body: []byte(`"chatter\n"`)},
		{Time: at(395), Type: "platform.runtimeDone", RequestID: id, Body: []byte(`{"requestId":"` + id +
			`","status":"success","metrics":{"durationMs":75.0,"producedBytes":16}}`)},
		{Time: at(430), Type: "platform.report", RequestID: id, Body: []byte(`{"requestId":"` + id +
			`","status":"success","metrics":{"durationMs":110.25,"billedDurationMs":423,"memorySizeMB":128,` +
			`"maxMemoryUsedMB":84,"initDurationMs":312.4},"spans":[{"name":"extensionOverhead","durationMs":34.9}]}`)},
		{Time: at(500), Type: "platform.report", RequestID: "other", Body: []byte(`{"requestId":"other","metrics":{` +
			`"durationMs":10.5,"billedDurationMs":null}}`)},
	}
}

// encodeWanted does what a destination's lane does.
func encodeWanted(e *edgeDelta, logs []telemetry.Log) string {
	var body []byte
	for i := range logs {
		if e.Wants(logs[i].Type) {
			body = e.AppendLog(body, &logs[i])
		}
	}
	return string(body)
}

func TestEdgeDeltaRecords(t *testing.T) {
	want := edgeDeltaCloud + `"request_id":""},"timestamp":"2026-10-01T09:00:00.001Z","log_type":"function",` +
		`"message":"loading"}` + "\n" +
		edgeDeltaCloud + edgeDeltaID + `,"step":"START"},"timestamp":"2026-10-01T09:00:00.320Z",` +
		`"log_type":"platform.start","message":"START RequestID: 3b0e4c1d-0a53-4a0e-9f5f-2f1f7a6f6a01"}` + "\n" +
		edgeDeltaCloud + edgeDeltaID + `},"timestamp":"2026-10-01T09:00:00.330Z","log_type":"function",` +
		`"message":"hello \"world\"\\n \u00e9 <a>"}` + "\n" +
		edgeDeltaCloud + edgeDeltaID + `},"timestamp":"2026-10-01T09:00:00.331Z","log_type":"function",` +
		`"message":"{\"level\":\"INFO\", \"message\":\"a\\tb\"}"}` + "\n" +
		edgeDeltaCloud + edgeDeltaID + `,"step":"END"},"timestamp":"2026-10-01T09:00:00.395Z",` +
		`"log_type":"platform.runtimeDone","status":"success",` +
		`"message":"END RequestID: 3b0e4c1d-0a53-4a0e-9f5f-2f1f7a6f6a01"}` + "\n" +
		edgeDeltaCloud + edgeDeltaID + `},"timestamp":"2026-10-01T09:00:00.430Z","log_type":"platform.report",` +
		`"status":"success","faas.billed_duration_ms":423,"faas.init_duration_ms":312.4,` +
		`"faas.runtime_duration_ms":387.75,"faas.duration_ms":110.25,"faas.post_runtime_duration_ms":35.25,` +
		`"faas.max_memory_used":84,"faas.memory_left":44,"faas.memory_percent":34.375}` + "\n" +
		edgeDeltaCloud + `"request_id":"other"},"timestamp":"2026-10-01T09:00:00.500Z","log_type":"platform.report",` +
		`"faas.duration_ms":10.5}` + "\n"
	e := EdgeDelta(edgeDeltaResource, nil).(*edgeDelta)
	got := encodeWanted(e, edgeDeltaEvents())
	if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	for line := range strings.Lines(got) {
		if !json.Valid([]byte(line)) {
			t.Errorf("not JSON: %s", line)
		}
	}
	if e.ContentType() != "application/json" || len(e.AppendHead(nil, 7)) != 0 {
		t.Error("not the original's body")
	}
	if dst := e.AppendLog(nil, &telemetry.Log{Type: "platform.fault", Body: []byte(`"x"`)}); len(dst) != 0 {
		t.Errorf("an event without a record became %s", dst)
	}
}

func TestEdgeDeltaFunctionDetails(t *testing.T) {
	var details *FunctionDetails
	e := EdgeDelta(edgeDeltaResource, func(string) *FunctionDetails { return details }).(*edgeDelta)
	events := edgeDeltaEvents()[2:4]
	if got := encodeWanted(e, events); strings.Contains(got, "memory_size") || strings.Contains(got, "tags") {
		t.Errorf("details from nowhere: %s", got)
	}
	details = &FunctionDetails{Architecture: "arm64", Runtime: "nodejs22.x", MemorySize: "128",
		Tags: []telemetry.Attribute{{Key: "env", Value: "prod"}, {Key: "team", Value: `a "b"`}}}
	want := edgeDeltaCloud + edgeDeltaID + `,"memory_size":"128","step":"START","tags":{"env":"prod","team":"a \"b\""}},` +
		`"timestamp":"2026-10-01T09:00:00.320Z","log_type":"platform.start","host.arch":"arm64",` +
		`"process.runtime.name":"nodejs22.x","message":"START RequestID: 3b0e4c1d-0a53-4a0e-9f5f-2f1f7a6f6a01"}` + "\n" +
		edgeDeltaCloud + edgeDeltaID + `,"memory_size":"128","tags":{"env":"prod","team":"a \"b\""}},` +
		`"timestamp":"2026-10-01T09:00:00.330Z","log_type":"function","host.arch":"arm64",` +
		`"process.runtime.name":"nodejs22.x","message":"hello \"world\"\\n \u00e9 <a>"}` + "\n"
	if diff := cmp.Diff(want, encodeWanted(e, events)); diff != "" {
		t.Error(diff)
	}
	details = &FunctionDetails{MemorySize: "128"}
	if got := encodeWanted(e, events); strings.Contains(got, "tags") || !strings.Contains(got, "memory_size") {
		t.Errorf("old details stay: %s", got)
	}
}

// More invocations at once than are remembered: the figure is left out, not
// made up of another's times.
func TestEdgeDeltaForgetsOldInvocations(t *testing.T) {
	e := EdgeDelta(edgeDeltaResource, nil).(*edgeDelta)
	events := edgeDeltaEvents()
	e.AppendLog(nil, &events[2])
	for i := range len(e.spans) {
		e.AppendLog(nil, &telemetry.Log{Type: "platform.start", RequestID: string(rune('A' + i)), Time: events[2].Time})
	}
	e.AppendLog(nil, &events[6])
	if got := string(e.AppendLog(nil, &events[7])); strings.Contains(got, "post_runtime") {
		t.Error(got)
	}
}

func FuzzEdgeDelta(f *testing.F) {
	f.Add("function", `"a\\n \n"`)
	f.Add("platform.report", `{"metrics":{"durationMs":1e300}}`)
	f.Fuzz(func(t *testing.T, kind, body string) {
		if !json.Valid([]byte(body)) {
			return
		}
		e := EdgeDelta(edgeDeltaResource, nil).(*edgeDelta)
		line := e.AppendLog(nil, &telemetry.Log{Type: kind, Body: []byte(body)})
		if e.Wants(kind) != (len(line) > 0) {
			t.Errorf("%q of %s", line, kind)
		}
		if len(line) > 0 && (!json.Valid(line) || strings.Count(string(line), "\n") != 1) {
			t.Errorf("%q of %s", line, body)
		}
	})
}
