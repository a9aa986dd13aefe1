package emulator

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipstream/emulator/fault"
	"slipstream/emulator/invokeapi"
)

// watching is the plan of an extension on managed instances.
const watching = `{"Events":["SHUTDOWN"],"Telemetry":true,"Schema":"2025-01-29"}`

// onInstances makes the function one of managed instances.
func onInstances(concurrency int) setting {
	return change(func(c *Config, f *Function) {
		f.InitType, f.MaxConcurrency, c.Freeze = managed, concurrency, true
	})
}

// throttled tells whether the service refuses an invocation for want of room.
func throttled(err error) bool {
	e, ok := errors.AsType[*invokeapi.Exception](err)
	return ok && e.Status == http.StatusTooManyRequests
}

// TestManagedConcurrency: on AWS's own Go runtime, one process runs as many
// invocations at once as AWS_LAMBDA_MAX_CONCURRENCY says; one more is refused.
func TestManagedConcurrency(t *testing.T) {
	s := play(t, onInstances(3), change(func(_ *Config, f *Function) { f.Command = []string{program("lambdago")} }))
	var answers []<-chan Result
	for id := range 3 {
		answers = append(answers, s.begin(fmt.Sprintf(`{"id":%d,"gate":"GATE/f"}`, id)))
	}
	for range 3 {
		s.reach() // all are inside before any may go on
	}
	if _, err := s.Invoke(t.Context(), "shop", []byte(`{}`)); !throttled(err) {
		t.Errorf("a fourth invocation: %v", err)
	}
	for range 3 {
		s.open <- struct{}{}
	}
	for _, answer := range answers {
		if got := <-answer; got.FunctionError != "" {
			t.Errorf("got %s", got.Payload)
		}
	}
	s.settle()
	s.stop()
	reports := s.recorder.Reports()
	for _, r := range reports {
		if r.Environment != reports[0].Environment || r.ColdStart || r.Status != "success" {
			t.Errorf("report %+v", r)
		}
	}
	if got := s.recorder.ProcessEnds(); len(reports) != 3 || len(got) != 1 {
		t.Errorf("%d reports, processes %q", len(reports), ends(got))
	}
}

// TestManagedTelemetry: events of parallel invocations interleave, there is no
// runtimeDone, reports are short, JSON lines are objects.
func TestManagedTelemetry(t *testing.T) {
	s := play(t, onInstances(2), extension("ext", watching))
	one := s.begin(`{"Print":["{\"level\":\"INFO\",\"message\":\"hello\"}"],"Gate":"GATE/f"}`)
	two := s.begin(`{"Gate":"GATE/f"}`)
	s.reach()
	s.reach()
	s.open <- struct{}{}
	s.open <- struct{}{}
	ids := []string{(<-one).RequestID, (<-two).RequestID}
	s.settle()
	s.stop()
	events := s.received("ext")
	if diff := cmp.Diff([]string{
		"platform.initStart init",
		"platform.telemetrySubscription ext Subscribed",
		"platform.initRuntimeDone init success",
		"platform.extension ext Ready",
		"platform.initReport init success",
		"platform.start",
		"platform.start",
		"platform.report success",
		"platform.report success",
	}, story(slices.DeleteFunc(events, func(e telemetryEvent) bool { return e.Type == "function" }))); diff != "" {
		t.Error(diff)
	}
	for _, e := range s.received("ext") {
		switch record := e.record(); e.Type {
		case "platform.initStart", "platform.initReport":
			if record["initializationType"] != "lambda-managed-instances" {
				t.Errorf("%s: %s", e.Type, e.Record)
			}
		case "platform.report":
			metrics, _ := record["metrics"].(map[string]any)
			if _, timed := metrics["durationMs"]; !timed || len(metrics) != 1 ||
				spanNames(record) != "responseLatency responseDuration" || !slices.Contains(ids, record["requestId"].(string)) {
				t.Errorf("report: %s", e.Record)
			}
		case "function":
			if record["message"] != "hello" && !strings.Contains(string(e.Record), "SIGTERM") {
				t.Errorf("function line: %s", e.Record)
			}
		}
	}
	if system := s.log.lines(`{"time":`); len(system) == 0 || len(s.log.lines("REPORT ")) != 0 {
		t.Errorf("the log is not JSON: %q", system)
	}
}

// TestManagedDoesNotFreeze: between invocations the environment runs on.
func TestManagedDoesNotFreeze(t *testing.T) {
	counter := filepath.Join(t.TempDir(), "counter")
	s := play(t, onInstances(1), variable("INIT", "count="+counter), change(func(c *Config, _ *Function) {
		c.Binds = []string{filepath.Dir(counter)}
	}))
	s.invoke(`{}`)
	s.settle()
	before := fileText(counter)
	s.eventually("counting between invocations", func() bool { return fileText(counter) != before })
}

// TestManagedRefusals: what extensions are refused, and that Start says so when an
// Init fails for it.
func TestManagedRefusals(t *testing.T) {
	t.Run("INVOKE", func(t *testing.T) {
		log := startFails(t, "publish: Init failed: Extension.Crash", onInstances(1),
			extension("ext", `{"Events":["INVOKE"]}`))
		const want = `403 {"errorMessage":"INVOKE: ErrorInvalidEventType","errorType":"Extension.InvalidEventType"}`
		if got := log.lines("[ext] registered "); len(got) != 1 || !strings.HasPrefix(got[0], want) {
			t.Errorf("registered: %q", got)
		}
	})
	for name, c := range map[string]struct{ plan, want string }{
		"older schema": {`{"Events":["SHUTDOWN"],"Telemetry":true}`,
			`400 {"errorMessage":"schemaVersion \"2022-12-13\" is not supported, use one of 2025-01-29"`},
		"Logs API": {`{"Events":["SHUTDOWN"],"Logs":true}`, "404 "},
	} {
		t.Run(name, func(t *testing.T) {
			s := play(t, onInstances(1), extension("ext", c.plan))
			if got := s.printed(1, "[ext] subscribed ")[0]; !strings.HasPrefix(got, c.want) {
				t.Errorf("got %s", got)
			}
		})
	}
}

// TestManagedTimeout: the invocation has failed, its code runs on and learns by 410
// that it is late; the environment stays.
func TestManagedTimeout(t *testing.T) {
	s := play(t, onInstances(1), extension("ext", watching),
		change(func(_ *Config, f *Function) { f.Timeout = 500 * time.Millisecond }))
	answer := s.begin(`{"Gate":"GATE/f"}`)
	s.reach()
	got := <-answer
	want := fmt.Sprintf(`{"errorType":"Sandbox.Timedout","errorMessage":"RequestId: %s Error: `+
		`Task timed out after 0.50 seconds"}`, got.RequestID)
	if string(got.Payload) != want || got.FunctionError != "Unhandled" {
		t.Errorf("got %s", got.Payload)
	}
	s.open <- struct{}{}
	if got := s.printed(1, "function: /runtime/")[0]; !strings.HasSuffix(got,
		`/response answered 410 {"errorMessage":"Invoke timeout","errorType":"InvokeTimeout"}`) {
		t.Errorf("late answer: %s", got)
	}
	s.eventually("a success in the same environment", func() bool {
		result, err := s.Invoke(t.Context(), "shop", []byte(`{}`))
		return err == nil && result.FunctionError == ""
	})
	s.settle()
	s.stop()
	reports := s.recorder.Reports()
	if r := reports[0]; r.Status != "timeout" || r.Environment != reports[len(reports)-1].Environment {
		t.Errorf("reports %+v", reports)
	}
	if got := s.recorder.ProcessEnds(); len(got) != 2 {
		t.Errorf("processes: %q", ends(got))
	}
	if got := story(only(s.received("ext"), "platform.report"))[0]; got != "platform.report timeout Sandbox.Timedout" {
		t.Errorf("telemetry: %s", got)
	}
	if got := s.log.lines("[ext] SHUTDOWN "); len(got) != 1 || got[0] != "spindown within-2s=true" {
		t.Errorf("SHUTDOWN: %q", got)
	}
}

// TestManagedNoWorker: without a worker that waits in next there is no invocation.
func TestManagedNoWorker(t *testing.T) {
	s := play(t, onInstances(2), variable("WORKERS", "1"),
		change(func(_ *Config, f *Function) { f.Timeout = 200 * time.Millisecond }))
	answer := s.begin(`{"Gate":"GATE/f"}`)
	s.reach()
	<-answer // a timeout; the worker stays at the gate
	if _, err := s.Invoke(t.Context(), "shop", []byte(`{}`)); !throttled(err) {
		t.Errorf("got %v", err)
	}
	if n := len(s.recorder.Reports()); n != 1 {
		t.Errorf("%d reports", n)
	}
	s.open <- struct{}{}
}

// door lets requests in one by one, when the test says so.
func door(t *testing.T) (url string, open func()) {
	pass := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-pass:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(server.Close)
	return server.URL, func() { pass <- struct{}{} }
}

// TestManagedCrash: the end of an extension or of the runtime fails every
// invocation of the environment. It is terminated, others are told "failure", and
// another environment takes its place.
func TestManagedCrash(t *testing.T) {
	for _, c := range []struct{ name, kill, errorType string }{
		{"extension", "extension=ext", "Extension.Crash"},
		{"runtime", "function", "Runtime.ExitError"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := play(t, onInstances(2), extension("other", watching), extension("ext", `{"Events":["SHUTDOWN"]}`),
				change(func(cfg *Config, f *Function) {
					rule, err := fault.Parse("kill:" + c.kill + ",invoke=2")
					if err != nil {
						t.Fatal(err)
					}
					cfg.Faults = []fault.Rule{rule}
				}))
			one := s.begin(`{"Gate":"GATE/f"}`)
			s.reach()
			two := s.begin(`{"Gate":"GATE/f"}`)
			for _, answer := range []<-chan Result{one, two} {
				if got := <-answer; !strings.Contains(string(got.Payload), `"errorType":"`+c.errorType+`"`) {
					t.Errorf("got %s", got.Payload)
				}
			}
			s.settle()
			if got := s.log.lines("[other] SHUTDOWN "); len(got) != 1 || got[0] != "failure within-2s=true" {
				t.Errorf("SHUTDOWN: %q", got)
			}
			if got := s.printed(2, "[other] registered 200 "); len(got) != 2 {
				t.Errorf("no other environment was made: %q", got)
			}
			s.invoke(`{}`)
			s.settle()
			reports := s.recorder.Reports()
			if reports[0].ErrorType != c.errorType || reports[0].Environment == reports[2].Environment ||
				reports[2].Status != "success" || reports[2].ColdStart {
				t.Errorf("reports %+v", reports)
			}
		})
	}
}

// TestManagedIdleCrash: nobody has to invoke for a crash to be noticed.
func TestManagedIdleCrash(t *testing.T) {
	url, open := door(t)
	s := play(t, onInstances(1), extension("ext", `{"Events":["SHUTDOWN"],"ExitGate":"`+url+`"}`))
	open()
	s.printed(2, "[ext] registered 200 ")
	s.settle()
	s.invoke(`{}`)
}

// TestManagedInitFailsLater: when the other environment's Init fails too, the next
// invocation tries again, and says why there is no answer.
func TestManagedInitFailsLater(t *testing.T) {
	url, open := door(t)
	shared := t.TempDir()
	s := play(t, onInstances(1), variable("INIT", "unless="+filepath.Join(shared, "broken")),
		extension("ext", `{"Events":["SHUTDOWN"],"ExitGate":"`+url+`"}`),
		change(func(c *Config, _ *Function) { c.Binds = []string{shared} }))
	s.invoke(`{"Write":"` + filepath.Join(shared, "broken") + `=yes"}`)
	s.settle()
	open()
	s.printed(1, "function: broken")
	s.settle()
	if got := s.invoke(`{}`); !strings.Contains(string(got.Payload), "Runtime.ExitError") {
		t.Errorf("got %s", got.Payload)
	}
}

// TestManagedShutdown: all telemetry is delivered before SHUTDOWN, and the runtime
// has 600 ms.
func TestManagedShutdown(t *testing.T) {
	for _, c := range []struct {
		name, init, runtime string
		extension           bool
		atLeast             time.Duration
	}{
		{"nobody registered", "", "killed", false, 0},
		{"internal, stubborn runtime", "internal=agent,stubborn", "killed", false, 600 * time.Millisecond},
		{"external", "", "exit 0", true, 0},
		{"external, stubborn runtime", "stubborn", "killed", true, 600 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			settings := []setting{onInstances(1), variable("INIT", c.init), variable("INTERNAL_EVENTS", "[]")}
			want := []string{"runtime " + c.runtime}
			if c.extension {
				settings = append(settings, extension("ext", `{"Events":["SHUTDOWN"],"Telemetry":true,"Schema":"2025-01-29",`+
					`"BufferMs":30000,"Holds":"platform.report"}`))
				want = append(want, "ext exit 0")
			}
			s := play(t, settings...)
			s.invoke(`{}`)
			s.settle()
			began := time.Now()
			s.stop()
			if took := time.Since(began); took < c.atLeast {
				t.Errorf("shutdown took %v, at least %v was granted", took, c.atLeast)
			}
			if diff := cmp.Diff(want, ends(s.recorder.ProcessEnds())); diff != "" {
				t.Error(diff)
			}
			if got := s.log.lines("[ext] holds "); c.extension && (len(got) != 1 || got[0] != "platform.report=true") {
				t.Errorf("received before SHUTDOWN: %q", got)
			}
		})
	}
}

// TestManagedVariables: which the function has, which extensions, and how many
// descriptors.
func TestManagedVariables(t *testing.T) {
	s := play(t, onInstances(5), extension("ext", `{"Events":["SHUTDOWN"],"Env":true}`))
	var runtime []string
	if err := json.Unmarshal(s.invoke(`{"Env":true}`).Payload, &runtime); err != nil {
		t.Fatal(err)
	}
	extension := strings.Fields(s.printed(1, "[ext] env ")[0])
	for variable, visible := range map[string]bool{
		"AWS_LAMBDA_INITIALIZATION_TYPE=lambda-managed-instances": true,
		"AWS_LAMBDA_LOG_FORMAT=JSON":                              true,
		"AWS_LAMBDA_LOG_LEVEL=INFO":                               true,
		"AWS_LAMBDA_MAX_CONCURRENCY=5":                            false,
		"AWS_LAMBDA_LOG_GROUP_NAME=/aws/lambda/shop":              false,
	} {
		if !slices.Contains(runtime, variable) || slices.Contains(extension, variable) != visible {
			t.Errorf("%s: function %q, extension %q", variable, runtime, extension)
		}
	}
	if got := string(s.invoke(`{"Read":"/proc/self/limits"}`).Payload); !strings.Contains(
		strings.Join(strings.Fields(got), " "), "Max open files 4096 4096") {
		t.Errorf("limits: %s", got)
	}
}

// TestManagedErrors: a handler's error is one of the invocation too; its body may
// have 1 MiB.
func TestManagedErrors(t *testing.T) {
	s := play(t, onInstances(1))
	if got := s.invoke(`{"Error":"Function.NoOrder"}`); got.FunctionError != "Unhandled" ||
		!strings.Contains(string(got.Payload), `"errorType":"Function.NoOrder"`) {
		t.Errorf("got %s", got.Payload)
	}
	s.settle()
	if got := s.invoke(`{"Error":"Function.NoOrder","Size":1048576}`); got.FunctionError != "Unhandled" ||
		!strings.Contains(string(got.Payload), `exceeded maximum allowed payload size (1048576 bytes).`) {
		t.Errorf("got %.200s", got.Payload)
	}
	if got := s.printed(1, "function: /runtime/")[0]; !strings.Contains(got, "/error answered 413 ") {
		t.Errorf("got %s", got)
	}
	s.settle()
	if got := s.invoke(`{"Size":2097152}`); got.FunctionError != "" || len(got.Payload) != 2<<20 {
		t.Errorf("a response of 2 MiB: %s, %d bytes", got.FunctionError, len(got.Payload))
	}
	s.settle()
	want := []string{"error Function.NoOrder", "error Function.ResponseSizeTooLarge", "success "}
	var got []string
	for _, r := range s.recorder.Reports() {
		got = append(got, r.Status+" "+r.ErrorType)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
