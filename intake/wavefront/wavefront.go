// Package wavefront listens to what Wavefront's proxies listen to: lines over
// TCP and, on the same port, HTTP. Use Serve with a listener on port 2878, where
// a function or a Wavefront SDK finds the proxy it expects, and one with Minute
// set on 40001.
//
// A connection is told by its first two bytes, as the proxy does it: HTTP when
// they begin a method, else lines. What a line is, its beginning says:
//
//	"name" value [time] source="s" "key"="v"   a gauge; a counter behind ∆ or Δ
//	!M|!H|!D [time] #count mean ... "name" ...  a distribution of a minute, an hour, a day
//	"name" source="s" traceId=UUID spanId=UUID [parent=UUID] [followsFrom=UUID] "key"="v" start duration
//	{"traceId":"","spanId":"","logs":[...]}     a span's logs
//	@SourceTag, @SourceDescription, @Event      log records with an event_name
//
// HTTP takes POST with ?f=wavefront|histogram|trace|spanLogs, then every line
// must be that; with another f, or none, lines tell themselves. A body may be
// compressed with gzip. /api/v2/event takes an event's line, or its JSON. The
// answer is 202 when everything has been taken, whatever lines of it were
// refused and counted; 503 when there is no room: whoever sends the body again
// sends all of it again. (The SDKs send spans to port 30001 unless their URL
// names a port: then all goes there.)
//
// # What becomes of it
//
// Points are OTLP metrics as wire.Points has them. Spans become OTLP spans: the trace id is
// the UUID's 16 bytes. The span id is the UUID's first 8 bytes XOR its last 8:
// the ids that OTLP exporters pad with zeros are themselves again, and those of
// one host and of version 1, equal in their second half, stay different. The
// first parent is the parent; other parents and followsFrom are links, with
// opentracing.ref_type. span.kind and error=true set kind and status; all tags
// stay attributes, source is one, a tag that comes twice is a list. Span logs
// and events become log records: event_name wavefront.span_log (with trace and
// span id), wavefront.event (its name is the body, its end the attribute
// wavefront.event.end_time), wavefront.source_tag, wavefront.source_description.
//
// The rules are those of the proxy's java-lib, with its WF codes in the reasons
// that are counted; a refused line costs only itself. Not enforced is WF-402,
// how old a point may be: that is for the destination to say. A metric without
// source has none here (WF-406): the resource says whose it is.
//
// # The port of minute histograms
//
// It takes metrics only: each becomes a distribution of one value whose Bin is
// the line's own minute. The proxy adds the values of a minute together there;
// here that is for whoever takes the points. Lines of other kinds are refused.
package wavefront

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"slipstream/telemetry"
	"slipstream/wire"
)

// Options say who takes what arrives. Take, Drop and Completion must be set.
type Options struct {
	// Take has one export. It may be called concurrently and does not keep the
	// bytes. With telemetry.ErrNoRoom it is asked again for RoomWait.
	Take func(*telemetry.Export) error
	// Points takes points without a detour over OTLP; nil where all goes to Take. What
	// it refuses goes to Take.
	Points Points
	// Drop counts what is lost, with the reason. It may be called concurrently.
	Drop func(reason string, n int)
	// Completion is whose telemetry it is.
	Completion *wire.Completion
	// Minute makes it the port of minute histograms.
	Minute bool

	// The limits; zero for what stands behind them.
	Connections int           // 64 at a time; one more is closed at once
	Idle        time.Duration // 5 min without a byte end a connection
	RoomWait    time.Duration // 2 s of waiting for room before lines are lost
	Now         func() time.Time
}

// Points takes points one by one, for one caller at a time.
type Points interface {
	// Add takes one, whose bytes are borrowed until it returns. Its errors are those
	// of Take.
	Add(p *telemetry.Point) error
	// Commit makes all that was added survive the process.
	Commit()
}

// drainGrace is how long Close waits, twice, for what was sent before it.
const drainGrace = 10 * time.Millisecond

// Server is one listener and its connections.
type Server struct {
	options  Options
	listener net.Listener
	http     *http.Server
	handoff  *handoff // connections that speak HTTP
	closing  chan struct{}
	running  sync.WaitGroup
	inputs   sync.Pool // of HTTP requests

	// One batch for all: what is read waits in the connections, and the points of
	// a series, whose intervals must not overlap, come from one hand.
	turn  sync.Mutex
	batch *batch

	mu    sync.Mutex
	conns map[net.Conn]bool // whether it speaks HTTP
}

// Serve starts to serve a listener, which it owns from here on.
func Serve(l net.Listener, o Options) *Server {
	if o.Connections == 0 {
		o.Connections = 64
	}
	if o.Idle == 0 {
		o.Idle = 5 * time.Minute
	}
	if o.RoomWait == 0 {
		o.RoomWait = 2 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Server{options: o, listener: l, closing: make(chan struct{}), conns: map[net.Conn]bool{}}
	s.inputs.New = func() any { return new(input) }
	s.batch = newBatch(&s.options, s.closing)
	s.handoff = &handoff{conns: make(chan net.Conn), closed: make(chan struct{}), addr: l.Addr()}
	s.http = s.newHTTP()
	s.running.Go(s.accept)
	s.running.Go(func() { _ = s.http.Serve(s.handoff) }) // always ErrServerClosed
	return s
}

// Addr is where it listens.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Shutdown takes no new connections and returns when everything that had been
// sent has been taken or counted, or when ctx is done: then it cuts the rest.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	select {
	case <-s.closing:
		s.mu.Unlock()
		return nil
	default:
	}
	close(s.closing)
	deadline := time.Now().Add(drainGrace)
	for c, speaksHTTP := range s.conns {
		if !speaksHTTP { // package http ends its own
			_ = c.SetReadDeadline(deadline)
		}
	}
	s.mu.Unlock()
	// What waits in the backlog was sent before, too.
	if s.endAccept() != nil {
		_ = s.listener.Close()
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.http.Shutdown(ctx)
		s.running.Wait()
	}()
	var err error
	select {
	case <-done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	_ = s.listener.Close()
	_ = s.http.Close()
	s.mu.Lock()
	for c := range s.conns {
		_ = c.Close()
	}
	s.mu.Unlock()
	<-done
	return err
}

// Close is Shutdown with five seconds.
func (s *Server) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return s.Shutdown(ctx)
}

// endAccept lets Accept wait no longer than for what is there.
func (s *Server) endAccept() error {
	l, ok := s.listener.(interface{ SetDeadline(time.Time) error })
	if !ok {
		return errors.ErrUnsupported
	}
	return l.SetDeadline(time.Now().Add(drainGrace))
}

// accept takes connections until the listener ends.
func (s *Server) accept() {
	defer s.listener.Close()
	var wait time.Duration
	drained := false
	for {
		c, err := s.listener.Accept()
		if err != nil {
			var network net.Error
			switch {
			case errors.Is(err, net.ErrClosed), !errors.As(err, &network):
				return
			case s.isClosing():
				if drained || s.endAccept() != nil {
					return
				}
				drained = true
				continue
			}
			wait = min(max(2*wait, 5*time.Millisecond), time.Second) // too many open files
			select {
			case <-s.closing:
			case <-time.After(wait):
			}
			continue
		}
		wait = 0
		if !s.add(c) {
			s.options.Drop(reasonConnections, 1)
			_ = c.Close()
			continue
		}
		s.running.Go(func() { s.serve(c) })
	}
}

func (s *Server) isClosing() bool {
	select {
	case <-s.closing:
		return true
	default:
		return false
	}
}

func (s *Server) add(c net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.conns) == s.options.Connections {
		return false
	}
	s.conns[c] = false
	return true
}

func (s *Server) remove(c net.Conn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	_ = c.Close()
}

// passHTTP gives a connection, of which head has been read, to package http. It
// counts, and is waited for, until that closes it.
func (s *Server) passHTTP(c net.Conn, head []byte) {
	s.mu.Lock()
	s.conns[c] = true
	_ = c.SetReadDeadline(time.Time{})
	s.mu.Unlock()
	p := &prefixed{Conn: c, server: s, head: head}
	s.running.Add(1)
	if !s.handoff.pass(p) {
		_ = p.Close()
	}
}

// tick is a part of Idle. Only a connection that is idle for ten of them ends:
// an environment that was frozen for hours wakes up with one tick over.
func (s *Server) tick(c net.Conn) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	wait := s.options.Idle / idleTicks
	if s.isClosing() {
		wait = drainGrace
	}
	return c.SetReadDeadline(time.Now().Add(wait))
}

const idleTicks = 10
