// Package memory reads the most memory that a process has ever had: VmHWM, the
// kernel's high-water mark of that process alone. Use it instead of ru_maxrss,
// which across fork and exec begins with the parent's and so measures whoever
// starts the process if that is larger.
package memory

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// every is how often Watch looks. The mark only rises, so only what a process
// takes in its last moments can be missed.
const every = 2 * time.Millisecond

// Peak gives the mark of a process that is alive, in bytes.
func Peak(pid int) (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("read a process's memory: %w", err)
	}
	for line := range bytes.Lines(status) {
		var kib int64
		if n, _ := fmt.Sscanf(string(line), "VmHWM: %d kB", &kib); n == 1 {
			return kib << 10, nil
		}
	}
	return 0, errors.New("read a process's memory: the kernel does not tell, it is ending")
}

// Watcher follows our child processes of one name.
type Watcher struct {
	name string
	stop chan struct{}
	done sync.WaitGroup
	pid  int
	peak atomic.Int64
}

// Watch follows every child whose executable has the given base name, of which
// the kernel knows the first 15 bytes, from its start to its end.
func Watch(name string) *Watcher {
	w := &Watcher{name: name, stop: make(chan struct{})}
	w.done.Go(w.run)
	return w
}

// Stop ends the watch and gives the highest mark seen, 0 for none.
func (w *Watcher) Stop() int64 {
	close(w.stop)
	w.done.Wait()
	return w.peak.Load()
}

func (w *Watcher) run() {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		w.look()
		select {
		case <-tick.C:
		case <-w.stop:
			return
		}
	}
}

func (w *Watcher) look() {
	if w.pid == 0 {
		w.pid = Child(w.name)
	}
	if w.pid == 0 {
		return
	}
	peak, err := Peak(w.pid)
	if err != nil { // it has ended; there may be another one later
		w.pid = 0
	}
	w.peak.Store(max(w.peak.Load(), peak))
}

// Child finds our child of that name that is alive, 0 for none.
func Child(name string) int {
	name = name[:min(len(name), 15)]
	paths, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is good
	ours := strconv.Itoa(os.Getpid())
	for _, path := range paths {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue // it has just ended
		}
		// PID (NAME) STATE PARENT ..., and NAME may hold anything.
		head, tail, _ := strings.Cut(string(stat), "(")
		at := strings.LastIndexByte(tail, ')')
		fields := strings.Fields(tail[at+1:])
		if at < 0 || tail[:at] != name || len(fields) < 2 || fields[0] == "Z" || fields[1] != ours {
			continue
		}
		pid, _ := strconv.Atoi(strings.TrimSpace(head)) // the pattern has only digits
		return pid
	}
	return 0
}
