package emulator

import (
	"context"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func contextWithTimeout(d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), d)
}

// TestVariables: what the function sees, and what is kept from extensions.
func TestVariables(t *testing.T) {
	s := play(t, variable("CUSTOM", "mine"), variable("AWS_LAMBDA_FUNCTION_NAME", "forged"),
		extension("ext", `{"Events":["INVOKE"],"Env":true}`))
	var runtime []string
	if err := json.Unmarshal(s.invoke(`{"Env":true}`).Payload, &runtime); err != nil {
		t.Fatal(err)
	}
	line := s.printed(1, "[ext] env ")[0]
	seen := func(name string) (value string, inRuntime, inExtension bool) {
		for _, v := range runtime {
			if rest, ok := strings.CutPrefix(v, name+"="); ok {
				value, inRuntime = rest, true
			}
		}
		return value, inRuntime, strings.Contains(" "+line, " "+name+"=")
	}
	for _, name := range []string{"CUSTOM", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
		"AWS_REGION",
		"AWS_DEFAULT_REGION", "AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "AWS_LAMBDA_FUNCTION_VERSION",
		"AWS_LAMBDA_RUNTIME_API", "TZ"} {
		if value, r, e := seen(name); !r || !e || value == "" {
			t.Errorf("%s=%s: runtime %v, extension %v", name, value, r, e)
		}
	}
	for _, name := range []string{"_HANDLER", "LAMBDA_TASK_ROOT", "LAMBDA_RUNTIME_DIR", "AWS_LAMBDA_LOG_GROUP_NAME",
		"AWS_LAMBDA_LOG_STREAM_NAME", "AWS_XRAY_CONTEXT_MISSING", "AWS_XRAY_DAEMON_ADDRESS", "_AWS_XRAY_DAEMON_ADDRESS",
		"_AWS_XRAY_DAEMON_PORT", "AWS_LAMBDA_INITIALIZATION_TYPE"} {
		if _, r, e := seen(name); !r || e {
			t.Errorf("%s: runtime %v, extension %v", name, r, e)
		}
	}
	if name, _, _ := seen("AWS_LAMBDA_FUNCTION_NAME"); name != "shop" {
		t.Errorf("the customer overwrote a reserved variable: %s", name)
	}
	if _, r, e := seen("HOME"); r || e {
		t.Error("a variable of the emulator leaks")
	}
}

// TestFreeze: nothing runs between invocations.
func TestFreeze(t *testing.T) {
	for _, frozen := range []bool{true, false} {
		shared := t.TempDir()
		counter := filepath.Join(shared, "counter")
		s := play(t, variable("INIT", "count="+counter), change(func(c *Config, _ *Function) {
			c.Freeze, c.Binds = frozen, []string{shared}
		}))
		counts := func() string {
			text, _ := os.ReadFile(counter)
			return string(text)
		}
		moves := func(what string) {
			before := counts()
			s.eventually(what, func() bool { return counts() != before })
		}
		during := func(what string) { // an invocation that lasts until the count has moved
			answer := s.begin(`{"Gate":"GATE/f"}`)
			s.reach()
			moves(what)
			s.open <- struct{}{}
			<-answer
		}
		during("counting during the first invocation")
		s.settle()
		if frozen {
			before := counts()
			time.Sleep(100 * time.Millisecond) // a running process would count to 50
			if after := counts(); after != before {
				t.Errorf("counted from %q to %q while frozen", before, after)
			}
		} else {
			moves("counting between invocations")
		}
		during("counting after the thaw")
	}
}

// TestDeliveriesAreHeldWhileFrozen: no POST begins between two invocations.
func TestDeliveriesAreHeldWhileFrozen(t *testing.T) {
	s := play(t, extension("ext", subscribed), change(func(c *Config, _ *Function) { c.Freeze = true }))
	s.invoke(`{}`)
	s.settle()
	time.Sleep(100 * time.Millisecond) // the report would leave after 25 ms
	s.invoke(`{}`)
	s.stop()
	thaw := s.recorder.Reports()[1].Start
	all, _ := s.recorder.Deliveries("ext")
	held := 0
	for _, d := range all {
		if len(only(decode(t, d.Body), "platform.report")) == 0 {
			continue
		}
		held++
		if began := d.At.Add(-d.Took); began.Before(thaw) {
			t.Errorf("a POST began %v before the thaw: %s", thaw.Sub(began), d.Body)
		}
	}
	if held == 0 {
		t.Error("no report was delivered")
	}
}

// TestAddress: the APIs are not always on 127.0.0.1.
func TestAddress(t *testing.T) {
	s := play(t, extension("ext", subscribed), change(func(c *Config, _ *Function) {
		c.Addresses = []netip.Addr{netip.MustParseAddr("127.0.0.77")}
	}))
	var variables []string
	if err := json.Unmarshal(s.invoke(`{"Env":true}`).Payload, &variables); err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(variables, func(v string) bool {
		return strings.HasPrefix(v,
			"AWS_LAMBDA_RUNTIME_API=127.0.0.77:")
	}) {
		t.Errorf("variables: %q", variables)
	}
	s.stop()
	if got := only(s.received("ext"), "platform.report"); len(got) != 1 {
		t.Errorf("telemetry to sandbox.localdomain: %q", story(s.received("ext")))
	}
}

// TestOutOfMemory: the memory limit kills the function, or a notice says that
// this machine cannot limit memory.
func TestOutOfMemory(t *testing.T) {
	s := play(t, change(func(_ *Config, f *Function) { f.MemoryMB = 128 }))
	if first := s.invoke(`{}`); first.FunctionError != "" {
		t.Fatalf("got %s", first.Payload)
	}
	s.settle()
	if slices.ContainsFunc(s.Notices(), func(n string) bool { return strings.Contains(n, "memory") }) {
		return
	}
	got := s.invoke(`{"AllocMB":300}`)
	want := `{"errorType":"Runtime.OutOfMemory","errorMessage":"RequestId: ` + got.RequestID +
		` Error: Runtime exited with error: signal: killed"}`
	if string(got.Payload) != want {
		t.Errorf("got  %s\nwant %s", got.Payload, want)
	}
	s.settle()
	if r := s.recorder.Reports()[1]; r.Status != "error" || r.ErrorType != "Runtime.OutOfMemory" || r.MaxMemoryMB < 100 {
		t.Errorf("report %+v", r)
	}
	if again := s.invoke(`{}`); again.FunctionError != "" {
		t.Errorf("after the reset: %s", again.Payload)
	}
}

// TestLayer: what is in the layer's folder is in /opt, extensions are its plain
// files in name order, folders among them are left alone.
func TestLayer(t *testing.T) {
	layer, task := t.TempDir(), t.TempDir()
	for path, text := range map[string]string{
		filepath.Join(layer, "lib", "data.txt"):               "in the layer",
		filepath.Join(layer, "extensions", "zz", "helper.sh"): "not an extension",
		filepath.Join(task, "config.txt"):                     "beside the code",
	} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	opt := filepath.Join(t.TempDir(), "opt")
	names, err := layOut(opt, layer, []string{program("function"), program("extension")})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"extension", "function"}, names); diff != "" {
		t.Error(diff)
	}
	if _, err := layOut(opt, "", []string{program("extension")}); err == nil || !strings.Contains(err.Error(),
		"rename one") {
		t.Errorf("two extensions of one name: %v", err)
	}
	s := play(t, extension("ext", ""), change(func(_ *Config, f *Function) { f.LayerDir, f.TaskDir = layer, task }))
	if slices.ContainsFunc(s.Notices(), func(n string) bool { return strings.Contains(n, "file system") }) {
		return // no walls here: the paths stay the machine's
	}
	for path, want := range map[string]string{"/opt/lib/data.txt": "in the layer", "config.txt": "beside the code"} {
		if got := s.invoke(`{"Read":"` + path + `"}`); !strings.Contains(string(got.Payload), want) {
			t.Errorf("%s: %s", path, got.Payload)
		}
		s.settle()
	}
}

// TestTextLog is the whole log of two invocations in Text format.
func TestTextLog(t *testing.T) {
	s := play(t)
	first := s.invoke(`{"Print":["hello"]}`).RequestID
	s.settle()
	second := s.invoke(`{}`).RequestID
	s.stop()
	var got []string
	for line := range strings.Lines(s.log.String()) {
		var words []string
		for _, word := range strings.Fields(strings.TrimSuffix(line, "\n")) {
			if strings.Trim(word, "0123456789.") != "" {
				words = append(words, word)
			}
		}
		got = append(got, strings.Join(words, " "))
	}
	const metrics = " Duration: ms Billed Duration: ms Memory Size: MB Max Memory Used: MB"
	want := []string{
		"START RequestId: " + first + " Version: $LATEST", "hello", "END RequestId: " + first,
		"REPORT RequestId: " + first + metrics + " Init Duration: ms",
		"START RequestId: " + second + " Version: $LATEST", "END RequestId: " + second,
		"REPORT RequestId: " + second + metrics,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestJSONLog: platform lines are events, of level INFO and above.
func TestJSONLog(t *testing.T) {
	s := play(t, change(func(_ *Config, f *Function) { f.LogFormat = "JSON" }))
	s.invoke(`{"Print":["{\"level\":\"INFO\",\"message\":\"hello\"}"]}`)
	s.settle()
	s.invoke(`{"Exit":1}`)
	s.stop()
	var got []string
	for line := range strings.Lines(s.log.String()) {
		var e telemetryEvent
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Errorf("%q: %v", line, err)
		}
		got = append(got, strings.Join(story([]telemetryEvent{e}), " "))
	}
	want := []string{"platform.start", "", "platform.report success", "platform.start",
		"platform.runtimeDone error Runtime.ExitError", "platform.report error Runtime.ExitError"}
	for i := range got {
		got[i] = strings.TrimSpace(got[i])
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s\n%s", diff, s.log)
	}
}

// TestExtensionsSwitchedOff: a file in a layer does that; the API answers 404.
func TestExtensionsSwitchedOff(t *testing.T) {
	layer := t.TempDir()
	if err := os.WriteFile(filepath.Join(layer, extensionsOff), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	s := play(t, extension("ext", ""), variable("INIT", "internal=agent"),
		change(func(_ *Config, f *Function) { f.LayerDir = layer }))
	if got := s.invoke(`{}`); got.FunctionError != "" {
		t.Errorf("got %s", got.Payload)
	}
	if got := s.log.lines("[ext] "); len(got) != 0 {
		t.Errorf("the extension ran: %q", got)
	}
	if got := s.printed(1, "internal: registered "); len(got) != 1 || got[0] != "404" {
		t.Errorf("the internal extension got %q", got)
	}
}
