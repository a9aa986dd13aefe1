package emulator

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// TestMain builds the programs of testdata once, into a folder that the tests
// find by testBinaries.
func TestMain(m *testing.M) {
	folder, err := os.MkdirTemp("", "emulator-test-")
	if err != nil {
		panic(err)
	}
	build := exec.Command("go", "build", "-o", folder, "./testdata/function", "./testdata/extension",
		"./testdata/lambdago")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		panic(fmt.Sprintf("build test programs: %v\n%s", err, out))
	}
	if err := os.Setenv(testBinaries, folder); err != nil {
		panic(err)
	}
	code := m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	_ = os.RemoveAll(folder)
	os.Exit(code)
}

const testBinaries = "EMULATOR_TEST_BINARIES"

func program(name string) string { return filepath.Join(os.Getenv(testBinaries), name) }

// patience bounds every wait: long enough for the busiest machine.
const patience = 30 * time.Second

// stage is an emulator with one function, "shop", and everything it shows.
type stage struct {
	*Lambda
	t         *testing.T
	impatient bool // the test has made Shutdown fail
	log       *logBook
	recorder  *Recorder
	gates     *httptest.Server
	waiting   chan string   // a gate that somebody has reached
	open      chan struct{} // lets one of them pass
}

// setting changes a Config before the emulator starts.
type setting func(*Config)

// extension adds an extension whose misbehaviour the plan describes, as JSON.
func extension(name, plan string) setting {
	return func(c *Config) {
		f := &c.Functions[0]
		f.Extensions = append(f.Extensions, name) // play makes a file of it
		if plan != "" {
			f.Env["EXT_"+name] = plan
		}
	}
}

func variable(name, value string) setting {
	return func(c *Config) { c.Functions[0].Env[name] = value }
}

func change(do func(*Config, *Function)) setting {
	return func(c *Config) { do(c, &c.Functions[0]) }
}

// play starts a stage. The function's timeout is long unless a test changes it:
// no outcome depends on how busy the machine is.
func play(t *testing.T, settings ...setting) *stage {
	t.Helper()
	s, err := start(t, settings...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// startFails expects an error of Start with this text.
func startFails(t *testing.T, want string, settings ...setting) *logBook {
	t.Helper()
	s, err := start(t, settings...)
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("Start: %v, want %s", err, want)
	}
	return s.log
}

func start(t *testing.T, settings ...setting) (*stage, error) {
	t.Helper()
	s := &stage{t: t, log: &logBook{}, recorder: NewRecorder(0), waiting: make(chan string, 100),
		open: make(chan struct{})}
	s.gates = httptest.NewServer(http.HandlerFunc(s.gate))
	cfg := Config{
		LogWriter: s.log, Observe: s.recorder.Observe(), initLimit: patience,
		Functions: []Function{{Name: "shop", Command: []string{program("function")}, Timeout: patience, MemoryMB: 512,
			Env: map[string]string{}}},
	}
	for _, set := range settings {
		set(&cfg)
	}
	cfg.Functions[0].Extensions = namedCopies(t, cfg.Functions[0].Extensions)
	for name, value := range cfg.Functions[0].Env {
		cfg.Functions[0].Env[name] = strings.ReplaceAll(value, "GATE", s.gates.URL)
	}
	var err error
	s.Lambda, err = Start(t.Context(), cfg)
	t.Cleanup(func() {
		if s.Lambda != nil {
			s.stop()
		}
		s.gates.CloseClientConnections()
		s.gates.Close()
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	})
	return s, err
}

// namedCopies gives each extension an executable of its name.
func namedCopies(t *testing.T, names []string) []string {
	folder := t.TempDir()
	var paths []string
	for _, name := range names {
		path := filepath.Join(folder, filepath.Base(name))
		if err := os.Link(program("extension"), path); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	return paths
}

// gate makes a process wait until the test lets it pass.
func (s *stage) gate(_ http.ResponseWriter, r *http.Request) {
	s.waiting <- strings.TrimPrefix(r.URL.Path, "/")
	select {
	case <-s.open:
	case <-r.Context().Done():
	}
}

// reach waits until a process has come to a gate, and tells to which.
func (s *stage) reach() string {
	s.t.Helper()
	select {
	case gate := <-s.waiting:
		return gate
	case <-time.After(patience):
		s.t.Fatalf("nobody has come to a gate within %v; log:\n%s", patience, s.log)
		return ""
	}
}

// stop ends the emulator and waits for everything.
func (s *stage) stop() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil && !s.impatient {
		s.t.Error(err)
	}
}

// invoke runs the function and waits for its answer.
func (s *stage) invoke(event string) Result {
	s.t.Helper()
	result, ok := <-s.begin(event)
	if !ok {
		s.t.FailNow()
	}
	return result
}

// begin runs the function; the channel gets its answer, and is closed without one
// if the emulator refuses.
func (s *stage) begin(event string) <-chan Result {
	event = strings.ReplaceAll(event, "GATE", s.gates.URL)
	answer := make(chan Result, 1)
	go func() {
		defer close(answer)
		result, err := s.Invoke(s.t.Context(), "shop", []byte(event))
		if err != nil {
			s.t.Error(err)
			return
		}
		answer <- result
	}()
	return answer
}

// settle waits until the environment is idle.
func (s *stage) settle() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.Wait(ctx); err != nil {
		s.t.Fatalf("environments still busy after %v", patience)
	}
}

// eventually polls.
func (s *stage) eventually(what string, holds func() bool) {
	s.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if holds() {
			return
		}
	}
	s.t.Fatalf("%s: not within %v; log:\n%s", what, patience, s.log)
}

// printed gives what lines gives, once there are n: what a process writes comes
// to the log a little later than what it answers.
func (s *stage) printed(n int, prefix string) []string {
	s.t.Helper()
	s.eventually(fmt.Sprintf("%d lines %q", n, prefix), func() bool { return len(s.log.lines(prefix)) >= n })
	return s.log.lines(prefix)
}

// logBook is what CloudWatch Logs would have.
type logBook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logBook) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logBook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// lines lists the lines with the prefix, without it.
func (l *logBook) lines(prefix string) []string {
	var found []string
	for line := range strings.Lines(l.String()) {
		if rest, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), prefix); ok {
			found = append(found, rest)
		}
	}
	return found
}

// telemetryEvent is one event as an extension received it.
type telemetryEvent struct {
	Time   time.Time
	Type   string
	Record json.RawMessage
}

func (e telemetryEvent) record() map[string]any {
	var m map[string]any
	_ = json.Unmarshal(e.Record, &m)
	return m
}

// received lists the events that the extension got, in order, without
// repetitions of its own traffic.
func (s *stage) received(name string) []telemetryEvent {
	s.t.Helper()
	deliveries, dropped := s.recorder.Deliveries(name)
	if dropped > 0 {
		s.t.Fatalf("the recorder dropped %d deliveries", dropped)
	}
	var events []telemetryEvent
	for _, d := range deliveries {
		var batch []telemetryEvent
		if err := json.Unmarshal(d.Body, &batch); err != nil {
			s.t.Fatalf("delivery %s: %v", d.Body, err)
		}
		events = append(events, batch...)
	}
	return events
}

// story tells events in a line each: type, status, error type, phase.
func story(events []telemetryEvent) []string {
	var lines []string
	for _, e := range events {
		line := e.Type
		record := e.record()
		for _, field := range []string{"phase", "status", "errorType", "name", "state"} {
			if text, ok := record[field].(string); ok {
				line += " " + text
			}
		}
		if record == nil {
			line += " " + strings.TrimSpace(strings.Trim(string(e.Record), `"`))
		}
		lines = append(lines, strings.TrimSuffix(line, `\n`))
	}
	return lines
}

// only keeps the events of these types.
func only(events []telemetryEvent, types ...string) []telemetryEvent {
	return slices.DeleteFunc(slices.Clone(events), func(e telemetryEvent) bool { return !slices.Contains(types, e.Type) })
}

// fileText is "" for a file that does not exist.
func fileText(path string) string {
	text, _ := os.ReadFile(path)
	return string(text)
}
