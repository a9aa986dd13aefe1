package servers

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// OTLP is the Collector's receiver, over HTTP and gRPC.
type OTLP struct {
	Endpoint string // http://127.0.0.1:port, without a path
	GRPC     string // 127.0.0.1:port
	process  *process
	output   string
}

// StartOTLP runs an OTLP server until the test ends.
func StartOTLP(t testing.TB) *OTLP {
	t.Helper()
	address := freeAddress(t)
	s := &OTLP{Endpoint: "http://" + address, GRPC: freeAddress(t)}
	s.output = filepath.Join(t.TempDir(), "received.jsonl")
	s.process = &process{
		path:  build(t, "otelsink", "."),
		args:  []string{"-http", address, "-grpc", s.GRPC, "-output", s.output},
		ready: s.Endpoint,
	}
	s.process.start(t)
	return s
}

// Stop makes an outage; what was received stays.
func (s *OTLP) Stop(t testing.TB) {
	t.Helper()
	s.process.stop()
}

// Start ends an outage: same addresses, same data.
func (s *OTLP) Start(t testing.TB) {
	t.Helper()
	s.process.start(t)
}

// Received gives the payloads so far, each OTLP JSON of one request: an object
// with resourceLogs, resourceSpans or resourceMetrics.
func (s *OTLP) Received(t testing.TB) [][]byte {
	t.Helper()
	text, err := os.ReadFile(s.output)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("servers: %v", err)
	}
	lines := bytes.Split(text, []byte("\n"))
	return lines[:len(lines)-1] // a line under way has no end yet
}

// folder makes one.
func folder(t testing.TB, path string) string {
	t.Helper()
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatalf("servers: %v", err)
	}
	return path
}
