package emulator

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipstream/emulator/fault"
)

const subscribed = `{"Events":["INVOKE","SHUTDOWN"],"Telemetry":true}`

// TestCrashes is the table of 2.6: what happens in the first invocation, what
// the caller gets, how the platform reports it, and why it shuts down.
func TestCrashes(t *testing.T) {
	for _, c := range []struct {
		name, init, event, bad string // bad is the plan of a second extension, "" for none
		errorType, message     string
		reason                 string
	}{
		{"runtime exits with 0", "", `{"Exit":0}`, "", "Runtime.ExitError", "Runtime exited without providing a reason",
			"failure"},
		{"runtime exits with 7", "", `{"Exit":7}`, "", "Runtime.ExitError", "Runtime exited with error: exit status 7",
			"failure"},
		{"extension exits with 0", "", `{"Gate":"GATE/f"}`, `{"Events":["INVOKE"],"ExitInvoke":0}`, "Extension.Crash",
			"exit code 0", "failure"},
		{"extension exits with 2", "", `{"Gate":"GATE/f"}`, `{"Events":["INVOKE"],"ExitInvoke":2}`, "Extension.Crash",
			"exit status 2", "failure"},
		{"exit/error", "", `{"Gate":"GATE/f"}`, `{"Events":["INVOKE"],"ExitError":"Extension.Full"}`, "Extension.ExitError",
			"Extension.Full", "failure"},
	} {
		t.Run(c.name, func(t *testing.T) {
			settings := []setting{extension("ext", subscribed), variable("INIT", c.init)}
			if c.bad != "" {
				settings = append(settings, extension("zbad", c.bad))
			}
			s := play(t, settings...)
			result := s.invoke(c.event)
			want := `{"errorType":"` + c.errorType + `","errorMessage":"RequestId: ` + result.RequestID + ` Error: ` +
				c.message + `"}`
			if result.FunctionError != "Unhandled" || string(result.Payload) != want {
				t.Errorf("got  %s\nwant %s", result.Payload, want)
			}
			s.settle()
			if got := s.printed(1, "[ext] SHUTDOWN "); len(got) != 1 || got[0] != c.reason+" within-2s=true" {
				t.Errorf("the other extension's SHUTDOWN: %q", got)
			}
			status := "error " + c.errorType
			got := story(only(s.received("ext"), "platform.runtimeDone", "platform.report"))
			if diff := cmp.Diff([]string{"platform.runtimeDone " + status, "platform.report " + status}, got); diff != "" {
				t.Error(diff)
			}
			if got := s.printed(1, "REPORT RequestId: "); !strings.HasSuffix(got[0],
				"Status: error\tError Type: "+c.errorType+"\t") {
				t.Errorf("REPORT %q", got)
			}
			if c.bad == "" { // and life goes on, in the same environment
				if again := s.invoke(`{}`); again.FunctionError != "" {
					t.Errorf("the next invocation: %s", again.Payload)
				}
			}
		})
	}
}

// TestExitAfterResponse: the caller has its answer, the environment is reset.
func TestExitAfterResponse(t *testing.T) {
	s := play(t)
	if result := s.invoke(`{"ExitNext":0}`); result.FunctionError != "" {
		t.Errorf("got %s", result.Payload)
	}
	s.settle()
	if r := s.recorder.Reports()[0]; r.Status != "error" || r.ErrorType != "Runtime.ExitError" {
		t.Errorf("report %+v", r)
	}
	if again := s.invoke(`{}`); again.FunctionError != "" {
		t.Errorf("the next invocation: %s", again.Payload)
	}
}

// TestTimeout: one timeout over all, SHUTDOWN with that reason, a reset that
// keeps /tmp, fresh processes, and Init again within the next invocation.
func TestTimeout(t *testing.T) {
	// Within it the second invocation starts everything anew.
	s := play(t, extension("ext", subscribed), change(func(_ *Config, f *Function) { f.Timeout = 4 * time.Second }))
	result := s.invoke(`{"Write":"/tmp/kept=yes","Gate":"GATE/never"}`)
	want := `{"errorType":"Sandbox.Timedout","errorMessage":"RequestId: ` + result.RequestID +
		` Error: Task timed out after 4.00 seconds"}`
	if string(result.Payload) != want || result.FunctionError != "Unhandled" {
		t.Errorf("got %s", result.Payload)
	}
	s.settle()
	if got := s.printed(1, "[ext] SHUTDOWN "); len(got) != 1 || got[0] != "timeout within-2s=true" {
		t.Errorf("SHUTDOWN: %q", got)
	}
	if got := s.invoke(`{"Read":"/tmp/kept"}`); string(got.Payload) != `"yes\u003cnil\u003e"` {
		t.Errorf("/tmp after the reset: %s", got.Payload)
	}
	s.stop()
	if got := s.printed(2, "[ext] registered 200"); len(got) != 2 || got[0] == got[1] { // with the identifier
		t.Errorf("registered %q", got)
	}
	want2 := []string{
		"platform.initStart init", "platform.start", "platform.runtimeDone timeout", "platform.report timeout",
		"platform.initStart invoke", "platform.start", "platform.runtimeDone success", "platform.report success",
	}
	got := story(only(s.received("ext"), "platform.initStart", "platform.start", "platform.runtimeDone",
		"platform.report"))
	if diff := cmp.Diff(want2, got); diff != "" {
		t.Error(diff)
	}
	if got := s.printed(1, "REPORT RequestId: "); !strings.HasSuffix(got[0], "Status: timeout\t") {
		t.Errorf("REPORT %q", got)
	}
}

// TestExtensionTimeout: the caller has its answer, the runtime was fine, but the
// extension never came back.
func TestExtensionTimeout(t *testing.T) {
	s := play(t, extension("ext", subscribed), extension("slow", `{"Events":["INVOKE"],"NoNextAfter":"INVOKE"}`),
		change(func(_ *Config, f *Function) { f.Timeout = 2 * time.Second }))
	if result := s.invoke(`{}`); result.FunctionError != "" {
		t.Errorf("got %s", result.Payload)
	}
	s.settle()
	got := story(only(s.received("ext"), "platform.runtimeDone", "platform.report"))
	if diff := cmp.Diff([]string{"platform.runtimeDone success", "platform.report timeout"}, got); diff != "" {
		t.Error(diff)
	}
	if got := s.printed(1, "[ext] SHUTDOWN "); len(got) != 1 || got[0] != "timeout within-2s=true" {
		t.Errorf("SHUTDOWN: %q", got)
	}
}

// TestInitFailures is what ends Init, and what the caller gets when Init fails
// again within the invocation.
func TestInitFailures(t *testing.T) {
	for _, c := range []struct {
		name, init, plan string
		errorType, body  string // body is what follows "Error: ", or all if it starts with {
		runtimeDone      bool
	}{
		{"runtime exits", "exit=x", subscribed, "Runtime.ExitError", "Runtime exited with error: exit status 1", true},
		{"runtime reports", "error=Runtime.NoModule", subscribed, "Runtime.NoModule",
			`{"errorMessage":"no","errorType":"Nope"}`, true},
		{"extension exits with 0", "", `{"Events":[],"ExitInit":0}`, "Extension.Crash", "exit code 0", false},
		{"extension reports", "", `{"Events":[],"InitError":"Extension.NoKey"}`, "Extension.InitError",
			"Extension.NoKey", false},
		{"wrong name, so internal, so no SHUTDOWN", "", `{"Name":"wrong"}`, "Extension.Crash", "exit status 3", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := play(t, variable("INIT", c.init), extension("bad", c.plan))
			result := s.invoke(`{}`)
			want := c.body
			if !strings.HasPrefix(want, "{") {
				want = `{"errorType":"` + c.errorType + `","errorMessage":"RequestId: ` + result.RequestID + ` Error: ` +
					c.body + `"}`
			}
			if string(result.Payload) != want {
				t.Errorf("got  %s\nwant %s", result.Payload, want)
			}
			s.settle()
			var phases []string
			for _, line := range s.log.lines("INIT_REPORT ") {
				fields := strings.Split(line, "\t")
				phases = append(phases, strings.Join(fields[1:], " "))
			}
			status := " Status: error Error Type: " + c.errorType + " "
			if diff := cmp.Diff([]string{"Phase: init" + status, "Phase: invoke" + status}, phases); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestInitLimit: Init takes too long, is killed, and has the function's timeout
// at its second try, within the invocation.
func TestInitLimit(t *testing.T) {
	s := play(t, variable("INIT", "once=tried"), extension("ext", subscribed),
		change(func(c *Config, _ *Function) { c.initLimit = 2 * time.Second }))
	if result := s.invoke(`{}`); result.FunctionError != "" {
		t.Errorf("got %s", result.Payload)
	}
	s.stop()
	want := []string{"platform.initStart init", "platform.initRuntimeDone init timeout",
		"platform.initReport init timeout", "platform.initStart invoke",
		"platform.initRuntimeDone invoke success", "platform.initReport invoke success", "platform.start"}
	got := story(only(s.received("ext"), "platform.initStart", "platform.initRuntimeDone", "platform.initReport",
		"platform.start"))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got := s.printed(2, "[ext] SHUTDOWN "); len(got) != 2 || got[0] != "timeout within-2s=true" {
		t.Errorf("SHUTDOWN: %q", got)
	}
	if report := s.recorder.Reports()[0]; report.Init != 0 {
		t.Errorf("a suppressed init is no Init Duration: %+v", report)
	}
}

// TestInitLimits: 10 s, or more where Init is paid for ahead of time.
func TestInitLimits(t *testing.T) {
	for _, c := range []struct {
		function Function
		want     time.Duration
	}{
		{Function{InitType: "on-demand", Timeout: time.Minute}, 10 * time.Second},
		{Function{InitType: "provisioned-concurrency", Timeout: time.Minute}, 130 * time.Second},
		{Function{InitType: "provisioned-concurrency", Timeout: 15 * time.Minute}, 15 * time.Minute},
		{Function{InitType: "snap-start", Timeout: time.Minute}, 130 * time.Second},
		{Function{InitType: "lambda-managed-instances", Timeout: time.Minute}, 130 * time.Second},
		{Function{InitType: "lambda-managed-instances", Timeout: 15 * time.Minute}, 15 * time.Minute},
	} {
		var cfg Config
		cfg.applyDefaults()
		if got := initLimit(c.function.InitType, c.function.Timeout, cfg.initLimit); got != c.want {
			t.Errorf("%s with a timeout of %v: %v, want %v", c.function.InitType, c.function.Timeout, got, c.want)
		}
	}
}

// TestAwaitedForever: Init hangs until its limit when an extension does not
// register, registers under a wrong name, or never calls next. Until all have
// registered there is no runtime.
func TestAwaitedForever(t *testing.T) {
	for plan, runtimes := range map[string]int{`{"NoRegister":true}`: 0, `{"Name":"wrong","Events":["INVOKE"]}`: 0,
		`{"Events":[],"NoNext":true}`: 2} {
		t.Run(plan, func(t *testing.T) {
			limit := 300 * time.Millisecond
			if runtimes > 0 { // the extension has to register within it
				limit = 2 * time.Second
			}
			s := play(t, extension("bad", plan), change(func(c *Config, f *Function) {
				c.initLimit, f.Timeout = limit, limit
			}))
			result := s.invoke(`{}`)
			if !strings.Contains(string(result.Payload), "Sandbox.Timedout") {
				t.Errorf("got %s", result.Payload)
			}
			s.settle()
			if got := s.printed(2, "INIT_REPORT "); len(got) != 2 || !strings.Contains(got[0], "Phase: init\tStatus: timeout") {
				t.Errorf("INIT_REPORT %q", got)
			}
			if got := slices.DeleteFunc(s.recorder.ProcessEnds(), func(e ProcessEnd) bool {
				return e.Extension != ""
			}); len(got) != runtimes {
				t.Errorf("%d runtimes were started, want %d", len(got), runtimes)
			}
		})
	}
}

func TestTooManyExtensions(t *testing.T) {
	var settings []setting
	for i := range 11 {
		settings = append(settings, extension(fmt.Sprintf("ext%02d", i), ""))
	}
	s := play(t, settings...)
	if result := s.invoke(`{}`); !strings.Contains(string(result.Payload), "Extension.LaunchError") {
		t.Errorf("got %s", result.Payload)
	}
}

// TestKillFaults: the function and an extension die when the rule says so.
func TestKillFaults(t *testing.T) {
	for text, want := range map[string]string{
		"kill:function,invoke=2":      `Runtime.ExitError: signal: killed`,
		"kill:extension=ext,invoke=2": `Extension.Crash: signal: killed`,
	} {
		s := play(t, extension("ext", ""), faultRule(t, text))
		if first := s.invoke(`{}`); first.FunctionError != "" {
			t.Errorf("%s: the first invocation: %s", text, first.Payload)
		}
		s.settle()
		second := string(s.invoke(`{"Gate":"GATE/f"}`).Payload)
		typ, cause, _ := strings.Cut(want, ": ")
		if !strings.Contains(second, typ) || !strings.Contains(second, cause) {
			t.Errorf("%s: the second invocation: %s", text, second)
		}
		s.settle()
		if third := s.invoke(`{}`); third.FunctionError != "" {
			t.Errorf("%s: the third invocation: %s", text, third.Payload)
		}
	}
}

// TestDelayFaults: next and Init come late when a rule says so.
func TestDelayFaults(t *testing.T) {
	const delay = 200 * time.Millisecond
	for text, part := range map[string]func(Report) time.Duration{
		"next:delay=200ms": func(r Report) time.Duration { return r.ResponseLatency },
		"init:delay=200ms": func(r Report) time.Duration { return r.Init },
	} {
		s := play(t, faultRule(t, text))
		s.invoke(`{}`)
		s.settle()
		if r := s.recorder.Reports()[0]; part(r) < delay {
			t.Errorf("%s: %+v", text, r)
		}
	}
}

// TestTelemetryFaults: the rules reach the deliveries.
func TestTelemetryFaults(t *testing.T) {
	for text, want := range map[string]int{"telemetry:drop": 0, "telemetry:duplicate": 2, "telemetry:cut": 2} {
		s := play(t, extension("ext", subscribed), faultRule(t, text))
		s.invoke(`{}`)
		if want > 0 { // not only in Shutdown: the extension may be gone at the second try
			s.eventually(text, func() bool { all, _ := s.recorder.Deliveries("ext"); return len(all) > 0 })
		}
		s.stop()
		all, _ := s.recorder.Deliveries("ext")
		if want == 0 && len(all) > 0 || want > 0 && (len(all) == 0 || all[0].Tries != want) {
			t.Errorf("%s: %d deliveries: %+v", text, len(all), all)
		}
	}
}

// TestWholeRecordFault: a long line comes in one body, or in two that are no JSON.
func TestWholeRecordFault(t *testing.T) {
	line := strings.Repeat(`\"`, 200_000) // 400,000 bytes once it is JSON
	for text, whole := range map[string]bool{"record:whole": true, "record:whole,invoke=2": false} {
		s := play(t, extension("ext", `{"Events":["INVOKE"],"Telemetry":true}`), faultRule(t, text))
		s.invoke(`{"Print":["` + line + `"]}`)
		s.eventually("the long line", func() bool {
			all, _ := s.recorder.Deliveries("ext")
			n := 0
			for _, d := range all {
				n += bytes.Count(d.Body, []byte(`\"`))
			}
			return n >= 199_999 // a cut may fall between the two bytes
		})
		all, _ := s.recorder.Deliveries("ext")
		if got := !slices.ContainsFunc(all, func(d Delivery) bool { return !json.Valid(d.Body) }); got != whole {
			t.Errorf("%s: all bodies valid: %v", text, got)
		}
	}
}

// faultRule adds a rule.
func faultRule(t *testing.T, text string) setting {
	t.Helper()
	rule, err := fault.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return change(func(c *Config, _ *Function) { c.Faults = append(c.Faults, rule) })
}

// TestLaunchError: a layer's extension that cannot be executed.
func TestLaunchError(t *testing.T) {
	layer := t.TempDir()
	file := filepath.Join(layer, "extensions", "broken")
	if err := errors.Join(os.Mkdir(filepath.Dir(file), 0o755), os.WriteFile(file, []byte("#!/bin/sh\n"),
		0o644)); err != nil {
		t.Fatal(err)
	}
	s := play(t, extension("aaa", subscribed), change(func(_ *Config, f *Function) { f.LayerDir = layer }))
	if result := s.invoke(`{}`); !strings.Contains(string(result.Payload), `"errorType":"Extension.LaunchError"`) {
		t.Errorf("got %s", result.Payload)
	}
}

// TestEntrypoint: a function that cannot be executed.
func TestEntrypoint(t *testing.T) {
	s := play(t, change(func(_ *Config, f *Function) { f.Command = []string{"/no/such/function"} }))
	result := s.invoke(`{}`)
	if !strings.Contains(string(result.Payload), `"errorType":"Runtime.InvalidEntrypoint"`) {
		t.Errorf("got %s", result.Payload)
	}
}
