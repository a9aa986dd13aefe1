package wavefront

import (
	"bytes"
	"time"
	"unicode/utf8"

	"github.com/go-faster/jx"

	"slipstream/telemetry"
)

// format says what lines are, where the sender said so.
type format uint8

const (
	detect     format = iota // each line shows it
	metrics                  // f=wavefront, f=graphite_v2
	histograms               // f=histogram
	traces                   // f=trace
	spanLogs                 // f=spanLogs
)

// Line limits of the proxy's defaults: pushListenerMaxReceivedLength and
// histogramMaxReceivedLength.
const (
	maxLine      = 32 << 10
	maxHistogram = 64 << 10
)

// parser reads one line at a time and keeps what it needs for it: it allocates
// nothing for a line that is like those before it.
type parser struct {
	out    *batch
	minute bool // the port of minute histograms
	now    time.Time

	scan      scanner
	point     telemetry.Point
	pointTags []telemetry.Tag
	centroids []telemetry.Centroid
	source    []byte
	span      span
	record    record
	json      jx.Decoder // of the line
	inner     jx.Decoder // of a part of it
	text      []byte     // strings of JSON, decoded
}

// line takes one line without its end; it gives the reason for which the line
// is dropped, "" if it is not.
func (p *parser) line(line []byte, f format) string {
	line = trim(line)
	switch {
	case len(line) == 0:
		return ""
	case len(line) > limit(line):
		return reasonTooLarge
	case !utf8.Valid(line):
		return reasonNotUTF8
	case bytes.IndexByte(line, 4) >= 0: // EOT
		return reasonMalformed
	}
	p.scan.reset(line)
	switch first := line[0]; {
	case p.minute:
		if first == '!' || first == '@' || first == '{' || first == '[' {
			return reasonNotOnPort
		}
		return p.metric(false)
	case f == metrics:
		return p.metric(false)
	case f == histograms:
		return p.histogram()
	case f == traces:
		return p.spanLine()
	case f == spanLogs:
		return p.spanLogs(line)
	case first == '!' && len(line) > 2 && line[2] == ' ':
		return p.histogram()
	case first == '@':
		return p.at(line)
	case first == '{' && line[len(line)-1] == '}':
		return p.spanLogs(line)
	case first == '[' && line[len(line)-1] == ']':
		return reasonLogsNotServed
	}
	return p.metric(true)
}

// limit is how long a line may be, which its first byte tells.
func limit(line []byte) int {
	if len(line) > 0 && line[0] == '!' {
		return maxHistogram
	}
	return maxLine
}

// trim takes white space and control characters off both ends, as Java does.
func trim(line []byte) []byte {
	for len(line) > 0 && line[0] <= ' ' {
		line = line[1:]
	}
	for len(line) > 0 && line[len(line)-1] <= ' ' {
		line = line[:len(line)-1]
	}
	return line
}
