package flush

import "time"

// Ending knows, at SHUTDOWN, whether the platform still owes records. The last
// telemetry comes with SHUTDOWN or just after it: to exit at once loses it, to
// sleep a fixed time wastes it. The last invocation's platform.report, or,
// without an invocation, platform.initReport, says that there is no more.
type Ending struct {
	wait     time.Duration
	reserve  time.Duration
	invoked  string // the last invocation
	reported string // the last one whose platform.report came
	init     bool   // platform.initReport came
	open     int    // invocations that were announced and not reported, where several go on at once
	several  bool
	shutdown time.Time
	deadline time.Time
	received time.Time // of the last request
}

// NewEnding bounds the wait for what is owed, and keeps reserve free before the
// deadline for the process to exit in.
func NewEnding(wait, reserve time.Duration) Ending { return Ending{wait: wait, reserve: reserve} }

// Several makes the Ending one for an environment whose invocations go on at
// the same time and come without INVOKE: platform.start announces them.
func (e *Ending) Several() { e.several = true }

// Invoked takes note of an invocation.
func (e *Ending) Invoked(requestID string) { e.invoked = requestID }

// Arrived takes note of a platform event.
func (e *Ending) Arrived(eventType, requestID string) {
	switch eventType {
	case "platform.start":
		e.open++
	case "platform.report":
		e.reported = requestID
		e.open--
	case "platform.initReport":
		e.init = true
	}
}

// Shutdown takes note of the event and of the time by which all must be over.
func (e *Ending) Shutdown(now, deadline time.Time) { e.shutdown, e.deadline = now, deadline }

// Complete tells whether everything that the platform has to say has come.
func (e *Ending) Complete() bool {
	switch {
	case e.several:
		return e.init && e.open <= 0
	case e.invoked == "":
		return e.init
	}
	return e.reported == e.invoked
}

// Received takes note of a request of the platform.
func (e *Ending) Received(now time.Time) { e.received = now }

// ReceiveUntil is when to stop waiting for records, unless another request comes
// before: never later than two thirds of the time that is left, for what is held
// has to be sent too.
func (e *Ending) ReceiveUntil() time.Time {
	left := max(e.deadline.Sub(e.shutdown), 0)
	last := e.shutdown
	if e.received.After(last) {
		last = e.received
	}
	return earlier(last.Add(min(e.wait, left/3)), e.shutdown.Add(2*left/3))
}

// SendUntil is when to stop sending.
func (e *Ending) SendUntil() time.Time { return e.deadline.Add(-e.reserve) }
