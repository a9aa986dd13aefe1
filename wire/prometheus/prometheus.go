// Package prometheus writes exports of metrics as requests of Prometheus' remote
// write 2.0 (io.prometheus.write.v2.Request). Use New for a lane that Prometheus,
// or what speaks its protocol, is at the end of; the lane asks for cumulative
// exports and compresses with Snappy.
//
//	gauge, sum that may fall     name_unit
//	cumulative monotonic sum     name_unit_total, with its start
//	exponential histogram        name_unit, a native histogram
//	explicit histogram           name_unit_bucket, _sum, _count
//	both, with Extremes          name_unit_min, name_unit_max, gauges
//	summary                      name_unit with quantile, _sum, _count
//
// Prometheus knows totals only, so a delta is dropped ("delta_temporality"): the
// encoder keeps nothing between batches. So is what has no time ("no_time") or no
// name ("no_name"), and a histogram coarser than Prometheus' coarsest
// ("histogram_scale"). Finer ones become Prometheus' finest. Of a series' values
// of one millisecond the last stays ("superseded"). Exemplars are left out.
//
// Labels are the point's attributes, job (service.namespace/service.name),
// instance (service.instance.id, else faas.instance), and the attributes of the
// resource that Options name. Series are written once each, their samples by
// time.
package prometheus

import (
	"encoding/binary"
	"math"

	"slipstream/wire"
	"slipstream/wire/otlpread"
)

// Options say what series are called.
type Options struct {
	// Tags are the resource's attributes that become labels.
	Tags []string
	// UTF8 keeps names as they are, with the unit's and _total's suffixes, as
	// Prometheus 3 allows it, instead of underscores for dots.
	UTF8 bool
	// Extremes adds two gauges to each histogram, name_unit_min and name_unit_max,
	// where the least and the greatest value are known: Prometheus' histograms have
	// no place for them.
	Extremes bool
}

// Encoder collects exports and makes one request of them. It is safe for
// concurrent use.
type Encoder struct {
	wire.OTLPExports
	options Options
}

// New makes an encoder.
func New(o Options) *Encoder { return &Encoder{options: o} }

// ContentType is that of remote write 2.0.
func (*Encoder) ContentType() string {
	return "application/x-protobuf;proto=io.prometheus.write.v2.Request"
}

// Extension is that of a request in a file.
func (*Encoder) Extension() string { return ".rw2.pb" }

// AppendBody appends the request of a batch of exports.
func (e *Encoder) AppendBody(dst, records []byte, drop func(reason string, n int)) []byte {
	var r otlpread.Reader
	w := newRequest(&e.options, drop)
	if err := r.Metrics(records, w.point); err != nil {
		drop("unreadable", 1)
	}
	return w.appendTo(dst)
}

// Types of Metadata.
const (
	typeCounter   = 1
	typeGauge     = 2
	typeHistogram = 3
	typeSummary   = 5
)

// staleNaN is the value that ends a series.
var staleNaN = math.Float64frombits(0x7ff0000000000002)

func (w *request) point(p *otlpread.Point) {
	switch {
	case len(p.Name) == 0:
		w.drop("no_name", 1)
		return
	case p.Time == 0 || p.Time > math.MaxInt64:
		w.drop("no_time", 1)
		return
	case p.Temporality == otlpread.Delta:
		w.drop("delta_temporality", 1)
		return
	}
	w.begin(p)
	if p.Missing {
		p.Value, p.Sum = staleNaN, staleNaN
	}
	switch p.Kind {
	case otlpread.Gauge:
		w.add(typeGauge, "", p.Value)
	case otlpread.Sum:
		if p.Monotonic {
			w.add(typeCounter, "", p.Value)
		} else {
			w.add(typeGauge, "", p.Value)
		}
	case otlpread.Exponential:
		w.native(p)
		w.extremes(p)
	case otlpread.Histogram:
		w.classic(p)
		w.extremes(p)
	case otlpread.Summary:
		w.add(typeSummary, "_sum", p.Sum)
		w.add(typeSummary, "_count", float64(p.Count))
		for _, q := range p.Quantiles {
			w.with("quantile", q.Quantile)
			w.add(typeSummary, "", q.Value)
		}
	}
}

// extremes writes what a histogram loses, if that is wanted.
func (w *request) extremes(p *otlpread.Point) {
	if !w.options.Extremes || p.Missing {
		return
	}
	w.told = true // the point is counted already
	if p.HasMin {
		w.add(typeGauge, "_min", p.Min)
	}
	if p.HasMax {
		w.add(typeGauge, "_max", p.Max)
	}
}

// classic writes a histogram with its own bounds.
func (w *request) classic(p *otlpread.Point) {
	if p.HasSum {
		w.add(typeHistogram, "_sum", p.Sum)
	}
	w.add(typeHistogram, "_count", float64(p.Count))
	total, last := uint64(0), math.Inf(-1)
	for b := range p.Buckets {
		total, last = total+b.Count, b.High
		w.with("le", b.High)
		w.add(typeHistogram, "_bucket", float64(total))
	}
	if !math.IsInf(last, 1) {
		w.with("le", math.Inf(1))
		w.add(typeHistogram, "_bucket", float64(p.Count))
	}
}

// Scales of native histograms, which Prometheus calls schemas.
const (
	finest   = 8
	coarsest = -4
	// zeroThreshold stands for OTLP's unset one, as in Prometheus' own receiver.
	zeroThreshold = 1e-128
)

// native writes an exponential histogram.
func (w *request) native(p *otlpread.Point) {
	if p.Scale < coarsest {
		w.drop("histogram_scale", 1)
		return
	}
	coarser := max(p.Scale-finest, 0)
	threshold := p.ZeroThreshold
	if !(threshold > 0) {
		threshold = zeroThreshold
	}
	total := p.Zero
	for _, list := range [...][]uint64{p.Positive.Counts, p.Negative.Counts} {
		for _, n := range list {
			total += n
		}
	}
	h := appendUint(w.histogram[:0], 1, max(total, p.Count))
	h = appendDouble(h, 3, p.Sum)
	h = appendUint(h, 4, zigzag(int64(p.Scale-coarser)))
	h = appendDouble(h, 5, threshold)
	h = appendUint(h, 6, p.Zero)
	h = w.appendBuckets(h, 8, 9, p.Negative, coarser)
	h = w.appendBuckets(h, 11, 12, p.Positive, coarser)
	h = appendUint(h, 15, uint64(int64(p.Time/1e6)))
	if w.start > 0 {
		h = appendUint(h, 17, uint64(w.start))
	}
	w.histogram = h
	w.addHistogram(h)
}

// maxGap is how many empty buckets are written rather than a new span begun.
const maxGap = 2

// appendBuckets appends the spans and the counts, each as the difference to the
// one before, of one sign. Prometheus' bucket i ends where OTLP's i-1 does.
func (w *request) appendBuckets(dst []byte, spans, deltas int, b otlpread.Buckets, coarser int32) []byte {
	w.deltas = w.deltas[:0]
	var before, length uint64
	offset, next := int64(0), int64(0) // of the open span; the bucket after it
	flush := func() {
		if length == 0 {
			return
		}
		span := appendUint(w.span[:0], 1, zigzag(offset))
		w.span = appendUint(span, 2, length)
		dst = appendBytes(dst, spans, w.span)
		length = 0
	}
	write := func(n uint64) {
		w.deltas = binary.AppendUvarint(w.deltas, zigzag(int64(n-before)))
		before = n
		length++
		next++
	}
	for i := 0; i < len(b.Counts); {
		index := (int64(b.Offset) + int64(i)) >> coarser
		count := uint64(0)
		for ; i < len(b.Counts) && (int64(b.Offset)+int64(i))>>coarser == index; i++ {
			count += b.Counts[i]
		}
		if count == 0 {
			continue
		}
		at := index + 1
		switch gap := at - next; {
		case length > 0 && gap <= maxGap:
			for ; gap > 0; gap-- {
				write(0)
			}
		default:
			flush()
			offset, next = gap, at
		}
		write(count)
	}
	flush()
	if len(w.deltas) > 0 {
		dst = appendBytes(dst, deltas, w.deltas)
	}
	return dst
}

func zigzag(n int64) uint64 { return uint64(n)<<1 ^ uint64(n>>63) }

func appendUint(dst []byte, field int, v uint64) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(dst, uint64(field)<<3), v)
}

func appendDouble(dst []byte, field int, v float64) []byte {
	return binary.LittleEndian.AppendUint64(binary.AppendUvarint(dst, uint64(field)<<3|1), math.Float64bits(v))
}

func appendBytes[T string | ~[]byte](dst []byte, field int, b T) []byte {
	return append(binary.AppendUvarint(binary.AppendUvarint(dst, uint64(field)<<3|2), uint64(len(b))), b...)
}
