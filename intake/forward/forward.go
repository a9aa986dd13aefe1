// Package forward takes requests that a vendor's agent in the function would
// send to its collector far away: it answers them at once and hands them on
// unread, to be sent later (destination/forward). Use it for the paths of
// SLIPSTREAM_FORWARD on a local HTTP listener.
package forward

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"slipstream/telemetry"
	"slipstream/wire/forwarded"
)

// MaxHeader bounds the bytes of a request's first line and headers. Let the
// server's MaxHeaderBytes be as large.
const MaxHeader = 32 << 10

const (
	defaultMaxBody = 4 << 20
	smallBody      = 64 << 10 // bytes; such a body waits for no other
	largeBodies    = 4        // read at once: the memory they take is bounded
	maxTurn        = 2 * time.Second
	keepBuffer     = 128 << 10 // a larger buffer is not worth keeping
	keepReceptions = 8         // more are made as needed and not kept
)

// Options say which requests are taken and by whom.
type Options struct {
	Routes []Route
	// MaxBody bounds a request's body in bytes; 0 is 4 MiB.
	MaxBody int
	// Take has one request for Routes[route], as package wire/forwarded frames
	// it. Once it returns nil the agent is told that its request is done. After
	// telemetry.ErrNoRoom and telemetry.ErrOver the agent is told to come again
	// (503). It is called by several goroutines at once and must not keep the
	// frame.
	Take func(route int, frame []byte) error
	// Drop counts requests that are refused for good, with the reason: no_route,
	// method, malformed, header_too_large, too_large, stalled, incomplete.
	Drop func(reason string, n int)
}

// Handler answers agents. It takes POST, PUT and PATCH; to what asks for an
// answer of the collector's own (GET) it has none, and says so with 405. Do not
// put it behind a http.ServeMux, which redirects paths with a "//".
type Handler struct {
	options Options
	slots   chan struct{} // one for each large body being read
	idle    chan *reception
}

// New makes a handler. It has no goroutines beyond its requests.
func New(o Options) *Handler {
	if o.MaxBody <= 0 {
		o.MaxBody = defaultMaxBody
	}
	return &Handler{options: o, slots: make(chan struct{}, largeBodies), idle: make(chan *reception, keepReceptions)}
}

// reception is what one request needs while it comes in.
type reception struct {
	request forwarded.Request
	names   []string
	frame   []byte
	watch   watch
}

// refusal is an answer other than success.
type refusal struct {
	status int
	reason string // to be counted, "" for an agent that is to come again
	hint   string
}

var (
	errMethod = &refusal{http.StatusMethodNotAllowed, "method",
		"only POST, PUT and PATCH are forwarded: nobody waits for the collector's answer"}
	errDots   = &refusal{http.StatusBadRequest, "malformed", "the path has . or .. in it"}
	errHeader = &refusal{http.StatusRequestHeaderFieldsTooLarge, "header_too_large",
		fmt.Sprintf("the headers are more than %d bytes", MaxHeader)}
	errTooLarge   = &refusal{http.StatusRequestEntityTooLarge, "too_large", "the body is too large to be forwarded"}
	errStalled    = &refusal{http.StatusRequestTimeout, "stalled", "the body did not arrive"}
	errIncomplete = &refusal{http.StatusBadRequest, "incomplete", "the body broke off"}
	errNoRoom     = &refusal{http.StatusServiceUnavailable, "", "no room: try again later"}
	errOver       = &refusal{http.StatusServiceUnavailable, "", "the environment is ending"}
)

var (
	jsonType   = []string{"application/json"}
	emptyJSON  = []byte("{}")
	retryAfter = []string{"1"} // seconds
)

// ServeHTTP takes one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	target := r.RequestURI // as it was written
	if !strings.HasPrefix(target, "/") {
		target = r.URL.RequestURI()
	}
	path, _, _ := strings.Cut(target, "?")
	route, _ := match(h.options.Routes, path)
	if route < 0 {
		h.refuse(w, &refusal{http.StatusNotFound, "no_route", "nothing is forwarded from this path: see SLIPSTREAM_FORWARD"})
		return
	}
	to := &h.options.Routes[route]
	if err := h.receive(w, r, route, target); err != nil {
		h.refuse(w, err)
		return
	}
	if to.Status != http.StatusNoContent && to.Status != http.StatusResetContent {
		w.Header()["Content-Type"] = jsonType
		w.WriteHeader(to.Status)
		_, _ = w.Write(emptyJSON) // if the agent is gone, it is gone
		return
	}
	w.WriteHeader(to.Status)
}

// refuse answers with an error and counts it.
func (h *Handler) refuse(w http.ResponseWriter, why *refusal) {
	if why.reason != "" {
		h.options.Drop(why.reason, 1)
	}
	switch why.status {
	case http.StatusServiceUnavailable:
		w.Header()["Retry-After"] = retryAfter
	case http.StatusMethodNotAllowed:
		w.Header().Set("Allow", "POST, PUT, PATCH")
	case http.StatusRequestTimeout, http.StatusRequestEntityTooLarge:
		w.Header().Set("Connection", "close")
	}
	http.Error(w, why.hint, why.status)
}

// receive frames a request and hands it on.
func (h *Handler) receive(w http.ResponseWriter, r *http.Request, route int, target string) *refusal {
	path, _, _ := strings.Cut(target, "?")
	switch {
	case r.Method != http.MethodPost && r.Method != http.MethodPut && r.Method != http.MethodPatch:
		return errMethod
	case hasDots(path):
		return errDots
	case r.ContentLength > int64(h.options.MaxBody):
		return errTooLarge
	}
	in := h.reception()
	defer h.release(in)
	in.request.Route, in.request.Method = route, r.Method
	in.request.Target = target[len(h.options.Routes[route].Prefix):]
	if !in.fields(r.Header, len(target)) {
		return errHeader
	}
	if r.ContentLength < 0 || r.ContentLength > smallBody {
		if !h.turn() {
			return errNoRoom
		}
		defer func() { <-h.slots }()
	}
	in.frame = forwarded.Begin(in.frame[:0], &in.request)
	if why := in.read(w, r, h.options.MaxBody); why != nil {
		return why
	}
	forwarded.End(in.frame, 0)
	if err := h.options.Take(route, in.frame); errors.Is(err, telemetry.ErrOver) {
		return errOver
	} else if err != nil {
		return errNoRoom
	}
	return nil
}

// turn waits, but not long, until a large body may be read.
func (h *Handler) turn() bool {
	select {
	case h.slots <- struct{}{}:
		return true
	default:
	}
	patience := time.NewTimer(maxTurn)
	defer patience.Stop()
	select {
	case h.slots <- struct{}{}:
		return true
	case <-patience.C:
		return false
	}
}

func (h *Handler) reception() *reception {
	select {
	case in := <-h.idle:
		return in
	default:
		return &reception{}
	}
}

// release gives a reception back, without what the request held.
func (h *Handler) release(in *reception) {
	clear(in.request.Header)
	clear(in.names)
	in.request = forwarded.Request{Header: in.request.Header[:0]}
	in.names = in.names[:0]
	if cap(in.frame) > keepBuffer {
		in.frame = nil
	}
	select {
	case h.idle <- in:
	default:
	}
}

// hopByHop are the headers that speak of one connection (RFC 9110, 7.6.1), or
// that are made anew for the next one.
var hopByHop = []string{"Connection", "Content-Length", "Expect", "Host", "Http2-Settings", "Keep-Alive",
	"Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade"}

// fields keeps the headers that are to go on, by name; false when they are too
// large.
func (in *reception) fields(h http.Header, size int) bool {
	for name, values := range h {
		for _, v := range values {
			size += len(name) + len(v) + len(": \r\n")
		}
		if _, own := slices.BinarySearch(hopByHop, name); !own && !isConnectionOption(h["Connection"], name) {
			in.names = append(in.names, name)
		}
	}
	if size > MaxHeader {
		return false
	}
	slices.Sort(in.names)
	for _, name := range in.names {
		for _, v := range h[name] {
			in.request.Header = append(in.request.Header, forwarded.Field{Name: name, Value: v})
		}
	}
	return true
}

// isConnectionOption tells whether a Connection header claims the name for this
// connection.
func isConnectionOption(connection []string, name string) bool {
	for _, value := range connection {
		for option := range strings.SplitSeq(value, ",") {
			if strings.EqualFold(strings.TrimSpace(option), name) {
				return true
			}
		}
	}
	return false
}

// read appends the body to the frame.
func (in *reception) read(w http.ResponseWriter, r *http.Request, most int) *refusal {
	if r.ContentLength == 0 || r.Body == nil {
		return nil
	}
	in.watch.start(w)
	defer in.watch.stop()
	start := len(in.frame)
	in.frame = slices.Grow(in.frame, max(int(r.ContentLength), 16<<10)+1)
	for {
		if len(in.frame) == cap(in.frame) {
			in.frame = slices.Grow(in.frame, min(cap(in.frame), start+most+1-len(in.frame)))
		}
		n, err := r.Body.Read(in.frame[len(in.frame):min(cap(in.frame), start+most+1)])
		in.frame = in.frame[:len(in.frame)+n]
		switch {
		case len(in.frame)-start > most:
			return errTooLarge
		case errors.Is(err, io.EOF):
			return nil
		case err != nil && in.watch.stop():
			return errStalled
		case err != nil:
			return errIncomplete
		}
		in.watch.progress(n)
	}
}
