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

	"slipstream/deploy/layer"
	"slipstream/emulator"
	"slipstream/emulator/client"
)

const (
	patience    = time.Minute
	invocations = 8
	lines       = 40
)

// entry is one line of what the extension has written.
type entry struct {
	From  string
	Event struct {
		EventType, RequestID, ShutdownReason string // of next
		FunctionName, Handler                string // of register

		Time   time.Time // of a telemetry event
		Type   string
		Record json.RawMessage
	}
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

// foreign copies the extension to where its name has no ending; it registers
// under its file's name.
func foreign(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("python3"); err != nil {
		t.Fatalf("find python3: %v (run `make packages`, or install python3)", err)
	}
	script, err := os.ReadFile("extension.py")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "foreign")
	if err := os.WriteFile(path, script, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// run invokes a function beside the extensions and ends the environment straight
// after the last invocation.
func run(t *testing.T, env map[string]string, bind string, extensions ...string) *emulator.Recorder {
	t.Helper()
	recorder := emulator.NewRecorder(0)
	var log bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	python, err := exec.Command("python3", "-c", "import sys; print(sys.base_prefix)").Output()
	if err != nil {
		t.Fatal(err)
	}
	config := emulator.Config{Freeze: true, LogWriter: &log, Observe: recorder.Observe(),
		Binds: []string{bind, strings.TrimSpace(string(python))}}
	config.Functions = []emulator.Function{{
		Name: "shop", Command: []string{program(t, "./test/endtoend/writer")}, Extensions: extensions, Env: env,
		MemoryMB: 1769, Timeout: patience,
	}}
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
	if err := lambda.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	if t.Failed() {
		t.Log(log.String())
	}
	return recorder
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
		entries = append(entries, e)
	}
	return entries
}

// events gives the telemetry of the wanted types: for platform events the type
// and the request id, for function lines their text's first two words.
func events(t *testing.T, entries []entry, types ...string) []string {
	t.Helper()
	var list []string
	for _, e := range entries {
		for _, want := range types {
			if e.From == "subscription" && e.Event.Type == want {
				list = append(list, strings.TrimSpace(want+" "+summary(t, e)))
			}
		}
	}
	return list
}

func summary(t *testing.T, e entry) string {
	t.Helper()
	if e.Event.Time.IsZero() {
		t.Errorf("%s without a time", e.Event.Type)
	}
	if e.Event.Type == "function" {
		var text string
		if err := json.Unmarshal(e.Event.Record, &text); err != nil {
			t.Fatalf("%s: %v", e.Event.Record, err)
		}
		return strings.Join(strings.Fields(text)[:2], " ")
	}
	var record struct{ RequestID string }
	_ = json.Unmarshal(e.Event.Record, &record) // the Logs API's platform.end has no object
	return record.RequestID
}

func TestAForeignExtensionHearsEverythingInOrder(t *testing.T) {
	for api, kinds := range map[string][]string{
		"telemetry": {"platform.start", "platform.runtimeDone", "platform.report"},
		"logs":      {"platform.start", "platform.end", "platform.runtimeDone", "platform.report"},
	} {
		t.Run(api, func(t *testing.T) {
			folder := t.TempDir()
			out := filepath.Join(folder, "heard")
			recorder := run(t, map[string]string{"FOREIGN_API": api, "FOREIGN_OUT": out}, folder, foreign(t))
			entries := read(t, out)
			ids := lifecycle(t, entries)

			var wantLines []string
			counts := map[string]int{}
			for id := range invocations {
				for n := range lines {
					wantLines = append(wantLines, fmt.Sprintf("function line %d-%d", id, n))
				}
				for _, kind := range kinds {
					counts[kind+" "+ids[id]]++
				}
			}
			if diff := cmp.Diff(wantLines, events(t, entries, "function")); diff != "" {
				t.Errorf("function lines (-want +got):\n%s", diff)
			}
			got := map[string]int{}
			for _, e := range events(t, entries, kinds...) {
				got[e]++
			}
			if diff := cmp.Diff(counts, got); diff != "" {
				t.Errorf("platform events (-want +got):\n%s", diff)
			}
			inOrder(t, entries, ids)
			if ends := recorder.ProcessEnds(); len(ends) != 2 || ends[len(ends)-1].ExitCode != 0 {
				t.Errorf("processes ended with %+v, want the function killed and the extension with 0", ends)
			}
		})
	}
}

// lifecycle checks what register and next gave: an INVOKE for each invocation,
// then SHUTDOWN. It gives the request ids.
func lifecycle(t *testing.T, entries []entry) (ids []string) {
	t.Helper()
	var got []string
	for _, e := range entries {
		switch {
		case e.From == "register":
			got = append(got, "register "+e.Event.FunctionName)
		case e.From == "next" && e.Event.EventType == "INVOKE":
			ids = append(ids, e.Event.RequestID)
		case e.From == "next":
			got = append(got, e.Event.EventType+" "+e.Event.ShutdownReason)
		}
	}
	if diff := cmp.Diff([]string{"register shop", "SHUTDOWN spindown"}, got); diff != "" || len(ids) != invocations {
		t.Fatalf("%d INVOKE events; others (-want +got):\n%s", len(ids), diff)
	}
	return ids
}

// inOrder checks that an invocation's events stand as the reference has them:
// start, its lines, runtimeDone, and the report with the next event or later.
func inOrder(t *testing.T, entries []entry, ids []string) {
	t.Helper()
	position := map[string]int{}
	for i, e := range events(t, entries, "platform.start", "function", "platform.runtimeDone", "platform.report") {
		position[e] = i
	}
	for i, id := range ids {
		story := []string{"platform.start " + id, fmt.Sprintf("function line %d-0", i),
			fmt.Sprintf("function line %d-%d", i, lines-1), "platform.runtimeDone " + id, "platform.report " + id}
		for n := 1; n < len(story); n++ {
			if position[story[n-1]] >= position[story[n]] {
				t.Errorf("%s does not come before %s", story[n-1], story[n])
			}
		}
	}
}

// Both extensions of an environment hear everything.
func TestAForeignExtensionBesideOurs(t *testing.T) {
	folder := t.TempDir()
	out, files := filepath.Join(folder, "heard"), filepath.Join(folder, "files")
	env := map[string]string{"FOREIGN_API": "telemetry", "FOREIGN_OUT": out}
	maps.Copy(env, map[string]string{"SLIPSTREAM_DESTINATIONS": "file://" + files + "?compression=none"})
	run(t, env, folder, foreign(t), program(t, "./cmd/slipstream-extension"))
	if n := len(events(t, read(t, out), "function")); n != invocations*lines {
		t.Errorf("the foreign extension heard %d lines, want %d", n, invocations*lines)
	}
	ours := 0
	err := filepath.WalkDir(files, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		ours += bytes.Count(text, []byte(`"type":"function"`))
		return err
	})
	if err != nil || ours != invocations*lines {
		t.Errorf("ours delivered %d lines, want %d (%v)", ours, invocations*lines, err)
	}
}
