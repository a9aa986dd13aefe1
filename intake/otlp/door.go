package otlp

import (
	"container/list"
	"errors"
	"net"
	"net/http"
	"sync"
)

// door bounds the connections of all sockets. There is no time limit for idle
// ones: a sender may be frozen for an hour and then send on its connection. The
// one that is idle longest is closed when somebody else wants its place.
type door struct {
	mu      sync.Mutex
	changed *sync.Cond
	most    int
	inside  map[net.Conn]*list.Element // nil: not idle
	idle    *list.List                 // of net.Conn, the longest idle one first
	waiting int
	closed  bool
	sockets []net.Listener
}

func newDoor(most int) *door {
	d := &door{most: most, inside: map[net.Conn]*list.Element{}, idle: list.New()}
	d.changed = sync.NewCond(&d.mu)
	return d
}

// guarded is a socket behind the door.
type guarded struct {
	net.Listener
	*door
}

func (d *door) guard(socket net.Listener) net.Listener {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		_ = socket.Close()
	}
	d.sockets = append(d.sockets, socket)
	return guarded{socket, d}
}

// Accept gives the next connection as soon as there is a place for it.
func (g guarded) Accept() (net.Conn, error) {
	c, err := g.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if !g.admit(c) {
		_ = c.Close()
		return nil, net.ErrClosed
	}
	return c, nil
}

// Close is the server's: the door may have closed the socket before, which is no
// error.
func (g guarded) Close() error {
	if err := g.Listener.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

func (d *door) admit(c net.Conn) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.waiting++
	defer func() { d.waiting-- }()
	for len(d.inside) >= d.most && !d.closed {
		d.evict()
		d.changed.Wait()
	}
	if d.closed {
		return false
	}
	d.inside[c] = nil
	return true
}

// evict closes the connection that is idle longest. Its place is free when the
// server noticed.
func (d *door) evict() {
	if oldest := d.idle.Front(); oldest != nil {
		c := d.idle.Remove(oldest).(net.Conn)
		d.inside[c] = nil
		_ = c.Close()
	}
}

// note is the server's ConnState.
func (d *door) note(c net.Conn, state http.ConnState) {
	d.mu.Lock()
	defer d.mu.Unlock()
	e, known := d.inside[c]
	if !known {
		return
	}
	if e != nil {
		d.idle.Remove(e)
		d.inside[c] = nil
	}
	switch state {
	case http.StateIdle:
		d.inside[c] = d.idle.PushBack(c)
		if d.waiting > 0 {
			d.evict()
		}
	case http.StateClosed, http.StateHijacked:
		delete(d.inside, c)
		d.changed.Broadcast()
	}
}

// close closes the sockets; nobody is let in any more.
func (d *door) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	for _, socket := range d.sockets {
		_ = socket.Close() // the server closes it too
	}
	d.changed.Broadcast()
}
