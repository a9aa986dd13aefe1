// Package host reads what the execution environment uses, from /proc: CPU time,
// network, /tmp, memory, threads, open files, and the extension's own part. Use a
// Reader and read it once an invocation. A file that cannot be read is told once
// and then left alone.
package host

import (
	"time"

	"slipstream/telemetry/usage"
)

// Config says where to look and who is told what is not there.
type Config struct {
	Proc string // /proc unless set
	Temp string // /tmp unless set
	// Missing is called once for each source that cannot be read, by its name: stat,
	// net/dev, meminfo, self/statm, tmp, processes, rusage.
	Missing func(source string)
}

// Reader reads the environment. It keeps the files open and is for one goroutine
// at a time.
type Reader struct {
	config Config
	files  sources // the system's matter
	buf    []byte
	last   totals
	lastAt time.Time
}

// totals are what counters said at a reading.
type totals struct {
	known           usage.Kind
	cpu             cpuTimes
	received, sent  int64
	ownCPU          time.Duration
	processes, open int
	threads         int
	tempUsed, free  int64
	memory, total   int64
	ownMemory       int64
}

// bufferSize holds what one read of a file gives.
const bufferSize = 32 << 10

// New makes a Reader, which opens nothing before the first reading.
func New(c Config) *Reader {
	if c.Proc == "" {
		c.Proc = "/proc"
	}
	if c.Temp == "" {
		c.Temp = "/tmp"
	}
	return &Reader{config: c, buf: make([]byte, bufferSize)}
}

// Read gives what was used since the reading before, and what is in use. The first
// one gives only the latter.
func (r *Reader) Read(now time.Time) usage.Reading {
	next := r.read()
	u := difference(&r.last, &next)
	if !r.lastAt.IsZero() {
		u.Since = now.Sub(r.lastAt)
	}
	r.last, r.lastAt = next, now
	return u
}

// difference makes a Reading of two readings. A counter that went back began again:
// there is no difference then.
func difference(last, next *totals) usage.Reading {
	u := usage.Reading{
		Known:    next.known,
		TempUsed: next.tempUsed, TempFree: next.free,
		MemoryUsed: next.memory, MemoryTotal: next.total,
		Processes: next.processes, Threads: next.threads, Descriptors: next.open,
		OwnMemory: next.ownMemory,
	}
	both := last.known & next.known
	c, l := next.cpu, last.cpu
	if both&usage.CPU != 0 && c.user >= l.user && c.system >= l.system && c.idle >= l.idle {
		u.CPUUser, u.CPUSystem, u.CPUIdle = c.user-l.user, c.system-l.system, c.idle-l.idle
	} else {
		u.Known &^= usage.CPU
	}
	if both&usage.Network != 0 && next.received >= last.received && next.sent >= last.sent {
		u.Received, u.Sent = next.received-last.received, next.sent-last.sent
	} else {
		u.Known &^= usage.Network
	}
	if both&usage.OwnCPU != 0 && next.ownCPU >= last.ownCPU {
		u.OwnCPU = next.ownCPU - last.ownCPU
	} else {
		u.Known &^= usage.OwnCPU
	}
	return u
}
