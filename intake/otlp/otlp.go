// Package otlp receives OTLP, OpenTelemetry's own protocol, from SDKs in the
// function: over HTTP (protobuf and JSON) and over gRPC, both on each socket it
// is given. Use Serve, and Shutdown at the end.
//
// An answer of success means that Take has taken every record, or that the
// answer's partial success says how many were rejected, and why. That happens
// where single records of a valid message are not valid (text that is not
// UTF-8, a wrong wire type): the others are taken. A body that cannot be
// decompressed, parsed or is too large is refused whole.
package otlp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"slipstream/telemetry"
	"slipstream/wire"
)

// Limits that a Config may change.
const (
	// MaxBody bounds a compressed body, in bytes.
	MaxBody = 4 << 20
	// MaxExport bounds a body that is not compressed, or no longer.
	MaxExport = 16 << 20
	// MaxConnections bounds the connections. One more takes the place of the one
	// that is idle longest, or waits.
	MaxConnections = 64
	// Patience is how long a body may take to arrive, and an answer to be read.
	Patience = 10 * time.Second
	// RetryAfter is when a sender that found no room shall try again.
	RetryAfter = time.Second
)

// Limits that are the package's own.
const (
	maxHeader  = 32 << 10
	maxStreams = 32        // of one HTTP/2 connection
	maxSeats   = 32        // requests that are read at the same time
	maxLarge   = 2         // of those, with more than smallBody
	smallBody  = 256 << 10 // bytes
	// HTTP/2's flow control: what may have arrived before it is read.
	streamWindow     = 256 << 10
	connectionWindow = 512 << 10
	// lastWords is how long answers may take to leave after all were given.
	lastWords = 50 * time.Millisecond
)

// Config says who takes what arrives. Zero limits are the constants' values.
type Config struct {
	// Take has one request's export. It is called by several goroutines at the
	// same time and keeps nothing of it. After telemetry.ErrNoRoom the sender is
	// asked to try again after RetryAfter; after telemetry.ErrOver, or another
	// error, it may try again whenever it likes.
	Take func(*telemetry.Export) error
	// Drop counts what the sender cannot hope to send again: n records, or 1 for
	// a request of which nobody knows how many it had. The reasons are malformed,
	// too_large, incomplete (it ended, or took too long, before all was there) and
	// unsupported (content type or encoding).
	Drop func(reason string, n int)
	// Completion is added to each resource where it lacks attributes; nil is none.
	Completion *wire.Completion

	// Once calls take unless a payload of that id has been taken already, on this
	// or another way; nil for always. The id is the header Slipstream-Id, 16
	// hexadecimal digits, of a client that has more ways than one.
	Once func(id uint64, take func() error) error
	// Other answers HTTP requests for paths that are not OTLP's; nil for 404.
	Other http.Handler

	MaxBody, MaxExport, MaxConnections int
	Patience, RetryAfter               time.Duration
}

// Server receives on its sockets until Shutdown.
type Server struct {
	config Config
	http   *http.Server
	door   *door
	served sync.WaitGroup
	seats  chan struct{}
	large  chan struct{}
	desks  sync.Pool
	over   atomic.Bool
	mu     sync.Mutex
	guests int           // requests under way, guarded by mu
	nobody chan struct{} // closed when over and guests is 0
}

// Serve starts to serve HTTP and gRPC on each socket. It closes them at the end.
func Serve(c Config, sockets ...net.Listener) *Server {
	s := newServer(c)
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	s.http = &http.Server{
		Handler:   s,
		Protocols: protocols,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          maxStreams,
			MaxReceiveBufferPerStream:     streamWindow,
			MaxReceiveBufferPerConnection: connectionWindow,
			WriteByteTimeout:              s.config.Patience, // without one byte being read
		},
		// No read, write or idle limits: the environment may be frozen in the
		// middle of anything, for any time. See patience.
		ReadHeaderTimeout: s.config.Patience,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(slog.Default().Handler(), slog.LevelDebug),
		ConnState:         s.door.note,
	}
	for _, socket := range sockets {
		s.served.Go(func() { _ = s.http.Serve(s.door.guard(socket)) }) // always ErrServerClosed
	}
	return s
}

func newServer(c Config) *Server {
	orElse(&c.MaxBody, MaxBody)
	orElse(&c.MaxExport, MaxExport)
	orElse(&c.MaxConnections, MaxConnections)
	orElse(&c.Patience, Patience)
	orElse(&c.RetryAfter, RetryAfter)
	s := &Server{
		config: c,
		door:   newDoor(c.MaxConnections),
		seats:  make(chan struct{}, maxSeats),
		large:  make(chan struct{}, maxLarge),
		nobody: make(chan struct{}),
	}
	s.desks.New = func() any { return newDesk(s) }
	return s
}

func orElse[T int | time.Duration](v *T, standard T) {
	if *v == 0 {
		*v = standard
	}
}

// Shutdown stops to listen and returns when every request that was begun has
// been taken and answered. When ctx ends before, it cuts what is left, which
// then is not taken as far as the sender knows, and says so.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	if !s.over.Swap(true) && s.guests == 0 {
		close(s.nobody)
	}
	s.mu.Unlock()
	s.door.close()
	var err error
	select {
	case <-s.nobody:
	case <-ctx.Done():
		err = fmt.Errorf("shut down the OTLP receiver: requests were still under way: %w", ctx.Err())
	}
	// The answers are on their way. A connection that never asked anything, or
	// speaks HTTP/2, would be waited for for seconds.
	ctx, cancel := context.WithTimeout(ctx, lastWords)
	defer cancel()
	if e := s.http.Shutdown(ctx); e != nil && !errors.Is(e, ctx.Err()) {
		err = errors.Join(err, e)
	}
	_ = s.http.Close() // what it closes is closed already, or broken
	s.served.Wait()
	return err
}

// enter lets a request in, unless it comes too late. Who is let in must leave.
func (s *Server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over.Load() {
		return false
	}
	s.guests++
	return true
}

func (s *Server) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.guests--; s.guests == 0 && s.over.Load() {
		close(s.nobody)
	}
}

// ServeHTTP answers one request. It is for the server that Serve starts.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header()["Date"] = nil // nobody asked
	if s.enter() {
		defer s.leave()
	} else {
		s.refuseLate(w, r)
		return
	}
	if isGRPC(r) {
		s.serveGRPC(w, r)
		return
	}
	if s.config.Other != nil && !strings.HasPrefix(r.URL.Path, "/v1/") {
		s.config.Other.ServeHTTP(w, r)
		return
	}
	s.serveHTTP(w, r)
}

func (s *Server) refuseLate(w http.ResponseWriter, r *http.Request) {
	if isGRPC(r) {
		s.answerGRPC(w, refuse(telemetry.ErrOver))
		return
	}
	s.answerHTTP(w, answerType(r), refuse(telemetry.ErrOver))
}

// isGRPC tells by the content type, which gRPC has for itself.
func isGRPC(r *http.Request) bool {
	return r.ProtoMajor == 2 && strings.HasPrefix(r.Header.Get("Content-Type"), grpcContentType)
}

// receive reads one body from src by read and hands it on.
func (s *Server) receive(w http.ResponseWriter, r *http.Request, read func(*desk) verdict) verdict {
	select {
	case s.seats <- struct{}{}:
	default:
		if !s.wait(s.seats, r) {
			return refuse(telemetry.ErrNoRoom)
		}
	}
	defer func() { <-s.seats }()
	d := s.desks.Get().(*desk)
	defer d.clear()
	d.patience.watchRead(w)
	v := read(d)
	d.patience.stop()
	if !v.good() {
		return v
	}
	return s.take(d)
}

// wait waits for a place in line, for a moment.
func (s *Server) wait(line chan struct{}, r *http.Request) bool {
	timer := time.NewTimer(s.config.RetryAfter)
	defer timer.Stop()
	select {
	case line <- struct{}{}:
		return true
	case <-timer.C:
	case <-r.Context().Done():
	}
	return false
}
