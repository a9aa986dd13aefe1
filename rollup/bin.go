package rollup

import (
	"time"

	"slipstream/telemetry"
	"slipstream/wire/metrics"
)

// seriesBytes is about what a series takes beside its key and its cell's
// buckets: the cell, and the place in the index.
const seriesBytes = 160

// Bin is what the series were within one span of time. It takes points until it
// is closed.
type Bin struct {
	rollup     *Rollup
	start      time.Time
	width      time.Duration
	from, to   time.Time // what it covers, when it is closed
	oldest     time.Time // when its first point came
	points     int
	overflows  int // series for what is over a limit
	bytes      int
	index      map[string]int32 // of a key in cells
	kinds      map[string]uint8 // classes of a name, a bit each
	cells      []cell
	gauges     []gauge
	sums       []sum
	histograms []histogram
	sets       []set

	frame  []byte // of the journal, not flushed yet, with room for its head
	framed int    // entries in it
	// lastGauge is the time that the next one of a gauge is told by.
	lastGauge int64
	point     telemetry.Point // room for a replay
}

// cell is a series: its key, and the place of its value in the slice of its class.
type cell struct {
	key   string
	class class
	at    int32
}

// gauge is what a gauge was.
type gauge struct {
	last     float64
	at       int64 // of the last value, Unix nanoseconds
	min, max float64
	sum      sum
	count    uint64
}

func newBin(r *Rollup, start time.Time, width time.Duration) *Bin {
	return &Bin{rollup: r, start: start, width: width, index: map[string]int32{}, kinds: map[string]uint8{}}
}

// Start is when the bin begins, and Width how long it lasts.
func (b *Bin) Start() time.Time { return b.start }

// Width is how long the bin lasts.
func (b *Bin) Width() time.Duration { return b.width }

// Points is how many points are in it, and Series in how many series.
func (b *Bin) Points() int { return b.points }

// Series is how many series it has.
func (b *Bin) Series() int { return len(b.cells) }

func (b *Bin) holds(at time.Time) bool {
	into := at.Sub(b.start)
	return into >= 0 && into < b.width
}

// define makes a series, which gets the next number.
func (b *Bin) define(key string, k class) int32 {
	n := int32(len(b.cells))
	c := cell{key: key, class: k}
	switch k {
	case gaugeClass:
		c.at = int32(len(b.gauges))
		b.gauges = append(b.gauges, gauge{})
	case changeClass, counterClass:
		c.at = int32(len(b.sums))
		b.sums = append(b.sums, sum{})
	case distributionClass:
		c.at = int32(len(b.histograms))
		b.histograms = append(b.histograms, histogram{})
	case setClass:
		c.at = int32(len(b.sets))
		b.sets = append(b.sets, set{})
	}
	b.cells = append(b.cells, c)
	b.index[key] = n
	b.journalSeries(n, key)
	return n
}

func (b *Bin) gauge(n int32, v float64, at int64) {
	b.gauges[b.cells[n].at].set(v, at)
	b.journalGauge(n, v, at)
}

// set takes a value: of several the latest is the last, and of those of one
// moment the one that came last.
func (g *gauge) set(v float64, at int64) {
	if g.count == 0 || at >= g.at {
		g.last, g.at = v, at
	}
	if g.count == 0 {
		g.min, g.max = v, v
	}
	g.min, g.max = min(g.min, v), max(g.max, v)
	g.sum.add(v)
	g.count++
}

func (b *Bin) sum(n int32, v float64) {
	b.sums[b.cells[n].at].add(v)
	b.journalSum(n, v)
}

// distribution takes the values of a point; other is its histogram, if it is one.
func (b *Bin) distribution(n int32, p *telemetry.Point, other *histogram) (grew int) {
	switch {
	case other != nil:
		return b.merge(n, other)
	case len(p.Centroids) == 0:
		return b.value(n, p.Value, wholeCount(p.Count))
	}
	for _, c := range p.Centroids {
		grew += b.value(n, c.Value, wholeCount(c.Count))
	}
	return grew
}

func (b *Bin) value(n int32, v float64, count uint64) (grew int) {
	b.journalValue(n, v, count)
	return b.histograms[b.cells[n].at].insert(v, count, b.rollup.config.MaxBuckets)
}

func (b *Bin) merge(n int32, other *histogram) (grew int) {
	b.journalHistogram(n, other)
	return b.histograms[b.cells[n].at].merge(other, b.rollup.config.MaxBuckets)
}

func (b *Bin) member(n int32, place uint32) (grew int) {
	b.journalMember(n, place)
	return b.sets[b.cells[n].at].insert(place)
}

// scratch turns histograms of OTLP into our own without allocating.
type scratch struct {
	histogram          histogram
	positive, negative []uint64
}

// read gives h in our form, valid until the next call; nil if it contradicts
// itself or its numbers are none.
func (s *scratch) read(h *metrics.Histogram) *histogram {
	const most = maxScale + 12 // OpenTelemetry's finest scale is 20
	if h.NoBuckets || h.Scale > most || h.Scale < maxScale-maxShift || h.Count == 0 || h.Min > h.Max ||
		!finite(h.Sum) || !finite(h.Min) || !finite(h.Max) {
		return nil
	}
	s.histogram = histogram{count: h.Count, zeros: h.Zeros, sum: sum{high: h.Sum}, min: h.Min, max: h.Max}
	finer := uint8(max(h.Scale-maxScale, 0))
	s.histogram.shift = uint8(max(maxScale-h.Scale, 0))
	total, ok := h.Zeros, true
	count := func(side *buckets, counts []uint64, low int32, room []uint64) []uint64 {
		counts, low = trim(counts, low)
		for _, c := range counts {
			ok = ok && total+c >= total
			total += c
		}
		room = append(room[:0], counts...)
		if len(room) == 0 {
			return room
		}
		high := int64(low) + int64(len(room)) - 1
		// The exponents of float64 are -1074 to 1024.
		least, greatest := int64(-1075)<<maxScale, int64(1024)<<maxScale
		if by := s.histogram.shift; int64(low)>>finer < least>>by || high>>finer > greatest>>by {
			ok = false
			return room
		}
		fold(room, low, finer)
		*side = buckets{low: low >> finer, wide: room[:high>>finer-int64(low>>finer)+1]}
		return room
	}
	s.positive = count(&s.histogram.positive, h.Positive, h.PositiveLow, s.positive)
	s.negative = count(&s.histogram.negative, h.Negative, h.NegativeLow, s.negative)
	if !ok || total != h.Count {
		return nil
	}
	return &s.histogram
}

// trim leaves out the empty buckets at both ends.
func trim(counts []uint64, low int32) ([]uint64, int32) {
	for len(counts) > 0 && counts[0] == 0 {
		counts, low = counts[1:], low+1
	}
	for len(counts) > 0 && counts[len(counts)-1] == 0 {
		counts = counts[:len(counts)-1]
	}
	return counts, low
}
