package destination

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestPermanent(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{errors.New("x"), false},
		{&Error{Err: errors.New("x")}, false},
		{fmt.Errorf("send: %w", &Error{Permanent: true, Err: errors.New("x")}), true},
		{fmt.Errorf("send: %w", &Partial{Rejected: 1}), true}, // done: to send it again would double the rest
	} {
		if got := Permanent(tt.err); got != tt.want {
			t.Errorf("%v: %v", tt.err, got)
		}
	}
}

func TestErrorsAreOneLine(t *testing.T) {
	e := &Error{Op: "put object", Target: "s3://logs", Err: errors.New("status 403"), Hint: "check the role"}
	if want := "put object to s3://logs: status 403 (check the role)"; e.Error() != want {
		t.Error(e)
	}
	p := &Partial{Target: "otlp+http://h", Rejected: 2, Message: "too old"}
	if want := "otlp+http://h took the batch but rejected 2 of its records: too old"; p.Error() != want {
		t.Error(p)
	}
}

func TestBackoff(t *testing.T) {
	most := Backoff{Rand: func() float64 { return 1 }}
	half := Backoff{Base: time.Second, Max: 5 * time.Second, MaxAsked: 7 * time.Second, Rand: func() float64 { return .5 }}
	for _, tt := range []struct {
		b        Backoff
		failures int
		asked    time.Duration
		want     time.Duration
	}{
		{most, 1, 0, 100 * time.Millisecond},
		{most, 2, 0, 200 * time.Millisecond},
		{most, 7, 0, 6400 * time.Millisecond},
		{most, 8, 0, 10 * time.Second},
		{most, 1_000_000_000, 0, 10 * time.Second},
		{most, 0, 0, 100 * time.Millisecond},
		{most, 1, 3 * time.Second, 3 * time.Second},
		{most, 1, time.Hour, time.Minute},
		{most, 1, -time.Hour, 100 * time.Millisecond},
		{half, 1, 0, 500 * time.Millisecond},
		{half, 9, 0, 2500 * time.Millisecond},
		{half, 9, time.Second, 2500 * time.Millisecond},
		{half, 9, time.Hour, 7 * time.Second},
	} {
		if got := tt.b.After(tt.failures, tt.asked); got != tt.want {
			t.Errorf("after %d failures, asked for %v: %v, not %v", tt.failures, tt.asked, got, tt.want)
		}
	}
	for range 1000 {
		if got := (Backoff{}).After(3, 0); got < 0 || got >= 400*time.Millisecond {
			t.Fatalf("jitter out of range: %v", got)
		}
	}
}

func TestLayout(t *testing.T) {
	b := &Batch{
		ID: "env-12", Environment: "0d4e3a52-5a1f-4d7c-9d5e-3f6f9e6c1c11",
		Opened: time.Date(2026, 9, 30, 23, 30, 0, 5_000_000, time.FixedZone("", -3600)),
		Sealed: time.Date(2026, 10, 1, 1, 0, 1, 0, time.FixedZone("", 3600)),
	}
	for _, tt := range []struct {
		layout   Layout
		encoding string
		want     string
	}{
		{Layout{Function: "Shop", Extension: ".ndjson"}, "gzip", "year=2026/month=10/day=01/hour=00/Shop-env-12.ndjson.gz"},
		{Layout{Style: "native", Function: "s", Extension: ".otlp.pb"}, "zstd",
			"year=2026/month=10/day=01/hour=00/s-env-12.otlp.pb.zst"},
		{Layout{Function: "../../etc/x y", Extension: ".ndjson"}, "",
			"year=2026/month=10/day=01/hour=00/.._.._etc_x_y-env-12.ndjson"},
		{Layout{}, "br/../", "year=2026/month=10/day=01/hour=00/unknown-env-12.br_.._"},
		{Layout{Style: "sample", Function: "Shop", Extension: ".ndjson"}, "",
			"2026-10-01-0d4e3a52-5a1f-4d7c-9d5e-3f6f9e6c1c11/shop-1790814600005-3b4dc285-5769-89da-b4d0-bb78915b8398.log"},
	} {
		b.Encoding = tt.encoding
		if diff := cmp.Diff(tt.want, tt.layout.Key(b)); diff != "" {
			t.Error(diff)
		}
	}
	other := *b
	other.ID = "env-13"
	sample := Layout{Style: "sample", Function: "shop"}
	if sample.Key(b) == sample.Key(&other) {
		t.Error("two batches have the same key")
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 10, 1, 9, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, " 7 ": 7 * time.Second, "-7": 0, "soon": 0, "1.5": 0,
		"99999999999999999999": 0, "999999999999": 24 * time.Hour,
		"Thu, 01 Oct 2026 09:00:30 GMT": 30 * time.Second, "Thu, 01 Oct 2026 08:00:00 GMT": 0,
		"Fri, 01 Oct 2066 08:00:00 GMT": 24 * time.Hour,
	} {
		r := &Response{Header: http.Header{"Retry-After": {text}}}
		if got := r.RetryAfter(now); got != want {
			t.Errorf("%q: %v, not %v", text, got, want)
		}
	}
}

func TestExcerpt(t *testing.T) {
	for in, want := range map[string]string{
		"":                          "",
		" two\r\n lines\x00\u202e ": "two lines",
		"my-secret is my-secret":    "*** is ***",
		"a my-secret-longer":        "a ***", // the part must not hide the whole
		"\xff broken \xc3":          "broken",
		strings.Repeat("é", 200):    strings.Repeat("é", 150) + "…",
	} {
		if got := Excerpt(in, "", "my-secret", "my-secret-longer"); got != want {
			t.Errorf("%q became %q", in, got)
		}
	}
}

// Of a header, what an endpoint may tell back is secret in each of its forms.
func TestHeaderSecrets(t *testing.T) {
	h := Headers{}
	h.SetUser(url.UserPassword("the-user", "pass:word"))
	if err := h.Set("X-Key", "Token abc-def"); err != nil {
		t.Fatal(err)
	}
	got := h.Secrets()
	slices.Sort(got)
	basic := "dGhlLXVzZXI6cGFzczp3b3Jk"
	want := []string{"Basic " + basic, "Token abc-def", "abc-def", basic, "pass:word", "the-user"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// What a message shows of the URL is no secret; a path, a host and a query's
// values that it does not are.
func TestSecretsAt(t *testing.T) {
	u, err := url.Parse("https://host.example/a%2Fb?id=the-id&n=1")
	if err != nil {
		t.Fatal(err)
	}
	got := Headers{}.SecretsAt(u, "https://host.example")
	slices.Sort(got)
	if want := []string{"/a%2Fb", "/a%2Fb?id=the-id&n=1", "/a/b", "id=the-id&n=1", "the-id"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	u.RawQuery = ""
	if got := (Headers{}).SecretsAt(u, "x/a%2Fb"); !slices.Equal(got, []string{"/a/b", "host.example"}) {
		t.Errorf("%q", got)
	}
}

func TestOption(t *testing.T) {
	h := Headers{}
	for _, tt := range []struct {
		name, value string
		known       bool
		want        string // in the error
	}{
		{"header.X-A", "1", true, ""}, {"token", " t ", true, ""}, {"x", "1", false, ""}, {"tokens", "1", false, ""},
		{"token", " ", true, "token is empty"}, {"header.a b", "s3cret", true, "no header's name"},
		{"header.a", "s3cret\n", true, "control characters"},
	} {
		known, err := h.Option(tt.name, tt.value)
		if known != tt.known || (err != nil) != (tt.want != "") || err != nil && (!strings.Contains(err.Error(), tt.want) ||
			strings.Contains(err.Error(), "s3cret")) {
			t.Errorf("%+v: %v %v", tt, known, err)
		}
	}
	if len(h) != 2 || h["X-A"][0] != "1" || h["Authorization"][0] != "Bearer t" {
		t.Errorf("%v", h)
	}
}

func TestHTTPClient(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/moved":
			http.Redirect(w, r, "/", http.StatusFound)
		case "/cut":
			w.Header().Set("Content-Length", "100")
			w.Write([]byte("short"))
		case "/large":
			w.Write(make([]byte, 1<<20))
		}
	}))
	defer server.Close()
	c := NewHTTPClient()
	get := func(path string) (*Response, error) {
		r, err := http.NewRequest(http.MethodGet, server.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		return c.Do(context.Background(), r)
	}
	for path, want := range map[string]struct{ status, size int }{
		"/moved": {302, 24}, "/cut": {200, 5}, "/large": {200, 64 << 10}, "/": {200, 0},
	} {
		resp, err := get(path)
		if err != nil || resp.Status != want.status || len(resp.Body) != want.size {
			t.Errorf("%s: %+v, %v", path, resp, err)
		}
	}
	c.Close()
	if _, err := get("/"); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// The platform's credentials never go through a proxy. net/http reads the
// proxies once a process, so a process of its own asks.
func TestProxyIsNotForLinkLocalAddresses(t *testing.T) {
	if os.Getenv("HTTP_PROXY") != "http://proxy.example:1" {
		cmd := exec.Command(os.Args[0], "-test.run", "^"+t.Name()+"$")
		cmd.Env = append(os.Environ(), "HTTP_PROXY=http://proxy.example:1", "NO_PROXY=", "no_proxy=")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	for url, want := range map[string]bool{"http://169.254.100.1:9001/x": false, "http://example.com/": true} {
		r := httptest.NewRequest(http.MethodGet, url, nil)
		if got, err := proxy(r); err != nil || (got != nil) != want {
			t.Errorf("%s: %v, %v", url, got, err)
		}
	}
}

// Whether another try helps is the status's matter, what the user may do the
// endpoint's kind; no secret is told.
func TestRefused(t *testing.T) {
	advice := Advice{Credential: "key", Path: "path", Size: "size", Media: "media", Request: "request", Place: "place",
		Passing: []int{http.StatusNotAcceptable}}
	for status, want := range map[int]string{
		200: "place", 302: "redirects", 400: "! request", 401: "! key", 403: "! key", 404: "! path", 405: "! path",
		406: "", 407: "HTTPS_PROXY", 408: "", 410: "! path", 413: "! size", 415: "! media", 422: "! request", 425: "",
		429: "", 500: "", 503: "",
	} {
		r := Response{Status: status, Header: http.Header{"Retry-After": {"7"}}, Body: []byte("no s3cret here")}
		e := r.Refused("post", "h", &advice, []string{"s3cret"})
		hint, permanent := strings.CutPrefix(want, "! ")
		if e.Permanent != permanent || !strings.Contains(e.Hint, hint) || hint == "" && e.Hint != "" ||
			e.Status != status || e.RetryAfter != 7*time.Second {
			t.Errorf("%d: %+v, want %q", status, e, want)
		}
		if want := fmt.Sprintf("status %d: no *** here", status); e.Err.Error() != want {
			t.Errorf("%q, want %q", e.Err, want)
		}
	}
	r := Response{Status: 415, Body: []byte("what was sent")}
	if e := r.Refused("post", "h", &Advice{Request: "request", Quiet: true}, nil); e.Hint != "request" ||
		e.Err.Error() != "status 415" {
		t.Errorf("%+v", e)
	}
	r = Response{Status: 200, Header: http.Header{"Content-Type": {"text/html"}}, Body: []byte("<html>log in")}
	if e := r.Refused("post", "h", &advice, nil); e.Err.Error() != "status 200" {
		t.Errorf("a page: %v", e)
	}
}
