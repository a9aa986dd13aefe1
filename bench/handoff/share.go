package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// Lambda's rule: a function of 1,769 MB has one whole processor. The emulator
// uses the same period.
const (
	mbPerCPU = 1769
	period   = 20 * time.Millisecond
)

// group is a control group with a share of the processor, nil for no limit.
type group struct{ dir string }

// newGroup makes a group with the share of a function of that size, under
// version 1 or 2.
func newGroup(memoryMB int) (*group, error) {
	if memoryMB == 0 {
		return nil, nil
	}
	quota := (period * time.Duration(memoryMB) / mbPerCPU).Microseconds()
	name := fmt.Sprintf("slipstream-bench-handoff-%d-%d", os.Getpid(), memoryMB)
	var failed error
	for _, root := range []string{"/sys/fs/cgroup/cpu", "/sys/fs/cgroup"} {
		files := map[string]string{"cpu.cfs_period_us": fmt.Sprint(period.Microseconds()),
			"cpu.cfs_quota_us": fmt.Sprint(quota)}
		if root == "/sys/fs/cgroup" {
			files = map[string]string{"cpu.max": fmt.Sprintf("%d %d", quota, period.Microseconds())}
		}
		g := &group{filepath.Join(root, name)}
		err := os.Mkdir(g.dir, 0o755)
		for file, text := range files {
			if err == nil {
				err = os.WriteFile(filepath.Join(g.dir, file), []byte(text), 0o644)
			}
		}
		if err == nil {
			return g, nil
		}
		failed = errors.Join(failed, err, g.remove())
	}
	return nil, fmt.Errorf("limit the processor: %w (this needs root, and a cpu controller)", failed)
}

// join makes a process a member.
func (g *group) join(pid int) error {
	if g == nil {
		return nil
	}
	return os.WriteFile(filepath.Join(g.dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0o644)
}

// remove removes the group, whose processes may still be on their way out.
func (g *group) remove() error {
	if g == nil {
		return nil
	}
	var err error
	for range 1000 {
		if err = syscall.Rmdir(g.dir); err == nil || errors.Is(err, os.ErrNotExist) {
			return nil
		}
		time.Sleep(time.Millisecond)
	}
	return fmt.Errorf("remove %s: %w", g.dir, err)
}
