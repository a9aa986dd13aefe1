package handoff

import (
	"fmt"
	"io"
	"syscall"
	"unsafe"
)

// What the standard library does not name (fcntl(2), linux/fcntl.h).
const (
	getSeals    = 1034
	sealShrink  = 0x2
	sealGrow    = 0x4
	sealWrite   = 0x8
	neededSeals = sealShrink | sealGrow | sealWrite
	maxPageSize = 64 << 10 // memory in huge pages is not taken
)

// nextPacket reads one message with its descriptor, and takes the memory behind
// it.
func (c *connection) nextPacket() error {
	n, fd, err := c.receive()
	if err != nil {
		return idle(err)
	}
	if n == 0 && fd < 0 {
		return io.EOF
	}
	h, err := parseHeader(c.header[:n])
	if err == nil {
		err = c.takeMemory(h, fd)
	} else {
		err = fmt.Errorf("%w: %w", errMalformed, err)
	}
	if fd >= 0 {
		_ = syscall.Close(fd) // memory: nothing to lose
	}
	return c.settle(h, err)
}

// receive waits for a message. fd is -1 if it had no descriptor, or several.
func (c *connection) receive() (n, fd int, err error) {
	fd = -1
	// ReadMsgUnix sets close-on-exec on what it receives.
	n, rights, _, _, err := c.ReadMsgUnix(c.header[:], c.rights[:])
	if err != nil {
		return n, fd, err
	}
	messages, err := syscall.ParseSocketControlMessage(c.rights[:rights])
	if err != nil {
		return n, fd, err
	}
	count := 0
	for _, m := range messages {
		fds, err := syscall.ParseUnixRights(&m)
		if err != nil {
			continue // credentials, or the like
		}
		for _, received := range fds {
			if count++; count == 1 {
				fd = received
				continue
			}
			_ = syscall.Close(received) // not asked for
		}
	}
	if count > 1 {
		_ = syscall.Close(fd)
		return n, -1, nil
	}
	return n, fd, nil
}

// takeMemory hands the sealed memory behind a descriptor over, where it is. The
// seals are what makes that safe: nobody can change or cut it any more.
func (c *connection) takeMemory(h header, fd int) error {
	if h.size == 0 {
		return nil
	}
	if fd < 0 {
		return fmt.Errorf("%w: a message with not one descriptor", errMalformed)
	}
	seals, _, failed := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), getSeals, 0)
	if failed != 0 || seals&neededSeals != neededSeals {
		return fmt.Errorf("%w: the memory is not sealed", errMalformed)
	}
	var stat syscall.Stat_t
	if err := syscall.Fstat(fd, &stat); err != nil || stat.Size < int64(h.size) || stat.Blksize > maxPageSize {
		return fmt.Errorf("%w: memory of %d bytes, said to be %d", errMalformed, stat.Size, h.size)
	}
	body, err := syscall.Mmap(fd, 0, int(h.size), syscall.PROT_READ, syscall.MAP_SHARED|syscall.MAP_POPULATE)
	if err != nil {
		return fmt.Errorf("map a payload: %w", err)
	}
	_ = syscall.Madvise(body, syscall.MADV_RANDOM) // unmapping takes half the time; slower without, no worse
	err = c.deliver(h, body)
	if failed := syscall.Munmap(body); failed != nil {
		return fmt.Errorf("unmap a payload: %w", failed)
	}
	return err
}

// readable tells whether a read, or an accept, would give something at once.
func readable(c syscall.Conn) bool {
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	ready := false
	err = raw.Control(func(fd uintptr) {
		const pollIn = 0x1
		poll := struct {
			fd              int32
			events, revents int16
		}{fd: int32(fd), events: pollIn}
		var now syscall.Timespec
		n, _, _ := syscall.Syscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&poll)), 1,
			uintptr(unsafe.Pointer(&now)), 0, 0, 0)
		ready = int(n) == 1 && poll.revents&pollIn != 0
	})
	return ready && err == nil
}
