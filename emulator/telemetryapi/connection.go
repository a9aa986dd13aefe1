package telemetryapi

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"syscall"
	"time"
)

const (
	// sendPiece is how much is written between two looks at the gate.
	sendPiece = 64 << 10
	// maxAnswer bounds how much of an answer's body is read to keep the
	// connection.
	maxAnswer = 64 << 10
	// lastAnswer is how long an answer is waited for when the environment ends. An
	// extension may have answered and ended before the answer was read.
	lastAnswer = 500 * time.Millisecond
)

// errCut is what a try ends with that was cut on purpose.
var errCut = errors.New("body cut by a fault rule")

// connection sends bodies to one destination over one connection, which is kept
// while it works. One goroutine at a time may use it.
type connection struct {
	hub  *Hub
	want subscription
	conn net.Conn
	in   *bufio.Reader
}

func (c *connection) close() {
	if c.conn != nil {
		_ = c.conn.Close() // what it carried is either answered or sent again
		c.conn, c.in = nil, nil
	}
}

// send makes one try and gives the answer's status, 0 on TCP. cut breaks the
// connection in the middle of the body.
func (c *connection) send(ctx context.Context, body []byte, cut bool) (status int, err error) {
	defer func() {
		if err != nil {
			c.close()
			err = fmt.Errorf("deliver %d bytes to %s: %w", len(body), c.want.address, err)
		}
	}()
	if c.conn != nil && !alive(c.conn) {
		c.close()
	}
	if c.conn == nil {
		if err := c.dial(ctx); err != nil {
			return 0, err
		}
	}
	conn := c.conn
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now().Add(lastAnswer)) })()
	defer c.hub.gate.after(c.hub.try, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	var head []byte
	if !c.want.tcp {
		head = c.head(len(body))
	}
	if cut {
		if err := c.write(ctx, head, body[:len(body)/2]); err != nil {
			return 0, err
		}
		return 0, errCut
	}
	if err := c.write(ctx, head, body); err != nil {
		return 0, err
	}
	if c.want.tcp {
		return 0, nil
	}
	return c.answer()
}

func (c *connection) dial(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.hub.try)
	defer cancel()
	conn, err := c.hub.config.Dial(ctx, "tcp", c.want.address)
	if err != nil {
		return err
	}
	c.conn, c.in = conn, bufio.NewReader(conn)
	return nil
}

func (c *connection) head(length int) []byte {
	b := make([]byte, 0, 256)
	b = append(b, c.want.method...)
	b = append(b, ' ')
	b = append(b, c.want.path...)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, c.want.address...)
	b = append(b, "\r\nContent-Type: application/json\r\nContent-Length: "...)
	b = strconv.AppendInt(b, int64(length), 10)
	return append(b, "\r\n\r\n"...)
}

// write sends head and body, and stops between pieces while frozen.
func (c *connection) write(ctx context.Context, head, body []byte) error {
	for first := true; first || len(body) > 0; first = false {
		if err := c.hub.gate.wait(ctx); err != nil {
			return err
		}
		n := min(len(body), sendPiece)
		pieces := net.Buffers{head, body[:n]}
		if _, err := pieces.WriteTo(c.conn); err != nil {
			return err
		}
		head, body = nil, body[n:]
	}
	return nil
}

// answer reads the answer to a POST.
func (c *connection) answer() (int, error) {
	for {
		r, err := http.ReadResponse(c.in, &http.Request{Method: c.want.method})
		if err != nil {
			return 0, err
		}
		if r.StatusCode < http.StatusOK {
			continue // an interim answer
		}
		n, err := io.Copy(io.Discard, io.LimitReader(r.Body, maxAnswer+1))
		if err != nil || n > maxAnswer || r.Close {
			// The status is known: what is wrong after it costs the connection only.
			c.close()
		}
		return r.StatusCode, nil
	}
}

// alive tells whether the other side still holds the connection open. Without
// this look, a batch sent to a closed one would be tried twice.
func alive(conn net.Conn) bool {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return true
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	open := true
	err = raw.Control(func(fd uintptr) {
		var b [1]byte
		n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		open = n > 0 || errors.Is(err, syscall.EAGAIN)
	})
	return err == nil && open
}
