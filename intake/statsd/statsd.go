// Package statsd receives what StatsD and DogStatsD clients send to a datagram
// socket, UDP or Unix. Use Serve for an open socket: metrics become OTLP metrics,
// events and service checks OTLP log records.
package statsd

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"slipstream/telemetry"
	"slipstream/wire"
)

// scopeName is the instrumentation scope of all that comes this way.
const scopeName = "slipstream/statsd"

const (
	// maxDatagram is the largest datagram: UDP has none larger, a Unix socket's
	// clients are made for 8 KiB.
	maxDatagram = 64 << 10
	// socketBuffer is what the kernel is asked to keep until it is read; it gives
	// net.core.rmem_max if that is less.
	socketBuffer = 4 << 20
	// fullExport is how many bytes of points and notices become an Export at once,
	// without waiting for the socket to be empty.
	fullExport = 64 << 10
	// fullCommit is how many points are committed at once.
	fullCommit = 4096
	// maxWaiting is how many bytes are kept for a taker that has no room.
	maxWaiting = 1 << 20
	// lastDatagrams bounds what Close still reads.
	lastDatagrams = 1 << 16
	// Between two offers to a taker that had no room, while nothing is received.
	firstRetry, lastRetry = 10 * time.Millisecond, time.Second
)

// Why something is dropped, beside what is wrong with a line.
const (
	reasonTooLarge   = "too_large"   // a datagram
	reasonNoRoom     = "no_room"     // records that the taker refused for too long
	reasonOver       = "over"        // records after the taker's end
	reasonSocketFull = "socket_full" // datagrams, dropped by the kernel
)

// Config says who takes what arrives.
type Config struct {
	// Completion is what the function's resource consists of.
	Completion *wire.Completion
	// Take has one Export of metrics or of logs, see telemetry.Export. One
	// goroutine calls it.
	Take func(*telemetry.Export) error
	// Points takes points without a detour over OTLP; nil where all goes to Take. What
	// it refuses goes to Take, later.
	Points Points
	// Drop counts what is dropped: lines, datagrams or records, as the reason says.
	Drop func(reason string, n int)
	// AbsoluteGauges takes a gauge's -5 as a value, as Datadog's agent does. StatsD
	// means a change by it, as by +5.
	AbsoluteGauges bool
}

// Points takes points one by one.
type Points interface {
	// Add takes one, whose bytes are borrowed until it returns. Its errors are those
	// of Take.
	Add(p *telemetry.Point) error
	// Commit makes all that was added survive the process.
	Commit()
}

// Server reads one socket.
type Server struct {
	config  Config
	socket  net.PacketConn
	closing atomic.Bool
	// deadline keeps the reader from setting another one over that of Close.
	deadline sync.Mutex
	served   sync.WaitGroup

	metric  metric
	notice  notice
	points  *wire.Points
	notices notices
	add     func(*telemetry.Point)
	added   int // points, since the last Commit
	now     time.Time

	waiting      []telemetry.Export // what was refused, oldest first
	waitingBytes int
	refused      time.Duration // how long to wait for the next offer, 0 if nothing is refused
	over         bool
	lost         uint32 // by the kernel, as far as counted
}

// Serve begins to read the socket, which Close closes.
func Serve(socket net.PacketConn, c Config) *Server {
	s := newServer(socket, c)
	if b, ok := socket.(interface{ SetReadBuffer(bytes int) error }); ok {
		if err := b.SetReadBuffer(socketBuffer); err != nil {
			slog.Debug("statsd: the socket keeps its buffer's size", "cause", err)
		}
	}
	s.served.Go(s.serve)
	return s
}

func newServer(socket net.PacketConn, c Config) *Server {
	s := &Server{config: c, socket: socket, points: wire.NewPoints(c.Completion, scopeName)}
	s.add = func(p *telemetry.Point) {
		if c.Points != nil && c.Points.Add(p) == nil {
			if s.added++; s.added >= fullCommit {
				s.commit()
			}
			return
		}
		s.points.Append(p, s.now)
		if s.points.Size() >= fullExport {
			s.full()
		}
	}
	return s
}

func (s *Server) commit() {
	if s.added > 0 {
		s.config.Points.Commit()
		s.added = 0
	}
}

// Close takes what is in the socket, offers all that is left to the taker, and
// closes the socket.
func (s *Server) Close() error {
	s.deadline.Lock()
	s.closing.Store(true)
	wake := s.socket.SetReadDeadline(time.Unix(1, 0))
	s.deadline.Unlock()
	if wake != nil { // someone else closed it
		wake = fmt.Errorf("close the StatsD socket: %w", errors.Join(wake, s.socket.Close()))
		s.served.Wait()
		return wake
	}
	s.served.Wait()
	return s.socket.Close()
}

// serve reads until Close. How is the system's matter: see serveSocket.
func (s *Server) serve() {
	if !s.serveSocket() {
		s.servePackets()
	}
	s.offer()
	for _, e := range s.waiting {
		s.config.Drop(reasonNoRoom, e.Records)
	}
	for _, n := range []int{s.points.Export().Records, s.notices.records} {
		if n > 0 {
			s.config.Drop(reasonNoRoom, n)
		}
	}
}

// servePackets reads a socket that is not the system's own, a datagram a call.
// Whether there are more it cannot ask, so it waits a moment for them.
func (s *Server) servePackets() {
	const moment = time.Millisecond
	buf := make([]byte, maxDatagram+1)
	collecting, last := false, false
	for s.setDeadline(); ; {
		n, _, err := s.socket.ReadFrom(buf)
		switch {
		case err == nil:
			s.datagram(buf[:n], time.Now())
			if !collecting {
				collecting = true
				s.wakeAt(time.Now().Add(moment))
			}
		case last:
			return
		case !errors.Is(err, os.ErrDeadlineExceeded):
			slog.Warn("statsd: the socket cannot be read any more", "cause", err)
			return
		case s.closing.Load(): // what was sent before
			s.deadline.Lock() // after Close has set its own
			last = true
			_ = s.socket.SetReadDeadline(time.Now().Add(moment)) // else the next read says why not
			s.deadline.Unlock()
		default:
			s.offer()
			collecting = false
			s.setDeadline()
		}
	}
}

// setDeadline lets the next wait end when something refused is to be offered again.
func (s *Server) setDeadline() {
	if s.refused > 0 {
		s.wakeAt(time.Now().Add(s.refused))
	} else {
		s.wakeAt(time.Time{})
	}
}

// wakeAt ends the next wait then, if Close has not ended it.
func (s *Server) wakeAt(at time.Time) {
	s.deadline.Lock()
	defer s.deadline.Unlock()
	if !s.closing.Load() {
		_ = s.socket.SetReadDeadline(at) // a closed socket says so when it is read
	}
}

// datagram takes all lines of one.
func (s *Server) datagram(data []byte, now time.Time) {
	if len(data) > maxDatagram {
		s.config.Drop(reasonTooLarge, 1)
		return
	}
	s.now = now
	for len(data) > 0 {
		var line []byte
		if i := bytes.IndexByte(data, '\n'); i >= 0 {
			line, data = data[:i], data[i+1:]
		} else {
			line, data = data, nil
		}
		if n := len(line); n > 0 && line[n-1] == '\r' {
			line = line[:n-1]
		}
		if len(line) == 0 {
			continue
		}
		if reason := s.line(line); reason != "" {
			s.config.Drop(reason, 1)
		}
	}
}

func (s *Server) line(line []byte) (reason string) {
	if isNotice(line) {
		if reason = s.notice.parse(line); reason == "" {
			s.notices.add(&s.notice, s.now)
			if s.notices.size >= fullExport {
				s.full()
			}
		}
		return reason
	}
	if reason = s.metric.parse(line, s.config.AbsoluteGauges); reason == "" {
		s.metric.each(s.add)
	}
	return reason
}

// full offers what is collected. What is refused is kept as long as there is
// space, and offered again with the next.
func (s *Server) full() {
	if s.offer() {
		return
	}
	s.keep(s.points.Export())
	s.points.Reset()
	if s.notices.records > 0 {
		s.keep(s.notices.take(s.config.Completion))
	}
}

func (s *Server) keep(e *telemetry.Export) {
	switch {
	case e.Records == 0:
	case s.waitingBytes+len(e.Body) > maxWaiting:
		s.config.Drop(reasonNoRoom, e.Records)
	default:
		s.waiting = append(s.waiting, telemetry.Export{Signal: e.Signal, Records: e.Records, Body: bytes.Clone(e.Body)})
		s.waitingBytes += len(e.Body)
	}
}

// offer hands over all that is collected, the oldest first, and tells whether it
// was taken.
func (s *Server) offer() bool {
	s.commit()
	for len(s.waiting) > 0 {
		if !s.take(&s.waiting[0]) {
			return false
		}
		s.waitingBytes -= len(s.waiting[0].Body)
		s.waiting[0] = telemetry.Export{}
		s.waiting = s.waiting[1:]
	}
	s.waiting = nil
	if s.points.Size() > 0 {
		if !s.take(s.points.Export()) {
			return false
		}
		s.points.Reset()
	}
	if s.notices.records > 0 {
		if e := s.notices.take(s.config.Completion); !s.take(e) {
			s.keep(e)
			return false
		}
	}
	s.refused = 0
	return true
}

// take offers one Export. When the taker is over there is no later.
func (s *Server) take(e *telemetry.Export) bool {
	if !s.over {
		switch err := s.config.Take(e); {
		case err == nil:
			return true
		case errors.Is(err, telemetry.ErrOver):
			s.over = true
		default:
			s.refused = min(max(2*s.refused, firstRetry), lastRetry)
			return false
		}
	}
	s.config.Drop(reasonOver, e.Records)
	return true
}
