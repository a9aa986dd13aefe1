// Package invokeapi is the emulator's front end: the part of the AWS Lambda
// service API that invokes functions, so that an AWS SDK's Lambda client or
// `aws lambda invoke --endpoint-url` works against it. It reads requests, asks
// an Invoker and writes answers in AWS's words. Signatures are not checked.
package invokeapi

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// Largest payloads of an invocation, in bytes.
const (
	maxPayload      = 6 * 1024 * 1024 // RequestResponse and streaming
	maxEventPayload = 1024 * 1024     // Event
)

// Request is an invocation as the caller asked for it.
type Request struct {
	RequestID     string // a new UUID
	Function      string // the bare name
	Qualifier     string // version or alias, empty for $LATEST
	Payload       []byte // JSON; an empty body has become {}
	ClientContext string // JSON text, already decoded
	TraceID       string // X-Ray header, empty if the caller sent none
	TenantID      string
	Tail          bool // the caller wants the end of the log

	// Stream takes a streamed response as it comes; nil wants the answer whole.
	Stream func(contentType string) io.Writer
}

// Response is what an invocation led to.
type Response struct {
	Payload         []byte
	FunctionError   string // empty for a success, else "Unhandled"
	ExecutedVersion string
	LogTail         []byte // with Tail: the last 4 KiB of the invocation's log
	Streamed        bool   // the payload went to Request.Stream
	StreamError     string // error type in the trailers of a streamed response
	StreamDetails   []byte // its body
}

// Invoker runs functions. Its errors are *Exception where AWS has one; any
// other becomes a ServiceException.
type Invoker interface {
	// Check says whether the function can be invoked at all.
	Check(Request) error
	// Invoke waits for the function's answer.
	Invoke(context.Context, Request) (Response, error)
	// Enqueue takes an asynchronous event.
	Enqueue(Request) error
}

// Handler answers the Invoke API.
type Handler struct {
	invoker Invoker
	mux     *http.ServeMux
}

// New returns a Handler in front of the Invoker.
func New(invoker Invoker) *Handler {
	h := &Handler{invoker: invoker, mux: http.NewServeMux()}
	h.mux.HandleFunc("POST /2015-03-31/functions/{name}/invocations", h.invoke)
	h.mux.HandleFunc("POST /2021-11-15/functions/{name}/response-streaming-invocations", h.stream)
	h.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		(&Exception{Status: http.StatusNotFound, Type: "UnknownOperationException",
			Message: "the emulator serves the Invoke API only, not " + r.Method + " " + r.URL.Path}).write(w)
	})
	return h
}

// ServeHTTP answers one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.mux.ServeHTTP(w, r) }

func (h *Handler) invoke(w http.ResponseWriter, r *http.Request) {
	kind := r.Header.Get("X-Amz-Invocation-Type")
	if kind == "" {
		kind = "RequestResponse"
	}
	req, err := read(w, r, kind)
	if err != nil {
		fail(w, err)
		return
	}
	switch kind {
	case "RequestResponse":
		h.respond(w, r, req)
	case "Event":
		if err := h.invoker.Enqueue(req); err != nil {
			fail(w, err)
			return
		}
		w.WriteHeader(http.StatusAccepted)
	case "DryRun":
		if err := h.invoker.Check(req); err != nil {
			fail(w, err)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}
}

func (h *Handler) respond(w http.ResponseWriter, r *http.Request, req Request) {
	resp, err := h.invoker.Invoke(r.Context(), req)
	if err != nil {
		fail(w, err)
		return
	}
	head := w.Header()
	head.Set("Content-Type", "application/json")
	head.Set("X-Amz-Executed-Version", resp.ExecutedVersion)
	if resp.FunctionError != "" {
		head.Set("X-Amz-Function-Error", resp.FunctionError)
	}
	if req.Tail {
		head.Set("X-Amz-Log-Result", base64.StdEncoding.EncodeToString(resp.LogTail))
	}
	if req.TraceID != "" {
		head.Set("X-Amzn-Trace-Id", req.TraceID)
	}
	_, _ = w.Write(resp.Payload)
}

// read takes the request apart and puts its id into the answer's head.
func read(w http.ResponseWriter, r *http.Request, kind string) (Request, error) {
	req := Request{
		RequestID: NewRequestID(),
		TraceID:   r.Header.Get("X-Amzn-Trace-Id"),
		TenantID:  r.Header.Get("X-Amz-Tenant-Id"),
		Tail:      r.Header.Get("X-Amz-Log-Type") == "Tail",
	}
	w.Header().Set("X-Amzn-RequestId", req.RequestID)
	var err error
	if req.Function, req.Qualifier, err = parseName(r.PathValue("name"), r.URL.Query()); err != nil {
		return req, err
	}
	limit := maxPayload
	switch kind {
	case "Event":
		limit = maxEventPayload
	case "RequestResponse", "DryRun":
	default:
		return req, invalid("InvalidParameterValueException", "Value '"+kind+"' at 'invocationType' failed to satisfy "+
			"constraint: Member must satisfy enum value set: [Event, RequestResponse, DryRun]")
	}
	if encoded := r.Header.Get("X-Amz-Client-Context"); encoded != "" {
		text, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil || !json.Valid(text) {
			return req, invalid("InvalidRequestContentException", "Client context must be a valid Base64-encoded JSON object.")
		}
		req.ClientContext = string(text)
	}
	req.Payload, err = readPayload(r, kind, limit)
	return req, err
}

func readPayload(r *http.Request, kind string, limit int) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, int64(limit)+1))
	if err != nil {
		return nil, invalid("InvalidRequestContentException", "Could not read request body: "+err.Error())
	}
	if len(body) > limit {
		size := max(r.ContentLength, int64(len(body)))
		return nil, &Exception{Status: http.StatusRequestEntityTooLarge, Type: "RequestTooLargeException",
			Message: fmt.Sprintf("%d byte payload is too large for the %s invocation type (limit %d bytes)", size, kind, limit)}
	}
	if len(body) == 0 {
		return []byte("{}"), nil
	}
	if err := checkJSON(body); err != nil {
		return nil, invalid("InvalidRequestContentException", "Could not parse request body into json: "+err.Error())
	}
	return body, nil
}

// checkJSON says what is wrong with a text that is no JSON value.
func checkJSON(body []byte) error {
	var value json.RawMessage
	return json.Unmarshal(body, &value)
}

// parseName reads a name, name:qualifier, partial or full ARN.
func parseName(text string, query url.Values) (name, qualifier string, err error) {
	parts := strings.Split(text, ":")
	for i, part := range parts {
		if part == "function" && i > 0 && i+1 < len(parts) {
			parts = parts[i+1:]
			break
		}
	}
	qualifier = query.Get("Qualifier")
	if len(parts) == 2 && qualifier == "" {
		qualifier = parts[1]
	}
	if len(parts) > 2 || parts[0] == "" || (len(parts) == 2 && parts[1] != qualifier) {
		return "", "", invalid("InvalidParameterValueException", "no function name, or two qualifiers: "+text)
	}
	if qualifier == "$LATEST" {
		qualifier = ""
	}
	return parts[0], qualifier, nil
}

// NewRequestID returns a random UUID.
func NewRequestID() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
