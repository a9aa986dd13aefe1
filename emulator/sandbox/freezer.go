package sandbox

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// freezeWithin bounds how long a freeze may take.
const freezeWithin = 2 * time.Second

// freezer stops and continues all processes of a sandbox.
type freezer interface {
	freeze() error
	thaw() error
	// release lets processes die that were killed while frozen.
	release(pids []int)
}

// chooseFreezer takes the best one that the machine has. Version 2 comes first:
// its frozen processes can be killed.
func (m machine) chooseFreezer(s *Sandbox) freezer {
	if g := s.groups.unified; g != nil {
		if _, err := os.Stat(filepath.Join(g.dir, "cgroup.freeze")); err == nil {
			return freezerV2{g}
		}
	}
	h, found := m.find("freezer")
	err := fmt.Errorf("no cgroup with a freezer is mounted")
	if found {
		var g *group
		if g, err = s.groups.make(h, h.base, s.config.ID); err == nil {
			return &freezerV1{group: g, parent: &group{dir: h.base}, pids: s.pidsLocked}
		}
	}
	s.notice("no cgroup freezer: freezing by SIGSTOP, which parents of processes can see; a process that leaves its "+
		"process group may be missed (%v)", err)
	return freezerSignal{pids: s.pidsLocked}
}

// Freeze stops all processes of the sandbox, however many they have started,
// until Thaw. It is an error if they do not stop within two seconds; they run on
// then. A second Freeze does nothing.
func (s *Sandbox) Freeze() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.frozen || s.closed {
		return nil
	}
	s.measure()
	if err := s.freezer.freeze(); err != nil {
		_ = s.freezer.thaw() // the error that matters is the first
		return fmt.Errorf("freeze sandbox %s: %w", s.config.ID, err)
	}
	s.frozen = true
	return nil
}

// Thaw lets the processes run on. Without a Freeze it does nothing.
func (s *Sandbox) Thaw() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.frozen {
		return nil
	}
	if err := s.freezer.thaw(); err != nil {
		return fmt.Errorf("thaw sandbox %s: %w", s.config.ID, err)
	}
	s.frozen = false
	return nil
}

// until calls ok until it gives true or freezeWithin is over.
func until(ok func() bool) error {
	wait := 50 * time.Microsecond
	for end := time.Now().Add(freezeWithin); !ok(); time.Sleep(wait) {
		if time.Now().After(end) {
			return fmt.Errorf("not done after %v", freezeWithin)
		}
		wait = min(2*wait, 5*time.Millisecond)
	}
	return nil
}

// freezerV2 is a version 2 group's own freezer.
type freezerV2 struct{ group *group }

func (f freezerV2) freeze() error {
	if err := f.group.write("cgroup.freeze", "1"); err != nil {
		return err
	}
	return until(func() bool { return f.group.member("cgroup.events", "frozen") == 1 })
}

func (f freezerV2) thaw() error { return f.group.write("cgroup.freeze", "0") }

func (freezerV2) release([]int) {}

// freezerV1 is a group of the freezer hierarchy. Processes join it only at the
// freeze: moving one takes milliseconds, which their start must not cost.
type freezerV1 struct {
	group, parent *group
	pids          func() []int
}

func (f *freezerV1) freeze() error {
	if err := f.join(); err != nil {
		return err
	}
	if err := f.group.write("freezer.state", "FROZEN"); err != nil {
		return err
	}
	if err := until(func() bool { return f.group.read("freezer.state") == "FROZEN" }); err != nil {
		return err
	}
	// What was forked meanwhile by one that had not joined yet.
	for range 100 {
		if len(f.outside()) == 0 {
			return until(func() bool { return f.group.read("freezer.state") == "FROZEN" })
		}
		if err := f.join(); err != nil {
			return err
		}
	}
	return fmt.Errorf("processes %v are forked faster than they can be stopped", f.outside())
}

func (f *freezerV1) outside() []int {
	in := f.group.processes()
	return slices.DeleteFunc(f.pids(), func(pid int) bool { return slices.Contains(in, pid) })
}

func (f *freezerV1) join() error {
	for _, pid := range f.outside() {
		if err := f.group.write("cgroup.procs", strconv.Itoa(pid)); err != nil && alive(pid) {
			return fmt.Errorf("move process %d to the freezer: %w", pid, err)
		}
	}
	return nil
}

func (f *freezerV1) thaw() error { return f.group.write("freezer.state", "THAWED") }

func (f *freezerV1) release(pids []int) {
	for _, pid := range pids {
		_ = f.parent.write("cgroup.procs", strconv.Itoa(pid)) // gone ones are fine
	}
}

// freezerSignal stops processes one by one.
type freezerSignal struct{ pids func() []int }

func (f freezerSignal) freeze() error {
	return until(func() bool {
		stopped := true
		for _, pid := range f.pids() {
			if !isStopped(pid) {
				_ = syscall.Kill(pid, syscall.SIGSTOP) // gone ones are fine
				stopped = false
			}
		}
		return stopped
	})
}

func (f freezerSignal) thaw() error {
	for _, pid := range f.pids() {
		_ = syscall.Kill(pid, syscall.SIGCONT) // gone ones are fine
	}
	return nil
}

func (freezerSignal) release([]int) {}

// isStopped tells whether all threads of a process are stopped by a signal.
func isStopped(pid int) bool {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil {
		return false
	}
	for _, task := range tasks {
		stat, err := os.ReadFile(task)
		if err != nil {
			continue
		}
		text := string(stat)
		if at := strings.LastIndexByte(text, ')'); at >= 0 && at+2 < len(text) &&
			!strings.ContainsRune("TtZX", rune(text[at+2])) {
			return false
		}
	}
	return true
}
