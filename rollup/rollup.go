// Package rollup turns points into bins: what each series was within a minute,
// as a sum, a histogram, a set or a last value. Use a Rollup where points come in
// and leave as few data points as possible, none of which overwrites another. It
// is pure: no clock, no files, no goroutines; everything takes now.
package rollup

import (
	"math"
	"slices"
	"time"

	"slipstream/telemetry"
	"slipstream/wire/metrics"
)

// Config is how a Rollup works. The zero Config is the default.
type Config struct {
	Width    time.Duration // of a bin: 10 s, a minute (default), an hour, a day
	Lateness time.Duration // how long after its end a bin waits for late points; default 5 s, negative for none
	// Source is that of points which name none; empty for none.
	Source string
	// LastOnly leaves out the summaries of gauges that had several points in a bin.
	LastOnly bool
	// Sketches adds to each set its registers, as attribute slipstream.hll.
	Sketches bool
	// Cumulative keeps running totals too, for AppendExport.
	Cumulative bool
	// Journal writes down what Add does, for Flush.
	Journal bool

	MaxBuckets    int           // of a side of a histogram, twice that from scale 5 on; default 320: six decades at 2.2 %
	MaxSeries     int           // of a bin, and of the totals; default 2,000
	MaxBins       int           // that are open; default 16
	MaxBytes      int           // of memory, about; default 8 MiB
	MaxTags       int           // of a series; default 64
	MaxNameBytes  int           // default 1,023
	MaxKeyBytes   int           // of a tag; default 255
	MaxValueBytes int           // of a tag, source, unit, description; default 1,024
	MaxPast       time.Duration // how old a point may be; default 1 h
	MaxFuture     time.Duration // default 10 min
}

// withDefaults fills in what is zero.
func (c Config) withDefaults() Config {
	ints := []struct {
		field *int
		value int
	}{
		{&c.MaxBuckets, 320}, {&c.MaxSeries, 2000}, {&c.MaxBins, 16}, {&c.MaxBytes, 8 << 20}, {&c.MaxTags, 64},
		{&c.MaxNameBytes, 1023}, {&c.MaxKeyBytes, 255}, {&c.MaxValueBytes, 1024},
	}
	for _, i := range ints {
		if *i.field <= 0 {
			*i.field = i.value
		}
	}
	durations := []struct {
		field *time.Duration
		value time.Duration
	}{
		{&c.Width, time.Minute}, {&c.MaxPast, time.Hour}, {&c.MaxFuture, 10 * time.Minute}, {&c.Lateness, 5 * time.Second},
	}
	for _, d := range durations {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	c.Lateness = max(c.Lateness, 0)
	c.MaxBuckets = max(c.MaxBuckets, 2)
	c.MaxTags = min(c.MaxTags, maxSorted-1)
	return c
}

// Counts is what became of the points.
type Counts struct {
	Points     int // that are in a bin
	Overflowed int // of those, in the series of what is over a limit
	// Clamped are points put into now's bin, by reason: time_past, time_future,
	// bins (too many minutes at once).
	Clamped map[string]int
	// Dropped are points that Add was false for, by reason: not_finite, histogram (one
	// that contradicts itself), time_past and time_future (gauges: an old value is
	// not the last one), overflow (more names than there may be overflow series).
	Dropped map[string]int
	// Mixed are names that came as several kinds, the first 32: each kind is a
	// series of its own.
	Mixed []string
}

// Rollup collects points. It serves one goroutine at a time.
type Rollup struct {
	config Config
	bins   []*Bin // that are open
	last   *Bin   // of the last point; may be nil
	bytes  int    // of memory, about
	counts Counts
	parts  []part // of bins that were closed lately
	totals *totals

	key   []byte // of the point at hand
	order []int  // of its tags
	hist  scratch
}

// New gives an empty Rollup.
func New(c Config) *Rollup {
	r := &Rollup{config: c.withDefaults(), counts: Counts{Clamped: map[string]int{}, Dropped: map[string]int{}}}
	if c.Cumulative {
		r.totals = &totals{index: map[string]int32{}}
	}
	return r
}

// Counts gives what became of the points until now. Its maps are the Rollup's.
func (r *Rollup) Counts() Counts { return r.counts }

// Bytes is about how much memory the open bins take.
func (r *Rollup) Bytes() int { return r.bytes }

// Oldest is when the first point came that is in an open bin; zero for none.
func (r *Rollup) Oldest() (at time.Time) {
	for _, b := range r.bins {
		if at.IsZero() || b.oldest.Before(at) {
			at = b.oldest
		}
	}
	return at
}

// Due is when Close has something to do, if no point comes: when the first open
// bin is over; zero for none. It is at once while there is too much in memory.
func (r *Rollup) Due() (at time.Time) {
	for _, b := range r.bins {
		end := b.start.Add(b.width + r.config.Lateness)
		if r.full() {
			end = b.oldest
		}
		if at.IsZero() || end.Before(at) {
			at = end
		}
	}
	return at
}

// full tells whether memory is so short that bins should go.
func (r *Rollup) full() bool { return r.bytes > r.config.MaxBytes/4*3 }

// Add takes one point. It is false if the point is nowhere, which is counted.
func (r *Rollup) Add(p *telemetry.Point, now time.Time) bool {
	kind, reason := classify(p)
	if reason != "" {
		r.counts.Dropped[reason]++
		return false
	}
	return r.add(p, kind, nil, now)
}

// AddHistogram takes a Distribution that was counted already: of the point only
// its identity and its time count.
func (r *Rollup) AddHistogram(p *telemetry.Point, h *metrics.Histogram, now time.Time) bool {
	other := r.hist.read(h)
	if other == nil {
		r.counts.Dropped["histogram"]++
		return false
	}
	return r.add(p, distributionClass, other, now)
}

func (r *Rollup) add(p *telemetry.Point, kind class, other *histogram, now time.Time) bool {
	at, ok := r.place(p, now)
	if !ok {
		return false
	}
	b := r.binOf(at, p.Bin, now)
	n, ok := r.seriesOf(b, p, kind)
	if !ok {
		r.counts.Dropped["overflow"]++
		return false
	}
	r.counts.Points++
	b.points++
	if b.oldest.IsZero() || now.Before(b.oldest) {
		b.oldest = now
	}
	grew := 0
	switch kind {
	case gaugeClass:
		b.gauge(n, p.Value, at.UnixNano())
	case changeClass, counterClass:
		b.sum(n, p.Value)
	case distributionClass:
		grew = b.distribution(n, p, other)
	case setClass:
		grew = b.member(n, placeOf(p.Member))
	}
	b.bytes += grew
	r.bytes += grew
	return true
}

// class is what a series is: its kind, but that a counter which goes down is one
// of changes.
type class uint8

const (
	gaugeClass class = iota
	changeClass
	counterClass
	distributionClass
	setClass
	classes
)

// kinds is what each class is written as.
var kinds = [classes]telemetry.PointKind{telemetry.Gauge, telemetry.GaugeChange, telemetry.Counter,
	telemetry.Distribution, telemetry.Set}

// classify gives the point's class, or why it cannot be kept.
func classify(p *telemetry.Point) (k class, reason string) {
	switch p.Kind {
	case telemetry.Gauge:
		k = gaugeClass
	case telemetry.GaugeChange:
		k = changeClass
	case telemetry.Counter:
		if k = counterClass; p.Value < 0 {
			k = changeClass
		}
	case telemetry.Set:
		return setClass, ""
	case telemetry.Distribution:
		for i := range p.Centroids {
			if !finite(p.Centroids[i].Value) || !finite(p.Centroids[i].Count) {
				return 0, "not_finite"
			}
		}
		if k = distributionClass; len(p.Centroids) > 0 {
			return k, ""
		}
		if !finite(p.Count) {
			return 0, "not_finite"
		}
	default:
		return 0, "kind"
	}
	if !finite(p.Value) {
		return 0, "not_finite"
	}
	return k, ""
}

func finite(v float64) bool { return v-v == 0 }

// place gives the point's time. A sum stays right when an impossible time is
// taken for now; a gauge would overwrite the last value.
func (r *Rollup) place(p *telemetry.Point, now time.Time) (at time.Time, ok bool) {
	reason := ""
	switch {
	case p.Time.IsZero():
		return now, true
	case p.Time.Before(now.Add(-r.config.MaxPast)):
		reason = "time_past"
	case p.Time.After(now.Add(r.config.MaxFuture)):
		reason = "time_future"
	default:
		return p.Time, true
	}
	if p.Kind == telemetry.Gauge {
		r.counts.Dropped[reason]++
		return now, false
	}
	r.counts.Clamped[reason]++
	return now, true
}

// binOf gives the open bin for a point. A distribution that covers more than a
// bin's width has a bin of that width, a day at most.
func (r *Rollup) binOf(at time.Time, covers time.Duration, now time.Time) *Bin {
	width := max(r.config.Width, min(covers, 24*time.Hour))
	if b := r.last; b != nil && b.width == width && b.holds(at) {
		return b
	}
	for _, b := range r.bins {
		if b.width == width && b.holds(at) {
			r.last = b
			return b
		}
	}
	start := floor(at, width)
	if len(r.bins) >= r.config.MaxBins && (width != r.config.Width || start != floor(now, width)) {
		r.counts.Clamped["bins"]++
		return r.binOf(now, 0, now)
	}
	b := newBin(r, start, width)
	r.bins = append(r.bins, b)
	r.last = b
	return b
}

// floor is the start of the bin that holds at: bins of a width begin with 1970.
func floor(at time.Time, width time.Duration) time.Time {
	nanos := at.UnixNano()
	into := nanos % int64(width)
	if into < 0 {
		into += int64(width)
	}
	return time.Unix(0, nanos-into)
}

// Close gives the bins that are over, all with all true, the oldest first. They
// take no more points: what comes later for the same minute begins another one.
func (r *Rollup) Close(now time.Time, all bool) (closed []*Bin) {
	all = all || r.full()
	open := r.bins[:0]
	for _, b := range r.bins {
		switch over := !now.Before(b.start.Add(b.width + r.config.Lateness)); {
		case !over && !all:
			open = append(open, b)
		case b.points == 0: // its points were dropped
			r.bytes -= b.bytes
		default:
			closed = append(closed, b)
		}
	}
	clear(r.bins[len(open):])
	r.bins, r.last = open, nil
	slices.SortStableFunc(closed, func(a, b *Bin) int { return a.start.Compare(b.start) })
	for _, b := range closed {
		r.bytes -= b.bytes
		b.from, b.to = r.span(b, now)
		r.addTotals(b)
	}
	return closed
}

// part is what is remembered of a bin that was closed, for the next one of the
// same minute.
type part struct {
	start time.Time
	width time.Duration
	until time.Time
	n     int
}

// maxParts is how many of them are remembered.
const maxParts = 64

// span is what the data points of a bin being closed cover. A bin that is over
// ends with its end, one that is closed before that ends now, and its next part
// begins there. What comes for a minute that was over already starts with the
// minute and ends a millisecond earlier each time: readers that keep one point a
// series and time keep each of them.
func (r *Rollup) span(b *Bin, now time.Time) (from, to time.Time) {
	end := b.start.Add(b.width)
	from, to = b.start, end
	if now.Before(end) {
		to = now
	}
	if !to.After(from) { // it is of the future
		to = end
	}
	i := slices.IndexFunc(r.parts, func(p part) bool { return p.start.Equal(b.start) && p.width == b.width })
	if i < 0 {
		if len(r.parts) == maxParts {
			r.parts = slices.Delete(r.parts, 0, 1)
		}
		r.parts = append(r.parts, part{start: b.start, width: b.width, until: to})
		return from, to
	}
	p := &r.parts[i]
	if to.After(p.until) {
		from, p.until = p.until, to
		return from, to
	}
	p.n++
	back := time.Duration(p.n) * time.Millisecond % b.width
	return from, end.Add(-back)
}

// wholeCount is how often a value occurred: at least once, rounded, as
// wire.Points does it.
func wholeCount(n float64) uint64 {
	if !(n > 1) {
		return 1
	}
	return uint64(math.Round(min(n, 1<<53)))
}
