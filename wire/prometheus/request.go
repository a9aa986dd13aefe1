package prometheus

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"hash/maphash"
	"math"
	"slices"
	"strconv"

	"slipstream/wire/otlpread"
)

// request is one that is being put together.
type request struct {
	options *Options
	drop    func(string, int)

	symbols map[string]uint32
	texts   []string // the symbols, by their references
	series  []series
	index   map[uint64]int // of series, by a hash of their labels
	refs    []uint32       // labels of the series, run together
	samples []sample
	kept    []byte // histograms, run together

	// Of the point at hand.
	p           *otlpread.Point
	time, start int64 // milliseconds
	told        bool  // it has a sample already
	text        []byte
	labels      []label
	extra       label // le or quantile
	sorted      []label
	key         []byte
	keyRefs     []uint32

	histogram, span, deltas, message []byte
}

// series is its labels, a part of request.refs, and what is known of it.
type series struct {
	from, to   int
	kind       uint64
	unit, help uint32
}

// sample is one value of a series, or one histogram.
type sample struct {
	series      int
	time, start int64
	value       float64
	from, to    int // of request.kept
	counts      bool
}

// label is a part of request.text.
type label struct{ name, value []byte }

// seed hashes the labels; nothing that is written depends on it.
var seed = maphash.MakeSeed()

func newRequest(o *Options, drop func(string, int)) *request {
	w := &request{options: o, drop: drop, symbols: map[string]uint32{}, index: map[uint64]int{}}
	w.symbol(nil) // the first symbol is the empty text
	return w
}

func (w *request) symbol(text []byte) uint32 {
	if ref, ok := w.symbols[string(text)]; ok {
		return ref
	}
	ref := uint32(len(w.texts))
	w.texts = append(w.texts, string(text))
	w.symbols[w.texts[ref]] = ref
	return ref
}

// begin reads the labels that all samples of a point have.
func (w *request) begin(p *otlpread.Point) {
	w.p, w.time, w.start, w.told = p, int64(p.Time/1e6), 0, false
	if p.Start > 0 && p.Start <= p.Time {
		w.start = int64(p.Start / 1e6)
	}
	w.text, w.labels, w.extra = w.text[:0], w.labels[:0], label{}
	for key, v := range p.Attributes.All() {
		w.label(key, v)
	}
	own := len(w.labels)
	for key, v := range p.Resource.All() {
		if slices.Contains(w.options.Tags, string(key)) {
			w.label(key, v)
		}
	}
	w.job(p.Resource)
	w.instance(p.Resource)
	w.unique(own)
}

func (w *request) label(key []byte, v otlpread.Value) {
	start := len(w.text)
	w.text = appendLabelName(w.text, key, w.options.UTF8)
	middle := len(w.text)
	w.text = v.AppendText(w.text)
	l := label{w.text[start:middle:middle], w.text[middle:len(w.text):len(w.text)]}
	if len(l.name) > 0 && len(l.value) > 0 {
		w.labels = append(w.labels, l)
	}
}

func (w *request) job(resource otlpread.Attributes) {
	start := len(w.text)
	if v, ok := resource.Get("service.namespace"); ok {
		w.text = append(v.AppendText(w.text), '/')
	}
	if v, ok := resource.Get("service.name"); ok {
		w.text = v.AppendText(w.text)
	}
	if value := w.text[start:len(w.text):len(w.text)]; len(value) > 0 {
		w.labels = append(w.labels, label{jobName, value})
	}
}

func (w *request) instance(resource otlpread.Attributes) {
	for _, key := range [...]string{"service.instance.id", "faas.instance"} {
		if v, ok := resource.Get(key); ok {
			start := len(w.text)
			w.text = v.AppendText(w.text)
			w.labels = append(w.labels, label{instanceName, w.text[start:len(w.text):len(w.text)]})
			return
		}
	}
}

// unique puts the labels in order and makes one of those of one name: a point's
// own attributes, which are the first, are joined; others give way to them.
func (w *request) unique(own int) {
	for i := own; i < len(w.labels); i++ {
		if slices.ContainsFunc(w.labels[:own], func(l label) bool { return bytes.Equal(l.name, w.labels[i].name) }) {
			w.labels = slices.Delete(w.labels, i, i+1)
			i--
		}
	}
	slices.SortStableFunc(w.labels, func(a, b label) int { return bytes.Compare(a.name, b.name) })
	to := 0
	for i, l := range w.labels {
		if i == 0 || !bytes.Equal(w.labels[to-1].name, l.name) {
			w.labels[to] = l
			to++
			continue
		}
		start := len(w.text)
		w.text = append(append(append(w.text, w.labels[to-1].value...), ';'), l.value...)
		w.labels[to-1].value = w.text[start:len(w.text):len(w.text)]
	}
	w.labels = w.labels[:to]
}

// with sets the label of the next sample that says which part of the point it is.
func (w *request) with(name string, v float64) {
	start := len(w.text)
	w.text = append(w.text, name...)
	middle := len(w.text)
	if math.IsInf(v, 1) {
		w.text = append(w.text, "+Inf"...)
	} else {
		w.text = strconv.AppendFloat(w.text, v, 'g', -1, 64)
	}
	w.extra = label{w.text[start:middle:middle], w.text[middle:len(w.text):len(w.text)]}
}

func (w *request) add(kind uint64, suffix string, value float64) {
	s := sample{series: w.find(kind, suffix), time: w.time, value: value, counts: !w.told}
	if kind != typeGauge {
		s.start = w.start
	}
	w.told = true
	w.samples = append(w.samples, s)
}

func (w *request) addHistogram(h []byte) {
	from := len(w.kept)
	w.kept = append(w.kept, h...)
	w.samples = append(w.samples, sample{series: w.find(typeHistogram, ""), time: w.time, from: from,
		to: len(w.kept), counts: true})
}

// find gives the series of the point's labels, a new one if need be.
func (w *request) find(kind uint64, suffix string) int {
	start := len(w.text)
	w.text = append(w.appendName(w.text, w.p, kind), suffix...)
	w.sorted = append(append(w.sorted[:0], label{metricName, w.text[start:len(w.text):len(w.text)]}), w.labels...)
	if w.extra.name != nil {
		w.sorted = slices.DeleteFunc(w.sorted, func(l label) bool { return bytes.Equal(l.name, w.extra.name) })
		w.sorted = append(w.sorted, w.extra)
	}
	slices.SortFunc(w.sorted, func(a, b label) int { return bytes.Compare(a.name, b.name) })
	w.extra = label{}
	w.key, w.keyRefs = w.key[:0], w.keyRefs[:0]
	for _, l := range w.sorted {
		for _, text := range [...][]byte{l.name, l.value} {
			ref := w.symbol(text)
			w.keyRefs = append(w.keyRefs, ref)
			w.key = binary.LittleEndian.AppendUint32(w.key, ref)
		}
	}
	for key := maphash.Bytes(seed, w.key); ; key++ {
		i, taken := w.index[key]
		if !taken {
			w.index[key] = len(w.series)
			from := len(w.refs)
			w.refs = append(w.refs, w.keyRefs...)
			w.series = append(w.series, series{from: from, to: len(w.refs), kind: kind,
				unit: w.symbol(w.p.Unit), help: w.symbol(w.p.Description)})
			return len(w.series) - 1
		}
		if s := w.series[i]; slices.Equal(w.refs[s.from:s.to], w.keyRefs) {
			return i
		}
	}
}

// The labels that are not attributes.
var metricName, jobName, instanceName = []byte("__name__"), []byte("job"), []byte("instance")

// appendTo appends the request; nothing if it has no series.
func (w *request) appendTo(dst []byte) []byte {
	if len(w.samples) == 0 {
		return dst
	}
	for _, text := range w.texts {
		dst = appendBytes(dst, 4, text)
	}
	slices.SortStableFunc(w.samples, func(a, b sample) int {
		return cmp.Or(cmp.Compare(a.series, b.series), cmp.Compare(a.time, b.time))
	})
	for i := 0; i < len(w.samples); {
		from := i
		for i < len(w.samples) && w.samples[i].series == w.samples[from].series {
			i++
		}
		dst = appendBytes(dst, 5, w.timeSeries(w.samples[from:i]))
	}
	return dst
}

// timeSeries writes one series with its samples, which are in order.
func (w *request) timeSeries(samples []sample) []byte {
	s := w.series[samples[0].series]
	w.span = w.span[:0]
	for _, ref := range w.refs[s.from:s.to] {
		w.span = binary.AppendUvarint(w.span, uint64(ref))
	}
	m := appendBytes(w.message[:0], 1, w.span)
	for i, one := range samples {
		if i+1 < len(samples) && samples[i+1].time == one.time {
			if one.counts {
				w.drop("superseded", 1)
			}
			continue
		}
		if one.to > 0 {
			m = appendBytes(m, 3, w.kept[one.from:one.to])
			continue
		}
		w.span = appendUint(appendDouble(w.span[:0], 1, one.value), 2, uint64(one.time))
		if one.start > 0 {
			w.span = appendUint(w.span, 3, uint64(one.start))
		}
		m = appendBytes(m, 2, w.span)
	}
	w.span = appendUint(w.span[:0], 1, s.kind)
	w.span = appendUint(appendUint(w.span, 3, uint64(s.help)), 4, uint64(s.unit))
	w.message = appendBytes(m, 5, w.span)
	return w.message
}
