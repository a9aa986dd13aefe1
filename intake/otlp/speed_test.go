package otlp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"slipstream/telemetry"
	"slipstream/wire"
)

// quiet is an http.ResponseWriter that keeps nothing.
type quiet struct{ header http.Header }

func (q *quiet) Header() http.Header         { return q.header }
func (q *quiet) Write(p []byte) (int, error) { return len(p), nil }
func (q *quiet) WriteHeader(int)             {}
func (q *quiet) Flush()                      {}

// A thousand records cost hardly an allocation more than ten: what zstd needs
// for its window is made again for each body that asks for a large one.
func TestNoAllocationPerRecord(t *testing.T) {
	taken := 0
	s := newServer(Config{
		Completion: wire.NewCompletion(&telemetry.Resource{FunctionName: "f", Region: "r"}),
		Take:       func(e *telemetry.Export) error { taken += e.Records; return nil },
		Drop:       func(reason string, _ int) { t.Errorf("dropped: %s", reason) },
	})
	cost := func(path, contentType, encoding string, body []byte) float64 {
		r, err := http.NewRequest(http.MethodPost, path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", contentType)
		if contentType == grpcContentType {
			r.ProtoMajor = 2
			r.Header.Set("Grpc-Encoding", encoding)
			flag := byte(1)
			if encoding == identity {
				flag = 0
			}
			body = frame(flag, compressed(t, encoding, body))
		} else {
			r.Header.Set("Content-Encoding", encoding)
			body = compressed(t, encoding, body)
		}
		src := bytes.NewReader(body)
		r.Body = io.NopCloser(src)
		return testing.AllocsPerRun(50, func() {
			src.Reset(body)
			s.ServeHTTP(&quiet{http.Header{}}, r)
		})
	}
	few, many := marshal(t, someLogs(10)), marshal(t, someLogs(1_000))
	for _, encoding := range encodings[1:] {
		for path, contentType := range map[string]string{"/v1/logs": protobufContentType,
			"/opentelemetry.proto.collector.logs.v1.LogsService/Export": grpcContentType} {
			before := taken
			a, b := cost(path, contentType, encoding, few), cost(path, contentType, encoding, many)
			if taken-before != 51*1_010 {
				t.Fatalf("%s, %s: taken %d records", path, encoding, taken-before)
			}
			if b > a+200 { // with the race detector pools forget at random
				t.Errorf("%s, %s: %.0f allocations for 10 records, %.0f for 1,000", path, encoding, a, b)
			}
			t.Logf("%s, %s: %.0f allocations a request", path, encoding, b)
		}
	}
}

// BenchmarkHTTP sends log records over loopback; the sender and the receiver
// share the CPU time that records/cpu-s counts. 512 records are a batch of
// OpenTelemetry's SDKs.
func BenchmarkHTTP(b *testing.B) {
	for _, encoding := range encodings[1:] {
		b.Run(encoding, func(b *testing.B) { benchmarkHTTP(b, 512, encoding, protobufContentType) })
	}
	b.Run("json", func(b *testing.B) { benchmarkHTTP(b, 512, identity, jsonContentType) })
	b.Run("megabyte", func(b *testing.B) { benchmarkHTTP(b, 6_200, identity, protobufContentType) })
}

func benchmarkHTTP(b *testing.B, records int, encoding, contentType string) {
	request := someLogs(records)
	random := rand.New(rand.NewPCG(1, 2))
	for _, r := range request.ResourceLogs[0].ScopeLogs[0].LogRecords {
		r.SpanId = binary.LittleEndian.AppendUint64(nil, random.Uint64())
		r.Body = text(fmt.Sprintf("order %d of customer %x was placed in %d ms at the usual place",
			random.Uint32(), random.Uint64(), random.Uint32N(1000)))
	}
	body := marshal(b, request)
	if contentType == jsonContentType {
		var err error
		if body, err = wire.ExportToJSON(nil, telemetry.Logs, body); err != nil {
			b.Fatal(err)
		}
	}
	plain := len(body)
	body = compressed(b, encoding, body)
	said := fmt.Appendf(nil, "POST /v1/logs HTTP/1.1\r\nHost: localhost:4318\r\nUser-Agent: bench\r\n"+
		"Content-Type: %s\r\nContent-Encoding: %s\r\nContent-Length: %d\r\n\r\n%s", contentType, encoding, len(body), body)
	var taken atomic.Int64
	s := newStage(b, Config{
		Completion: wire.NewCompletion(&telemetry.Resource{FunctionName: "f", Region: "r"}),
		Take:       func(e *telemetry.Export) error { taken.Add(int64(e.Records)); return nil },
	})
	l := s.line(b)
	if err := l.SetDeadline(time.Time{}); err != nil {
		b.Fatal(err)
	}
	answer := make([]byte, 4<<10)
	b.ReportAllocs()
	before := cpu(b)
	for b.Loop() {
		if _, err := l.Write(said); err != nil {
			b.Fatal(err)
		}
		if n, err := l.Read(answer); err != nil || !bytes.HasPrefix(answer[:n], []byte("HTTP/1.1 200")) {
			b.Fatalf("answer %q, %v", answer[:n], err)
		}
	}
	used := cpu(b) - before
	if want := int64(b.N) * int64(records); taken.Load() != want {
		b.Fatalf("taken %d records of %d", taken.Load(), want)
	}
	b.ReportMetric(float64(taken.Load())/used.Seconds(), "records/cpu-s")
	b.ReportMetric(float64(plain)/float64(records), "bytes/record")
}

// cpu is the time that this process has used of the processors.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
