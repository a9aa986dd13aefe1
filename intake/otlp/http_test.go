package otlp

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	collectorlogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"slipstream/telemetry"
)

var encodings = []string{"", identity, gzipped, zstded, deflated}

func TestHTTPTakesEveryEncoding(t *testing.T) {
	s := newStage(t, Config{})
	for _, n := range []int{1, 100, 5_000} {
		want := someLogs(n)
		body := marshal(t, want)
		for _, encoding := range encodings {
			for _, length := range []string{"known", "chunked"} {
				src := io.Reader(bytes.NewReader(compressed(t, encoding, body)))
				if length == "chunked" {
					src = io.MultiReader(src)
				}
				header := []string{"Content-Type", protobufContentType}
				if encoding != "" {
					header = append(header, "Content-Encoding", encoding)
				}
				r := s.post(t, "/v1/logs", src, header...)
				if r.status != 200 || len(r.body) != 0 || r.header.Get("Content-Type") != protobufContentType {
					t.Fatalf("%d records, %q, %s: answer %d %q %v", n, encoding, length, r.status, r.body, r.header)
				}
				got := s.exports()
				if len(got) != 1 || got[0].Records != n || got[0].Signal != telemetry.Logs {
					t.Fatalf("%d records, %q, %s: taken %d exports", n, encoding, length, len(got))
				}
				same(t, want, got[0].Body)
			}
		}
	}
	if d := s.drops(); len(d) != 0 {
		t.Errorf("dropped %v", d)
	}
}

// same compares a request with the body that was handed on, field by field.
func same(t testing.TB, want proto.Message, body []byte) {
	t.Helper()
	got := want.ProtoReflect().New().Interface()
	if err := proto.Unmarshal(body, got); err != nil {
		t.Fatalf("the oracle refuses the export: %v", err)
	}
	if !proto.Equal(want, got) {
		t.Errorf("the export differs (-want +got):\n%s", cmp.Diff(want, got, protocmp.Transform()))
	}
}

// Where nothing is in a request, nothing is taken, and the answer is success.
func TestHTTPTakesNothing(t *testing.T) {
	s := newStage(t, Config{})
	for _, path := range []string{"/v1/logs", "/v1/traces", "/v1/metrics"} {
		r := s.post(t, path, http.NoBody, "Content-Type", protobufContentType)
		if r.status != 200 || len(r.body) != 0 {
			t.Errorf("%s: answer %d %q", path, r.status, r.body)
		}
	}
	r := s.post(t, "/v1/logs", bytes.NewReader(marshal(t, someLogs(0))), "Content-Type", protobufContentType)
	if got := s.exports(); r.status != 200 || len(got) != 0 {
		t.Errorf("a resource without records: answer %d, taken %d exports", r.status, len(got))
	}
}

func TestHTTPRefuses(t *testing.T) {
	const pb = protobufContentType
	good := marshal(t, someLogs(1))
	bomb := bytes.Repeat([]byte{0}, 1<<20)
	wrong := "malformed"
	s := newStage(t, Config{MaxBody: 10_000, MaxExport: 100_000})
	for _, tt := range []struct {
		name, method, path, contentType, encoding string
		body                                      []byte
		status                                    int
		reason                                    string
	}{
		{"path", "POST", "/v1/profiles", pb, "", good, 404, ""},
		{"root", "GET", "/", "", "", nil, 404, ""},
		{"method", "GET", "/v1/logs", "", "", nil, 405, ""},
		{"method", "PUT", "/v1/logs", pb, "", good, 405, ""},
		{"content type", "POST", "/v1/logs", "text/plain", "", good, 415, "unsupported"},
		{"no content type", "POST", "/v1/logs", "", "", good, 415, "unsupported"},
		{"gRPC over HTTP/1", "POST", "/v1/logs", "application/grpc", "", good, 415, "unsupported"},
		{"content encoding", "POST", "/v1/logs", pb, "br", good, 415, "unsupported"},
		{"two content encodings", "POST", "/v1/logs", pb, "gzip, zstd", good, 415, "unsupported"},
		{"no protobuf", "POST", "/v1/logs", pb, "", []byte("hello"), 400, wrong},
		{"cut protobuf", "POST", "/v1/logs", pb, "", good[:len(good)-1], 400, wrong},
		{"no gzip", "POST", "/v1/logs", pb, gzipped, good, 400, wrong},
		{"no zlib", "POST", "/v1/logs", pb, deflated, good, 400, wrong},
		{"no zstd", "POST", "/v1/logs", pb, zstded, good, 400, wrong},
		{"empty gzip", "POST", "/v1/logs", pb, gzipped, nil, 400, "incomplete"},
		{"cut gzip", "POST", "/v1/logs", pb, gzipped, cut(compressed(t, gzipped, good)), 400, "incomplete"},
		{"cut zlib", "POST", "/v1/logs", pb, deflated, cut(compressed(t, deflated, good)), 400, "incomplete"},
		{"cut zstd", "POST", "/v1/logs", pb, zstded, cut(compressed(t, zstded, good)), 400, "incomplete"},
		{"large", "POST", "/v1/logs", pb, "", make([]byte, 100_001), 413, "too_large"},
		{"large, compressed", "POST", "/v1/logs", pb, gzipped, make([]byte, 10_001), 413, "too_large"},
		{"large, compressed", "POST", "/v1/logs", pb, zstded, make([]byte, 10_001), 413, "too_large"},
		{"gzip bomb", "POST", "/v1/logs", pb, gzipped, compressed(t, gzipped, bomb), 413, "too_large"},
		{"zlib bomb", "POST", "/v1/logs", pb, deflated, compressed(t, deflated, bomb), 413, "too_large"},
		{"zstd bomb", "POST", "/v1/logs", pb, zstded, compressed(t, zstded, bomb), 413, "too_large"},
		{"deep", "POST", "/v1/logs", pb, "", deep(1_000), 400, wrong},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := http.NewRequest(tt.method, s.url+tt.path, bytes.NewReader(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Content-Type", tt.contentType)
			if tt.encoding != "" {
				r.Header.Set("Content-Encoding", tt.encoding)
			}
			got := s.do(t, r)
			if got.status != tt.status {
				t.Errorf("status %d, want %d: %s", got.status, tt.status, got.body)
			}
			if tt.contentType == pb {
				judgeStatus(t, got)
			}
			want := map[string]int{}
			if tt.reason != "" {
				want[tt.reason] = 1
			}
			if diff := cmp.Diff(want, s.drops()); diff != "" {
				t.Errorf("dropped (-want +got):\n%s", diff)
			}
			if n := len(s.exports()); n != 0 {
				t.Errorf("%d exports were taken", n)
			}
		})
	}
}

func cut(b []byte) []byte { return b[:len(b)-6] }

// deep is a log record whose body is n arrays in each other.
func deep(n int) []byte {
	var b []byte
	for range n {
		b = appendText(nil, 1, string(b)) // ArrayValue.values
		b = appendText(nil, 5, string(b)) // AnyValue.array_value
	}
	for _, field := range []byte{5, 2, 2, 1} {
		b = appendText(nil, field, string(b))
	}
	return b
}

// judgeStatus wants a google.rpc.Status in protobuf.
func judgeStatus(t *testing.T, r reply) {
	t.Helper()
	var status spb.Status
	if err := proto.Unmarshal(r.body, &status); err != nil || status.Code == 0 || status.Message == "" ||
		r.header.Get("Content-Type") != protobufContentType {
		t.Errorf("body %q of %v: %v", r.body, r.header, err)
	}
}

func TestHTTPWhenTakeRefuses(t *testing.T) {
	s := newStage(t, Config{})
	good := marshal(t, someLogs(3))
	for _, tt := range []struct {
		answer error
		status int
		after  string
	}{
		{telemetry.ErrNoRoom, 429, "1"},
		{fmt.Errorf("wrapped: %w", telemetry.ErrNoRoom), 429, "1"},
		{telemetry.ErrOver, 503, ""},
		{errors.New("disk"), 503, ""},
		{nil, 200, ""},
	} {
		s.mu.Lock()
		s.answer = tt.answer
		s.mu.Unlock()
		r := s.post(t, "/v1/logs", bytes.NewReader(good), "Content-Type", protobufContentType)
		if r.status != tt.status || r.header.Get("Retry-After") != tt.after {
			t.Errorf("%v: %d, Retry-After %q, want %d and %q",
				tt.answer, r.status, r.header.Get("Retry-After"), tt.status, tt.after)
		}
		if tt.answer != nil {
			judgeStatus(t, r)
		}
	}
	if d := s.drops(); len(d) != 0 {
		t.Errorf("dropped %v: the sender still has it", d)
	}
	if got := s.exports(); len(got) != 1 {
		t.Errorf("taken %d exports, want the last one", len(got))
	}
}

// What is said in JSON is answered in JSON.
func TestHTTPErrorsInJSON(t *testing.T) {
	s := newStage(t, Config{})
	r := s.post(t, "/v1/logs", strings.NewReader("{\"resourceLogs\":[\xff"), "Content-Type",
		"Application/JSON; charset=utf-8")
	var status struct {
		Code    int
		Message string
	}
	if err := json.Unmarshal(r.body, &status); err != nil || r.status != 400 || status.Code != codeInvalidArgument ||
		status.Message == "" || r.header.Get("Content-Type") != jsonContentType {
		t.Errorf("answer %d %v %q: %v", r.status, r.header, r.body, err)
	}
}

// Records that are not valid are rejected one by one, the others are taken.
func TestHTTPPartialSuccess(t *testing.T) {
	s := newStage(t, Config{})
	request := someLogs(9)
	request.ResourceLogs = append(request.ResourceLogs, someLogs(2).ResourceLogs...)
	body := marshal(t, request)
	records := request.ResourceLogs[0].ScopeLogs[0].LogRecords
	breakAt := func(b []byte, i int) { // INFO is the severity text, a string
		at := 0
		for range i + 1 {
			at += bytes.Index(b[at:], []byte("INFO")) + 4
		}
		b[at-1] = 0xff
	}
	breakAt(body, 8)
	breakAt(body, 2)
	breakAt(body, 0)
	r := s.post(t, "/v1/logs", bytes.NewReader(body), "Content-Type", protobufContentType)
	var response collectorlogs.ExportLogsServiceResponse
	if err := proto.Unmarshal(r.body, &response); err != nil || r.status != 200 ||
		response.PartialSuccess.GetRejectedLogRecords() != 3 ||
		!strings.Contains(response.PartialSuccess.GetErrorMessage(), "UTF-8") {
		t.Errorf("answer %d %v, %v", r.status, &response, err)
	}
	got := s.exports()
	if len(got) != 1 || got[0].Records != 8 {
		t.Fatalf("taken %+v, want one export of 8 records", got)
	}
	request.ResourceLogs[0].ScopeLogs[0].LogRecords = append(records[1:2:2], records[3:8]...)
	same(t, request, got[0].Body)
	if d := s.drops(); d["malformed"] != 3 || len(d) != 1 {
		t.Errorf("dropped %v, want 3 malformed", d)
	}
}

// Where nothing valid is left the request is refused, whatever is around it.
func TestHTTPNothingLeft(t *testing.T) {
	s := newStage(t, Config{})
	body := bytes.Replace(marshal(t, someLogs(1)), []byte("INFO"), []byte("INF\xff"), 1)
	body = append(body, marshal(t, someLogs(0))...)
	r := s.post(t, "/v1/logs", bytes.NewReader(body), "Content-Type", protobufContentType)
	if r.status != 400 || len(s.exports()) != 0 {
		t.Errorf("status %d", r.status)
	}
	judgeStatus(t, r)
	if d := s.drops(); d["malformed"] != 1 {
		t.Errorf("dropped %v", d)
	}
}

// A payload that its sender has named is taken once, here or elsewhere.
func TestHTTPNamedPayloads(t *testing.T) {
	var mu sync.Mutex
	known := map[uint64]int{}
	s := newStage(t, Config{Once: func(id uint64, take func() error) error {
		mu.Lock()
		defer mu.Unlock()
		if known[id]++; known[id] > 1 {
			return nil
		}
		return take()
	}})
	for _, id := range []string{"00000000000000ff", "00000000000000ff", "0000000000000100", "no id", "no id"} {
		r := s.post(t, "/v1/logs", bytes.NewReader(marshal(t, someLogs(1))), "Content-Type", protobufContentType,
			"Slipstream-Id", id)
		if r.status != 200 {
			t.Errorf("%s: status %d", id, r.status)
		}
	}
	if n := len(s.exports()); n != 4 || known[0xff] != 2 || known[0x100] != 1 {
		t.Errorf("%d exports taken, asked about %v", n, known)
	}
}
