package forward

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"slipstream/telemetry"
	"slipstream/wire/forwarded"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// taken collects what a handler takes and drops.
type taken struct {
	mu       sync.Mutex
	requests []forwarded.Request
	routes   []int
	drops    []string
	answer   error
}

func (k *taken) take(route int, frame []byte) error {
	r, rest, err := forwarded.Parse(slices.Clone(frame))
	k.mu.Lock()
	defer k.mu.Unlock()
	if err != nil || len(rest) > 0 || r.Route != route {
		k.drops = append(k.drops, fmt.Sprintf("not one frame of route %d: %v", route, err))
	}
	if k.answer == nil {
		k.requests, k.routes = append(k.requests, r), append(k.routes, route)
	}
	return k.answer
}

func (k *taken) drop(reason string, n int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.drops = append(k.drops, fmt.Sprint(reason, " ", n))
}

func handler(t testing.TB, k *taken, maxBody int) *Handler {
	t.Helper()
	routes, err := Parse("/v=https://h/base,/v/accepted=https://h?status=202,/v/nothing=https://h?status=204", "")
	if err != nil {
		t.Fatal(err)
	}
	return New(Options{Routes: routes, MaxBody: maxBody, Take: k.take, Drop: k.drop})
}

func serve(t *testing.T, k *taken, maxBody int) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(handler(t, k, maxBody))
	t.Cleanup(server.Close)
	return server
}

// raw sends bytes on a connection of its own and reads one answer.
func raw(t *testing.T, server *httptest.Server, request string) (*http.Response, string) {
	t.Helper()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	answers := bufio.NewReader(conn)
	resp, err := http.ReadResponse(answers, nil)
	if err == nil && resp.StatusCode == http.StatusContinue {
		resp, err = http.ReadResponse(answers, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

func TestOneRequest(t *testing.T) {
	var body bytes.Buffer
	w := gzip.NewWriter(&body)
	if _, err := w.Write([]byte(`{"a":1}`)); err != nil || w.Close() != nil {
		t.Fatal(err)
	}
	k := &taken{}
	resp, answer := raw(t, serve(t, k, 0), fmt.Sprintf("POST /v/x%%2Fy//z?b=%%41&b=|&a HTTP/1.1\r\nHost: 127.0.0.1:1\r\n"+
		"authorization: ApiKey s3cret\r\nX-Two: b\r\nX-two: a\r\nContent-Type: application/json\r\n"+
		"Content-Encoding: gzip\r\nContent-Length: %d\r\nUser-Agent: agent/1\r\nKeep-Alive: 5\r\nTE: trailers\r\n"+
		"Proxy-Authorization: Basic x\r\nX-Local: 1\r\nConnection: close, x-local\r\nExpect: 100-continue\r\n\r\n%s",
		body.Len(), body.Bytes()))
	if resp.StatusCode != 200 || answer != "{}" || resp.Header.Get("Content-Type") != "application/json" {
		t.Errorf("answer %d %q %v", resp.StatusCode, answer, resp.Header)
	}
	want := []forwarded.Request{{
		Route: 0, Method: "POST", Target: "/x%2Fy//z?b=%41&b=|&a", Body: body.Bytes(),
		Header: []forwarded.Field{
			{Name: "Authorization", Value: "ApiKey s3cret"}, {Name: "Content-Encoding", Value: "gzip"},
			{Name: "Content-Type", Value: "application/json"}, {Name: "User-Agent", Value: "agent/1"},
			{Name: "X-Two", Value: "b"}, {Name: "X-Two", Value: "a"},
		},
	}}
	if diff := cmp.Diff(want, k.requests); diff != "" {
		t.Error(diff)
	}
	if len(k.drops) > 0 {
		t.Error(k.drops)
	}
}

func TestAnswers(t *testing.T) {
	const head = " HTTP/1.1\r\nHost: h\r\n"
	const chunked = head + "Transfer-Encoding: chunked\r\n\r\n"
	long := strings.Repeat("x", 100)
	for name, tt := range map[string]struct {
		request, answer string
		status, route   int
		rest            string
		body            string
	}{
		"no body":           {"POST /v" + head + "\r\n", "{}", 200, 0, "", ""},
		"202":               {"PUT /v/accepted/" + head + "Content-Length: 1\r\n\r\nx", "{}", 202, 1, "/", "x"},
		"204":               {"PATCH /v/nothing?q" + head + "Content-Length: 1\r\n\r\nx", "", 204, 2, "?q", "x"},
		"chunks":            {"POST /v" + chunked + "1\r\nx\r\n2\r\nyz\r\n0\r\n\r\n", "{}", 200, 0, "", "xyz"},
		"absolute":          {"POST http://h/v/a%62?c" + head + "\r\n", "{}", 200, 0, "/a%62?c", ""},
		"of HTTP/1.0":       {"POST /v/1 HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}", "{}", 200, 0, "/1", "{}"},
		"longest body":      {"POST /v" + head + "Content-Length: 100\r\n\r\n" + long, "{}", 200, 0, "", long},
		"longest of chunks": {"POST /v" + chunked + "64\r\n" + long + "\r\n0\r\n\r\n", "{}", 200, 0, "", long},
	} {
		t.Run(name, func(t *testing.T) {
			k := &taken{}
			resp, answer := raw(t, serve(t, k, 100), tt.request)
			if resp.StatusCode != tt.status || answer != tt.answer || len(k.drops) > 0 {
				t.Errorf("answer %d %q, drops %q", resp.StatusCode, answer, k.drops)
			}
			if len(k.requests) != 1 || k.routes[0] != tt.route || k.requests[0].Target != tt.rest ||
				string(k.requests[0].Body) != tt.body {
				t.Errorf("took %v %+v", k.routes, k.requests)
			}
		})
	}
}

func TestRefuses(t *testing.T) {
	const head = " HTTP/1.1\r\nHost: h\r\nAuthorization: secret\r\n"
	wide := "X: " + strings.Repeat("x", MaxHeader) + "\r\n"
	for name, tt := range map[string]struct {
		request, answer, header, drop string
		status                        int
		take                          error
	}{
		"no route": {request: "POST /secret" + head + "\r\n", status: 404, drop: "no_route 1",
			answer: "SLIPSTREAM_FORWARD"},
		"GET": {request: "GET /v" + head + "\r\n", status: 405, header: "Allow", drop: "method 1",
			answer: "nobody waits"},
		"dots":     {request: "POST /v/../secret" + head + "\r\n", status: 400, drop: "malformed 1", answer: ". or .."},
		"hid dots": {request: "POST /v/.%2e/secret" + head + "\r\n", status: 400, drop: "malformed 1", answer: ". or .."},
		"headers": {request: "POST /v" + head + wide + "\r\n", status: 431,
			drop: "header_too_large 1", answer: "32768"},
		"length": {request: "POST /v" + head + "Content-Length: 101\r\n\r\n", status: 413, header: "Connection",
			drop: "too_large 1", answer: "too large"},
		"chunks": {request: "POST /v" + head + "Transfer-Encoding: chunked\r\n\r\n65\r\n" + strings.Repeat("x", 101) + "\r\n",
			status: 413, header: "Connection", drop: "too_large 1", answer: "too large"},
		"bad chunks": {request: "POST /v" + head + "Transfer-Encoding: chunked\r\n\r\nsecret\r\n", status: 400,
			drop: "incomplete 1", answer: "broke off"},
		"no room": {request: "POST /v" + head + "\r\n", status: 503, header: "Retry-After", take: telemetry.ErrNoRoom,
			answer: "again"},
		"over": {request: "POST /v" + head + "\r\n", status: 503, header: "Retry-After", take: telemetry.ErrOver,
			answer: "ending"},
		"another error": {request: "POST /v" + head + "\r\n", status: 503, header: "Retry-After",
			take: errors.New("secret"), answer: "again"},
	} {
		t.Run(name, func(t *testing.T) {
			k := &taken{answer: tt.take}
			resp, answer := raw(t, serve(t, k, 100), tt.request)
			if resp.StatusCode != tt.status || !strings.Contains(answer, tt.answer) || strings.Contains(answer, "secret") {
				t.Errorf("answer %d %q", resp.StatusCode, answer)
			}
			if tt.header != "" && resp.Header.Get(tt.header) == "" && (tt.header != "Connection" || !resp.Close) {
				t.Errorf("no %s in %v", tt.header, resp.Header)
			}
			if drops := strings.Join(k.drops, ","); drops != tt.drop || len(k.requests) > 0 {
				t.Errorf("drops %q, took %+v", drops, k.requests)
			}
		})
	}
}

// An agent that goes away in the middle of its body has told nothing.
func TestAgentBreaksOff(t *testing.T) {
	k := &taken{}
	server := serve(t, k, 0)
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "POST /v HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nhalf"); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	for {
		k.mu.Lock()
		drops := strings.Join(k.drops, ",")
		k.mu.Unlock()
		if drops != "" {
			if drops != "incomplete 1" || len(k.requests) > 0 {
				t.Errorf("drops %q, took %+v", drops, k.requests)
			}
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// Sixteen agents at once, over kept connections, small bodies and large ones:
// each request is taken as it was sent.
func TestAgentsAtOnce(t *testing.T) {
	k := &taken{}
	server := serve(t, k, 0)
	const agents, each = 16, 12
	var wg sync.WaitGroup
	for a := range agents {
		wg.Go(func() {
			for i := range each {
				body := bytes.Repeat(fmt.Appendf(nil, "%d-%d ", a, i), 1+i*i*i*20)
				resp, err := server.Client().Post(fmt.Sprintf("%s/v/%d-%d", server.URL, a, i), "text/plain", bytes.NewReader(body))
				if err != nil {
					t.Error(err)
					return
				}
				resp.Body.Close()
				if resp.StatusCode != 200 {
					t.Errorf("status %d", resp.StatusCode)
				}
			}
		})
	}
	wg.Wait()
	for _, r := range k.requests {
		name := r.Target[1:] + " "
		if n := len(r.Body); n == 0 || n%len(name) != 0 || strings.Count(string(r.Body), name) != n/len(name) {
			t.Errorf("%s has another body of %d bytes", r.Target, len(r.Body))
		}
	}
	if len(k.requests) != agents*each || len(k.drops) > 0 {
		t.Errorf("%d requests, drops %q", len(k.requests), k.drops)
	}
}

// slow is a body that comes in pieces, and the connection that it comes over.
type slow struct {
	http.ResponseWriter
	pieces chan string // closed at the end
	over   chan struct{}
}

func (s *slow) Read(p []byte) (int, error) {
	select {
	case piece, more := <-s.pieces:
		if !more {
			return 0, io.EOF
		}
		return copy(p, piece), nil
	case <-s.over:
		return 0, context.DeadlineExceeded
	}
}

func (s *slow) Close() error { return nil }

// send gives the reader some pieces, and then the end or nothing.
func (s *slow) send(pieces int, every time.Duration, end bool) {
	for range pieces {
		select {
		case <-time.After(every):
		case <-s.over:
			return
		}
		select {
		case s.pieces <- "x":
		case <-s.over:
			return
		}
	}
	if end {
		close(s.pieces)
	}
}

func (s *slow) SetReadDeadline(at time.Time) error {
	if time.Until(at) > 0 {
		return errors.New("not over")
	}
	close(s.over)
	return nil
}

func TestSlowBodies(t *testing.T) {
	for name, tt := range map[string]struct {
		pieces int
		every  time.Duration
		status int
		after  time.Duration
	}{
		"in time":        {5, 8500 * time.Millisecond, 200, 5 * 8500 * time.Millisecond},
		"nothing at all": {0, time.Hour, 408, 10 * time.Second},
		"then nothing":   {1, 11 * time.Second, 408, 10 * time.Second},
		"a trickle":      {100, 3 * time.Second, 408, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := &taken{}
				w := httptest.NewRecorder()
				s := &slow{ResponseWriter: w, pieces: make(chan string), over: make(chan struct{})}
				go s.send(tt.pieces, tt.every, tt.status == 200)
				r := httptest.NewRequest(http.MethodPost, "/v", s)
				began := time.Now()
				h := handler(t, k, 0)
				h.ServeHTTP(s, r)
				if took := time.Since(began); w.Code != tt.status || took != tt.after {
					t.Errorf("status %d after %v, drops %q", w.Code, took, k.drops)
				}
				time.Sleep(time.Hour)
				select {
				case <-s.over:
					if tt.status == 200 {
						t.Error("the connection is ended in its next request")
					}
				default:
				}
				if len(k.requests) != map[int]int{200: 1}[tt.status] || len(h.slots) > 0 {
					t.Errorf("took %d, %d slots are held", len(k.requests), len(h.slots))
				}
			})
		})
	}
}

// pipes is a network of one connection.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	if conn, more := <-p.conns; more {
		return conn, nil
	}
	return nil, net.ErrClosed
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.conns) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{} }

// The same with a real server: the agent is told, and the connection is closed.
func TestStalledConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &taken{}
		network := &pipes{conns: make(chan net.Conn, 1)}
		server := &http.Server{Handler: handler(t, k, 0)}
		served := make(chan error)
		go func() { served <- server.Serve(network) }()
		agent, conn := net.Pipe()
		network.conns <- conn
		began := time.Now()
		if _, err := io.WriteString(agent, "POST /v HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nhalf"); err != nil {
			t.Fatal(err)
		}
		answers := bufio.NewReader(agent)
		resp, err := http.ReadResponse(answers, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); resp.StatusCode != 408 || took < 9*time.Second || took > 11*time.Second {
			t.Errorf("status %d after %v", resp.StatusCode, took)
		}
		if _, err := answers.ReadByte(); !errors.Is(err, io.EOF) {
			t.Errorf("the connection goes on: %v", err)
		}
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
		if drops := strings.Join(k.drops, ","); drops != "stalled 1" || len(k.requests) > 0 {
			t.Errorf("drops %q, took %d", drops, len(k.requests))
		}
	})
}

// Large bodies that do not come hold up no small one, and other large ones not
// for long.
func TestSlowBodiesHoldUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &taken{}
		h := handler(t, k, 0)
		var wg sync.WaitGroup
		for range largeBodies {
			wg.Go(func() {
				s := &slow{ResponseWriter: httptest.NewRecorder(), pieces: make(chan string), over: make(chan struct{})}
				h.ServeHTTP(s, httptest.NewRequest(http.MethodPost, "/v/slow", s))
			})
		}
		synctest.Wait()
		for size, status := range map[int]int{smallBody: 200, smallBody + 1: 503} {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/v", bytes.NewReader(make([]byte, size))))
			if w.Code != status {
				t.Errorf("%d bytes: status %d, want %d", size, w.Code, status)
			}
		}
		wg.Wait()
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/v", bytes.NewReader(make([]byte, smallBody+1))))
		if w.Code != 200 || len(k.drops) != largeBodies {
			t.Errorf("after them: status %d, drops %q", w.Code, k.drops)
		}
	})
}

// still is an answer that nobody reads.
type still struct {
	header http.Header
	status int
}

func (s *still) Header() http.Header         { return s.header }
func (s *still) WriteHeader(status int)      { s.status = status }
func (s *still) Write(p []byte) (int, error) { return len(p), nil }

func TestTakingAllocatesNothing(t *testing.T) {
	h := handler(t, &taken{}, 0)
	h.options.Take = func(int, []byte) error { return nil }
	body := bytes.NewReader(make([]byte, 8<<10))
	r := httptest.NewRequest(http.MethodPost, "/v/data?x=1", body)
	for name, value := range map[string]string{"Authorization": "x", "Content-Type": "x", "User-Agent": "x"} {
		r.Header.Set(name, value)
	}
	w := &still{header: http.Header{}}
	if n := testing.AllocsPerRun(200, func() {
		body.Reset(body8)
		h.ServeHTTP(w, r)
	}); n >= 1 || w.status != 200 {
		t.Errorf("%v allocations for a request, status %d", n, w.status)
	}
	if in := <-h.idle; len(in.names) > 0 || len(in.request.Header) > 0 || in.request.Target != "" {
		t.Errorf("what is kept for the next one holds %d names and %+v", len(in.names), in.request)
	}
}

var body8 = make([]byte, 8<<10)

func BenchmarkTake(b *testing.B) {
	h := handler(b, &taken{}, 0)
	h.options.Take = func(int, []byte) error { return nil }
	body := bytes.NewReader(body8)
	r := httptest.NewRequest(http.MethodPost, "/v/data?x=1", body)
	r.Header.Set("Authorization", "x")
	w := &still{header: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		body.Reset(body8)
		h.ServeHTTP(w, r)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
}

// Whatever net/http's server takes for a request: what the handler makes of it,
// the side that sends it on can read, and it is what came in.
func FuzzHandler(f *testing.F) {
	f.Add([]byte("POST /v/a?b HTTP/1.1\r\nHost: h\r\nX-A: b\r\nContent-Length: 2\r\n\r\n{}"))
	f.Add([]byte("PUT http://h/v/%41 HTTP/1.1\r\nHost: h\r\nConnection: x-a\r\nX-A: b\r\n" +
		"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"))
	f.Add([]byte("PATCH /v/\xff|^\"<> HTTP/1.0\r\nA:\t\xff\r\n\r\n"))
	k := &taken{}
	server := httptest.NewServer(handler(f, k, 0))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	f.Cleanup(server.Close)
	f.Fuzz(func(t *testing.T, request []byte) {
		k.requests, k.drops = nil, nil
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_, _ = conn.Write(request) // the server may have had enough of it
		_ = conn.(*net.TCPConn).CloseWrite()
		_, _ = io.Copy(io.Discard, conn)
		k.mu.Lock()
		defer k.mu.Unlock()
		if drops := strings.Join(k.drops, ","); strings.Contains(drops, "not one frame") {
			t.Fatalf("%q: %s", request, drops)
		}
		if len(k.requests) == 0 || len(k.drops) > 0 {
			return
		}
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(request)))
		if err != nil {
			t.Fatalf("%q was taken, but is no request: %v", request, err)
		}
		body, err := io.ReadAll(r.Body)
		if got := k.requests[0]; err != nil || !bytes.Equal(got.Body, body) || !strings.HasSuffix(r.RequestURI, got.Target) {
			t.Errorf("%q became %+v", request, got)
		}
	})
}
