package sim_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// network is what an execution environment has instead of sockets: pipes in
// memory, because a goroutine that waits for a real socket keeps virtual time
// from passing. It can be frozen: the edge's ends of its connections then
// neither read, write, dial nor accept until the thaw. One lock for all of it
// is enough: one seed has a dozen goroutines.
type network struct {
	mu        sync.Mutex
	moved     *sync.Cond
	frozen    bool
	dead      bool // killed: nothing gets through any more
	freezes   int
	listeners map[int]*listener
	deaf      bool // nobody can listen
	taken     int  // a port that somebody else has, 0 for none
	conns     []*conn
	api       func(net.Conn) // serves a connection to the Extensions API
}

func newNetwork(api func(net.Conn)) *network {
	n := &network{listeners: map[int]*listener{}, api: api}
	n.moved = sync.NewCond(&n.mu)
	return n
}

// pipe is one direction of a connection.
type pipe struct {
	data  []byte
	ended error
}

// conn is one end of a connection.
type conn struct {
	n        *network
	in, out  *pipe
	inside   bool // the edge's end
	port     int
	closed   bool
	deadline time.Time
	timer    *time.Timer
}

// pair makes a connection; the caller holds n.mu.
func (n *network) pair(port int) (inside, outside *conn) {
	a, b := &pipe{}, &pipe{}
	inside = &conn{n: n, in: a, out: b, inside: true, port: port}
	outside = &conn{n: n, in: b, out: a, port: port}
	n.conns = append(n.conns, inside)
	return inside, outside
}

func (c *conn) Read(b []byte) (int, error) {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	for {
		switch {
		case c.closed:
			return 0, net.ErrClosed
		case !c.deadline.IsZero() && !time.Now().Before(c.deadline):
			return 0, os.ErrDeadlineExceeded
		case c.inside && c.n.frozen:
		case len(c.in.data) > 0:
			got := copy(b, c.in.data)
			c.in.data = c.in.data[got:]
			return got, nil
		case c.in.ended != nil:
			return 0, c.in.ended
		}
		c.n.moved.Wait()
	}
}

func (c *conn) Write(b []byte) (int, error) {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	for c.inside && c.n.frozen && !c.closed {
		c.n.moved.Wait()
	}
	switch {
	case c.closed:
		return 0, net.ErrClosed
	case c.out.ended != nil:
		return 0, syscall.EPIPE
	}
	c.out.data = append(c.out.data, b...)
	c.n.moved.Broadcast()
	return len(b), nil
}

// Close ends both directions; the other end still reads what was written.
func (c *conn) Close() error {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	c.closed = true
	if c.timer != nil {
		c.timer.Stop()
	}
	c.end(io.EOF)
	c.n.conns = slices.DeleteFunc(c.n.conns, func(other *conn) bool { return other == c })
	return nil
}

// end ends both directions; the caller holds n.mu.
func (c *conn) end(cause error) {
	for _, p := range []*pipe{c.in, c.out} {
		if p.ended == nil {
			p.ended = cause
		}
	}
	c.n.moved.Broadcast()
}

// reset loses everything that is under way, in both directions.
func (c *conn) reset() {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	c.cut()
}

// cut is reset for a caller who holds n.mu.
func (c *conn) cut() {
	c.in.data, c.out.data = nil, nil
	c.end(syscall.ECONNRESET)
}

func (c *conn) SetDeadline(t time.Time) error    { return c.SetReadDeadline(t) }
func (c *conn) SetWriteDeadline(time.Time) error { return nil } // no write waits for its reader
func (c *conn) LocalAddr() net.Addr {
	return &net.TCPAddr{IP: net.IPv4(169, 254, 100, 1), Port: c.port}
}
func (c *conn) RemoteAddr() net.Addr { return c.LocalAddr() }
func (n *network) wake()             { n.mu.Lock(); n.moved.Broadcast(); n.mu.Unlock() }
func (c *conn) SetReadDeadline(t time.Time) error {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	if c.timer != nil {
		c.timer.Stop()
	}
	c.deadline = t
	if wait := time.Until(t); !t.IsZero() && wait > 0 {
		c.timer = time.AfterFunc(wait, c.n.wake)
	}
	c.n.moved.Broadcast()
	return nil
}

// dial is the edge's: whatever it dials is the Extensions API.
func (n *network) dial(ctx context.Context, _, address string) (net.Conn, error) {
	n.await()
	n.mu.Lock()
	if n.dead || address != apiAddress {
		n.mu.Unlock()
		return nil, fmt.Errorf("dial %s: %w", address, syscall.ECONNREFUSED)
	}
	inside, outside := n.pair(9001)
	n.mu.Unlock()
	go n.api(outside)
	return inside, ctx.Err()
}

// listener is the edge's receiver.
type listener struct {
	n      *network
	port   int
	queue  []*conn
	closed bool
}

func (n *network) listen(_, address string) (net.Listener, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	_, text, _ := net.SplitHostPort(address) // "" is no number
	port, err := strconv.Atoi(text)
	if err != nil {
		return nil, fmt.Errorf("listen on %q: %w", address, err)
	}
	if n.deaf || port != 0 && port == n.taken {
		return nil, syscall.EADDRINUSE
	}
	if port == 0 {
		port = 40_000 + len(n.listeners)
	}
	l := &listener{n: n, port: port}
	n.listeners[port] = l
	return l, nil
}

func (l *listener) Accept() (net.Conn, error) {
	l.n.mu.Lock()
	defer l.n.mu.Unlock()
	for {
		if l.closed {
			return nil, net.ErrClosed
		}
		if len(l.queue) > 0 && !l.n.frozen {
			c := l.queue[0]
			l.queue = l.queue[1:]
			return c, nil
		}
		l.n.moved.Wait()
	}
}

func (l *listener) Close() error {
	l.n.mu.Lock()
	defer l.n.mu.Unlock()
	l.closed = true
	for _, c := range l.queue {
		c.cut()
	}
	l.n.moved.Broadcast()
	return nil
}

func (l *listener) Addr() net.Addr { return &net.TCPAddr{Port: l.port} }

var errRefused = errors.New("nobody listens")

// connect is the platform's dial to the receiver, or the function's to what listens
// for its exports.
func (n *network) connect(port int) (*conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := n.listeners[port]
	if l == nil || l.closed || n.dead {
		return nil, errRefused
	}
	inside, outside := n.pair(port)
	l.queue = append(l.queue, inside)
	n.moved.Broadcast()
	return outside, nil
}

// freeze stops the inside.
func (n *network) freeze() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.frozen = true
	n.freezes++
}

// thaw lets the inside go on; with cut, its connections to the receiver are
// found dead.
func (n *network) thaw(cut bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range n.conns {
		if cut && c.port != 9001 {
			c.cut()
		}
	}
	n.frozen = false
	n.moved.Broadcast()
}

// kill ends every connection for good.
func (n *network) kill() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.dead, n.frozen = true, false
	for _, c := range n.conns {
		c.cut()
	}
	n.moved.Broadcast()
}

// await returns when the inside is not frozen, with the number of freezes so far.
func (n *network) await() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	for n.frozen {
		n.moved.Wait()
	}
	return n.freezes
}
