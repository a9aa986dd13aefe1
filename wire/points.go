package wire

import (
	"bytes"
	"encoding/binary"
	"math"
	"time"
	"unicode/utf8"

	"slipstream/telemetry"
)

// Field numbers of opentelemetry-proto 1.x: collector/metrics/v1 and metrics/v1.
const (
	fieldResourceMetrics = 1 // of ExportMetricsServiceRequest
	fieldScopeMetrics    = 2 // of ResourceMetrics
	fieldMetrics         = 2 // of ScopeMetrics

	fieldMetricName = 1 // of Metric
	fieldMetricUnit = 3
	fieldGauge      = 5
	fieldSum        = 7
	fieldHistogram  = 9

	fieldDataPoints  = 1 // of Gauge, Sum and Histogram
	fieldTemporality = 2 // of Sum and Histogram
	fieldIsMonotonic = 3 // of Sum

	fieldPointStart       = 2 // of NumberDataPoint and HistogramDataPoint
	fieldPointTime        = 3
	fieldNumberDouble     = 4 // of NumberDataPoint
	fieldNumberAttributes = 7

	fieldHistogramCount      = 4 // of HistogramDataPoint
	fieldHistogramSum        = 5
	fieldBucketCounts        = 6
	fieldExplicitBounds      = 7
	fieldHistogramAttributes = 9
	fieldHistogramMin        = 11
	fieldHistogramMax        = 12

	temporalityDelta = 1
)

// Attributes of what a point has beside its tags.
const (
	attributeSource    = "source"     // Wavefront's own word: it need not be a host
	attributeSetMember = "set.member" // the member of a Set's point
)

const (
	// sharedMetric is how many bytes of points one Metric takes before the next begins.
	sharedMetric = 8 << 10
	// keptBuffer is the largest buffer that Reset keeps.
	keptBuffer = 1 << 20
	// clockBack is how far the clock may go back for its points still to be put after the last one.
	clockBack = time.Second
)

// Points collects points as OTLP metrics of one resource and one scope, for one
// goroutine at a time. What was collected together goes out point by point,
// nothing is aggregated:
//
//   - Counter: a delta Sum, monotonic unless the value is negative.
//   - Gauge: a Gauge. GaugeChange: a delta Sum that is not monotonic, which the
//     reader adds to the Gauge of that name.
//   - Distribution: a delta Histogram whose bounds are the values themselves, so
//     that its buckets, count, sum, min and max are exact. A count that is no
//     whole number (a sample rate of 0.3) is rounded, at least to 1; the sum is
//     that of the rounded count, so that the mean is exact.
//   - Set: a delta Sum of 1 whose attribute set.member is the member. How many
//     there are is how many different values that attribute has: a number made
//     here could not be put together with another environment's.
//
// Attributes are the tags, and source. A tag without value is an empty string; a
// name that comes several times is one attribute, the array of its values.
//
// A point without a time is given now, at least a nanosecond after the last such
// one, and its sum or histogram starts where that one ended: so no two points of
// a series overlap. A point with a time of its own tells no start unless it has a
// Bin: then it is from Time to Time+Bin.
type Points struct {
	head    []byte // resource and what is around it, as ResourceMetrics has it
	scope   []byte
	buf     []byte // room for the head, then ScopeMetrics.metrics fields
	room    int    // bytes of buf before the first metric
	records int
	export  telemetry.Export
	last    time.Time // of the last point that was given its time
	open    openMetric
}

// openMetric is the Metric at the end of the buffer, which takes more points of
// the same name, unit and shape.
type openMetric struct {
	shape        shape
	metric, data mark
	name         []byte // a part of the buffer's bytes, copied
	unit         string
}

// shape is what a Metric's points have in common besides its name and unit.
type shape uint8

const (
	noShape shape = iota
	gaugeShape
	counterShape // a delta Sum, monotonic
	changeShape  // a delta Sum, not monotonic
	histogramShape
)

// NewPoints makes an empty collection: c completes the resource, scope is the
// instrumentation scope's name.
func NewPoints(c *Completion, scope string) *Points {
	resource := c.Complete(nil, telemetry.Metrics, []byte{fieldResourceMetrics<<3 | wireBytes, 0})
	_, n := binary.Uvarint(resource[1:])
	s, m := openField(nil, fieldScope, len(scope)+2)
	p := &Points{head: resource[1+n:], scope: closeField(appendStringField(s, fieldScopeName, scope), m)}
	p.room = len(p.head) + len(p.scope) + 2*(1+binary.MaxVarintLen32)
	p.buf = make([]byte, p.room)
	return p
}

// Append adds one point, whose numbers must be finite and whose centroids rise.
func (p *Points) Append(t *telemetry.Point, now time.Time) {
	start, end := p.interval(t, now)
	s := shapeOf(t)
	guess := 32
	for _, tag := range t.Tags {
		guess += len(tag.Key) + len(tag.Value) + 8
	}
	if s == histogramShape {
		guess += 64 + 16*len(t.Centroids)
	}
	p.openFor(t, s, guess)
	dst, point := openField(p.buf, fieldDataPoints, guess)
	if start != 0 && s != gaugeShape {
		dst = appendFixed64Field(dst, fieldPointStart, start)
	}
	dst = appendFixed64Field(dst, fieldPointTime, end)
	attributes := fieldNumberAttributes
	switch {
	case s == histogramShape:
		dst, attributes = appendHistogram(dst, t), fieldHistogramAttributes
	case t.Kind == telemetry.Set:
		dst = appendDoubleField(dst, fieldNumberDouble, 1)
		dst = appendTextAttribute(dst, attributes, []byte(attributeSetMember), t.Member)
	default:
		dst = appendDoubleField(dst, fieldNumberDouble, t.Value)
	}
	if len(t.Source) > 0 {
		dst = appendTextAttribute(dst, attributes, []byte(attributeSource), t.Source)
	}
	p.buf = closeField(appendTags(dst, attributes, t), point)
	p.records++
}

// Size is about how many bytes Export's body has, 0 if there is none.
func (p *Points) Size() int {
	if p.records == 0 {
		return 0
	}
	return len(p.buf)
}

// Export is what is collected, nothing if that is nothing. It is valid until the
// next Append or Reset.
func (p *Points) Export() *telemetry.Export {
	p.closeMetric()
	p.export = telemetry.Export{Signal: telemetry.Metrics, Records: p.records}
	if p.records == 0 {
		return &p.export
	}
	// Written backwards from the first metric, into the room that was left.
	scopeMetrics := len(p.scope) + len(p.buf) - p.room
	resourceMetrics := len(p.head) + 1 + varintSize(scopeMetrics) + scopeMetrics
	start := p.room - len(p.scope) - 1 - varintSize(scopeMetrics) - len(p.head) - 1 - varintSize(resourceMetrics)
	dst := appendTag(p.buf[start:start], fieldResourceMetrics, wireBytes)
	dst = append(binary.AppendUvarint(dst, uint64(resourceMetrics)), p.head...)
	dst = appendTag(dst, fieldScopeMetrics, wireBytes)
	_ = append(binary.AppendUvarint(dst, uint64(scopeMetrics)), p.scope...)
	p.export.Body = p.buf[start:]
	return &p.export
}

// Reset forgets what is collected.
func (p *Points) Reset() {
	if cap(p.buf) > keptBuffer {
		p.buf = make([]byte, p.room)
	}
	p.buf, p.records, p.open.shape = p.buf[:p.room], 0, noShape
	p.export = telemetry.Export{}
}

// interval is what the point covers, in OTLP's nanoseconds: 0 is unknown.
func (p *Points) interval(t *telemetry.Point, now time.Time) (start, end uint64) {
	if !t.Time.IsZero() {
		if t.Bin > 0 {
			return unixNano(t.Time), unixNano(t.Time.Add(t.Bin))
		}
		return 0, unixNano(t.Time)
	}
	if !p.last.IsZero() {
		if back := p.last.Sub(now); back >= 0 && back <= clockBack {
			now = p.last.Add(1)
		}
		if now.After(p.last) {
			start = unixNano(p.last)
		}
	}
	p.last = now.Round(0) // by the wall clock, which start and end are told in
	return start, unixNano(now)
}

// openFor makes the Metric at the buffer's end one that the point belongs to.
func (p *Points) openFor(t *telemetry.Point, s shape, guess int) {
	o := &p.open
	if o.shape == s && o.unit == t.Unit && bytes.Equal(o.name, t.Name) && len(p.buf)-o.data.start < sharedMetric {
		return
	}
	p.closeMetric()
	dst := p.buf
	dst, o.metric = openField(dst, fieldMetrics, guess+len(t.Name)+8)
	dst = appendStringField(dst, fieldMetricName, t.Name)
	if t.Unit != "" {
		dst = appendStringField(dst, fieldMetricUnit, t.Unit)
	}
	switch s {
	case gaugeShape:
		dst, o.data = openField(dst, fieldGauge, guess)
	case histogramShape:
		dst, o.data = openField(dst, fieldHistogram, guess)
		dst = appendVarintField(dst, fieldTemporality, temporalityDelta)
	default:
		dst, o.data = openField(dst, fieldSum, guess)
		dst = appendVarintField(dst, fieldTemporality, temporalityDelta)
		if s == counterShape {
			dst = appendVarintField(dst, fieldIsMonotonic, 1)
		}
	}
	p.buf = dst
	o.shape, o.unit, o.name = s, t.Unit, append(o.name[:0], t.Name...)
}

func (p *Points) closeMetric() {
	if p.open.shape != noShape {
		p.buf = closeField(closeField(p.buf, p.open.data), p.open.metric)
		p.open.shape = noShape
	}
}

func shapeOf(t *telemetry.Point) shape {
	switch t.Kind {
	case telemetry.Gauge:
		return gaugeShape
	case telemetry.Distribution:
		return histogramShape
	case telemetry.Counter:
		if t.Value < 0 {
			return changeShape
		}
		return counterShape
	case telemetry.Set:
		return counterShape
	}
	return changeShape
}

// appendHistogram appends the numbers of a Distribution: a bucket up to each
// different value, and the one above them, which is empty.
func appendHistogram(dst []byte, t *telemetry.Point) []byte {
	single := [1]telemetry.Centroid{{Value: t.Value, Count: t.Count}}
	values := t.Centroids
	if len(values) == 0 {
		values = single[:]
	}
	total, sum := uint64(0), 0.0
	least, most := values[0].Value, values[0].Value
	for _, c := range values {
		n := wholeCount(c.Count)
		total += n
		sum += c.Value * float64(n)
		least, most = min(least, c.Value), max(most, c.Value)
	}
	dst = appendFixed64Field(dst, fieldHistogramCount, total)
	dst = appendDoubleField(dst, fieldHistogramSum, sum)
	dst = appendDoubleField(dst, fieldHistogramMin, least)
	dst = appendDoubleField(dst, fieldHistogramMax, most)
	dst, bounds := openField(dst, fieldExplicitBounds, 8*len(values))
	dst = eachBucket(dst, values, func(dst []byte, bound float64, _ uint64) []byte {
		return binary.LittleEndian.AppendUint64(dst, math.Float64bits(bound))
	})
	dst = closeField(dst, bounds)
	dst, counts := openField(dst, fieldBucketCounts, 8*len(values)+8)
	dst = eachBucket(dst, values, func(dst []byte, _ float64, n uint64) []byte {
		return binary.LittleEndian.AppendUint64(dst, n)
	})
	return closeField(binary.LittleEndian.AppendUint64(dst, 0), counts)
}

// eachBucket calls add for each bucket: equal values are one, as bounds must rise.
func eachBucket(dst []byte, values []telemetry.Centroid, add func([]byte, float64, uint64) []byte) []byte {
	for i := 0; i < len(values); {
		bound, n := values[i].Value, uint64(0)
		for ; i < len(values) && values[i].Value <= bound; i++ {
			n += wholeCount(values[i].Count)
		}
		dst = add(dst, bound, n)
	}
	return dst
}

// wholeCount is how often a value occurred: at least once.
func wholeCount(n float64) uint64 {
	if !(n > 1) {
		return 1
	}
	return uint64(math.Round(min(n, 1<<53)))
}

// appendTags appends the tags as attributes: names are unique there, so a name
// that comes again was written where it came first.
func appendTags(dst []byte, field int, t *telemetry.Point) []byte {
	for i, tag := range t.Tags {
		if reserved(t, tag.Key) || namedIn(t.Tags[:i], tag.Key) {
			continue
		}
		if namedIn(t.Tags[i+1:], tag.Key) {
			dst = appendTextsAttribute(dst, field, t.Tags[i:])
		} else {
			dst = appendTextAttribute(dst, field, tag.Key, tag.Value)
		}
	}
	return dst
}

// reserved tells whether the point's own attribute has that name already.
func reserved(t *telemetry.Point, key []byte) bool {
	return t.Kind == telemetry.Set && string(key) == attributeSetMember ||
		len(t.Source) > 0 && string(key) == attributeSource
}

func namedIn(tags []telemetry.Tag, key []byte) bool {
	for i := range tags {
		if len(tags[i].Key) == len(key) && string(tags[i].Key) == string(key) {
			return true
		}
	}
	return false
}

// appendTextsAttribute appends an array of the values of all tags named as the first.
func appendTextsAttribute(dst []byte, field int, tags []telemetry.Tag) []byte {
	dst, kv := openField(dst, field, 100)
	dst = appendStringField(dst, fieldKey, tags[0].Key)
	dst, v := openField(dst, fieldValue, 100)
	dst, array := openField(dst, fieldArray, 100)
	for _, tag := range tags {
		if bytes.Equal(tag.Key, tags[0].Key) {
			var item mark
			dst, item = openField(dst, fieldValues, len(tag.Value)+2)
			dst = closeField(appendStringField(dst, fieldString, tag.Value), item)
		}
	}
	return closeField(closeField(closeField(dst, array), v), kv)
}

// appendTextAttribute is appendAttribute for bytes: nothing moves if they are UTF-8.
func appendTextAttribute(dst []byte, field int, key, value []byte) []byte {
	if !utf8.Valid(key) || !utf8.Valid(value) {
		return appendAttribute(dst, field, string(key), string(value))
	}
	text := 1 + varintSize(len(value)) + len(value)
	kv := 1 + varintSize(len(key)) + len(key) + 1 + varintSize(text) + text
	dst = binary.AppendUvarint(appendTag(dst, field, wireBytes), uint64(kv))
	dst = binary.AppendUvarint(appendTag(dst, fieldKey, wireBytes), uint64(len(key)))
	dst = append(dst, key...)
	dst = binary.AppendUvarint(appendTag(dst, fieldValue, wireBytes), uint64(text))
	dst = binary.AppendUvarint(appendTag(dst, fieldString, wireBytes), uint64(len(value)))
	return append(dst, value...)
}

func appendDoubleField(dst []byte, field int, v float64) []byte {
	return appendFixed64Field(dst, field, math.Float64bits(v))
}
