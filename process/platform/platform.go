// Package platform makes metrics of what Lambda tells about a function: its
// invocations, initializations and restores, by the events of the Telemetry and
// Logs API. Use one Metrics for an execution environment, and give it every
// record; it also names what the environment used.
package platform

import (
	"strings"
	"time"

	"slipstream/process/jsonview"
	"slipstream/telemetry"
	"slipstream/telemetry/usage"
)

// remembered is how many invocations are known at a time. A report comes in the
// next invocation, or some later; managed instances have up to as many at once as
// AWS_LAMBDA_MAX_CONCURRENCY says. What is older counts as over.
const remembered = 256

// Config says what the events do not.
type Config struct {
	Names        Names
	Region       string
	Architecture string // amd64 or arm64
	// Managed is for managed instances: they have several invocations at once, no
	// platform.runtimeDone, and a price by the instance, so no estimate of it here.
	Managed bool
}

// Metrics turns events into points. It is for one goroutine at a time.
type Metrics struct {
	config   Config
	named    [metrics]named
	requests [remembered]request
	next     int // where the next request is kept
	begun    bool
	// initType is platform.initStart's initializationType.
	initType                             string
	initReported, initFailed, isRestored bool

	event event
	class []byte // of an error that Failed told
	point telemetry.Point
	tags  []telemetry.Tag
	at    time.Time
	emit  func(*telemetry.Point)
}

// named is a metric by the names that were chosen.
type named struct {
	name  []byte
	unit  string
	scale float64
	kind  telemetry.PointKind
}

// request is what is known of an invocation.
type request struct {
	id                          string
	counted, failed, timedOut   bool
	starved, measured, reported bool
	ended                       bool    // by runtimeDone
	runtime                     float64 // seconds, if measured
}

// New makes the metrics of one environment.
func New(c Config) *Metrics {
	m := &Metrics{config: c, tags: make([]telemetry.Tag, 0, 2)}
	for i, e := range catalogue() {
		n := e.names[c.Names]
		m.named[i] = named{[]byte(n.name), n.unit, n.scale, e.kind}
	}
	return m
}

// Take hands the points of one record to emit, each borrowed during its call.
// Records that are no events of the platform are passed over.
func (m *Metrics) Take(l *telemetry.Log, emit func(*telemetry.Point)) {
	if !strings.HasPrefix(l.Type, "platform.") {
		return
	}
	m.at, m.emit = l.Time, emit
	switch l.Type {
	case "platform.fault":
		m.put(faults, 1)
	case "platform.logsDropped":
		m.logsDropped(l.Body)
	case "platform.extension":
		m.extension(l.Body)
	default:
		m.event.read(l.Body)
		m.lifecycle(l)
	}
	m.emit = nil
}

func (m *Metrics) lifecycle(l *telemetry.Log) {
	e := &m.event
	switch l.Type {
	case "platform.initStart":
		m.initType, m.initFailed = initTypeOf(e.initType), false
	case "platform.initRuntimeDone":
		m.initEnded()
	case "platform.initReport":
		m.initEnded()
		if m.initType == "" {
			m.initType = initTypeOf(e.initType)
		}
		// A snapshot's initialization is told again after each restore: it was long ago.
		if e.metrics.duration >= 0 && initTypeOf(e.initType) != initSnapshot {
			m.initReported = true
			m.tagInit()
			m.put(initDuration, e.metrics.duration)
		}
	case "platform.restoreReport":
		if e.failed() {
			m.tagError()
			m.put(restoreFailures, 1)
		}
		m.isRestored = e.metrics.duration >= 0
		m.putKnown(restoreDuration, e.metrics.duration)
	case "platform.start", "platform.runtimeDone", "platform.report":
		if l.RequestID != "" || len(e.requestID) > 0 {
			m.invocation(l.Type, m.request(l.RequestID, e.requestID))
		}
	}
}

func (m *Metrics) invocation(kind string, r *request) {
	m.invoked(r)
	switch kind {
	case "platform.runtimeDone":
		m.runtimeDone(r)
	case "platform.report":
		m.report(r)
	}
}

// Failed says that an invocation failed which the platform may call a success: the
// function reported an exception. errorType is its class, "" if unknown. It may
// come any number of times for one invocation.
func (m *Metrics) Failed(requestID, errorType string, at time.Time, emit func(*telemetry.Point)) {
	if requestID == "" {
		return
	}
	m.at, m.emit = at, emit
	r := m.request(requestID, nil)
	m.class = append(m.class[:0], errorType...)
	m.event = event{errorType: m.class}
	m.fail(r)
	if isMemoryError(errorType) {
		m.starve(r)
	}
	m.emit = nil
}

// End tells what is left at the environment's end: invocations whose report will
// not come any more.
func (m *Metrics) End(now time.Time, emit func(*telemetry.Point)) {
	m.at, m.emit = now, emit
	for i := range m.requests {
		m.close(&m.requests[i])
	}
	m.emit = nil
}

// Used names what the environment used.
func (m *Metrics) Used(u *usage.Reading, at time.Time, emit func(*telemetry.Point)) {
	m.at, m.emit = at, emit
	if u.Known&usage.CPU != 0 {
		m.put(cpuTime, (u.CPUUser + u.CPUSystem).Seconds())
		m.put(cpuUser, u.CPUUser.Seconds())
		m.put(cpuSystem, u.CPUSystem.Seconds())
	}
	if u.Known&usage.Network != 0 {
		m.put(networkTotal, float64(u.Received+u.Sent))
		m.put(received, float64(u.Received))
		m.put(sent, float64(u.Sent))
	}
	if u.Known&usage.Temp != 0 {
		m.put(tempUsed, float64(u.TempUsed))
		m.put(tempFree, float64(u.TempFree))
	}
	if u.Known&usage.Memory != 0 {
		m.put(sandboxMemory, float64(u.MemoryUsed))
	}
	if u.Known&usage.Threads != 0 {
		m.put(threads, float64(u.Threads))
		m.put(processes, float64(u.Processes))
	}
	if u.Known&usage.Descriptors != 0 {
		m.put(descriptors, float64(u.Descriptors))
	}
	if u.Known&usage.OwnCPU != 0 {
		m.put(ownCPU, u.OwnCPU.Seconds())
	}
	if u.Known&usage.OwnMemory != 0 {
		m.put(ownMemory, float64(u.OwnMemory))
	}
	m.emit = nil
}

// put hands on one point with the tags that were set, and forgets them.
func (m *Metrics) put(id metric, v float64) {
	if n := &m.named[id]; len(n.name) > 0 {
		m.point = telemetry.Point{Kind: n.kind, Name: n.name, Time: m.at, Value: v * n.scale, Count: 1, Unit: n.unit,
			Tags: m.tags}
		m.emit(&m.point)
	}
	m.tags = m.tags[:0]
}

// putKnown is put for a value that an event may lack.
func (m *Metrics) putKnown(id metric, v float64) {
	if v >= 0 {
		m.put(id, v)
	}
}

// tag sets a tag of the next point by the names that were chosen, unless it has none.
func (m *Metrics) tag(keys [3][]byte, value []byte) {
	if key := keys[m.config.Names]; key != nil && len(value) > 0 {
		m.tags = append(m.tags, telemetry.Tag{Key: key, Value: value})
	}
}

// Keys of tags by OTel's, CloudWatch's and Datadog's names.
var (
	errorTypeKey = [3][]byte{[]byte("error.type"), []byte("ErrorType"), []byte("error_type")}
	initTypeKey  = [3][]byte{[]byte("aws.lambda.initialization_type"), []byte("InitializationType"), []byte("init_type")}
	coldKey      = [3][]byte{OTel: []byte("faas.coldstart"), Datadog: []byte("cold_start")}
	extensionKey = [3][]byte{[]byte("aws.lambda.extension"), []byte("Extension"), []byte("extension")}
)

// tagError tags the next point with what went wrong.
func (m *Metrics) tagError() {
	value := m.event.errorType
	if len(value) == 0 {
		value = m.event.status
	}
	m.tag(errorTypeKey, value)
}

func (m *Metrics) tagInit() { m.tag(initTypeKey, []byte(m.initType)) }

func (m *Metrics) logsDropped(body []byte) {
	if v, ok := measured(jsonview.Member(body, "droppedRecords")); ok {
		m.put(droppedRecords, v)
	}
	if v, ok := measured(jsonview.Member(body, "droppedBytes")); ok {
		m.put(droppedBytes, v)
	}
}

func (m *Metrics) extension(body []byte) {
	problem, _, _ := jsonview.Inside(jsonview.Member(body, "errorType"))
	if len(problem) == 0 {
		return
	}
	name, _, _ := jsonview.Inside(jsonview.Member(body, "name"))
	m.tag(errorTypeKey, problem)
	m.tag(extensionKey, name)
	m.put(extensionFailures, 1)
}
