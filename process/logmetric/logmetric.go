// Package logmetric finds metrics in log lines: by filters as those of CloudWatch
// Logs, in documents of the embedded metric format (EMF), and in lines that begin
// with [METRIC]. Use an Extractor where each record passes; a line without any
// metric costs it a search for a few short texts.
package logmetric

import (
	"bytes"
	"fmt"
	"time"

	"slipstream/process/jsonview"
	"slipstream/process/pattern"
	"slipstream/telemetry"
)

// Mode says what is done with one kind of metrics and their lines.
type Mode uint8

// The modes, by their names in settings: off, keep and consume.
const (
	Off     Mode = iota // the lines are only lines
	Keep                // points are made, the line goes on as a record
	Consume             // points are made instead of the record, if nothing was wrong with it
)

// ParseMode reads off, keep or consume.
func ParseMode(text string) (Mode, error) {
	for m, name := range [...]string{Off: "off", Keep: "keep", Consume: "consume"} {
		if text == name {
			return Mode(m), nil
		}
	}
	return Off, fmt.Errorf("%q is none of off, keep and consume", text)
}

// Reason says why a metric that a line seems to hold is not made. The line is then
// always kept.
type Reason string

// The reasons.
const (
	FilterName  Reason = "filter_name"  // a matching line has no name where the filter says so
	FilterValue Reason = "filter_value" // or no number
	LineForm    Reason = "line_form"    // [METRIC], but not time, request id, name and number

	EMFSize       Reason = "emf_size"       // a document of more than 1 MiB
	EMFJSON       Reason = "emf_json"       // not one JSON object and nothing else
	EMFTimestamp  Reason = "emf_timestamp"  // none, or not whole milliseconds since 1970
	EMFDirective  Reason = "emf_directive"  // no list of directives, or one that is not complete
	EMFNamespace  Reason = "emf_namespace"  // not 1 to 1,024 bytes
	EMFDimension  Reason = "emf_dimension"  // a set of over 30, a key without a string, a name or value too long
	EMFMetric     Reason = "emf_metric"     // a definition without a name, or more than 100 of them
	EMFValue      Reason = "emf_value"      // missing, or neither a number nor up to 100 of them
	EMFUnit       Reason = "emf_unit"       // none of CloudWatch's
	EMFResolution Reason = "emf_resolution" // neither 1 nor 60
	EMFPoints     Reason = "emf_points"     // more than 10,000 points of one document
)

// maxName bounds the name of a metric, in bytes: what CloudWatch takes.
const maxName = 1024

// Config says what an Extractor looks for.
type Config struct {
	Filters []Filter
	EMF     Mode
	// Lines is for lines as [METRIC] 2018-05-15T11:18:19.297Z REQUEST-ID NAME 0.56
	// of which no filter makes a point.
	Lines Mode
	// Drop counts what could not be made.
	Drop func(Reason)
}

// Extractor turns lines into points. It is for one goroutine at a time.
type Extractor struct {
	config Config
	line   metricLine
	emf    emf
	text   []byte // of a line with escapes
	point  telemetry.Point
	name   []byte // with its namespace
	tags   []telemetry.Tag
	emit   func(*telemetry.Point) // during Take
}

// New makes an Extractor.
func New(c Config) *Extractor {
	x := &Extractor{config: c}
	if c.Lines != Off {
		x.line = newMetricLine()
	}
	return x
}

var (
	emfMark  = []byte(`_aws`)
	lineMark = []byte(`"[METRIC]`)
	newLine  = " \t\r\n"
)

// Take hands the points of one record to emit, each borrowed during its call.
// consumed tells that the record shall not go on. Only what the function or an
// extension wrote has metrics.
func (x *Extractor) Take(l *telemetry.Log, emit func(*telemetry.Point)) (consumed bool) {
	if l.Type != "function" && l.Type != "extension" {
		return false
	}
	emf := x.config.EMF != Off && bytes.Contains(l.Body, emfMark)
	line := x.config.Lines != Off && bytes.HasPrefix(l.Body, lineMark)
	var text []byte
	if emf || line {
		text = x.read(l.Body)
	}
	x.emit = emit
	if emf {
		consumed = x.takeEMF(text)
	}
	escapes, filtered := unknown, false
	for i := range x.config.Filters {
		f := &x.config.Filters[i]
		if !f.worth(l.Body, &escapes) {
			continue
		}
		if text == nil {
			text = x.read(l.Body)
		}
		made := x.filter(f, text, l.Time)
		filtered = filtered || made
		consumed = consumed || made && f.consume
	}
	if line && !filtered && x.takeLine(text, l.Time) {
		consumed = true
	}
	x.emit = nil
	return consumed
}

// read gives what the record's line was: a string's text without the line end, any
// other value as it stands.
func (x *Extractor) read(body []byte) []byte {
	text, buf, ok := jsonview.Text(body, x.text[:0])
	if cap(buf) <= maxKept {
		x.text = buf
	}
	if !ok {
		return body
	}
	return bytes.TrimRight(text, newLine)
}

// maxKept is the largest buffer that stays for the next line.
const maxKept = 1 << 20

func (x *Extractor) drop(r Reason) {
	if x.config.Drop != nil {
		x.config.Drop(r)
	}
}

// metricLine is what finds [METRIC] lines.
type metricLine struct {
	pattern           *pattern.Pattern
	time, name, value *pattern.Selector
}

func newMetricLine() (m metricLine) {
	p, err := pattern.Compile("[level=METRIC, timestamp, request_id, metric_name, metric_value]")
	if err != nil {
		panic(err) // a constant: the tests come by here
	}
	m.pattern = p
	for name, s := range map[string]**pattern.Selector{
		"$timestamp": &m.time, "$metric_name": &m.name, "$metric_value": &m.value,
	} {
		if *s, err = p.Selector(name); err != nil {
			panic(err)
		}
	}
	return m
}

// takeLine makes the point of a line that begins with [METRIC].
func (x *Extractor) takeLine(text []byte, at time.Time) (consumed bool) {
	m := &x.line
	if !m.pattern.Match(text) {
		x.drop(LineForm)
		return false
	}
	when, _ := m.pattern.Value(m.time)
	name, _ := m.pattern.Value(m.name)
	number, _ := m.pattern.Value(m.value)
	v, ok := jsonview.Number(number)
	if !ok || len(name) == 0 || len(name) > maxName || !isTime(when) {
		x.drop(LineForm)
		return false
	}
	x.point = telemetry.Point{Kind: telemetry.Distribution, Name: name, Time: at, Value: v, Count: 1}
	x.emit(&x.point)
	return x.config.Lines == Consume
}

// isTime tells whether the word looks like 2018-05-15T11:18:19.297Z.
func isTime(word []byte) bool {
	return len(word) >= len("2018-05-15T11:18:19Z") && word[4] == '-' && word[7] == '-' && word[10] == 'T' &&
		word[0] >= '0' && word[0] <= '9'
}
