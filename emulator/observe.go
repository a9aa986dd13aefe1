package emulator

import (
	"bytes"
	"sync"
	"syscall"
	"time"

	"slipstream/emulator/telemetryapi"
)

// Observe holds functions that are called when something has happened. Each may
// be nil; they are called from several goroutines and hold up the platform.
type Observe struct {
	Delivery   func(Delivery)
	Report     func(Report)
	ProcessEnd func(ProcessEnd)
}

// Delivery is one batch of telemetry that an extension has taken.
type Delivery struct {
	Function    string
	Environment string // log stream name
	telemetryapi.Delivery
}

// Report is the platform's report of one invocation.
type Report struct {
	Function    string
	Environment string // log stream name
	RequestID   string
	Status      string // success, failure, error or timeout
	ErrorType   string // for other statuses than success
	Start       time.Time
	ColdStart   bool          // the first invocation of an environment that was not warm
	Init        time.Duration // of the Init phase, with ColdStart
	Restore     time.Duration // of a snapshot, with ColdStart
	// BilledRestoreMs is the part of Restore that the runtime took.
	BilledRestoreMs int64
	// ResponseLatency is from Start to the response's first byte, ResponseDuration
	// from there to its last.
	ResponseLatency, ResponseDuration time.Duration
	// RuntimeDuration is from Start until the runtime called next, or failed.
	RuntimeDuration time.Duration
	// ExtensionOverhead is from there to the last extension's next.
	ExtensionOverhead time.Duration
	// Duration is from Start to the end of the invocation, extensions included.
	Duration      time.Duration
	BilledMs      int64
	ProducedBytes int64
	MaxMemoryMB   int
}

// ProcessEnd is the end of a runtime's or an extension's process.
type ProcessEnd struct {
	Function    string
	Environment string // log stream name
	Extension   string // its name, "" for the function's own process
	ExitCode    int    // -1 after a signal
	Signal      syscall.Signal
	MaxRSSBytes int64
	CPU         time.Duration // user and system time
	At          time.Time
}

// Recorder keeps what Observe tells, for tests.
type Recorder struct {
	limit int64

	mu         sync.Mutex
	bytes      int64
	dropped    int
	deliveries []Delivery
	reports    []Report
	ends       []ProcessEnd
}

// NewRecorder returns a Recorder that keeps up to limitBytes of delivered bodies,
// 64 MiB if 0. Deliveries beyond that are counted and not kept.
func NewRecorder(limitBytes int64) *Recorder {
	if limitBytes == 0 {
		limitBytes = 64 << 20
	}
	return &Recorder{limit: limitBytes}
}

// Observe gives the hooks for Config.Observe.
func (r *Recorder) Observe() Observe {
	return Observe{Delivery: r.delivery, Report: r.report, ProcessEnd: r.end}
}

func (r *Recorder) delivery(d Delivery) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.bytes += int64(len(d.Body)); r.bytes > r.limit {
		r.dropped++
		return
	}
	d.Body = bytes.Clone(d.Body)
	r.deliveries = append(r.deliveries, d)
}

func (r *Recorder) report(report Report) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reports = append(r.reports, report)
}

func (r *Recorder) end(end ProcessEnd) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ends = append(r.ends, end)
}

// Deliveries lists what the extension received, "" what all did. The second
// result counts deliveries that were not kept.
func (r *Recorder) Deliveries(extension string) ([]Delivery, int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []Delivery
	for _, d := range r.deliveries {
		if extension == "" || d.Extension == extension {
			list = append(list, d)
		}
	}
	return list, r.dropped
}

// Reports lists the reports of all invocations so far.
func (r *Recorder) Reports() []Report {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Report(nil), r.reports...)
}

// ProcessEnds lists the processes that have ended so far.
func (r *Recorder) ProcessEnds() []ProcessEnd {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]ProcessEnd(nil), r.ends...)
}
