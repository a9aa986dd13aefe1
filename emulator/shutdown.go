package emulator

import (
	"context"
	"syscall"
	"time"

	"slipstream/emulator/extensionsapi"
)

// The time that Shutdown may take in all, and the runtime's share of it.
const (
	shutdownExternal = 2 * time.Second        // an external extension is registered
	shutdownInternal = 500 * time.Millisecond // internal ones only
	runtimeShare     = 300 * time.Millisecond // with an external one; else all

	sharedRuntimeShare = 600 * time.Millisecond // on managed instances, whoever is registered
	sharedDrain        = time.Second            // there, for the telemetry before SHUTDOWN
)

// reset ends the life after a failure. Sandbox and /tmp stay; identifiers and
// subscriptions are void.
func (e *environment) reset(f *failure) {
	e.shutdown(f.shutdownReason())
	e.hub.Reset()
	e.life.Store(nil)
	e.fresh = e.function.InitType == snapStart // whose Init is not repeated in an invocation
}

// shutdown is the Shutdown phase: the runtime first, then the extensions.
func (e *environment) shutdown(reason string) {
	l := e.life.Load()
	if l == nil {
		return
	}
	l.ending.Store(true)
	e.thaw()
	total, share := l.shutdownTime()
	deadline := time.Now().Add(total)
	endRuntime(l.process(""), share)
	e.flush() // nothing more can come from the function
	l.endExtensions(reason, deadline)
}

func (e *environment) flush() {
	if e.function.InitType != managed {
		e.hub.Flush()
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), sharedDrain)
	defer cancel()
	e.hub.Drain(ctx)
}

// shutdownTime depends on who has registered.
func (l *life) shutdownTime() (total, share time.Duration) {
	if l.concurrent != nil && len(l.extensions.Extensions()) > 0 {
		return shutdownExternal, sharedRuntimeShare
	}
	for _, e := range l.extensions.Extensions() {
		switch {
		case !e.Internal && e.State != extensionsapi.Started && e.State != extensionsapi.LaunchError:
			return shutdownExternal, runtimeShare
		case e.Internal:
			total, share = shutdownInternal, shutdownInternal
		}
	}
	return total, share
}

// endRuntime asks the runtime to end and kills it when its share of the time is
// over; without a share it is killed at once.
func endRuntime(p *process, share time.Duration) {
	if p == nil {
		return
	}
	if share > 0 {
		_ = p.Signal(syscall.SIGTERM)
		p.awaitEnd(time.Now().Add(share))
	}
	p.Kill()
	<-p.ended
}

// endExtensions sends SHUTDOWN to those who asked for it, kills the others at
// once and the late ones at the deadline.
func (l *life) endExtensions(reason string, deadline time.Time) {
	l.mu.Lock()
	external := l.external
	l.mu.Unlock()
	for _, p := range external {
		if !l.extensions.Shutdown(p.name, reason, deadline) {
			p.Kill()
		}
	}
	for _, p := range external {
		p.awaitEnd(deadline)
		p.Kill()
		<-p.ended
	}
}

func (p *process) awaitEnd(deadline time.Time) {
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	select {
	case <-p.ended:
	case <-timer.C:
	}
}
