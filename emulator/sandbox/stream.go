package sandbox

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// readPiece is how much is read from a pipe at once.
	readPiece = 64 << 10
	// pipeSize lets a process write a burst without waiting for the reader. The
	// kernel may refuse it to unprivileged users, then it is 64 KiB.
	pipeSize = 1 << 20
)

// stream carries what a process writes to one or both of its outputs.
type stream struct {
	pipe   *os.File
	to     io.Writer
	closed chan struct{} // when nothing more comes

	mu      sync.Mutex
	read    int64         // bytes taken from the pipe
	handed  int64         // bytes given to to
	changed chan struct{} // closed when handed grows, if somebody waits
}

// openOutput gives the three standard files of a process and the streams that
// read from them.
func openOutput(stdout, stderr io.Writer) (files [3]*os.File, streams []*stream, err error) {
	defer func() {
		if err != nil {
			closeAll(files[:])
			closeStreams(streams)
		}
	}()
	if files[0], err = os.Open(os.DevNull); err != nil {
		return files, nil, err
	}
	for i, to := range []io.Writer{stdout, stderr} {
		switch {
		case to == nil:
			files[1+i], err = os.OpenFile(os.DevNull, os.O_WRONLY, 0)
		case i == 1 && same(stdout, stderr):
			files[2] = files[1]
		default:
			var st *stream
			if st, files[1+i], err = openStream(to); err == nil {
				streams = append(streams, st)
			}
		}
		if err != nil {
			return files, streams, err
		}
	}
	return files, streams, nil
}

// same tells whether two writers are one; writers that cannot be compared are
// two.
func same(a, b io.Writer) (equal bool) {
	defer func() { _ = recover() }()
	return a == b
}

// openStream makes a pipe whose writing end blocks, as programs expect, and
// whose reading end does not.
func openStream(to io.Writer) (*stream, *os.File, error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, err
	}
	if err := unix.SetNonblock(fds[0], true); err != nil {
		_ = unix.Close(fds[0])
		_ = unix.Close(fds[1])
		return nil, nil, err
	}
	_, _ = unix.FcntlInt(uintptr(fds[0]), unix.F_SETPIPE_SZ, pipeSize) // else it stays as it is
	st := &stream{pipe: os.NewFile(uintptr(fds[0]), "|0"), to: to, closed: make(chan struct{})}
	return st, os.NewFile(uintptr(fds[1]), "|1"), nil
}

func closeAll(files []*os.File) {
	for i, f := range files {
		if f != nil && (i == 0 || f != files[i-1]) {
			_ = f.Close() // the process has its own, or there is none
		}
	}
}

func closeStreams(streams []*stream) {
	for _, st := range streams {
		_ = st.pipe.Close() // nobody has read from it
	}
}

// run hands over what comes until the pipe is closed by all who write, or drain
// ends it. What the writer does not want is dropped, so that the process does
// not wait for it.
func (st *stream) run() {
	defer close(st.closed)
	defer func() { _ = st.pipe.Close() }()
	raw, err := st.pipe.SyscallConn()
	if err != nil {
		return
	}
	buf := make([]byte, readPiece)
	for {
		var n int
		var readErr error
		err := raw.Read(func(fd uintptr) bool {
			n, readErr = st.take(int(fd), buf)
			return !errors.Is(readErr, unix.EAGAIN)
		})
		if err != nil {
			// drain's deadline is over: what is in the pipe now is still taken.
			_ = raw.Control(func(fd uintptr) {
				for n, err := st.take(int(fd), buf); n > 0 && err == nil; n, err = st.take(int(fd), buf) {
					st.hand(buf[:n])
				}
			})
			return
		}
		if n <= 0 {
			return
		}
		st.hand(buf[:n])
	}
}

// take reads once. The count of bytes taken changes together with the pipe, so
// that sync sees both or none.
func (st *stream) take(fd int, buf []byte) (n int, err error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	for {
		n, err = unix.Read(fd, buf)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	st.read += int64(max(n, 0))
	return n, err
}

func (st *stream) hand(b []byte) {
	_, _ = st.to.Write(b) // see run
	st.mu.Lock()
	defer st.mu.Unlock()
	st.handed += int64(len(b))
	if st.changed != nil {
		close(st.changed)
		st.changed = nil
	}
}

// sync waits until what is in the pipe now has been handed over.
func (st *stream) sync(ctx context.Context) error {
	waiting := 0
	raw, err := st.pipe.SyscallConn()
	if err != nil {
		<-st.closed
		return nil
	}
	st.mu.Lock()
	err = raw.Control(func(fd uintptr) {
		if n, err := unix.IoctlGetInt(int(fd), unix.TIOCINQ); err == nil {
			waiting = n
		}
	})
	target := st.read + int64(waiting)
	st.mu.Unlock()
	if err != nil {
		<-st.closed
		return nil
	}
	for {
		st.mu.Lock()
		if st.handed >= target {
			st.mu.Unlock()
			return nil
		}
		if st.changed == nil {
			st.changed = make(chan struct{})
		}
		changed := st.changed
		st.mu.Unlock()
		select {
		case <-changed:
		case <-st.closed:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// drain returns when nothing more comes, and makes that so after a while.
func (st *stream) drain(within time.Duration) {
	_ = st.pipe.SetReadDeadline(time.Now().Add(within)) // closed already is fine
	<-st.closed
}
