package otlp

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
	collectorlogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"slipstream/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// stage is a Server on loopback, and what it handed on.
type stage struct {
	*Server
	url, address string
	client       *http.Client

	mu      sync.Mutex
	taken   []telemetry.Export
	dropped map[string]int
	answer  error // of Take
}

func newStage(t testing.TB, c Config) *stage {
	t.Helper()
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{dropped: map[string]int{}, address: socket.Addr().String()}
	s.url = "http://" + s.address
	if c.Take == nil {
		c.Take = s.take
	}
	c.Drop = s.drop
	s.Server = Serve(c, socket)
	transport := &http.Transport{}
	s.client = &http.Client{Transport: transport}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *stage) take(e *telemetry.Export) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.answer == nil {
		s.taken = append(s.taken, telemetry.Export{Signal: e.Signal, Records: e.Records, Body: bytes.Clone(e.Body)})
	}
	return s.answer
}

func (s *stage) drop(reason string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropped[reason] += n
}

// drops gives what was dropped since the last call.
func (s *stage) drops() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.dropped
	s.dropped = map[string]int{}
	return d
}

// exports gives what was taken since the last call.
func (s *stage) exports() []telemetry.Export {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.taken
	s.taken = nil
	return e
}

// reply is one answer of HTTP.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// post sends a body with the given header lines, name after value.
func (s *stage) post(t testing.TB, path string, body io.Reader, header ...string) reply {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, s.url+path, body)
	if err != nil {
		t.Fatal(err)
	}
	for pair := range slices.Chunk(header, 2) {
		r.Header.Add(pair[0], pair[1])
	}
	return s.do(t, r)
}

func (s *stage) do(t testing.TB, r *http.Request) reply {
	t.Helper()
	w, err := s.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Body.Close()
	b, err := io.ReadAll(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{w.StatusCode, w.Header, b}
}

// compressed gives body in the named encoding.
func compressed(t testing.TB, encoding string, body []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	switch encoding {
	case gzipped:
		w = gzip.NewWriter(&b)
	case deflated:
		w = zlib.NewWriter(&b)
	case zstded:
		w, _ = zstd.NewWriter(&b)
	default:
		return body
	}
	if _, err := w.Write(body); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func text(s string) *commonpb.AnyValue {
	return &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: s}}
}

// someLogs is a request of n log records.
func someLogs(n int) *collectorlogs.ExportLogsServiceRequest {
	records := make([]*logspb.LogRecord, n)
	for i := range records {
		records[i] = &logspb.LogRecord{
			TimeUnixNano: 1_700_000_000_000_000_000 + uint64(i), SeverityNumber: 9, SeverityText: "INFO",
			Body:    text("a line of a usual length that a function might well have logged, or another one"),
			TraceId: bytes.Repeat([]byte{1}, 16), SpanId: bytes.Repeat([]byte{2}, 8),
			Attributes: []*commonpb.KeyValue{
				{Key: "code.function", Value: text("handler")},
				{Key: "n", Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_IntValue{IntValue: int64(i)}}},
			},
		}
	}
	return &collectorlogs.ExportLogsServiceRequest{ResourceLogs: []*logspb.ResourceLogs{{
		Resource:  &resourcepb.Resource{Attributes: []*commonpb.KeyValue{{Key: "service.name", Value: text("shop")}}},
		ScopeLogs: []*logspb.ScopeLogs{{Scope: &commonpb.InstrumentationScope{Name: "test"}, LogRecords: records}},
	}}}
}

func marshal(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// until waits for a condition.
func until(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within 20 s", what)
		}
	}
}
