package wire

import (
	"slices"
	"strconv"
	"time"

	"github.com/go-faster/jx"

	"slipstream/telemetry"
)

// FunctionDetails are what Edge Delta's records may say of the function beyond
// its name: an empty one is left out.
type FunctionDetails struct {
	Architecture string // x86_64 or arm64
	Runtime      string // nodejs22.x
	MemorySize   string // MB
	Tags         []telemetry.Attribute
}

type edgeDelta struct {
	head    []byte // cloud, name and version of the function, pre-encoded up to the request id
	details func(requestID string) *FunctionDetails
	known   *FunctionDetails // that memory, tags and process are made of
	memory  []byte
	tags    []byte
	process []byte
	// spans are the last invocations, for what the report does not say itself.
	spans [64]invocationSpan
	next  int
}

// invocationSpan is when an invocation began and its runtime was done.
type invocationSpan struct {
	id         string
	start, end time.Time
}

// edgeDeltaTypes are the events that the format has a record for.
var edgeDeltaTypes = []string{"function", "platform.start", "platform.runtimeDone", "platform.report"}

// EdgeDelta writes the records of Edge Delta's Lambda extension, one object a
// line: function, platform.start, platform.runtimeDone and platform.report. The
// format has nothing for other events (see Wants). Where the original loses or
// mistakes something this does not: a function's JSON object is kept, its text
// as the message, and END names its own invocation.
//
// details, asked at each record with its request id, may be nil or give nil; a
// new pointer is a new answer. Unlike other encoders this one remembers the last invocations' times,
// so it is for one goroutine at a time and for one destination.
func EdgeDelta(res *telemetry.Resource, details func(requestID string) *FunctionDetails) Encoder {
	e := &edgeDelta{details: details}
	h := append(e.head, `{"cloud":{"resource_id":`...)
	h = appendText(h, "arn:aws:lambda:"+res.Region+":"+res.AccountID+":function:"+res.FunctionName)
	h = appendText(append(h, `,"account_id":`...), res.AccountID)
	h = appendText(append(h, `,"region":`...), res.Region)
	h = appendText(append(h, `},"faas":{"name":`...), res.FunctionName)
	h = appendText(append(h, `,"version":`...), res.FunctionVersion)
	e.head = append(h, `,"request_id":`...)
	return e
}

// Wants tells whether the format has a record for events of that type. The
// original drops all others, extension lines among them, and so does who asks.
func (e *edgeDelta) Wants(eventType string) bool {
	return slices.Contains(edgeDeltaTypes, eventType)
}

// AppendLog leaves dst as it is for a type that the format has not.
func (e *edgeDelta) AppendLog(dst []byte, l *telemetry.Log) []byte {
	step := ""
	switch l.Type {
	case "function", "platform.report":
	case "platform.start":
		step = "START"
		e.span(l.RequestID).start = l.Time
	case "platform.runtimeDone":
		step = "END"
		e.span(l.RequestID).end = l.Time
	default:
		return dst
	}
	e.learn(l.RequestID)
	dst = append(dst, e.head...)
	dst = appendText(dst, l.RequestID)
	dst = append(dst, e.memory...)
	if step != "" {
		dst = appendText(append(dst, `,"step":`...), step)
	}
	dst = append(dst, e.tags...)
	dst = appendTime(append(dst, `},"timestamp":`...), l.Time)
	dst = appendText(append(dst, `,"log_type":`...), l.Type)
	dst = append(dst, e.process...)
	switch l.Type {
	case "function":
		dst = appendMessage(append(dst, `,"message":`...), l.Body)
	case "platform.start":
		dst = appendText(append(dst, `,"message":`...), "START RequestID: "+l.RequestID)
	case "platform.runtimeDone":
		dst = appendStatus(dst, readReport(l.Body).status)
		dst = appendText(append(dst, `,"message":`...), "END RequestID: "+l.RequestID)
	case "platform.report":
		r := readReport(l.Body)
		dst = e.appendMetrics(appendStatus(dst, r.status), &r, l.RequestID)
	}
	return append(dst, "}\n"...)
}

// learn takes over new details.
func (e *edgeDelta) learn(requestID string) {
	if e.details == nil {
		return
	}
	d := e.details(requestID)
	if d == nil || d == e.known {
		return
	}
	e.known, e.memory, e.tags, e.process = d, nil, nil, nil
	text := func(dst []byte, key, value string) []byte {
		if value == "" {
			return dst
		}
		return appendText(append(dst, key...), value)
	}
	e.memory = text(e.memory, `,"memory_size":`, d.MemorySize)
	e.process = text(e.process, `,"host.arch":`, d.Architecture)
	e.process = text(e.process, `,"process.runtime.name":`, d.Runtime)
	for i, tag := range d.Tags {
		if i == 0 {
			e.tags = append(e.tags, `,"tags":{`...)
		} else {
			e.tags = append(e.tags, ',')
		}
		e.tags = appendText(append(appendText(e.tags, tag.Key), ':'), tag.Value)
	}
	if len(d.Tags) > 0 {
		e.tags = append(e.tags, '}')
	}
}

// span finds the invocation's entry, or makes one in place of the oldest.
func (e *edgeDelta) span(id string) *invocationSpan {
	for i := range e.spans {
		if e.spans[i].id == id {
			return &e.spans[i]
		}
	}
	s := &e.spans[e.next]
	e.next = (e.next + 1) % len(e.spans)
	*s = invocationSpan{id: id}
	return s
}

// report is what the format needs of a runtimeDone's or report's record.
type report struct {
	status                                  string
	duration, billed, memory, used, initial float64
}

// readReport reads what is there; a part that is broken ends it.
func readReport(body []byte) (r report) {
	_ = jx.DecodeBytes(body).Obj(func(d *jx.Decoder, key string) (err error) {
		switch {
		case key == "status" && d.Next() == jx.String:
			r.status, err = d.Str()
		case key == "metrics" && d.Next() == jx.Object:
			err = d.Obj(func(d *jx.Decoder, key string) (err error) {
				field := map[string]*float64{
					"durationMs": &r.duration, "billedDurationMs": &r.billed, "memorySizeMB": &r.memory,
					"maxMemoryUsedMB": &r.used, "initDurationMs": &r.initial,
				}[key]
				if field == nil || d.Next() != jx.Number {
					return d.Skip()
				}
				*field, err = d.Float64()
				return err
			})
		default:
			err = d.Skip()
		}
		return err
	})
	return r
}

func appendStatus(dst []byte, status string) []byte {
	if status == "" {
		return dst
	}
	return appendText(append(dst, `,"status":`...), status)
}

// appendMetrics appends the report's figures; one that is 0 or unknown is left
// out. What came after the runtime is the duration without the time between
// START and END; memory_percent is what was free.
func (e *edgeDelta) appendMetrics(dst []byte, r *report, id string) []byte {
	var runtime, post, left, percent float64
	if s := e.span(id); !s.start.IsZero() && !s.end.IsZero() && r.duration != 0 {
		post = r.duration - float64(s.end.Sub(s.start).Milliseconds())
		if r.billed != 0 {
			runtime = r.billed - post
		}
	}
	if r.memory != 0 && r.used != 0 {
		left = r.memory - r.used
		percent = left / r.memory * 100
	}
	for _, m := range [...]struct {
		key   string
		value float64
	}{
		{`,"faas.billed_duration_ms":`, r.billed}, {`,"faas.init_duration_ms":`, r.initial},
		{`,"faas.runtime_duration_ms":`, runtime}, {`,"faas.duration_ms":`, r.duration},
		{`,"faas.post_runtime_duration_ms":`, post}, {`,"faas.max_memory_used":`, r.used},
		{`,"faas.memory_left":`, left}, {`,"faas.memory_percent":`, percent},
	} {
		if m.value != 0 {
			dst = strconv.AppendFloat(append(dst, m.key...), m.value, 'f', -1, 64)
		}
	}
	return dst
}

// appendMessage appends a function's record as a JSON string: a string without
// the white space around it, any other value its JSON text.
func appendMessage(dst, body []byte) []byte {
	body = trimSpace(body)
	if len(body) < 2 || body[0] != '"' {
		return appendText(dst, string(appendValue(nil, body)))
	}
	text := body[1 : len(body)-1]
	for n := leadingSpace(text); n > 0; n = leadingSpace(text) {
		text = text[n:]
	}
	for n := trailingSpace(text); n > 0; n = trailingSpace(text) {
		text = text[:len(text)-n]
	}
	return append(append(append(dst, '"'), text...), '"')
}

// leadingSpace is how many bytes of an escaped text its first character takes
// if that is white space, else 0.
func leadingSpace(text []byte) int {
	switch {
	case len(text) > 0 && text[0] == ' ':
		return 1
	case len(text) > 1 && text[0] == '\\' && isSpaceEscape(text[1]):
		return 2
	}
	return 0
}

// trailingSpace is the same for the last character.
func trailingSpace(text []byte) int {
	n := len(text)
	switch {
	case n > 0 && text[n-1] == ' ':
		return 1
	case n < 2 || !isSpaceEscape(text[n-1]):
		return 0
	}
	escapes := 0
	for n-1-escapes > 0 && text[n-2-escapes] == '\\' {
		escapes++
	}
	if escapes%2 == 0 { // an even number is backslashes, then a letter
		return 0
	}
	return 2
}

func isSpaceEscape(c byte) bool { return c == 'n' || c == 'r' || c == 't' || c == 'f' }

// AppendHead appends nothing: it is a line format.
func (*edgeDelta) AppendHead(dst []byte, _ int) []byte { return dst }

// ContentType is the original's, though the body is a line an object.
func (*edgeDelta) ContentType() string { return "application/json" }

// Extension is that of NDJSON.
func (*edgeDelta) Extension() string { return ".ndjson" }
