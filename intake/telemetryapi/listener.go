// Package telemetryapi receives what Lambda's Telemetry API, or the older Logs
// API, posts to an extension. Use a Listener for the requests and a Decoder for
// what is in them; both belong to one subscription.
package telemetryapi

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
)

// Config says where to listen and who takes what arrives.
type Config struct {
	// Port is the TCP port, 0 for any free one. A port that is taken is not
	// fatal: the Listener takes a free one and says so.
	Port int
	// MaxBody bounds one request's body in bytes; a larger one is counted and
	// dropped. The platform sends up to twice the subscription's maxBytes and
	// some metadata.
	MaxBody int
	// Take has one body. It returns false when there is no room now: the
	// request is then answered with 503 and the platform sends it again. It is
	// called by one goroutine at a time and must not keep the slice.
	Take func(ctx context.Context, body []byte) bool
	// Refused counts a body that was dropped unread, with the reason.
	Refused func(bytes int64, reason string)
	// Listen is net.Listen if nil; simulations have networks of their own.
	Listen func(network, address string) (net.Listener, error)
}

// Listener is the HTTP server that the subscription names.
type Listener struct {
	config Config
	server *http.Server
	port   int
	path   string // unguessable: only the platform has been told
	turn   chan struct{}
	body   []byte // the one request being read, guarded by turn
	resent resent
	served sync.WaitGroup
	busy   atomic.Int32 // requests under way
}

// Listen opens the port and starts to serve.
func Listen(c Config) (*Listener, error) {
	listen := c.Listen
	if listen == nil {
		listen = net.Listen
	}
	socket, err := listen("tcp", ":"+strconv.Itoa(c.Port))
	if err != nil && c.Port != 0 {
		slog.Warn("listen for telemetry: port is taken, using a free one", "port", c.Port, "cause", err)
		socket, err = listen("tcp", ":0")
	}
	if err != nil {
		return nil, fmt.Errorf("listen for telemetry on port %d: %w", c.Port, err)
	}
	var token [8]byte
	if _, err := rand.Read(token[:]); err != nil {
		return nil, errors.Join(fmt.Errorf("make the telemetry path: %w", err), socket.Close())
	}
	l := &Listener{
		config: c,
		port:   socket.Addr().(*net.TCPAddr).Port,
		path:   "/" + hex.EncodeToString(token[:]),
		turn:   make(chan struct{}, 1),
		resent: resent{seed: maphash.MakeSeed()},
	}
	// No read or idle time limits: the environment may be frozen in the middle
	// of a request for any time.
	l.server = &http.Server{
		Handler:        http.HandlerFunc(l.serve),
		MaxHeaderBytes: 16 << 10,
		ErrorLog:       slog.NewLogLogger(slog.Default().Handler(), slog.LevelDebug),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, connectionKey{}, c)
		},
	}
	l.served.Go(func() { _ = l.server.Serve(socket) }) // always ErrServerClosed
	return l, nil
}

// connectionKey finds a request's connection in its context.
type connectionKey struct{}

// URI is what to subscribe with. The name resolves inside the environment.
func (l *Listener) URI() string {
	return fmt.Sprintf("http://sandbox.localdomain:%d%s", l.port, l.path)
}

// Busy tells whether a request of the platform is under way: it has begun to come,
// and has no answer yet.
func (l *Listener) Busy() bool { return l.busy.Load() > 0 }

// Close stops listening and cuts what is under way.
func (l *Listener) Close() error {
	err := l.server.Close()
	l.served.Wait()
	return err
}

// serve answers one request. 200 means: every record of it is in our buffer.
func (l *Listener) serve(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != l.path || r.Method != http.MethodPost && r.Method != http.MethodPut {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	l.busy.Add(1)
	defer l.busy.Add(-1)
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-r.Context().Done():
		return
	}
	w.WriteHeader(l.take(r))
}

// take reads one body and hands it on; it gives the status code to answer.
func (l *Listener) take(r *http.Request) int {
	whole, err := l.read(r)
	if err != nil { // the connection broke: the platform sends the body again
		slog.Debug("read telemetry", "cause", err)
		return http.StatusBadRequest
	}
	if !whole {
		n, _ := io.Copy(io.Discard, io.LimitReader(r.Body, 16*int64(l.config.MaxBody)))
		l.config.Refused(n+int64(len(l.body)), "body_too_large")
		return http.StatusOK // sent again it would be as large
	}
	connection := r.Context().Value(connectionKey{})
	if l.resent.seen(connection, l.body) {
		return http.StatusOK
	}
	if !l.config.Take(r.Context(), l.body) {
		return http.StatusServiceUnavailable
	}
	l.resent.took(connection, l.body)
	return http.StatusOK
}

// read fills l.body; whole is false when the body is over the limit.
func (l *Listener) read(r *http.Request) (whole bool, err error) {
	const keep = 1 << 20 // a larger buffer is not worth keeping
	if cap(l.body) > keep {
		l.body = nil
	}
	want := min(max(int(r.ContentLength), 16<<10), l.config.MaxBody) + 1
	if cap(l.body) < want {
		l.body = make([]byte, 0, want)
	}
	l.body = l.body[:0]
	for {
		if len(l.body) > l.config.MaxBody {
			return false, nil
		}
		if len(l.body) == cap(l.body) {
			l.body = append(l.body, 0)[:len(l.body)]
		}
		n, err := r.Body.Read(l.body[len(l.body):cap(l.body)])
		l.body = l.body[:len(l.body)+n]
		if errors.Is(err, io.EOF) {
			return len(l.body) <= l.config.MaxBody, nil
		}
		if err != nil {
			return false, fmt.Errorf("after %d bytes: %w", len(l.body), err)
		}
	}
}
