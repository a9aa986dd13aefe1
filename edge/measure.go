package edge

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"slipstream/intake/host"
	"slipstream/process"
	"slipstream/process/logmetric"
	"slipstream/process/platform"
	"slipstream/rollup"
	"slipstream/telemetry"
)

// MetricsConfig is which metrics are made, and how they are rolled up.
type MetricsConfig struct {
	Rollup          bool
	Width, Lateness time.Duration
	Series, Bytes   int

	Filters    string // JSON, of log lines
	EMF, Lines string // keep, consume, off, or auto
	Names      platform.Names
	// true, false, or auto
	Platform, Host string
}

// byMeans is the setting that is on where a destination is there for metrics.
const byMeans = "auto"

// made tells whether metrics are made of anything but what the function exports.
func (m *MetricsConfig) made() bool {
	return m.Filters != "" || m.EMF != "off" || m.Lines != "off" || m.Platform != "false" || m.Host == "true"
}

// inVain gives an error for each metric that was asked for where no destination takes
// any.
func (m *MetricsConfig) inVain() (errs []error) {
	for _, s := range [][2]string{{"SLIPSTREAM_PLATFORM_METRICS", m.Platform}, {"SLIPSTREAM_HOST_METRICS", m.Host},
		{"SLIPSTREAM_EMF", m.EMF}, {"SLIPSTREAM_METRIC_LINES", m.Lines}, {"SLIPSTREAM_METRIC_FILTERS", m.Filters}} {
		if s[1] != "" && s[1] != byMeans && s[1] != "false" && s[1] != "off" {
			errs = append(errs, fmt.Errorf("read %s: no destination takes metrics; add one, or metrics to its types", s[0]))
		}
	}
	return errs
}

func (m *MetricsConfig) filters() ([]logmetric.Filter, error) {
	filters, err := logmetric.ParseFilters(m.Filters)
	if err != nil {
		err = fmt.Errorf("read SLIPSTREAM_METRIC_FILTERS: %w; none of them is used", err)
	}
	return filters, err
}

// journalBytes is how much of the arena the journals of open bins take.
func (c *Config) journalBytes() int {
	if !c.Metrics.Rollup {
		return 0
	}
	return 2 * maxJournals // pages are not always full
}

// openMetrics prepares what rolls points up and what makes them. Where no lane takes
// metrics, there is neither.
func (e *edge) openMetrics(res *telemetry.Resource) []error {
	taken, meant := false, false
	for _, l := range e.lanes {
		taken = taken || l.exports(telemetry.Metrics) != nil
		meant = meant || l.forMetrics()
	}
	c := &e.config.Metrics
	if !taken {
		return c.inVain()
	}
	if c.Rollup {
		e.aggregate = newAggregate(e, res, rollup.Config{
			Width: c.Width, Lateness: cmp.Or(c.Lateness, -1), MaxSeries: c.Series, MaxBytes: c.Bytes,
		})
	}
	on := func(setting, automatic string) string {
		switch {
		case setting != byMeans:
			return setting
		case meant:
			return automatic
		}
		return map[string]string{"keep": "off", "true": "false"}[automatic]
	}
	m := &meter{edge: e, faults: map[logmetric.Reason]int{}, last: map[string]int{}}
	m.emit = m.put
	errs := m.openLines(c, on)
	measured := on(c.Platform, "true")
	if measured == "true" {
		m.platform = platform.New(platform.Config{
			Names: c.Names, Region: res.Region, Architecture: res.Architecture, Managed: e.config.managed(),
		})
	}
	if h := c.Host; m.platform != nil && h != "false" || h == "true" {
		m.names = m.platform
		if m.names == nil {
			m.names = platform.New(platform.Config{Names: c.Names})
		}
		m.host = host.New(host.Config{Missing: missingSource})
	}
	if m.lines != nil || m.platform != nil || m.host != nil {
		e.meter = m
		m.renew(res)
	}
	return errs
}

// openLines prepares what finds metrics in log lines.
func (m *meter) openLines(c *MetricsConfig, on func(setting, automatic string) string) []error {
	filters, err := c.filters()
	var errs []error
	if err != nil {
		errs = append(errs, err)
	}
	emf, err := logmetric.ParseMode(on(c.EMF, "keep"))
	lines, other := logmetric.ParseMode(on(c.Lines, "keep"))
	if err := errors.Join(err, other); err != nil { // the settings were read by the same words
		errs = append(errs, err)
	}
	m.echo = slices.ContainsFunc(m.edge.config.Destinations, func(raw string) bool {
		return strings.Contains(raw, "emf+stdout") || strings.Contains(raw, "emf%2Bstdout")
	})
	if len(filters) > 0 || emf != logmetric.Off || lines != logmetric.Off {
		m.lines = logmetric.New(logmetric.Config{Filters: filters, EMF: emf, Lines: lines, Drop: m.fault})
	}
	return errs
}

// taker is the way of a listener's points into the rollup.
type taker struct {
	edge   *edge
	policy *process.Points // nil until the first point
	mu     sync.Mutex
	begun  bool // there was room for the first point since the last Commit
	now    time.Time
	point  telemetry.Point // in hand
}

// newTaker gives nil where points are not rolled up.
func (e *edge) newTaker() *taker {
	if e.aggregate == nil {
		return nil
	}
	t := &taker{edge: e}
	e.takers = append(e.takers, t)
	return t
}

// Add takes a point. It changes what must not leave before anything is kept.
func (t *taker) Add(p *telemetry.Point) error {
	<-t.edge.ready
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.policy == nil {
		t.policy = t.edge.pointPolicy()
	}
	if !t.begun {
		if !t.edge.hasRoom(telemetry.Metrics) {
			return telemetry.ErrNoRoom
		}
		t.begun, t.now = true, t.edge.aggregate.now()
	}
	t.point = *p // p may be that of several points
	if !t.policy.Apply(&t.point) {
		return nil // counted
	}
	return t.edge.aggregate.put(&t.point, t.now)
}

// Commit makes what was added survive the process.
func (t *taker) Commit() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.begun = false
	t.edge.aggregate.save(t.now)
}

func (t *taker) redact(by process.Redactor) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.policy != nil {
		t.policy.Redact(by)
	}
}
