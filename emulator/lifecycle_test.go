package emulator

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestTelemetryStory is an environment's life as a subscribed extension sees it:
// reports arrive one invocation late, the last one in Shutdown.
func TestTelemetryStory(t *testing.T) {
	s := play(t, extension("ext", `{"Events":["INVOKE","SHUTDOWN"],"Telemetry":true}`),
		change(func(c *Config, _ *Function) { c.Freeze = true }))
	s.invoke(`{"Print":["one"]}`)
	s.settle()
	s.invoke(`{"Print":["two"]}`)
	s.settle()
	s.stop()
	want := []string{
		"platform.initStart init",
		"platform.telemetrySubscription ext Subscribed",
		"platform.initRuntimeDone init success",
		"platform.extension ext Ready",
		"platform.initReport init success",
		"platform.start",
		"function one",
		"platform.runtimeDone success",
		"platform.report success",
		"platform.start",
		"function two",
		"platform.runtimeDone success",
		"platform.report success",
	}
	events := slices.DeleteFunc(s.received("ext"), func(e telemetryEvent) bool {
		return strings.Contains(string(e.Record), "SIGTERM") // the extension may have ended before that line
	})
	if diff := cmp.Diff(want, story(events)); diff != "" {
		t.Errorf("%s\nlog:\n%s", diff, s.log)
	}
	second := s.recorder.Reports()[1].Start
	deliveries, _ := s.recorder.Deliveries("ext")
	for _, d := range deliveries { // a report comes with the next invocation at the earliest
		if len(only(decode(t, d.Body), "platform.report")) > 0 && d.At.Before(second) {
			t.Errorf("at %v, before the second invocation at %v, a report came: %s", d.At, second, d.Body)
		}
	}
}

func decode(t *testing.T, body []byte) []telemetryEvent {
	t.Helper()
	var events []telemetryEvent
	if err := json.Unmarshal(body, &events); err != nil {
		t.Fatal(err)
	}
	return events
}

// TestEventFields checks the records of one cold invocation.
func TestEventFields(t *testing.T) {
	s := play(t, extension("ext", `{"Events":["INVOKE","SHUTDOWN"],"Telemetry":true}`))
	result := s.invoke(`{"Size":16}`)
	s.stop()
	records := map[string]map[string]any{}
	for _, e := range s.received("ext") {
		records[e.Type] = e.record()
	}
	report := s.recorder.Reports()[0]
	for typ, want := range map[string]map[string]any{
		"platform.initStart": {"initializationType": "on-demand", "phase": "init", "functionName": "shop",
			"functionVersion": "$LATEST", "instanceMaxMemory": 512.0 * 1024 * 1024, "instanceId": report.Environment},
		"platform.initRuntimeDone": {"initializationType": "on-demand", "phase": "init", "status": "success"},
		"platform.extension":       {"name": "ext", "state": "Ready", "events": []any{"INVOKE", "SHUTDOWN"}},
		"platform.initReport":      {"initializationType": "on-demand", "phase": "init", "status": "success"},
		"platform.start":           {"requestId": result.RequestID, "version": "$LATEST"},
		"platform.runtimeDone":     {"requestId": result.RequestID, "status": "success"},
		"platform.report":          {"requestId": result.RequestID, "status": "success"},
	} {
		for field, value := range want {
			if diff := cmp.Diff(value, records[typ][field]); diff != "" {
				t.Errorf("%s.%s: %s", typ, field, diff)
			}
		}
	}
	done := records["platform.runtimeDone"]
	if got := spanNames(done); got != "responseLatency responseDuration runtimeOverhead" {
		t.Errorf("spans of runtimeDone: %s", got)
	}
	metrics, _ := done["metrics"].(map[string]any)
	if metrics["producedBytes"] != 16.0 || metrics["durationMs"].(float64) <= 0 {
		t.Errorf("metrics of runtimeDone: %v", metrics)
	}
	metrics, _ = records["platform.report"]["metrics"].(map[string]any)
	if spanNames(records["platform.report"]) != "extensionOverhead" || metrics["memorySizeMB"] != 512.0 ||
		metrics["initDurationMs"].(float64) <= 0 || metrics["billedDurationMs"].(float64) < metrics["durationMs"].(float64) ||
		metrics["maxMemoryUsedMB"].(float64) <= 0 {
		t.Errorf("platform.report: %v", records["platform.report"])
	}
	tracing, _ := records["platform.start"]["tracing"].(map[string]any)
	if !strings.HasPrefix(fmt.Sprint(tracing["value"]), "Root=1-") || tracing["type"] != "X-Amzn-Trace-Id" {
		t.Errorf("tracing: %v", tracing)
	}
}

func spanNames(record map[string]any) string {
	var names []string
	list, _ := record["spans"].([]any)
	for _, s := range list {
		names = append(names, fmt.Sprint(s.(map[string]any)["name"]))
	}
	return strings.Join(names, " ")
}

// TestLogsAPIStory is the same life through the older API.
func TestLogsAPIStory(t *testing.T) {
	s := play(t, extension("ext", `{"Events":["INVOKE","SHUTDOWN"],"Logs":true}`))
	s.invoke(`{"Print":["one"]}`)
	s.settle()
	s.invoke(`{"Exit":1}`)
	s.stop()
	got := story(only(s.received("ext"), "platform.start", "function", "platform.runtimeDone", "platform.fault",
		"platform.end", "platform.report"))
	if len(got) < 6 {
		t.Fatalf("got only %q", got)
	}
	want := []string{"platform.start", "function one", "platform.runtimeDone success", "platform.end", "platform.report",
		"platform.start"}
	if diff := cmp.Diff(want, got[:6]); diff != "" {
		t.Error(diff)
	}
	if faults := only(s.received("ext"), "platform.fault"); len(faults) != 1 ||
		!strings.Contains(string(faults[0].Record), `Status: error\tErrorType: Runtime.ExitError`) {
		t.Errorf("faults: %v", story(faults))
	}
}

// TestEventsGoOutTogether: the extension has INVOKE while the function works, and
// so has the function its event while the extension does.
func TestEventsGoOutTogether(t *testing.T) {
	s := play(t, extension("ext", `{"Events":["INVOKE"],"Gate":"GATE/ext"}`))
	answer := s.begin(`{"Gate":"GATE/f"}`)
	got := []string{s.reach(), s.reach()}
	slices.Sort(got)
	if diff := cmp.Diff([]string{"ext", "f"}, got); diff != "" {
		t.Error(diff)
	}
	s.open <- struct{}{}
	s.open <- struct{}{}
	<-answer
}

// TestLateSubscription: after Init it is refused.
func TestLateSubscription(t *testing.T) {
	s := play(t, extension("ext", `{"Events":["INVOKE"],"Late":true}`))
	s.invoke(`{}`)
	s.settle()
	const want = `403 {"errorMessage":"Telemetry API subscription is closed already",` +
		`"errorType":"Telemetry.SubscriptionClosed"}`
	if got := s.printed(1, "[ext] subscribed "); len(got) != 1 || got[0] != want {
		t.Errorf("got %q", got)
	}
}

// TestRuntimeDoneComesAfterTheLines that the function has written before it called
// next, however many are still in the pipe then.
func TestRuntimeDoneComesAfterTheLines(t *testing.T) {
	s := play(t, extension("ext", `{"Events":["INVOKE","SHUTDOWN"],"Telemetry":true}`))
	s.invoke(`{"PrintMB":4}`)
	s.stop()
	lines, done := 0, false
	for _, e := range s.received("ext") {
		switch {
		case e.Type == "platform.runtimeDone":
			done = true
		case e.Type == "function" && strings.Contains(string(e.Record), "xxx"):
			if lines++; done {
				t.Fatalf("line %d came after platform.runtimeDone", lines)
			}
		}
	}
	if lines != 4096 || !done {
		t.Errorf("%d lines, platform.runtimeDone %v", lines, done)
	}
}

// TestClientDoesNotWaitForExtensions: the answer is there while the extension is
// still busy, and its time is extensionOverhead.
func TestClientDoesNotWaitForExtensions(t *testing.T) {
	s := play(t, extension("ext", `{"Events":["INVOKE"],"Gate":"GATE/ext"}`))
	s.invoke(`{}`)
	s.reach()
	if n := len(s.recorder.Reports()); n != 0 {
		t.Fatalf("%d reports before the extension called next", n)
	}
	s.eventually("the runtime's next", func() bool { return len(s.log.lines("END ")) == 1 })
	s.open <- struct{}{}
	s.settle()
	r := s.recorder.Reports()[0]
	if r.ExtensionOverhead <= 0 || r.Duration != r.RuntimeDuration+r.ExtensionOverhead ||
		r.RuntimeDuration <= r.ResponseLatency {
		t.Errorf("report: %+v", r)
	}
}

// TestRuntimeIsNotDoneBeforeNext: work after the response belongs to the
// invocation.
func TestRuntimeIsNotDoneBeforeNext(t *testing.T) {
	s := play(t)
	s.invoke(`{"GateNext":"GATE/next"}`)
	s.reach()
	if n := len(s.recorder.Reports()); n != 0 {
		t.Fatalf("%d reports before the runtime called next", n)
	}
	s.open <- struct{}{}
	s.settle()
	if n := len(s.recorder.Reports()); n != 1 {
		t.Fatalf("%d reports", n)
	}
}

// TestHandlerError: the environment stays, and the platform calls it a success.
func TestHandlerError(t *testing.T) {
	s := play(t, extension("ext", `{"Events":["INVOKE","SHUTDOWN"],"Telemetry":true}`))
	result := s.invoke(`{"Error":"OrderMissing"}`)
	const want = `{"errorMessage":"handler","errorType":"OrderMissing"}`
	if result.FunctionError != "Unhandled" || string(result.Payload) != want {
		t.Errorf("got %q %s", result.FunctionError, result.Payload)
	}
	s.settle()
	s.invoke(`{}`)
	s.stop()
	statuses := story(only(s.received("ext"), "platform.initStart", "platform.runtimeDone"))
	if diff := cmp.Diff([]string{"platform.initStart init", "platform.runtimeDone success",
		"platform.runtimeDone success"},
		statuses); diff != "" {
		t.Error(diff)
	}
}

// TestInternalExtension registers from within the function's process.
func TestInternalExtension(t *testing.T) {
	s := play(t, variable("INIT", "internal=agent"))
	s.invoke(`{}`)
	s.eventually("INVOKE for the internal extension", func() bool { return len(s.log.lines("internal: INVOKE")) == 1 })
	s.settle()
	if got := s.log.lines("internal: INVOKE"); !strings.Contains(got[0], "Extension.RegistrationClosed") {
		t.Errorf("a late internal extension got %s", got[0])
	}
	s.stop()
	if got := s.log.lines("function: SIGTERM"); len(got) != 1 { // it has 500 ms, so SIGTERM comes first
		t.Errorf("the runtime got SIGTERM %d times", len(got))
	}
}

func TestResponseTooLarge(t *testing.T) {
	s := play(t)
	result := s.invoke(`{"Size":7000000}`)
	const want = `{"errorMessage":"Response payload size (7000000 bytes) exceeded maximum allowed payload size ` +
		`(6291556 bytes).","errorType":"Function.ResponseSizeTooLarge"}`
	if result.FunctionError != "Unhandled" || string(result.Payload) != want {
		t.Errorf("got %s", result.Payload)
	}
	s.settle()
	if got := s.printed(1, "function: /runtime/invocation/"); len(got) != 1 || !strings.Contains(got[0], "answered 413") {
		t.Errorf("the function saw %v", got)
	}
	s.invoke(`{}`) // the environment lives on
	if got := s.recorder.Reports(); got[0].Status != "success" {
		t.Errorf("report %+v", got[0])
	}
}
