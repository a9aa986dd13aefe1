package edge

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"slipstream/telemetry"
)

// An agent's request is answered at once and arrives later, as it was.
func TestForward(t *testing.T) {
	var mu sync.Mutex
	got := map[string]string{}
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		got[r.Method+" "+r.URL.String()] += r.Header.Get("Authorization") + " " + string(body)
	}))
	defer collector.Close()
	folder := t.TempDir()
	e := collecting(t, map[string]string{
		"SLIPSTREAM_DESTINATIONS": "file://" + folder, "AWS_REGION": "eu-west-1",
		"SLIPSTREAM_FORWARD": "/agent=" + collector.URL + "/{region}, /other=" + collector.URL,
	})
	shutdown := e.runLanes()
	for _, path := range []string{"/agent/spans?a=b", "/other"} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodPost, path, strings.NewReader("body of "+path))
		r.Header.Set("Authorization", "Bearer x")
		e.collector.forwarded.ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			t.Errorf("%s: status %d, %s", path, w.Code, w.Body)
		}
	}
	shutdown()
	for request, want := range map[string]string{
		"POST /eu-west-1/spans?a=b": "Bearer x body of /agent/spans?a=b", "POST /": "Bearer x body of /other",
	} {
		if got[request] != want {
			t.Errorf("%s: %q, not %q", request, got[request], want)
		}
	}
	w := httptest.NewRecorder()
	e.collector.forwarded.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/agent", strings.NewReader("late")))
	if w.Code != http.StatusServiceUnavailable {
		t.Errorf("after SHUTDOWN: status %d", w.Code)
	}
	if text := readAll(t, folder); strings.Contains(text, "body of") {
		t.Error("a forwarded request is at a destination")
	}
}

func TestForwardRefusesItsOwnListener(t *testing.T) {
	for target, refused := range map[string]bool{
		"http://127.0.0.1:4318/x": true, "http://localhost:4318": true, "http://127.0.0.1:4319": false,
		"https://h:4318": false,
	} {
		e := &edge{config: Config{Forward: "/x=" + target}, clock: newClock(nil)}
		_, err := e.openForward(&telemetry.Resource{}, nil)
		if got := err != nil && strings.Contains(err.Error(), "round and round"); got != refused {
			t.Errorf("%s: %v", target, err)
		}
	}
}
