// Package foreign_test runs an extension that is not ours in the emulator:
// extension.py, which shares neither code nor language with it.
package foreign_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"slipstream/deploy/layer"
	"slipstream/emulator"
	"slipstream/emulator/client"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	patience    = time.Minute
	invocations = 8
	lines       = 40
)

// entry is one line of what the extension has written.
type entry struct {
	From  string // register, listen, next or subscription
	Event json.RawMessage
	event
}

// event has the members that the tests look at.
type event struct {
	EventType string          `json:"eventType"` // of next
	RequestID string          `json:"requestId"` // of next
	Address   string          `json:"address"`   // of listen
	Time      string          `json:"time"`      // of telemetry
	Type      string          `json:"type"`      // of telemetry
	Record    json.RawMessage `json:"record"`    // of telemetry
}

// program builds a program of this tree.
func program(t *testing.T, pkg string) string {
	t.Helper()
	path, err := layer.Program(t.Context(), pkg, runtime.GOARCH)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// foreign copies the extension to where its file, and with it its name, is called
// foreign. The copy names its interpreter, which need not be in the PATH that
// Lambda gives to extensions; home is the folder that the interpreter needs.
func foreign(t *testing.T) (path, home string) {
	t.Helper()
	out, err := exec.Command("python3", "-c",
		"import os, sys; print(os.path.realpath(sys.executable)); print(sys.base_prefix)").Output()
	if err != nil {
		t.Fatalf("run python3: %v (install python3, or run `make packages`)", err)
	}
	interpreter, home, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	script, err := os.ReadFile("extension.py")
	if err != nil {
		t.Fatal(err)
	}
	_, script, _ = bytes.Cut(script, []byte("\n")) // without "#!/usr/bin/env python3"
	path = filepath.Join(t.TempDir(), "foreign")
	if err := os.WriteFile(path, append([]byte("#!"+interpreter+"\n"), script...), 0o755); err != nil {
		t.Fatal(err)
	}
	return path, home
}

// play is one run of the function beside extensions: all invocations, and SHUTDOWN
// straight after the last.
type play struct {
	recorder *emulator.Recorder
	notices  []string
	heard    []entry // by the foreign extension
}

// run adds the foreign extension to those that are given. The folder is reachable
// for them all.
func run(t *testing.T, api, folder string, env map[string]string, extensions ...string) play {
	t.Helper()
	path, home := foreign(t)
	out := filepath.Join(folder, "heard")
	all := map[string]string{"FOREIGN_API": api, "FOREIGN_OUT": out}
	maps.Copy(all, env)
	p := play{recorder: emulator.NewRecorder(0)}
	var log bytes.Buffer
	config := emulator.Config{
		Freeze: true, LogWriter: &log, Observe: p.recorder.Observe(), Binds: []string{folder, home},
		Functions: []emulator.Function{{
			Name: "shop", Command: []string{program(t, "./test/endtoend/writer")}, Env: all,
			Extensions: append(extensions, path), MemoryMB: 1769, Timeout: patience,
		}},
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	lambda, err := emulator.Start(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	for id := range invocations {
		result, err := client.Invoke(ctx, lambda, "shop", fmt.Appendf(nil, `{"id":%d,"lines":%d}`, id, lines))
		if err != nil || result.FunctionError != "" {
			t.Errorf("invocation %d: %v %s", id, err, result.Payload)
			break
		}
	}
	p.notices = lambda.Notices()
	if err := lambda.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	if t.Failed() {
		t.Fatal(log.String())
	}
	p.heard = read(t, out)
	return p
}

// read gives what the extension has written.
func read(t *testing.T, path string) []entry {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var entries []entry
	for line := range bytes.Lines(text) {
		var e entry
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if err := json.Unmarshal(e.Event, &e.event); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		entries = append(entries, e)
	}
	return entries
}

// label is how an entry is called where the order counts: "next INVOKE <id>",
// "platform.report <id>", or the function's line itself.
func (e entry) label(t *testing.T) string {
	t.Helper()
	if e.From != "subscription" {
		return strings.TrimSpace(e.From + " " + e.EventType + " " + e.RequestID)
	}
	if e.Type == "function" {
		var text string
		if err := json.Unmarshal(e.Record, &text); err != nil {
			t.Fatalf("%s: %v", e.Record, err)
		}
		return text
	}
	var record struct {
		RequestID string `json:"requestId"`
	}
	if err := json.Unmarshal(e.Record, &record); err != nil {
		t.Fatalf("%s %s: %v", e.Type, e.Record, err)
	}
	return strings.TrimSpace(e.Type + " " + record.RequestID)
}

// text is line n of an invocation, as the function writes it.
func text(id, n int) string { return fmt.Sprintf("line %d-%d \n", id, n) }

// allLines are the function's lines in their order.
func allLines() (list []string) {
	for id := range invocations {
		for n := range lines {
			list = append(list, text(id, n))
		}
	}
	return list
}

// functionLines are those that the foreign extension heard.
func (p play) functionLines(t *testing.T) (list []string) {
	t.Helper()
	for _, e := range p.heard {
		if e.Type == "function" {
			list = append(list, e.label(t))
		}
	}
	return list
}

func TestAForeignExtensionHearsEverythingInOrder(t *testing.T) {
	for _, api := range []struct {
		name          string
		shapes        map[string]string
		once          []string // types that come once in an environment's life
		perInvocation []string // in their order
	}{
		{"telemetry", telemetryShapes,
			[]string{"platform.initStart", "platform.telemetrySubscription", "platform.initRuntimeDone",
				"platform.extension", "platform.initReport"},
			[]string{"platform.start", "platform.runtimeDone", "platform.report"}},
		{"logs", logsShapes,
			[]string{"platform.logsSubscription", "platform.extension"},
			[]string{"platform.start", "platform.runtimeDone", "platform.end", "platform.report"}},
	} {
		t.Run(api.name, func(t *testing.T) {
			p := run(t, api.name, t.TempDir(), nil)
			ids := p.lifecycle(t)
			if diff := cmp.Diff(allLines(), p.functionLines(t)); diff != "" {
				t.Errorf("function lines (-want +got):\n%s", diff)
			}
			want := map[string]int{}
			for _, typ := range api.once {
				want[typ]++
			}
			for _, id := range ids {
				for _, typ := range api.perInvocation {
					want[typ+" "+id]++
				}
			}
			got := map[string]int{}
			for _, e := range p.heard {
				if e.From == "subscription" && e.Type != "function" {
					got[e.label(t)]++
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("platform events (-want +got):\n%s", diff)
			}
			p.expectOrder(t, ids, api.perInvocation)
			p.expectShapes(t, api.shapes, ids)
		})
	}
}

// lifecycle checks what the Extensions API gave: an INVOKE for each invocation,
// then SHUTDOWN, after which the extension ended by itself. It gives the request
// ids.
func (p play) lifecycle(t *testing.T) (ids []string) {
	t.Helper()
	want := []string{"register", "listen"}
	for _, r := range p.recorder.Reports() {
		ids = append(ids, r.RequestID)
		want = append(want, "next INVOKE "+r.RequestID)
	}
	want = append(want, "next SHUTDOWN")
	var got []string
	for _, e := range p.heard {
		if e.From != "subscription" {
			got = append(got, e.label(t))
		}
		if e.From == "listen" && e.Address == "0.0.0.0" && !strings.Contains(fmt.Sprint(p.notices), "sandbox.localdomain") {
			t.Error("the name sandbox.localdomain is missing")
		}
	}
	if diff := cmp.Diff(want, got); diff != "" || len(ids) != invocations {
		t.Fatalf("%d reports; the Extensions API (-want +got):\n%s", len(ids), diff)
	}
	var names []string
	for _, end := range p.recorder.ProcessEnds() {
		names = append(names, end.Extension)
		if end.Extension == "foreign" && end.ExitCode != 0 {
			t.Errorf("the extension ended with %+v", end)
		}
	}
	if diff := cmp.Diff([]string{"", "foreign"}, names); diff != "" {
		t.Errorf("processes that ended, the function's first (-want +got):\n%s", diff)
	}
	return ids
}

// expectOrder checks that an invocation's events stand as AWS has them: start, its
// lines, runtimeDone, and the report, which is made after the extension has called
// next and comes before the following invocation's start.
func (p play) expectOrder(t *testing.T, ids, types []string) {
	t.Helper()
	position := map[string]int{}
	for i, e := range p.heard {
		position[e.label(t)] = i
	}
	before := func(first, second string) {
		t.Helper()
		if position[first] >= position[second] {
			t.Errorf("%q (entry %d) does not come before %q (entry %d)", first, position[first], second, position[second])
		}
	}
	for i, id := range ids {
		before(types[0]+" "+id, text(i, 0))
		before(text(i, lines-1), types[1]+" "+id)
		for n := 1; n < len(types); n++ {
			before(types[n-1]+" "+id, types[n]+" "+id)
		}
		before("next INVOKE "+id, "platform.report "+id)
		if i > 0 {
			before("platform.report "+ids[i-1], "platform.start "+id)
		}
	}
}

// expectShapes compares everything that came with the tables.
func (p play) expectShapes(t *testing.T, shapes map[string]string, ids []string) {
	t.Helper()
	for _, e := range p.heard {
		switch e.From {
		case "register":
			expectShape(t, apiShapes, "register", e.Event)
		case "next":
			expectShape(t, apiShapes, e.EventType, e.Event)
		case "subscription":
			expectShape(t, shapes, e.Type, e.Record)
			if !isTime(e.Time) {
				t.Errorf("time %q: %s", e.Time, e.Event)
			}
			cold := e.label(t) == "platform.report "+ids[0]
			if got := bytes.Contains(e.Record, []byte("initDurationMs")); got != cold {
				t.Errorf("initDurationMs: %v, want it with the first invocation alone: %s", got, e.Event)
			}
		}
	}
}

// Both extensions of an environment hear everything.
func TestAForeignExtensionBesideOurs(t *testing.T) {
	folder := t.TempDir()
	files := filepath.Join(folder, "files")
	p := run(t, "telemetry", folder,
		map[string]string{"SLIPSTREAM_DESTINATIONS": "file://" + files + "?compression=none"},
		program(t, "./cmd/slipstream-extension"))
	if diff := cmp.Diff(allLines(), p.functionLines(t)); diff != "" {
		t.Errorf("the foreign extension heard (-want +got):\n%s", diff)
	}
	want := map[string]int{}
	for _, line := range allLines() {
		want[strings.TrimSpace(line)]++
	}
	if diff := cmp.Diff(want, delivered(t, files)); diff != "" {
		t.Errorf("ours delivered (-want +got):\n%s", diff)
	}
}

// delivered counts the function's lines in a folder that our extension wrote.
func delivered(t *testing.T, folder string) map[string]int {
	t.Helper()
	got := map[string]int{}
	err := filepath.WalkDir(folder, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for line := range bytes.Lines(content) {
			var record struct{ Type, Message string }
			if err := json.Unmarshal(line, &record); err != nil {
				return fmt.Errorf("%s: %q: %w", path, line, err)
			}
			if record.Type == "function" {
				got[strings.TrimSpace(record.Message)]++
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}
