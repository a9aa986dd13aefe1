package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestInsideTheWalls(t *testing.T) {
	opt, task := t.TempDir(), t.TempDir()
	if err := os.Mkdir(filepath.Join(opt, "extensions"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(opt, "extensions/ext"), filepath.Join(task, "data")} {
		if err := os.WriteFile(path, []byte("x"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s := makeSandbox(t, Config{Opt: opt, Task: task, Address: netip.MustParseAddr("127.0.0.7")}, thisMachine())
	if lacks(s, "no private file system") {
		if got := s.Path(filepath.Join(task, "data")); got != filepath.Join(task, "data") {
			t.Errorf("Path gives %s without a private file system", got)
		}
		if out, exit := runRole(t, s, "print", "a"); out != "a\n" || exit.Code != 0 {
			t.Errorf("without walls: %q, %+v", out, exit)
		}
		return
	}
	if got := s.Path(filepath.Join(opt, "extensions/ext")); got != "/opt/extensions/ext" {
		t.Errorf("Path gives %s", got)
	}
	if got := s.Path(task); got != "/var/task" {
		t.Errorf("Path gives %s", got)
	}
	out, exit := runRole(t, s, "look")
	want := []string{
		"read /opt ok",
		"write /opt open /opt/x: read-only file system",
		"read /var/task ok",
		"write /var/task open /var/task/x: read-only file system",
		"write /dev/shm open /dev/shm/x: read-only file system",
		"write /tmp ok",
		"sandbox [127.0.0.7] <nil>",
		"sandbox.localdomain [127.0.0.7] <nil>",
		"files 1024 <nil>",
		"process group of its own true",
		"dir /var/task <nil>",
	}
	if d := cmp.Diff(want, strings.Split(strings.TrimSpace(out), "\n")); d != "" || exit.Code != 0 {
		t.Errorf("%+v %s", exit, d)
	}
	if _, err := os.Stat("/tmp/slipstream-sandbox-looks"); err == nil {
		t.Error("the sandbox wrote into the machine's /tmp")
	}
}

func TestTmpIsPrivateLimitedAndKept(t *testing.T) {
	a := makeSandbox(t, Config{TmpMB: 8}, thisMachine())
	b := makeSandbox(t, Config{TmpMB: 8}, thisMachine())
	if lacks(a, "no private file system") {
		return // the machine's /tmp is what there is: nothing to see
	}
	sh := func(s *Sandbox, script string) string {
		var out text
		p, err := s.Start(Command{Path: "/bin/sh", Args: []string{"sh", "-c", script}, Stdout: &out, Stderr: &out})
		if err != nil {
			t.Fatal(err)
		}
		waitDone(t, p)
		return out.String()
	}
	if got := sh(a, "ls -A /tmp; echo kept >/tmp/file"); got != "" {
		t.Errorf("a fresh /tmp has %q", got)
	}
	if got := sh(a, "cat /tmp/file"); got != "kept\n" {
		t.Errorf("the next process finds %q", got)
	}
	if got := sh(b, "ls -A /tmp"); got != "" {
		t.Errorf("the other sandbox has %q", got)
	}
	out, _ := runRole(t, a, "fill", "/tmp/big")
	if want := "7 write /tmp/big: no space left on device\n"; out != want {
		t.Errorf("filling 8 MiB: %q, want %q", out, want)
	}
}

func TestBindsStayReachable(t *testing.T) {
	shared := t.TempDir()
	s := makeSandbox(t, Config{Binds: []string{shared}}, thisMachine())
	p, err := s.Start(Command{Path: "/bin/sh", Args: []string{"sh", "-c", "pwd >here"}, Dir: shared})
	if err != nil {
		t.Fatal(err)
	}
	waitDone(t, p)
	got, err := os.ReadFile(filepath.Join(shared, "here"))
	if err != nil || strings.TrimSpace(string(got)) != shared {
		t.Errorf("%q, %v", got, err)
	}
}

func TestStartTellsAtOnceWhatCannotRun(t *testing.T) {
	folder := t.TempDir()
	plain := filepath.Join(folder, "plain")
	if err := os.WriteFile(plain, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	s := makeSandbox(t, Config{}, thisMachine())
	for _, c := range []struct {
		path string
		want error
	}{
		{filepath.Join(folder, "missing"), fs.ErrNotExist},
		{plain, fs.ErrPermission},
		{"/missing/too", fs.ErrNotExist},
		{"no-such-command-anywhere", nil},
	} {
		_, err := s.Start(Command{Path: c.path})
		if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), "start "+c.path) {
			t.Errorf("start %s: %v, want %v", c.path, err, c.want)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Start(Command{Path: "/bin/true"}); err == nil {
		t.Error("a closed sandbox started a process")
	}
	if err := s.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

func TestConfigErrors(t *testing.T) {
	for _, c := range []struct {
		config Config
		want   string
	}{
		{Config{}, "use a name"},
		{Config{ID: "a/b"}, "use a name"},
		{Config{ID: "a", Dir: "/missing"}, "find /missing"},
		{Config{ID: "a", Dir: "/", MemoryMB: -1}, "use sizes from 0"},
	} {
		if _, err := New(c.config); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("New(%+v): %v, want %q", c.config, err, c.want)
		}
	}
}

func TestExitTellsHow(t *testing.T) {
	s := makeSandbox(t, Config{}, thisMachine())
	if _, exit := runRole(t, s, "exit", "3"); exit.Code != 3 || exit.Signal != 0 || exit.CPU <= 0 || exit.MaxRSS < 1<<20 {
		t.Errorf("exit 3: %+v", exit)
	}
	p := startRole(t, s, &text{}, "asleep")
	if err := p.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	waitDone(t, p)
	if exit := p.Exit(); exit.Code != -1 || exit.Signal != syscall.SIGTERM {
		t.Errorf("after SIGTERM: %+v", exit)
	}
	if err := p.Signal(syscall.SIGTERM); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("signal after the end: %v", err)
	}
	p = startRole(t, s, &text{}, "asleep")
	p.Kill()
	waitDone(t, p)
	if exit := p.Exit(); exit.Code != -1 || exit.Signal != syscall.SIGKILL {
		t.Errorf("after Kill: %+v", exit)
	}
}

// However soon a process looks, it has the limit, and a child that it begins with
// has it too.
func TestFilesAreLimitedFromTheFirstInstruction(t *testing.T) {
	s := makeSandbox(t, Config{Files: 777}, thisMachine())
	for range 50 {
		var out text
		p, err := s.Start(Command{Path: "/bin/sh", Args: []string{"sh", "-c", "(ulimit -Hn); ulimit -Hn"}, Stdout: &out})
		if err != nil {
			t.Fatal(err)
		}
		waitDone(t, p)
		if out.String() != "777\n777\n" {
			t.Fatalf("limits of %q, want 777", out.String())
		}
	}
}

func TestMaxRSSIsTheProcesssOwn(t *testing.T) {
	s := makeSandbox(t, Config{}, thisMachine())
	ballast, err := unix.Mmap(-1, 0, 400<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(ballast); i += 4096 {
		ballast[i] = 1
	}
	_, exit := runRole(t, s, "eat", "60")
	if exit.MaxRSS < 60<<20 || exit.MaxRSS > 300<<20 {
		t.Errorf("a process with 60 MiB beside one with %d MiB: %d MiB", len(ballast)>>20, exit.MaxRSS>>20)
	}
	if err := unix.Munmap(ballast); err != nil {
		t.Error(err)
	}
	if peak := s.MaxMemory(); peak < 60<<20 {
		t.Errorf("MaxMemory %d MiB", peak>>20)
	}
}

func TestMemoryLimitKills(t *testing.T) {
	s := makeSandbox(t, Config{MemoryMB: 256}, thisMachine())
	out, exit := runRole(t, s, "eat", "600")
	if lacks(s, "no memory group") {
		if out != "ate 600\n" || s.OOMKills() != 0 {
			t.Errorf("without a limit: %q, %d kills", out, s.OOMKills())
		}
		return
	}
	if exit.Signal != syscall.SIGKILL || s.OOMKills() != 1 {
		t.Errorf("600 MiB of 256: %q, %+v, %d kills", out, exit, s.OOMKills())
	}
	if peak := s.MaxMemory(); peak < 200<<20 || peak > 257<<20 {
		t.Errorf("MaxMemory %d MiB", peak>>20)
	}
	if out, exit := runRole(t, s, "eat", "40"); out != "ate 40\n" || exit.Code != 0 {
		t.Errorf("40 MiB after it: %q, %+v", out, exit)
	}
	if err := s.Close(); err != nil || s.OOMKills() != 1 {
		t.Errorf("after Close: %v, %d kills", err, s.OOMKills())
	}
}

func TestCPUShareFollowsMemory(t *testing.T) {
	s := makeSandbox(t, Config{MemoryMB: mbPerCPU / 4}, thisMachine())
	if lacks(s, "no cpu group") {
		return // nothing limits it
	}
	// The same for one that has all it can get, at the same time: what a busy
	// machine gives is never more.
	free := makeSandbox(t, Config{}, thisMachine())
	var mine, others text
	a, b := startRole(t, s, &mine, "spin", "1s"), startRole(t, free, &others, "spin", "1s")
	waitDone(t, a)
	waitDone(t, b)
	got, _ := strconv.Atoi(strings.TrimSpace(mine.String()))
	if got == 0 || got > 400_000 {
		t.Errorf("a quarter of a CPU got %d us in a second, a free one %s", got, others.String())
	}
}

func TestGrandchildrenDieWithTheGroup(t *testing.T) {
	for _, v := range variants() {
		for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
			t.Run(v.name+" "+sig.String(), func(t *testing.T) {
				shared := t.TempDir()
				s := makeSandbox(t, Config{Binds: []string{shared}}, v.machine)
				p := startRole(t, s, &text{}, "count", shared)
				eventually(t, "three generations", func() bool { return len(counts(shared)) == 3 })
				if err := p.Signal(sig); err != nil {
					t.Fatal(err)
				}
				waitDone(t, p)
				eventually(t, "all dead", func() bool {
					before := counts(shared)
					time.Sleep(50 * time.Millisecond)
					return slices.Equal(before, counts(shared))
				})
			})
		}
	}
}

// counts reads the counters that role count keeps.
func counts(folder string) []string {
	names, _ := filepath.Glob(filepath.Join(folder, "count*"))
	var all []string
	for _, name := range names {
		if b, err := os.ReadFile(name); err == nil && len(b) > 0 {
			all = append(all, string(b))
		}
	}
	return all
}

func TestCloseLeavesNothing(t *testing.T) {
	s := makeSandbox(t, Config{MemoryMB: 512}, thisMachine())
	for range 3 {
		startRole(t, s, &text{}, "wait")
	}
	sleeper, err := s.Start(Command{Path: "/bin/sh", Dir: "/",
		Args: []string{"sh", "-c", "setsid sleep 1000 & setsid sleep 1000 & exec sleep 1000"}})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "all started", func() bool { return len(s.pids()) >= 4 })
	pids := append(s.pids(), sleeper.pid())
	if err := s.Freeze(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, pid := range pids {
		if alive(pid) {
			t.Errorf("process %d is alive", pid)
		}
	}
	for _, g := range s.groups.made {
		if _, err := os.Stat(g.dir); err == nil {
			t.Errorf("group %s is there", g.dir)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || strings.Contains(string(mounts), execDir) {
		t.Errorf("mounts of the sandbox are seen outside: %v", err)
	}
}

func TestGroupsOfACrashedEmulatorAreRemoved(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range variants() {
		t.Run(m.name, func(t *testing.T) {
			outer := makeSandbox(t, Config{}, machine{noMounts: errors.New("not needed")})
			var out text
			// Its number is not known beforehand: it names its sandbox by a variable.
			p, err := outer.Start(Command{Path: "/bin/sh", Args: []string{"sh", "-c",
				"exec " + self + " slipstream-$$-1"}, Env: []string{"ROLE=sandbox"}, Stdout: &out, Stderr: &out})
			if err != nil {
				t.Fatal(err)
			}
			eventually(t, "the inner sandbox", func() bool { return strings.HasSuffix(out.String(), "\n") })
			inner, err := strconv.Atoi(strings.TrimSpace(out.String()))
			if err != nil {
				t.Fatalf("the inner emulator says %q", out.String())
			}
			p.Kill()
			waitDone(t, p)
			eventually(t, "the death of its process", func() bool { return !alive(inner) })
			// The kernel may need a moment for the dead: what one sandbox cannot remove, the next one does.
			eventually(t, "the removal of what was left behind", func() bool {
				makeSandbox(t, Config{}, m.machine)
				return !slices.ContainsFunc(m.machine.hierarchies, func(h hierarchy) bool {
					left, _ := filepath.Glob(filepath.Join(h.base, fmt.Sprintf("slipstream-%d-*", p.pid())))
					return len(left) > 0 && usable(h)
				})
			})
		})
	}
}

// usable tells whether a sandbox makes groups in a hierarchy.
func usable(h hierarchy) bool {
	return h.v2 || slices.ContainsFunc([]string{"cpu", "memory", "pids"}, func(c string) bool {
		return slices.Contains(h.controllers, c)
	})
}

func TestSyncOutputWaitsForAllThatWasWritten(t *testing.T) {
	s := makeSandbox(t, Config{}, thisMachine())
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for range 20 {
		slow := &slowText{}
		p, err := s.Start(Command{Path: "/bin/sh", Args: []string{"sh", "-c",
			"i=0; while [ $i -lt 500 ]; do echo line $i; i=$((i+1)); done; echo; sleep 1000"}, Stdout: slow})
		if err != nil {
			t.Fatal(err)
		}
		// The shell sleeps in a child when it has written everything.
		eventually(t, "the sleep", func() bool { return strings.Contains(commandLines(s), "sleep\x001000") })
		if err := p.SyncOutput(ctx); err != nil {
			t.Fatal(err)
		}
		if got := slow.String(); strings.Count(got, "\n") != 501 {
			t.Errorf("%d lines handed over, want 501", strings.Count(got, "\n"))
		}
		p.Kill()
		waitDone(t, p)
		if err := p.SyncOutput(ctx); err != nil {
			t.Errorf("after the end: %v", err)
		}
	}
}

// slowText takes its time.
type slowText struct{ text }

func (t *slowText) Write(p []byte) (int, error) {
	time.Sleep(2 * time.Millisecond)
	return t.text.Write(p)
}

func commandLines(s *Sandbox) string {
	var all strings.Builder
	for _, pid := range s.pids() {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		all.Write(b)
	}
	return all.String()
}

func TestOutputIsCompleteAfterDone(t *testing.T) {
	s := makeSandbox(t, Config{}, thisMachine())
	out, exit := runRole(t, s, "flood", "100000")
	if len(out) != 100_000*100 || exit.Code != 0 {
		t.Errorf("%d bytes, %+v", len(out), exit)
	}
	for i, line := range strings.Split(strings.TrimSpace(out), "\n") {
		if !strings.HasPrefix(line, fmt.Sprintf("%08d ", i)) {
			t.Fatalf("line %d is %.20s", i, line)
		}
	}
}

func TestOutputsTogetherKeepTheirOrder(t *testing.T) {
	s := makeSandbox(t, Config{}, thisMachine())
	var both, stdout, stderr text
	script := []string{"sh", "-c", "echo 1; echo 2 >&2; echo 3; echo 4 >&2"}
	for _, c := range []Command{{Stdout: &both, Stderr: &both}, {Stdout: &stdout, Stderr: &stderr}, {}} {
		c.Path, c.Args = "/bin/sh", script
		p, err := s.Start(c)
		if err != nil {
			t.Fatal(err)
		}
		waitDone(t, p)
	}
	if both.String() != "1\n2\n3\n4\n" || stdout.String() != "1\n3\n" || stderr.String() != "2\n4\n" {
		t.Errorf("%q, %q, %q", both.String(), stdout.String(), stderr.String())
	}
}

func TestOutputHeldOpenByAnotherDoesNotHangTheEnd(t *testing.T) {
	s := makeSandbox(t, Config{}, thisMachine())
	other := startRole(t, s, &text{}, "wait") // so that the sandbox is not empty
	var out text
	p, err := s.Start(Command{Path: "/bin/sh", Args: []string{"sh", "-c", "setsid sleep 1000 & echo said"}, Stdout: &out})
	if err != nil {
		t.Fatal(err)
	}
	waitDone(t, p)
	if out.String() != "said\n" {
		t.Errorf("%q", out.String())
	}
	other.Kill()
}
