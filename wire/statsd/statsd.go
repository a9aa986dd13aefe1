// Package statsd writes exports of metrics as StatsD's lines. Use New for a lane
// that a StatsD server, Datadog's agent or Telegraf is at the end of; the lane asks
// for delta exports.
//
//	              dogstatsd                      statsd            etsy
//	delta sum     name:v|c|#k:v|T1500000000      name:v|c|#k:v     name.k.v:v|c
//	gauge         name:v|g|#k:v|T1500000000      name:v|g|#k:v     name.k.v:v|g
//	histogram     name:v:v:v|d|@rate|#k:v        name:v|h|@rate|#k:v  name.k.v:v|ms|@rate
//
// StatsD adds up what it gets, so what counts since the start is dropped
// ("cumulative_temporality"), unless it may fall: that is a gauge. A sum of
// changes that may fall is a change of the gauge, in dogstatsd, which has none, a
// counter. A summary's quantiles are gauges with the tag quantile. A histogram is
// at most 50 values, each with a rate that says how often it occurred; rates are
// numbers of six digits, so that a server counts a value that occurred often not
// quite exactly. In etsy, seconds become milliseconds.
//
// No line is longer than a packet: tags that do not fit are left out, a name that
// does not is dropped ("too_long").
package statsd

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strconv"

	"slipstream/telemetry"
	"slipstream/wire"
	"slipstream/wire/otlpread"
)

// Dialect is which StatsD.
type Dialect string

// The dialects.
const (
	DogStatsD Dialect = "dogstatsd" // with tags, lists of values (1.1) and times (1.3)
	StatsD    Dialect = "statsd"    // with tags, as Telegraf and statsd_exporter read them
	Etsy      Dialect = "etsy"      // the first: tags are parts of the name
)

// MaxLine is how long a line gets, in bytes: a packet that no network cuts.
const MaxLine = 1432

const maxCentroids = 50

// Options say how lines are written.
type Options struct {
	Dialect Dialect
	// Tags are the resource's attributes that become tags, but for Etsy.
	Tags []string
}

// Encoder collects exports and makes one body of them. It is safe for
// concurrent use.
type Encoder struct {
	wire.OTLPExports
	options Options
}

// New makes an encoder.
func New(o Options) (*Encoder, error) {
	if !slices.Contains([]Dialect{DogStatsD, StatsD, Etsy}, o.Dialect) {
		return nil, fmt.Errorf("option format=%q: unknown (use dogstatsd, statsd or etsy)", o.Dialect)
	}
	return &Encoder{options: o}, nil
}

// ContentType is that of lines.
func (*Encoder) ContentType() string { return "text/plain" }

// Extension is that of a file of lines.
func (*Encoder) Extension() string { return ".statsd.txt" }

// AppendBody appends the lines of a batch of exports.
func (e *Encoder) AppendBody(dst, records []byte, drop func(reason string, n int)) []byte {
	var r otlpread.Reader
	w := writer{options: &e.options, drop: drop, dst: dst}
	if err := r.Metrics(records, w.point); err != nil {
		drop("unreadable", 1)
	}
	return w.dst
}

type writer struct {
	options    *Options
	drop       func(string, int)
	dst        []byte
	name, tail []byte // what stands before and after the value
	text       []byte
	centroids  []telemetry.Centroid
}

func (w *writer) point(p *otlpread.Point) {
	switch {
	case len(p.Name) == 0:
		w.drop("no_name", 1)
		return
	case p.Missing:
		return
	case p.Temporality == otlpread.Cumulative && (p.Kind != otlpread.Sum || p.Monotonic):
		w.drop("cumulative_temporality", 1)
		return
	}
	if !w.begin(p) {
		w.drop("too_long", 1)
		return
	}
	switch p.Kind {
	case otlpread.Gauge:
		w.gauge(p, p.Value)
	case otlpread.Sum:
		w.sum(p)
	case otlpread.Summary:
		w.summary(p)
	default:
		w.histogram(p)
	}
}

func (w *writer) sum(p *otlpread.Point) {
	switch {
	case p.Temporality != otlpread.Delta:
		w.gauge(p, p.Value)
	case p.Monotonic || w.options.Dialect == DogStatsD:
		w.line(p, "", p.Value, "|c", true)
	case p.Value >= 0:
		w.line(p, "+", p.Value, "|g", false)
	default:
		w.line(p, "", p.Value, "|g", false)
	}
}

// gauge sets a gauge. A sign would change it, so what is below zero is zero first.
func (w *writer) gauge(p *otlpread.Point, v float64) {
	if v < 0 && w.options.Dialect != DogStatsD {
		w.line(p, "", 0, "|g", true)
	}
	w.line(p, "", v, "|g", true)
}

func (w *writer) summary(p *otlpread.Point) {
	name, tail := len(w.name), len(w.tail)
	for _, q := range p.Quantiles {
		w.text = strconv.AppendFloat(w.text[:0], q.Quantile, 'g', -1, 64)
		w.tag([]byte("quantile"), w.text)
		w.gauge(p, q.Value)
		w.name, w.tail = append(w.name[:name-1], ':'), w.tail[:tail] // Etsy's tag took the colon's place
	}
}

func (w *writer) histogram(p *otlpread.Point) {
	kind, factor := "|d", 1.0
	switch w.options.Dialect {
	case StatsD:
		kind = "|h"
	case Etsy:
		if kind = "|ms"; string(p.Unit) == "s" {
			factor = 1000
		}
	}
	w.centroids = p.Centroids(w.centroids[:0], maxCentroids)
	// In dogstatsd values of one rate stand in one line.
	slices.SortStableFunc(w.centroids, func(a, b telemetry.Centroid) int {
		switch {
		case a.Count < b.Count:
			return -1
		case a.Count > b.Count:
			return 1
		}
		return 0
	})
	room := MaxLine - len(w.name) - len(w.tail) - len("|ms|@0.000001")
	for i := 0; i < len(w.centroids); {
		count := w.centroids[i].Count
		w.text = w.text[:0]
		for first := true; i < len(w.centroids) && w.centroids[i].Count == count; i++ {
			v := w.centroids[i].Value * factor
			if math.IsNaN(v) || math.IsInf(v, 0) {
				continue
			}
			before := len(w.text)
			if !first {
				w.text = append(w.text, ':')
			}
			w.text = strconv.AppendFloat(w.text, v, 'g', -1, 64)
			if len(w.text) > room || !first && w.options.Dialect != DogStatsD {
				w.text = w.text[:before]
				break
			}
			first = false
		}
		if len(w.text) == 0 {
			continue
		}
		dst := append(append(append(w.dst, w.name...), w.text...), kind...)
		if count > 1 {
			dst = strconv.AppendFloat(append(dst, "|@"...), max(1/count, 1e-6), 'g', 6, 64)
		}
		w.dst = append(append(dst, w.tail...), '\n')
	}
}

// line writes one value.
func (w *writer) line(p *otlpread.Point, sign string, v float64, kind string, timed bool) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		w.drop("not_a_number", 1)
		return
	}
	dst := append(append(w.dst, w.name...), sign...)
	dst = append(append(strconv.AppendFloat(dst, v, 'f', -1, 64), kind...), w.tail...)
	if at := p.Time; timed && w.options.Dialect == DogStatsD && at > 0 && at <= math.MaxInt64 {
		dst = strconv.AppendUint(append(dst, "|T"...), at/1e9, 10)
	}
	w.dst = append(dst, '\n')
}

// maxNumber is room for the value, the kind, the rate and the time: of a value
// near the largest float64, 310 digits.
const maxNumber = 350

// begin writes the name and the tags of a point; false if the name is too long.
func (w *writer) begin(p *otlpread.Point) bool {
	w.name, w.tail = appendClean(w.name[:0], p.Name), w.tail[:0]
	if len(w.name) > MaxLine/2 {
		return false
	}
	if w.options.Dialect != Etsy {
		w.name = append(w.name, ':')
	}
	for key, v := range p.Attributes.All() {
		w.text = v.AppendText(w.text[:0])
		w.tag(key, w.text)
	}
	if w.options.Dialect == Etsy {
		w.name = append(w.name, ':')
		return true
	}
	for key, v := range p.Resource.All() {
		if slices.Contains(w.options.Tags, string(key)) {
			if _, own := p.Attributes.Get(string(key)); !own {
				w.text = v.AppendText(w.text[:0])
				w.tag(key, w.text)
			}
		}
	}
	return true
}

// tag adds a tag, if there is room for it.
func (w *writer) tag(key, value []byte) {
	if len(w.name)+len(w.tail)+len(key)+len(value)+len("|#:") > MaxLine-maxNumber || len(key) == 0 {
		return
	}
	if w.options.Dialect == Etsy { // before the colon, which stands there already for a summary's
		name, colon := bytes.CutSuffix(w.name, []byte(":"))
		name = appendPart(append(name, '.'), key)
		if name = appendPart(append(name, '.'), value); colon {
			name = append(name, ':')
		}
		w.name = name
		return
	}
	separator := ","
	if len(w.tail) == 0 {
		separator = "|#"
	}
	w.tail = append(appendClean(append(w.tail, separator...), key), ':')
	start := len(w.tail)
	w.tail = append(w.tail, value...)
	for i, c := range w.tail[start:] {
		if c < ' ' || c == ',' || c == '|' {
			w.tail[start+i] = '_'
		}
	}
}

// appendClean appends a name or a key with _ for what would end it.
func appendClean(dst, text []byte) []byte {
	for _, c := range text {
		if c <= ' ' || c == ':' || c == '|' || c == '@' || c == '#' || c == ',' || c == 0x7f {
			c = '_'
		}
		dst = append(dst, c)
	}
	return dst
}

// appendPart appends a part of one of Etsy's names, which have letters, digits,
// - and _ between their dots.
func appendPart(dst, text []byte) []byte {
	if len(text) == 0 {
		return append(dst, '_')
	}
	for _, c := range text {
		if legal := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-'; !legal {
			c = '_'
		}
		dst = append(dst, c)
	}
	return dst
}
