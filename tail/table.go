package tail

import (
	"cmp"
	"math"
	"path"
	"slices"
	"strings"
	"time"

	"slipstream/telemetry"
	"slipstream/wire/otlpread"
)

// Bounds of a table: what is beyond is counted, or the oldest goes.
const (
	maxSeries    = 1000
	maxInstances = 64 // of a series that are counted since their start
	maxHistory   = 60 // bins of a series
	maxKey       = 1024
	maxCentroids = 512
)

// Table shows the series of metrics, a row each: the environments of a function
// share one. It passes over logs and spans.
type Table struct {
	config  TableConfig
	reader  otlpread.Reader
	series  map[string]*series
	newest  int64 // the newest bin of all
	open    int64 // the bin that now is in, as far as Advance told
	points  int
	left    int // points of series beyond maxSeries
	unknown int
	buf     []telemetry.Centroid
}

// TableConfig says what a table shows.
type TableConfig struct {
	Bin  time.Duration // of the history; default a minute
	Name string        // a pattern of path.Match that names must match; "" for all
	// Now is asked for the time of points that have none, or one to come.
	Now func() time.Time
}

// NewTable makes an empty table. A Name that is no pattern is an error.
func NewTable(c TableConfig) (*Table, error) {
	if _, err := path.Match(c.Name, ""); err != nil {
		return nil, err
	}
	if c.Bin <= 0 {
		c.Bin = time.Minute
	}
	return &Table{config: c, series: map[string]*series{}, newest: math.MinInt64, open: math.MinInt64}, nil
}

// kind is what a series' numbers mean.
type kind string

const (
	gauge        kind = "gauge"
	counter      kind = "count"
	distribution kind = "dist"
)

// series is one row.
type series struct {
	function, name string
	tags, unit     string
	kind           kind
	total          float64 // of a counter; the sum of a distribution
	count          float64 // points; values of a distribution
	last           float64
	at             int64 // when last was, nanoseconds since 1970
	low, high      float64
	bins           []bin  // rising, at most maxHistory
	sketch         sketch // what is not in instances
	instances      []*instance
	given          map[float64]float64 // quantiles that a Summary gave
}

type bin struct {
	number           int64
	sum, count, last float64
}

// instance is one that counts since its start.
type instance struct {
	key        string
	sum, count float64
	sketch     sketch
}

// Log passes over the record.
func (t *Table) Log(*telemetry.Log, *telemetry.Resource) {}

// Unknown counts the line.
func (t *Table) Unknown([]byte) { t.unknown++ }

// Export takes a request's points.
func (t *Table) Export(x *telemetry.Export) error {
	if x.Signal != telemetry.Metrics {
		return nil
	}
	return t.reader.Metrics(x.Body, t.take)
}

// Advance moves the history on to now where nothing comes.
func (t *Table) Advance(now time.Time) {
	t.open = t.binOf(now.UnixNano())
	t.newest = max(t.newest, t.open)
}

func (t *Table) binOf(nanoseconds int64) int64 { return nanoseconds / int64(t.config.Bin) }

func (t *Table) take(p *otlpread.Point) {
	if t.config.Name != "" {
		if ok, _ := path.Match(t.config.Name, string(p.Name)); !ok {
			return
		}
	}
	if p.Missing {
		return
	}
	now := t.config.Now()
	when := p.When(now)
	if when.After(now) {
		when = now
	}
	at := when.UnixNano()
	if p.Kind != otlpread.Gauge {
		at-- // what a sum covers ends at its time, so a whole minute's is that minute's
	}
	s := t.find(p)
	if s == nil {
		t.left++
		return
	}
	t.points++
	b := s.binAt(t.binOf(at))
	t.newest = max(t.newest, t.binOf(at))
	switch s.kind {
	case gauge:
		s.count++
		b.count++
		b.sum += p.Value
		b.last = p.Value
		if at >= s.at {
			s.last, s.at = p.Value, at
		}
	case counter:
		rise := p.Value
		if p.Temporality == otlpread.Cumulative {
			rise = s.rise(p, p.Value, 0, nil).sum
		}
		s.total += rise
		s.count++
		b.sum += rise
		b.count++
	case distribution:
		t.distribution(s, b, p)
	}
}

// find gives the point's series, nil if there is no room for a new one.
func (t *Table) find(p *otlpread.Point) *series {
	k := gauge
	switch {
	case p.Kind == otlpread.Histogram, p.Kind == otlpread.Exponential, p.Kind == otlpread.Summary:
		k = distribution
	case p.Kind == otlpread.Sum && (p.Monotonic || p.Temporality == otlpread.Delta):
		k = counter
	}
	function, name, tags := cut(functionOf(p.Resource)), cut(string(p.Name)), cut(tagsOf(p))
	key := strings.Join([]string{function, name, tags, string(k)}, "\x00")
	s := t.series[key]
	if s == nil {
		if len(t.series) >= maxSeries {
			return nil
		}
		s = &series{function: function, name: name, tags: tags, unit: string(p.Unit), kind: k, at: math.MinInt64,
			low: math.Inf(1), high: math.Inf(-1)}
		t.series[key] = s
	}
	return s
}

func cut(text string) string {
	if len(text) > maxKey {
		return strings.ToValidUTF8(text[:maxKey], "") + "…"
	}
	return text
}

// tagsOf are the point's attributes, by name.
func tagsOf(p *otlpread.Point) string {
	var tags []string
	for key, value := range p.Attributes.All() {
		tags = append(tags, string(key)+"="+string(value.AppendText(nil)))
	}
	slices.Sort(tags)
	return strings.Join(tags, " ")
}

// binAt gives the bin of that number, made if need be. One older than the history
// is not kept.
func (s *series) binAt(number int64) *bin {
	at, found := slices.BinarySearchFunc(s.bins, number, func(b bin, n int64) int { return cmp.Compare(b.number, n) })
	if !found {
		s.bins = slices.Insert(s.bins, at, bin{number: number})
		if len(s.bins) > maxHistory {
			s.bins = slices.Delete(s.bins, 0, 1)
			at--
		}
		if at < 0 {
			return &bin{}
		}
	}
	return &s.bins[at]
}

// rise is what a cumulative point has more than the one before of its instance:
// all of it for the first, and after one that fell.
func (s *series) rise(p *otlpread.Point, sum, count float64, list []telemetry.Centroid) bin {
	key := instanceOf(p)
	at := slices.IndexFunc(s.instances, func(i *instance) bool { return i.key == key })
	if at >= 0 && (sum < s.instances[at].sum && list == nil || count < s.instances[at].count) {
		s.retire(at)
		at = -1
	}
	if at < 0 {
		if len(s.instances) == maxInstances {
			s.retire(0)
		}
		at = len(s.instances)
		s.instances = append(s.instances, &instance{key: key})
	}
	i := s.instances[at]
	rise := bin{sum: sum - i.sum, count: count - i.count}
	i.sum, i.count, i.sketch = sum, count, sketch{}
	i.sketch.add(list)
	return rise
}

// retire keeps an instance's distribution and forgets the rest.
func (s *series) retire(at int) {
	s.sketch.merge(&s.instances[at].sketch)
	s.instances = slices.Delete(s.instances, at, at+1)
}

// instanceOf tells those that count on their own apart.
func instanceOf(p *otlpread.Point) string {
	key := []byte(time.Unix(0, int64(p.Start)).String())
	for _, name := range []string{"service.instance.id", "faas.instance"} {
		if v, ok := p.Resource.Get(name); ok {
			key = v.AppendText(append(key, ' '))
		}
	}
	return string(key)
}

func (t *Table) distribution(s *series, b *bin, p *otlpread.Point) {
	t.buf = t.buf[:0]
	if p.Kind != otlpread.Histogram || len(p.Bounds) > 0 || p.Count <= 1 { // without buckets the values are not known
		t.buf = p.Centroids(t.buf, maxCentroids)
	}
	rise := bin{sum: p.Sum, count: float64(p.Count)}
	if p.Temporality == otlpread.Cumulative || p.Kind == otlpread.Summary {
		rise = s.rise(p, p.Sum, float64(p.Count), append([]telemetry.Centroid{}, t.buf...))
	} else {
		s.sketch.add(t.buf)
	}
	for _, q := range p.Quantiles {
		if s.given == nil {
			s.given = map[float64]float64{}
		}
		if len(s.given) < maxHistory {
			s.given[q.Quantile] = q.Value
		}
	}
	if p.HasMin && p.HasMax {
		s.low, s.high = min(s.low, p.Min), max(s.high, p.Max)
	}
	s.total += rise.sum
	s.count += rise.count
	b.sum += rise.sum
	b.count += rise.count
}

// percentiles are p50, p90 and p99 of all that came, NaN for unknown.
func (s *series) percentiles() [3]float64 {
	qs := []float64{0.5, 0.9, 0.99}
	all := s.sketch
	if len(s.instances) > 0 {
		all = sketch{}
		all.merge(&s.sketch)
		for _, i := range s.instances {
			all.merge(&i.sketch)
		}
	}
	var found [3]float64
	for i, v := range all.quantiles(qs...) {
		if given, ok := s.given[qs[i]]; ok {
			v = given
		}
		if s.low <= s.high && !math.IsNaN(v) {
			v = min(max(v, s.low), s.high)
		}
		found[i] = v
	}
	return found
}

// history gives a number for each of the n newest bins, NaN where nothing came:
// a gauge's last value, a counter's sum, a distribution's mean.
func (t *Table) history(s *series, n int) []float64 {
	list := make([]float64, n)
	for i := range list {
		list[i] = math.NaN()
	}
	for _, b := range s.bins {
		at := int64(n-1) - (t.newest - b.number)
		if at < 0 || at >= int64(n) || b.count == 0 {
			continue
		}
		switch s.kind {
		case gauge:
			list[at] = b.last
		case counter:
			list[at] = b.sum
		default:
			list[at] = b.sum / b.count
		}
	}
	return list
}
