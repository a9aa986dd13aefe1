// Package endtoend_test runs the layer's binary in the emulator against real
// servers and counts every line. Nothing here imports the edge: what is tested
// is the program that ships.
package endtoend_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"go.uber.org/goleak"

	"slipstream/deploy/layer"
	"slipstream/emulator"
	"slipstream/emulator/client"
	"slipstream/emulator/fault"
	"slipstream/test/servers"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait: long, for the machines are slow and noisy.
const patience = 2 * time.Minute

// stage is one function with our extension.
type stage struct {
	*emulator.Lambda
	recorder *emulator.Recorder
	log      *logBook
	invoked  int
}

// logBook is what CloudWatch would have.
type logBook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logBook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logBook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// others is the log without the numbered lines.
func (l *logBook) others() string {
	var b strings.Builder
	for line := range strings.Lines(l.String()) {
		if !strings.HasPrefix(line, "line ") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// programs are built once for all tests.
var programs = map[string]func() (string, error){
	ours:   sync.OnceValues(func() (string, error) { return layer.Program(context.Background(), ours, runtime.GOARCH) }),
	writer: sync.OnceValues(func() (string, error) { return layer.Program(context.Background(), writer, runtime.GOARCH) }),
	sender: sync.OnceValues(func() (string, error) { return layer.Program(context.Background(), sender, runtime.GOARCH) }),
	planter: sync.OnceValues(func() (string, error) {
		return layer.Program(context.Background(), planter, runtime.GOARCH)
	}),
}

const (
	ours    = "./cmd/slipstream-extension"
	writer  = "./test/endtoend/writer"
	sender  = "./test/endtoend/sender"
	planter = "./test/endtoend/planter"
)

// program gives the path of one of the tree's programs.
func program(t *testing.T, pkg string) string {
	t.Helper()
	path, err := programs[pkg]()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// play is how a test changes the usual stage.
type play struct {
	env        map[string]string
	extensions []string // instead of ours
	faults     []string
	function   func(*emulator.Function)
	config     func(*emulator.Config)
}

// start opens the stage; the test ends it with shutdown.
func (p play) start(t *testing.T) *stage {
	t.Helper()
	s := &stage{recorder: emulator.NewRecorder(256 << 20), log: &logBook{}}
	f := emulator.Function{
		Name: "shop", Command: []string{program(t, writer)}, Env: p.env, MemoryMB: 1769,
		Timeout: time.Minute, Extensions: p.extensions,
	}
	if f.Extensions == nil {
		f.Extensions = []string{program(t, ours)}
	}
	config := emulator.Config{
		Freeze: true, LogWriter: s.log, Observe: s.recorder.Observe(), Addresses: servers.Loopback(),
	}
	for _, text := range p.faults {
		rule, err := fault.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		config.Faults = append(config.Faults, rule)
	}
	if p.function != nil {
		p.function(&f)
	}
	if p.config != nil {
		p.config(&config)
	}
	config.Functions = []emulator.Function{f}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	lambda, err := emulator.Start(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	s.Lambda = lambda
	t.Cleanup(func() {
		s.shutdown(t)
		if t.Failed() {
			t.Logf("log without the function's lines:\n%s", tail(s.log.others(), 4000))
		}
	})
	return s
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }

// shutdown ends the environments and everything in them.
func (s *stage) shutdown(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}

// invoke runs the function once and gives its answer.
func (s *stage) invoke(t *testing.T, event string) emulator.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	result, err := client.Invoke(ctx, s.Lambda, "shop", []byte(event))
	if err != nil {
		t.Fatal(err)
	}
	s.invoked++
	return result
}

// lines counts how often each line of the function stands among records.
type lines map[string]int

// expect checks that every line of every invocation is there exactly once.
func (l lines) expect(t *testing.T, invocations, perInvocation int) {
	t.Helper()
	lost, doubled := 0, 0
	for i := range invocations {
		for n := range perInvocation {
			switch c := l[fmt.Sprintf("%d-%d", i, n)]; {
			case c == 0:
				lost++
			case c > 1:
				doubled++
			}
		}
	}
	if lost > 0 || doubled > 0 || len(l) != invocations*perInvocation {
		t.Errorf("of %d lines %d lost, %d doubled; %d different ones", invocations*perInvocation, lost, doubled, len(l))
	}
}

// add takes one line of NDJSON, native or as the platform sent it.
func (l lines) add(t *testing.T, line []byte) {
	t.Helper()
	var record struct {
		Type    string
		Message string
		Record  json.RawMessage
	}
	if err := json.Unmarshal(line, &record); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	if record.Type != "function" {
		return
	}
	text := record.Message
	if text == "" {
		if err := json.Unmarshal(record.Record, &text); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
	}
	l.note(text)
}

// note counts a line by its two numbers.
func (l lines) note(text string) {
	words := strings.Fields(text)
	if len(words) >= 2 && words[0] == "line" {
		l[words[1]]++
	}
}

// addObject takes a whole object.
func (l lines) addObject(t *testing.T, name string, body []byte) {
	t.Helper()
	for line := range bytes.Lines(decode(t, name, body)) {
		l.add(t, line)
	}
}

// decode undoes the compression that the name tells of.
func decode(t *testing.T, name string, body []byte) []byte {
	t.Helper()
	var r io.Reader = bytes.NewReader(body)
	switch filepath.Ext(name) {
	case ".gz":
		unzip, err := gzip.NewReader(r)
		if err != nil {
			t.Fatal(err)
		}
		r = unzip
	case ".zst":
		decoder, err := zstd.NewReader(r)
		if err != nil {
			t.Fatal(err)
		}
		defer decoder.Close()
		r = decoder
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return text
}

// inBucket counts the lines of a whole bucket.
func inBucket(t *testing.T, s3 *servers.S3, bucket string) lines {
	t.Helper()
	l := lines{}
	for _, key := range s3.List(t, bucket, "") {
		l.addObject(t, key, s3.Get(t, bucket, key).Body)
	}
	return l
}

// inFolder counts the lines of a whole folder.
func inFolder(t *testing.T, dir string) lines {
	t.Helper()
	l := lines{}
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		body, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		l.addObject(t, path, body)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// s3Env is what a function needs to reach the server, with more on top.
func s3Env(s3 *servers.S3, more map[string]string) map[string]string {
	env := map[string]string{}
	for _, pair := range s3.Env() {
		name, value, _ := strings.Cut(pair, "=")
		env[name] = value
	}
	maps.Copy(env, more)
	return env
}
