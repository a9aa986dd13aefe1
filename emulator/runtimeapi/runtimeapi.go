// Package runtimeapi is the emulator's Runtime API, version 2018-06-01: what a
// function's process talks to. Use one API per life of the runtime process (a
// reset makes a new one); the lifecycle calls Begin for each invocation and
// waits on the Turn it gets. Concurrent is the same for managed instances, where
// one process runs several invocations at once.
package runtimeapi

import (
	"context"
	"net/http"
	"sync"
)

// Limits of what a function may answer, from AWS's quotas page and code.
const (
	// maxPayload is the largest buffered response or error, in bytes: 6 MiB and 100.
	maxPayload = 6*1024*1024 + 100
	// maxStream is the largest streamed response, in bytes.
	maxStream = 200 * 1024 * 1024
)

// state is the runtime's place in the protocol; its text is what AWS writes
// into the message of a refused transition.
type state string

const (
	started         state = "Started"
	initFailed      state = "InitError"
	ready           state = "Ready"
	running         state = "Running"
	sendingResponse state = "InvocationResponse"
	sendingError    state = "InvocationErrorResponse"
	responseSent    state = "RuntimeResponseSentState"
	// Of a runtime that is restored from a snapshot.
	restoreReady  state = "RestoreReady"
	restoring     state = "Restoring"
	restoreFailed state = "RuntimeRestoreErrorState"
)

// allowed lists every transition; whatever is not here is answered with 403.
// Ready to Running and RestoreReady to Restoring are the platform's own steps and
// are made by Begin and Restore.
var allowed = map[state][]state{
	started:         {ready, restoreReady, initFailed},
	running:         {running, sendingResponse, sendingError},
	sendingResponse: {responseSent},
	sendingError:    {responseSent},
	responseSent:    {ready},
	restoring:       {ready, restoreFailed},
}

// Config says whom the API reports to. Both hooks may be nil.
type Config struct {
	// InitError is called when the runtime posts init/error: errorType is
	// normalised, body is what the caller of the function gets.
	InitError func(errorType string, body []byte)
	// BeforeEvent is called before an invocation is handed out; a fault may wait
	// in it until the context (that of the runtime's request) ends.
	BeforeEvent func(context.Context)
	// Snapshot serves restore/next and restore/error: the function has SnapStart.
	Snapshot bool
	// RestoreError is called when an after-restore hook has failed. May be nil.
	RestoreError func(errorType string)
}

// API is the Runtime API of one runtime process.
type API struct {
	cfg Config
	mux *http.ServeMux

	mu      sync.Mutex
	state   state
	turn    *Turn         // the last invocation begun, nil before the first
	begun   chan struct{} // closed by Begin, then replaced
	arrived chan struct{} // closed at the first next

	snapshot chan struct{} // closed when Init is over: at restore/next, or next
	restored chan struct{} // closed by Restore
}

// New returns an API in state Started.
func New(cfg Config) *API {
	a := &API{cfg: cfg, state: started, begun: make(chan struct{}), arrived: make(chan struct{}), mux: http.NewServeMux(),
		snapshot: make(chan struct{}), restored: make(chan struct{})}
	a.mux.HandleFunc("GET /2018-06-01/runtime/invocation/next", a.next)
	a.mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/response", a.response)
	a.mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/error", a.failure)
	a.mux.HandleFunc("POST /2018-06-01/runtime/init/error", a.initError)
	a.mux.HandleFunc("GET /2018-06-01/ping", ping)
	if cfg.Snapshot {
		a.mux.HandleFunc("GET /2018-06-01/runtime/restore/next", a.restoreNext)
		a.mux.HandleFunc("POST /2018-06-01/runtime/restore/error", a.restoreError)
	}
	return a
}

// ServeHTTP answers one request of the runtime.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.mux.ServeHTTP(w, r) }

// Arrived is closed when the runtime asks for its first invocation: its part of
// Init, or of Restore, is over.
func (a *API) Arrived() <-chan struct{} { return a.arrived }

// Begin hands an invocation to the runtime, which waits in next. Call it only
// when the runtime has arrived and the turn before is Done.
func (a *API) Begin(inv Invocation) *Turn {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.turn = &Turn{inv: inv, answered: make(chan struct{}), done: make(chan struct{})}
	a.state = running
	close(a.begun)
	a.begun = make(chan struct{})
	return a.turn
}

// move makes one transition, or says which one was refused.
func (a *API) move(to state) error {
	for _, s := range allowed[a.state] {
		if s == to {
			a.state = to
			return nil
		}
	}
	return &transitionError{from: a.state, to: to}
}

type transitionError struct{ from, to state }

func (e *transitionError) Error() string {
	return "State transition from " + string(e.from) + " to " + string(e.to) +
		" failed for runtime. Error: State transition is not allowed"
}
