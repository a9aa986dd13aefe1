package wavefront

import (
	"bytes"
	"errors"
	"time"
	"unicode/utf8"

	"github.com/go-faster/jx"

	"slipstream/telemetry"
)

// Names of the log records that are made here: their event_name.
const (
	eventNamed      = "wavefront.event"
	sourceTagged    = "wavefront.source_tag"
	sourceDescribed = "wavefront.source_description"
	spanLogged      = "wavefront.span_log"
	maxAnnotations  = 100 // of an event, and fields of a span log: the proxy has no limit
)

var (
	errText   = errors.New("not UTF-8")
	errFields = errors.New("too many fields")
)

// record is what becomes a log record.
type record struct {
	event      string
	at         time.Time
	until      time.Time // of an event
	body       []byte
	trace      traceID
	span       spanID
	attributes []telemetry.Tag
}

func (p *parser) startRecord(event string) *record {
	p.record = record{event: event, attributes: p.record.attributes[:0]}
	return &p.record
}

func (r *record) add(key, value []byte) {
	r.attributes = append(r.attributes, telemetry.Tag{Key: key, Value: value})
}

var (
	literalSourceTag         = []byte("@SourceTag")
	literalSourceDescription = []byte("@SourceDescription")
	literalEvent             = []byte("@Event")

	keyAction, keySource = []byte("action"), []byte("source")
	keyTags, keyHosts    = []byte("tags"), []byte("hosts")
	keyDescription       = []byte("description")
)

// at reads a line that starts with @.
func (p *parser) at(line []byte) string {
	text, ok := p.scan.word()
	switch {
	case ok && bytes.Equal(text, literalEvent):
		return p.event()
	case ok && bytes.Equal(text, literalSourceTag):
		return p.sourceTag(sourceTagged, keyTags)
	case ok && bytes.Equal(text, literalSourceDescription):
		return p.sourceTag(sourceDescribed, keyDescription)
	}
	p.scan.reset(line)
	return p.metric(true) // which refuses the @
}

// event reads `@Event start [end] name key=value ...`. Its hosts and tags are
// lists; another key is one as soon as it comes twice.
func (p *parser) event() string {
	r := p.startRecord(eventNamed)
	var err error
	if r.at, err = p.scan.timestamp(); err != nil || r.at.IsZero() {
		return reasonMalformed
	}
	if r.until, err = p.scan.timestamp(); err != nil {
		return reasonMalformed
	}
	name, ok := p.scan.word()
	if !ok {
		return reasonMalformed
	}
	r.body = name
	for p.scan.peek() != end {
		key, value, ok := p.pair()
		if !ok {
			return reasonMalformed
		}
		switch string(key) {
		case "host":
			key = keyHosts
		case "tag", "eventTag":
			key = keyTags
		}
		r.add(key, value)
	}
	return p.emitEvent()
}

// emitEvent ends an event one millisecond after its start if it ends nowhere.
func (p *parser) emitEvent() string {
	r := &p.record
	switch {
	case p.scan.broken:
		return reasonMalformed
	case len(r.attributes) > maxAnnotations:
		return reasonTags
	case !r.until.After(r.at):
		r.until = r.at.Add(time.Millisecond)
	}
	p.out.record(r, p.now)
	return ""
}

// sourceTag reads `action=... source=...`, in either order, and then the tags,
// or the one description, that a deletion may leave out.
func (p *parser) sourceTag(event string, list []byte) string {
	r := p.startRecord(event)
	var action, source []byte
	for range 2 {
		key, value, ok := p.pair()
		if !ok {
			return reasonMalformed
		}
		switch string(key) {
		case "action":
			action = value
		case "source":
			source = value
		}
	}
	if !isAction(action) || blank(source) {
		return reasonMalformed
	}
	r.add(keyAction, action)
	r.add(keySource, source)
	values := 0
	for ; p.scan.peek() == word; values++ {
		r.add(list, p.scan.text)
		p.scan.next()
	}
	switch {
	case p.scan.peek() != end || p.scan.broken:
		return reasonMalformed
	case event == sourceTagged && values == 0, event == sourceDescribed && values > 1:
		return reasonMalformed
	case event == sourceDescribed && values == 0 && !equalFold(action, "delete"):
		return reasonMalformed
	case values > maxTags:
		return reasonTags
	}
	p.out.record(r, p.now)
	return ""
}

func isAction(text []byte) bool {
	return equalFold(text, "add") || equalFold(text, "save") || equalFold(text, "delete")
}

func equalFold(text []byte, name string) bool { return bytes.EqualFold(text, []byte(name)) }

// eventJSON reads an event of POST /api/v2/event.
func (p *parser) eventJSON(body []byte) string {
	switch {
	case p.minute:
		return reasonNotOnPort
	case !utf8.Valid(body):
		return reasonNotUTF8
	}
	r := p.startRecord(eventNamed)
	p.text = p.text[:0]
	p.scan.reset(nil)
	p.json.ResetBytes(body)
	err := p.json.ObjBytes(func(d *jx.Decoder, key []byte) error {
		var err error
		switch string(key) {
		case "name":
			r.body, err = p.str(d)
		case "startTime":
			r.at, err = p.when(d)
		case "endTime":
			r.until, err = p.when(d)
		case "hosts":
			err = p.values(d, keyHosts)
		case "tags":
			err = p.values(d, keyTags)
		case "annotations", "dimensions":
			err = p.fields(d)
		default:
			err = d.Skip()
		}
		return err
	})
	if err != nil || r.body == nil || r.at.IsZero() {
		return reasonMalformed
	}
	return p.emitEvent()
}

// str takes a string; its bytes are valid until the next line.
func (p *parser) str(d *jx.Decoder) ([]byte, error) {
	start := len(p.text)
	var err error
	p.text, err = d.StrAppend(p.text)
	text := p.text[start:len(p.text):len(p.text)]
	if err == nil && !utf8.Valid(text) {
		err = errText
	}
	return text, err
}

// when takes a time; null is none.
func (p *parser) when(d *jx.Decoder) (time.Time, error) {
	if d.Next() == jx.Null {
		return time.Time{}, d.Null()
	}
	raw, err := d.Raw()
	if err != nil {
		return time.Time{}, err
	}
	v, ok := number(raw)
	at := instant(v)
	if !ok || at.IsZero() {
		return at, errTime
	}
	return at, nil
}

// values takes a list of texts, as attributes of the same key.
func (p *parser) values(d *jx.Decoder, key []byte) error {
	if d.Next() != jx.Array {
		text, err := p.scalar(d)
		p.record.add(key, text)
		return err
	}
	return d.Arr(func(d *jx.Decoder) error {
		text, err := p.scalar(d)
		p.record.add(key, text)
		return err
	})
}

// fields takes an object of texts, or of lists of them.
func (p *parser) fields(d *jx.Decoder) error {
	if d.Next() == jx.Null {
		return d.Null()
	}
	return d.ObjBytes(func(d *jx.Decoder, key []byte) error {
		start := len(p.text)
		p.text = append(p.text, key...)
		return p.values(d, p.text[start:len(p.text):len(p.text)])
	})
}

// scalar takes a string, or any other value as its JSON.
func (p *parser) scalar(d *jx.Decoder) ([]byte, error) {
	if d.Next() == jx.String {
		return p.str(d)
	}
	return d.Raw()
}

// spanLogs reads {"traceId":"","spanId":"","logs":[{"timestamp":0,"fields":{}}]}:
// a log record for each of the logs. What else is in it, the span's line among
// it, is there for the proxy's sampling.
func (p *parser) spanLogs(line []byte) string {
	var logs jx.Raw
	var trace, id [16]byte
	found := 0
	p.text = p.text[:0]
	p.json.ResetBytes(line)
	err := p.json.ObjBytes(func(d *jx.Decoder, key []byte) error {
		var err error
		switch string(key) {
		case "traceId", "spanId":
			to := &trace
			if string(key) == "spanId" {
				to = &id
			}
			var text []byte
			if text, err = p.str(d); err == nil && uuid(text, to) {
				found++
			}
		case "logs":
			logs, err = d.Raw()
		default:
			err = d.Skip()
		}
		return err
	})
	if err != nil || found != 2 || logs.Type() != jx.Array {
		return reasonMalformed
	}
	// All or none: a first walk finds what is wrong with the last of them.
	for _, emit := range []bool{false, true} {
		p.inner.ResetBytes(logs)
		err = p.inner.Arr(func(d *jx.Decoder) error { return p.spanLog(d, trace, fold(id), emit) })
		if err != nil {
			return reasonMalformed
		}
	}
	return ""
}

func (p *parser) spanLog(d *jx.Decoder, trace traceID, id spanID, emit bool) error {
	r := p.startRecord(spanLogged)
	r.trace, r.span = trace, id
	p.text = p.text[:0]
	err := d.ObjBytes(func(d *jx.Decoder, key []byte) error {
		var err error
		switch string(key) {
		case "timestamp":
			r.at, err = p.when(d)
		case "fields":
			err = p.fields(d)
		default:
			err = d.Skip()
		}
		return err
	})
	if err == nil && len(r.attributes) > maxAnnotations {
		return errFields
	}
	if err == nil && emit {
		p.out.record(r, p.now)
	}
	return err
}
