// Package handoff hands telemetry from a function over to Slipstream's
// extension without keeping the function waiting: by HTTP, which is
// acknowledged, as a file, or as sealed memory through a Unix socket. Use New
// once a process, then Post, Write or Send with OTLP payloads: the protobuf
// bytes of one Export{Logs,Trace,Metrics}ServiceRequest.
package handoff

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Signal is one of OpenTelemetry's kinds of data.
type Signal string

// The signals, by their names in OTLP's paths.
const (
	Logs    Signal = "logs"
	Traces  Signal = "traces"
	Metrics Signal = "metrics"
)

// MaxBody is the largest payload, in bytes.
const MaxBody = 16 << 20

// ErrRefused says that the extension has looked at the payload and does not
// take it: sending it again would not help, so it is not written to a file.
var ErrRefused = errors.New("the extension refused the payload")

// Options are the places and bounds; the zero value has the extension's own.
type Options struct {
	HTTP      string        // host:port of its OTLP receiver: 127.0.0.1:4318
	Directory string        // for files: /tmp/slipstream/handoff
	Socket    string        // for sealed memory: /tmp/slipstream/ipc.sock
	HTTPBound time.Duration // the longest that Post waits before it writes a file: 50 ms
	SendBound time.Duration // the longest that Send waits before it writes a file: 5 ms
	// Rest is how long a way is not tried after its bound has passed: 1 s. A
	// dead extension then costs the bound once a second, not with each call.
	Rest time.Duration
	// Acknowledge makes Send wait until the extension has taken the payload.
	// Without it a payload that lies in the socket's queue is lost when the
	// extension is killed.
	Acknowledge bool
}

// Stats count what became of payloads.
type Stats struct {
	HTTP, File, IPC uint64 // handed over on that way
	Fallbacks       uint64 // of File: because another way failed
	Timeouts        uint64 // bounds that passed
	Refused         uint64 // by the extension, as malformed or too large
	Failed          uint64 // on every way: lost, and the caller has been told
}

// Client hands payloads over. It may be used concurrently.
type Client struct {
	options Options
	prefix  uint64 // of ids: random, in the upper half
	last    atomic.Uint32

	http way
	ipc  way

	handedHTTP, handedFile, handedIPC, fallbacks, timeouts, refused, failed atomic.Uint64
	checks                                                                  fullness
}

// New makes a client. Nothing is opened before it is needed.
func New(o Options) *Client {
	set := func(to *string, value string) {
		if *to == "" {
			*to = value
		}
	}
	set(&o.HTTP, "127.0.0.1:4318")
	set(&o.Directory, "/tmp/slipstream/handoff")
	set(&o.Socket, "/tmp/slipstream/ipc.sock")
	bound := func(to *time.Duration, value time.Duration) {
		if *to == 0 {
			*to = value
		}
	}
	bound(&o.HTTPBound, 50*time.Millisecond)
	bound(&o.SendBound, 5*time.Millisecond)
	bound(&o.Rest, time.Second)
	c := &Client{options: o}
	var random [4]byte
	_, _ = rand.Read(random[:]) // never fails (crypto/rand)
	c.prefix = uint64(binary.LittleEndian.Uint32(random[:]))<<32 | 1<<63
	return c
}

// Stats gives the counts up to now.
func (c *Client) Stats() Stats {
	return Stats{HTTP: c.handedHTTP.Load(), File: c.handedFile.Load(), IPC: c.handedIPC.Load(),
		Fallbacks: c.fallbacks.Load(), Timeouts: c.timeouts.Load(), Refused: c.refused.Load(), Failed: c.failed.Load()}
}

// Close closes the connections. Calls that are under way end within their bounds.
func (c *Client) Close() error { return errors.Join(c.http.close(), c.ipc.close()) }

// Post hands a payload over by HTTP: nil says that it survives the extension's
// death. If the extension is not there, slow or full, Post writes a file.
func (c *Client) Post(signal Signal, body []byte) error {
	return c.hand(signal, body, &c.http, c.options.HTTPBound, &c.handedHTTP, c.post)
}

// Send hands a copy of a payload over in sealed memory, or else writes a file.
// A Buffer saves the copy.
func (c *Client) Send(signal Signal, body []byte) error {
	return c.hand(signal, body, &c.ipc, c.options.SendBound, &c.handedIPC,
		func(id uint64, signal Signal, body []byte, deadline time.Time) error {
			fd, err := sealedCopy(body)
			if err != nil {
				return err
			}
			return errors.Join(c.pass(id, signal, fd, len(body), deadline), closeMemory(fd))
		})
}

// Write hands a payload over as a file, which the extension takes when the
// function has answered; an extension that is not there does not matter.
func (c *Client) Write(signal Signal, body []byte) error {
	if err := check(signal, len(body)); err != nil {
		return c.fail(err)
	}
	return c.write(c.id(), signal, body)
}

func (c *Client) id() uint64 { return c.prefix | uint64(c.last.Add(1)) }

func check(signal Signal, size int) error {
	switch {
	case signal != Logs && signal != Traces && signal != Metrics:
		return fmt.Errorf("hand over: no signal is called %q (use handoff.Logs, Traces or Metrics)", signal)
	case size > MaxBody:
		return fmt.Errorf("hand over %s: %d bytes, at most %d (split the request)", signal, size, MaxBody)
	}
	return nil
}

// hand tries a way within its bound, and else writes a file under the same id,
// so that the extension takes the payload once, whatever arrives late.
func (c *Client) hand(signal Signal, body []byte, w *way, bound time.Duration, count *atomic.Uint64,
	try func(id uint64, signal Signal, body []byte, deadline time.Time) error) error {
	if err := check(signal, len(body)); err != nil {
		return c.fail(err)
	}
	id, now := c.id(), time.Now()
	if !w.resting(now) {
		err := try(id, signal, body, now.Add(bound))
		if err == nil {
			count.Add(1)
			return nil
		}
		if errors.Is(err, ErrRefused) {
			c.refused.Add(1)
			return fmt.Errorf("hand over %s: %w", signal, err)
		}
		c.late(w, err)
	}
	return c.fallBack(id, signal, body)
}

// late lets a way rest whose bound has passed.
func (c *Client) late(w *way, err error) {
	if isTimeout(err) {
		c.timeouts.Add(1)
		w.rest(time.Now().Add(c.options.Rest))
	}
}

func (c *Client) fallBack(id uint64, signal Signal, body []byte) error {
	err := c.write(id, signal, body)
	if err == nil {
		c.fallbacks.Add(1)
	}
	return err
}

func (c *Client) write(id uint64, signal Signal, body []byte) error {
	if err := c.writeFile(id, signal, body); err != nil {
		return c.fail(err)
	}
	c.handedFile.Add(1)
	return nil
}

func (c *Client) fail(err error) error {
	c.failed.Add(1)
	return err
}

func isTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.As(err, &timeout) && timeout.Timeout()
}

// way is the connections of HTTP or of the socket.
type way struct {
	mu       sync.Mutex
	idle     []*conn
	closed   bool
	restTill time.Time
}

// maxIdle is how many connections wait for the next call.
const maxIdle = 4

func (w *way) resting(now time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return now.Before(w.restTill)
}

func (w *way) rest(till time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.restTill = till
}

// get gives a connection that was used before, nil if there is none.
func (w *way) get() *conn {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.idle) == 0 {
		return nil
	}
	k := w.idle[len(w.idle)-1]
	w.idle = w.idle[:len(w.idle)-1]
	return k
}

// put keeps a connection for the next call.
func (w *way) put(k *conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || len(w.idle) == maxIdle {
		_ = k.Close() // nothing is buffered
		return
	}
	w.idle = append(w.idle, k)
}

func (w *way) close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	var err error
	for _, k := range w.idle {
		err = errors.Join(err, k.Close())
	}
	w.idle = nil
	return err
}

// use tries a connection that was used before, and if its other side has gone
// meanwhile a new one.
func (w *way) use(dial func() (*conn, error), try func(*conn) (again bool, err error)) error {
	for {
		k := w.get()
		used := k != nil
		if !used {
			var err error
			if k, err = dial(); err != nil {
				return err
			}
		}
		again, err := try(k)
		switch {
		case again:
			w.put(k)
			return err
		case err == nil:
			return k.Close()
		}
		_ = k.Close() // it has failed already
		if !used || isTimeout(err) || errors.Is(err, ErrRefused) {
			return err
		}
	}
}
