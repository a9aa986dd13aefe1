package otlp

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipstream/destination"
	"slipstream/destination/conformance"
	"slipstream/telemetry"
	"slipstream/test/servers"
	"slipstream/wire"
)

func dial(t *testing.T, rawURL string, env ...string) *Client {
	t.Helper()
	c, err := Parse(rawURL, "logs", conformance.Environment(env...))
	if err != nil {
		t.Fatal(err)
	}
	client := New(c)
	t.Cleanup(func() { client.Close() })
	return client
}

// recorder takes every body as a collector does that looks at nothing else.
func recorder() *conformance.Recorder {
	return &conformance.Recorder{Path: "/v1/logs", Answer: func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "application/x-protobuf")
	}}
}

// The suite's bodies are any bytes, so the backend here only records; what a
// real one makes of real batches is TestARealReceiverTakesEveryRecord.
func TestConformance(t *testing.T) {
	conformance.Run(t, func(t *testing.T) conformance.Case {
		r := recorder()
		server := httptest.NewServer(r)
		t.Cleanup(server.Close)
		return conformance.Case{
			New: func(t *testing.T, front string) destination.Destination {
				return dial(t, "otlp+"+front+"?header.x-tenant=tenant-secret",
					"OTEL_EXPORTER_OTLP_HEADERS=authorization=Bearer%20bearer-secret")
			},
			Backend:   server.URL,
			Delivered: r.Bodies,
			Repeats:   true,
			Permanent: []int{400, 413, 500},
			Secrets:   []string{"bearer-secret", "tenant-secret"},
		}
	})
}

func TestARealReceiverTakesEveryRecord(t *testing.T) {
	server := servers.StartOTLP(t)
	encoder := wire.OTLPLogs(&telemetry.Resource{FunctionName: "shop", EnvironmentID: "env"})
	var records []byte
	bodies := []string{`"plain\n"`, `{"level":"ERROR","message":"no","n":[1,2.5,null]}`, `"ünï"`, `not JSON`}
	for _, body := range bodies {
		records = encoder.AppendLog(records, &telemetry.Log{
			Time: time.Unix(1_790_000_000, 5), Type: "function", RequestID: "r1", Body: []byte(body)})
	}
	payload := append(encoder.AppendHead(nil, len(records)), records...)
	var compressed bytes.Buffer
	w := gzip.NewWriter(&compressed)
	if _, err := w.Write(payload); err != nil || w.Close() != nil {
		t.Fatal(err)
	}
	c := dial(t, "otlp+"+server.Endpoint)
	for encoding, body := range map[string][]byte{"": payload, "gzip": compressed.Bytes()} {
		b := &destination.Batch{ID: "env-1", Records: len(bodies), Body: body, ContentType: encoder.ContentType(),
			Encoding: encoding}
		if err := c.Send(context.Background(), b); err != nil {
			t.Fatalf("encoding %q: %v", encoding, err)
		}
	}
	bad := &destination.Batch{ID: "env-2", Body: []byte("\xff\xff"), ContentType: encoder.ContentType()}
	if err := c.Send(context.Background(), bad); !destination.Permanent(err) {
		t.Errorf("broken protobuf: %v", err)
	} else {
		t.Log(err)
	}
	received := server.Received(t)
	if len(received) != 2 || !bytes.Equal(received[0], received[1]) {
		t.Fatalf("received %d payloads: %s", len(received), received)
	}
	var got struct {
		ResourceLogs []struct {
			ScopeLogs []struct {
				LogRecords []struct{ Body, SeverityText any }
			}
		}
	}
	if err := json.Unmarshal(received[0], &got); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(got.ResourceLogs[0].ScopeLogs[0].LogRecords)
	if err != nil {
		t.Fatal(err)
	}
	const want = `[{"Body":{"stringValue":"plain"},"SeverityText":null},` +
		`{"Body":{"kvlistValue":{"values":[{"key":"level","value":{"stringValue":"ERROR"}},` +
		`{"key":"message","value":{"stringValue":"no"}},{"key":"n","value":{"arrayValue":{"values":` +
		`[{"intValue":"1"},{"doubleValue":2.5},{}]}}}]}},"SeverityText":"ERROR"},` +
		`{"Body":{"stringValue":"ünï"},"SeverityText":null},{"Body":{"stringValue":"not JSON"},"SeverityText":null}]`
	if diff := cmp.Diff(want, string(text)); diff != "" {
		t.Error(diff)
	}
}

func TestOneRequest(t *testing.T) {
	r := recorder()
	server := httptest.NewServer(r)
	defer server.Close()
	address := strings.Replace(server.URL, "http://", "otlp+http://me:mine@", 1) + "/?header.x-one=query"
	c := dial(t, address, "OTEL_EXPORTER_OTLP_HEADERS=x-one=general, x-two = a%2Cb%20c ,,x-three=3=3",
		"OTEL_EXPORTER_OTLP_LOGS_HEADERS=x-three=logs")
	b := &destination.Batch{ID: "env-9", Body: []byte("x"), ContentType: "application/x-protobuf", Encoding: "zstd"}
	if err := c.Send(context.Background(), b); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"X-One": "query", "X-Two": "a,b c", "X-Three": "logs", "Authorization": "Basic bWU6bWluZQ==",
		"Content-Type": "application/x-protobuf", "Content-Encoding": "zstd", "Idempotency-Key": "env-9",
		"User-Agent": "slipstream",
	} {
		if got := r.Requests()[0].Header.Get(name); got != want {
			t.Errorf("%s is %q, not %q", name, got, want)
		}
	}
}

func TestParse(t *testing.T) {
	for url, want := range map[string]string{
		"otlp+http://h:4318":       "http://h:4318/v1/logs",
		"otlp+https://h/":          "https://h/v1/logs",
		"otlp+https://h/otlp/a%20": "https://h/otlp/a%20",
		"otlp+https://u:p@h":       "https://h/v1/logs",
	} {
		c, err := Parse(url, "logs", conformance.Environment())
		if err != nil || c.URL.String() != want {
			t.Errorf("%s: %v, %v", url, c.URL, err)
		}
	}
	for url, want := range map[string]string{
		"otlp+http://h:4318":            "http://h:4318/v1/traces",
		"otlp+https://h/v1/logs":        "https://h/v1/traces",
		"otlp+https://h/tenant/v1/logs": "https://h/tenant/v1/traces",
		"otlp+https://h/otlp/":          "https://h/otlp/v1/traces",
	} {
		c, err := Parse(url, "traces", conformance.Environment("OTEL_EXPORTER_OTLP_TRACES_HEADERS=a=b"))
		if err != nil || c.URL.String() != want || len(c.Header) != 1 {
			t.Errorf("%s: %v, %v, %v", url, c.URL, c.Header, err)
		}
	}
	for _, tt := range []struct{ url, headers, want string }{
		{"otlp://h", "", "scheme"},
		{"otlp+grpc://h", "", "scheme"},
		{"otlp+http://", "", "host is missing"},
		{"otlp+http://:4318", "", "host is missing"},
		{"otlp+http://u:secret@h:port", "", "invalid port"},
		{"otlp+http://h?token=secret", "", "unknown option token"},
		{"otlp+http://h?header.a%20b=secret", "", "no header's name"},
		{"otlp+http://h?header.a=%0Asecret", "", "header a holds control characters"},
		{"otlp+http://h?%zz=secret", "", "malformed"},
		{"otlp+http://h", "a=1,secret", "OTEL_EXPORTER_OTLP_HEADERS: entry 2"},
		{"otlp+http://h", "a=secret%zz", "entry 1"},
		{"otlp+http://h", "=secret", "entry 1: that is no header's name"},
	} {
		_, err := Parse(tt.url, "logs", conformance.Environment("OTEL_EXPORTER_OTLP_HEADERS="+tt.headers))
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want %q in it", tt.url, err, tt.want)
		}
	}
}

func TestAnswers(t *testing.T) {
	const protobuf, jsonType = "application/x-protobuf", "application/json; charset=utf-8"
	for _, tt := range []struct {
		status                  int
		contentType, body, want string // want "" for success
		rejected                int
	}{
		{200, protobuf, "", "", 0},
		{200, protobuf, "\x0a\x05\x12\x03hey", "", 0}, // a warning, nothing rejected
		{200, protobuf, "\x0a\x09\x08\x03\x12\x05stale", "rejected 3 of its records: stale", 3},
		{200, protobuf, "\x0a\x03\x08\xe8\x07", "rejected 9 of its records", 9}, // says 1,000, there are 9
		{200, protobuf, "\xff\xff\xff garbage", "", 0},
		{200, jsonType, `{"partialSuccess":{"rejectedLogRecords":"4","errorMessage":"bearer-secret\n is stale"}}`,
			"rejected 4 of its records: *** is stale", 4},
		{200, jsonType, `{"partialSuccess":{"rejectedLogRecords":2}}`, "rejected 2", 2},
		{200, jsonType, `{"partialSuccess":{}}`, "", 0},
		{200, jsonType, `{"partialSuccess":`, "", 0},
		{202, "text/plain", "ok", "", 0},
		{400, protobuf, "\x08\x03\x12\x03bad", "status 400: bad", 0},
		{400, jsonType, `{"code":3,"message":"bad"}`, `"message":"bad"`, 0},
		{503, "text/html", "<html>", "status 503", 0},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", tt.contentType)
			w.WriteHeader(tt.status)
			io.WriteString(w, tt.body)
		}))
		c := dial(t, "otlp+"+server.URL+"?header.authorization=Bearer+bearer-secret")
		err := c.Send(context.Background(), &destination.Batch{ID: "env-1", Records: 9, Body: []byte("x")})
		server.Close()
		if tt.want == "" {
			if err != nil {
				t.Errorf("%+v: %v", tt, err)
			}
			continue
		}
		var p *destination.Partial
		if err == nil || !strings.Contains(err.Error(), tt.want) || errors.As(err, &p) != (tt.rejected > 0) ||
			p != nil && p.Rejected != tt.rejected {
			t.Errorf("%+v: %v", tt, err)
		}
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add("application/x-protobuf", []byte("\x0a\x09\x08\x03\x12\x05stale"))
	f.Add("application/json", []byte(`{"partialSuccess":{"rejectedLogRecords":"4","errorMessage":"x"}}`))
	f.Fuzz(func(t *testing.T, contentType string, body []byte) {
		resp := &destination.Response{Header: http.Header{"Content-Type": {contentType}}, Body: body}
		partialSuccess(resp)
		errorMessage(resp)
	})
}
