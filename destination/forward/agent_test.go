package forward

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"slipstream/destination"
	intake "slipstream/intake/forward"
	"slipstream/telemetry"
	"slipstream/test/servers"
)

// lane is the way of a request without the edge: batches in memory.
type lane struct {
	mu      sync.Mutex
	open    destination.Batch
	sealed  []*destination.Batch
	refused int
	drops   []string
}

// take makes a batch of every three requests, and has no room now and then.
func (l *lane) take(_ int, frame []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.refused*4 < l.open.Records+3*len(l.sealed) {
		l.refused++
		return telemetry.ErrNoRoom
	}
	l.open.Body = append(l.open.Body, frame...)
	l.open.Records++
	if l.open.Records == 3 {
		l.seal()
	}
	return nil
}

func (l *lane) seal() {
	b := l.open
	b.ID = fmt.Sprintf("env-%d", len(l.sealed)+1)
	l.sealed, l.open = append(l.sealed, &b), destination.Batch{}
}

func (l *lane) drop(reason string, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drops = append(l.drops, fmt.Sprint(reason, " ", n))
}

// send tries until everything is there.
func (l *lane) send(t *testing.T, to destination.Destination) {
	t.Helper()
	for _, b := range l.sealed {
		for tries := 0; ; tries++ {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			err := to.Send(ctx, b)
			cancel()
			if err == nil {
				break
			}
			if destination.Permanent(err) || tries > 100 || strings.Contains(err.Error(), "secret") {
				t.Fatalf("after %d tries: %v", tries, err)
			}
		}
	}
}

// report is what the agent says of a request.
type report struct {
	Path   string
	Body   []byte
	Status int
	Answer map[string]any
}

// runAgent runs the Python agent to its end.
func runAgent(t *testing.T, base string, count int) (reports []report) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "python3", "testdata/agent.py", base, fmt.Sprint(count))
	var problems bytes.Buffer
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("the agent (python3 is needed): %v\n%s", err, problems.Bytes())
	}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var r report
		if err := d.Decode(&r); errors.Is(err, io.EOF) {
			return reports
		} else if err != nil {
			t.Fatal(err)
		}
		reports = append(reports, r)
	}
}

// An agent in another language, told to send to the listener, needs to know
// nothing: its vendor's collector gets every request as the agent made it,
// though the collector was away while the agent ran, and comes back in trouble.
func TestAgent(t *testing.T) {
	c, server := startCollector(t)
	proxy := servers.StartProxy(t, server.URL)
	host := strings.TrimPrefix(proxy.Endpoint, "http://")
	proxy.Make(func(request int) servers.Trouble {
		return []servers.Trouble{{Status: 503, RetryAfter: 1}, {}, {Forget: true}, {}, {Reset: true}, {}, {}}[request%7]
	})
	routes, err := intake.Parse("/vendor="+proxy.Endpoint+"/v1?status=202", "eu-west-1")
	if err != nil {
		t.Fatal(err)
	}
	l := &lane{}
	listener := httptest.NewServer(intake.New(intake.Options{Routes: routes, Take: l.take, Drop: l.drop}))
	proxy.Close()
	reports := runAgent(t, listener.URL+"/vendor", 20)
	listener.Close()
	if len(reports) != 20 || l.refused == 0 || len(l.drops) > 0 {
		t.Fatalf("the agent made %d requests, was refused %d times, drops %q", len(reports), l.refused, l.drops)
	}
	l.seal()
	if err := proxy.Open(); err != nil {
		t.Fatal(err)
	}
	client := New(Config{Targets: []*url.URL{routes[0].Target}})
	defer client.Close()
	l.send(t, client)
	arrived := map[string]seen{}
	for _, r := range c.requests {
		arrived[r.URI] = r
	}
	if len(c.requests) != len(reports) {
		t.Errorf("%d requests arrived, not %d", len(c.requests), len(reports))
	}
	for _, sent := range reports {
		got := arrived["/v1"+sent.Path]
		if sent.Status != http.StatusAccepted || len(sent.Answer) > 0 {
			t.Errorf("the agent was told %d %v", sent.Status, sent.Answer)
		}
		if got.Method != http.MethodPost || got.Body != string(sent.Body) || got.Host != host {
			t.Errorf("%s: arrived as %s for %s with %d bytes", sent.Path, got.Method, got.Host, len(got.Body))
		}
		for name, want := range map[string]string{"Authorization": "ApiKey key-secret", "Content-Encoding": "gzip",
			"Content-Type": "application/json; charset=utf-8", "X-Vendor-Agent": "python 2.4.1"} {
			if got.Header.Get(name) != want {
				t.Errorf("%s: %s is %q", sent.Path, name, got.Header.Get(name))
			}
		}
		agent := got.Header.Get("User-Agent")
		if !strings.HasPrefix(agent, "Python-urllib/") || got.Header.Get("Accept-Encoding") != "identity" {
			t.Errorf("%s: not the agent's own headers: %v", sent.Path, got.Header)
		}
		if w, err := gzip.NewReader(strings.NewReader(got.Body)); err != nil || !isJSON(w) {
			t.Errorf("%s: the body is no gzipped JSON: %v", sent.Path, err)
		}
	}
}

func isJSON(r io.Reader) bool {
	text, err := io.ReadAll(r)
	return err == nil && json.Valid(text)
}
