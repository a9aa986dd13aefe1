package statsd

import (
	"errors"
	"log/slog"
	"os"
	"syscall"
	"time"
	"unsafe"
)

// serveSocket reads the system's own socket without waiting until it is empty,
// offers what came, and waits for more. It tells whether it is such a socket.
func (s *Server) serveSocket() bool {
	socket, ok := s.socket.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return false
	}
	buf := make([]byte, maxDatagram+1)
	// It is called again when there is something to read. It returns true for
	// another deadline, if something has been refused.
	readable := func(fd uintptr) bool {
		waits := s.refused > 0
		if s.drain(int(fd), buf, s.closing.Load) && s.refused == 0 {
			s.offer()
		}
		s.countLost(int(fd))
		return s.refused > 0 && !waits
	}
	for !s.closing.Load() {
		s.setDeadline()
		switch err := raw.Read(readable); {
		case err == nil || s.closing.Load():
		case errors.Is(err, os.ErrDeadlineExceeded):
			s.offer()
		default:
			slog.Warn("statsd: the socket cannot be read any more", "cause", err)
			return true
		}
	}
	left := lastDatagrams
	enough := func() bool { left--; return left < 0 }
	_ = raw.Control(func(fd uintptr) { // of a socket that someone else has closed nothing is left
		s.drain(int(fd), buf, enough)
		s.countLost(int(fd))
	})
	return true
}

// drain reads until the socket is empty or it is enough, and tells whether it
// read anything. One call a datagram: it is what the kernel does in it that takes
// the time.
func (s *Server) drain(fd int, buf []byte, enough func() bool) (read bool) {
	for !enough() {
		n, err := syscall.Read(fd, buf)
		switch {
		case err == nil:
			s.datagram(buf[:n], time.Now())
			read = true
		case !errors.Is(err, syscall.EINTR):
			return read
		}
	}
	return read
}

// Of linux/sock_diag.h and asm-generic/socket.h.
const (
	soMemInfo    = 55
	memInfoDrops = 8
	memInfoSize  = 9
)

// countLost counts the datagrams that the kernel dropped since the last time,
// for which it has one counter a socket. Kernels before 4.12 do not tell it.
func (s *Server) countLost(fd int) {
	var info [memInfoSize]uint32
	size := uint32(unsafe.Sizeof(info))
	_, _, errno := syscall.RawSyscall6(syscall.SYS_GETSOCKOPT, uintptr(fd), syscall.SOL_SOCKET, soMemInfo,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 || size != uint32(unsafe.Sizeof(info)) {
		return
	}
	if n := info[memInfoDrops] - s.lost; n > 0 {
		s.config.Drop(reasonSocketFull, int(n))
		s.lost += n
	}
}
