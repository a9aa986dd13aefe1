package wavefront

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipstream/destination"
	"slipstream/destination/conformance"
	intake "slipstream/intake/wavefront"
	"slipstream/telemetry"
	"slipstream/wire"
)

func dial(t *testing.T, rawURL, signal string) destination.Destination {
	t.Helper()
	c, err := Parse(rawURL, signal)
	if err != nil {
		t.Fatal(err)
	}
	client := New(c)
	t.Cleanup(func() { client.Close() })
	return client
}

// tenant takes every report, and puts a batch's parts together by their keys.
type tenant struct {
	mu      sync.Mutex
	reports map[string][]byte // by key
	order   []string
	answer  func(format string) int
}

func (s *tenant) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	format := r.URL.Query().Get("f")
	zip, err := gzip.NewReader(r.Body)
	if err != nil || r.URL.Path != "/report" || r.Header.Get("Authorization") == "" {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	lines, err := io.ReadAll(zip)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.answer != nil {
		if status := s.answer(format); status != 0 {
			w.WriteHeader(status)
			return
		}
	}
	if err == nil {
		key := r.Header.Get("Idempotency-Key")
		if s.reports[key] == nil {
			s.order = append(s.order, key)
		}
		s.reports[key] = lines
		w.WriteHeader(http.StatusAccepted)
	}
}

func (s *tenant) bodies() (bodies [][]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, key := range s.order {
		if first, ok := strings.CutSuffix(key, "-wavefront"); ok {
			bodies = append(bodies, append(bytes.Clone(s.reports[key]), s.reports[first+"-histogram"]...))
		}
	}
	return bodies
}

func TestConformanceOverHTTP(t *testing.T) {
	conformance.Run(t, func(t *testing.T) conformance.Case {
		s := &tenant{reports: map[string][]byte{}}
		server := httptest.NewServer(s)
		t.Cleanup(server.Close)
		return conformance.Case{
			New: func(t *testing.T, front string) destination.Destination {
				return dial(t, "wavefront+"+front+"?token=bearer-secret&header.x-tenant=tenant-secret", "metrics")
			},
			Backend:   server.URL,
			Delivered: func(*testing.T) [][]byte { return s.bodies() },
			Permanent: []int{400, 401, 403, 404, 413},
			Secrets:   []string{"bearer-secret", "tenant-secret"},
		}
	})
}

// port takes what is written to it, a body a connection.
type port struct {
	net.Listener
	mu     sync.Mutex
	bodies [][]byte
	all    sync.WaitGroup
}

func listen(t *testing.T) *port {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &port{Listener: l}
	p.all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			p.all.Go(func() {
				defer conn.Close()
				if body, err := io.ReadAll(conn); err == nil && len(body) > 0 {
					p.mu.Lock()
					defer p.mu.Unlock()
					p.bodies = append(p.bodies, body)
				}
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		p.all.Wait()
	})
	return p
}

func TestConformanceOverTCP(t *testing.T) {
	conformance.Run(t, func(t *testing.T) conformance.Case {
		p := listen(t)
		return conformance.Case{
			New: func(t *testing.T, _ string) destination.Destination {
				return dial(t, "wavefront+tcp://"+p.Addr().String(), "metrics")
			},
			Delivered: func(*testing.T) [][]byte {
				p.mu.Lock()
				defer p.mu.Unlock()
				return p.bodies
			},
			Repeats: true,
		}
	})
}

// When the proxy has closed its side, it has taken every line.
func TestAProxyHasTakenWhatWasSent(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	records := 0
	server := intake.Serve(l, intake.Options{Completion: wire.NewCompletion(&telemetry.Resource{}),
		Take: func(x *telemetry.Export) error { records += x.Records; return nil },
		Drop: func(reason string, n int) { t.Errorf("dropped: %s", reason) }})
	lines := bytes.Repeat([]byte("\"a\" 1 source=\"s\"\n!M #2 5 \"d\" source=\"s\"\n"), 20_000)
	if err := dial(t, "wavefront+tcp://"+l.Addr().String(), "metrics").
		Send(context.Background(), &destination.Batch{ID: "env-1", Body: lines}); err != nil {
		t.Fatal(err)
	}
	if err := server.Shutdown(context.Background()); err != nil || records != 40_000 {
		t.Errorf("%d points, %v", records, err)
	}
}

func TestTCPFaults(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	to := dial(t, "wavefront+tcp://"+l.Addr().String(), "metrics")
	sent := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	send := func() { sent <- to.Send(ctx, &destination.Batch{ID: "env-1", Body: make([]byte, 1<<20)}) }
	accept := func() net.Conn {
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		return conn
	}
	var e *destination.Error

	go send()
	conn := accept()
	conn.(*net.TCPConn).SetLinger(0)
	conn.Close() // a reset, before it has read everything
	if err := <-sent; !errors.As(err, &e) || e.Permanent {
		t.Errorf("a reset: %v", err)
	}
	go send()
	conn = accept() // and it never reads
	if err := to.Close(); err != nil {
		t.Error(err)
	}
	if err := <-sent; !errors.Is(err, destination.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	conn.Close()
	l.Close()
	to = dial(t, "wavefront+tcp://"+l.Addr().String(), "metrics")
	send()
	if err := <-sent; !errors.As(err, &e) || e.Permanent || !strings.Contains(err.Error(), "nothing listens there") {
		t.Errorf("nobody there: %v", err)
	}
}

// What does not close its side has the batch when it was written and time has passed.
func TestAPortThatStaysOpen(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		if conn, err := l.Accept(); err == nil {
			defer conn.Close()
			io.Copy(io.Discard, conn)
			time.Sleep(2 * closeWait)
		}
	}()
	if err := dial(t, "wavefront+tcp://"+l.Addr().String(), "metrics").
		Send(context.Background(), &destination.Batch{ID: "env-1", Body: []byte("\"a\" 1\n")}); err != nil {
		t.Error(err)
	}
}

func TestEachKindIsARequest(t *testing.T) {
	for body, want := range map[string][2][]string{ // of metrics, of traces
		"\"a\" 1\n\"b\" 2\n!M #1 2 \"c\"\n!M #2\n": {
			{"wavefront \"a\" 1\n\"b\" 2\n", "histogram !M #1 2 \"c\"\n!M #2\n"},
			{"trace \"a\" 1\n\"b\" 2\n!M #1 2 \"c\"\n!M #2\n"}},
		"!M #1\n": {{"histogram !M #1\n"}, {"trace !M #1\n"}},
		"\"a\" 1\n{}\n": {{"wavefront \"a\" 1\n{}\n"},
			{"trace \"a\" 1\n", "spanLogs {}\n"}},
	} {
		for i, signal := range []string{"metrics", "traces"} {
			var got []string
			for _, p := range (&direct{config: Config{Signal: signal}}).parts([]byte(body)) {
				got = append(got, p.format+" "+string(p.lines))
			}
			if diff := cmp.Diff(want[i], got); diff != "" {
				t.Errorf("%q of %s: %s", body, signal, diff)
			}
		}
	}
}

// A part that was taken is not sent again.
func TestTheSecondPartAlone(t *testing.T) {
	s := &tenant{reports: map[string][]byte{}}
	var asked []string
	s.answer = func(format string) int {
		if asked = append(asked, format); len(asked) == 2 {
			return http.StatusNotAcceptable
		}
		return 0
	}
	server := httptest.NewServer(s)
	defer server.Close()
	to := dial(t, "wavefront+"+server.URL+"?token=t", "metrics")
	b := &destination.Batch{ID: "env-1", Body: []byte("\"a\" 1\n!M #1 2 \"c\"\n")}
	if err := to.Send(context.Background(), b); err == nil || destination.Permanent(err) {
		t.Errorf("406 says wait: %v", err)
	}
	if err := to.Send(context.Background(), b); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"wavefront", "histogram", "histogram"}, asked); diff != "" {
		t.Error(diff)
	}
	if n := len(to.(*direct).taken); n != 0 {
		t.Errorf("%d batches are remembered for ever", n)
	}
}

func TestParse(t *testing.T) {
	for raw, want := range map[string][2]string{
		"wavefront+tcp://proxy":                            {"tcp://proxy:2878", "tcp://proxy:30001"},
		"wavefront+tcp://proxy:2000/?trace_port=30000":     {"tcp://proxy:2000", "tcp://proxy:30000"},
		"wavefront+https://t.example":                      {"https://t.example/report", "https://t.example/report"},
		"wavefront+http://proxy:2878/x?token=a&header.b=c": {"http://proxy:2878/x", "http://proxy:2878/x"},
	} {
		for i, signal := range []string{"metrics", "traces"} {
			if c, err := Parse(raw, signal); err != nil || c.URL.String() != want[i] {
				t.Errorf("%s for %s: %v, %v", raw, signal, c.URL, err)
			}
		}
	}
	for raw, want := range map[string]string{
		"wavefront://h":                       "scheme",
		"wavefront+tcp://":                    "host is missing",
		"wavefront+tcp://h/secret":            "no path",
		"wavefront+tcp://h?token=secret":      "unknown option token",
		"wavefront+tcp://h?trace_port=secret": "trace_port is no port",
		"wavefront+https://h?token=":          "token is empty",
		"wavefront+https://h?x=secret":        "unknown option x",
		"wavefront+https://h:secret":          "no URL",
		"wavefront+https://h?%zz=secret":      "malformed",
	} {
		if _, err := Parse(raw, "metrics"); err == nil || !strings.Contains(err.Error(), want) ||
			strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want %q in it", raw, err, want)
		}
	}
}
