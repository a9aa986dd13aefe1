// Package usage says what an execution environment uses. Use it between what reads
// that and what makes metrics of it.
package usage

import "time"

// Reading is what an execution environment used, all its processes together, since
// the reading before, and what it holds now.
type Reading struct {
	// Known says which groups of fields could be read.
	Known Kind
	// Since is the time since the reading before, awake or not.
	Since time.Duration

	CPUUser, CPUSystem, CPUIdle time.Duration // since the reading before, of all CPUs together
	Received, Sent              int64         // bytes since the reading before, without the loopback
	TempUsed, TempFree          int64         // bytes of /tmp
	MemoryUsed, MemoryTotal     int64         // bytes
	Processes, Threads          int
	Descriptors                 int // open ones of all processes
	// OwnCPU and OwnMemory are the extension's part: CPU time since the reading
	// before, bytes that are resident.
	OwnCPU    time.Duration
	OwnMemory int64
}

// Kind is a set of groups of a Reading's fields.
type Kind uint8

// The groups. Those that are a difference are not known from the first reading.
const (
	CPU Kind = 1 << iota
	Network
	Temp
	Memory
	Threads     // and processes
	Descriptors // of those processes that may be looked at
	OwnCPU
	OwnMemory
)
