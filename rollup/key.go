package rollup

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"unicode/utf8"

	"slipstream/telemetry"
)

// A series' key is its identity, in an order that puts series of one metric
// together: resource, scope, name, unit, description, class, source, tags, each
// text with its length before it. The tags are sorted by name and value, so that
// their order does not matter; a name that comes several times stays so.

// Attributes of our own.
const (
	attributeSource = "source"
	attributeSketch = "slipstream.hll"
	// attributeOverflow is OpenTelemetry's mark of a series that stands for all
	// that were over a limit.
	attributeOverflow = "otel.metric.overflow"
	scopeName         = "slipstream/rollup"
)

// overflowTag is otel.metric.overflow=true; the value is an AnyValue.
var overflowTag = telemetry.Tag{Key: []byte(attributeOverflow), Value: []byte{2 << 3, 1}, Typed: true}

// seriesOf gives the number of the point's series in the bin, where it begins
// if there is room for it. Else it is that of the overflow of its name.
func (r *Rollup) seriesOf(b *Bin, p *telemetry.Point, k class) (n int32, ok bool) {
	r.key, r.order = appendKey(r.key[:0], p, k, r.config.Source, r.order)
	if n, ok = b.index[string(r.key)]; ok {
		return n, true
	}
	clean, over := r.config.cleaned(p)
	r.key, r.order = appendKey(r.key[:0], clean, k, r.config.Source, r.order)
	if n, ok = b.index[string(r.key)]; ok && !over {
		return n, true
	}
	if !over && len(b.cells)-b.overflows < r.config.MaxSeries && r.bytes < r.config.MaxBytes {
		return r.begin(b, clean, k), true
	}
	return r.overflow(b, clean, k)
}

// overflow gives the series for what is over a limit.
func (r *Rollup) overflow(b *Bin, clean *telemetry.Point, k class) (n int32, ok bool) {
	all := telemetry.Point{Kind: clean.Kind, Name: clean.Name, Unit: clean.Unit, Description: clean.Description,
		Resource: clean.Resource, Scope: clean.Scope, Tags: []telemetry.Tag{overflowTag}}
	r.key, r.order = appendKey(r.key[:0], &all, k, "", r.order)
	if n, ok = b.index[string(r.key)]; !ok {
		if b.overflows >= r.config.MaxSeries/8+1 {
			return 0, false
		}
		b.overflows++
		n = r.begin(b, &all, k)
	}
	r.counts.Overflowed++
	return n, true
}

// begin makes the series whose key is at hand.
func (r *Rollup) begin(b *Bin, p *telemetry.Point, k class) int32 {
	n := b.define(string(r.key), k)
	grew := len(r.key) + seriesBytes
	if k == setClass {
		grew += pendingBytes
	}
	b.bytes += grew
	r.bytes += grew
	r.noteKind(b, string(p.Name), k)
	return n
}

// friends are classes that may have one name: StatsD changes gauges, and a
// counter may go down.
var friends = [classes]uint8{1<<gaugeClass | 1<<changeClass, 1<<gaugeClass | 1<<changeClass | 1<<counterClass,
	1<<counterClass | 1<<changeClass, 1 << distributionClass, 1 << setClass}

// maxMixed is how many names of several kinds are told.
const maxMixed = 32

// noteKind notes names that come as several kinds.
func (r *Rollup) noteKind(b *Bin, name string, k class) {
	known := b.kinds[name]
	b.kinds[name] = known | 1<<k
	if known&^friends[k] == 0 || len(r.counts.Mixed) >= maxMixed {
		return
	}
	for _, told := range r.counts.Mixed {
		if told == name {
			return
		}
	}
	r.counts.Mixed = append(r.counts.Mixed, name)
}

// cleaned gives the point with texts that are UTF-8 and not too long. Over tells
// that something was: then only the name, the unit and the origin count.
func (c *Config) cleaned(p *telemetry.Point) (clean *telemetry.Point, over bool) {
	dup := *p
	text := func(b []byte, limit int) []byte {
		if !utf8.Valid(b) {
			b = validUTF8(b)
		}
		if len(b) > limit {
			over = true
			for limit > 0 && !utf8.RuneStart(b[limit]) {
				limit--
			}
			b = b[:limit]
		}
		return b
	}
	dup.Name = text(p.Name, c.MaxNameBytes)
	dup.Unit = string(text([]byte(p.Unit), c.MaxValueBytes))
	dup.Description = text(p.Description, c.MaxValueBytes)
	dup.Source = text(p.Source, c.MaxValueBytes)
	if len(p.Resource)+len(p.Scope) > 8*c.MaxValueBytes {
		dup.Resource, dup.Scope, over = nil, nil, true
	}
	if len(p.Tags) > c.MaxTags {
		return &dup, true
	}
	dup.Tags = make([]telemetry.Tag, len(p.Tags))
	for i, t := range p.Tags {
		dup.Tags[i] = telemetry.Tag{Key: text(t.Key, c.MaxKeyBytes), Value: t.Value, Typed: t.Typed}
		if !t.Typed {
			dup.Tags[i].Value = text(t.Value, c.MaxValueBytes)
		} else if len(t.Value) > c.MaxValueBytes {
			over = true
		}
	}
	return &dup, over
}

// validUTF8 replaces what is not UTF-8 by U+FFFD, a byte at a time.
func validUTF8(b []byte) []byte {
	var valid []byte
	for _, r := range string(b) {
		valid = utf8.AppendRune(valid, r)
	}
	return valid
}

// appendKey appends the key; order is room to sort the tags in.
func appendKey(dst []byte, p *telemetry.Point, k class, source string, order []int) (_ []byte, _ []int) {
	dst = appendText(dst, p.Resource)
	dst = appendText(dst, p.Scope)
	dst = appendText(dst, p.Name)
	dst = appendText(dst, p.Unit)
	dst = appendText(dst, p.Description)
	dst = append(dst, byte(k))
	if len(p.Source) > 0 {
		dst = appendText(dst, p.Source)
	} else {
		dst = appendText(dst, source)
	}
	sourced := len(p.Source) > 0 || source != ""
	order = order[:0]
	for i := range p.Tags {
		if sourced && string(p.Tags[i].Key) == attributeSource {
			continue // as wire.Points does
		}
		order = append(order, i)
		for j := len(order) - 1; j > 0 && lessTag(&p.Tags[order[j]], &p.Tags[order[j-1]]); j-- {
			order[j], order[j-1] = order[j-1], order[j]
		}
		if i > maxSorted {
			break // too many by far: only their number counts
		}
	}
	dst = binary.AppendUvarint(dst, uint64(len(order)))
	for _, i := range order {
		t := &p.Tags[i]
		dst = appendText(dst, t.Key)
		typed := byte(0)
		if t.Typed {
			typed = 1
		}
		dst = append(dst, typed)
		dst = appendText(dst, t.Value)
	}
	return dst, order
}

// maxSorted is more than any limit of tags should be: sorting takes its square.
const maxSorted = 1024

func lessTag(a, b *telemetry.Tag) bool {
	if len(a.Key) > 0 && len(b.Key) > 0 && a.Key[0] != b.Key[0] {
		return a.Key[0] < b.Key[0]
	}
	c := bytes.Compare(a.Key, b.Key)
	if c == 0 {
		c = cmp.Or(bytes.Compare(a.Value, b.Value), compareBool(a.Typed, b.Typed))
	}
	return c < 0
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

func appendText[T string | ~[]byte](dst []byte, text T) []byte {
	if len(text) < 0x80 {
		dst = append(dst, byte(len(text)))
	} else {
		dst = binary.AppendUvarint(dst, uint64(len(text)))
	}
	return append(dst, text...)
}

// readKey reads a key into p, whose bytes are then the key's. It is false if it
// is none.
func readKey(key []byte, p *telemetry.Point) (k class, ok bool) {
	in := reader{b: key}
	*p = telemetry.Point{Tags: p.Tags[:0]}
	p.Resource = in.text()
	p.Scope = in.text()
	p.Name = in.text()
	p.Unit = string(in.text())
	p.Description = in.text()
	k = class(in.byte())
	p.Source = in.text()
	for n := in.uvarint(); n > 0 && !in.bad; n-- {
		t := telemetry.Tag{Key: in.text()}
		t.Typed = in.byte() == 1
		t.Value = in.text()
		p.Tags = append(p.Tags, t)
	}
	if in.bad || len(in.b) > 0 || k >= classes {
		return 0, false
	}
	p.Kind = kinds[k]
	return k, true
}

// reader reads what was appended. Once it is bad it gives nothing.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.b, r.bad = nil, true
		return 0
	}
	r.b = r.b[n:]
	return v
}

// varint is a signed number, zigzag.
func (r *reader) varint() int64 {
	v := r.uvarint()
	return int64(v>>1) ^ -int64(v&1)
}

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.bad = true
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

func (r *reader) text() []byte {
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.b, r.bad = nil, true
		return nil
	}
	text := r.b[:n:n]
	r.b = r.b[n:]
	return text
}
