// Package extensionsapi is the emulator's Extensions API, version 2020-01-01:
// registration, events and errors of external and internal extensions. Use one
// API per life of an environment's processes (a reset makes a new one); the
// lifecycle releases events and waits on the channels it gets.
package extensionsapi

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Limit is how many extensions, internal and external together, a function may have.
const Limit = 10

// State is an extension's place in the protocol, in AWS's words.
type State string

// The states an extension goes through.
const (
	Started        State = "Started"
	Registered     State = "Registered"
	Ready          State = "Ready"
	Running        State = "Running"
	InitError      State = "InitError"
	ExitError      State = "ExitError"
	Exited         State = "Exited"
	ShutdownFailed State = "ShutdownFailed"
	LaunchError    State = "LaunchError"
)

// Config says what register answers and whom the API reports to. The hooks may
// be nil.
type Config struct {
	FunctionName    string
	FunctionVersion string
	Handler         string
	AccountID       string // told to those who ask for the accountId feature
	// Managed is the API of managed instances: external extensions get SHUTDOWN
	// only, internal ones no events.
	Managed bool
	// Failed is called when an extension posts init/error or exit/error; errorType
	// is the platform's, Extension.InitError or Extension.ExitError.
	Failed func(name, errorType, cause string)
	// BeforeEvent is called before an event is handed out; a fault may wait in it
	// until the context (that of the extension's request) ends.
	BeforeEvent func(context.Context)
}

// API is the Extensions API of one environment.
type API struct {
	cfg Config
	mux *http.ServeMux

	mu         sync.Mutex
	extensions []*extension // external ones first, in order of launch
	closed     bool         // registration of internal extensions
	waits      []*Wait
}

// extension is one registered or awaited extension.
type extension struct {
	name     string
	internal bool
	id       string
	events   []string
	state    State
	pending  *event        // handed out by the next call of next
	wake     chan struct{} // buffered: pending was set while the extension waits
}

// Wait is something that the lifecycle waits for.
type Wait struct {
	holds func() bool
	met   chan struct{}
	at    time.Time
}

// Done is closed when it has come.
func (w *Wait) Done() <-chan struct{} { return w.met }

// End is when it came; valid once Done is closed.
func (w *Wait) End() time.Time { return w.at }

// New returns an API that awaits the external extensions with these names.
func New(cfg Config, external []string) *API {
	a := &API{cfg: cfg, mux: http.NewServeMux()}
	for _, name := range external {
		a.extensions = append(a.extensions, &extension{name: name, state: Started, wake: make(chan struct{}, 1)})
	}
	a.mux.HandleFunc("POST /2020-01-01/extension/register", a.register)
	a.mux.HandleFunc("GET /2020-01-01/extension/event/next", a.next)
	a.mux.HandleFunc("POST /2020-01-01/extension/init/error", a.initError)
	a.mux.HandleFunc("POST /2020-01-01/extension/exit/error", a.exitError)
	return a
}

// ServeHTTP answers one request of an extension.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.mux.ServeHTTP(w, r) }

// AllRegistered is done when every external extension has registered.
func (a *API) AllRegistered() *Wait {
	return a.when(func() bool {
		return !slices.ContainsFunc(a.extensions, func(e *extension) bool { return e.state == Started })
	})
}

// CloseRegistration refuses internal extensions from now on: the runtime has
// called next.
func (a *API) CloseRegistration() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
}

// AllReady is done when every extension registered so far, whatever its
// events, waits in next.
func (a *API) AllReady() *Wait {
	return a.when(func() bool {
		return !slices.ContainsFunc(a.extensions, func(e *extension) bool { return e.state != Ready })
	})
}

// Invocation is what an INVOKE event says.
type Invocation struct {
	RequestID   string
	Deadline    time.Time
	FunctionARN string
	TraceID     string // empty when there is no trace
}

// Invoke sends INVOKE to every extension subscribed to it. The Wait is done when
// all of them are in next again.
func (a *API) Invoke(inv Invocation) *Wait {
	a.mu.Lock()
	var invoked []*extension
	for _, e := range a.extensions {
		if slices.Contains(e.events, invoke) && e.state == Ready {
			e.send(invokeEvent(inv))
			invoked = append(invoked, e)
		}
	}
	a.mu.Unlock()
	return a.when(func() bool {
		return !slices.ContainsFunc(invoked, func(e *extension) bool { return e.state != Ready })
	})
}

// Shutdown sends SHUTDOWN to the extension: at once if it waits in next, else
// when it calls next. It is false, and nothing is sent, when the extension is
// not subscribed to SHUTDOWN.
func (a *API) Shutdown(name, reason string, deadline time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	e := a.external(name)
	if e == nil || !slices.Contains(e.events, shutdown) {
		return false
	}
	e.send(shutdownEvent(reason, deadline))
	return true
}

// send leaves an event for the extension. The platform counts it as running
// from here on, even if its answer is still on the way. An event that nobody
// fetched (the connection broke) is fetched by the next call of next.
func (e *extension) send(ev *event) {
	e.pending = ev
	if e.state != Ready {
		return
	}
	e.state = Running
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// SetState records what happened to an external extension's process: Exited,
// ShutdownFailed or LaunchError. An extension that reported an error keeps that
// state.
func (a *API) SetState(name string, s State) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if e := a.external(name); e != nil && e.state != InitError && e.state != ExitError {
		a.enter(e, s)
	}
}

// Extension is what is known of one extension.
type Extension struct {
	Name     string
	State    State
	Events   []string
	Internal bool
}

// Extensions lists the external extensions in order of launch, then the
// internal ones in order of registration.
func (a *API) Extensions() []Extension {
	a.mu.Lock()
	defer a.mu.Unlock()
	list := make([]Extension, len(a.extensions))
	for i, e := range a.extensions {
		list[i] = Extension{Name: e.name, State: e.state, Events: slices.Clone(e.events), Internal: e.internal}
	}
	return list
}

// external finds an external extension by name; the lock is held.
func (a *API) external(name string) *extension {
	for _, e := range a.extensions {
		if e.name == name && !e.internal {
			return e
		}
	}
	return nil
}

// enter changes an extension's state and ends the waits for it; the lock is held.
func (a *API) enter(e *extension, s State) {
	e.state = s
	a.waits = slices.DeleteFunc(a.waits, (*Wait).over)
}

// when returns a Wait for the condition.
func (a *API) when(holds func() bool) *Wait {
	a.mu.Lock()
	defer a.mu.Unlock()
	w := &Wait{holds: holds, met: make(chan struct{})}
	if !w.over() {
		a.waits = append(a.waits, w)
	}
	return w
}

// over looks once whether the condition holds.
func (w *Wait) over() bool {
	if !w.holds() {
		return false
	}
	w.at = time.Now()
	close(w.met)
	return true
}
