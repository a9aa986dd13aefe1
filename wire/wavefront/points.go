package wavefront

import (
	"bytes"
	"hash/maphash"
	"math"
	"slices"
	"strconv"

	"slipstream/telemetry"
	"slipstream/wire/otlpread"
)

// points puts the points of a batch together.
type points struct {
	options       *Options
	drop          func(string, int)
	lines         []line
	index         map[uint64]int // of lines, by their key
	text          []byte         // names and tags of the lines
	distributions []byte
	tail          []byte // source and tags of the point at hand
	tags          int
	value         []byte
	centroids     []telemetry.Centroid
}

// line is one point, as long as another of its series and second may come.
type line struct {
	name, tail []byte // in points.text
	second     int64  // 0 for none
	time       uint64
	value      float64
}

// seed makes the keys of points.index; the order of lines is another matter.
var seed = maphash.MakeSeed()

func (w *points) point(p *otlpread.Point) {
	if len(p.Name) == 0 {
		w.drop("no_name", 1)
		return
	}
	if p.Missing {
		return // it says that there is nothing to say
	}
	w.readTail(p)
	switch p.Kind {
	case otlpread.Gauge:
		w.add(p, "", "", nil, p.Value, false)
	case otlpread.Sum:
		switch {
		case p.Temporality != otlpread.Delta:
			w.add(p, "", "", nil, p.Value, false)
		case p.Value < 0:
			w.drop("negative_delta", 1)
		case p.Value != 0:
			w.add(p, delta, "", nil, p.Value, true)
		}
	case otlpread.Summary:
		w.add(p, "", ".count", nil, float64(p.Count), false)
		w.add(p, "", ".sum", nil, p.Sum, false)
		for _, q := range p.Quantiles {
			w.add(p, "", "", w.tag("quantile", q.Quantile), q.Value, false)
		}
	default:
		if p.Temporality == otlpread.Delta {
			w.distribution(p)
		} else {
			w.cumulative(p)
		}
	}
}

const delta = "\u2206"

// readTail writes the source and the tags of a point: its own first, so that the
// resource's are what is left out where there are too many.
func (w *points) readTail(p *otlpread.Point) {
	w.value = w.options.source(w.value[:0], p.Resource, p.Attributes)
	w.tail, w.tags = appendSource(w.tail[:0], w.value), 0
	for key, v := range p.Attributes.All() {
		if string(key) != "source" {
			w.appendTag(key, v)
		}
	}
	for key, v := range p.Resource.All() {
		if slices.Contains(w.options.Tags, string(key)) {
			if _, own := p.Attributes.Get(string(key)); !own {
				w.appendTag(key, v)
			}
		}
	}
}

// appendTag appends a tag, if there is room for it and for le.
func (w *points) appendTag(key []byte, v otlpread.Value) {
	if w.tags >= maxTags-1 {
		return
	}
	w.value = v.AppendText(w.value[:0])
	tail, ok := appendTag(w.tail, key, w.value, maxTagKey, maxTag-min(len(key), maxTagKey)-1)
	if ok && len(tail) < maxLine-4*maxName {
		w.tail, w.tags = tail, w.tags+1
	}
}

// tag is one whose value is a number.
func (w *points) tag(key string, v float64) []byte {
	w.value = append(append(append(w.value[:0], ` "`...), key...), `"="`...)
	if math.IsInf(v, 1) {
		w.value = append(w.value, "+Inf"...)
	} else {
		w.value = appendNumber(w.value, v)
	}
	return append(w.value, '"')
}

// add takes one value; sums of one second are added, of other values the last stays.
func (w *points) add(p *otlpread.Point, prefix, suffix string, tag []byte, value float64, sum bool) {
	if math.IsNaN(value) || math.IsInf(value, 0) {
		w.drop("not_a_number", 1)
		return
	}
	l := line{second: second(p), time: p.Time, value: value}
	start := len(w.text)
	w.text = appendName(w.text, prefix, p.Name, suffix, maxName)
	middle := len(w.text)
	w.text = append(append(w.text, w.tail...), tag...)
	l.name, l.tail = w.text[start:middle:middle], w.text[middle:len(w.text):len(w.text)]
	key := maphash.Bytes(seed, w.text[start:]) + uint64(l.second)*0x9e3779b97f4a7c15
	for {
		i, taken := w.index[key]
		if !taken {
			w.index[key] = len(w.lines)
			w.lines = append(w.lines, l)
			return
		}
		have := &w.lines[i]
		if have.second != l.second || !bytes.Equal(have.name, l.name) || !bytes.Equal(have.tail, l.tail) {
			key++
			continue
		}
		w.text = w.text[:start]
		if sum {
			have.value += value
			return
		}
		w.drop("superseded", 1)
		if l.time >= have.time {
			have.value, have.time = value, l.time
		}
		return
	}
}

// second is the time that a line tells: of what covers an interval, one within
// it, so that a minute's sum is in that minute.
func second(p *otlpread.Point) int64 {
	at := p.Time
	if at > math.MaxInt64 { // beyond 2262
		return 0
	}
	if p.Start != 0 && p.Start < at && p.Temporality == otlpread.Delta {
		at--
	}
	return int64(at / 1e9)
}

// distribution writes a histogram of the minute, in as many lines as it takes:
// what comes later of a series and a minute is added.
func (w *points) distribution(p *otlpread.Point) {
	w.centroids = p.Centroids(w.centroids[:0], maxLines*maxCentroids)
	for _, c := range w.centroids {
		if math.IsNaN(c.Value) || math.IsInf(c.Value, 0) {
			w.drop("not_a_number", 1)
			return
		}
	}
	for some := range slices.Chunk(w.centroids, maxCentroids) {
		dst := append(w.distributions, "!M"...)
		if at := second(p); at > 0 {
			dst = strconv.AppendInt(append(dst, ' '), at-at%60, 10)
		}
		for _, c := range some {
			dst = strconv.AppendInt(append(dst, " #"...), int64(min(c.Count, math.MaxInt32)), 10)
			dst = appendNumber(append(dst, ' '), c.Value)
		}
		dst = appendName(append(dst, ' '), "", p.Name, "", maxName)
		w.distributions = append(append(dst, w.tail...), '\n')
	}
}

// cumulative writes a histogram since the start as points.
func (w *points) cumulative(p *otlpread.Point) {
	w.add(p, "", ".count", nil, float64(p.Count), false)
	if p.HasSum {
		w.add(p, "", ".sum", nil, p.Sum, false)
	}
	total, buckets := uint64(0), 0
	for b := range p.Buckets {
		total += b.Count
		if b.Count == 0 && p.Kind == otlpread.Exponential {
			continue
		}
		if buckets++; buckets > 4*maxCentroids {
			return
		}
		w.add(p, "", "", w.tag("le", b.High), float64(total), false)
	}
}

// appendTo appends all lines.
func (w *points) appendTo(dst []byte) []byte {
	for i := range w.lines {
		l := &w.lines[i]
		dst = appendNumber(append(append(dst, l.name...), ' '), l.value)
		if l.second > 0 {
			dst = strconv.AppendInt(append(dst, ' '), l.second, 10)
		}
		dst = append(append(dst, l.tail...), '\n')
	}
	return append(dst, w.distributions...)
}
