package edge

import (
	"context"
	"log/slog"
	"time"

	"slipstream/edge/buffer"
	"slipstream/process"
	"slipstream/process/captured"
	"slipstream/process/filter"
	"slipstream/process/invocation"
	"slipstream/process/redact"
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
	sampling := e.config.sampling()
	if sampling != nil {
		sampling.Next = e.invocation.Next
	}
	logs := process.LogPolicy{
		Record: e.config.Policy.RecordBytes, Parse: e.config.Policy.Parse, Filter: o.records, Limiter: o.limiter,
		Repeats: e.config.Policy.Repeats, Sample: sampling, Held: &e.held,
		Exports: func(x *telemetry.Export) { e.putExport(x, e.now) },
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
	if o.exported != nil {
		exports.Filter = exportFilter{o.exported}
	}
	if logs.Sample != nil {
		e.exports.divider = invocation.New()
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
			p.Filter = exportFilter{rules}
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

// exportFilter applies the user's rules to records of exports.
type exportFilter struct{ rules *filter.Filter }

func (f exportFilter) Keep(r process.Record) bool { return f.rules.KeepExported(r) }

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

// lookAgain has keepPace look at the policy's deadline, if that is earlier now. The
// caller holds e.mu.
func (e *edge) lookAgain() {
	if due := e.logs.Deadline(); !due.IsZero() && (e.due.IsZero() || due.Before(e.due)) {
		signal(e.changed)
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
