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
		close(a.snapshot)
		close(a.arrived)
	case restoring:
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
	refused := succeeded(r, t.inv, &reply)
	a.finish(t, reply)
	if refused != nil {
		refused.write(w)
		return
	}
	accept(w)
}

// succeeded reads the answer of a handler that did not fail.
func succeeded(r *http.Request, inv Invocation, reply *Reply) (refused *problem) {
	switch r.Header.Get("Lambda-Runtime-Function-Response-Mode") {
	case "":
		refused = buffered(r, inv.RequestID, reply)
	case "streaming":
		refused = streamed(r, inv, reply)
	default:
		refused = &invalidMode
		reply.ErrorType = "Runtime.InvalidResponseModeHeader"
		reply.Payload = FailureBody(inv.RequestID, reply.ErrorType, invalidMode.Message)
	}
	if refused != nil {
		reply.ContentType = "application/json"
	}
	return refused
}

// failed reads a handler's error.
func failed(r *http.Request, requestID string, reply *Reply) *problem {
	refused := buffered(r, requestID, reply)
	if refused == nil {
		reply.ErrorType = errorType(r.Header.Get(errorTypeHeader))
		reply.Payload = errorAlone(reply.ContentType, reply.Payload)
	}
	return refused
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
	case isTooLong(err): // an error on managed instances, whose limit is lower
		reply.ErrorType = "Function.ResponseSizeTooLarge"
		reply.Payload = tooLargeBody(max(reply.Bytes, r.ContentLength), maxError)
		return &tooLargeError
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
	first := &firstByte{from: r.Body}
	n, err := io.Copy(sink, io.LimitReader(first, limit+1))
	reply.Bytes = n
	if !first.at.IsZero() {
		reply.Start = first.at
	}
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

// firstByte notes when the first byte came: a runtime may open its response long
// before it writes to it.
type firstByte struct {
	from io.Reader
	at   time.Time
}

func (f *firstByte) Read(b []byte) (int, error) {
	n, err := f.from.Read(b)
	if n > 0 && f.at.IsZero() {
		f.at = time.Now()
	}
	return n, err
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
	refused := failed(r, t.inv.RequestID, &reply)
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
	restore := a.state == restoring
	err := a.move(initFailed)
	a.mu.Unlock()
	if restore {
		a.restoreError(w, r)
		return
	}
	if err != nil {
		refuse(w, err)
		return
	}
	reportInitError(w, r, a.cfg.InitError)
}

// reportInitError reads the runtime's words and passes them on.
func reportInitError(w http.ResponseWriter, r *http.Request, report func(errorType string, body []byte)) {
	var reply Reply
	refused := buffered(r, "", &reply)
	var body []byte // the runtime's own words, if it got them out
	if refused == nil {
		body = errorAlone(r.Header.Get("Content-Type"), reply.Payload)
	}
	if report != nil {
		report(errorType(r.Header.Get(errorTypeHeader)), body)
	}
	if refused != nil {
		refused.write(w)
		return
	}
	accept(w)
}
