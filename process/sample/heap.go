package sample

import (
	"time"

	"slipstream/process/frame"
	"slipstream/telemetry"
)

// keptRuns and keptBytes bound the memory that waits for the next invocation.
const (
	keptRuns  = 4
	keptBytes = 256 << 10
)

// heap is a Store that does not survive the process.
type heap struct{ free [][]byte }

func (h *heap) Open(time.Time) Run {
	r := &heapRun{from: h}
	if n := len(h.free); n > 0 {
		r.frames, h.free = h.free[n-1], h.free[:n-1]
	}
	return r
}

type heapRun struct {
	from   *heap
	frames []byte
}

func (r *heapRun) Append(l *telemetry.Log) int {
	before := len(r.frames)
	r.frames = frame.Encoder{}.AppendLog(r.frames, l)
	return len(r.frames) - before
}

func (r *heapRun) AppendExport(x *telemetry.Export, n frame.Note) int {
	before := len(r.frames)
	r.frames = frame.Encoder{Note: n}.AppendExport(r.frames, x)
	return len(r.frames) - before
}

func (r *heapRun) Pages(each func([]byte)) { each(r.frames) }

func (r *heapRun) Release() {
	if len(r.from.free) < keptRuns && cap(r.frames) <= keptBytes {
		r.from.free = append(r.from.free, r.frames[:0])
	}
	r.frames = nil
}
