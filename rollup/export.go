package rollup

import (
	"slices"
	"strings"
	"time"

	"slipstream/telemetry"
	"slipstream/wire/metrics"
)

// summarySuffix is what the summary of a gauge is called after it.
const summarySuffix = ".summary"

// AppendExport appends a closed bin to dst as an ExportMetricsServiceRequest of
// its own, whose resources are to be completed. Equal bins give equal bytes.
//
//   - Counters are monotonic delta Sums, changes delta Sums that are not.
//   - Distributions are delta ExponentialHistograms.
//   - Gauges are Gauges of the last value, at its time. One that had several
//     values has a summary too: NAME.summary, a delta Histogram without buckets,
//     of their count, sum, min and max.
//   - Sets are Gauges of the estimate. Parts of a minute do not add up: with
//     Config.Sketches a reader may merge them.
func (b *Bin) AppendExport(dst []byte) telemetry.Export {
	w := metrics.Writer{Scope: scopeName}
	var p telemetry.Point
	var h metrics.Histogram
	span := metrics.Span{Start: b.from, End: b.to}
	for _, c := range b.inOrder() {
		if _, ok := readKey([]byte(c.key), &p); !ok {
			continue // only a bug makes such a key
		}
		switch c.class {
		case gaugeClass:
			b.appendGauge(&w, &p, &b.gauges[c.at])
		case setClass:
			b.appendSet(&w, &p, &b.sets[c.at])
		case distributionClass:
			b.histograms[c.at].copyTo(&h)
			w.Append(&p, &h, span)
		default:
			p.Value = b.sums[c.at].value()
			w.Append(&p, nil, span)
		}
	}
	b.appendSummaries(&w, span)
	return w.Export(dst)
}

// AppendCumulative does the same with running totals since begin, which must
// stay the same, until now, instead of deltas. It takes Config.Cumulative.
// Gauges and sets are those of the bin.
func (b *Bin) AppendCumulative(dst []byte, begin, now time.Time) telemetry.Export {
	w := metrics.Writer{Scope: scopeName}
	var p telemetry.Point
	var h metrics.Histogram
	span := metrics.Span{Start: begin, End: now, Cumulative: true}
	written := map[string]bool{} // several series may be one in the totals
	for _, c := range b.inOrder() {
		if _, ok := readKey([]byte(c.key), &p); !ok {
			continue
		}
		switch c.class {
		case gaugeClass:
			b.appendGauge(&w, &p, &b.gauges[c.at])
			continue
		case setClass:
			b.appendSet(&w, &p, &b.sets[c.at])
			continue
		}
		total := b.rollup.totals.of(c.key)
		if total == nil || written[total.key] {
			continue
		}
		written[total.key] = true
		if total.key != c.key {
			readKey([]byte(total.key), &p)
		}
		if c.class == distributionClass {
			total.histogram.copyTo(&h)
		} else {
			p.Value = total.sum.value()
		}
		w.Append(&p, &h, span)
	}
	return w.Export(dst)
}

// inOrder gives the series by their keys, so those of one metric together.
func (b *Bin) inOrder() []cell {
	cells := slices.Clone(b.cells)
	slices.SortFunc(cells, func(a, b cell) int { return strings.Compare(a.key, b.key) })
	return cells
}

func (b *Bin) appendGauge(w *metrics.Writer, p *telemetry.Point, g *gauge) {
	p.Value = g.last
	w.Append(p, nil, metrics.Span{End: time.Unix(0, g.at)})
}

func (b *Bin) appendSet(w *metrics.Writer, p *telemetry.Point, s *set) {
	p.Value = s.estimate()
	if b.rollup.config.Sketches {
		const anyBytes = 7<<3 | 2
		sketch := s.appendSketch(nil)
		value := appendText([]byte{anyBytes}, sketch)
		p.Tags = append(p.Tags, telemetry.Tag{Key: []byte(attributeSketch), Value: value, Typed: true})
	}
	w.Append(p, nil, metrics.Span{End: b.to})
}

// appendSummaries appends those of the gauges that had several values.
func (b *Bin) appendSummaries(w *metrics.Writer, span metrics.Span) {
	if b.rollup.config.LastOnly {
		return
	}
	var p telemetry.Point
	for _, c := range b.inOrder() {
		if c.class != gaugeClass || b.gauges[c.at].count < 2 {
			continue
		}
		g := &b.gauges[c.at]
		readKey([]byte(c.key), &p)
		p.Kind = telemetry.Distribution
		p.Name = append(slices.Clip(p.Name), summarySuffix...)
		h := metrics.Histogram{Count: g.count, Sum: g.sum.value(), Min: g.min, Max: g.max, NoBuckets: true}
		w.Append(&p, &h, span)
	}
}

// copyTo writes the histogram in OTLP's form.
func (h *histogram) copyTo(to *metrics.Histogram) {
	*to = metrics.Histogram{Scale: maxScale - int32(h.shift), Count: h.count, Zeros: h.zeros, Sum: h.sum.value(),
		Min: h.min, Max: h.max, PositiveLow: h.positive.low, Positive: h.positive.copyTo(to.Positive[:0]),
		NegativeLow: h.negative.low, Negative: h.negative.copyTo(to.Negative[:0])}
}

func (b *buckets) copyTo(to []uint64) []uint64 {
	for i := range b.len() {
		to = append(to, b.at(i))
	}
	return to
}

// totals are what the series of sums and distributions were since the start.
type totals struct {
	index map[string]int32
	all   []total
	over  int // of them, those for what is over the limit
}

type total struct {
	key       string
	sum       sum
	histogram histogram
}

// of gives the total that a series is part of, nil for none.
func (t *totals) of(key string) *total {
	if t == nil {
		return nil
	}
	n, ok := t.index[key]
	if !ok {
		if n, ok = t.index[overflowKey(key)]; !ok {
			return nil
		}
	}
	return &t.all[n]
}

// overflowKey is the key of the overflow series of a key's name.
func overflowKey(key string) string {
	var p telemetry.Point
	k, _ := readKey([]byte(key), &p)
	p.Tags, p.Source = []telemetry.Tag{overflowTag}, nil
	over, _ := appendKey(nil, &p, k, "", nil)
	return string(over)
}

// addTotals adds a closed bin. Series over the limit go to the overflow of their
// name, and no further than an eighth more.
func (r *Rollup) addTotals(b *Bin) {
	t := r.totals
	if t == nil {
		return
	}
	for _, c := range b.cells {
		if c.class == gaugeClass || c.class == setClass {
			continue
		}
		to := t.of(c.key)
		if to == nil {
			key, limit := c.key, r.config.MaxSeries
			if len(t.all)-t.over >= limit {
				if t.over > limit/8 {
					r.counts.Dropped["total_overflow"]++
					continue
				}
				key = overflowKey(key)
				t.over++
			}
			t.index[key] = int32(len(t.all))
			t.all = append(t.all, total{key: key})
			to = &t.all[len(t.all)-1]
		}
		if c.class == distributionClass {
			to.histogram.merge(&b.histograms[c.at], r.config.MaxBuckets)
		} else {
			to.sum.merge(b.sums[c.at])
		}
	}
}
