package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	cpuPeriod    = 20 * time.Millisecond
	leastQuota   = time.Millisecond // the kernel's
	removeWithin = 2 * time.Second
)

// group is a control group: a folder of the kernel.
type group struct {
	dir string
	v2  bool
}

// cgroups are the groups of one sandbox; those that the machine does not have
// are nil. Under version 2 one group serves for several.
type cgroups struct {
	cpu, memory, pids *group
	unified           *group // version 2; processes are forked into it
	unifiedFD         int    // of its folder
	made              []*group
}

func (g *group) write(file, text string) error {
	return os.WriteFile(filepath.Join(g.dir, file), []byte(text), 0o644)
}

func (g *group) read(file string) string {
	b, err := os.ReadFile(filepath.Join(g.dir, file))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// number reads a file that holds one number, -1 if it does not.
func (g *group) number(file string) int64 {
	n, err := strconv.ParseInt(g.read(file), 10, 64)
	if err != nil {
		return -1
	}
	return n
}

// member reads one value of a file of names and numbers.
func (g *group) member(file, name string) int64 {
	for line := range lines([]byte(g.read(file))) {
		if key, value, _ := strings.Cut(line, " "); key == name {
			n, _ := strconv.ParseInt(value, 10, 64)
			return n
		}
	}
	return 0
}

// processes lists the group's processes without this one, whose thread may be a
// member.
func (g *group) processes() []int {
	var pids []int
	for line := range lines([]byte(g.read("cgroup.procs"))) {
		pid, err := strconv.Atoi(line)
		if err == nil && pid > 0 && pid != os.Getpid() && !slices.Contains(pids, pid) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// makeGroups makes the groups that the machine has and sets their limits.
func (m machine) makeGroups(c Config, notice func(format string, args ...any)) cgroups {
	s := cgroups{unifiedFD: -1}
	var missing []string // controllers that version 2 has to give
	for _, part := range []struct {
		controller string
		to         **group
		limit      func(*group, Config) error
	}{{"cpu", &s.cpu, limitCPU}, {"memory", &s.memory, limitMemory}, {"pids", &s.pids, limitPIDs}} {
		h, found := m.find(part.controller)
		if !found {
			missing = append(missing, part.controller)
			continue
		}
		g, err := s.make(h, h.base, c.ID)
		if err == nil {
			err = part.limit(g, c)
		}
		if err != nil {
			notice("no %s group: %s (%v)", part.controller, withoutGroup(part.controller), err)
			continue
		}
		*part.to = g
	}
	s.makeUnified(m, c, missing, notice)
	return s
}

// withoutGroup says what a missing controller means.
func withoutGroup(controller string) string {
	return map[string]string{
		"cpu":    "the CPU share is not limited",
		"memory": "memory is not limited, the highest use is measured from time to time",
		"pids":   "the number of processes is not limited",
	}[controller]
}

// make makes a group below a hierarchy's folder, after those of emulators that
// have crashed are removed.
func (s *cgroups) make(h hierarchy, parent, id string) (*group, error) {
	removeStale(h, parent)
	g := &group{dir: filepath.Join(parent, id), v2: h.v2}
	if err := os.Mkdir(g.dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	s.made = append(s.made, g)
	return g, nil
}

// makeUnified makes the version 2 group, with the controllers that version 1
// does not have if the machine lets us use them.
func (s *cgroups) makeUnified(m machine, c Config, missing []string, notice func(string, ...any)) {
	h, found := m.unified()
	var cause error
	if found {
		cause = s.makeIn(h, c, missing)
	}
	for _, controller := range missing {
		switch {
		case s.unified == nil || !slices.Contains(strings.Fields(s.unified.read("cgroup.controllers")), controller):
			if cause == nil {
				cause = errors.New("the controller is not mounted, or not ours to use")
			}
		case controller == "cpu":
			if cause = limitCPU(s.unified, c); cause == nil {
				s.cpu = s.unified
			}
		case controller == "memory":
			if cause = limitMemory(s.unified, c); cause == nil {
				s.memory = s.unified
			}
		case controller == "pids":
			if cause = limitPIDs(s.unified, c); cause == nil {
				s.pids = s.unified
			}
		}
		if cause != nil {
			notice("no %s group: %s (%v)", controller, withoutGroup(controller), cause)
		}
	}
}

// makeIn makes the version 2 group in the nearest folder whose groups get all
// the controllers, or else in our own. A group with processes in it cannot hand
// controllers down, so that is seldom our own.
func (s *cgroups) makeIn(h hierarchy, c Config, controllers []string) error {
	parent := h.base
	for dir := h.base; ; dir = filepath.Dir(dir) {
		if handsDown(&group{dir: dir}, controllers) {
			parent = dir
			break
		}
		if _, inside := below(dir, h.mount); !inside || dir == h.mount {
			break
		}
	}
	g, err := s.make(h, parent, c.ID)
	if err != nil {
		return err
	}
	fd, err := unix.Open(g.dir, unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	s.unified, s.unifiedFD = g, fd
	return nil
}

// handsDown tells whether the groups below g get the controllers, and makes it
// so if it can.
func handsDown(g *group, controllers []string) bool {
	given := func() bool {
		has := strings.Fields(g.read("cgroup.subtree_control"))
		return !slices.ContainsFunc(controllers, func(c string) bool { return !slices.Contains(has, c) })
	}
	if given() {
		return true
	}
	var text []string
	for _, c := range controllers {
		text = append(text, "+"+c)
	}
	return g.write("cgroup.subtree_control", strings.Join(text, " ")) == nil && given()
}

// cpuQuota is the CPU time per period that comes with a memory size.
func cpuQuota(memoryMB int) time.Duration {
	return max(cpuPeriod*time.Duration(memoryMB)/mbPerCPU, leastQuota)
}

func limitCPU(g *group, c Config) error {
	if c.MemoryMB == 0 {
		return nil
	}
	quota, period := cpuQuota(c.MemoryMB).Microseconds(), cpuPeriod.Microseconds()
	if g.v2 {
		return g.write("cpu.max", fmt.Sprintf("%d %d", quota, period))
	}
	if err := g.write("cpu.cfs_period_us", fmt.Sprint(period)); err != nil {
		return err
	}
	return g.write("cpu.cfs_quota_us", fmt.Sprint(quota))
}

// limitMemory limits memory with no way out into swap.
func limitMemory(g *group, c Config) error {
	if c.MemoryMB == 0 {
		return nil
	}
	limit := strconv.Itoa(c.MemoryMB << 20)
	if g.v2 {
		if err := g.write("memory.max", limit); err != nil {
			return err
		}
		return optional(g, "memory.swap.max", "0")
	}
	if err := g.write("memory.limit_in_bytes", limit); err != nil {
		return err
	}
	return optional(g, "memory.memsw.limit_in_bytes", limit)
}

// optional writes a file that not every kernel has.
func optional(g *group, file, text string) error {
	if _, err := os.Stat(filepath.Join(g.dir, file)); err != nil {
		return nil
	}
	return g.write(file, text)
}

func limitPIDs(g *group, _ Config) error {
	limit := maxProcesses
	if !g.v2 {
		limit++ // the thread that starts them is a member
	}
	return g.write("pids.max", strconv.Itoa(limit))
}

// joinThread makes the calling thread a member of the version 1 groups.
func (s *cgroups) joinThread(notice func(format string, args ...any)) {
	for controller, g := range map[string]**group{"cpu": &s.cpu, "memory": &s.memory, "pids": &s.pids} {
		if *g == nil || (*g).v2 {
			continue
		}
		if err := (*g).write("tasks", strconv.Itoa(unix.Gettid())); err != nil {
			notice("no %s group: %s (join it: %v)", controller, withoutGroup(controller), err)
			*g = nil
		}
	}
}

// main is a group that holds all the sandbox's processes, nil if none does.
func (s *cgroups) main() *group {
	for _, g := range []*group{s.unified, s.pids, s.memory, s.cpu} {
		if g != nil {
			return g
		}
	}
	return nil
}

// maxMemory is the highest use that the kernel has seen, -1 if it does not say.
func (s *cgroups) maxMemory() int64 {
	switch {
	case s.memory == nil:
		return -1
	case s.memory.v2:
		return s.memory.number("memory.peak")
	}
	return s.memory.number("memory.max_usage_in_bytes")
}

func (s *cgroups) oomKills() int {
	switch {
	case s.memory == nil:
		return 0
	case s.memory.v2:
		return int(s.memory.member("memory.events", "oom_kill"))
	}
	return int(s.memory.member("memory.oom_control", "oom_kill"))
}

// remove removes all groups. The last processes and the thread may still be on
// their way out.
func (s *cgroups) remove() error {
	if s.unifiedFD >= 0 {
		_ = unix.Close(s.unifiedFD) // a folder: nothing to lose
		s.unifiedFD = -1
	}
	var failed error
	for _, g := range s.made {
		if err := g.remove(removeWithin); err != nil && failed == nil {
			failed = err
		}
	}
	return failed
}

func (g *group) remove(within time.Duration) error {
	for end := time.Now().Add(within); ; time.Sleep(time.Millisecond) {
		err := syscall.Rmdir(g.dir)
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("remove group %s: %w", g.dir, err)
		}
	}
}

// removeStale removes groups whose emulator is gone, and kills what a crash has
// left in them: a process that was frozen when its emulator died stays for ever
// under version 1.
func removeStale(h hierarchy, parent string) {
	names, err := filepath.Glob(filepath.Join(parent, "slipstream-*-*"))
	if err != nil {
		return
	}
	for _, dir := range names {
		pid, err := strconv.Atoi(strings.Split(filepath.Base(dir), "-")[1])
		if err != nil || syscall.Kill(pid, 0) != syscall.ESRCH {
			continue
		}
		g := &group{dir: dir, v2: h.v2}
		for _, left := range g.processes() {
			_ = syscall.Kill(left, syscall.SIGKILL) // it may be gone by itself
		}
		if slices.Contains(h.controllers, "freezer") {
			_ = g.write("freezer.state", "THAWED")
		}
		_ = g.remove(100 * time.Millisecond) // else the next one tries again
	}
}
