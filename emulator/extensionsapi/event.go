package extensionsapi

import (
	"encoding/json"
	"net/http"
	"time"
)

// event is what next answers with.
type event struct {
	Type        string   `json:"eventType"`
	DeadlineMs  int64    `json:"deadlineMs"`
	RequestID   string   `json:"requestId,omitempty"`
	FunctionARN string   `json:"invokedFunctionArn,omitempty"`
	Tracing     *tracing `json:"tracing,omitempty"`
	Reason      string   `json:"shutdownReason,omitempty"`
}

type tracing struct {
	Type  string `json:"type"`
	Value string `json:"value"`
}

func invokeEvent(inv Invocation) *event {
	e := &event{Type: invoke, DeadlineMs: inv.Deadline.UnixMilli(), RequestID: inv.RequestID, FunctionARN: inv.FunctionARN}
	if inv.TraceID != "" {
		e.Tracing = &tracing{Type: "X-Amzn-Trace-Id", Value: inv.TraceID}
	}
	return e
}

func shutdownEvent(reason string, deadline time.Time) *event {
	return &event{Type: shutdown, DeadlineMs: deadline.UnixMilli(), Reason: reason}
}

// next says that the extension is done with Init or with the event before, and
// waits for another.
func (a *API) next(w http.ResponseWriter, r *http.Request) {
	id, ok := identifier(w, r)
	if !ok {
		return
	}
	e, problem := a.await(id)
	if problem != nil {
		problem.write(w)
		return
	}
	select {
	case <-e.wake:
	case <-r.Context().Done():
		return
	}
	if a.cfg.BeforeEvent != nil {
		a.cfg.BeforeEvent(r.Context())
	}
	a.mu.Lock()
	ev := e.pending
	e.pending = nil
	a.mu.Unlock()
	if ev == nil { // a second, parallel next has fetched it while this one was held back
		transition(Ready, Ready, id).write(w)
		return
	}
	ev.write(w)
}

// await makes the transition of next.
func (a *API) await(id string) (*extension, *problem) {
	a.mu.Lock()
	defer a.mu.Unlock()
	e := a.identified(id)
	if e == nil {
		return nil, &problem{"Unknown extension " + id, "Extension.UnknownExtensionIdentifier"}
	}
	if e.state != Registered && e.state != Running {
		return nil, transition(e.state, Ready, id)
	}
	if e.pending == nil {
		a.enter(e, Ready)
		return e, nil
	}
	e.state = Ready // SHUTDOWN came while the extension was busy
	e.send(e.pending)
	return e, nil
}

// write sends the event. SHUTDOWN has neither an identifier nor a content type
// of its own on Lambda, so clients must not rely on them.
func (e *event) write(w http.ResponseWriter) {
	body, _ := json.Marshal(e)
	if e.Type == invoke {
		w.Header().Set("Lambda-Extension-Event-Identifier", newUUID())
		w.Header().Set("Content-Type", "application/json")
	}
	_, _ = w.Write(body)
}
