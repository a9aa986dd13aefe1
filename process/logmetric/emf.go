package logmetric

import (
	"bytes"
	"cmp"
	"slices"
	"time"
	"unsafe"

	"slipstream/process/jsonview"
	"slipstream/telemetry"
)

// Limits of the embedded metric format's specification, and of ours.
const (
	maxDocument       = 1 << 20
	maxMetrics        = 100 // definitions of a directive
	maxValues         = 100 // of a metric
	maxDimensionKey   = 250
	maxDimensionValue = 1024
	maxPoints         = 10_000 // of a document, ours
	maxMembers        = 4096   // of a document whose room is kept
	lastTimestamp     = 253_402_300_799_999
)

// emf is what one document is taken apart into, used again for the next.
type emf struct {
	members   map[string][]byte // of the root, keys borrowed
	buf       []byte            // texts without escapes
	tags      []telemetry.Tag   // of all sets of a directive
	sets      []int             // where each set's tags end
	values    []telemetry.Centroid
	name      []byte
	namespace int // bytes of name up to and with the point
	time      time.Time
	points    int
	wrong     bool
}

// takeEMF makes the points of a line that has _aws somewhere.
func (x *Extractor) takeEMF(text []byte) (consumed bool) {
	e := &x.emf
	e.buf, e.points, e.wrong = e.buf[:0], 0, false
	text = bytes.TrimSpace(text)
	switch {
	case !bytes.Contains(text, []byte("CloudWatchMetrics")):
		return false // it only speaks of _aws
	case len(text) > maxDocument:
		x.wrong(EMFSize)
		return false
	case text[0] != '{' || !jsonview.Valid(text):
		x.wrong(EMFJSON)
		return false
	}
	aws := jsonview.Member(text, "_aws")
	if aws == nil {
		return false
	}
	ms, whole := jsonview.Number(jsonview.Member(aws, "Timestamp"))
	if !whole || ms != float64(int64(ms)) || ms < 0 || ms > lastTimestamp {
		x.wrong(EMFTimestamp)
		return false
	}
	directives := jsonview.Member(aws, "CloudWatchMetrics")
	if len(directives) == 0 || directives[0] != '[' {
		x.wrong(EMFDirective)
		return false
	}
	e.time = time.UnixMilli(int64(ms)).UTC()
	e.index(text)
	for it := jsonview.Each(directives); it.Next(); {
		x.directive(it.Value)
	}
	clear(e.members) // its keys are borrowed, too
	return x.config.EMF == Consume && !e.wrong && e.points > 0
}

// wrong counts what is wrong with the document, which then is kept.
func (x *Extractor) wrong(r Reason) {
	x.emf.wrong = true
	x.drop(r)
}

// index notes where the root's members are: definitions name them in any order.
func (e *emf) index(text []byte) {
	if e.members == nil || len(e.members) > maxMembers {
		e.members = map[string][]byte{}
	}
	for it := jsonview.Each(text); it.Next(); {
		key := it.Key
		if bytes.IndexByte(key, '\\') >= 0 {
			start := len(e.buf)
			e.buf = jsonview.AppendText(e.buf, key)
			key = e.buf[start:]
		}
		if len(key) == 0 {
			continue
		}
		// The map is empty again before the line can change.
		name := unsafe.String(&key[0], len(key))
		if _, twice := e.members[name]; !twice {
			e.members[name] = it.Value
		}
	}
}

// textOf reads a string of 1 to most bytes.
func (e *emf) textOf(value []byte, most int) (text []byte, ok bool) {
	text, e.buf, ok = jsonview.Text(value, e.buf)
	return text, ok && len(text) > 0 && len(text) <= most
}

// directive makes the points of one element of CloudWatchMetrics.
func (x *Extractor) directive(object []byte) {
	e := &x.emf
	var namespace, dimensions, metrics []byte
	for it := jsonview.Each(object); it.Next(); {
		switch {
		case it.KeyIs("Namespace"):
			namespace = it.Value
		case it.KeyIs("Dimensions"):
			dimensions = it.Value
		case it.KeyIs("Metrics"):
			metrics = it.Value
		}
	}
	if namespace == nil || len(dimensions) == 0 || dimensions[0] != '[' || len(metrics) == 0 || metrics[0] != '[' {
		x.wrong(EMFDirective)
		return
	}
	space, ok := e.textOf(namespace, maxName)
	if !ok {
		x.wrong(EMFNamespace)
		return
	}
	e.name = append(append(e.name[:0], space...), '.')
	e.namespace = len(e.name)
	if x.dimensionSets(dimensions); len(e.sets) == 0 {
		return
	}
	n := 0
	for it := jsonview.Each(metrics); it.Next(); n++ {
		if n == maxMetrics {
			x.wrong(EMFMetric)
			return
		}
		if r := x.metric(it.Value); r != "" {
			x.wrong(r)
		}
	}
}

// dimensionSets reads the sets of dimensions that are right.
func (x *Extractor) dimensionSets(list []byte) {
	e := &x.emf
	e.tags, e.sets = e.tags[:0], e.sets[:0]
	n := 0
	for it := jsonview.Each(list); it.Next(); n++ {
		start := len(e.tags)
		switch {
		case len(e.sets) == maxPoints:
			x.wrong(EMFPoints)
			return
		case !e.dimensionSet(it.Value):
			e.tags = e.tags[:start]
			x.wrong(EMFDimension)
		default:
			e.sets = append(e.sets, len(e.tags))
		}
	}
	if n == 0 {
		x.wrong(EMFDirective)
	}
}

func (e *emf) dimensionSet(list []byte) bool {
	if list[0] != '[' {
		return false
	}
	n := 0
	for it := jsonview.Each(list); it.Next(); n++ {
		key, ok := e.textOf(it.Value, maxDimensionKey)
		if !ok || n == maxDimensions {
			return false
		}
		value, ok := e.textOf(e.members[string(key)], maxDimensionValue)
		if !ok {
			return false
		}
		e.tags = append(e.tags, telemetry.Tag{Key: key, Value: value})
	}
	return true
}

// metric makes the points of one definition, one for each set of dimensions.
func (x *Extractor) metric(object []byte) Reason {
	e := &x.emf
	var name, unit, resolution []byte
	for it := jsonview.Each(object); it.Next(); {
		switch {
		case it.KeyIs("Name"):
			name = it.Value
		case it.KeyIs("Unit"):
			unit = it.Value
		case it.KeyIs("StorageResolution"):
			resolution = it.Value
		}
	}
	name, ok := e.textOf(name, maxName)
	if !ok {
		return EMFMetric
	}
	ucum := ""
	if unit != nil {
		word, _ := e.textOf(unit, maxName)
		if ucum, ok = unitOf(string(word)); !ok || len(word) == 0 {
			return EMFUnit
		}
	}
	if resolution != nil && string(resolution) != "1" && string(resolution) != "60" {
		return EMFResolution
	}
	if !e.readValues(e.members[string(name)]) {
		return EMFValue
	}
	if e.points += len(e.sets); e.points > maxPoints {
		return EMFPoints
	}
	e.name = append(e.name[:e.namespace], name...)
	x.point = telemetry.Point{Kind: telemetry.Distribution, Name: e.name, Time: e.time, Count: 1, Unit: ucum}
	if len(e.values) == 1 {
		x.point.Value, x.point.Count = e.values[0].Value, e.values[0].Count
	} else {
		x.point.Centroids = e.values
	}
	start := 0
	for _, end := range e.sets {
		x.point.Tags = e.tags[start:end:end]
		x.emit(&x.point)
		start = end
	}
	return ""
}

// readValues reads a number or an array of them, in rising order, equal ones as one.
func (e *emf) readValues(value []byte) bool {
	e.values = e.values[:0]
	if len(value) == 0 {
		return false
	}
	if value[0] != '[' {
		v, ok := jsonview.Number(value)
		e.values = append(e.values, telemetry.Centroid{Value: v, Count: 1})
		return ok
	}
	for it := jsonview.Each(value); it.Next(); {
		v, ok := jsonview.Number(it.Value)
		if !ok || len(e.values) == maxValues {
			return false
		}
		e.values = append(e.values, telemetry.Centroid{Value: v, Count: 1})
	}
	slices.SortFunc(e.values, func(a, b telemetry.Centroid) int { return cmp.Compare(a.Value, b.Value) })
	kept := e.values[:0]
	for _, v := range e.values {
		if n := len(kept); n > 0 && kept[n-1].Value == v.Value {
			kept[n-1].Count++
		} else {
			kept = append(kept, v)
		}
	}
	e.values = kept
	return len(kept) > 0
}
