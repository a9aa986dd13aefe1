package platform

import (
	"bytes"
	"strings"
)

// The initialization types that change something.
const (
	initSnapshot    = "snap-start"
	initProvisioned = "provisioned-concurrency"
	initManaged     = "lambda-managed-instances"
)

// initTypeOf gives a type that does not borrow from the event.
func initTypeOf(raw []byte) string {
	for _, known := range [...]string{"on-demand", initProvisioned, initSnapshot, initManaged} {
		if string(raw) == known {
			return known
		}
	}
	return ""
}

// request gives what is known of an invocation, newest first; a new one takes the
// place of the oldest. name is the id if it is known as a string, raw as bytes.
func (m *Metrics) request(name string, raw []byte) *request {
	if name == "" {
		name = string(raw)
	}
	for i := range remembered {
		r := &m.requests[(m.next-1-i+2*remembered)%remembered]
		if r.id == name {
			return r
		}
		if r.id == "" {
			break
		}
	}
	r := &m.requests[m.next]
	m.close(r)
	*r = request{id: name}
	m.next = (m.next + 1) % remembered
	return r
}

// close tells that a request went well of which nothing more is expected.
func (m *Metrics) close(r *request) {
	if r.ended && !r.reported && !r.failed {
		m.put(successes, 1)
	}
	r.reported = true
}

// invoked counts an invocation that is heard of for the first time.
func (m *Metrics) invoked(r *request) {
	if r.counted {
		return
	}
	r.counted = true
	cold := !m.begun && m.initType != initProvisioned && m.initType != initManaged && !m.config.Managed
	m.begun = true
	if cold {
		m.tag(coldKey, yes)
		m.put(invocations, 1)
		m.tagInit()
		m.put(coldStarts, 1)
		return
	}
	m.tag(coldKey, no)
	m.put(invocations, 1)
}

var yes, no = []byte("true"), []byte("false")

// fail counts a failed invocation, once.
func (m *Metrics) fail(r *request) {
	if !r.failed {
		r.failed = true
		m.tagError()
		m.put(failures, 1)
	}
}

// starve counts an invocation that failed for want of memory, once.
func (m *Metrics) starve(r *request) {
	if !r.starved {
		r.starved = true
		m.put(outOfMemory, 1)
	}
}

// judge counts what the event's status and error say of an invocation.
func (m *Metrics) judge(r *request) {
	e := &m.event
	if !e.failed() {
		return
	}
	m.fail(r)
	if string(e.status) == "timeout" && !r.timedOut {
		r.timedOut = true
		m.put(timeouts, 1)
	}
	full := e.metrics.memorySize > 0 && e.metrics.memoryUsed >= e.metrics.memorySize
	if full && string(e.status) != "timeout" || isMemoryError(string(e.errorType)) {
		m.starve(r)
	}
}

// isMemoryError knows the classes by which runtimes tell that memory ran out.
func isMemoryError(class string) bool {
	return strings.Contains(class, "OutOfMemory") || class == "MemoryError" || class == "NoMemoryError"
}

func (m *Metrics) runtimeDone(r *request) {
	e := &m.event
	r.ended = true
	m.judge(r)
	if e.metrics.duration >= 0 && !r.measured {
		r.measured, r.runtime = true, e.metrics.duration
		m.put(runtimeDuration, e.metrics.duration)
		m.putKnown(producedBytes, e.metrics.produced)
		m.spans()
	}
}

func (m *Metrics) spans() {
	s := &m.event.spans
	m.putKnown(responseLatency, s.responseLatency)
	m.putKnown(responseDuration, s.responseDuration)
	m.putKnown(runtimeOverhead, s.runtimeOverhead)
}

func (m *Metrics) report(r *request) {
	m.judge(r)
	if r.reported { // twice, or too late
		return
	}
	e := &m.event
	r.ended = true
	m.close(r)
	v := &e.metrics
	m.putKnown(duration, v.duration)
	if m.config.Managed {
		m.putKnown(runtimeDuration, v.duration)
		m.spans()
		return
	}
	m.putKnown(billedDuration, v.billed)
	m.putKnown(memoryUsed, v.memoryUsed)
	m.putKnown(memorySize, v.memorySize)
	switch {
	case e.spans.extensionOverhead >= 0:
		m.put(postRuntimeDuration, e.spans.extensionOverhead)
	case r.measured && v.duration >= r.runtime:
		m.put(postRuntimeDuration, v.duration-r.runtime)
	}
	if !m.initReported && v.init >= 0 {
		m.tagInit()
		m.put(initDuration, v.init)
	}
	if !m.isRestored {
		m.putKnown(restoreDuration, v.restore)
	}
	if v.billed >= 0 && v.memorySize > 0 {
		m.put(estimatedCost, cost(m.config.Region, m.config.Architecture, m.initType == initProvisioned, v.billed,
			v.memorySize))
	}
}

// initEnded counts an initialization that failed, once.
func (m *Metrics) initEnded() {
	e := &m.event
	if !e.failed() || m.initFailed || bytes.Equal(e.initType, []byte(initSnapshot)) {
		return
	}
	m.initFailed = true
	m.tagError()
	m.put(initFailures, 1)
}
