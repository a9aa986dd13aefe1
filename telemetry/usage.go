package telemetry

import "time"

// Usage is what an execution environment used, all its processes together, since
// the reading before, and what it holds now.
type Usage struct {
	// Known says which groups of fields could be read.
	Known UsageKind
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

// UsageKind is a set of groups of a Usage's fields.
type UsageKind uint8

// The groups. Those that are a difference are not known from the first reading.
const (
	UsageCPU UsageKind = 1 << iota
	UsageNetwork
	UsageTemp
	UsageMemory
	UsageThreads     // and processes
	UsageDescriptors // of those processes that may be looked at
	UsageOwnCPU
	UsageOwnMemory
)
