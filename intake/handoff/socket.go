package handoff

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"slipstream/telemetry"
)

const (
	bodyPatience   = 5 * time.Second       // for the rest of a payload that has begun to come on a stream
	roomPatience   = 5 * time.Second       // for room for a payload whose client waits for no answer
	roomPause      = 5 * time.Millisecond  // between two tries
	answerPatience = 10 * time.Millisecond // for a client that does not read its answers
)

// Listen opens a hand-off socket for this user alone: network is "unixpacket",
// for payloads in sealed memory, or "unix", for payloads as a stream. A socket
// that an earlier process has left is replaced; one that answers is not.
func Listen(network, path string) (*net.UnixListener, error) {
	hint := func(err error) error { return fmt.Errorf("listen for hand-offs on %s: %w", path, err) }
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, hint(err)
	}
	address := &net.UnixAddr{Name: path, Net: network}
	if c, err := net.DialUnix(network, nil, address); err == nil {
		return nil, hint(errors.Join(errors.New("another process listens there"), c.Close()))
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, hint(err)
	}
	l, err := net.ListenUnix(network, address)
	if err != nil {
		return nil, hint(err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, hint(errors.Join(err, l.Close()))
	}
	return l, nil
}

// Socket takes payloads from the clients of one listener.
type Socket struct {
	options  Options
	listener *net.UnixListener
	packet   bool
	served   sync.WaitGroup
	inFlight atomic.Int64 // bytes of bodies from streams

	mu     sync.Mutex
	ending bool
	cut    bool // nothing more is taken
	open   map[*net.UnixConn]bool
}

// Serve starts to take what comes to a listener that Listen has opened.
func Serve(l *net.UnixListener, o Options) *Socket {
	s := &Socket{options: o.complete(), listener: l, packet: l.Addr().Network() == "unixpacket",
		open: make(map[*net.UnixConn]bool)}
	s.served.Go(s.accept)
	return s
}

// Shutdown stops listening and returns when everything that clients had sent
// until then has been passed to Take, or when ctx is done; then it cuts.
func (s *Socket) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.ending = true
	past := time.Unix(1, 0)
	err := s.listener.SetDeadline(past)
	for c := range s.open {
		_ = c.SetReadDeadline(past) // it may have been closed just now
	}
	s.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.served.Wait()
	}()
	select {
	case <-done:
	case <-ctx.Done():
		err = errors.Join(err, ctx.Err())
		s.mu.Lock()
		s.cut = true
		for c := range s.open {
			_ = c.Close() // the reader sees it
		}
		s.mu.Unlock()
		<-done
	}
	return err
}

// Close cuts what is under way.
func (s *Socket) Close() error {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

func (s *Socket) isCut() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cut
}

func (s *Socket) isEnding() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ending
}

// accept serves each connection by a goroutine of its own. At the end it takes
// those who have connected, and perhaps sent, and were not accepted yet.
func (s *Socket) accept() {
	defer func() { _ = s.listener.Close() }() // it also removes the file
	for {
		c, err := s.listener.AcceptUnix()
		if err == nil {
			s.begin(c)
			continue
		}
		if s.isEnding() || errors.Is(err, net.ErrClosed) {
			break
		}
		time.Sleep(time.Millisecond) // no descriptors left: not worth a busy loop
	}
	_ = s.listener.SetDeadline(time.Time{}) // it may be closed: then accepting fails too
	for !s.isCut() && readable(s.listener) {
		c, err := s.listener.AcceptUnix()
		if err != nil {
			return
		}
		s.begin(c)
	}
}

// begin serves a connection, unless there are too many.
func (s *Socket) begin(c *net.UnixConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.open) >= maxConnections || s.cut {
		s.options.Drop(connections, 1)
		_ = c.Close() // the client sees it and writes a file
		return
	}
	s.open[c] = true
	s.served.Go(func() {
		defer func() {
			s.mu.Lock()
			delete(s.open, c)
			s.mu.Unlock()
			_ = c.Close() // nothing is buffered
		}()
		k := connection{socket: s, UnixConn: c}
		for k.next() == nil {
			release(&k.body)
			release(&k.prepared)
		}
	})
	if s.ending {
		_ = c.SetReadDeadline(time.Unix(1, 0))
	}
}

// connection is one client's.
type connection struct {
	*net.UnixConn
	socket         *Socket
	header         [headerBytes]byte
	rights         [128]byte // control messages
	body, prepared []byte
	final          bool // only what is there already is read
}

// next takes one message. An error ends the connection.
func (c *connection) next() (err error) {
	if c.final {
		if !readable(c) {
			return io.EOF
		}
		err = c.SetReadDeadline(time.Now().Add(bodyPatience))
	}
	switch {
	case err != nil:
		return err
	case c.socket.packet:
		err = c.nextPacket()
	default:
		err = c.nextInStream()
	}
	if errors.Is(err, errIdle) && !c.final && c.socket.isEnding() {
		c.final = true
		return nil
	}
	return err
}

// errIdle is a deadline that has passed between two messages.
var errIdle = errors.New("nothing came")

// idle makes errIdle of the error of a read that was to begin a message.
func idle(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return errIdle
	}
	return err
}

// nextInStream reads a header and the payload behind it.
func (c *connection) nextInStream() error {
	n, err := io.ReadFull(c, c.header[:])
	if n == 0 && err != nil {
		return idle(err)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) && !c.final { // just between a header's bytes: unlikely, but not lost
		if err = c.SetReadDeadline(time.Now().Add(bodyPatience)); err == nil {
			_, err = io.ReadFull(c, c.header[n:])
		}
	}
	if err != nil {
		c.socket.options.Drop(malformed, 1)
		return err
	}
	h, err := parseHeader(c.header[:])
	if err != nil {
		return errors.Join(err, c.settle(h, fmt.Errorf("%w: %w", errMalformed, err))) // what follows cannot be told apart
	}
	size := int64(h.size)
	defer c.socket.inFlight.Add(-size)
	if c.socket.inFlight.Add(size) > maxInFlight {
		return errors.Join(telemetry.ErrNoRoom, c.settle(h, telemetry.ErrNoRoom))
	}
	if err := c.SetReadDeadline(time.Now().Add(bodyPatience)); err != nil {
		return err
	}
	c.body = slices.Grow(c.body[:0], int(size))[:size]
	if _, err := io.ReadFull(c, c.body); err != nil {
		c.socket.options.Drop(malformed, 1)
		return err
	}
	err = c.settle(h, c.deliver(h, c.body))
	return errors.Join(err, c.rest())
}

// rest waits for the next message without limit, but at the end.
func (c *connection) rest() error {
	c.socket.mu.Lock()
	defer c.socket.mu.Unlock()
	if c.socket.ending {
		return c.SetReadDeadline(time.Unix(1, 0))
	}
	return c.SetReadDeadline(time.Time{})
}

// deliver passes a payload on. A client that wants no answer is not there to
// keep what has no room: it waits here, and behind it the client's queue fills
// until the client writes files.
func (c *connection) deliver(h header, body []byte) error {
	o := &c.socket.options
	err := o.deliver(h.id, h.signal, body, &c.prepared)
	for end := time.Now().Add(roomPatience); errors.Is(err, telemetry.ErrNoRoom) && !h.answer &&
		time.Now().Before(end) && !c.socket.isEnding(); err = o.deliver(h.id, h.signal, body, &c.prepared) {
		time.Sleep(roomPause)
	}
	return err
}

// settle counts what became of a message and answers if the client wants it.
func (c *connection) settle(h header, err error) error {
	status := byte(statusNoRoom)
	switch {
	case err == nil:
		status = statusTaken
	case errors.Is(err, telemetry.ErrOver):
		status = statusOver
	case errors.Is(err, errTooLarge):
		status = statusRefused
		c.socket.options.Drop(tooLarge, 1)
	case errors.Is(err, errMalformed):
		status = statusRefused
		c.socket.options.Drop(malformed, 1)
	}
	if !h.answer {
		if status == statusNoRoom || status == statusOver {
			c.socket.options.Drop(noRoom, 1) // nobody waits to hear it: it is lost
		}
		return nil
	}
	if err := c.SetWriteDeadline(time.Now().Add(answerPatience)); err != nil {
		return err
	}
	_, err = c.Write(appendAnswer(make([]byte, 0, headerBytes), h, status))
	return err
}
