package tail

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"slipstream/telemetry"
	"slipstream/wire/otlpread"
)

// maxText bounds what is shown of one record, in bytes.
const maxText = 16 << 10

// Lines shows a line for each log record, span and export of metrics:
//
//	time (UTC)   level  request  function  message  fields
type Lines struct {
	out    *bufio.Writer
	color  bool
	reader otlpread.Reader
}

// NewLines writes to out, which the caller flushes.
func NewLines(out *bufio.Writer, color bool) *Lines { return &Lines{out: out, color: color} }

// entry is what a line shows, whatever it was made of.
type entry struct {
	at                         time.Time
	level, id, function, paint string
	message, fields            string
}

// ANSI's colours: of levels, and of what stands beside.
const (
	red, green, yellow, cyan, faint = "31", "32", "33", "36", "2"
)

var paints = map[string]string{"TRACE": faint, "DEBUG": faint, "INFO": green, "WARN": yellow, "ERROR": red,
	"FATAL": red, "REPORT": cyan, "START": faint, "DONE": faint, "INIT": faint, "EVENT": faint, "SPAN": cyan,
	"METRIC": cyan}

// Log shows one record.
func (v *Lines) Log(l *telemetry.Log, res *telemetry.Resource) {
	e := entry{at: l.Time, level: l.Level.String(), id: l.RequestID, function: res.FunctionName}
	var fields []string
	for _, f := range l.Fields {
		fields = append(fields, string(f.Key)+"="+textOf(f.Value))
	}
	e.fields = strings.Join(fields, " ")
	e.say(l.Type, l.Body)
	v.write(&e)
}

// say sets the message: a record's own, or a platform event in few words.
func (e *entry) say(kind string, body []byte) {
	if kind == "slipstream.metrics" {
		e.level, e.message = "EVENT", kind+" "+notZero(body)
		return
	}
	event, platform := strings.CutPrefix(kind, "platform.")
	if !platform {
		e.message = textOf(body)
		return
	}
	switch event {
	case "start", "initStart":
		e.level = map[string]string{"start": "START", "initStart": "INIT"}[event]
	case "runtimeDone", "initRuntimeDone":
		e.level = "DONE"
	case "report", "initReport", "restoreReport":
		e.level = "REPORT"
	default:
		e.level = "EVENT"
	}
	e.message = reported(body)
	if e.message == "" {
		e.message = textOf(body)
	}
	if event != "start" && event != "report" && event != "runtimeDone" {
		e.message = kind + " " + e.message
	}
	var named struct{ RequestID string }
	if json.Unmarshal(body, &named) == nil && e.id == "" {
		e.id = named.RequestID
	}
}

// reported is what a platform event says of an invocation, "" for nothing known.
func reported(body []byte) string {
	var r struct {
		RequestID, Version, Status, ErrorType, Phase string
		InitializationType                           string
		Metrics                                      struct {
			DurationMs, BilledDurationMs, InitDurationMs, RestoreDurationMs float64
			MemorySizeMB, MaxMemoryUsedMB, ProducedBytes                    float64
		}
	}
	if json.Unmarshal(body, &r) != nil {
		return ""
	}
	var said []string
	add := func(format string, value any) {
		if value != 0.0 && value != "" {
			said = append(said, fmt.Sprintf(format, value))
		}
	}
	m := &r.Metrics
	add("%s", r.Status)
	add("%s", r.ErrorType)
	add("%s", r.Phase)
	add("%s", r.InitializationType)
	add("version %s", r.Version)
	add("%.4g ms", m.DurationMs)
	add("billed %.6g ms", m.BilledDurationMs)
	add("init %.4g ms", m.InitDurationMs)
	add("restore %.4g ms", m.RestoreDurationMs)
	if m.MaxMemoryUsedMB > 0 {
		said = append(said, fmt.Sprintf("%g of %g MB", m.MaxMemoryUsedMB, m.MemorySizeMB))
	}
	add("%g bytes", m.ProducedBytes)
	return strings.Join(said, ", ")
}

// notZero are the members of the extension's account that say something, by name.
func notZero(account []byte) string {
	var members map[string]json.RawMessage
	if json.Unmarshal(account, &members) != nil {
		return textOf(account)
	}
	var said []string
	for name, value := range members {
		if text := textOf(value); text != "0" && text != "{}" && text != "null" && text != "" {
			said = append(said, strings.TrimPrefix(name, "slipstream.")+"="+text)
		}
	}
	slices.Sort(said)
	return strings.Join(said, " ")
}

// textOf is a JSON string's text, and any other value as it is.
func textOf(value []byte) string {
	var text string
	if len(value) > 0 && value[0] == '"' && json.Unmarshal(value, &text) == nil {
		return text
	}
	return string(value)
}

// Export shows a line for each record of logs and traces, and one for all metrics.
func (v *Lines) Export(x *telemetry.Export) error {
	switch x.Signal {
	case telemetry.Logs:
		return v.reader.Logs(x.Body, v.record)
	case telemetry.Traces:
		return v.reader.Spans(x.Body, v.span)
	}
	points, e := 0, entry{level: "METRIC"}
	var names []string
	err := v.reader.Metrics(x.Body, func(p *otlpread.Point) {
		points++
		e.at, e.function = timeOf(max(p.Time, uint64(max(e.at.UnixNano(), 0)))), functionOf(p.Resource)
		if name := string(p.Name); len(names) < 100 && !slices.Contains(names, name) {
			names = append(names, name)
		}
	})
	if points > 0 {
		e.message = fmt.Sprintf("%d points: %s", points, strings.Join(names, " "))
		v.write(&e)
	}
	return err
}

func (v *Lines) record(l *otlpread.Log) {
	at := l.Time
	if at == 0 {
		at = l.Observed
	}
	e := entry{at: timeOf(at), level: telemetry.Level(min(l.Severity, 255)).String(), function: functionOf(l.Resource)}
	if e.level == "" {
		e.level = string(l.SeverityText)
	}
	kind := ""
	var fields []string
	for key, value := range l.Attributes.All() {
		switch text := string(value.AppendText(nil)); string(key) {
		case "faas.invocation_id":
			e.id = text
		case "aws.lambda.event.type":
			kind = text
		default:
			fields = append(fields, string(key)+"="+text)
		}
	}
	e.fields = strings.Join(fields, " ")
	body := l.Body.AppendText(nil)
	if strings.HasPrefix(kind, "platform.") || kind == "slipstream.metrics" {
		e.say(kind, body)
	} else {
		e.message = string(body)
	}
	v.write(&e)
}

func (v *Lines) span(s *otlpread.Span) {
	e := entry{at: timeOf(s.Start), level: "SPAN", function: functionOf(s.Resource), id: hex.EncodeToString(s.Trace)}
	e.message = string(s.Name)
	if s.End >= s.Start {
		e.message += " " + quantity(float64(s.End-s.Start), "ns")
	}
	if s.Status == 2 {
		e.paint = red
		e.message += " error"
		if len(s.StatusMessage) > 0 {
			e.message += ": " + string(s.StatusMessage)
		}
	}
	var fields []string
	for key, value := range s.Attributes.All() {
		fields = append(fields, string(key)+"="+string(value.AppendText(nil)))
	}
	e.fields = strings.Join(fields, " ")
	v.write(&e)
}

// Unknown shows the line as it is, behind a question mark.
func (v *Lines) Unknown(line []byte) {
	fmt.Fprintf(v.out, "? %s\n", clean(string(line), ""))
}

func (v *Lines) write(e *entry) {
	paint := paints[e.level]
	if e.paint != "" {
		paint = e.paint
	}
	at := "--:--:--.---"
	if !e.at.IsZero() {
		at = e.at.UTC().Format("15:04:05.000")
	}
	parts := []string{v.painted(faint, at), v.painted(paint, fmt.Sprintf("%-6.6s", clean(e.level, ""))),
		v.painted(faint, fmt.Sprintf("%-8.8s", clean(e.id, "")))}
	if e.function != "" {
		parts = append(parts, clean(e.function, ""))
	}
	message := clean(strings.TrimRight(e.message, "\r\n"), "    ")
	switch {
	case e.paint != "":
		message = v.painted(e.paint, message)
	case paint == faint || paint == red:
		message = v.painted(paint, message)
	}
	parts = append(parts, message)
	if e.fields != "" {
		parts = append(parts, v.painted(faint, clean(e.fields, "    ")))
	}
	_, _ = v.out.WriteString(strings.TrimRight(strings.Join(parts, " "), " ") + "\n")
}

func (v *Lines) painted(paint, text string) string {
	if !v.color || paint == "" || strings.TrimSpace(text) == "" {
		return text
	}
	return "\x1b[" + paint + "m" + text + "\x1b[0m"
}

// clean makes text safe for a terminal: what would move its cursor or change its
// state is written as an escape. Line ends are followed by indent, or are escaped
// where that is empty.
func clean(text, indent string) string {
	if cut := len(text) - maxText; cut > 0 {
		text = strings.ToValidUTF8(text[:maxText], "") + fmt.Sprintf("… (%d bytes more)", cut)
	}
	if !strings.ContainsFunc(text, unsafe) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		switch {
		case r == '\n' && indent != "":
			b.WriteString("\n" + indent)
		case r == '\r' && indent != "":
		case r == '\t':
			b.WriteString("  ")
		case unsafe(r):
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// unsafe tells controls, and what changes the direction of text.
func unsafe(r rune) bool {
	return unicode.IsControl(r) || r == utf8.RuneError || unicode.Is(unicode.Bidi_Control, r)
}

// timeOf is zero for a time that is unknown.
func timeOf(nanoseconds uint64) time.Time {
	if nanoseconds == 0 || nanoseconds > 1<<63-1 {
		return time.Time{}
	}
	return time.Unix(0, int64(nanoseconds))
}

// functionOf is the name that a resource goes by.
func functionOf(resource otlpread.Attributes) string {
	for _, key := range []string{"service.name", "faas.name"} {
		if v, ok := resource.Get(key); ok {
			return string(v.AppendText(nil))
		}
	}
	return ""
}
