package otlp

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	collectorlogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	"google.golang.org/protobuf/proto"

	"slipstream/telemetry"
	"slipstream/wire"
)

// judgedServer is a Server without socket whose exports are all judged: each is
// valid and has as many records as it says.
func judgedServer(t testing.TB, c Config) (s *Server, taken *[]telemetry.Export) {
	taken = new([]telemetry.Export)
	c.Take = func(e *telemetry.Export) error {
		if n, err := wire.CheckExport(e.Signal, e.Body); err != nil || n != e.Records || n == 0 {
			t.Errorf("taken %d %s, of which %d are valid: %v", e.Records, e.Signal, n, err)
		}
		if e.Signal == telemetry.Logs {
			var request collectorlogs.ExportLogsServiceRequest
			if err := proto.Unmarshal(e.Body, &request); err != nil {
				t.Errorf("the oracle refuses what was taken: %v", err)
			}
		}
		*taken = append(*taken, *e)
		return nil
	}
	c.Drop = func(reason string, n int) {
		if reason == "" || n <= 0 {
			t.Errorf("dropped %d %q", n, reason)
		}
	}
	return newServer(c), taken
}

var fuzzPaths = []string{"/v1/logs", "/v1/traces", "/v1/metrics"}

func FuzzHTTP(f *testing.F) {
	good := marshal(f, someLogs(2))
	bad := bytes.Replace(good, []byte("INFO"), []byte("INF\xff"), 1)
	for _, encoding := range encodings {
		f.Add(uint8(0), protobufContentType, encoding, compressed(f, encoding, good))
		f.Add(uint8(0), jsonContentType, encoding, compressed(f, encoding, []byte(logsJSON)))
		f.Add(uint8(0), protobufContentType, encoding, compressed(f, encoding, make([]byte, 1<<20)))
	}
	f.Add(uint8(0), protobufContentType, "", bad)
	f.Add(uint8(1), protobufContentType, "", marshal(f, someSpans()))
	f.Add(uint8(2), protobufContentType, "", marshal(f, someMetrics()))
	f.Add(uint8(1), jsonContentType, "", []byte(spansJSON))
	f.Add(uint8(2), jsonContentType, "", []byte(metricsJSON))
	f.Add(uint8(0), protobufContentType, "", deep(100))
	f.Fuzz(func(t *testing.T, path uint8, contentType, encoding string, body []byte) {
		s, taken := judgedServer(t, Config{MaxBody: 1 << 16, MaxExport: 1 << 18})
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodPost, fuzzPaths[int(path)%len(fuzzPaths)], bytes.NewReader(body))
		r.Header.Set("Content-Type", contentType)
		if encoding != "" {
			r.Header.Set("Content-Encoding", encoding)
		}
		s.ServeHTTP(w, r)
		if !slices.Contains([]int{200, 400, 413, 415}, w.Code) || w.Code != 200 && len(*taken) != 0 {
			t.Errorf("status %d with %d exports taken", w.Code, len(*taken))
		}
		if w.Code != 200 && w.Body.Len() == 0 {
			t.Errorf("status %d without a word", w.Code)
		}
	})
}

func FuzzGRPC(f *testing.F) {
	good := marshal(f, someLogs(2))
	for _, encoding := range encodings {
		f.Add(encoding, frame(1, compressed(f, encoding, good)))
		f.Add(encoding, frame(0, good))
	}
	f.Add("", append(frame(0, good), 0))
	f.Add("", frame(0, bytes.Replace(good, []byte("INFO"), []byte("INF\xff"), 1)))
	f.Add("", []byte{0, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, encoding string, body []byte) {
		s, taken := judgedServer(t, Config{MaxBody: 1 << 16, MaxExport: 1 << 18})
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodPost, "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
			bytes.NewReader(body))
		r.ProtoMajor = 2
		r.Header.Set("Content-Type", grpcContentType)
		r.Header.Set("Grpc-Encoding", encoding)
		s.ServeHTTP(w, r)
		status := w.Header().Get("Grpc-Status") + w.Header().Get(http.TrailerPrefix+"Grpc-Status")
		if w.Code != 200 || !strings.Contains(" 0 3 8 12 13 ", " "+status+" ") ||
			status != "0" && (len(*taken) != 0 || w.Body.Len() != 0 || w.Header().Get("Grpc-Message") == "") {
			t.Errorf("status %d, grpc-status %q, with %d exports taken", w.Code, status, len(*taken))
		}
	})
}

// What is sifted is valid, and no record is both kept and rejected.
func FuzzSift(f *testing.F) {
	good := marshal(f, someLogs(3))
	f.Add(uint8(0), bytes.Replace(good, []byte("INFO"), []byte("INF\xff"), 1))
	f.Add(uint8(0), bytes.Replace(good, []byte("test"), []byte("tes\xff"), 1))
	f.Add(uint8(0), bytes.Replace(good, []byte("shop"), []byte("sho\xff"), 1))
	f.Add(uint8(1), bytes.Replace(marshal(f, someMetrics()), []byte("two"), []byte("tw\xff"), 1))
	f.Add(uint8(2), marshal(f, someSpans()))
	f.Fuzz(func(t *testing.T, signal uint8, body []byte) {
		s, _ := judgedServer(t, Config{})
		d := newDesk(s)
		d.signal = []telemetry.Signal{telemetry.Logs, telemetry.Metrics, telemetry.Traces}[signal%3]
		all, err := wire.CheckExport(d.signal, body)
		sifted, rejected, ok := s.sift(d, nil, body)
		if err == nil && (rejected != 0 || ok && !bytes.Equal(sifted, body)) {
			t.Errorf("a valid body lost %d records", rejected)
		}
		if ok {
			if n, err := wire.CheckExport(d.signal, sifted); err != nil || err == nil && all > 0 && n != all {
				t.Errorf("sifted %d of %d records: %v", n, all, err)
			}
		}
	})
}
