package foreign_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// The members of what the platform sends, from AWS's documentation and not from
// the emulator's code. After the colon: string, time, integer or double, or one
// fixed value; "?" is a member that may be absent. No others may come.
var (
	apiShapes = map[string]string{
		"register": `functionName:"shop" functionVersion:"$LATEST" handler:string`, // accountId only on request
		"INVOKE": `eventType:string deadlineMs:integer requestId:string invokedFunctionArn:string
			tracing.type?:"X-Amzn-Trace-Id" tracing.value?:string`,
		"SHUTDOWN": `eventType:string deadlineMs:integer shutdownReason:"spindown"`,
	}
	telemetryShapes = map[string]string{
		"platform.initStart": `initializationType:"on-demand" phase:"init" functionName:"shop"
			functionVersion:"$LATEST" instanceId?:string instanceMaxMemory?:integer runtimeVersion?:string
			runtimeVersionArn?:string`,
		"platform.initRuntimeDone": `initializationType:"on-demand" phase:"init" status:"success"`,
		"platform.initReport": `initializationType:"on-demand" phase:"init" status:"success"
			metrics.durationMs:double`,
		"platform.extension":             `name:"foreign" state:"Ready" events[]:string`,
		"platform.telemetrySubscription": `name:"foreign" state:"Subscribed" types[]:string`,
		"platform.start":                 `requestId:string version?:"$LATEST" ` + traceMembers,
		"platform.runtimeDone": `requestId:string status:"success" metrics.durationMs:double
			metrics.producedBytes?:integer ` + spanMembers + traceMembers,
		"platform.report": `requestId:string status:"success" ` + reportMetrics + spanMembers + traceMembers,
		"function":        `:string`,
	}
	logsShapes = map[string]string{
		"platform.extension":        `name:"foreign" state:"Ready" events[]:string`,
		"platform.logsSubscription": `name:"foreign" state:"Subscribed" types[]:string`,
		"platform.start":            `requestId:string version:"$LATEST"`,
		"platform.runtimeDone":      `requestId:string status:"success"`,
		"platform.end":              `requestId:string`,
		"platform.report":           `requestId:string ` + reportMetrics + traceMembers,
		"function":                  `:string`,
	}
)

const (
	traceMembers  = `tracing.type?:"X-Amzn-Trace-Id" tracing.value?:string tracing.spanId?:string `
	spanMembers   = `spans[].name?:string spans[].start?:time spans[].durationMs?:double `
	reportMetrics = `metrics.durationMs:double metrics.billedDurationMs:integer metrics.memorySizeMB:integer
		metrics.maxMemoryUsedMB:integer metrics.initDurationMs?:double `
)

// expectShape compares a JSON value with its row of a table.
func expectShape(t *testing.T, shapes map[string]string, name string, value json.RawMessage) {
	t.Helper()
	row, known := shapes[name]
	if !known {
		t.Errorf("%s is not one of this API's: %s", name, value)
		return
	}
	decoder := json.NewDecoder(bytes.NewReader(value))
	decoder.UseNumber()
	var decoded any
	if err := decoder.Decode(&decoded); err != nil {
		t.Fatalf("%s %s: %v", name, value, err)
	}
	got := map[string][]any{}
	flatten(got, "", decoded)
	for _, word := range strings.Fields(row) {
		member, want, _ := strings.Cut(word, ":")
		member, optional := strings.CutSuffix(member, "?")
		if len(got[member]) == 0 && !optional {
			t.Errorf("%s lacks %q: %s", name, member, value)
		}
		for _, v := range got[member] {
			if !fits(v, want) {
				t.Errorf("%s: %q is %v, want %s: %s", name, member, v, want, value)
			}
		}
		delete(got, member)
	}
	if len(got) > 0 {
		t.Errorf("%s has %q, which AWS does not name: %s", name, slices.Sorted(maps.Keys(got)), value)
	}
}

// flatten lists the values under their paths, such as metrics.durationMs and
// spans[].name.
func flatten(into map[string][]any, path string, value any) {
	switch v := value.(type) {
	case map[string]any:
		for name, member := range v {
			flatten(into, strings.TrimPrefix(path+"."+name, "."), member)
		}
	case []any:
		for _, member := range v {
			flatten(into, path+"[]", member)
		}
	default:
		into[path] = append(into[path], v)
	}
}

func fits(value any, want string) bool {
	number, isNumber := value.(json.Number)
	text, isText := value.(string)
	switch want {
	case "string":
		return isText && text != ""
	case "time":
		return isText && isTime(text)
	case "integer":
		return isNumber && !strings.ContainsAny(number.String(), ".eE")
	case "double":
		return isNumber
	}
	return isText && fmt.Sprintf("%q", text) == want
}

// isTime tells whether the text is a time as the platform writes it.
func isTime(text string) bool {
	_, err := time.Parse("2006-01-02T15:04:05.000Z", text)
	return err == nil
}
