package handoff

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"
)

// The messages are those of intake/handoff/message.go, which explains them.
const (
	headerBytes   = 24
	wantAnswer    = 1
	isAnswer      = 2
	statusTaken   = 0
	statusRefused = 3

	// queueBytes bounds the messages, and so the memory, that lie in the socket
	// while the extension does not read: about sixteen.
	queueBytes = 2 << 10
)

// Buffer is memory that can be handed over as it is: what is written to Bytes
// is not copied any more. Release or Send ends it.
type Buffer struct {
	client *Client
	fd     int
	bytes  []byte
}

// Buffer gives memory of that many bytes, to be sent soon.
func (c *Client) Buffer(size int) (*Buffer, error) {
	if size <= 0 || size > MaxBody {
		return nil, fmt.Errorf("make a hand-off buffer of %d bytes: at least 1, at most %d", size, MaxBody)
	}
	fd, bytes, err := mapMemory(size)
	if err != nil {
		return nil, fmt.Errorf("make a hand-off buffer of %d bytes: %w (Send copies instead)", size, err)
	}
	return &Buffer{client: c, fd: fd, bytes: bytes}, nil
}

// Bytes is the memory, nil after Send and Release.
func (b *Buffer) Bytes() []byte { return b.bytes }

// Release gives the memory back without sending it.
func (b *Buffer) Release() error {
	if b.bytes == nil {
		return nil
	}
	err := syscall.Munmap(b.bytes)
	b.bytes = nil
	return errors.Join(err, closeMemory(b.fd))
}

// Send hands the first n bytes over, or else writes them to a file. Whatever it
// returns, the Buffer is used up.
func (b *Buffer) Send(signal Signal, n int) error {
	c := b.client
	if b.bytes == nil || n < 0 || n > len(b.bytes) {
		return c.fail(fmt.Errorf("hand over %d bytes of a buffer of %d", n, len(b.bytes)))
	}
	if err := check(signal, n); err != nil {
		return c.fail(errors.Join(err, b.Release()))
	}
	id, now := c.id(), time.Now()
	if c.ipc.resting(now) {
		return errors.Join(c.fallBack(id, signal, b.bytes[:n]), b.Release())
	}
	err := syscall.Munmap(b.bytes) // memory that is mapped to be written cannot be sealed
	b.bytes = nil
	if err == nil {
		err = seal(b.fd)
	}
	if err == nil {
		err = c.pass(id, signal, b.fd, n, now.Add(c.options.SendBound))
	}
	switch {
	case err == nil:
		c.handedIPC.Add(1)
	case errors.Is(err, ErrRefused):
		c.refused.Add(1)
		err = fmt.Errorf("hand over %s: %w", signal, err)
	default:
		c.late(&c.ipc, err)
		body, failed := syscall.Mmap(b.fd, 0, max(n, 1), syscall.PROT_READ, syscall.MAP_SHARED)
		if failed != nil {
			err = c.fail(errors.Join(err, failed))
			break
		}
		err = errors.Join(c.fallBack(id, signal, body[:n]), syscall.Munmap(body))
	}
	return errors.Join(err, closeMemory(b.fd))
}

// pass sends a message with the memory's descriptor, and waits for the answer
// if one is wanted.
func (c *Client) pass(id uint64, signal Signal, fd, size int, deadline time.Time) error {
	dial := func() (*conn, error) {
		k, err := (&net.Dialer{Deadline: deadline}).Dial("unixpacket", c.options.Socket)
		if err != nil {
			return nil, err
		}
		if unix, ok := k.(*net.UnixConn); ok {
			err = unix.SetWriteBuffer(queueBytes)
		}
		return &conn{Conn: k}, err
	}
	return c.ipc.use(dial, func(k *conn) (again bool, err error) {
		if err := k.SetDeadline(deadline); err != nil {
			return false, err
		}
		message := appendHeader(make([]byte, 0, headerBytes), id, signal, size, c.options.Acknowledge)
		unix, ok := k.Conn.(*net.UnixConn)
		if !ok {
			return false, errors.New("not a Unix socket")
		}
		if _, _, err := unix.WriteMsgUnix(message, syscall.UnixRights(fd), nil); err != nil {
			return isTimeout(err), err // the queue is full: a new connection would only get another one
		}
		if !c.options.Acknowledge {
			return true, nil
		}
		n, err := k.Read(message[:headerBytes])
		switch {
		case err != nil:
			return false, err
		case n == 0:
			return false, io.ErrUnexpectedEOF // gone without an answer
		case n != headerBytes || message[5] != isAnswer || binary.LittleEndian.Uint64(message[8:]) != id:
			return false, errors.New("an answer to something else")
		case message[6] == statusRefused:
			return true, ErrRefused
		case message[6] != statusTaken:
			return true, errors.New("the extension has no room")
		}
		return true, nil
	})
}

func appendHeader(dst []byte, id uint64, signal Signal, size int, acknowledge bool) []byte {
	code := map[Signal]byte{Logs: 1, Traces: 2, Metrics: 3}[signal]
	flags := byte(0)
	if acknowledge {
		flags = wantAnswer
	}
	dst = append(dst, 'S', 'L', 'H', 1, code, flags, 0, 0)
	dst = binary.LittleEndian.AppendUint64(dst, id)
	return binary.LittleEndian.AppendUint64(dst, uint64(size))
}

func closeMemory(fd int) error { return syscall.Close(fd) }
