package edge

import (
	"log/slog"
	"maps"
	"slices"
	"time"

	"slipstream/intake/host"
	"slipstream/process"
	"slipstream/process/logmetric"
	"slipstream/process/parse"
	"slipstream/process/platform"
	"slipstream/telemetry"
	"slipstream/wire"
)

// meter makes metrics of what passes by: of lines, of what the platform tells, of
// what the environment uses, and of our own counters. Its methods are called with
// e.mu held; a nil meter does nothing.
type meter struct {
	edge     *edge
	policy   *process.Points
	lines    *logmetric.Extractor // nil: none
	echo     bool                 // a destination writes metrics to our own log, which is not to be read again
	platform *platform.Metrics    // nil: none
	host     *host.Reader         // nil: none
	names    *platform.Metrics    // names what host reads
	emit     func(*telemetry.Point)
	point    telemetry.Point // in hand

	completion *wire.Completion
	points     *wire.Points   // what is not rolled up, until commit; nil for none yet
	now        time.Time      // the wall clock's, of the record in hand
	dirty      bool           // something is to be committed
	period     time.Time      // the minute whose defaults are still to come
	read       time.Time      // when the host was read
	last       map[string]int // totals that were told, by name and tags
	key        []byte
	faults     map[logmetric.Reason]int
}

// scopeOwn is the instrumentation scope of metrics that are made here and go out as
// they come.
const scopeOwn = "slipstream"

// put takes a point that was made here.
func (m *meter) put(p *telemetry.Point) {
	m.point = *p
	if !m.policy.Apply(&m.point) {
		return
	}
	m.dirty = true
	if a := m.edge.aggregate; a != nil && a.put(&m.point, m.now) == nil {
		return
	}
	if m.points == nil {
		m.points = wire.NewPoints(m.completion, scopeOwn)
	}
	m.points.Append(&m.point, m.now)
}

// begin says what time it is for what is measured now.
func (m *meter) begin(now time.Time) {
	if m != nil {
		m.now = m.edge.clock.stamp(now)
	}
}

// line takes the metrics out of a line, and tells whether it was nothing else.
func (m *meter) line(l *telemetry.Log) (consumed bool) {
	if m.echo && l.Type == "extension" {
		return false
	}
	return m.lines.Take(l, m.emit)
}

// failure takes note of a runtime's report that an invocation has failed.
func (m *meter) failure(l *telemetry.Log) {
	if class, ok := parse.Failure(l); ok {
		m.platform.Failed(l.RequestID, string(class), l.Time, m.emit)
	}
}

// event takes the metrics out of an event of the platform. When an invocation has
// ended it measures the rest, at most once a second.
func (m *meter) event(l *telemetry.Log, now time.Time) {
	if m == nil {
		return
	}
	if m.platform != nil {
		m.platform.Take(l, m.emit)
	}
	switch l.Type {
	case "platform.runtimeDone":
	case "platform.report": // of managed instances, which have no other end
		if !m.edge.config.managed() || now.Sub(m.read) < time.Second {
			return
		}
	default:
		return
	}
	m.measure(now)
}

// measure reads the environment, and our own counters.
func (m *meter) measure(now time.Time) {
	m.read = now
	if m.host != nil {
		used := m.host.Read(m.now)
		m.names.Used(&used, m.now, m.emit)
	}
	if m.platform != nil && m.edge.config.SelfMetrics {
		m.own()
	}
	if minute := m.now.Truncate(time.Minute); minute.After(m.period) {
		if m.lines != nil && !m.period.IsZero() {
			m.lines.Defaults(m.now, m.emit)
		}
		m.period = minute
	}
}

// own counts what has become of records since the last time.
func (m *meter) own() {
	e := m.edge
	for _, l := range e.lanes {
		to := telemetry.Tag{Key: keyDestination, Value: []byte(l.name)}
		l.mu.Lock()
		c := l.count
		c.dropped = maps.Clone(c.dropped)
		l.mu.Unlock()
		m.since("slipstream.records.received", "{record}", c.received+c.recovered, to)
		m.since("slipstream.records.delivered", "{record}", c.delivered, to)
		m.since("slipstream.bytes.delivered", "By", c.bytes, to)
		m.since("slipstream.sends.retried", "{try}", c.retries, to)
		m.reasons("slipstream.records.dropped", "{record}", c.dropped, to)
	}
	_, unwanted, dropped := e.exports.counts()
	m.since("slipstream.intake.unwanted", "{record}", unwanted)
	m.reasons("slipstream.intake.dropped", "{record}", dropped)
}

var (
	keyDestination = []byte("slipstream.destination")
	keyReason      = []byte("slipstream.reason")
)

// reasons counts by the reason, besides.
func (m *meter) reasons(name, unit string, totals map[string]int, tags ...telemetry.Tag) {
	for reason, total := range totals {
		m.since(name, unit, total, append(slices.Clip(tags), telemetry.Tag{Key: keyReason, Value: []byte(reason)})...)
	}
}

// since makes a counter's point of what a total has grown by since the last time.
func (m *meter) since(name, unit string, total int, tags ...telemetry.Tag) {
	m.key = append(m.key[:0], name...)
	for _, t := range tags {
		m.key = append(append(m.key, 0), t.Value...)
	}
	n := total - m.last[string(m.key)]
	if n <= 0 {
		return
	}
	m.last[string(m.key)] = total
	m.put(&telemetry.Point{Kind: telemetry.Counter, Name: []byte(name), Unit: unit, Time: m.now, Value: float64(n),
		Count: 1, Tags: tags})
}

// commit makes what was measured survive the process.
func (m *meter) commit(now time.Time) {
	if m == nil || !m.dirty {
		return
	}
	m.dirty = false
	e := m.edge
	if e.aggregate != nil {
		e.aggregate.save(m.now)
	}
	if m.points == nil || m.points.Size() == 0 {
		return
	}
	x := m.points.Export()
	for _, l := range e.lanes {
		if enc := l.exports(telemetry.Metrics); enc != nil {
			l.appendExport(enc, x, now)
			l.commit()
		}
	}
	m.points.Reset()
}

// renew gives it the identity of the environment.
func (m *meter) renew(res *telemetry.Resource) {
	if m == nil {
		return
	}
	m.commit(m.edge.clock.now())
	m.completion, m.points = wire.NewCompletion(res), nil
}

// finish measures for the last time.
func (m *meter) finish(now time.Time) {
	if m == nil {
		return
	}
	if m.platform != nil {
		m.platform.End(m.now, m.emit)
	}
	m.measure(now)
	if m.host != nil {
		m.host.Close()
	}
}

// fault counts a line that looks like a metric and is none, and says so the first
// time.
func (m *meter) fault(r logmetric.Reason) {
	if m.faults[r] == 0 {
		slog.Warn("a line that looks like a metric is none; it stays a record", "reason", r)
	}
	m.faults[r]++
}

// pointCounts tells what the policy has done to points, and which lines were no
// metrics. The caller holds e.mu.
func (e *edge) pointCounts() map[string]int {
	all := map[string]int{}
	add := func(counts map[string]int) {
		for reason, n := range counts {
			all[reason] += n
		}
	}
	for _, t := range e.takers {
		t.mu.Lock()
		if t.policy != nil {
			add(t.policy.Counts())
		}
		t.mu.Unlock()
	}
	if e.meter != nil {
		add(e.meter.policy.Counts())
		for r, n := range e.meter.faults {
			all[string(r)] = n
		}
	}
	return all
}

// missingSource is told once of what of the environment cannot be read.
func missingSource(source string) {
	slog.Debug("a part of the environment cannot be measured", "source", source)
}
