package logmetric

import (
	"bytes"
	"regexp"
	"time"

	"slipstream/process/jsonview"
	"slipstream/process/pattern"
	"slipstream/telemetry"
)

// Filter makes a point of each line that it matches: see ParseFilters.
type Filter struct {
	pattern    *pattern.Pattern // or
	regexp     *regexp.Regexp
	namespace  string // and a point, before the name
	name       source
	value      source
	constant   float64 // the value if it has no source
	dimensions []dimension
	unit       string
	kind       telemetry.PointKind
	consume    bool
	standIn    float64 // of a period without a match, if hasStandIn
	hasStandIn bool
	matched    bool   // since the last Defaults
	literal    []byte // that a record needs, unless it has other escapes than the usual
}

// source is where a text comes from: a selector, a group, or the setting itself.
type source struct {
	text     []byte
	selector *pattern.Selector
	group    int // of the regular expression, 0 if none
}

type dimension struct {
	key   []byte
	value source
}

// escapes tells whether a record may write a plain character with an escape.
type escapes uint8

const (
	unknown escapes = iota
	usual           // only of what must be escaped
	unusual
)

// worth tells whether the record may match, before it is read.
func (f *Filter) worth(body []byte, e *escapes) bool {
	if len(f.literal) == 0 || bytes.Contains(body, f.literal) {
		return true
	}
	if *e == unknown {
		*e = escapesOf(body)
	}
	return *e == unusual
}

func escapesOf(body []byte) escapes {
	for {
		i := bytes.IndexByte(body, '\\')
		if i < 0 || i+1 >= len(body) {
			return usual
		}
		if body[i+1] == 'u' || body[i+1] == '/' {
			return unusual
		}
		body = body[i+1:] // a second backslash may begin an escape of a line that is JSON itself
	}
}

// plainPart is the longest part of a text that no JSON writes otherwise than it is,
// but by \u or \/.
func plainPart(text string) []byte {
	best, rest := []byte(nil), []byte(text)
	for len(rest) > 0 {
		end := bytes.IndexFunc(rest, func(r rune) bool { return r < ' ' || r == '"' || r == '\\' || r == '/' || r == 0x7f })
		if end < 0 {
			end = len(rest)
		}
		if end > len(best) {
			best = rest[:end]
		}
		rest = rest[min(end+1, len(rest)):]
	}
	return best
}

// filter makes the point of a line that matches.
func (x *Extractor) filter(f *Filter, text []byte, at time.Time) (made bool) {
	var groups []int
	if f.regexp != nil {
		if groups = f.regexp.FindSubmatchIndex(text); groups == nil {
			return false
		}
	} else if !f.pattern.Match(text) {
		return false
	}
	name, ok := f.name.of(f, text, groups)
	if !ok || len(name) == 0 || len(name) > maxName {
		x.drop(FilterName)
		return false
	}
	if f.namespace != "" {
		x.name = append(append(x.name[:0], f.namespace...), name...)
		name = x.name
	}
	v := f.constant
	if number, found := f.value.of(f, text, groups); found {
		if v, found = jsonview.Number(bytes.TrimSpace(number)); !found {
			x.drop(FilterValue)
			return false
		}
	} else if f.value.given() {
		x.drop(FilterValue)
		return false
	}
	x.tags = x.tags[:0]
	for i := range f.dimensions {
		d := &f.dimensions[i]
		if value, found := d.value.of(f, text, groups); found && len(value) > 0 {
			x.tags = append(x.tags, telemetry.Tag{Key: d.key, Value: value})
		}
	}
	x.point = telemetry.Point{Kind: f.kind, Name: name, Time: at, Value: v, Count: 1, Unit: f.unit, Tags: x.tags}
	x.emit(&x.point)
	f.matched = true
	return true
}

// given tells whether there is anything to take a text from.
func (s *source) given() bool { return s.selector != nil || s.group > 0 || s.text != nil }

// of gives the text for a line that has matched.
func (s *source) of(f *Filter, line []byte, groups []int) ([]byte, bool) {
	switch {
	case s.selector != nil:
		return f.pattern.Value(s.selector)
	case s.group > 0:
		start, end := groups[2*s.group], groups[2*s.group+1]
		if start < 0 {
			return nil, false
		}
		return line[start:end], true
	}
	return s.text, s.text != nil
}

// Defaults hands on the default value of each filter that has one and has matched
// no line since the last call: call it once a period.
func (x *Extractor) Defaults(now time.Time, emit func(*telemetry.Point)) {
	for i := range x.config.Filters {
		f := &x.config.Filters[i]
		if f.hasStandIn && !f.matched {
			x.point = telemetry.Point{Kind: f.kind, Time: now, Value: f.standIn, Count: 1, Unit: f.unit}
			x.name = append(append(x.name[:0], f.namespace...), f.name.text...)
			x.point.Name = x.name
			emit(&x.point)
		}
		f.matched = false
	}
}
