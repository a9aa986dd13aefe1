// Package metrics writes and reads OTLP metrics point by point. Use a Writer for
// points that were rolled up, and Split to take what can be rolled up out of an
// export; for points as they come, wire.Points is cheaper.
package metrics

import (
	"bytes"
	"time"

	"github.com/VictoriaMetrics/easyproto"

	"slipstream/telemetry"
)

// Field numbers of opentelemetry-proto 1.x.
const (
	fieldResourceMetrics = 1 // of ExportMetricsServiceRequest
	fieldScopeMetrics    = 2 // of ResourceMetrics
	fieldMetrics         = 2 // of ScopeMetrics
	fieldScope           = 1
	fieldScopeName       = 1 // of InstrumentationScope

	fieldName        = 1 // of Metric
	fieldDescription = 2
	fieldUnit        = 3
	fieldGauge       = 5
	fieldSum         = 7
	fieldHistogram   = 9
	fieldExponential = 10
	fieldSummary     = 11

	fieldPoints      = 1 // of all four
	fieldTemporality = 2 // of all but Gauge
	fieldMonotonic   = 3 // of Sum

	fieldStart = 2 // of all points
	fieldTime  = 3

	fieldDouble           = 4 // of NumberDataPoint
	fieldInt              = 6
	fieldNumberAttributes = 7
	fieldNumberFlags      = 8

	fieldCount = 4 // of HistogramDataPoint and ExponentialHistogramDataPoint
	fieldTotal = 5

	fieldHistogramAttributes = 9 // of HistogramDataPoint
	fieldHistogramMin        = 11
	fieldHistogramMax        = 12

	fieldExponentialAttributes = 1 // of ExponentialHistogramDataPoint
	fieldScale                 = 6
	fieldZeros                 = 7
	fieldPositive              = 8
	fieldNegative              = 9
	fieldExponentialFlags      = 10
	fieldExponentialMin        = 12
	fieldExponentialMax        = 13
	fieldZeroThreshold         = 14

	fieldOffset = 1 // of Buckets
	fieldCounts = 2

	fieldKey    = 1 // of KeyValue
	fieldValue  = 2
	fieldString = 1 // of AnyValue
	fieldArray  = 5
	fieldValues = 1 // of ArrayValue

	temporalityDelta      = 1
	temporalityCumulative = 2
)

// attributeSource is a point's Source, as wire.Points writes it.
const attributeSource = "source"

// Span is what a data point covers.
type Span struct {
	Start, End time.Time // Start is zero for unknown
	Cumulative bool      // everything since Start, not only what is new
}

// Writer makes an ExportMetricsServiceRequest of points. The zero Writer is
// ready; it serves one goroutine at a time.
type Writer struct {
	Scope string // the instrumentation scope's name of points without a Scope

	// A message of easyproto must get its first field before another is begun.
	marshaler      easyproto.Marshaler
	resource       *easyproto.MessageMarshaler // ResourceMetrics, the last one
	scope          *easyproto.MessageMarshaler // ScopeMetrics
	data           *easyproto.MessageMarshaler // Gauge, Sum, Histogram or ExponentialHistogram
	last           telemetry.Point             // what data is of: the identity's bytes are copies
	kept           []byte                      // those
	lastField      uint32
	lastCumulative bool
	records        int
}

// Append adds a data point. Points of one metric go together if they are
// appended one after the other, and so do those of one resource. Kinds are written
// as follows; all texts must be UTF-8, and numbers finite; h is a Distribution's:
//
//   - Gauge and Set: a Gauge of Value.
//   - Counter: a monotonic Sum of Value. GaugeChange: one that is not.
//   - Distribution: an ExponentialHistogram; with NoBuckets a Histogram with no
//     bounds, which has count, sum, min and max only.
func (w *Writer) Append(p *telemetry.Point, h *Histogram, s Span) {
	field := uint32(fieldGauge)
	switch {
	case p.Kind == telemetry.Counter, p.Kind == telemetry.GaugeChange:
		field = fieldSum
	case p.Kind == telemetry.Distribution && h.NoBuckets:
		field = fieldHistogram
	case p.Kind == telemetry.Distribution:
		field = fieldExponential
	}
	w.open(p, field, s.Cumulative)
	point := w.data.AppendMessage(fieldPoints)
	if field != fieldGauge && !s.Start.IsZero() {
		point.AppendFixed64(fieldStart, uint64(s.Start.UnixNano()))
	}
	point.AppendFixed64(fieldTime, uint64(s.End.UnixNano()))
	attributes := uint32(fieldNumberAttributes)
	switch field {
	case fieldHistogram:
		attributes = fieldHistogramAttributes
		point.AppendFixed64(fieldCount, h.Count)
		point.AppendDouble(fieldTotal, h.Sum)
		point.AppendDouble(fieldHistogramMin, h.Min)
		point.AppendDouble(fieldHistogramMax, h.Max)
	case fieldExponential:
		attributes = fieldExponentialAttributes
		appendExponential(point, h)
	default:
		point.AppendDouble(fieldDouble, p.Value)
	}
	if len(p.Source) > 0 {
		text(point.AppendMessage(attributes), attributeSource, p.Source)
	}
	appendTags(point, attributes, p)
	w.records++
}

func appendExponential(point *easyproto.MessageMarshaler, h *Histogram) {
	point.AppendFixed64(fieldCount, h.Count)
	point.AppendDouble(fieldTotal, h.Sum)
	point.AppendSint32(fieldScale, h.Scale)
	if h.Zeros > 0 {
		point.AppendFixed64(fieldZeros, h.Zeros)
	}
	appendBuckets(point, fieldPositive, h.PositiveLow, h.Positive)
	appendBuckets(point, fieldNegative, h.NegativeLow, h.Negative)
	point.AppendDouble(fieldExponentialMin, h.Min)
	point.AppendDouble(fieldExponentialMax, h.Max)
}

func appendBuckets(point *easyproto.MessageMarshaler, field uint32, low int32, counts []uint64) {
	if len(counts) > 0 {
		buckets := point.AppendMessage(field)
		buckets.AppendSint32(fieldOffset, low)
		buckets.AppendUint64s(fieldCounts, counts)
	}
}

// open makes w.data the place for the point.
func (w *Writer) open(p *telemetry.Point, field uint32, cumulative bool) {
	l := &w.last
	sameResource := w.resource != nil && bytes.Equal(l.Resource, p.Resource)
	if !sameResource {
		w.resource = w.marshaler.MessageMarshaler().AppendMessage(fieldResourceMetrics)
		copyFields(w.resource, p.Resource)
	}
	sameScope := sameResource && bytes.Equal(l.Scope, p.Scope)
	if !sameScope {
		w.scope = w.resource.AppendMessage(fieldScopeMetrics)
		if len(p.Scope) == 0 && w.Scope != "" {
			w.scope.AppendMessage(fieldScope).AppendString(fieldScopeName, w.Scope)
		}
		copyFields(w.scope, p.Scope)
	}
	if sameScope && w.lastField == field && w.lastCumulative == cumulative && l.Kind == p.Kind && l.Unit == p.Unit &&
		bytes.Equal(l.Name, p.Name) && bytes.Equal(l.Description, p.Description) {
		return
	}
	w.openMetric(p, field, cumulative)
	w.remember(p)
}

func (w *Writer) openMetric(p *telemetry.Point, field uint32, cumulative bool) {
	w.lastField, w.lastCumulative = field, cumulative
	metric := w.scope.AppendMessage(fieldMetrics)
	metric.AppendBytes(fieldName, p.Name)
	if len(p.Description) > 0 {
		metric.AppendBytes(fieldDescription, p.Description)
	}
	if p.Unit != "" {
		metric.AppendString(fieldUnit, p.Unit)
	}
	w.data = metric.AppendMessage(field)
	if field == fieldGauge {
		return
	}
	if cumulative {
		w.data.AppendInt32(fieldTemporality, temporalityCumulative)
	} else {
		w.data.AppendInt32(fieldTemporality, temporalityDelta)
	}
	if p.Kind == telemetry.Counter {
		w.data.AppendBool(fieldMonotonic, true)
	}
}

// remember keeps what tells whether the next point goes to the same place.
func (w *Writer) remember(p *telemetry.Point) {
	w.kept = w.kept[:0]
	for _, part := range [][]byte{p.Resource, p.Scope, p.Name, p.Description} {
		w.kept = append(w.kept, part...)
	}
	rest := w.kept
	take := func(n int) []byte {
		part := rest[:n:n]
		rest = rest[n:]
		return part
	}
	w.last = telemetry.Point{Kind: p.Kind, Unit: p.Unit}
	w.last.Resource = take(len(p.Resource))
	w.last.Scope = take(len(p.Scope))
	w.last.Name = take(len(p.Name))
	w.last.Description = take(len(p.Description))
}

// copyFields appends fields that are messages or texts; Split makes no others.
func copyFields(to *easyproto.MessageMarshaler, fields []byte) {
	var f easyproto.FieldContext
	for len(fields) > 0 {
		var err error
		if fields, err = f.NextField(fields); err != nil {
			return
		}
		if data, ok := f.MessageData(); ok {
			to.AppendBytes(f.FieldNum, data)
		}
	}
}

// appendTags appends the tags, of which those with one key stand together: they
// are one attribute, the array of their values.
func appendTags(point *easyproto.MessageMarshaler, field uint32, p *telemetry.Point) {
	for i := 0; i < len(p.Tags); {
		tag := &p.Tags[i]
		end := i + 1
		for end < len(p.Tags) && bytes.Equal(p.Tags[end].Key, tag.Key) {
			end++
		}
		if end == i+1 {
			kv := point.AppendMessage(field)
			kv.AppendBytes(fieldKey, tag.Key)
			appendValue(kv, fieldValue, tag)
		} else {
			kv := point.AppendMessage(field)
			kv.AppendBytes(fieldKey, tag.Key)
			array := kv.AppendMessage(fieldValue).AppendMessage(fieldArray)
			for j := i; j < end; j++ {
				appendValue(array, fieldValues, &p.Tags[j])
			}
		}
		i = end
	}
}

func appendValue(to *easyproto.MessageMarshaler, field uint32, tag *telemetry.Tag) {
	if tag.Typed {
		to.AppendBytes(field, tag.Value)
		return
	}
	to.AppendMessage(field).AppendBytes(fieldString, tag.Value)
}

func text(kv *easyproto.MessageMarshaler, key string, value []byte) {
	kv.AppendString(fieldKey, key)
	kv.AppendMessage(fieldValue).AppendBytes(fieldString, value)
}

// Export appends the request to dst and gives it, with its number of points.
// The Writer is empty afterwards.
func (w *Writer) Export(dst []byte) telemetry.Export {
	x := telemetry.Export{Signal: telemetry.Metrics, Records: w.records, Body: w.marshaler.Marshal(dst)}
	w.marshaler.Reset()
	w.resource, w.scope, w.data, w.records = nil, nil, nil, 0
	return x
}
