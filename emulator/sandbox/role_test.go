package sandbox

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// patience is how long a test waits for what has to happen.
const patience = 20 * time.Second

// TestMain runs the tests, or one of the roles that the tests start in a
// sandbox: this very binary, which lies below the machine's /tmp.
func TestMain(m *testing.M) {
	role := os.Getenv("ROLE")
	if role == "" {
		goleak.VerifyTestMain(m)
		return
	}
	if err := play(role, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func play(role string, args []string) error {
	switch role {
	case "print":
		fmt.Println(strings.Join(args, " "))
	case "exit":
		code, _ := strconv.Atoi(args[0])
		os.Exit(code)
	case "wait":
		fmt.Println("ready")
		time.Sleep(time.Hour) // nothing else runs here: an empty select would be a deadlock, and the end
	case "count":
		return count(args)
	case "eat":
		return eat(args[0], 300*time.Millisecond)
	case "eatAndWait":
		return eat(args[0], time.Hour)
	case "spin":
		return spin(args[0])
	case "fill":
		return fill(args[0])
	case "look":
		return look()
	case "flood":
		return flood(args[0])
	case "asleep":
		time.Sleep(time.Hour)
	case "sandbox":
		return inner(args[0])
	}
	return nil
}

// count counts in a file of its own, in two threads, and so do its child and
// its grandchild; each is in a session of its own.
func count(args []string) error {
	folder, depth := args[0], len(args)
	if depth < 3 {
		self, err := os.Executable()
		if err != nil {
			return err
		}
		child := exec.Command(self, append(args, "deeper")...)
		child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := child.Start(); err != nil {
			return err
		}
	}
	var n atomic.Int64
	for range 2 {
		go func() {
			runtime.LockOSThread()
			for {
				n.Add(1)
				time.Sleep(time.Millisecond)
			}
		}()
	}
	f, err := os.Create(filepath.Join(folder, "count"+strconv.Itoa(depth)))
	if err != nil {
		return err
	}
	for {
		// Always as long as the one before: nobody must see half of it.
		if _, err := f.WriteAt(fmt.Appendf(nil, "%020d", n.Load()), 0); err != nil {
			return err
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// eat takes memory and keeps it for so long.
func eat(megabytes string, keep time.Duration) error {
	n, _ := strconv.Atoi(megabytes)
	// Not from the heap: a race detector would eat several times as much.
	all, err := unix.Mmap(-1, 0, n<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return err
	}
	for i := 0; i < len(all); i += 4096 {
		all[i] = 1
	}
	fmt.Println("ate", len(all)>>20)
	time.Sleep(keep)
	return nil
}

// spin uses the CPU for so long by the clock and says how much it got.
func spin(d string) error {
	span, err := time.ParseDuration(d)
	if err != nil {
		return err
	}
	for end := time.Now().Add(span); time.Now().Before(end); {
	}
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return err
	}
	fmt.Println(time.Duration(u.Utime.Nano() + u.Stime.Nano()).Microseconds())
	return nil
}

// fill writes a file until the disk is full.
func fill(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	n := 0
	for {
		if _, err := f.Write(make([]byte, 1<<20)); err != nil {
			fmt.Println(n, err)
			return nil
		}
		n++
	}
}

// look says what the walls are like, one line each.
func look() error {
	report := func(name string, err error) {
		if err == nil {
			fmt.Println(name, "ok")
			return
		}
		fmt.Println(name, err)
	}
	_, err := os.ReadFile("/opt/extensions/ext")
	report("read /opt", err)
	report("write /opt", os.WriteFile("/opt/x", nil, 0o600))
	_, err = os.ReadFile("/var/task/data")
	report("read /var/task", err)
	report("write /var/task", os.WriteFile("/var/task/x", nil, 0o600))
	report("write /dev/shm", os.WriteFile("/dev/shm/x", nil, 0o600))
	report("write /tmp", os.WriteFile("/tmp/slipstream-sandbox-looks", nil, 0o600))
	for _, name := range []string{"sandbox", "sandbox.localdomain"} {
		addrs, err := new(net.Resolver).LookupHost(context.Background(), name)
		fmt.Println(name, addrs, err)
	}
	var limit unix.Rlimit
	err = unix.Getrlimit(unix.RLIMIT_NOFILE, &limit)
	fmt.Println("files", limit.Max, err)
	fmt.Println("process group of its own", syscall.Getpgrp() == os.Getpid())
	dir, err := os.Getwd()
	fmt.Println("dir", dir, err)
	return nil
}

// flood writes so many lines of 100 bytes.
func flood(lines string) error {
	n, _ := strconv.Atoi(lines)
	w := bufio.NewWriterSize(os.Stdout, 64<<10)
	for i := range n {
		fmt.Fprintf(w, "%08d %s\n", i, strings.Repeat("x", 90))
	}
	return w.Flush()
}

// inner makes a sandbox with a process in it and waits to be killed.
func inner(id string) error {
	s, err := New(Config{ID: id, Dir: os.TempDir()})
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	p, err := s.Start(Command{Path: self, Env: []string{"ROLE=wait"}})
	if err != nil {
		return err
	}
	fmt.Println(p.pid())
	time.Sleep(time.Hour)
	return nil
}

// text is a writer that several goroutines may use.
type text struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (t *text) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.Write(p)
}

func (t *text) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.String()
}

var lastID atomic.Int64

// newID names a sandbox as the emulator does.
func newID() string { return fmt.Sprintf("slipstream-%d-%d", os.Getpid(), lastID.Add(1)) }

// makeSandbox makes a sandbox on m that is closed at the test's end.
func makeSandbox(t *testing.T, c Config, m machine) *Sandbox {
	t.Helper()
	if c.ID == "" {
		c.ID = newID()
	}
	if c.Dir == "" {
		c.Dir = t.TempDir()
	}
	s, err := newSandbox(c, m)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// lacks tells whether a sandbox has said that it does without something.
func lacks(s *Sandbox, what string) bool {
	return strings.Contains(strings.Join(s.Notices(), "\n"), what)
}

// startRole starts a role of this binary.
func startRole(t *testing.T, s *Sandbox, out *text, role string, args ...string) *Process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p, err := s.Start(Command{Path: self, Args: append([]string{"role"}, args...),
		Env: []string{"ROLE=" + role}, Stdout: out, Stderr: out})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// runRole runs a role to its end and gives its output.
func runRole(t *testing.T, s *Sandbox, role string, args ...string) (string, Exit) {
	t.Helper()
	var out text
	p := startRole(t, s, &out, role, args...)
	waitDone(t, p)
	return out.String(), p.Exit()
}

func waitDone(t *testing.T, p *Process) {
	t.Helper()
	select {
	case <-p.Done():
	case <-time.After(patience):
		t.Fatalf("process %d has not ended after %v", p.pid(), patience)
	}
}

// eventually polls until ok, or fails the test after patience.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}
