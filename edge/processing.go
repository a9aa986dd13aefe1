package edge

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"slipstream/edge/buffer"
	"slipstream/process"
	"slipstream/process/captured"
	"slipstream/process/filter"
	"slipstream/process/frame"
	"slipstream/process/redact"
	"slipstream/process/sample"
	"slipstream/telemetry"
)

// startPolicy opens the policy beside the first invocation, so that Init does not
// wait for it, and gives it the hash key when that has come. Where errors end
// Init it is open already.
func (e *edge) startPolicy(ctx context.Context) {
	if !e.config.Strict {
		for _, err := range e.openPolicy() {
			slog.Error("configuration", "error", err)
		}
	}
	e.awaitHashKey(ctx)
}

// openPolicy makes the policy for the platform's records and the one for exports.
// Each error is a part of it that could not be used as it is written.
func (e *edge) openPolicy() []error {
	defer close(e.ready)
	o, errs := e.config.operators()
	e.exports.mu.Lock()
	defer e.exports.mu.Unlock()
	e.held = heldRecords{pool: e.pool, lane: buffer.LaneHash(heldLane), environment: newUUID()}
	logs := process.LogPolicy{
		Record: e.config.Policy.RecordBytes, Parse: e.config.Policy.Parse, Filter: o.records, Limiter: o.limiter,
		Repeats: e.config.Policy.Repeats, Sample: e.config.sampling(), Held: &e.held,
	}
	exports := process.Policy{Limits: o.limits}
	if e.meter != nil && e.meter.lines != nil {
		logs.Metrics = e.meter.line
	}
	if e.meter != nil && e.meter.platform != nil {
		logs.Read = e.meter.failure
	}
	if o.redactor != nil {
		logs.Redactor, exports.Redactor = o.redactor, o.redactor
		exports.Parts = parts(o.redactor)
	}
	if o.exported != nil || logs.Sample != nil {
		exports.Filter = &exportFilter{rules: o.exported, failed: &e.exports.failed}
	}
	e.logs, e.exports.policy = process.NewLogs(logs, e.emit), process.NewExports(exports)
	e.redactor.Store(o.redactor)
	if e.meter != nil {
		e.meter.policy = e.pointPolicy()
	}
	return errs
}

// pointPolicy makes a policy for points.
func (e *edge) pointPolicy() *process.Points {
	var p process.Policy
	if by := e.redactor.Load(); by != nil {
		p.Redactor = by
	}
	if e.config.Policy.Filter != "" {
		if rules, _ := filter.New(e.config.Policy.Filter); rules != nil { // openPolicy has told what is wrong
			p.Filter = &exportFilter{rules: rules, failed: new([]string)}
		}
	}
	return process.NewPoints(p)
}

// parts gives Lumigo's policies for the parts of a captured call, where they are
// stricter than the whole one.
func parts(whole *redact.Policy) map[captured.Part]process.Redactor {
	found := map[captured.Part]process.Redactor{}
	for part, name := range map[captured.Part]redact.Part{
		captured.RequestHeader: redact.HTTPRequestHeaders, captured.ResponseHeader: redact.HTTPResponseHeaders,
		captured.RequestBody: redact.HTTPRequestBodies, captured.ResponseBody: redact.HTTPResponseBodies,
		captured.Query: redact.HTTPQueryParams, captured.URL: redact.HTTPQueryParams,
	} {
		if own := whole.Part(name); own != whole {
			found[part] = own
		}
	}
	return found
}

// awaitHashKey puts the policy that can hash in the place of the one that masks,
// as soon as AWS has told the key.
func (e *edge) awaitHashKey(ctx context.Context) {
	select {
	case <-e.alive: // nothing of AWS gets into a snapshot
	case <-ctx.Done():
		return
	}
	policy := e.config.lateHashKey(ctx)
	if policy == nil {
		return
	}
	e.mu.Lock()
	e.redactor.Store(policy)
	e.logs.Redact(policy)
	if e.meter != nil {
		e.meter.policy.Redact(policy)
	}
	e.mu.Unlock()
	for _, t := range e.takers {
		t.redact(policy)
	}
	e.exports.mu.Lock()
	defer e.exports.mu.Unlock()
	e.exports.policy.Redact(policy, parts(policy))
}

// exportFilter applies the user's rules to records of exports, and notes of which
// invocations they tell a failure.
type exportFilter struct {
	rules  *filter.Filter // nil: none
	failed *[]string      // ids; an empty one is the invocation under way
}

func (f *exportFilter) Keep(r process.Record) bool {
	if r.Level() >= telemetry.LevelError {
		// Exports may come late: a span that names its invocation is believed.
		id := string(r.Attribute("faas.invocation_id"))
		if len(*f.failed) < maxFailed && !slices.Contains(*f.failed, id) {
			*f.failed = append(*f.failed, id)
		}
	}
	return f.rules == nil || f.rules.KeepExported(r)
}

// maxFailed is how many different invocations one export may tell of.
const maxFailed = 64

// emit puts a record that has been processed into every lane that wants it. The
// caller holds e.mu.
func (e *edge) emit(log *telemetry.Log) {
	for _, l := range e.lanes {
		if l.wants(log.Type) {
			l.append(log, e.now)
		}
	}
}

// commit makes everything that was taken survive the process. The caller holds
// e.mu.
func (e *edge) commit() {
	for _, l := range e.lanes {
		l.commit()
	}
	e.held.commit()
	e.meter.commit(e.now)
}

// open tells whether the policy is there.
func (e *edge) open() bool {
	select {
	case <-e.ready:
		return true
	default:
		return false
	}
}

// tick does what the policy has waited for, and tells when to look again.
func (e *edge) tick(now time.Time) time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.over || !e.open() {
		return time.Time{}
	}
	if e.due = e.logs.Deadline(); e.due.IsZero() || now.Before(e.due) {
		return e.due
	}
	e.now = now
	e.logs.Tick(now)
	e.commit()
	e.due = e.logs.Deadline()
	return e.due
}

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
	records, log := 0, telemetry.Log{}
	problem := errors.New("it has no records")
	if left.Chunk != nil {
		problem = nil
		left.Chunk.Pages(func(frames []byte) {
			for len(frames) > 0 && problem == nil {
				if frames, problem = frame.Decode(frames, &log); problem == nil {
					e.emit(&log)
					records++
				}
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

// invocation is the one under way, for those who have not the lock to ask.
type invocation struct{ id atomic.Pointer[string] }

func (i *invocation) begin(id string) { i.id.Store(&id) }

func (i *invocation) current() string {
	if id := i.id.Load(); id != nil {
		return *id
	}
	return ""
}
