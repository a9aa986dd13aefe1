package otlp

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	collectorlogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	collectormetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	collectortrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/gzip" // registers gzip
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"slipstream/telemetry"
)

// zstdCompressor is zstd for grpc-go, which has none.
type zstdCompressor struct{}

func (zstdCompressor) Name() string { return zstded }
func (zstdCompressor) Compress(w io.Writer) (io.WriteCloser, error) {
	return zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
}
func (zstdCompressor) Decompress(r io.Reader) (io.Reader, error) {
	return zstd.NewReader(r, zstd.WithDecoderConcurrency(1))
}

func (s *stage) dial(t testing.TB) *grpc.ClientConn {
	t.Helper()
	c, err := grpc.NewClient(s.address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func someSpans() *collectortrace.ExportTraceServiceRequest {
	return &collectortrace.ExportTraceServiceRequest{ResourceSpans: []*tracepb.ResourceSpans{{
		Resource: pbResource,
		ScopeSpans: []*tracepb.ScopeSpans{{Spans: []*tracepb.Span{
			{TraceId: bytes.Repeat([]byte{1}, 16), SpanId: bytes.Repeat([]byte{2}, 8), Name: "a", Kind: 2},
			{TraceId: bytes.Repeat([]byte{1}, 16), SpanId: bytes.Repeat([]byte{3}, 8), Name: "b", EndTimeUnixNano: 5},
		}}},
	}}}
}

func someMetrics() *collectormetrics.ExportMetricsServiceRequest {
	point := func(v float64) *metricspb.NumberDataPoint {
		return &metricspb.NumberDataPoint{Value: &metricspb.NumberDataPoint_AsDouble{AsDouble: v}}
	}
	return &collectormetrics.ExportMetricsServiceRequest{ResourceMetrics: []*metricspb.ResourceMetrics{{
		Resource: pbResource,
		ScopeMetrics: []*metricspb.ScopeMetrics{{Metrics: []*metricspb.Metric{
			{Name: "one", Data: &metricspb.Metric_Gauge{Gauge: &metricspb.Gauge{
				DataPoints: []*metricspb.NumberDataPoint{point(1), point(2)}}}},
			{Name: "two", Data: &metricspb.Metric_Histogram{Histogram: &metricspb.Histogram{
				DataPoints: []*metricspb.HistogramDataPoint{{Count: 3, BucketCounts: []uint64{1, 2}}}}}},
		}}},
	}}}
}

func TestGRPCTakesEverySignalAndEncoding(t *testing.T) {
	encoding.RegisterCompressor(zstdCompressor{})
	s := newStage(t, Config{})
	c := s.dial(t)
	logs, spans, metrics := someLogs(5_000), someSpans(), someMetrics()
	for _, name := range []string{identity, gzipped, zstded} {
		var options []grpc.CallOption
		if name != identity {
			options = append(options, grpc.UseCompressor(name))
		}
		if r, err := collectorlogs.NewLogsServiceClient(c).Export(within(t), logs, options...); err != nil ||
			r.PartialSuccess != nil {
			t.Fatalf("%s: logs: %v, %v", name, r, err)
		}
		if r, err := collectortrace.NewTraceServiceClient(c).Export(within(t), spans, options...); err != nil ||
			r.PartialSuccess != nil {
			t.Fatalf("%s: traces: %v, %v", name, r, err)
		}
		if r, err := collectormetrics.NewMetricsServiceClient(c).Export(within(t), metrics, options...); err != nil ||
			r.PartialSuccess != nil {
			t.Fatalf("%s: metrics: %v, %v", name, r, err)
		}
		want := []proto.Message{logs, spans, metrics}
		records := []int{5_000, 2, 3}
		signals := []telemetry.Signal{telemetry.Logs, telemetry.Traces, telemetry.Metrics}
		got := s.exports()
		if len(got) != len(want) {
			t.Fatalf("%s: taken %d exports", name, len(got))
		}
		for i, e := range got {
			if e.Records != records[i] || e.Signal != signals[i] {
				t.Errorf("%s: %d %s, want %d %s", name, e.Records, e.Signal, records[i], signals[i])
			}
			same(t, want[i], e.Body)
		}
	}
}

func TestGRPCErrors(t *testing.T) {
	s := newStage(t, Config{MaxExport: 1 << 20, RetryAfter: 1500 * time.Millisecond})
	c := s.dial(t)
	logs := collectorlogs.NewLogsServiceClient(c)
	export := func(n int) error {
		_, err := logs.Export(within(t), someLogs(n))
		return err
	}
	answer := func(err error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.answer = err
	}
	if err := c.Invoke(within(t), "/opentelemetry.proto.collector.logs.v1.LogsService/Import é",
		someLogs(1), &collectorlogs.ExportLogsServiceResponse{}); status.Code(err) != codes.Unimplemented {
		t.Errorf("an unknown method: %v", err)
	}
	if err := export(50_000); status.Code(err) != codes.ResourceExhausted || len(status.Convert(err).Details()) != 0 {
		t.Errorf("too large: %v, want RESOURCE_EXHAUSTED without a hint to try again", err)
	}
	answer(telemetry.ErrOver)
	if err := export(1); status.Code(err) != codes.Unavailable || len(status.Convert(err).Details()) != 0 {
		t.Errorf("over: %v", err)
	}
	answer(telemetry.ErrNoRoom)
	err := export(1)
	details := status.Convert(err).Details()
	if status.Code(err) != codes.Unavailable || len(details) != 1 {
		t.Fatalf("no room: %v with %v, want UNAVAILABLE with RetryInfo", err, details)
	}
	if info, ok := details[0].(*errdetails.RetryInfo); !ok || info.RetryDelay.AsDuration() != 1500*time.Millisecond {
		t.Errorf("no room: details %v", details)
	}
	answer(nil)
	if err := export(1); err != nil {
		t.Errorf("room again: %v", err)
	}
	if diff := cmp.Diff(map[string]int{"too_large": 1}, s.drops()); diff != "" {
		t.Errorf("dropped (-want +got):\n%s", diff)
	}
}

func TestGRPCPartialSuccess(t *testing.T) {
	s := newStage(t, Config{})
	body := marshal(t, someMetrics())
	body[bytes.Index(body, []byte("one"))] = 0xff
	r := s.call(t, frame(0, body))
	var response collectormetrics.ExportMetricsServiceResponse
	if len(r.body) < 5 || int(binary.BigEndian.Uint32(r.body[1:])) != len(r.body)-5 || r.trailer != "0" {
		t.Fatalf("answer %q, grpc-status %q", r.body, r.trailer)
	}
	if err := proto.Unmarshal(r.body[5:], &response); err != nil ||
		response.PartialSuccess.GetRejectedDataPoints() != 2 ||
		!strings.Contains(response.PartialSuccess.GetErrorMessage(), "UTF-8") {
		t.Errorf("answer %v, %v", &response, err)
	}
	if got := s.exports(); len(got) != 1 || got[0].Records != 1 {
		t.Errorf("taken %+v, want the other metric", got)
	}
}

// frame is a message of gRPC.
func frame(flag byte, body []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{flag}, uint32(len(body))), body...)
}

// called is the answer of a call, as it came over HTTP/2.
type called struct {
	reply
	trailer string // grpc-status
}

// call sends bytes to the metrics service, whatever they are.
func (s *stage) call(t testing.TB, body []byte, header ...string) called {
	t.Helper()
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols}
	defer transport.CloseIdleConnections()
	r, err := http.NewRequest(http.MethodPost,
		s.url+"/opentelemetry.proto.collector.metrics.v1.MetricsService/Export", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", grpcContentType)
	r.Header.Set("Te", "trailers")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Body.Close()
	b, err := io.ReadAll(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	c := called{reply: reply{w.StatusCode, w.Header, b}, trailer: w.Trailer.Get("Grpc-Status")}
	if c.trailer == "" {
		c.trailer = w.Header.Get("Grpc-Status")
	}
	return c
}

func TestGRPCFraming(t *testing.T) {
	s := newStage(t, Config{MaxBody: 10_000, MaxExport: 100_000})
	good := marshal(t, someMetrics())
	bomb := compressed(t, gzipped, make([]byte, 1<<20))
	for _, tt := range []struct {
		name, encoding string
		body           []byte
		status, reason string
	}{
		{"good", "", frame(0, good), "0", ""},
		{"empty", "", frame(0, nil), "0", ""},
		{"gzip", gzipped, frame(1, compressed(t, gzipped, good)), "0", ""},
		{"deflate", deflated, frame(1, compressed(t, deflated, good)), "0", ""},
		{"gzip announced, not used", gzipped, frame(0, good), "0", ""},
		{"nothing", "", nil, "3", "incomplete"},
		{"half a head", "", []byte{0, 0}, "3", "incomplete"},
		{"half a message", "", frame(0, good)[:20], "3", "incomplete"},
		{"half a gzip message", gzipped, frame(1, compressed(t, gzipped, good))[:20], "3", "incomplete"},
		{"two messages", "", append(frame(0, good), frame(0, good)...), "13", "malformed"},
		{"flag", "", frame(2, good), "13", "malformed"},
		{"compressed without encoding", "", frame(1, good), "13", "malformed"},
		{"no gzip", gzipped, frame(1, good), "3", "malformed"},
		{"bytes behind deflate", deflated, frame(1, append(compressed(t, deflated, good), 1)), "3", "malformed"},
		{"unknown encoding", "snappy", frame(1, good), "12", "unsupported"},
		{"endless", "", []byte{0, 0xff, 0xff, 0xff, 0xff, 1}, "8", "too_large"},
		{"large", "", frame(0, make([]byte, 100_001)), "8", "too_large"},
		{"large, compressed", gzipped, frame(1, make([]byte, 10_001)), "8", "too_large"},
		{"bomb", gzipped, frame(1, bomb), "8", "too_large"},
		{"no protobuf", "", frame(0, []byte("hello")), "3", "malformed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var header []string
			if tt.encoding != "" {
				header = []string{"Grpc-Encoding", tt.encoding}
			}
			r := s.call(t, tt.body, header...)
			if r.status != 200 || r.trailer != tt.status || r.header.Get("Content-Type") != grpcContentType {
				t.Errorf("answer %d %v, grpc-status %q, want %s", r.status, r.header, r.trailer, tt.status)
			}
			want := map[string]int{}
			if tt.reason != "" {
				want[tt.reason] = 1
			}
			if diff := cmp.Diff(want, s.drops()); diff != "" {
				t.Errorf("dropped (-want +got):\n%s", diff)
			}
		})
	}
	r := s.call(t, frame(0, good), "Content-Type", "application/grpc+json")
	if r.status != 415 || s.drops()["unsupported"] != 1 {
		t.Errorf("gRPC in JSON: answer %d", r.status)
	}
}

// A call that is cut by its sender is not taken.
func TestGRPCCancelled(t *testing.T) {
	s := newStage(t, Config{})
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols}
	defer transport.CloseIdleConnections()
	ctx, cancel := context.WithCancel(context.Background())
	in, out := io.Pipe()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost,
		s.url+"/opentelemetry.proto.collector.metrics.v1.MetricsService/Export", in)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", grpcContentType)
	done := make(chan error)
	go func() {
		w, err := transport.RoundTrip(r)
		if err == nil {
			err = w.Body.Close()
		}
		done <- err
	}()
	if _, err := out.Write(frame(0, marshal(t, someMetrics()))); err != nil { // and never ends
		t.Fatal(err)
	}
	until(t, "the message is being read", func() bool { return len(s.seats) == 1 })
	cancel()
	<-done
	until(t, "the request is over", func() bool { return len(s.seats) == 0 })
	if got := s.exports(); len(got) != 0 {
		t.Errorf("taken %d exports", len(got))
	}
}
