// Package otlpread visits the data points, spans and log records of OTLP requests
// as they lie in their bytes. Use it where exports become another format; who only
// checks, counts or completes them does so in package wire, without reading numbers.
//
// A Reader allocates nothing once its lists have grown to what the requests hold.
// It expects what wire.CheckExport found right; of anything else it gives what it
// can read up to the flaw, and an error.
package otlpread

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/VictoriaMetrics/easyproto"
)

// Kind is the shape of a metric's data.
type Kind uint8

// Temporality says what a sum's or a histogram's numbers are since.
type Temporality uint8

// The shapes, as OTLP has them, and temporalities by its own numbers.
const (
	Gauge Kind = iota
	Sum
	Histogram
	Exponential
	Summary

	Unspecified Temporality = 0
	Delta       Temporality = 1
	Cumulative  Temporality = 2
)

// maxBuckets bounds the lists of one data point: SDKs make at most 320 buckets.
const maxBuckets = 16 << 10

// Point is one data point. What it holds is valid until the visit returns.
type Point struct {
	Resource, Attributes    Attributes
	Name, Unit, Description []byte
	Kind                    Kind
	Temporality             Temporality
	Monotonic               bool   // of a Sum
	Start, Time             uint64 // nanoseconds since 1970, 0 for unknown
	Missing                 bool   // OTLP's flag "no recorded value": the series ends here
	Value                   float64

	// What all but Gauge and Sum have.
	Count                  uint64
	Sum, Min, Max          float64
	HasSum, HasMin, HasMax bool

	Bounds []float64 // of a Histogram: rising; each the upper, inclusive end of its bucket
	Counts []uint64  // one more than Bounds, or none

	Scale              int32 // of an Exponential
	Zero               uint64
	ZeroThreshold      float64
	Positive, Negative Buckets

	Quantiles []Quantile // of a Summary
}

// Buckets are those of one sign of an exponential histogram: Counts[i] is of
// absolute values in (base^(Offset+i), base^(Offset+i+1)], base = 2^(2^-Scale).
type Buckets struct {
	Offset int32
	Counts []uint64
}

// Quantile is one of a Summary's.
type Quantile struct{ Quantile, Value float64 }

// When is the point's time, or now where it has none.
func (p *Point) When(now time.Time) time.Time {
	if p.Time == 0 || p.Time > math.MaxInt64 {
		return now
	}
	return time.Unix(0, int64(p.Time))
}

// Reader keeps the lists of what is visited, for one goroutine at a time.
type Reader struct {
	point Point
	span  Span
	err   error // the first flaw
}

// cursor steps through the fields of a message. Iterators would read better, but
// nested ones allocate.
type cursor struct {
	easyproto.FieldContext
	rest []byte
	data []byte // of child
}

// next reads the next field; false at the end and after a flaw.
func (c *cursor) next(flaw *error) bool {
	if len(c.rest) == 0 || *flaw != nil {
		return false
	}
	c.rest, *flaw = c.NextField(c.rest)
	return *flaw == nil
}

// child reads up to the next message with that number.
func (c *cursor) child(number uint32, flaw *error) bool {
	for c.next(flaw) {
		if data, ok := c.MessageData(); ok && c.FieldNum == number {
			c.data = data
			return true
		}
	}
	return false
}

// last gives the data of a message's last field with that number.
func last(message []byte, number uint32) (found []byte) {
	var fc easyproto.FieldContext
	for len(message) > 0 {
		var err error
		if message, err = fc.NextField(message); err != nil {
			return found
		}
		if fc.FieldNum == number {
			if data, ok := fc.MessageData(); ok {
				found = data
			}
		}
	}
	return found
}

// Metrics visits every data point of an ExportMetricsServiceRequest, or of
// several written one after the other.
func (r *Reader) Metrics(body []byte, visit func(*Point)) error {
	r.err = nil
	for request := (cursor{rest: body}); request.child(1, &r.err); {
		r.point.Resource = Attributes{message: last(request.data, 1), field: 1}
		for scopes := (cursor{rest: request.data}); scopes.child(2, &r.err); {
			for metrics := (cursor{rest: scopes.data}); metrics.child(2, &r.err); {
				r.metric(metrics.data, visit)
			}
		}
	}
	if r.err != nil {
		return fmt.Errorf("read OTLP metrics of %d bytes: %w", len(body), r.err)
	}
	return nil
}

// metric reads what a Metric's points have in common, wherever in it that
// stands, and then them.
func (r *Reader) metric(metric []byte, visit func(*Point)) {
	p := &r.point
	p.Name, p.Unit, p.Description = nil, nil, nil
	var data []byte
	shape := uint32(0)
	for fc := (cursor{rest: metric}); fc.next(&r.err); {
		content, ok := fc.MessageData()
		if !ok {
			continue
		}
		switch fc.FieldNum {
		case 1:
			p.Name = content
		case 2:
			p.Description = content
		case 3:
			p.Unit = content
		case 5, 7, 9, 10, 11:
			data, shape = content, fc.FieldNum
		}
	}
	p.Kind, p.Temporality, p.Monotonic = kindOf(shape), Unspecified, false
	for fc := (cursor{rest: data}); fc.next(&r.err); {
		switch fc.FieldNum {
		case 2:
			if n, ok := fc.Uint64(); ok && n <= uint64(Cumulative) {
				p.Temporality = Temporality(n)
			}
		case 3:
			p.Monotonic, _ = fc.Bool()
		}
	}
	for points := (cursor{rest: data}); points.child(1, &r.err); {
		if r.readPoint(points.data); r.err == nil {
			visit(p)
		}
	}
}

// kindOf is the shape that a field of Metric has.
func kindOf(field uint32) Kind {
	switch field {
	case 7:
		return Sum
	case 9:
		return Histogram
	case 10:
		return Exponential
	case 11:
		return Summary
	}
	return Gauge
}

// attributesField is where each kind of data point has its attributes.
var attributesField = [...]uint32{Gauge: 7, Sum: 7, Histogram: 9, Exponential: 1, Summary: 7}

// flagsField is where each has its flags.
var flagsField = [...]uint32{Gauge: 8, Sum: 8, Histogram: 10, Exponential: 10, Summary: 8}

func (r *Reader) readPoint(message []byte) {
	p := &r.point
	*p = Point{
		Resource: p.Resource, Name: p.Name, Unit: p.Unit, Description: p.Description,
		Kind: p.Kind, Temporality: p.Temporality, Monotonic: p.Monotonic,
		Attributes: Attributes{message: message, field: attributesField[p.Kind]},
		Bounds:     p.Bounds[:0], Counts: p.Counts[:0], Quantiles: p.Quantiles[:0],
		Positive: Buckets{Counts: p.Positive.Counts[:0]}, Negative: Buckets{Counts: p.Negative.Counts[:0]},
	}
	for fc := (cursor{rest: message}); fc.next(&r.err); {
		switch {
		case fc.FieldNum == p.Attributes.field:
		case fc.FieldNum == flagsField[p.Kind]:
			flags, _ := fc.Uint64()
			p.Missing = flags&1 != 0
		case fc.FieldNum == 2:
			p.Start, _ = fc.Fixed64()
		case fc.FieldNum == 3:
			p.Time, _ = fc.Fixed64()
		case p.Kind == Histogram:
			r.histogram(p, fc.FieldContext)
		case p.Kind == Exponential:
			r.exponential(p, fc.FieldContext)
		case p.Kind == Summary:
			r.summary(p, fc.FieldContext)
		case fc.FieldNum == 4:
			p.Value, _ = fc.Double()
		case fc.FieldNum == 6:
			n, _ := fc.Sfixed64()
			p.Value = float64(n)
		}
	}
}

// common reads count and sum, which have the same numbers in every distribution.
func (p *Point) common(fc easyproto.FieldContext) {
	switch fc.FieldNum {
	case 4:
		p.Count, _ = fc.Fixed64()
	case 5:
		p.Sum, p.HasSum = fc.Double()
	}
}

func (r *Reader) histogram(p *Point, fc easyproto.FieldContext) {
	ok := true
	switch fc.FieldNum {
	case 6:
		p.Counts, ok = fc.UnpackFixed64s(p.Counts)
	case 7:
		p.Bounds, ok = fc.UnpackDoubles(p.Bounds)
	case 11:
		p.Min, p.HasMin = fc.Double()
	case 12:
		p.Max, p.HasMax = fc.Double()
	default:
		p.common(fc)
	}
	r.listed(ok, max(len(p.Counts), len(p.Bounds)))
}

func (r *Reader) exponential(p *Point, fc easyproto.FieldContext) {
	switch fc.FieldNum {
	case 6:
		p.Scale, _ = fc.Sint32()
	case 7:
		p.Zero, _ = fc.Fixed64()
	case 8:
		r.buckets(&p.Positive, fc)
	case 9:
		r.buckets(&p.Negative, fc)
	case 12:
		p.Min, p.HasMin = fc.Double()
	case 13:
		p.Max, p.HasMax = fc.Double()
	case 14:
		p.ZeroThreshold, _ = fc.Double()
	default:
		p.common(fc)
	}
}

func (r *Reader) buckets(b *Buckets, of easyproto.FieldContext) {
	message, _ := of.MessageData()
	for fc := (cursor{rest: message}); fc.next(&r.err); {
		ok := true
		switch fc.FieldNum {
		case 1:
			b.Offset, _ = fc.Sint32()
		case 2:
			b.Counts, ok = fc.UnpackUint64s(b.Counts)
		}
		r.listed(ok, len(b.Counts))
	}
}

func (r *Reader) summary(p *Point, of easyproto.FieldContext) {
	if of.FieldNum != 6 {
		p.common(of)
		return
	}
	message, _ := of.MessageData()
	var q Quantile
	for fc := (cursor{rest: message}); fc.next(&r.err); {
		switch fc.FieldNum {
		case 1:
			q.Quantile, _ = fc.Double()
		case 2:
			q.Value, _ = fc.Double()
		}
	}
	p.Quantiles = append(p.Quantiles, q)
	r.listed(true, len(p.Quantiles))
}

var (
	errList = errors.New("a list of numbers that is none")
	errMany = fmt.Errorf("more than %d buckets in one data point", maxBuckets)
)

// listed judges a list that was read.
func (r *Reader) listed(ok bool, n int) {
	switch {
	case r.err != nil:
	case !ok:
		r.err = errList
	case n > maxBuckets:
		r.err = errMany
	}
}
