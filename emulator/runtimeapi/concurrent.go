package runtimeapi

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"
)

const (
	// maxError bounds an error of the runtime on managed instances, bytes.
	maxError = 1 << 20
	// maxLate is how many invocations that have timed out are remembered.
	maxLate = 1000
)

// Concurrent is the Runtime API of managed instances: up to a limit of workers
// wait in next at the same time, and each gets an invocation of its own. An
// invocation that times out is given up, its worker is not.
type Concurrent struct {
	cfg   Config
	mux   *http.ServeMux
	limit int

	mu      sync.Mutex
	over    state // the state that refuses init/error, or Started
	idle    []*Worker
	running map[string]*Turn
	late    []string      // request ids of invocations that were given up and may still be answered
	changed chan struct{} // closed when a worker has come, then replaced
	arrived chan struct{} // closed at the first next
}

// Worker is a part of the runtime that waits in next.
type Worker struct {
	api  *Concurrent
	turn chan *Turn
}

// NewConcurrent returns an API for as many workers as limit says.
func NewConcurrent(cfg Config, limit int) *Concurrent {
	c := &Concurrent{cfg: cfg, limit: limit, over: started, mux: http.NewServeMux(), running: map[string]*Turn{},
		changed: make(chan struct{}), arrived: make(chan struct{})}
	errors := func(do http.HandlerFunc) http.Handler { return http.MaxBytesHandler(do, maxError) }
	c.mux.HandleFunc("GET /2018-06-01/runtime/invocation/next", c.next)
	c.mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/response", c.response)
	c.mux.Handle("POST /2018-06-01/runtime/invocation/{id}/error", errors(c.failure))
	c.mux.Handle("POST /2018-06-01/runtime/init/error", errors(c.initError))
	c.mux.HandleFunc("GET /2018-06-01/ping", ping)
	return c
}

// ServeHTTP answers one request of the runtime.
func (c *Concurrent) ServeHTTP(w http.ResponseWriter, r *http.Request) { c.mux.ServeHTTP(w, r) }

// Arrived is closed when the first worker waits in next: the runtime's part of
// Init is over.
func (c *Concurrent) Arrived() <-chan struct{} { return c.arrived }

// Reserve takes the worker that has waited longest, or waits for one until the
// context ends.
func (c *Concurrent) Reserve(ctx context.Context) (*Worker, error) {
	for {
		c.mu.Lock()
		if len(c.idle) > 0 {
			w := c.idle[0]
			c.idle = c.idle[1:]
			c.mu.Unlock()
			return w, nil
		}
		changed := c.changed
		c.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// Begin hands an invocation to the worker, once.
func (w *Worker) Begin(inv Invocation) *Turn {
	w.api.mu.Lock()
	defer w.api.mu.Unlock()
	t := &Turn{inv: inv, answered: make(chan struct{}), done: make(chan struct{})}
	w.api.running[inv.RequestID] = t
	w.turn <- t
	return t
}

// Expire gives an invocation up: an answer to it comes too late from now on. It
// is false if the invocation has been answered.
func (c *Concurrent) Expire(t *Turn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	id := t.inv.RequestID
	if c.running[id] != t {
		return false
	}
	delete(c.running, id)
	if c.late = append(c.late, id); len(c.late) > maxLate {
		c.late = c.late[1:]
	}
	return true
}

func (c *Concurrent) next(w http.ResponseWriter, r *http.Request) {
	worker, refused := c.wait()
	if refused != nil {
		refused.write(w)
		return
	}
	var t *Turn
	select {
	case t = <-worker.turn:
	case <-r.Context().Done():
		c.leave(worker)
		return
	}
	if c.cfg.BeforeEvent != nil {
		c.cfg.BeforeEvent(r.Context())
	}
	writeInvocation(w, t.inv)
}

// wait lists a worker among the idle ones.
func (c *Concurrent) wait() (*Worker, *problem) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.over == initFailed:
		return nil, &problem{http.StatusForbidden, (&transitionError{initFailed, ready}).Error(), "InvalidStateTransition"}
	case len(c.idle) >= c.limit: // Runtime.TooManyIdleRuntimes
		return nil, &internal
	case c.over == started:
		c.over = ready
		close(c.arrived)
	}
	worker := &Worker{api: c, turn: make(chan *Turn, 1)}
	c.idle = append(c.idle, worker)
	close(c.changed)
	c.changed = make(chan struct{})
	return worker, nil
}

// leave forgets a worker whose connection is gone.
func (c *Concurrent) leave(worker *Worker) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.idle = slices.DeleteFunc(c.idle, func(w *Worker) bool { return w == worker })
}

// claim finds an invocation that has not been answered.
func (c *Concurrent) claim(id string) (*Turn, *problem) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.running[id]
	switch {
	case t == nil && c.forget(id):
		return nil, &tooLate
	case t == nil || t.claimed:
		return nil, &invalidID
	}
	t.claimed = true
	return t, nil
}

// forget tells whether the invocation was given up; that is told once.
func (c *Concurrent) forget(id string) bool {
	i := slices.Index(c.late, id)
	if i < 0 {
		return false
	}
	c.late = slices.Delete(c.late, i, i+1)
	return true
}

// finish completes an answer, unless the invocation has been given up meanwhile.
func (c *Concurrent) finish(t *Turn, reply Reply) *problem {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running[t.inv.RequestID] != t {
		c.forget(t.inv.RequestID)
		return &tooLate
	}
	delete(c.running, t.inv.RequestID)
	reply.End = time.Now()
	t.reply = reply
	close(t.answered)
	return nil
}

func (c *Concurrent) response(w http.ResponseWriter, r *http.Request) {
	c.answer(w, r, func(t *Turn, reply *Reply) *problem { return succeeded(r, t.inv, reply) })
}

func (c *Concurrent) failure(w http.ResponseWriter, r *http.Request) {
	c.answer(w, r, func(t *Turn, reply *Reply) *problem { return failed(r, t.inv.RequestID, reply) })
}

func (c *Concurrent) answer(w http.ResponseWriter, r *http.Request, read func(*Turn, *Reply) *problem) {
	reply := Reply{Start: time.Now(), ContentType: r.Header.Get("Content-Type")}
	t, refused := c.claim(r.PathValue("id"))
	if refused == nil {
		refused = read(t, &reply)
		if late := c.finish(t, reply); late != nil {
			refused = late
		}
	}
	if refused != nil {
		refused.write(w)
		return
	}
	accept(w)
}

func (c *Concurrent) initError(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	from := c.over
	if from == started {
		c.over = initFailed
	}
	c.mu.Unlock()
	if from != started {
		refuse(w, &transitionError{from: from, to: initFailed})
		return
	}
	reportInitError(w, r, c.cfg.InitError)
}

// isTooLong tells whether a body was cut off at its limit.
func isTooLong(err error) bool {
	_, tooLong := errors.AsType[*http.MaxBytesError](err)
	return tooLong
}
