package https

import (
	"bytes"
	"compress/gzip"
	"context"
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

// endpoint takes every body.
func endpoint() *conformance.Recorder {
	return &conformance.Recorder{Answer: func(w http.ResponseWriter) { w.WriteHeader(http.StatusAccepted) }}
}

func TestConformance(t *testing.T) {
	conformance.Run(t, func(t *testing.T) conformance.Case {
		e := endpoint()
		server := httptest.NewServer(e)
		t.Cleanup(server.Close)
		return conformance.Case{
			New: func(t *testing.T, front string) destination.Destination {
				return dial(t, front+"/in/path-secret?token=bearer-secret&header.x-tenant=tenant-secret&query=key%3Dquery-secret")
			},
			Backend:   server.URL,
			Delivered: e.Batches,
			Permanent: []int{400, 401, 403, 404, 413},
			Secrets:   []string{"bearer-secret", "tenant-secret", "query-secret", "path-secret"},
		}
	})
}

func TestOneRequest(t *testing.T) {
	e := endpoint()
	server := httptest.NewServer(e)
	defer server.Close()
	c := dial(t, server.URL+"/a%2Fb/c?header.X-One=1&token=%20t0ken%0A&query=b%3D2%26a%3D%2541")
	var body bytes.Buffer
	w := gzip.NewWriter(&body)
	if _, err := w.Write([]byte("{}\n")); err != nil || w.Close() != nil {
		t.Fatal(err)
	}
	b := &destination.Batch{ID: "env-9", Body: body.Bytes(), ContentType: "application/x-ndjson", Encoding: "gzip"}
	if err := c.Send(context.Background(), b); err != nil {
		t.Fatal(err)
	}
	request := e.Requests()[0]
	for name, want := range map[string]string{
		"X-One": "1", "Authorization": "Bearer t0ken", "Content-Type": "application/x-ndjson", "Content-Encoding": "gzip",
		"Idempotency-Key": "env-9", "User-Agent": "slipstream",
	} {
		if got := request.Header.Get(name); got != want {
			t.Errorf("%s is %q, not %q", name, got, want)
		}
	}
	if request.URI != "/a%2Fb/c?b=2&a=%41" {
		t.Error(request.URI)
	}
	if !bytes.Equal(request.Body, body.Bytes()) {
		t.Error("other bytes arrived")
	}
}

func TestParse(t *testing.T) {
	for raw, want := range map[string][3]string{ // URL, Name, Authorization
		"https://h":               {"https://h/", "https://h", ""},
		"http://h:80/a?query=b=1": {"http://h:80/a?b=1", "http://h:80", ""},
		"https://u:p@h/x":         {"https://h/x", "https://h", "Basic dTpw"},
		"https://h/x?token=abc":   {"https://h/x", "https://h", "Bearer abc"},
	} {
		c, err := Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		got := [3]string{c.URL.String(), c.Name, http.Header(c.Header).Get("Authorization")}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s:\n%s", raw, diff)
		}
	}
	for raw, want := range map[string]string{
		"ftp://h":                           "scheme",
		"https://":                          "host is missing",
		"https://:443/x":                    "host is missing",
		"https://h:secret/x":                "no URL",
		"https://h/x#secret":                "%23",
		"https://h/secret?colour=secret":    "unknown option colour",
		"https://h?%zz=secret":              "malformed",
		"https://h?token=%20":               "token is empty",
		"https://h?token=secret%0Ax":        "option token: the value of header Authorization holds control characters",
		"https://u:secret@h?token=secret":   "token and another authorization",
		"https://h?token=a&header.a%20b=se": "no header's name",
		"https://h?query=secret%20b":        "query is not escaped",
	} {
		_, err := Parse(raw)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want %q in it", raw, err, want)
		}
	}
}

func TestAnswers(t *testing.T) {
	const page = "<!DOCTYPE html><title>Log in</title>"
	for _, tt := range []struct {
		status                  int
		contentType, body, want string // want "" for taken
		permanent               bool
		retryAfter              time.Duration
	}{
		{200, "text/html; charset=utf-8", "ok", "", false, 0}, // what Flask and PHP say
		{204, "", "", "", false, 0},
		{299, "text/plain", page, "", false, 0},
		{200, "text/html", " \n" + page, "web page", false, 0},
		{302, "", "", "give the address where it really is", false, 0},
		{400, "", "line 3\n is bad", "status 400: line 3 is bad", true, 0},
		{401, "", "no token-secret, no entry: /in/hidden", "no ***, no entry: ***", true, 0},
		{404, "text/html", page, "status 404 (check the URL's path", true, 0},
		{407, "", "", "HTTPS_PROXY", false, 0},
		{408, "", "", "status 408", false, 0},
		{413, "", "", "batch_bytes", true, 0},
		{415, "", "", "compression=none", true, 0},
		{418, "", "", "request is wrong", true, 0},
		{425, "", "", "status 425", false, 0},
		{429, "", "", "status 429", false, 7 * time.Second},
		{500, "", "", "status 500", false, 0},
		{599, "", "", "status 599", false, 0},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", tt.contentType)
			if tt.retryAfter > 0 {
				w.Header().Set("Retry-After", "7")
			}
			w.WriteHeader(tt.status)
			if tt.status != 204 {
				io.WriteString(w, tt.body)
			}
		}))
		err := dial(t, server.URL+"/in/hidden?token=token-secret").
			Send(context.Background(), &destination.Batch{ID: "env-1", Body: []byte("x")})
		server.Close()
		if tt.want == "" {
			if err != nil {
				t.Errorf("%+v: %v", tt, err)
			}
			continue
		}
		var e *destination.Error
		if !errors.As(err, &e) || !strings.Contains(err.Error(), tt.want) || e.Permanent != tt.permanent ||
			e.RetryAfter != tt.retryAfter || strings.Contains(err.Error(), "secret") {
			t.Errorf("%+v: %+v", tt, err)
		}
	}
}
