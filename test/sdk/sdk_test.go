// Package sdk_test runs functions with real OpenTelemetry SDKs in the emulator,
// beside the extension that ships. Each function exports the same data twice: to
// the extension, which delivers it to a real collector and to a folder, and
// straight to another real collector. What comes on both ways has to be equal.
package sdk_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"go.uber.org/goleak"

	"slipstream/deploy/layer"
	"slipstream/emulator"
	"slipstream/emulator/client"
	"slipstream/test/servers"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait: long, for the machines are slow and noisy.
const patience = 2 * time.Minute

// program builds a program of this tree.
func program(t *testing.T, pkg string) string {
	t.Helper()
	path, err := layer.Program(t.Context(), pkg, runtime.GOARCH)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// function is how one language's function is started.
type function struct {
	command   []string
	env       map[string]string
	binds     []string // what it needs of the machine
	protocols []string
}

// outcome is what was received on each way.
type outcome struct {
	direct, collector, folder records
}

// events are rounds for each protocol.
func (f function) events(rounds int) (all []string) {
	for id := range rounds * len(f.protocols) {
		all = append(all, fmt.Sprintf(`{"id":%d,"protocol":%q}`, id, f.protocols[id%len(f.protocols)]))
	}
	return all
}

// deliver runs the function, once for each event. SHUTDOWN comes straight after
// the last answer.
func (f function) deliver(t *testing.T, events []string) outcome {
	t.Helper()
	direct, sink, dir := servers.StartOTLP(t), servers.StartOTLP(t), t.TempDir()
	env := map[string]string{
		"SLIPSTREAM_DESTINATIONS": "otlp+" + sink.Endpoint + "?types=logs%2Ctraces%2Cmetrics " +
			"file://" + dir + "?compression=none&types=logs%2Ctraces%2Cmetrics",
		"SLIPSTREAM_LISTEN": "all", "SLIPSTREAM_SELF_METRICS": "false",
		// What SDKs send is to come as it was sent, and nothing else.
		"SLIPSTREAM_ROLLUP": "false", "SLIPSTREAM_PLATFORM_METRICS": "false",
		"DIRECT_HTTP": direct.Endpoint, "DIRECT_GRPC": direct.GRPC,
	}
	for name, value := range f.env {
		env[name] = value
	}
	var log bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	lambda, err := emulator.Start(ctx, emulator.Config{
		Freeze: true, LogWriter: &log, Binds: append(f.binds, dir), Addresses: servers.Loopback(),
		Functions: []emulator.Function{{
			Name: "shop", Command: f.command, Env: env, Extensions: []string{program(t, "./cmd/slipstream-extension")},
			MemoryMB: 1769, Timeout: patience,
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, event := range events {
		result, err := client.Invoke(ctx, lambda, "shop", []byte(event))
		if err != nil || result.FunctionError != "" {
			t.Errorf("invocation %s: %v %s", event, err, result.Payload)
			break
		}
	}
	if err := lambda.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	if t.Failed() {
		t.Fatal(log.String())
	}
	o := outcome{direct: records{}, collector: records{}, folder: records{}}
	for _, line := range direct.Received(t) {
		o.direct.add(t, line)
	}
	for _, line := range sink.Received(t) {
		o.collector.add(t, line)
	}
	o.folder.addFolder(t, dir)
	if t.Failed() || testing.Verbose() {
		t.Log(log.String())
	}
	return o
}

// addFolder adds what the extension has written to a folder.
func (r records) addFolder(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		for line := range bytes.Lines(text) {
			r.add(t, line)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// content is how many records each invocation sends.
type content struct{ spans, logs, metrics int }

// expect compares the ways with each other, and with what is known.
func (o outcome) expect(t *testing.T, invocations int, each content) {
	t.Helper()
	for signal, want := range map[string]int{
		"resourceSpans": each.spans, "resourceLogs": each.logs, "resourceMetrics": each.metrics,
	} {
		if got := o.direct.count(signal); got != want*invocations {
			t.Errorf("%s: the function has sent %d records, want %d", signal, got, want*invocations)
		}
	}
	o.direct.expectSame(t, "the collector", o.collector)
	o.direct.expectSame(t, "the folder", o.folder)
}

func TestGo(t *testing.T) {
	f := function{command: []string{program(t, "./test/sdk/instrumented")}, protocols: []string{"http", "grpc"}}
	const rounds = 4
	f.deliver(t, f.events(rounds)).expect(t, rounds*len(f.protocols), content{3, 3, 4})
}

// What an SDK exports is sampled with its invocation: of each one with a span that
// failed everything is there, of the others no span.
func TestSampledWithItsInvocation(t *testing.T) {
	f := function{command: []string{program(t, "./test/sdk/instrumented")},
		env: map[string]string{"SLIPSTREAM_SAMPLE": "0"}}
	const invocations = 12
	var events []string
	failed := func(id int) bool { return id%5 == 2 }
	for id := range invocations {
		events = append(events, fmt.Sprintf(`{"id":%d,"protocol":%q,"sampled":true,"failed":%t}`, id,
			[]string{"http", "grpc"}[id%2], failed(id)))
	}
	o := f.deliver(t, events)
	got := map[string]map[string]int{}
	for r, resources := range o.collector {
		if got[r.signal] == nil {
			got[r.signal] = map[string]int{}
		}
		for _, attributes := range resources {
			got[r.signal][attributes["invocation"]]++
		}
	}
	for id := range invocations {
		key := text(t, object{"intValue": fmt.Sprint(id)})
		spans, logs := got["resourceSpans"][key], got["resourceLogs"][key]
		switch {
		case failed(id) && (spans != 3 || logs != 3):
			t.Errorf("invocation %d failed: %d of 3 spans, %d of 3 log records", id, spans, logs)
		case !failed(id) && failed(id+1) && spans == 3:
			// The next one has failed so soon that nobody can tell whose the record outside of its trace is.
		case !failed(id) && (spans != 0 || logs > 1): // the record outside of its trace may be the next one's
			t.Errorf("nothing was wrong with invocation %d: %d spans, %d log records", id, spans, logs)
		case got["resourceMetrics"][key] != 4:
			t.Errorf("invocation %d: %d metrics", id, got["resourceMetrics"][key])
		}
	}
	if o.direct.count("resourceSpans") != 3*invocations {
		t.Errorf("the function has sent %d spans", o.direct.count("resourceSpans"))
	}
}
