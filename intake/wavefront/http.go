package wavefront

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"slipstream/telemetry"
)

const (
	maxBody    = 16 << 20 // of a request, decompressed: the proxy's limit
	maxHeaders = 16 << 10
	eventPath  = "/api/v2/event"
)

// methods are those that HTTP connections begin with.
var methods = []string{"GET /", "POST /", "PUT /", "HEAD /", "OPTIONS /", "PATCH /", "DELETE /", "TRACE /"}

// speaksHTTP tells whether a connection that begins like this is HTTP; more
// tells that this is not yet known. The proxy looks at two bytes only and so
// takes a metric HEap.used for one of HTTP's HEAD.
func speaksHTTP(head []byte) (is, more bool) {
	for _, m := range methods {
		if len(head) < len(m) && strings.HasPrefix(m, asString(head)) {
			more = true
		}
		if len(head) >= len(m) && asString(head[:len(m)]) == m {
			return true, false
		}
	}
	return false, more
}

// newHTTP makes the server of requests. A request that was under way while the
// environment was frozen for a minute fails: so it does for its client, which
// was frozen too, and sends it again.
func (s *Server) newHTTP() *http.Server {
	return &http.Server{
		Handler:           http.HandlerFunc(s.answer),
		MaxHeaderBytes:    maxHeaders,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       time.Minute,
		WriteTimeout:      2 * time.Minute,
		IdleTimeout:       s.options.Idle,
		ErrorLog:          slog.NewLogLogger(slog.Default().Handler(), slog.LevelDebug),
	}
}

// answer takes one request. The path does not matter but for events: the proxy
// looks at the query only.
func (s *Server) answer(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "lines are taken by POST", http.StatusMethodNotAllowed)
		return
	}
	f, ok := formatOf(r)
	if !ok {
		s.options.Drop(reasonLogsNotServed, 1)
		http.Error(w, "logs are not taken here: use OTLP", http.StatusForbidden)
		return
	}
	if r.ContentLength > maxBody {
		s.options.Drop(reasonTooLarge, 1)
		http.Error(w, "the body is over 16 MiB", http.StatusRequestEntityTooLarge)
		return
	}
	in := s.inputs.Get().(*input)
	defer s.inputs.Put(in)
	in.lines.reset()
	err := in.open(r)
	if err == nil && strings.HasPrefix(r.URL.Path, eventPath) {
		err = s.takeEvents(in)
	} else if err == nil {
		err = s.takeBody(in, f)
	}
	s.status(w, err)
}

var errTooLarge = errors.New("the body is over 16 MiB")

// status answers. What a request that failed had not handed over is forgotten:
// its sender still has it.
func (s *Server) status(w http.ResponseWriter, err error) {
	if err == nil {
		w.WriteHeader(http.StatusAccepted)
		return
	}
	switch {
	case errors.Is(err, telemetry.ErrNoRoom), errors.Is(err, telemetry.ErrOver):
		w.Header().Set("Retry-After", "1")
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	case errors.Is(err, errTooLarge):
		s.options.Drop(reasonTooLarge, 1)
		http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
	default:
		s.options.Drop(reasonMalformed, 1)
		http.Error(w, err.Error(), http.StatusBadRequest)
	}
}

// formatOf reads the query's f or format; ok is false for logs.
func formatOf(r *http.Request) (format, bool) {
	if r.URL.RawQuery == "" {
		return detect, true
	}
	q := r.URL.Query()
	name := q.Get("f")
	if name == "" {
		name = q.Get("format")
	}
	switch name {
	case "wavefront", "graphite_v2":
		return metrics, true
	case "histogram":
		return histograms, true
	case "trace":
		return traces, true
	case "spanLogs":
		return spanLogs, true
	}
	return detect, !strings.HasPrefix(name, "logs_json")
}

// input is a request's body, at most maxBody of it, and its lines.
type input struct {
	lines  lines
	source io.Reader
	raw    bufio.Reader // the body as it is sent
	unzip  *gzip.Reader
	left   int
}

func (in *input) Read(p []byte) (int, error) {
	n, err := in.source.Read(p)
	if in.left -= n; in.left < 0 {
		return n, errTooLarge
	}
	return n, err
}

// open prepares to read the body. Wavefront's Go SDK says gzip of events that
// are not: what does not begin like gzip is taken as it is.
func (in *input) open(r *http.Request) error {
	in.raw.Reset(r.Body)
	in.source, in.left = &in.raw, maxBody
	switch encoding := strings.ToLower(r.Header.Get("Content-Encoding")); encoding {
	case "", "identity":
		return nil
	case "gzip", "x-gzip":
		if magic, err := in.raw.Peek(2); err != nil || magic[0] != 0x1f || magic[1] != 0x8b {
			return nil
		}
	default:
		return fmt.Errorf("the body's encoding %q is not known: use gzip or none", encoding)
	}
	if in.unzip == nil {
		in.unzip = new(gzip.Reader)
	}
	if err := in.unzip.Reset(&in.raw); err != nil {
		return fmt.Errorf("decompress the body: %w", err)
	}
	in.source = in.unzip
	return nil
}

// takeBody takes a body's lines. The last one needs no end.
func (s *Server) takeBody(in *input, f format) error {
	for {
		err := in.lines.fill(in)
		if refused := s.take(&in.lines, f, false); refused != nil {
			return refused
		}
		switch {
		case errors.Is(err, io.EOF):
			last := in.lines.rest()
			return s.takeOne(func(p *parser) string { return p.line(last, f) })
		case err != nil:
			return fmt.Errorf("read the body: %w", err)
		}
	}
}

// takeEvents takes the body of POST /api/v2/event: one event in JSON, or lines.
func (s *Server) takeEvents(in *input) error {
	l := &in.lines
	for {
		err := l.fill(in)
		if l.to > maxLine {
			return errTooLarge
		}
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return fmt.Errorf("read the body: %w", err)
		}
	}
	if whole := trim(l.buffer[:l.to]); len(whole) > 0 && whole[0] == '{' {
		return s.takeOne(func(p *parser) string { return p.eventJSON(whole) })
	}
	if err := s.take(l, detect, false); err != nil {
		return err
	}
	return s.takeOne(func(p *parser) string { return p.line(l.rest(), detect) })
}

// handoff is the listener of the HTTP server: connections come from serve.
type handoff struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
	addr   net.Addr
}

func (h *handoff) pass(c net.Conn) bool {
	select {
	case h.conns <- c:
		return true
	case <-h.closed:
		return false
	}
}

func (h *handoff) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.closed:
		return nil, net.ErrClosed
	}
}

func (h *handoff) Close() error {
	h.once.Do(func() { close(h.closed) })
	return nil
}

func (h *handoff) Addr() net.Addr { return h.addr }

// prefixed is a connection of which the first bytes have been read.
type prefixed struct {
	net.Conn
	server *Server
	head   []byte
	once   sync.Once
}

func (p *prefixed) Read(to []byte) (int, error) {
	if len(p.head) > 0 {
		n := copy(to, p.head)
		p.head = p.head[n:]
		return n, nil
	}
	return p.Conn.Read(to)
}

func (p *prefixed) Close() error {
	p.once.Do(func() {
		p.server.remove(p.Conn)
		p.server.running.Done()
	})
	return nil
}
