// Package emf writes exports of metrics as documents of CloudWatch's embedded
// metric format, one a line. Use New for a lane whose destination CloudWatch Logs
// reads: the extension's standard output, or a file that an agent follows. The
// lane asks for delta exports.
//
// Points of one moment with the same dimensions share documents, each with at
// most 100 metrics. Dimensions are the point's attributes and the attributes of
// the resource that Options name, at most 30 in the order of their names;
// CloudWatch makes a metric of its own of each combination. A delta sum and a
// gauge are a number. A cumulative sum that only rises has no place there
// ("cumulative_temporality"), because CloudWatch would add its totals up.
//
// A distribution is an array of values, the only form that the specification
// knows: each of its values (otlpread.Point.Centroids) as often as it occurred, 100
// in a document, up to 1,000 values. Above that the counts are scaled down alike:
// percentiles and mean stay near, SampleCount and Sum in CloudWatch are too small by
// that factor. With Options.Counts it is objects of at most 100 Values and Counts
// instead, with Min, Max, Sum and Count, which CloudWatch takes from OpenTelemetry's
// own exporter but does not document; then nothing is lost.
package emf

import (
	"math"

	"slipstream/wire"
)

// Limits of the specification.
const (
	maxMetrics    = 100
	maxValues     = 100
	maxDimensions = 30
	maxName       = 1024 // of a metric and of a dimension's value
	maxDimension  = 250  // of a dimension's name
	// maxDocuments is how many documents one distribution takes.
	maxDocuments = 10
	// maxBytes is less than a line of a log may have on Lambda, 256 KiB.
	maxBytes = 200 << 10
)

// Options say what documents hold.
type Options struct {
	Namespace string // of all metrics, 1 to 1,024 characters
	// Tags are the resource's attributes that become dimensions.
	Tags []string
	// Counts writes distributions as Values and Counts.
	Counts bool
	// HighResolution stores metrics by the second (StorageResolution 1), for
	// intervals of less than a minute.
	HighResolution bool
}

// Encoder collects exports and makes documents of them. It is safe for
// concurrent use.
type Encoder struct {
	wire.OTLPExports
	options Options
}

// New makes an encoder.
func New(o Options) *Encoder { return &Encoder{options: o} }

// ContentType is that of lines of JSON.
func (*Encoder) ContentType() string { return "application/x-ndjson" }

// Extension is that of a file of documents.
func (*Encoder) Extension() string { return ".emf.json" }

// units are CloudWatch's words for UCUM's, and for notes in braces.
var units = map[string]string{
	"s": "Seconds", "ms": "Milliseconds", "us": "Microseconds", "By": "Bytes", "KBy": "Kilobytes", "kBy": "Kilobytes",
	"MBy": "Megabytes", "GBy": "Gigabytes", "TBy": "Terabytes", "bit": "Bits", "kbit": "Kilobits", "Mbit": "Megabits",
	"Gbit": "Gigabits", "Tbit": "Terabits", "%": "Percent", "By/s": "Bytes/Second", "kBy/s": "Kilobytes/Second",
	"MBy/s": "Megabytes/Second", "GBy/s": "Gigabytes/Second", "TBy/s": "Terabytes/Second", "bit/s": "Bits/Second",
	"kbit/s": "Kilobits/Second", "Mbit/s": "Megabits/Second", "Gbit/s": "Gigabits/Second", "Tbit/s": "Terabits/Second",
}

// unitOf gives CloudWatch's unit, "" for none.
func unitOf(unit []byte) string {
	if len(unit) > 2 && unit[0] == '{' {
		if unit[len(unit)-1] == '}' {
			return "Count"
		}
		if string(unit[len(unit)-3:]) == "}/s" {
			return "Count/Second"
		}
	}
	return units[string(unit)]
}

// finite tells whether CloudWatch takes the number: it has none beyond 2^360.
func finite(v float64) bool { return math.Abs(v) <= 0x1p360 }
