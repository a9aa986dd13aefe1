package emulator

import (
	"context"
	"slices"
	"sync"
	"time"

	"slipstream/emulator/invokeapi"
	"slipstream/emulator/runtimeapi"
)

// managedFiles is how many descriptors a process of managed instances may have.
const managedFiles = 4096

// files is the limit of descriptors, 0 for the usual one.
func (f *Function) files() uint64 {
	if f.InitType == managed {
		return managedFiles
	}
	return 0
}

// shared is what managed instances need in an environment: several invocations
// use it at once.
type shared struct {
	once        sync.Once
	initFailure *failure
	initialised chan struct{} // closed when Init is over
	retired     chan struct{} // closed when the pool ends the environment

	// The pool's lock is over these.
	users   int
	leaving bool          // gets no more invocations
	unused  chan struct{} // closed when a leaving environment has no users
}

func newShared() *shared {
	return &shared{initialised: make(chan struct{}), retired: make(chan struct{}), unused: make(chan struct{})}
}

// leave ends a use. It tells whether nobody uses the environment and others may.
func (s *shared) leave() bool {
	s.users--
	if s.leaving && s.users == 0 {
		close(s.unused)
	}
	return !s.leaving && s.users == 0
}

// initOnce runs Init, or waits until another invocation has run it.
func (e *environment) initOnce() *failure {
	e.shared.once.Do(func() {
		defer close(e.shared.initialised)
		e.fresh = false
		limit := initLimit(managed, e.function.Timeout, 0)
		if f := e.init(phaseInit, time.Now().Add(limit), limit); f != nil {
			e.shared.initFailure = f
			e.life.Load().fail(f)
		}
		e.initTook = 0
	})
	return e.shared.initFailure
}

// share runs an invocation beside others of the same environment.
func (e *environment) share(inv *invocation) {
	f := e.initOnce()
	if f == nil {
		var worker *runtimeapi.Worker
		if worker, f = e.reserve(); worker != nil {
			e.runShared(inv, worker)
			return
		}
	}
	if f == nil {
		inv.refuse(invokeapi.Throttled())
		return
	}
	inv.respond(invokeapi.Response{Payload: f.response(inv.RequestID), FunctionError: "Unhandled"})
	inv.answerTail(nil)
}

// reserve takes a worker of the runtime. There is neither worker nor failure when
// none has become free in time.
func (e *environment) reserve() (*runtimeapi.Worker, *failure) {
	l := e.life.Load()
	ctx, cancel := context.WithTimeout(context.Background(), e.function.Timeout)
	defer cancel()
	go func() {
		select {
		case <-l.failed:
			cancel()
		case <-ctx.Done():
		}
	}()
	worker, err := l.concurrent.Reserve(ctx)
	if err == nil {
		return worker, nil
	}
	select {
	case <-l.failed:
		return nil, l.cause
	default:
		return nil, nil
	}
}

// runShared is an invocation in a worker's hands. When it times out it has failed;
// the worker goes on, and so does the environment.
func (e *environment) runShared(inv *invocation, worker *runtimeapi.Worker) {
	l := e.life.Load()
	e.begun(inv)
	e.start(inv)
	defer e.scheduleKills()()
	inv.turn = worker.Begin(runtimeapi.Invocation{
		RequestID: inv.RequestID, Deadline: inv.deadline, FunctionARN: inv.arn, TraceID: inv.TraceID,
		ClientContext: inv.ClientContext, TenantID: inv.TenantID, Payload: inv.Payload, Stream: inv.Stream})
	f := l.await(inv.turn.Answered(), inv.deadline, e.function.Timeout)
	if f != nil && !l.concurrent.Expire(inv.turn) {
		f = nil // answered at the last moment
	}
	if f == nil {
		inv.respond(answerOf(inv.turn.Reply()))
	} else {
		inv.respond(invokeapi.Response{Payload: f.response(inv.RequestID), FunctionError: "Unhandled"})
	}
	e.reportShared(inv, f)
}

// reportShared reports an invocation when its answer is out: neither the worker's
// next nor an extension is waited for. Other than elsewhere, a handler's error is
// an error of the invocation.
func (e *environment) reportShared(inv *invocation, f *failure) {
	r := &inv.report
	end := time.Now()
	r.Status = f.status()
	if f != nil {
		r.ErrorType = f.errorType // of a timeout too
	}
	var spans []span
	if reply, ok := inv.reply(); ok && f == nil {
		end = reply.End
		r.ResponseLatency, r.ResponseDuration = reply.Start.Sub(r.Start), reply.End.Sub(reply.Start)
		r.ProducedBytes = reply.Bytes
		spans = []span{newSpan("responseLatency", r.Start, reply.Start), newSpan("responseDuration", reply.Start, reply.End)}
		if r.ErrorType = orText(reply.ErrorType, reply.TrailerType); r.ErrorType != "" {
			r.Status = statusError
		}
	}
	e.syncOutput()
	r.Duration, r.RuntimeDuration = end.Sub(r.Start), end.Sub(r.Start)
	r.MaxMemoryMB = min(int((e.sandbox.MaxMemory()+1<<20-1)>>20), e.function.MemoryMB)
	e.event("platform.report", reportRecord{RequestID: r.RequestID, Status: r.Status, ErrorType: r.ErrorType,
		TenantID: inv.TenantID, Tracing: newTracing(inv.TraceID), Spans: spans,
		Metrics: sharedMetrics{DurationMs: milliseconds(r.Duration)}}, false)
	if observe := e.lambda.cfg.Observe.Report; observe != nil {
		observe(*r)
	}
	inv.answerTail(e.log.end())
}

// acquireShared takes the environment with the fewest invocations, if one may take
// more, or makes one.
func (p *pool) acquireShared() (*environment, error) {
	p.mu.Lock()
	var best *environment
	for e := range p.all {
		if !e.shared.leaving && !e.broken() && e.shared.users < p.function.MaxConcurrency &&
			(best == nil || e.shared.users < best.shared.users) {
			best = e
		}
	}
	if best == nil {
		p.mu.Unlock()
		return p.create()
	}
	defer p.mu.Unlock()
	best.shared.users++
	p.unlist(best)
	return best, nil
}

// releaseShared ends an invocation's use of its environment, and tells whether the
// environment is idle now; the lock is held.
func (p *pool) releaseShared(e *environment) (idle bool) {
	idle = e.shared.leave()
	if e.broken() {
		p.giveUp(e)
	}
	return idle && !e.shared.leaving
}

// unlist takes an environment out of the idle ones, if it is; the lock is held.
func (p *pool) unlist(e *environment) {
	if i := slices.Index(p.idle, e); i >= 0 {
		p.idle = slices.Delete(p.idle, i, i+1)
		e.idle.Stop()
	}
}

// guard ends an environment of managed instances when a process of it has failed,
// and puts another in its place.
func (p *pool) guard(e *environment) {
	select {
	case <-e.shared.initialised:
	case <-e.shared.retired:
		return
	}
	select {
	case <-e.life.Load().failed:
	case <-e.shared.retired:
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.giveUp(e)
}

// broken tells whether a process of the environment has failed.
func (e *environment) broken() bool {
	l := e.life.Load()
	if l == nil {
		return false // before Init
	}
	select {
	case <-l.failed:
		return true
	default:
		return false
	}
}

// giveUp begins to replace an environment, unless others end it; the lock is held.
func (p *pool) giveUp(e *environment) {
	if p.closed || e.shared.leaving {
		return
	}
	e.shared.leaving = true
	p.unlist(e)
	if e.shared.users == 0 {
		close(e.shared.unused)
	}
	p.work.Add(1)
	p.lambda.active.begin()
	go p.replace(e)
}

// replace waits for the invocations of an environment, which fail at once, ends it
// and makes another.
func (p *pool) replace(e *environment) {
	defer p.leave()
	<-e.shared.unused
	e.shutdown("failure")
	e.close()
	p.mu.Lock()
	delete(p.all, e)
	p.counted--
	p.wake()
	p.mu.Unlock()
	if e.shared.initFailure != nil || p.stopped.Err() != nil {
		return // another would fail too, the next invocation tries; or nobody needs one
	}
	if another, err := p.create(); err == nil {
		_ = another.initOnce()
		p.release(another)
	}
}
