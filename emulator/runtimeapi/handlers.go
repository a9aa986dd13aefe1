package runtimeapi

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"
)

func ping(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "pong") }

// next tells the platform that the runtime is free and waits for an invocation.
// A runtime that asks again before it has answered gets the same one again.
func (a *API) next(w http.ResponseWriter, r *http.Request) {
	begun, err := a.await()
	if err != nil {
		refuse(w, err)
		return
	}
	select {
	case <-begun:
	case <-r.Context().Done():
		return
	}
	if a.cfg.BeforeEvent != nil {
		a.cfg.BeforeEvent(r.Context())
	}
	a.mu.Lock()
	inv := a.turn.inv
	a.mu.Unlock()
	writeInvocation(w, inv)
}

// await makes the transition of next and returns what to wait for.
func (a *API) await() (<-chan struct{}, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.state == running {
		again := make(chan struct{})
		close(again)
		return again, nil
	}
	before := a.state
	if err := a.move(ready); err != nil {
		return nil, err
	}
	switch before {
	case started:
		close(a.arrived)
	case responseSent:
		a.turn.end = time.Now()
		close(a.turn.done)
	}
	return a.begun, nil
}

func writeInvocation(w http.ResponseWriter, inv Invocation) {
	set := func(name, value string) {
		if value != "" {
			w.Header().Set(name, value)
		}
	}
	set("Content-Type", "application/json")
	set("Lambda-Runtime-Aws-Request-Id", inv.RequestID)
	set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(inv.Deadline.UnixMilli(), 10))
	set("Lambda-Runtime-Invoked-Function-Arn", inv.FunctionARN)
	set("Lambda-Runtime-Trace-Id", inv.TraceID)
	set("Lambda-Runtime-Client-Context", inv.ClientContext)
	set("Lambda-Runtime-Aws-Tenant-Id", inv.TenantID)
	w.Header().Set("Content-Length", strconv.Itoa(len(inv.Payload)))
	_, _ = w.Write(inv.Payload)
}

// errRequestID says that the path names another invocation than the current one.
var errRequestID = errors.New("not the current invocation's request id")

// claim checks the request id first and the state second, as AWS does, and
// leaves the invocation in the caller's hands until finish.
func (a *API) claim(id string, to state) (*Turn, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.turn == nil || a.turn.inv.RequestID != id {
		return nil, errRequestID
	}
	if err := a.move(to); err != nil {
		return nil, err
	}
	return a.turn, nil
}

func (a *API) finish(t *Turn, reply Reply) {
	a.mu.Lock()
	defer a.mu.Unlock()
	reply.End = time.Now()
	t.reply = reply
	a.state = responseSent
	close(t.answered)
}

// response takes a success: buffered, or streamed when the mode header says so.
func (a *API) response(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	t, err := a.claim(r.PathValue("id"), sendingResponse)
	if err != nil {
		refuse(w, err)
		return
	}
	reply := Reply{Start: start, ContentType: r.Header.Get("Content-Type")}
	var refused *problem
	switch r.Header.Get("Lambda-Runtime-Function-Response-Mode") {
	case "":
		refused = buffered(r, t.inv.RequestID, &reply)
	case "streaming":
		refused = streamed(r, t.inv, &reply)
	default:
		refused = &invalidMode
		reply.ErrorType = "Runtime.InvalidResponseModeHeader"
		reply.Payload = FailureBody(t.inv.RequestID, reply.ErrorType, invalidMode.Message)
	}
	if refused != nil {
		reply.ContentType = "application/json"
	}
	a.finish(t, reply)
	if refused != nil {
		refused.write(w)
		return
	}
	accept(w)
}

// buffered reads a whole body. What is too large is read to its end and
// counted, so that the caller learns how large it was.
func buffered(r *http.Request, requestID string, reply *Reply) *problem {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxPayload+1))
	reply.Bytes = int64(len(body))
	if err == nil && reply.Bytes > maxPayload {
		rest, drainErr := io.Copy(io.Discard, io.LimitReader(r.Body, maxStream))
		reply.Bytes, err = reply.Bytes+rest, drainErr
	}
	switch {
	case err != nil:
		reply.ErrorType = "Runtime.TruncatedResponse"
		reply.Payload = FailureBody(requestID, reply.ErrorType, "Response is truncated")
		return &truncated
	case reply.Bytes > maxPayload:
		reply.ErrorType = "Function.ResponseSizeTooLarge"
		reply.Payload = tooLargeBody(reply.Bytes, maxPayload)
		return &tooLarge
	}
	reply.Payload = body
	return nil
}

// streamed passes the body on as it comes, and reads the trailers at its end. A
// caller that wants the answer whole gets no more than a buffered one may be.
func streamed(r *http.Request, inv Invocation, reply *Reply) *problem {
	var collected bytes.Buffer
	var sink io.Writer = &collected
	limit := int64(maxPayload)
	if inv.Stream != nil {
		reply.Streamed = true
		sink, limit = &patientWriter{to: inv.Stream(reply.ContentType)}, maxStream
	}
	n, err := io.Copy(sink, io.LimitReader(r.Body, limit+1))
	reply.Bytes = n
	switch {
	case err != nil:
		reply.ErrorType = "Runtime.TruncatedResponse"
		reply.Payload = FailureBody(inv.RequestID, reply.ErrorType, "Response is truncated")
		return &truncated
	case n > limit:
		reply.ErrorType = "Function.ResponseSizeTooLarge"
		reply.Payload = tooLargeBody(n, limit)
		return &tooLarge
	}
	if !reply.Streamed {
		reply.Payload = collected.Bytes()
	}
	if typ := r.Trailer.Get(errorTypeHeader); typ != "" {
		reply.TrailerType = errorType(typ)
		encoded := r.Trailer.Get("Lambda-Runtime-Function-Error-Body")
		if body, err := base64.StdEncoding.DecodeString(encoded); err == nil {
			reply.TrailerBody = body
		}
	}
	return nil
}

// patientWriter swallows what a caller that went away does not take: the
// function must not notice.
type patientWriter struct {
	to   io.Writer
	gone bool
}

func (p *patientWriter) Write(b []byte) (int, error) {
	if !p.gone {
		_, err := p.to.Write(b)
		p.gone = err != nil
	}
	return len(b), nil
}

// failure takes a handler's error. The body is passed on unchanged.
func (a *API) failure(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	t, err := a.claim(r.PathValue("id"), sendingError)
	if err != nil {
		refuse(w, err)
		return
	}
	reply := Reply{Start: start, ContentType: r.Header.Get("Content-Type")}
	refused := buffered(r, t.inv.RequestID, &reply)
	if refused == nil {
		reply.ErrorType = errorType(r.Header.Get(errorTypeHeader))
		reply.Payload = errorAlone(reply.ContentType, reply.Payload)
	}
	a.finish(t, reply)
	if refused != nil {
		refused.write(w)
		return
	}
	accept(w)
}

// initError takes the runtime's word that it cannot start.
func (a *API) initError(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	err := a.move(initFailed)
	a.mu.Unlock()
	if err != nil {
		refuse(w, err)
		return
	}
	var reply Reply
	refused := buffered(r, "", &reply)
	var body []byte // the runtime's own words, if it got them out
	if refused == nil {
		body = errorAlone(r.Header.Get("Content-Type"), reply.Payload)
	}
	if a.cfg.InitError != nil {
		a.cfg.InitError(errorType(r.Header.Get(errorTypeHeader)), body)
	}
	if refused != nil {
		refused.write(w)
		return
	}
	accept(w)
}
