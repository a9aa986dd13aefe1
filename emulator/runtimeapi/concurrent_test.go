package runtimeapi

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// workers is a session with the API of managed instances.
type workers struct {
	*session
	api *Concurrent
}

func newWorkers(t *testing.T, limit int) *workers {
	s := newSession(t)
	w := &workers{session: s, api: NewConcurrent(Config{
		InitError: func(typ string, body []byte) { s.failed = append(s.failed, typ+" "+string(body)) }}, limit)}
	s.server.Config.Handler = w.api
	return w
}

// next has a worker wait until the API has n idle ones.
func (w *workers) next(ctx context.Context, n int) {
	w.t.Helper()
	go func() {
		r, err := http.NewRequestWithContext(ctx, "GET", w.server.URL+"/2018-06-01/runtime/invocation/next", nil)
		if err != nil {
			return
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			return
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		w.waiting <- answer{resp.StatusCode, string(text), resp.Header}
	}()
	w.idle(n)
}

func (w *workers) idle(n int) {
	w.t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		w.api.mu.Lock()
		got := len(w.api.idle)
		w.api.mu.Unlock()
		if got == n {
			return
		}
	}
	w.t.Fatalf("not %d idle workers within 10 s", n)
}

// invoke gives an invocation to an idle worker, which gets it.
func (w *workers) invoke(id string) *Turn {
	w.t.Helper()
	worker, err := w.api.Reserve(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	turn := worker.Begin(Invocation{RequestID: id})
	if got := (<-w.waiting).header.Get("Lambda-Runtime-Aws-Request-Id"); got != id {
		w.t.Fatalf("the worker got %s, want %s", got, id)
	}
	return turn
}

func (w *workers) answer(id, body string, status int, text string) {
	w.t.Helper()
	got := w.call("POST", "/runtime/invocation/"+id+"/response", body)
	if got.status != status || !strings.Contains(got.body, text) {
		w.t.Errorf("answer to %s: %d %s, want %d %s", id, got.status, got.body, status, text)
	}
}

// TestConcurrentAnswers: in any order, each once.
func TestConcurrentAnswers(t *testing.T) {
	w := newWorkers(t, 2)
	w.next(t.Context(), 1)
	<-w.api.Arrived()
	w.next(t.Context(), 2)
	if got := w.call("GET", "/runtime/invocation/next", ""); got.status != 500 || got.body !=
		`{"errorMessage":"Internal Server Error","errorType":"InternalServerError"}` {
		t.Errorf("a third worker: %d %s", got.status, got.body)
	}
	one, two := w.invoke("r1"), w.invoke("r2")
	w.answer("r2", "second", 202, "OK")
	w.answer("r1", "first", 202, "OK")
	w.answer("r1", "again", 400, "InvalidRequestID")
	w.answer("r3", "never", 400, "InvalidRequestID")
	<-one.Answered()
	<-two.Answered()
	if string(one.Reply().Payload) != "first" || string(two.Reply().Payload) != "second" {
		t.Errorf("replies %+v, %+v", one.Reply(), two.Reply())
	}
	if w.api.Expire(one) {
		t.Error("an invocation that was answered expires")
	}
	w.answer("r1", "again", 400, "InvalidRequestID")
}

// TestConcurrentExpire: a late answer gets a 410, once, also one that had begun.
func TestConcurrentExpire(t *testing.T) {
	w := newWorkers(t, 2)
	w.next(t.Context(), 1)
	turn := w.invoke("r1")
	if !w.api.Expire(turn) || w.api.Expire(turn) {
		t.Error("an invocation expires once")
	}
	w.answer("r1", "late", 410, `{"errorMessage":"Invoke timeout","errorType":"InvokeTimeout"}`)
	w.answer("r1", "later", 400, "InvalidRequestID")

	w.next(t.Context(), 1)
	turn = w.invoke("r2")
	body, feed := io.Pipe()
	answered := make(chan answer)
	go func() {
		r, _ := http.NewRequest("POST", w.server.URL+"/2018-06-01/runtime/invocation/r2/error", body)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			close(answered)
			return
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		answered <- answer{status: resp.StatusCode, body: string(text)}
	}()
	_, _ = feed.Write([]byte("{"))
	w.awaitTurn(func() bool { return turn.claimed })
	w.answer("r2", "beside it", 400, "InvalidRequestID")
	w.api.Expire(turn)
	_ = feed.Close()
	if got := <-answered; got.status != 410 {
		t.Errorf("an answer that was overtaken: %d %s", got.status, got.body)
	}
	w.answer("r2", "later", 400, "InvalidRequestID")
}

func (w *workers) awaitTurn(condition func() bool) {
	w.t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		w.api.mu.Lock()
		ok := condition()
		w.api.mu.Unlock()
		if ok {
			return
		}
	}
	w.t.Fatal("the API did not reach the state within 10 s")
}

// TestConcurrentRemembersBounded: late answers are remembered up to a number.
func TestConcurrentRemembersBounded(t *testing.T) {
	c := NewConcurrent(Config{}, 1)
	for range maxLate + 5 {
		worker := &Worker{api: c, turn: make(chan *Turn, 1)}
		c.Expire(worker.Begin(Invocation{RequestID: "r"}))
	}
	if len(c.late) != maxLate || len(c.running) != 0 {
		t.Errorf("%d late, %d running", len(c.late), len(c.running))
	}
}

// TestConcurrentWorkerLeaves: a worker whose connection is gone gets nothing, and
// Reserve waits for another, until its context ends.
func TestConcurrentWorkerLeaves(t *testing.T) {
	w := newWorkers(t, 1)
	ctx, leave := context.WithCancel(t.Context())
	w.next(ctx, 1)
	leave()
	w.idle(0)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.api.Reserve(over); err == nil {
		t.Error("there is no worker")
	}
	reserved := make(chan error)
	go func() {
		worker, err := w.api.Reserve(t.Context())
		if err == nil {
			worker.Begin(Invocation{RequestID: "r1"})
		}
		reserved <- err
	}()
	go func() {
		if got, err := w.try("GET", "/runtime/invocation/next", ""); err == nil {
			w.waiting <- got
		}
	}()
	if err := <-reserved; err != nil {
		t.Error(err)
	}
	<-w.waiting
}

// TestConcurrentInitError: before the first next only, and of at most 1 MiB.
func TestConcurrentInitError(t *testing.T) {
	w := newWorkers(t, 1)
	if got := w.call("POST", "/runtime/init/error", `{"a":1}`, errorTypeHeader, "Runtime.Nope"); got.status != 202 ||
		len(w.failed) != 1 || w.failed[0] != `Runtime.Nope {"a":1}` {
		t.Errorf("init/error: %d %s, %q", got.status, got.body, w.failed)
	}
	if got := w.call("GET", "/runtime/invocation/next", ""); got.status != 403 || !strings.Contains(got.body,
		"from InitError to Ready") {
		t.Errorf("next after it: %d %s", got.status, got.body)
	}
	w = newWorkers(t, 1)
	w.next(t.Context(), 1)
	if got := w.call("POST", "/runtime/init/error", "{}"); got.status != 403 || !strings.Contains(got.body,
		"from Ready to InitError") {
		t.Errorf("init/error after next: %d %s", got.status, got.body)
	}
	w = newWorkers(t, 1)
	got := w.call("POST", "/runtime/init/error", strings.Repeat("x", maxError+1))
	if got.status != 413 || len(w.failed) != 1 {
		t.Errorf("a large init/error: %d %s, %q", got.status, got.body, w.failed)
	}
}
