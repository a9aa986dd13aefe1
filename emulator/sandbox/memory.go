package sandbox

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// measureEvery is how often the processes' memory is looked at.
const measureEvery = 100 * time.Millisecond

// MaxMemory is the highest memory use seen so far, in bytes: the kernel's own
// figure for the sandbox with its file cache and /tmp, or where there is no
// memory group the highest sum of what the started processes (not their
// children) had resident at a look every 100 ms.
func (s *Sandbox) MaxMemory() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.measure()
	return s.peak
}

// OOMKills is how often the memory limit has killed a process, 0 without one.
func (s *Sandbox) OOMKills() int {
	s.countOOM()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.oomKills
}

func (s *Sandbox) countOOM() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.measure()
	s.oomKills = max(s.oomKills, s.groups.oomKills())
}

// watchMemory measures until the sandbox is closed.
func (s *Sandbox) watchMemory() {
	tick := time.NewTicker(measureEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.mu.Lock()
			if !s.frozen {
				s.measure()
			}
			s.mu.Unlock()
		case <-s.stop:
			return
		}
	}
}

// measure looks at the memory of the processes. s.mu is held.
func (s *Sandbox) measure() {
	var sum int64
	for _, p := range s.processes {
		high, now := resident(p.process.Pid)
		p.maxRSS = max(p.maxRSS, high)
		sum += now
	}
	if kernel := s.groups.maxMemory(); kernel >= 0 {
		sum = kernel
	}
	s.peak = max(s.peak, sum)
}

// resident reads the highest and the present resident memory of a process, in
// bytes.
func resident(pid int) (high, now int64) {
	status, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0, 0
	}
	for line := range lines(status) {
		name, value, _ := strings.Cut(line, ":")
		kb, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		switch name {
		case "VmHWM":
			high = kb << 10
		case "VmRSS":
			now = kb << 10
		}
	}
	return high, now
}

// pidsLocked lists all live processes of the sandbox: those in its control
// group, or without one those that are in a process group or descend from a
// process that was started here. s.mu is held.
func (s *Sandbox) pidsLocked() []int {
	if g := s.groups.main(); g != nil {
		return slices.DeleteFunc(g.processes(), func(pid int) bool { return !alive(pid) })
	}
	var ours []int
	for _, p := range s.processes {
		ours = append(ours, p.process.Pid)
	}
	if len(ours) == 0 {
		return nil
	}
	return related(ours)
}

// related finds the live processes that descend from one of roots or are in
// its process group.
func related(roots []int) []int {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil
	}
	type row struct{ pid, parent, group int }
	var rows []row
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		at := strings.LastIndexByte(string(text), ')')
		fields := strings.Fields(string(text[at+1:]))
		if at < 0 || len(fields) < 3 || fields[0] == "Z" || fields[0] == "X" {
			continue
		}
		pid, _ := strconv.Atoi(strings.Split(path, "/")[2])
		parent, _ := strconv.Atoi(fields[1])
		group, _ := strconv.Atoi(fields[2])
		rows = append(rows, row{pid, parent, group})
	}
	var found []int
	for grown := true; grown; {
		grown = false
		for _, r := range rows {
			if slices.Contains(found, r.pid) {
				continue
			}
			if slices.Contains(roots, r.pid) || slices.Contains(roots, r.group) || slices.Contains(found, r.parent) {
				found = append(found, r.pid)
				grown = true
			}
		}
	}
	return found
}

// killPIDs kills processes, frozen or not.
func (s *Sandbox) killPIDs(pids []int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.killPIDsLocked(pids)
}

func (s *Sandbox) killPIDsLocked(pids []int) {
	for _, pid := range pids {
		_ = syscall.Kill(pid, syscall.SIGKILL) // gone ones are fine
	}
	if s.frozen {
		s.freezer.release(pids)
	}
}
