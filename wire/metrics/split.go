package metrics

import (
	"math"
	"time"

	"github.com/VictoriaMetrics/easyproto"

	"slipstream/telemetry"
)

const (
	// maxWhole is up to where every whole number is a float64.
	maxWhole = 1 << 53
	// maxBuckets is how many buckets a side of a histogram may have to be split off.
	maxBuckets = 1 << 12
)

// Splitter takes apart exports of metrics. The zero Splitter is ready; it serves
// one goroutine at a time.
type Splitter struct {
	take    func(*telemetry.Point, *Histogram) bool
	point   telemetry.Point
	hist    Histogram
	origin  []byte
	records int
}

// Split gives each data point that can be rolled up to take, in the order of
// body, an ExportMetricsServiceRequest that wire.CheckExport found right. All
// others, and those for which take returns false, it appends to dst as a request
// of the same resources, scopes and metrics, unchanged; x.Body is empty for none.
// A point, and the histogram that comes with a Distribution, is valid until take
// returns. It can be rolled up if nothing is lost:
//
//   - Gauges and delta Sums. A monotonic Sum is a Counter, another a GaugeChange.
//     Whole numbers become float64; those beyond 2^53 stay behind.
//   - Delta ExponentialHistograms with sum, min and max whose zero threshold is 0.
//
// What stays behind: everything cumulative; Histograms with bounds, whose buckets
// are no exponential ones; Summaries; points with exemplars, flags or without a
// time; metrics with metadata; and all with fields unknown here.
//
// What a delta covers ends at its time, so the Point's Time is a nanosecond
// before: a delta of a whole minute belongs to that minute.
func (s *Splitter) Split(dst, body []byte, take func(*telemetry.Point, *Histogram) bool) (
	x telemetry.Export) {
	s.take, s.records = take, 0
	dst = s.each(dst, body, fieldResourceMetrics, s.resource)
	return telemetry.Export{Signal: telemetry.Metrics, Records: s.records, Body: dst}
}

// each appends what step leaves of each field with that number, and all others
// as they are.
func (s *Splitter) each(dst, message []byte, field uint32, step func(dst, content []byte) []byte) []byte {
	var f easyproto.FieldContext
	for len(message) > 0 {
		rest, err := f.NextField(message)
		if err != nil {
			return append(dst, message...)
		}
		whole := message[:len(message)-len(rest)]
		message = rest
		content, ok := f.MessageData()
		if f.FieldNum != field || !ok {
			dst = append(dst, whole...)
			continue
		}
		before, records := len(dst), s.records
		dst = openMessage(dst, field)
		start := len(dst)
		if dst = step(dst, content); s.records == records { // nothing of it is left
			dst = dst[:before]
			continue
		}
		dst = closeMessage(dst, start)
	}
	return dst
}

// openMessage appends a tag and room for the greatest length.
func openMessage(dst []byte, field uint32) []byte {
	return append(dst, byte(field<<3|2), 0x80, 0x80, 0x80, 0x80, 0)
}

// closeMessage writes the length, as five bytes: a varint may be longer than it
// need be, and nothing has to move.
func closeMessage(dst []byte, start int) []byte {
	size := len(dst) - start
	for i := range 4 {
		dst[start-5+i] = byte(size>>(7*i))&0x7f | 0x80
	}
	dst[start-1] = byte(size >> 28)
	return dst
}

// resource splits a ResourceMetrics.
func (s *Splitter) resource(dst, message []byte) []byte {
	origin, known := others(s.origin[:0], message, fieldScopeMetrics)
	s.origin = origin
	size := len(origin)
	return s.each(dst, message, fieldScopeMetrics, func(dst, message []byte) []byte {
		origin, scopeKnown := others(s.origin[:size], message, fieldMetrics)
		s.origin = origin
		s.point.Resource, s.point.Scope = origin[:size:size], origin[size:]
		return s.each(dst, message, fieldMetrics, func(dst, message []byte) []byte {
			return s.metric(dst, message, known && scopeKnown)
		})
	})
}

// others appends all fields but one. It is false if a Writer could not write
// them again.
func others(dst, message []byte, but uint32) (_ []byte, ok bool) {
	var f easyproto.FieldContext
	ok = true
	for len(message) > 0 {
		rest, err := f.NextField(message)
		if err != nil {
			return dst, false
		}
		if f.FieldNum != but {
			_, text := f.MessageData()
			ok = ok && text
			dst = append(dst, message[:len(message)-len(rest)]...)
		}
		message = rest
	}
	return dst, ok
}

// metric splits a Metric.
func (s *Splitter) metric(dst, message []byte, known bool) []byte {
	var f easyproto.FieldContext
	data, field := []byte(nil), uint32(0)
	p := &s.point
	p.Name, p.Unit, p.Description = nil, "", nil
	for rest := message; len(rest) > 0; {
		var err error
		if rest, err = f.NextField(rest); err != nil {
			return s.keep(dst, message)
		}
		content, ok := f.MessageData()
		known = known && ok
		switch f.FieldNum {
		case fieldName:
			p.Name = content
		case fieldDescription:
			p.Description = content
		case fieldUnit:
			p.Unit = string(content)
		case fieldGauge, fieldSum, fieldExponential:
			known = known && field == 0
			data, field = content, f.FieldNum
		default:
			known = false
		}
	}
	if !known || field == 0 || !s.kind(field, data) {
		return s.keep(dst, message)
	}
	return s.each(dst, message, field, func(dst, content []byte) []byte {
		return s.each(dst, content, fieldPoints, func(dst, point []byte) []byte {
			if h, ok := s.number(field, point); ok && s.take(p, h) {
				return dst
			}
			s.records++
			return append(dst, point...)
		})
	})
}

// keep leaves a metric as it is.
func (s *Splitter) keep(dst, metric []byte) []byte {
	var f easyproto.FieldContext
	for rest := metric; len(rest) > 0; {
		var err error
		if rest, err = f.NextField(rest); err != nil {
			s.records++
			break
		}
		content, ok := f.MessageData()
		switch f.FieldNum {
		case fieldGauge, fieldSum, fieldHistogram, fieldExponential, fieldSummary:
		default:
			continue
		}
		if !ok {
			continue
		}
		for len(content) > 0 {
			if content, err = f.NextField(content); err != nil {
				break
			}
			if f.FieldNum == fieldPoints {
				s.records++
			}
		}
	}
	return append(dst, metric...)
}

// kind reads what the points of a metric's data have in common. It is false if
// they cannot be rolled up.
func (s *Splitter) kind(field uint32, data []byte) bool {
	var f easyproto.FieldContext
	temporality, monotonic := int32(0), false
	for len(data) > 0 {
		var err error
		if data, err = f.NextField(data); err != nil {
			return false
		}
		ok := true
		switch {
		case f.FieldNum == fieldPoints:
		case f.FieldNum == fieldTemporality && field != fieldGauge:
			temporality, ok = f.Int32()
		case f.FieldNum == fieldMonotonic && field == fieldSum:
			monotonic, ok = f.Bool()
		default:
			return false
		}
		if !ok {
			return false
		}
	}
	switch {
	case field == fieldGauge:
		s.point.Kind = telemetry.Gauge
		return true
	case field == fieldExponential:
		s.point.Kind = telemetry.Distribution
	case monotonic:
		s.point.Kind = telemetry.Counter
	default:
		s.point.Kind = telemetry.GaugeChange
	}
	return temporality == temporalityDelta
}

// number reads a data point, and its histogram, if it is one. It is false if it
// cannot be rolled up.
func (s *Splitter) number(field uint32, data []byte) (h *Histogram, ok bool) {
	p := &s.point
	p.Tags, p.Time, p.Value = p.Tags[:0], time.Time{}, math.NaN()
	read := s.numberField
	if field == fieldExponential {
		s.hist = Histogram{Positive: s.hist.Positive[:0], Negative: s.hist.Negative[:0], Sum: math.NaN(),
			Min: math.NaN(), Max: math.NaN()}
		h, read = &s.hist, s.exponentialField
	}
	var f easyproto.FieldContext
	for len(data) > 0 {
		var err error
		if data, err = f.NextField(data); err != nil {
			return nil, false
		}
		if f.FieldNum == fieldTime {
			at, ok := f.Fixed64()
			if !ok || at == 0 || at > math.MaxInt64 {
				return nil, false
			}
			p.Time = time.Unix(0, int64(at))
			continue
		}
		if !read(&f) {
			return nil, false
		}
	}
	if p.Kind != telemetry.Gauge {
		p.Time = p.Time.Add(-1)
	}
	if p.Time.Unix() <= 0 || p.Kind == telemetry.Counter && p.Value < 0 {
		return nil, false
	}
	if field == fieldExponential {
		return h, !math.IsNaN(h.Sum+h.Min+h.Max) && h.Count > 0
	}
	return nil, !math.IsNaN(p.Value) && !math.IsInf(p.Value, 0)
}

func (s *Splitter) numberField(f *easyproto.FieldContext) (ok bool) {
	switch f.FieldNum {
	case fieldStart:
		return true
	case fieldDouble:
		s.point.Value, ok = f.Double()
	case fieldInt:
		var n int64
		n, ok = f.Sfixed64()
		ok = ok && n <= maxWhole && n >= -maxWhole
		s.point.Value = float64(n)
	case fieldNumberAttributes:
		return s.tag(f)
	case fieldNumberFlags:
		n, isNumber := f.Uint32()
		return isNumber && n == 0
	}
	return ok
}

func (s *Splitter) exponentialField(f *easyproto.FieldContext) (ok bool) {
	h := &s.hist
	switch f.FieldNum {
	case fieldStart:
		return true
	case fieldCount:
		h.Count, ok = f.Fixed64()
	case fieldTotal:
		h.Sum, ok = f.Double()
	case fieldScale:
		h.Scale, ok = f.Sint32()
	case fieldZeros:
		h.Zeros, ok = f.Fixed64()
	case fieldPositive:
		return buckets(f, &h.PositiveLow, &h.Positive)
	case fieldNegative:
		return buckets(f, &h.NegativeLow, &h.Negative)
	case fieldExponentialMin:
		h.Min, ok = f.Double()
	case fieldExponentialMax:
		h.Max, ok = f.Double()
	case fieldZeroThreshold:
		threshold, isNumber := f.Double()
		return isNumber && threshold == 0
	case fieldExponentialAttributes:
		return s.tag(f)
	case fieldExponentialFlags:
		n, isNumber := f.Uint32()
		return isNumber && n == 0
	}
	return ok
}

func buckets(f *easyproto.FieldContext, low *int32, counts *[]uint64) (ok bool) {
	message, ok := f.MessageData()
	var field easyproto.FieldContext
	for len(message) > 0 && ok {
		var err error
		if message, err = field.NextField(message); err != nil {
			return false
		}
		switch field.FieldNum {
		case fieldOffset:
			*low, ok = field.Sint32()
		case fieldCounts:
			*counts, ok = field.UnpackUint64s(*counts)
			ok = ok && len(*counts) <= maxBuckets
		default:
			ok = false
		}
	}
	return ok
}

// tag reads a KeyValue.
func (s *Splitter) tag(f *easyproto.FieldContext) (ok bool) {
	kv, ok := f.MessageData()
	tag := telemetry.Tag{Typed: true}
	var field easyproto.FieldContext
	for len(kv) > 0 && ok {
		var err error
		if kv, err = field.NextField(kv); err != nil {
			return false
		}
		switch field.FieldNum {
		case fieldKey:
			tag.Key, ok = field.MessageData()
		case fieldValue:
			tag.Value, ok = field.MessageData()
		default:
			ok = false
		}
	}
	if !ok {
		return false
	}
	if len(tag.Value) > 0 {
		rest, err := field.NextField(tag.Value)
		content, isText := field.MessageData()
		if err == nil && len(rest) == 0 && field.FieldNum == fieldString && isText {
			tag.Value, tag.Typed = content, false
		}
	}
	s.point.Tags = append(s.point.Tags, tag)
	return true
}
