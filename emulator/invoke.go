package emulator

import (
	"context"
	"math"
	"time"

	"slipstream/emulator/extensionsapi"
	"slipstream/emulator/invokeapi"
	"slipstream/emulator/runtimeapi"
)

// maxSync bounds the wait for output that the runtime has written and the
// emulator not yet read: a pipe full at most, so only a LogWriter that hangs takes
// so long, and a busy machine must not put lines behind platform.runtimeDone.
const maxSync = 10 * time.Second

// invocation is one run of a function in one environment.
type invocation struct {
	invokeapi.Request
	arn      string
	answer   chan invokeapi.Response // gets exactly one
	refused  error                   // of the service: then the answer is none
	response invokeapi.Response      // what was or will be answered
	sent     bool                    // response is decided

	report   Report
	deadline time.Time
	turn     *runtimeapi.Turn    // nil if the runtime never got it
	waiting  *extensionsapi.Wait // for the extensions
}

// run is everything an invocation needs, the Init of a new environment included.
// It returns when the environment is ready for the next.
func (e *environment) run(inv *invocation) {
	if e.function.InitType == managed {
		e.share(inv)
		return
	}
	if e.fresh {
		f := e.initPhase()
		inv.report.ColdStart = true
		if f != nil && e.function.InitType == snapStart {
			inv.respond(invokeapi.Response{Payload: f.response(inv.RequestID), FunctionError: "Unhandled"})
			inv.answerTail(nil)
			return
		}
	}
	if e.snapshot.held {
		if err := e.restore(inv); err != nil {
			inv.refuse(err)
			return
		}
	}
	e.invoke(inv)
}

// invoke is the Invoke phase. Its one timeout covers the runtime, the extensions
// and an Init that has to be repeated.
func (e *environment) invoke(inv *invocation) {
	e.begun(inv)
	f := e.revive(inv)
	e.thaw()
	e.start(inv)
	if f == nil {
		defer e.scheduleKills()()
		f = e.runRuntime(inv)
	}
	if f != nil {
		inv.respond(invokeapi.Response{Payload: f.response(inv.RequestID), FunctionError: "Unhandled"})
	}
	e.runtimeDone(inv, f)
	if f == nil {
		f = e.life.Load().await(inv.waiting.Done(), inv.deadline, e.function.Timeout)
	}
	e.finish(inv, f)
	if f != nil {
		e.reset(f)
	}
}

func (e *environment) begun(inv *invocation) {
	now := time.Now()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.invocations++
	e.plan.Begin(e.invocations, now)
	if inv.TraceID == "" {
		inv.TraceID = newTrace(now)
	}
	inv.deadline = now.Add(e.function.Timeout)
	inv.report.Start = now
	inv.report.Function, inv.report.Environment, inv.report.RequestID = e.function.Name, e.logStream, inv.RequestID
	if e.initTook > 0 {
		inv.report.Init, e.initTook = e.initTook, 0
	}
}

// revive runs Init again when the one before failed or the environment was
// reset.
func (e *environment) revive(inv *invocation) *failure {
	if e.life.Load() != nil {
		return nil
	}
	return e.init(phaseInvoke, inv.deadline, e.function.Timeout)
}

func (e *environment) start(inv *invocation) {
	if e.function.InitType != managed { // where others write at the same time
		e.log.begin()
	}
	e.log.start(inv.RequestID)
	e.event("platform.start", startRecord{
		RequestID: inv.RequestID, Version: version, TenantID: inv.TenantID, Tracing: newTracing(inv.TraceID)}, false)
}

// scheduleKills arms the faults that kill processes; the result disarms them.
func (e *environment) scheduleKills() (disarm func()) {
	l := e.life.Load()
	var timers []*time.Timer
	for _, kill := range e.plan.Kills() {
		timers = append(timers, time.AfterFunc(kill.After, func() {
			if p := l.process(kill.Extension); p != nil {
				p.Kill()
			}
		}))
	}
	return func() {
		for _, timer := range timers {
			timer.Stop()
		}
	}
}

// process finds the runtime ("") or an extension, nil if there is none.
func (l *life) process(name string) *process {
	l.mu.Lock()
	defer l.mu.Unlock()
	if name == "" {
		return l.runtime
	}
	for _, p := range l.external {
		if p.name == name {
			return p
		}
	}
	return nil
}

// runRuntime gives the invocation to the extensions and the runtime and waits
// until the runtime is in next again. The caller is answered on the way.
func (e *environment) runRuntime(inv *invocation) *failure {
	l := e.life.Load()
	inv.waiting = l.extensions.Invoke(extensionsapi.Invocation{
		RequestID: inv.RequestID, Deadline: inv.deadline, FunctionARN: inv.arn, TraceID: inv.TraceID})
	inv.turn = l.runtimeAPI.Begin(runtimeapi.Invocation{
		RequestID: inv.RequestID, Deadline: inv.deadline, FunctionARN: inv.arn, TraceID: inv.TraceID,
		ClientContext: inv.ClientContext, TenantID: inv.TenantID, Payload: inv.Payload, Stream: inv.Stream})
	if f := l.await(inv.turn.Answered(), inv.deadline, e.function.Timeout); f != nil {
		return f
	}
	inv.respond(answerOf(inv.turn.Reply()))
	return l.await(inv.turn.Done(), inv.deadline, e.function.Timeout)
}

func answerOf(reply runtimeapi.Reply) invokeapi.Response {
	response := invokeapi.Response{Payload: reply.Payload, Streamed: reply.Streamed,
		StreamError: reply.TrailerType, StreamDetails: reply.TrailerBody}
	if reply.ErrorType != "" {
		response.FunctionError = "Unhandled"
	}
	return response
}

// refuse answers the caller with an error of the service.
func (inv *invocation) refuse(err error) {
	inv.refused = err
	inv.answer <- invokeapi.Response{}
}

// answerTail answers a caller that wants the log's tail.
func (inv *invocation) answerTail(tail []byte) {
	if inv.Tail {
		inv.response.LogTail = tail
		inv.answer <- inv.response
	}
}

// respond answers the caller, once. One that wants the log's tail has to wait.
func (inv *invocation) respond(response invokeapi.Response) {
	if inv.sent {
		return
	}
	response.ExecutedVersion = version
	inv.response, inv.sent = response, true
	if !inv.Tail {
		inv.answer <- response
	}
}

// runtimeDone reports the runtime's part, after the lines that it has written.
func (e *environment) runtimeDone(inv *invocation, f *failure) {
	r := &inv.report
	end := time.Now()
	if f == nil {
		end = inv.turn.End()
	}
	e.syncOutput()
	r.RuntimeDuration = end.Sub(r.Start)
	var spans []span
	if reply, ok := inv.reply(); ok {
		r.ResponseLatency, r.ResponseDuration = reply.Start.Sub(r.Start), reply.End.Sub(reply.Start)
		r.ProducedBytes = reply.Bytes
		spans = []span{newSpan("responseLatency", r.Start, reply.Start), newSpan("responseDuration", reply.Start, reply.End)}
		if f == nil {
			spans = append(spans, newSpan("runtimeOverhead", reply.End, end))
		}
	}
	if f != nil && !f.timeout { // the Logs API's word for it
		e.hub.Platform("platform.fault", time.Now(),
			"RequestId: "+inv.RequestID+" Status: "+f.status()+"\tErrorType: "+f.errorType)
	}
	e.event("platform.runtimeDone", runtimeDoneRecord{
		RequestID: inv.RequestID, Status: f.status(), ErrorType: f.reported(), TenantID: inv.TenantID,
		Tracing: newTracing(inv.TraceID), Spans: spans,
		Metrics: runtimeMetrics{milliseconds(r.RuntimeDuration), r.ProducedBytes}}, f == nil)
	e.hub.Platform("platform.end", time.Now(), endRecord{inv.RequestID})
	e.log.runtimeDone(inv.RequestID)
}

// syncOutput waits until what the runtime has written is on its way.
func (e *environment) syncOutput() {
	if p := e.life.Load().process(""); p != nil {
		ctx, cancel := context.WithTimeout(context.Background(), maxSync)
		defer cancel()
		_ = p.SyncOutput(ctx)
	}
}

// reply is the runtime's answer, if there is one.
func (inv *invocation) reply() (runtimeapi.Reply, bool) {
	if inv.turn == nil {
		return runtimeapi.Reply{}, false
	}
	select {
	case <-inv.turn.Answered():
		return inv.turn.Reply(), true
	default:
		return runtimeapi.Reply{}, false
	}
}

// finish freezes the environment and only then makes the report: it reaches the
// extensions with the next invocation, or in Shutdown.
func (e *environment) finish(inv *invocation, f *failure) {
	r := &inv.report
	runtimeEnd := r.Start.Add(r.RuntimeDuration)
	end := time.Now()
	if f == nil {
		end = runtimeEnd
		if inv.waiting.End().After(end) {
			end = inv.waiting.End()
		}
		e.freeze()
	}
	r.Status, r.ErrorType = f.status(), f.reported()
	r.Duration, r.ExtensionOverhead = end.Sub(r.Start), end.Sub(runtimeEnd)
	r.BilledMs = int64(math.Ceil(float64(r.Duration+r.Init)/float64(time.Millisecond))) + r.BilledRestoreMs
	r.MaxMemoryMB = min(int((e.sandbox.MaxMemory()+1<<20-1)>>20), e.function.MemoryMB)
	e.event("platform.report", reportRecord{
		RequestID: r.RequestID, Status: r.Status, ErrorType: r.ErrorType, TenantID: inv.TenantID,
		Tracing: newTracing(inv.TraceID), Spans: []span{newSpan("extensionOverhead", runtimeEnd, end)},
		Metrics: reportMetrics{DurationMs: milliseconds(r.Duration), BilledDurationMs: r.BilledMs,
			MemorySizeMB: e.function.MemoryMB, MaxMemoryUsedMB: r.MaxMemoryMB, InitDurationMs: milliseconds(r.Init),
			RestoreDurationMs: milliseconds(r.Restore)}}, false)
	e.log.report(*r, e.function.MemoryMB, f)
	if observe := e.lambda.cfg.Observe.Report; observe != nil {
		observe(*r)
	}
	inv.answerTail(e.log.end())
}
