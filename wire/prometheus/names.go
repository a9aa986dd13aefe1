package prometheus

import (
	"bytes"
	"slices"

	"slipstream/wire/otlpread"
)

// unitNames are the words for UCUM's units, as OpenTelemetry's specification of
// Prometheus' names has them.
var unitNames = map[string]string{
	"d": "days", "h": "hours", "min": "minutes", "s": "seconds", "ms": "milliseconds", "us": "microseconds",
	"ns": "nanoseconds", "By": "bytes", "KiBy": "kibibytes", "MiBy": "mebibytes", "GiBy": "gibibytes",
	"TiBy": "tibibytes", "KBy": "kilobytes", "kBy": "kilobytes", "MBy": "megabytes", "GBy": "gigabytes",
	"TBy": "terabytes", "m": "meters", "V": "volts", "A": "amperes", "J": "joules", "W": "watts", "g": "grams",
	"Cel": "celsius", "Hz": "hertz", "%": "percent", "1": "",
}

// perNames are those behind a slash.
var perNames = map[string]string{
	"s": "second", "m": "minute", "h": "hour", "d": "day", "w": "week", "mo": "month", "y": "year",
}

// appendName appends a metric's name with its unit and, for a counter, _total.
func (w *request) appendName(dst []byte, p *otlpread.Point, kind uint64) []byte {
	start := len(dst)
	if w.options.UTF8 {
		dst = append(dst, p.Name...)
	} else {
		dst = appendMetricName(dst, p.Name)
	}
	unit, per, ratio := unitOf(p.Unit)
	if kind == typeCounter { // _total stands last
		dst = append(dst[:start], bytes.TrimSuffix(dst[start:], []byte("_total"))...)
	}
	if unit != "" && !hasWord(dst[start:], unit) {
		dst = append(append(dst, '_'), unit...)
	}
	if per != "" && !hasWord(dst[start:], per) {
		dst = append(append(dst, "_per_"...), per...)
	}
	switch {
	case kind == typeCounter:
		dst = append(dst, "_total"...)
	case ratio && p.Kind == otlpread.Gauge && !hasWord(dst[start:], "ratio"):
		dst = append(dst, "_ratio"...)
	}
	return dst
}

// unitOf gives the words for a unit: "By/s" is bytes per second. What stands in
// braces is a note.
func unitOf(unit []byte) (main, per string, ratio bool) {
	if string(unit) == "1" {
		return "", "", true
	}
	first, second, divided := bytes.Cut(unit, []byte("/"))
	if bytes.IndexByte(first, '{') < 0 {
		main = word(first, unitNames)
	}
	if divided && bytes.IndexByte(second, '{') < 0 {
		per = word(second, perNames)
	}
	return main, per, false
}

func word(unit []byte, names map[string]string) string {
	if name, ok := names[string(unit)]; ok {
		return name
	}
	return string(bytes.Trim(appendMetricName(nil, unit), "_:"))
}

// hasWord tells whether a name has the word among those between its underscores.
func hasWord(name []byte, word string) bool {
	for part := range bytes.FieldsFuncSeq(name, func(r rune) bool { return r == '_' || r == '.' }) {
		if string(part) == word {
			return true
		}
	}
	return false
}

// appendMetricName appends a name with one underscore for whatever a classic
// name must not have.
func appendMetricName(dst, name []byte) []byte {
	start := len(dst)
	for _, c := range name {
		switch {
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == ':':
		case c >= '0' && c <= '9':
			if len(dst) == start {
				dst = append(dst, '_')
			}
		case len(dst) > start && dst[len(dst)-1] == '_':
			continue
		default:
			c = '_'
		}
		dst = append(dst, c)
	}
	return dst
}

// ownLabels are names that a label must not take.
var ownLabels = []string{"__name__"}

// appendLabelName appends a label's name; nothing for an empty one.
func appendLabelName(dst, key []byte, utf8 bool) []byte {
	start := len(dst)
	if utf8 {
		if slices.Contains(ownLabels, string(key)) {
			return append(dst, "attribute_name"...)
		}
		return append(dst, key...)
	}
	for _, c := range key {
		legal := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_'
		switch {
		case !legal && len(dst) > start && dst[len(dst)-1] == '_':
			continue
		case !legal:
			c = '_'
		}
		dst = append(dst, c)
	}
	if name := dst[start:]; len(name) > 0 && (name[0] >= '0' && name[0] <= '9' || bytes.HasPrefix(name, []byte("__"))) {
		dst = slices.Insert(dst, start, []byte("key_")...)
	}
	return dst
}
