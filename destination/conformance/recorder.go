package conformance

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Recorder is a backend that takes whatever is posted and looks at nothing else.
type Recorder struct {
	Path   string                      // the only one that it knows; "" for any
	Answer func(w http.ResponseWriter) // nil says 200

	mu       sync.Mutex
	requests []Request
}

// Request is what a Recorder has taken.
type Request struct {
	URI    string // path and query as they came
	Header http.Header
	Body   []byte
}

// ServeHTTP takes a request.
func (r *Recorder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil || r.Path != "" && req.URL.Path != r.Path || req.Method != http.MethodPost {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	r.requests = append(r.requests, Request{req.RequestURI, req.Header, body})
	r.mu.Unlock()
	if r.Answer != nil {
		r.Answer(w)
	}
}

// Requests gives what came, in the order in which it did.
func (r *Recorder) Requests() []Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.requests)
}

// Bodies gives the body of every request, for Case.Delivered.
func (r *Recorder) Bodies(*testing.T) (bodies [][]byte) {
	for _, request := range r.Requests() {
		bodies = append(bodies, request.Body)
	}
	return bodies
}

// Batches gives the bodies as Bodies does, of a backend that knows a resend by
// its Idempotency-Key.
func (r *Recorder) Batches(*testing.T) (bodies [][]byte) {
	last := map[string][]byte{}
	for _, request := range r.Requests() {
		last[request.Header.Get("Idempotency-Key")] = request.Body
	}
	for _, body := range last {
		bodies = append(bodies, body)
	}
	return bodies
}

// Environment makes a getenv of NAME=value pairs, the first one winning.
func Environment(pairs ...string) func(string) string {
	return func(name string) string {
		for _, pair := range pairs {
			if value, ok := strings.CutPrefix(pair, name+"="); ok {
				return value
			}
		}
		return ""
	}
}
