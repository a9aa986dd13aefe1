package prometheus

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipstream/destination"
	"slipstream/destination/conformance"
)

func dial(t *testing.T, rawURL string) *Client {
	t.Helper()
	c, err := Parse(rawURL)
	if err != nil {
		t.Fatal(err)
	}
	client := New(c)
	t.Cleanup(func() { client.Close() })
	return client
}

// recorder takes every body. What a real Prometheus makes of real batches is
// the test beside this one.
func recorder() *conformance.Recorder {
	return &conformance.Recorder{Path: "/api/v1/write", Answer: func(w http.ResponseWriter) {
		w.Header().Set(samplesHeader, "3")
		w.WriteHeader(http.StatusNoContent)
	}}
}

func TestConformance(t *testing.T) {
	conformance.Run(t, func(t *testing.T) conformance.Case {
		r := recorder()
		server := httptest.NewServer(r)
		t.Cleanup(server.Close)
		return conformance.Case{
			New: func(t *testing.T, front string) destination.Destination {
				return dial(t, "prometheus+"+front+"?token=bearer-secret&header.x-scope-orgid=tenant-secret")
			},
			Backend:   server.URL,
			Delivered: r.Bodies,
			Repeats:   true,
			Permanent: []int{400, 401, 403, 404, 413},
			Secrets:   []string{"bearer-secret", "tenant-secret"},
		}
	})
}

func TestOneRequest(t *testing.T) {
	r := recorder()
	server := httptest.NewServer(r)
	defer server.Close()
	b := &destination.Batch{ID: "env-9", Body: []byte("x"), Encoding: "snappy",
		ContentType: "application/x-protobuf;proto=io.prometheus.write.v2.Request"}
	if err := dial(t, "prometheus+"+server.URL+"?token=t0ken").Send(context.Background(), b); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"X-Prometheus-Remote-Write-Version": "2.0.0", "Content-Encoding": "snappy", "Content-Type": b.ContentType,
		"Authorization": "Bearer t0ken",
	} {
		if got := r.Requests()[0].Header.Get(name); got != want {
			t.Errorf("%s is %q, not %q", name, got, want)
		}
	}
}

func TestParse(t *testing.T) {
	for raw, want := range map[string]string{
		"prometheus+http://h:9090":                   "http://h:9090/api/v1/write",
		"prometheus+https://u:p@h/":                  "https://h/api/v1/write",
		"prometheus+https://h/api/v1/push?token=abc": "https://h/api/v1/push",
	} {
		if c, err := Parse(raw); err != nil || c.URL.String() != want {
			t.Errorf("%s: %v, %v", raw, c.URL, err)
		}
	}
	for raw, want := range map[string]string{
		"prometheus://h":                     "scheme",
		"prometheus+http://":                 "host is missing",
		"prometheus+http://h:secret":         "no URL",
		"prometheus+http://h?x=secret":       "unknown option x",
		"prometheus+http://h?token=%20":      "token is empty",
		"prometheus+http://h?%zz=secret":     "malformed",
		"prometheus+http://h?header.a=%0Ase": "control characters",
	} {
		_, err := Parse(raw)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want %q in it", raw, err, want)
		}
	}
}

func TestAnswers(t *testing.T) {
	for _, tt := range []struct {
		status        int
		written, body string
		want          string // "" for success
		rejected      int
		permanent     bool
	}{
		{204, "", "", "", 0, false},
		{204, "9", "", "", 0, false},
		{204, "0", "", "remote write 2.0?", 9, true},
		{400, "7", "out of order sample", "some samples are refused (out of order sample)", 2, true},
		{400, "0", "out of order sample", "out_of_order_time_window", 0, true},
		{404, "", "", "--web.enable-remote-write-receiver", 0, true},
		{415, "", "", "version 3", 0, true},
		{429, "", "", "status 429", 0, false},
		{503, "", "token-secret is wrong", "status 503: *** is wrong", 0, false},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if tt.written != "" {
				w.Header().Set(samplesHeader, tt.written)
				w.Header().Set(histogramsHeader, "0")
			}
			w.WriteHeader(tt.status)
			if tt.status != 204 {
				io.WriteString(w, tt.body)
			}
		}))
		err := dial(t, "prometheus+"+server.URL+"?token=token-secret").
			Send(context.Background(), &destination.Batch{ID: "env-1", Records: 9, Body: []byte("x")})
		server.Close()
		if tt.want == "" {
			if err != nil {
				t.Errorf("%+v: %v", tt, err)
			}
			continue
		}
		var p *destination.Partial
		if err == nil || !strings.Contains(err.Error(), tt.want) || destination.Permanent(err) != tt.permanent {
			t.Errorf("%+v: %v", tt, err)
			continue
		}
		if errors.As(err, &p); (p != nil) != (tt.rejected > 0) || p != nil && !cmp.Equal(p.Rejected, tt.rejected) {
			t.Errorf("%+v: %+v", tt, p)
		}
	}
}
