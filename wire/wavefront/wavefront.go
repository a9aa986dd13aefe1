// Package wavefront writes exports as Wavefront's lines, for its proxies and for
// direct ingestion. Use New for a lane of metrics or of traces.
//
// The body of a lane of metrics is lines of points, then lines of distributions;
// that of traces is lines of spans, then lines of span logs: who has to send each
// kind to another address cuts once, where the first line begins with ! or {.
//
// # Metrics
//
//	gauge, cumulative sum      "name" value second source="s" "key"="v"
//	delta sum                  "∆name" value second ..., if it is above zero
//	delta histogram            !M minute #count value ... "name" ...
//	cumulative histogram       "name.count", "name.sum", and "name" for each bucket, its upper bound in the tag le
//	summary                    "name.count", "name.sum", and "name" for each quantile, in the tag quantile
//
// A series has one value a second: of a batch's gauges of one second the last
// stays, the others are dropped as "superseded"; delta sums of one second are
// added up. A delta sum below zero cannot be told ("negative_delta"), nor can a
// value that is no number ("not_a_number"), nor a point without a name
// ("no_name"). A distribution is told by at most 1,300 values with their counts,
// each within a bucket of what it was, whose mean is the distribution's
// (otlpread.Point.Centroids). A line has at most 100 of them, so one of many
// buckets is several lines of one series and minute, which Wavefront adds up.
//
// # Spans
//
// Ids become UUIDs; a span's 8 bytes stand behind 8 zeros. The tags application
// and service, which Wavefront asks for, are the resource's application, else
// service.namespace, else the service's name, and service.name. Of the other
// attributes as many follow as fit into 20. Events are span logs.
//
// # Rules
//
// Names and keys keep letters, digits and , - . / _; every other byte is a -, as
// in Wavefront's SDKs. Values lose control characters, their ends are trimmed,
// newlines become \n and quotes \". What is too long for java-lib's limits is
// cut, tags above 100 are left out: a proxy would refuse the whole line.
package wavefront

import (
	"bytes"
	"strconv"
	"unicode"
	"unicode/utf8"

	"slipstream/telemetry"
	"slipstream/wire"
	"slipstream/wire/otlpread"
)

// The limits of java-lib's ValidationConfiguration, there in characters. Bytes
// are the stricter count.
const (
	maxName      = 1023 // of a metric, a histogram and a source
	maxTags      = 100
	maxTagKey    = 128 // of 253: a key that leaves no room for its value helps nobody
	maxTag       = 254 // key and value
	maxSpanName  = 128
	maxSpanTags  = 20
	maxSpanTag   = 128 // key, and value
	maxSpanLinks = 5
	maxLine      = 32 << 10
	// maxCentroids is java-lib's limit for a distribution's line (IngesterContext).
	maxCentroids = 100
	// maxLines is for 640 buckets of either sign, as the rollup has at most, zero, and both ends.
	maxLines = 13
)

// Options say what lines tell of whose they are.
type Options struct {
	// Signal is telemetry.Metrics or telemetry.Traces.
	Signal telemetry.Signal
	// Source is every line's source; empty for the resource's faas.name, else
	// service.name. A point's own attribute "source" goes before both.
	Source string
	// Tags are the resource's attributes that become tags.
	Tags []string
}

// Encoder collects exports and makes one body of them. It is safe for
// concurrent use.
type Encoder struct {
	wire.OTLPExports
	options Options
}

// New makes an encoder.
func New(o Options) *Encoder { return &Encoder{options: o} }

// ContentType is that of direct ingestion.
func (*Encoder) ContentType() string { return "application/octet-stream" }

// Extension is that of a file of lines.
func (*Encoder) Extension() string { return ".wavefront.txt" }

// AppendBody appends the lines of a batch of exports.
func (e *Encoder) AppendBody(dst, records []byte, drop func(reason string, n int)) []byte {
	var r otlpread.Reader
	if e.options.Signal == telemetry.Traces {
		w := spans{options: &e.options, drop: drop, lines: dst}
		if err := r.Spans(records, w.span); err != nil {
			drop("unreadable", 1)
		}
		return append(w.lines, w.logs...)
	}
	w := points{options: &e.options, drop: drop, index: map[uint64]int{}}
	if err := r.Metrics(records, w.point); err != nil {
		drop("unreadable", 1)
	}
	return w.appendTo(dst)
}

// appendName appends a name, quoted, with a dash for each byte that it must not have.
func appendName(dst []byte, prefix string, name []byte, suffix string, limit int) []byte {
	dst = append(append(dst, '"'), prefix...)
	dst = appendLegal(dst, name[:min(len(name), limit-len(prefix)-len(suffix))])
	return append(append(dst, suffix...), '"')
}

func appendLegal[T string | ~[]byte](dst []byte, name T) []byte {
	for i := range len(name) {
		c := name[i]
		if legal := c >= ',' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c == '_'; !legal {
			c = '-'
		}
		dst = append(dst, c)
	}
	return dst
}

// appendValue appends a value in quotes, at most limit bytes of it; nothing for
// an empty one.
func appendValue(dst, value []byte, limit int) []byte {
	value = bytes.TrimFunc(value, blank)
	if len(value) > limit {
		for limit > 0 && !utf8.RuneStart(value[limit]) {
			limit--
		}
		value = value[:limit]
	}
	if len(value) == 0 {
		return dst
	}
	dst = append(dst, '"')
	start := len(dst)
	for _, c := range value {
		switch {
		case c == '\n':
			dst = append(dst, '\\', 'n')
		case c == '"':
			dst = append(dst, '\\', '"')
		case c < ' ' || c == 0x7f:
			dst = append(dst, ' ')
		default:
			dst = append(dst, c)
		}
	}
	// A backslash before the closing quote would take it.
	for i := len(dst) - 1; i >= start && dst[i] == '\\'; i-- {
		dst[i] = '/'
	}
	return append(dst, '"')
}

// appendTag appends ` "key"="value"`; nothing if one of them is empty.
func appendTag[T string | ~[]byte](dst []byte, key T, value []byte, maxKey, maxBoth int) ([]byte, bool) {
	start := len(dst)
	key = key[:min(len(key), maxKey)]
	dst = append(dst, ` "`...)
	switch string(key) { // they would be the line's own
	case "source", "host", "tag":
		dst = append(dst, '_')
	}
	dst = append(appendLegal(dst, key), `"=`...)
	mark := len(dst)
	if dst = appendValue(dst, value, maxBoth); len(dst) == mark || len(key) == 0 {
		return dst[:start], false
	}
	return dst, true
}

// source gives who a point or span is of.
func (o *Options) source(scratch []byte, resource, own otlpread.Attributes) []byte {
	if v, ok := own.Get("source"); ok {
		if scratch = v.AppendText(scratch); len(bytes.TrimSpace(scratch)) > 0 {
			return scratch
		}
	}
	if scratch = append(scratch[:0], o.Source...); len(scratch) > 0 {
		return scratch
	}
	for _, key := range [...]string{"faas.name", "service.name"} {
		if v, ok := resource.Get(key); ok {
			if scratch = v.AppendText(scratch[:0]); len(bytes.TrimSpace(scratch)) > 0 {
				return scratch
			}
		}
	}
	return append(scratch[:0], "unknown"...)
}

func appendSource(dst, source []byte) []byte {
	dst = append(dst, " source="...)
	mark := len(dst)
	if dst = appendValue(dst, source, maxName); len(dst) == mark {
		dst = append(dst, `"unknown"`...)
	}
	return dst
}

// blank tells whether a value of nothing but this is none.
func blank(r rune) bool { return r <= ' ' || r == 0x7f || unicode.IsSpace(r) }

func appendNumber(dst []byte, v float64) []byte { return strconv.AppendFloat(dst, v, 'f', -1, 64) }
