package forward

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"slipstream/destination"
	"slipstream/destination/conformance"
	"slipstream/test/servers"
	"slipstream/wire/forwarded"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// collector is a vendor's: it keeps every request, and knows a resend by its
// Idempotency-Key.
type collector struct {
	mu       sync.Mutex
	requests map[string]seen
	order    []string // keys as they came, resends too
	answer   func(key string) int
}

type seen struct {
	Method, URI, Host string
	Header            http.Header
	Body              string
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	key := r.Header.Get("Idempotency-Key")
	c.order = append(c.order, key)
	if c.answer != nil {
		if status := c.answer(key); status != 0 {
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(status)
			fmt.Fprint(w, r.Header, r.URL, string(body))
			return
		}
	}
	if c.requests == nil {
		c.requests = map[string]seen{}
	}
	c.requests[key] = seen{r.Method, r.RequestURI, r.Host, r.Header, string(body)}
	w.WriteHeader(http.StatusAccepted)
}

func startCollector(t testing.TB) (*collector, *httptest.Server) {
	t.Helper()
	c := &collector{}
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	return c, server
}

func dial(t testing.TB, targets ...string) *Client {
	t.Helper()
	var c Config
	for _, target := range targets {
		u, err := url.Parse(target)
		if err != nil {
			t.Fatal(err)
		}
		c.Targets = append(c.Targets, u)
	}
	client := New(c)
	t.Cleanup(func() { client.Close() })
	return client
}

// framed makes each batch of the suite one request.
type framed struct{ *Client }

func (f framed) Send(ctx context.Context, b *destination.Batch) error {
	whole := *b
	whole.Records, whole.Encoding = 1, ""
	whole.Body = forwarded.Append(nil, &forwarded.Request{
		Method: http.MethodPost, Target: "/path-secret?key=query-secret", Body: b.Body,
		Header: []forwarded.Field{{Name: "Authorization", Value: "Bearer header-secret"}},
	})
	return f.Client.Send(ctx, &whole)
}

func TestConformance(t *testing.T) {
	conformance.Run(t, func(t *testing.T) conformance.Case {
		c, server := startCollector(t)
		return conformance.Case{
			New: func(t *testing.T, front string) destination.Destination {
				return framed{dial(t, front+"/base-secret?own-secret")}
			},
			Backend: server.URL,
			Delivered: func(*testing.T) (bodies [][]byte) {
				c.mu.Lock()
				defer c.mu.Unlock()
				for _, r := range c.requests {
					bodies = append(bodies, []byte(r.Body))
				}
				return bodies
			},
			Permanent: []int{400, 401, 403, 404, 413},
			Secrets:   []string{"header-secret", "query-secret", "path-secret", "base-secret", "own-secret"},
		}
	})
}

// batch frames some requests.
func batch(id string, requests ...forwarded.Request) *destination.Batch {
	b := &destination.Batch{ID: id, Records: len(requests)}
	for i := range requests {
		b.Body = forwarded.Append(b.Body, &requests[i])
	}
	return b
}

func post(body string) forwarded.Request {
	return forwarded.Request{Method: http.MethodPost, Target: "/secret?secret",
		Header: []forwarded.Field{{Name: "X-Secret", Value: "secret"}}, Body: []byte(body)}
}

func TestRequestsAsTheyCame(t *testing.T) {
	c, server := startCollector(t)
	_, other := startCollector(t)
	client := dial(t, other.URL, server.URL+"/base%2F?own=1")
	gzipped := "\x1f\x8b\x00\xff"
	b := batch("env-9", forwarded.Request{
		Route: 1, Method: "PUT", Target: "/a%2Fb//c?x=%41&x=|", Body: []byte(gzipped),
		Header: []forwarded.Field{{Name: "Authorization", Value: "ApiKey 7"}, {Name: "Content-Encoding", Value: "gzip"},
			{Name: "User-Agent", Value: "agent/1"}, {Name: "X-Two", Value: "b"}, {Name: "X-Two", Value: "a"}},
	}, forwarded.Request{
		Route: 1, Method: "POST", Header: []forwarded.Field{{Name: "Idempotency-Key", Value: "the agent's"}},
	}, forwarded.Request{
		Route: 1, Method: "PATCH", Target: "?", Body: []byte("x"),
	})
	if err := client.Send(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	host := strings.TrimPrefix(server.URL, "http://")
	want := map[string]seen{
		"env-9": {"PUT", "/base%2F/a%2Fb//c?own=1&x=%41&x=|", host, http.Header{
			"Authorization": {"ApiKey 7"}, "Content-Encoding": {"gzip"}, "User-Agent": {"agent/1"}, "X-Two": {"b", "a"},
			"Idempotency-Key": {"env-9"}, "Content-Length": {"4"}}, gzipped},
		"the agent's": {"POST", "/base%2F?own=1", host, http.Header{
			"Idempotency-Key": {"the agent's"}, "Content-Length": {"0"}}, ""},
		"env-9.3": {"PATCH", "/base%2F?own=1", host, http.Header{
			"Idempotency-Key": {"env-9.3"}, "Content-Length": {"1"}}, "x"},
	}
	if diff := cmp.Diff(want, c.requests); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"env-9", "the agent's", "env-9.3"}, c.order); diff != "" {
		t.Error(diff)
	}
}

func TestJoin(t *testing.T) {
	for _, tt := range []struct{ target, rest, want string }{
		{"http://h", "", "/"},
		{"http://h", "?", "/?"},
		{"http://h/", "/", "/"},
		{"http://h", "//x", "//x"},
		{"http://h/a/", "", "/a/"},
		{"http://h/a/", "/", "/a/"},
		{"http://h/a", "/", "/a/"},
		{"http://h/a/", "/b", "/a/b"},
		{"http://h/a", "?q", "/a?q"},
		{"http://h/a?o", "?q", "/a?o&q"},
		{"http://h?o", "/b", "/b?o"},
		{"http://h", "/|\xff%zz#?<>", "/|\xff%zz#?<>"},
	} {
		u, err := url.Parse(tt.target)
		if err != nil {
			t.Fatal(err)
		}
		if got := join(u, tt.rest); got != tt.want {
			t.Errorf("%s and %s: %s, want %s", tt.target, tt.rest, got, tt.want)
		}
	}
}

// Agents write what should be escaped; collectors get it as it was.
func TestPathsAsTheyCame(t *testing.T) {
	c, server := startCollector(t)
	client := dial(t, server.URL)
	for target, want := range map[string]string{
		"/a|b^c?d|e": "/a|b^c?d|e", "/\xff\"<>": "/\xff\"<>", "/a#b": "/a#b", "//a/b": "//a/b",
		"//a|b": "//a%7Cb", // the exception: the same path, escaped
	} {
		if err := client.Send(t.Context(), batch("e-1", forwarded.Request{Method: "POST", Target: target})); err != nil {
			t.Errorf("%s: %v", target, err)
		}
		if got := c.requests["e-1"].URI; got != want {
			t.Errorf("%s: arrived as %s, want %s", target, got, want)
		}
	}
}

// A port where something says back what it hears gives no secret to a message.
func TestEcho(t *testing.T) {
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		conn, err := socket.Accept()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = io.Copy(conn, conn)
	})
	client := dial(t, "http://"+socket.Addr().String()+"/secret")
	err = client.Send(t.Context(), batch("e-1", post("secret")))
	if err == nil || destination.Permanent(err) || strings.Contains(err.Error(), "secret") ||
		!strings.Contains(err.Error(), "not HTTP") {
		t.Error(err)
	}
	socket.Close()
	serving.Wait()
}

// A batch goes on where it failed; what is rejected on the way is counted once.
func TestProgress(t *testing.T) {
	c, server := startCollector(t)
	status := map[string]int{"e-1.2": 400, "e-1.3": 503}
	c.answer = func(key string) int { return status[key] }
	client := dial(t, server.URL)
	b := batch("e-1", post("1"), post("2"), post("3"), post("4"))
	for range 2 {
		var e *destination.Error
		if err := client.Send(t.Context(), b); !errors.As(err, &e) || e.Permanent || e.Status != 503 ||
			e.RetryAfter != 7*time.Second || strings.Contains(err.Error(), "secret") {
			t.Fatalf("want a passing 503: %v", err)
		}
	}
	delete(status, "e-1.3")
	var p *destination.Partial
	err := client.Send(t.Context(), b)
	if !errors.As(err, &p) || p.Rejected != 1 || strings.Contains(err.Error(), "secret") {
		t.Fatalf("want one rejected: %v", err)
	}
	if diff := cmp.Diff([]string{"e-1", "e-1.2", "e-1.3", "e-1.3", "e-1.3", "e-1.4"}, c.order); diff != "" {
		t.Error(diff)
	}
	if len(client.progress) > 0 {
		t.Errorf("a batch that is done is remembered: %+v", client.progress)
	}
	// A process that knows nothing of it begins again, under the same keys.
	c.order, status["e-1.2"] = nil, 0
	if err := dial(t, server.URL).Send(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"e-1", "e-1.2", "e-1.3", "e-1.4"}, c.order); diff != "" {
		t.Error(diff)
	}
}

func TestProgressIsBounded(t *testing.T) {
	c, server := startCollector(t)
	c.answer = func(key string) int { return map[bool]int{true: 500}[strings.HasSuffix(key, ".2")] }
	client := dial(t, server.URL)
	const batches = maxProgress + 10
	for i := range batches {
		if err := client.Send(t.Context(), batch(fmt.Sprint(i), post("1"), post("2"))); err == nil {
			t.Fatal("taken")
		}
	}
	if len(client.progress) != maxProgress {
		t.Errorf("%d batches are remembered, want %d", len(client.progress), maxProgress)
	}
	c.answer = nil
	c.order = nil
	for _, i := range []int{0, batches - 1} {
		if err := client.Send(t.Context(), batch(fmt.Sprint(i), post("1"), post("2"))); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{"0", "0.2", fmt.Sprint(batches-1, ".2")}, c.order); diff != "" {
		t.Errorf("the oldest is forgotten, the latest is not: %s", diff)
	}
}

func TestAnswers(t *testing.T) {
	for _, tt := range []struct {
		status    int
		permanent bool
		hint      string
	}{
		{302, false, "redirects"}, {304, false, "redirects"}, {400, true, "wrong"}, {401, true, "credential"},
		{403, true, "credential"}, {404, true, "nothing there"}, {407, false, "HTTPS_PROXY"}, {408, false, ""},
		{413, true, "large"}, {422, true, "wrong"}, {425, false, ""}, {429, false, ""}, {500, false, ""}, {599, false, ""},
	} {
		c, server := startCollector(t)
		c.answer = func(string) int { return tt.status }
		err := dial(t, server.URL).Send(t.Context(), batch("e-1", post("secret")))
		var e *destination.Error
		if !errors.As(err, &e) || e.Permanent != tt.permanent || e.Status != tt.status ||
			!strings.Contains(e.Hint, tt.hint) || e.RetryAfter != 7*time.Second || strings.Contains(err.Error(), "secret") {
			t.Errorf("%d: %+v", tt.status, err)
		}
	}
}

func TestBatchesThatAreNone(t *testing.T) {
	c, server := startCollector(t)
	cut := batch("cut", post("1"), post("2"), post("3"))
	cut.Body = cut.Body[:len(cut.Body)-1]
	damaged := batch("damaged", post("1"), post("2"), post("3"))
	damaged.Body[len(damaged.Body)/3] ^= 0xff
	encoded := batch("encoded", post("1"))
	encoded.Encoding = "gzip"
	nowhere := post("1")
	nowhere.Route = 1
	unserved := post("1")
	unserved.Route = 2
	client := New(Config{Targets: []*url.URL{dial(t, server.URL).targets[0], nil}})
	defer client.Close()
	for _, tt := range []struct {
		b         *destination.Batch
		permanent bool
		rejected  int
	}{
		{batch("empty"), false, 0},
		{cut, false, 1},
		{damaged, false, 2},
		{encoded, true, 0},
		{&destination.Batch{ID: "garbage", Body: []byte("secret")}, true, 0},
		{batch("nowhere", nowhere), true, 0},
		{batch("unserved", unserved, post("1")), false, 1},
	} {
		err := client.Send(t.Context(), tt.b)
		var e *destination.Error
		var p *destination.Partial
		switch {
		case tt.permanent && (!errors.As(err, &e) || !e.Permanent),
			tt.rejected > 0 && (!errors.As(err, &p) || p.Rejected != tt.rejected),
			!tt.permanent && tt.rejected == 0 && err != nil,
			err != nil && strings.Contains(err.Error(), "secret"):
			t.Errorf("%s: %v", tt.b.ID, err)
		}
	}
	if diff := cmp.Diff([]string{"cut", "cut.2", "damaged", "unserved.2"}, c.order); diff != "" {
		t.Error(diff)
	}
}

// A network that resets, stalls, forgets answers and cuts them: in the end each
// request is there as it was, and no answered one was sent again.
func TestThroughTrouble(t *testing.T) {
	c, server := startCollector(t)
	proxy := servers.StartProxy(t, server.URL)
	troubles := []servers.Trouble{{Reset: true}, {}, {Hang: true}, {Status: 429, RetryAfter: 1}, {Forget: true}, {},
		{Truncate: true}, {Status: 502}}
	proxy.Make(func(request int) servers.Trouble {
		if request < 4*len(troubles) {
			return troubles[request%len(troubles)]
		}
		return servers.Trouble{}
	})
	client := dial(t, proxy.Endpoint+"/in")
	var requests []forwarded.Request
	for i := range 12 {
		requests = append(requests, post(strings.Repeat(fmt.Sprint(i, " "), 1+i*5000)))
	}
	b := batch("env-1", requests...)
	for tries := 0; ; tries++ {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		err := client.Send(ctx, b)
		cancel()
		if err == nil {
			break
		}
		if destination.Permanent(err) || tries > 500 {
			t.Fatalf("after %d tries: %v", tries, err)
		}
	}
	if len(c.requests) != len(requests) {
		t.Errorf("%d requests arrived", len(c.requests))
	}
	for i, r := range requests {
		if got := c.requests[key("env-1", i)]; got.Body != string(r.Body) || got.URI != "/in/secret?secret" {
			t.Errorf("request %d: %s with %d bytes", i, got.URI, len(got.Body))
		}
	}
	last := -1 // each key's resends come at once, before the next key
	for i, k := range c.order {
		n := slices.IndexFunc(requests, func(r forwarded.Request) bool { return c.requests[k].Body == string(r.Body) })
		if n != last && n != last+1 {
			t.Errorf("the order is broken at %d: %v", i, c.order)
		}
		last = n
	}
}

// Redirects are not followed: the credential would go with them.
func TestRedirectIsNotFollowed(t *testing.T) {
	elsewhere, other := startCollector(t)
	server := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusPermanentRedirect))
	defer server.Close()
	err := dial(t, server.URL).Send(t.Context(), batch("e-1", post("secret")))
	if err == nil || destination.Permanent(err) || strings.Contains(err.Error(), "secret") {
		t.Errorf("want a passing fault: %v", err)
	}
	if len(elsewhere.order) > 0 {
		t.Error("it was followed")
	}
}

// Whatever frame there is: what a collector gets is the request in it, or Send
// says that it will never be.
func FuzzSend(f *testing.F) {
	f.Add("POST", "/a%2Fb?c=|", "X-A", "b", []byte("{}"))
	f.Add("PATCH", "//h/..?%zz", "Connection", "close", []byte(nil))
	f.Add("PUT", "?#", "Transfer-Encoding", "chunked", []byte("\xff"))
	c, server := startCollector(f)
	client := dial(f, server.URL+"/base")
	f.Fuzz(func(t *testing.T, method, target, name, value string, body []byte) {
		if method == http.MethodConnect || method == http.MethodHead || method == http.MethodTrace {
			return // no bodies there; intake/forward takes none of them
		}
		c.mu.Lock()
		c.requests, c.order = nil, nil
		c.mu.Unlock()
		r := forwarded.Request{Method: method, Target: target, Body: body,
			Header: []forwarded.Field{{Name: name, Value: value}}}
		err := client.Send(t.Context(), batch("e-1", r))
		c.mu.Lock()
		defer c.mu.Unlock()
		if err != nil && !destination.Permanent(err) || err == nil != (len(c.requests) == 1) {
			t.Fatalf("%q %q %q %q: %v, arrived %+v", method, target, name, value, err, c.requests)
		}
		for _, got := range c.requests {
			if got.Method != method || got.URI != join(client.targets[0], target) || got.Body != string(body) {
				t.Errorf("%q %q %q: arrived %+v", method, target, body, got)
			}
		}
	})
}
