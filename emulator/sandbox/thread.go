package sandbox

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// thread is an operating system thread that runs functions one at a time. What
// they change about the thread (its mount namespace, root folder and control
// groups) stays for the next ones, and ends with it.
type thread struct {
	calls chan func()
	ended chan struct{}
}

// startThread starts a thread whose first act is build; if that fails the
// thread ends and the error is given.
func startThread(build func() error) (*thread, error) {
	t := &thread{calls: make(chan func()), ended: make(chan struct{})}
	built := make(chan error)
	go t.run(build, built)
	if err := <-built; err != nil {
		<-t.ended
		return nil, err
	}
	return t, nil
}

func (t *thread) run(build func() error, built chan<- error) {
	// Never unlocked, so the thread is not used for anything else and ends when
	// this function does.
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() {
		// /proc/self shows the state of the process's first thread: keep that one
		// as it is, and hold it here so that the next try gets another.
		go t.run(build, built)
		<-t.ended
		runtime.UnlockOSThread()
		return
	}
	defer close(t.ended)
	err := build()
	built <- err
	if err != nil {
		return
	}
	for f := range t.calls {
		f()
	}
}

// do runs f on the thread and returns when it is done.
func (t *thread) do(f func()) {
	done := make(chan struct{})
	t.calls <- func() {
		defer close(done)
		f()
	}
	<-done
}

// end ends the thread. No do may be under way or follow.
func (t *thread) end() {
	close(t.calls)
	<-t.ended
}
