package emf

import (
	"bytes"
	"math"
	"slices"
	"strconv"

	"slipstream/telemetry"
	"slipstream/wire/otlpread"
)

// AppendBody appends the documents of a batch of exports.
func (e *Encoder) AppendBody(dst, records []byte, drop func(reason string, n int)) []byte {
	var r otlpread.Reader
	w := writer{options: &e.options, drop: drop, index: map[string]int{}}
	if err := r.Metrics(records, w.point); err != nil {
		drop("unreadable", 1)
	}
	for i := range w.groups {
		dst = w.document(dst, &w.groups[i])
	}
	return dst
}

type writer struct {
	options    *Options
	drop       func(string, int)
	groups     []group
	index      map[string]int // of the open group, by moment and dimensions
	dimensions []dimension
	text, key  []byte
	name       []byte // of the metric at hand
	definition []byte // how that begins
	value      []byte // the same, as JSON
	centroids  []telemetry.Centroid
}

// group is one document that is being written: its parts as JSON.
type group struct {
	ms      int64
	names   []byte   // the dimensions' names
	metrics []byte   // their definitions
	has     []uint64 // hashes of their names
	members []byte   // of the root: dimensions, then metrics
}

type dimension struct{ name, value []byte }

func (w *writer) point(p *otlpread.Point) {
	switch {
	case len(p.Name) == 0:
		w.drop("no_name", 1)
		return
	case p.Time == 0 || p.Time > math.MaxInt64:
		w.drop("no_time", 1)
		return
	case p.Missing:
		return
	case p.Temporality == otlpread.Cumulative && (p.Kind != otlpread.Sum || p.Monotonic):
		w.drop("cumulative_temporality", 1)
		return
	}
	w.readDimensions(p)
	switch p.Kind {
	case otlpread.Gauge, otlpread.Sum:
		w.number(p, "", p.Value)
	case otlpread.Summary:
		for _, q := range p.Quantiles {
			w.number(p, ".p"+strconv.FormatFloat(100*q.Quantile, 'g', 6, 64), q.Value)
		}
	default:
		w.distribution(p)
	}
}

func (w *writer) number(p *otlpread.Point, suffix string, v float64) {
	if !finite(v) {
		w.drop("not_a_number", 1)
		return
	}
	w.value = strconv.AppendFloat(w.value[:0], v, 'g', -1, 64)
	w.add(p, suffix)
}

// readDimensions gathers the dimensions of a point, which must have a value.
func (w *writer) readDimensions(p *otlpread.Point) {
	w.dimensions, w.text = w.dimensions[:0], w.text[:0]
	for name, v := range p.Attributes.All() {
		w.dimension(name, v)
	}
	for name, v := range p.Resource.All() {
		if slices.Contains(w.options.Tags, string(name)) {
			w.dimension(name, v)
		}
	}
	slices.SortStableFunc(w.dimensions, func(a, b dimension) int { return bytes.Compare(a.name, b.name) })
	w.dimensions = slices.CompactFunc(w.dimensions, func(a, b dimension) bool { return bytes.Equal(a.name, b.name) })
	w.dimensions = w.dimensions[:min(len(w.dimensions), maxDimensions)]
}

func (w *writer) dimension(name []byte, v otlpread.Value) {
	start := len(w.text)
	w.text = v.AppendText(w.text)
	value := cut(bytes.TrimSpace(w.text[start:len(w.text):len(w.text)]), maxName)
	if name = cut(name, maxDimension); len(name) > 0 && len(value) > 0 && string(name) != "_aws" {
		w.dimensions = append(w.dimensions, dimension{name, value})
	}
}

// cut shortens text to so many bytes, at the end of a character.
func cut(text []byte, limit int) []byte {
	if len(text) <= limit {
		return text
	}
	for limit > 0 && text[limit]&0xc0 == 0x80 {
		limit--
	}
	return text[:limit]
}

// distribution writes the values, as documents have room for them.
func (w *writer) distribution(p *otlpread.Point) {
	w.centroids = p.Centroids(w.centroids[:0], maxValues*maxDocuments)
	total := 0.0
	for _, c := range w.centroids {
		if !finite(c.Value) {
			w.drop("not_a_number", 1)
			return
		}
		total += c.Count
	}
	switch {
	case total == 0:
		return
	case w.options.Counts:
		for part := range slices.Chunk(w.centroids, maxValues) {
			w.value = appendCounts(w.value[:0], part)
			w.add(p, "")
		}
		return
	}
	if most := float64(maxValues * maxDocuments); total > most {
		w.scale(most / total)
	}
	n := 0
	for _, c := range w.centroids {
		for range int(c.Count) {
			separator := byte(',')
			if n == 0 {
				w.value, separator = w.value[:0], '['
			}
			w.value = strconv.AppendFloat(append(w.value, separator), c.Value, 'g', -1, 64)
			if n++; n == maxValues {
				w.value, n = append(w.value, ']'), 0
				w.add(p, "")
			}
		}
	}
	if n > 0 {
		w.value = append(w.value, ']')
		w.add(p, "")
	}
}

// scale makes the counts smaller by a factor, and whole; what is rounded off one is
// given to the next. The least and the greatest value stay.
func (w *writer) scale(factor float64) {
	c, rest := w.centroids, 0.5
	for i := range c {
		exact := c[i].Count*factor + rest
		c[i].Count = math.Floor(exact)
		rest = exact - c[i].Count
	}
	there := func(c telemetry.Centroid) bool { return c.Count > 0 }
	if i := slices.IndexFunc(c, there); i > 0 {
		c[i].Count, c[0].Count = c[i].Count-1, 1
	}
	for i, last := len(c)-1, len(c)-1; i > 0; i-- {
		if there(c[i]) {
			c[i].Count--
			c[last].Count++
			break
		}
	}
}

// appendCounts writes a distribution as OpenTelemetry's exporter does.
func appendCounts(dst []byte, centroids []telemetry.Centroid) []byte {
	list := func(name string, of func(telemetry.Centroid) float64) {
		dst = append(append(dst, name...), '[')
		for i, c := range centroids {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = strconv.AppendFloat(dst, of(c), 'g', -1, 64)
		}
		dst = append(dst, ']')
	}
	list(`{"Values":`, func(c telemetry.Centroid) float64 { return c.Value })
	list(`,"Counts":`, func(c telemetry.Centroid) float64 { return c.Count })
	sum, total := 0.0, 0.0
	for _, c := range centroids {
		sum += c.Value * c.Count
		total += c.Count
	}
	least, most := centroids[0].Value, centroids[len(centroids)-1].Value
	for _, member := range [...]struct {
		name  string
		value float64
	}{{`,"Max":`, most}, {`,"Min":`, least}, {`,"Count":`, total}, {`,"Sum":`, sum}} {
		dst = strconv.AppendFloat(append(dst, member.name...), member.value, 'g', -1, 64)
	}
	return append(dst, '}')
}

// add puts the value at hand into the open document of its moment and
// dimensions: a new one where that is full, or has the metric already.
func (w *writer) add(p *otlpread.Point, suffix string) {
	ms := int64(p.Time / 1e6)
	if p.Start > 0 && p.Start < p.Time && p.Temporality == otlpread.Delta {
		ms = int64((p.Time - 1) / 1e6) // a minute's sum is in that minute
	}
	w.name = append(append(w.name[:0], cut(p.Name, maxName-len(suffix)-maxDimensions)...), suffix...)
	for w.isMember(w.name) { // both would be members of the root
		w.name = append(w.name, '_')
	}
	w.key = strconv.AppendInt(w.key[:0], ms, 10)
	for _, d := range w.dimensions {
		w.key = append(append(append(append(w.key, 0), d.name...), 0), d.value...)
	}
	w.definition = otlpread.AppendQuoted(append(w.definition[:0], nameMember...), w.name)
	i, open := w.index[string(w.key)]
	if open {
		open = w.groups[i].takes(w.definition, len(w.value))
	}
	if !open {
		i = len(w.groups)
		w.groups = append(w.groups, w.newGroup(ms))
		w.index[string(w.key)] = i
	}
	w.groups[i].add(w.definition, w.value, unitOf(p.Unit), w.options.HighResolution)
}

// nameMember is how the definition of a metric begins; its name follows.
const nameMember = `{"Name":`

// takes tells whether the document has room for a metric that it does not have.
func (g *group) takes(definition []byte, value int) bool {
	return len(g.has) < maxMetrics && len(g.metrics)+len(g.members)+value+2*len(definition) < maxBytes &&
		!slices.Contains(g.has, hash(definition))
}

func (g *group) add(definition, value []byte, unit string, highResolution bool) {
	if len(g.has) > 0 {
		g.metrics = append(g.metrics, ',')
	}
	g.has = append(g.has, hash(definition))
	g.metrics = append(g.metrics, definition...)
	if unit != "" {
		g.metrics = append(append(append(g.metrics, `,"Unit":"`...), unit...), '"')
	}
	if highResolution {
		g.metrics = append(g.metrics, `,"StorageResolution":1`...)
	}
	g.metrics = append(g.metrics, '}')
	g.members = append(append(append(append(g.members, ','), definition[len(nameMember):]...), ':'), value...)
}

// hash is FNV-1a, the same in every process, as a batch's bytes have to be. Two
// names of one hash cost a document more.
func hash(text []byte) uint64 {
	h := uint64(14695981039346656037)
	for _, c := range text {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return h
}

// isMember tells whether the root has a member of that name.
func (w *writer) isMember(name []byte) bool {
	_, found := slices.BinarySearchFunc(w.dimensions, name,
		func(d dimension, name []byte) int { return bytes.Compare(d.name, name) })
	return found || string(name) == "_aws"
}

func (w *writer) newGroup(ms int64) group {
	g := group{ms: ms}
	for i, d := range w.dimensions {
		if i > 0 {
			g.names = append(g.names, ',')
		}
		g.names = otlpread.AppendQuoted(g.names, d.name)
		g.members = append(otlpread.AppendQuoted(append(g.members, ','), d.name), ':')
		g.members = otlpread.AppendQuoted(g.members, d.value)
	}
	return g
}

// document writes one line.
func (w *writer) document(dst []byte, g *group) []byte {
	dst = strconv.AppendInt(append(dst, `{"_aws":{"Timestamp":`...), g.ms, 10)
	dst = append(dst, `,"CloudWatchMetrics":[{"Namespace":`...)
	dst = otlpread.AppendQuoted(dst, []byte(w.options.Namespace))
	dst = append(append(append(dst, `,"Dimensions":[[`...), g.names...), `]],"Metrics":[`...)
	dst = append(append(append(dst, g.metrics...), `]}]}`...), g.members...)
	return append(dst, "}\n"...)
}
