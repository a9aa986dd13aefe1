package conformance

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// front stands before the real backend and breaks its answers on demand.
type front struct {
	server  *httptest.Server
	proxy   *httputil.ReverseProxy
	hanging chan struct{} // a request has begun to hang
	over    chan struct{} // ends those

	mu      sync.Mutex
	handler func(f *front, w http.ResponseWriter, r *http.Request)
}

func newFront(t *testing.T, backend string) *front {
	t.Helper()
	target, err := url.Parse(backend)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DisableKeepAlives: true, DisableCompression: true}
	f := &front{hanging: make(chan struct{}, 100), over: make(chan struct{})}
	f.proxy = &httputil.ReverseProxy{
		Transport: transport,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host // it is signed
		},
	}
	f.do(pass)
	f.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		handler := f.handler
		f.mu.Unlock()
		handler(f, w, r)
	}))
	t.Cleanup(func() {
		close(f.over)
		f.server.Close()
	})
	return f
}

// do sets what happens from the next request on: one of the functions below,
// or a plain handler.
func (f *front) do(handler any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch h := handler.(type) {
	case func(*front, http.ResponseWriter, *http.Request):
		f.handler = h
	case http.HandlerFunc:
		f.handler = func(_ *front, w http.ResponseWriter, r *http.Request) { h(w, r) }
	default:
		panic(fmt.Sprintf("front: %T is no handler", handler))
	}
}

// pass lets the real backend answer.
func pass(f *front, w http.ResponseWriter, r *http.Request) { f.proxy.ServeHTTP(w, r) }

// answerLost lets the real backend act and keeps its answer.
func answerLost(f *front, w http.ResponseWriter, r *http.Request) {
	f.proxy.ServeHTTP(httptest.NewRecorder(), r)
	hangUp(w, "")
}

// answerCut lets the real backend act and closes after the first byte of what it
// says, or before it where it says nothing.
func answerCut(f *front, w http.ResponseWriter, r *http.Request) {
	answer := httptest.NewRecorder()
	f.proxy.ServeHTTP(answer, r)
	answer.Header().Set("Content-Length", "1000")
	var head strings.Builder
	_ = answer.Header().Write(&head)
	body := answer.Body.String()
	hangUp(w, fmt.Sprintf("HTTP/1.1 %d x\r\n%s\r\n%s", answer.Code, head.String(), body[:min(len(body), 1)]))
}

// hang takes the request and says nothing.
func hang(f *front, _ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	f.hanging <- struct{}{}
	select {
	case <-f.over:
	case <-r.Context().Done():
	}
}

// hangUp closes the connection after some raw bytes.
func hangUp(w http.ResponseWriter, raw string) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		panic(err)
	}
	_, _ = io.WriteString(conn, raw)
	_ = conn.Close()
}

// mirror answers with everything the request's head held, so that secrets get
// into errors if nobody takes care.
func mirror(w http.ResponseWriter, r *http.Request, status int, contentType string) {
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	fmt.Fprintf(w, "<Error><Code>Mirror</Code><Message>you sent %v to %v\nindeed</Message></Error>", r.Header, r.URL)
}

// longest is the most that a destination reports of a Retry-After; the caller
// bounds what it follows of it (destination.Backoff).
const longest = 24 * time.Hour

// faults are the misbehaviours that every destination has to survive.
func faults() []fault {
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { mirror(w, r, code, "application/xml") }
	}
	slow := func(code int, retryAfter string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Retry-After", retryAfter)
			mirror(w, r, code, "text/plain")
		}
	}
	return []fault{
		{name: "400", handler: status(400), status: 400},
		{name: "401", handler: status(401), status: 401, hint: true},
		{name: "403", handler: status(403), status: 403, hint: true},
		{name: "404", handler: status(404), status: 404, hint: true},
		{name: "413", handler: status(413), status: 413},
		{name: "500", handler: status(500), status: 500},
		{name: "502", handler: status(502), status: 502},
		{name: "503 with Retry-After", handler: slow(503, "7"), status: 503, retryAfter: 7 * time.Second},
		{name: "429 with a Retry-After of long ago", handler: slow(429, "Thu, 01 Oct 2020 09:00:00 GMT"), status: 429},
		{name: "503 with a Retry-After of a year", handler: slow(503, "31536000"), status: 503, retryAfter: longest},
		{name: "429 with a Retry-After of an age", handler: slow(429, "99999999999999999999"), status: 429},
		{name: "503 with a broken Retry-After", handler: slow(503, "soon"), status: 503},
		{name: "redirect", status: 302, hint: true, handler: func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:9/elsewhere", http.StatusFound)
		}},
		{name: "login page", status: 200, hint: true, handler: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			fmt.Fprintf(w, "<!DOCTYPE html>\n<title>Log in</title>%v", r.Header)
		}},
		{name: "endless page", status: 200, hint: true, handler: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(w, "<html>")
			for chunk := make([]byte, 64<<10); r.Context().Err() == nil; {
				if _, err := w.Write(chunk); err != nil {
					return
				}
			}
		}},
		{name: "garbage", handler: func(w http.ResponseWriter, _ *http.Request) { hangUp(w, "\x00\xff not HTTP\n\n") }},
		{name: "answer cut in the head", handler: func(w http.ResponseWriter, _ *http.Request) { hangUp(w, "HTTP/1.1 20") }},
		{name: "closed connection", handler: func(w http.ResponseWriter, _ *http.Request) { hangUp(w, "") }},
	}
}
