package edge

import (
	"errors"
	"log/slog"
	"slices"
	"time"

	"slipstream/edge/buffer"
	"slipstream/process/frame"
	"slipstream/process/sample"
	"slipstream/telemetry"
)

// heldLane is what the held records are called in the arena.
const heldLane = "held for sampling"

// heldRecords keeps the records of invocations that are not decided yet in memory that
// survives the process, a chunk an invocation.
type heldRecords struct {
	pool        *buffer.Pool
	lane        uint64
	environment string
	sequence    uint64
	open        []*heldRun
	decided     []*heldRun // whose memory is given back once the lanes have what is kept of them
}

// heldRun is one invocation's chunk.
type heldRun struct {
	*buffer.Chunk
	in *heldRecords
}

// Open begins an invocation.
func (h *heldRecords) Open(now time.Time) sample.Run {
	h.sequence++
	r := &heldRun{in: h, Chunk: h.pool.Open(
		buffer.Name{Lane: h.lane, Environment: h.environment, Sequence: h.sequence}, now)}
	r.Limit = heldPage
	h.open = append(h.open, r)
	return r
}

// heldPage is how large a chunk is expected to become: most are small, and many
// are held at once.
const heldPage = 4 << 10

// Append adds a record.
func (r *heldRun) Append(l *telemetry.Log) int { return r.Chunk.Append(frame.Encoder{}, l) }

// AppendExport adds an export.
func (r *heldRun) AppendExport(x *telemetry.Export, n frame.Note) int {
	return r.Chunk.AppendExport(frame.Encoder{Note: n}, x)
}

// Release says that the invocation is decided.
func (r *heldRun) Release() {
	r.in.open = slices.DeleteFunc(r.in.open, func(other *heldRun) bool { return other == r })
	r.in.decided = append(r.in.decided, r)
}

// commit makes what is held survive the process, and gives the memory of the
// rest back. The lanes have committed before.
func (h *heldRecords) commit() {
	for _, r := range h.open {
		r.Commit()
	}
	for _, r := range h.decided {
		r.Chunk.Release()
	}
	h.decided = h.decided[:0]
}

// adoptHeld takes the records of an invocation whose end a process that died did
// not see: all of them are kept. They go out under the new process's name.
func (e *edge) adoptHeld(left *buffer.Leftover) error {
	<-e.ready
	e.mu.Lock()
	defer e.mu.Unlock()
	e.now = e.clock.now()
	records := 0
	problem := errors.New("it has no records")
	if left.Chunk != nil {
		problem = nil
		left.Chunk.Pages(func(frames []byte) {
			if problem == nil {
				problem = e.emitHeld(frames, &records)
			}
		})
	}
	e.commit()
	if problem != nil {
		slog.Error("records dropped: what an earlier process held cannot be read", "records", left.Records-records,
			"error", problem)
	}
	return nil
}

// emitHeld emits what a page of held records has, and counts it.
func (e *edge) emitHeld(frames []byte, records *int) (err error) {
	var log telemetry.Log
	var x telemetry.Export
	for len(frames) > 0 && err == nil {
		n := 1
		if frame.Exported(frames) {
			if _, frames, err = frame.DecodeExport(frames, &x); err == nil {
				n = x.Records
				e.putExport(&x, e.now)
			}
		} else if frames, err = frame.Decode(frames, &log); err == nil {
			e.emit(&log)
		}
		if err == nil {
			*records += n
		}
	}
	return err
}
