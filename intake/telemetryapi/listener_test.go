package telemetryapi

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// receiver is a Listener and what it handed on.
type receiver struct {
	*Listener
	mu      sync.Mutex
	bodies  []string
	refused map[string]int64
	room    bool
}

func listen(t *testing.T, port int) *receiver {
	t.Helper()
	r := &receiver{refused: map[string]int64{}, room: true}
	l, err := Listen(Config{
		Port: port, MaxBody: 1000,
		Take: func(_ context.Context, body []byte) bool {
			r.mu.Lock()
			defer r.mu.Unlock()
			if r.room {
				r.bodies = append(r.bodies, string(body))
			}
			return r.room
		},
		Refused: func(n int64, reason string) { r.refused[reason] += n },
	})
	if err != nil {
		t.Fatal(err)
	}
	r.Listener = l
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// path is the part of the URI behind the host.
func (r *receiver) path(t *testing.T) string {
	t.Helper()
	u, err := url.Parse(r.URI())
	if err != nil || u.Hostname() != "sandbox.localdomain" {
		t.Fatalf("URI %q: %v", r.URI(), err)
	}
	return u.Path
}

// connection is one keep-alive connection of the platform.
type connection struct {
	net.Conn
	in *bufio.Reader
}

func (r *receiver) dial(t *testing.T) *connection {
	t.Helper()
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", r.port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return &connection{c, bufio.NewReader(c)}
}

// post sends a body and gives the status of the answer.
func (c *connection) post(t *testing.T, path, body string) int {
	t.Helper()
	_, err := fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: sandbox\r\nContent-Length: %d\r\n\r\n%s", path, len(body), body)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode
}

func (r *receiver) expect(t *testing.T, bodies ...string) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if diff := cmp.Diff(bodies, r.bodies); diff != "" {
		t.Errorf("bodies (-want +got):\n%s", diff)
	}
}

func TestEqualBodiesOnOneConnectionAreTwo(t *testing.T) {
	r := listen(t, 0)
	c := r.dial(t)
	for range 3 {
		if status := c.post(t, r.path(t), "[1]"); status != http.StatusOK {
			t.Fatalf("status %d", status)
		}
	}
	r.expect(t, "[1]", "[1]", "[1]")
}

func TestBodySentAgainOnAnotherConnectionIsOne(t *testing.T) {
	r := listen(t, 0)
	lost := r.dial(t)
	lost.post(t, r.path(t), "[1]")
	again := r.dial(t)
	if status := again.post(t, r.path(t), "[1]"); status != http.StatusOK {
		t.Fatalf("status %d", status)
	}
	again.post(t, r.path(t), "[2]")
	again.post(t, r.path(t), "[1]") // a third time: new
	r.expect(t, "[1]", "[2]", "[1]")
}

func TestNoRoomIsTriedAgain(t *testing.T) {
	r := listen(t, 0)
	r.room = false
	c := r.dial(t)
	if status := c.post(t, r.path(t), "[1]"); status != http.StatusServiceUnavailable {
		t.Fatalf("status %d, want 503", status)
	}
	r.mu.Lock()
	r.room = true
	r.mu.Unlock()
	if status := r.dial(t).post(t, r.path(t), "[1]"); status != http.StatusOK {
		t.Fatalf("status %d, want 200", status)
	}
	r.expect(t, "[1]")
}

func TestTooLargeIsCounted(t *testing.T) {
	r := listen(t, 0)
	c := r.dial(t)
	if status := c.post(t, r.path(t), strings.Repeat("x", 1001)); status != http.StatusOK {
		t.Fatalf("status %d, want 200", status)
	}
	c.post(t, r.path(t), strings.Repeat("y", 1000))
	r.expect(t, strings.Repeat("y", 1000))
	if diff := cmp.Diff(map[string]int64{"body_too_large": 1001}, r.refused); diff != "" {
		t.Error(diff)
	}
}

func TestOnlyThePlatformKnowsThePath(t *testing.T) {
	r := listen(t, 0)
	if status := r.dial(t).post(t, "/", "[1]"); status != http.StatusNotFound {
		t.Errorf("status %d, want 404", status)
	}
	r.expect(t)
}

func TestBrokenBodyIsNotTaken(t *testing.T) {
	r := listen(t, 0)
	c := r.dial(t)
	if _, err := fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: s\r\nContent-Length: 100\r\n\r\n[1", r.path(t)); err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	whole := r.dial(t)
	whole.post(t, r.path(t), "[1,2]")
	r.expect(t, "[1,2]")
}

// A request is under way from its head to its answer.
func TestBusy(t *testing.T) {
	r := listen(t, 0)
	c := r.dial(t)
	if r.Busy() {
		t.Error("busy before the first request")
	}
	if _, err := fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: s\r\nContent-Length: 3\r\n\r\n[", r.path(t)); err != nil {
		t.Fatal(err)
	}
	wait := func(busy bool) {
		t.Helper()
		for end := time.Now().Add(time.Minute); r.Busy() != busy; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("busy: %t", !busy)
			}
		}
	}
	wait(true)
	if _, err := fmt.Fprint(c, "1]"); err != nil {
		t.Fatal(err)
	}
	if resp, err := http.ReadResponse(c.in, nil); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(resp, err)
	}
	wait(false)
	r.expect(t, "[1]")
}

func TestTakenPortIsOnlyAWarning(t *testing.T) {
	first := listen(t, 0)
	second := listen(t, first.port)
	if second.port == first.port {
		t.Fatal("two listeners on one port")
	}
	second.dial(t).post(t, second.path(t), "[1]")
	second.expect(t, "[1]")
}

func TestChunkedBody(t *testing.T) {
	r := listen(t, 0)
	body := strings.Repeat("z", 900)
	uri := fmt.Sprintf("http://127.0.0.1:%d%s", r.port, r.path(t))
	req, err := http.NewRequest(http.MethodPut, uri, struct{ *strings.Reader }{strings.NewReader(body)})
	if err != nil {
		t.Fatal(err)
	}
	req.ContentLength = -1
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status, err)
	}
	r.expect(t, body)
}
