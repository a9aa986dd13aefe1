package statsd

import (
	"bytes"
	"math"
	"slices"
	"strconv"
	"time"
	"unsafe"

	"slipstream/telemetry"
)

// Limits of one line, which is no longer than a datagram. Without them one of
// many values and many tags would become gigabytes.
const (
	maxTags   = 256
	maxValues = 1024 // of anything but a distribution
	maxBucket = 1024 // values of one point of a distribution
)

// Why a line is dropped.
const (
	reasonMalformed     = "malformed"
	reasonTooManyTags   = "too_many_tags"
	reasonTooManyValues = "too_many_values"
)

// metric is one line of a metric, taken apart. It is used again for the next.
type metric struct {
	point     telemetry.Point
	rate      float64
	values    []float64
	tags      []telemetry.Tag
	centroids []telemetry.Centroid
}

// fields are what stands behind name, value and type in any kind of line.
// Container ids (c:), external data (e:) and cardinality (card:) tell Datadog's
// agent which tags to look up; there is nothing to look up here, so they and
// what later versions may add are read over.
type fields struct {
	tags []telemetry.Tag
	rate float64
	time time.Time
}

// parse reads NAME:VALUE[:VALUE…]|TYPE[|@RATE][|#TAGS][|TTIME]… and gives the
// reason why it cannot be, or "". Everything in the metric is part of line.
func (m *metric) parse(line []byte, absoluteGauges bool) (reason string) {
	name, rest, ok := bytes.Cut(line, colon)
	if !ok || len(name) == 0 || bytes.IndexByte(name, '|') >= 0 {
		return reasonMalformed
	}
	raw, rest, ok := bytes.Cut(rest, bar)
	if !ok || len(raw) == 0 {
		return reasonMalformed
	}
	kind, rest, _ := bytes.Cut(rest, bar)
	f := fields{tags: m.tags[:0], rate: 1}
	reason = f.parse(rest)
	m.tags = f.tags
	if reason != "" {
		return reason
	}
	m.rate = f.rate
	m.point = telemetry.Point{Name: name, Time: f.time, Count: 1, Tags: f.tags}
	switch string(kind) {
	case "c":
		m.point.Kind, m.point.Count = telemetry.Counter, 1/f.rate
	case "g":
		m.point.Kind = telemetry.Gauge
		if sign := raw[0]; (sign == '+' || sign == '-') && !absoluteGauges {
			m.point.Kind = telemetry.GaugeChange
		}
	case "ms":
		m.point.Kind, m.point.Count, m.point.Unit = telemetry.Distribution, 1/f.rate, "ms"
	case "h", "d":
		m.point.Kind, m.point.Count = telemetry.Distribution, 1/f.rate
	case "s": // its value may have colons: there is only one
		m.point.Kind, m.point.Member = telemetry.Set, raw
		return ""
	default:
		return reasonMalformed
	}
	return m.parseValues(raw)
}

func (m *metric) parseValues(raw []byte) (reason string) {
	m.values = m.values[:0]
	for more := true; more; {
		var one []byte
		one, raw, more = bytes.Cut(raw, colon)
		v, ok := parseNumber(one)
		if m.point.Kind == telemetry.Counter {
			v /= m.rate
		}
		switch {
		case !ok || math.IsInf(v, 0):
			return reasonMalformed
		case len(m.values) == maxValues && m.point.Kind != telemetry.Distribution:
			return reasonTooManyValues
		}
		m.values = append(m.values, v)
	}
	return ""
}

// each calls add for the metric's points: up to maxBucket values of a distribution
// are one point, several of anything else are as many. The point is borrowed.
func (m *metric) each(add func(*telemetry.Point)) {
	p := &m.point
	if p.Kind == telemetry.Set {
		add(p)
		return
	}
	if p.Kind == telemetry.Distribution && len(m.values) > 1 {
		slices.Sort(m.values)
		for some := range slices.Chunk(m.values, maxBucket) {
			m.centroids = m.centroids[:0]
			for _, v := range some {
				m.centroids = append(m.centroids, telemetry.Centroid{Value: v, Count: p.Count})
			}
			p.Centroids = m.centroids
			add(p)
		}
		return
	}
	for _, v := range m.values {
		p.Value = v
		add(p)
	}
}

// parse reads the fields of rest, which a bar separates.
func (f *fields) parse(rest []byte) (reason string) {
	for len(rest) > 0 {
		var field []byte
		field, rest, _ = bytes.Cut(rest, bar)
		if len(field) == 0 {
			continue
		}
		switch field[0] {
		case '#':
			if reason := f.parseTags(field[1:]); reason != "" {
				return reason
			}
		case '@':
			rate, ok := parseNumber(field[1:])
			if !ok || !(rate > 0) || rate > 1 {
				return reasonMalformed
			}
			f.rate = rate
		case 'T':
			at, ok := parseTime(field[1:])
			if !ok {
				return reasonMalformed
			}
			f.time = at
		}
	}
	return ""
}

// parseTags reads KEY:VALUE,KEY,… A value may have colons.
func (f *fields) parseTags(list []byte) (reason string) {
	for len(list) > 0 {
		var one []byte
		one, list, _ = bytes.Cut(list, comma)
		if len(one) == 0 {
			continue
		}
		if len(f.tags) == maxTags {
			return reasonTooManyTags
		}
		tag := telemetry.Tag{Key: one}
		if i := bytes.IndexByte(one, ':'); i > 0 {
			tag = telemetry.Tag{Key: one[:i], Value: one[i+1:]}
		}
		f.tags = append(f.tags, tag)
	}
	return ""
}

var (
	colon = []byte{':'}
	bar   = []byte{'|'}
	comma = []byte{','}
	zeros = [...]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15}
)

// parseNumber reads a finite decimal number. Up to 15 digits are exact as the
// quotient of two whole float64s; strconv reads the others.
func parseNumber(s []byte) (v float64, ok bool) {
	digits, point, whole := s, -1, uint64(0)
	if len(s) > 0 && (s[0] == '-' || s[0] == '+') {
		digits = s[1:]
	}
	for i, c := range digits {
		switch {
		case c >= '0' && c <= '9' && i <= 15:
			whole = whole*10 + uint64(c-'0')
		case c == '.' && point < 0:
			point = i
		default:
			return parseAnyNumber(s)
		}
	}
	n := len(digits)
	if point >= 0 {
		n--
	}
	switch {
	case n <= 0:
		return 0, false
	case n > 15:
		return parseAnyNumber(s)
	}
	v = float64(whole)
	if point >= 0 {
		v /= zeros[n-point]
	}
	if s[0] == '-' {
		v = -v
	}
	return v, true
}

// parseAnyNumber is strconv's parser without its words: inf, nan, 0x and 1_000.
func parseAnyNumber(s []byte) (float64, bool) {
	for _, c := range s {
		if (c < '0' || c > '9') && c != '.' && c != '-' && c != '+' && c != 'e' && c != 'E' {
			return 0, false
		}
	}
	if len(s) == 0 {
		return 0, false
	}
	// The string is read before this returns, and no error that quotes it is kept.
	v, err := strconv.ParseFloat(unsafe.String(&s[0], len(s)), 64)
	return v, err == nil
}

// parseTime reads seconds since 1970, after which the moment is.
func parseTime(s []byte) (time.Time, bool) {
	seconds, ok := parseNumber(s)
	if !ok || !(seconds >= 1) || seconds > 1e10 {
		return time.Time{}, false
	}
	return time.Unix(int64(seconds), 0), true
}
