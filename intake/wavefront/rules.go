package wavefront

import (
	"bytes"
	"unicode/utf8"
)

// The reasons for which a line is dropped. Those that the proxy's validation
// has a code for carry it: the code is what a Wavefront user looks up.
const (
	reasonMalformed     = "malformed"    // WF-300: it does not parse
	reasonTooLarge      = "too_large"    // a line, or a body, over its limit
	reasonNotUTF8       = "not_utf8"     // the proxy replaces, and then refuses most
	reasonUnterminated  = "unterminated" // the connection ended in the middle of the line
	reasonNotOnPort     = "not_accepted_on_this_port"
	reasonConnections   = "too_many_connections"
	reasonNoRoom        = "no_room"
	reasonOver          = "over"
	reasonName          = "wf_400_name_characters"
	reasonTagKey        = "wf_401_tag_key_characters"
	reasonDelta         = "wf_404_delta_not_positive"
	reasonEmptyHisto    = "wf_405_empty_histogram"
	reasonNoSource      = "wf_406_source_missing"
	reasonSourceLong    = "wf_407_source_too_long"
	reasonNameLong      = "wf_408_metric_name_too_long"
	reasonHistoLong     = "wf_409_histogram_name_too_long"
	reasonTags          = "wf_410_too_many_tags"
	reasonTagLong       = "wf_411_tag_too_long"
	reasonTagKeyLong    = "wf_412_tag_key_too_long"
	reasonTagValueLong  = "wf_413_tag_value_too_long"
	reasonTagNoValue    = "wf_414_tag_value_missing"
	reasonSpanName      = "wf_415_span_name_characters"
	reasonSpanKey       = "wf_416_span_tag_key_characters"
	reasonSpanNoSource  = "wf_426_span_source_missing"
	reasonSpanSrcLong   = "wf_427_span_source_too_long"
	reasonSpanLong      = "wf_428_span_name_too_long"
	reasonSpanTags      = "wf_430_span_too_many_tags"
	reasonSpanKeyLong   = "wf_432_span_tag_key_too_long"
	reasonSpanNoValue   = "wf_434_span_tag_value_missing"
	reasonLogsNotServed = "logs_not_accepted"
)

// The limits of java-lib's ValidationConfiguration, in characters.
const (
	maxName       = 1023 // of a metric, a histogram and a source
	maxTags       = 100
	maxTagKey     = 253
	maxTagValue   = 255
	maxTag        = 255 // key and value together stay below it
	maxSpanName   = 128
	maxSpanTags   = 20
	maxSpanTagKey = 128
)

// legalCharacters tells whether name has nothing but , - . / digits, letters
// and _.
func legalCharacters(name []byte) bool {
	for _, c := range name {
		legal := c >= ',' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c == '_'
		if !legal {
			return false
		}
	}
	return true
}

// legalName is legalCharacters behind the prefixes that a name may have: ~ for
// internal metrics, a delta, a delta and ~.
func legalName(name []byte) bool {
	if len(name) == 0 {
		return false
	}
	if rest, delta := cutDelta(name); delta {
		return legalCharacters(bytes.TrimPrefix(rest, tilde))
	}
	return legalCharacters(bytes.TrimPrefix(name, tilde))
}

var (
	tilde     = []byte("~")
	increment = []byte("\u2206") // ∆
	greek     = []byte("\u0394") // Δ
)

// cutDelta takes the prefix of a delta counter away.
func cutDelta(name []byte) ([]byte, bool) {
	if rest, ok := bytes.CutPrefix(name, increment); ok {
		return rest, true
	}
	return bytes.CutPrefix(name, greek)
}

// longer tells whether text has more characters than limit, as Java counts
// them: what needs four bytes in UTF-8 is two.
func longer(text []byte, limit int) bool {
	return len(text) > limit && characters(text) > limit
}

func characters(text []byte) int {
	n := utf8.RuneCount(text)
	for _, c := range text {
		if c >= 0xf0 {
			n++
		}
	}
	return n
}

func blank(text []byte) bool { return len(bytes.TrimSpace(text)) == 0 }

// checkTag gives the reason for which a point's tag is refused, "" for none.
func checkTag(key, value []byte) string {
	switch {
	case len(key)+len(value) >= maxTag && characters(key)+characters(value) >= maxTag:
		return reasonTagLong
	case longer(key, maxTagKey):
		return reasonTagKeyLong
	case !legalName(key):
		return reasonTagKey
	case blank(value):
		return reasonTagNoValue
	case longer(value, maxTagValue):
		return reasonTagValueLong
	}
	return ""
}
