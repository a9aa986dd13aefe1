package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// drainWithin bounds how long the output of a process that has ended is waited
// for: something else may hold its pipe open.
const drainWithin = time.Second

// Command is a process to start.
type Command struct {
	// Path is the executable: a path of the machine or one inside the sandbox. A
	// name without a slash is looked up in this process's PATH.
	Path string
	// Args are the arguments with the process's own name first; nil means Path.
	Args []string
	// Env is the whole environment, as "NAME=value".
	Env []string
	// Dir is the working folder, a path of the machine or inside; "" means
	// /var/task if there is a Task, else this process's own, else /.
	Dir string
	// Stdout and Stderr take the output, nil drops it. If both are the same,
	// they get it in the order in which it was written.
	Stdout, Stderr io.Writer
}

// Process is a started Command with all that it starts itself. When it ends,
// the rest of its process group is killed; when the sandbox's last one ends,
// whatever is left in the sandbox is. Without control groups a descendant that
// has left the process group is found only if the end comes by Signal or Kill.
type Process struct {
	sandbox *Sandbox
	process *os.Process
	streams []*stream
	done    chan struct{}
	maxRSS  int64 // seen so far; under sandbox.mu

	mu     sync.Mutex
	ended  bool // its number may belong to another
	exit   Exit
	strays []int // descendants seen before a signal, where no group holds them
}

// Exit is how a process ended.
type Exit struct {
	Code   int            // the exit code, -1 if a signal ended it
	Signal syscall.Signal // that ended it, 0 if none did
	MaxRSS int64          // highest resident memory, bytes; measured every 100 ms
	CPU    time.Duration  // user and system time, with the children it waited for
}

// Start starts a process. That it cannot be executed is told at once.
func (s *Sandbox) Start(c Command) (*Process, error) {
	p, err := s.start(c)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Path, err)
	}
	return p, nil
}

func (s *Sandbox) start(c Command) (*Process, error) {
	path, err := s.resolve(c.Path)
	if err != nil {
		return nil, err
	}
	dir, err := s.workingDir(c.Dir)
	if err != nil {
		return nil, err
	}
	args := c.Args
	if len(args) == 0 {
		args = []string{s.Path(path)}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return nil, errors.New("the sandbox is closed")
	case s.frozen:
		return nil, errors.New("the sandbox is frozen: thaw it first")
	}
	out, streams, err := openOutput(c.Stdout, c.Stderr)
	if err != nil {
		return nil, err
	}
	attr := &os.ProcAttr{Env: append([]string{}, c.Env...), Files: out[:], Sys: s.attributes()}
	attr.Dir = dir
	inside := s.Path(path)
	var process *os.Process
	s.thread.do(func() {
		if s.walls != nil {
			if inside, err = s.walls.executable(inside); err != nil {
				return
			}
		}
		if c.Dir == "" && unix.Access(attr.Dir, unix.F_OK) != nil {
			attr.Dir = "/"
		}
		process, err = execute(inside, args, attr, unix.Rlimit{Cur: s.config.Files, Max: s.config.Files})
	})
	closeAll(out[:])
	if err != nil {
		closeStreams(streams)
		return nil, err
	}
	p := &Process{sandbox: s, process: process, streams: streams, done: make(chan struct{})}
	s.processes = append(s.processes, p)
	for _, st := range streams {
		go st.run()
	}
	go p.wait()
	return p, nil
}

// execute starts a process whose limit of descriptors is there before it can look
// at it, or have children: as it is traced it stops before its first instruction.
// Where tracing is not allowed, the limit comes a moment late. It runs on the thread,
// which traces and is a process's only tracer.
func execute(path string, args []string, attr *os.ProcAttr, files unix.Rlimit) (*os.Process, error) {
	attr.Sys.Ptrace = true
	process, err := os.StartProcess(path, args, attr)
	traced := err == nil
	if !traced {
		attr.Sys.Ptrace = false
		if process, err = os.StartProcess(path, args, attr); err != nil {
			return nil, err
		}
	}
	if traced { // or dead already: that is left for wait to see
		for unix.Waitid(unix.P_PID, process.Pid, nil, unix.WSTOPPED|unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
		}
	}
	// Nothing to lose in what follows: the process may have ended.
	_ = unix.Prlimit(process.Pid, unix.RLIMIT_NOFILE, &files, nil)
	if traced {
		_ = unix.PtraceDetach(process.Pid)
	}
	return process, nil
}

// attributes says how a process is forked. It runs on the thread, which is the
// parent whose death kills it.
func (s *Sandbox) attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL,
		UseCgroupFD: s.groups.unified != nil, CgroupFD: s.groups.unifiedFD}
}

// resolve makes a command's path absolute, and real where /tmp is covered.
func (s *Sandbox) resolve(path string) (string, error) {
	if !strings.Contains(path, "/") {
		found, err := exec.LookPath(path)
		if err != nil {
			return "", err
		}
		path = found
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	if _, inTmp := below(path, newRoot); inTmp && s.walls != nil {
		if dir, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil {
			path = filepath.Join(dir, filepath.Base(path))
		}
	}
	return path, nil
}

// workingDir gives the working folder by its name inside.
func (s *Sandbox) workingDir(dir string) (string, error) {
	switch {
	case dir != "":
		return s.Path(dir), nil
	case s.config.Task != "":
		return s.Path(s.config.Task), nil
	}
	return os.Getwd()
}

// wait sees the process end, kills what it leaves, and takes its last output.
func (p *Process) wait() {
	defer close(p.done)
	for {
		// The number stays ours until Wait below: until then signals are safe.
		err := unix.Waitid(unix.P_PID, p.process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	p.mu.Lock()
	_ = syscall.Kill(-p.process.Pid, syscall.SIGKILL) // nobody left is fine
	for _, pid := range p.strays {
		_ = syscall.Kill(pid, syscall.SIGKILL) // the same
	}
	p.ended = true
	state, err := p.process.Wait()
	p.mu.Unlock()
	p.sandbox.ended(p)
	for _, st := range p.streams {
		st.drain(drainWithin)
	}
	if err != nil {
		p.setExit(Exit{Code: -1})
		return
	}
	p.setExit(p.exitOf(state))
}

func (p *Process) exitOf(state *os.ProcessState) Exit {
	e := Exit{Code: state.ExitCode(), CPU: state.UserTime() + state.SystemTime()}
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		e.Signal = status.Signal()
	}
	p.sandbox.mu.Lock()
	e.MaxRSS = p.maxRSS
	p.sandbox.mu.Unlock()
	// The kernel's figure counts what this process had in memory at the fork, so
	// it is right only where it is higher than that.
	var own syscall.Rusage
	usage, ok := state.SysUsage().(*syscall.Rusage)
	if ok && syscall.Getrusage(syscall.RUSAGE_SELF, &own) == nil && (usage.Maxrss > own.Maxrss || e.MaxRSS == 0) {
		e.MaxRSS = max(e.MaxRSS, usage.Maxrss<<10)
	}
	return e
}

func (p *Process) setExit(e Exit) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.exit = e
}

// ended takes p off the list, and kills what is left when it was the last.
func (s *Sandbox) ended(p *Process) {
	s.mu.Lock()
	s.processes = slices.DeleteFunc(s.processes, func(q *Process) bool { return q == p })
	last := len(s.processes) == 0
	if last {
		s.killPIDsLocked(s.pidsLocked())
	}
	s.mu.Unlock()
}

// pid is the process's number.
func (p *Process) pid() int { return p.process.Pid }

// Done is closed when the process has ended and all its output is handed over.
func (p *Process) Done() <-chan struct{} { return p.done }

// Exit tells how the process ended; ask after Done.
func (p *Process) Exit() Exit {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.exit
}

// Signal sends a signal to the process group. After its end it is an error.
func (p *Process) Signal(sig syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return fmt.Errorf("signal process %d: %w", p.process.Pid, os.ErrProcessDone)
	}
	if p.sandbox.groups.main() == nil {
		p.strays = related([]int{p.process.Pid})
	}
	if err := syscall.Kill(-p.process.Pid, sig); err != nil {
		return fmt.Errorf("signal process group %d: %w", p.process.Pid, err)
	}
	return nil
}

// Kill kills the process group, also a frozen one. Wait for Done to see it gone.
func (p *Process) Kill() {
	p.sandbox.mu.Lock()
	p.sandbox.measure()
	frozen := p.sandbox.frozen
	p.sandbox.mu.Unlock()
	if p.Signal(syscall.SIGKILL) != nil || !frozen {
		return
	}
	p.sandbox.freezer.release(slices.DeleteFunc(p.sandbox.pids(), func(pid int) bool {
		group, err := syscall.Getpgid(pid)
		return err != nil || group != p.process.Pid
	}))
}

// SyncOutput returns when all that the process wrote before the call has been
// handed to Stdout and Stderr, or with ctx's error.
func (p *Process) SyncOutput(ctx context.Context) error {
	for _, st := range p.streams {
		if err := st.sync(ctx); err != nil {
			return fmt.Errorf("wait for output of process %d: %w", p.process.Pid, err)
		}
	}
	return nil
}

// pids lists all live processes of the sandbox.
func (s *Sandbox) pids() []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pidsLocked()
}
