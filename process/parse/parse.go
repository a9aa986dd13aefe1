// Package parse finds out what a log record says of itself: its severity, its
// message and its fields. Use a Parser on each record before anything decides by
// them. It knows the loggers that functions use and the lines of Lambda's
// runtimes; what it does not know for certain it leaves alone.
package parse

import (
	"bytes"

	"slipstream/process/jsonview"
	"slipstream/telemetry"
)

const (
	// maxText bounds how much of a JSON string is unescaped: in a longer one the
	// level is still found if it stands in that part, but no message and fields.
	maxText = 256 << 10
	// maxFields bounds a record that is taken apart; one with more stays whole.
	maxFields = 128
	// maxDepth bounds how deep a record's values may nest.
	maxDepth = 512
)

// Parser fills Level, Message and Fields of one record after the other. What it
// gives borrows from the record's Body and from memory of its own: it is valid
// until the next call. It is for one goroutine at a time.
type Parser struct {
	text   []byte            // a JSON string's content, unescaped
	fields []telemetry.Field // of the record
	line   []byte            // a line's message as a JSON string
}

// Parse reads a record of the function or of an extension; the platform's own
// events stay as they are.
//
//   - A JSON object, or a string that holds one, is structured: if it has a
//     message (message, msg, or an error's errorMessage), Message is that and
//     Fields, not nil, are the other members. A level that Level says completely
//     is not repeated there.
//   - A line that a runtime wrote, with time, request id and level in front, has
//     the rest as Message. It may be a JSON object in turn.
//   - Of any other line only the level is taken, and only where it stands in
//     front: "[WARN] …", "ERROR …", "error: …", or level=error in logfmt.
//   - A runtime's report of a failure is LevelError, of its end LevelFatal.
func (p *Parser) Parse(l *telemetry.Log) {
	l.Level, l.Message, l.Fields = 0, nil, nil
	if l.Type != "function" && l.Type != "extension" {
		return
	}
	body := l.Body
	at := jsonview.Space(body, 0)
	switch {
	case at == len(body):
	case body[at] == '{':
		p.object(l, body[at:])
	case body[at] == '"':
		if end := bytes.LastIndexByte(body, '"'); end > at {
			p.string(l, body[at+1:end])
		}
	}
}

// string reads a JSON string's content, still escaped.
func (p *Parser) string(l *telemetry.Log, text []byte) {
	at := skipEscapedSpace(text, 0)
	if at < len(text) && text[at] == '{' {
		if p.embedded(l, text[at:]) {
			return
		}
	}
	f := readFront(text)
	l.Level = f.level
	if !f.runtime {
		return
	}
	rest := text[f.end:]
	if at := skipEscapedSpace(rest, 0); at < len(rest) && rest[at] == '{' && p.embedded(l, rest[at:]) {
		if l.Level == 0 {
			l.Level = f.level
		}
		return
	}
	if l.Level = f.level; f.level == 0 {
		return
	}
	p.line = append(append(append(p.line[:0], '"'), rest...), '"')
	l.Message = p.line
	if cap(p.line) > maxText { // large and rare
		p.line = nil
	}
}

// embedded reads an object that stands in a string; false if it is none.
func (p *Parser) embedded(l *telemetry.Log, text []byte) bool {
	if len(text) < 2 || text[1] != '\\' && text[1] != ' ' && text[1] != '}' {
		return false // no key, no space and no end: a brace of some text
	}
	cut := len(text) > maxText
	if cut {
		text = text[:maxText]
	}
	p.text = jsonview.AppendText(p.text[:0], text)
	return p.object(l, p.text) || cut && l.Level != 0
}

// skipEscapedSpace gives the place of the first byte from i on that is not JSON's
// white space, in a JSON string's content.
func skipEscapedSpace(b []byte, i int) int {
	for {
		switch {
		case i < len(b) && b[i] == ' ':
			i++
		case i+1 < len(b) && b[i] == '\\' && (b[i+1] == 't' || b[i+1] == 'n' || b[i+1] == 'r'):
			i += 2
		default:
			return i
		}
	}
}

// object reads a structured record; false if it is no whole JSON object. A level
// that stood in front of where it breaks is kept.
func (p *Parser) object(l *telemetry.Log, object []byte) bool {
	r := record{level: -1, message: -1, failure: -1}
	p.fields = p.fields[:0]
	end, ok := p.members(object, &r)
	whole := ok && jsonview.Space(object, end) == len(object)
	if r.level >= 0 {
		numbered := r.message >= 0 || !whole
		l.Level, r.exact = levelOf(p.fields[r.level].Value, numbered)
	}
	if !whole || r.more {
		return whole
	}
	if r.failed && l.Level == 0 {
		l.Level = telemetry.LevelError
	}
	if r.message < 0 && r.failed {
		r.message = r.failure
	}
	if r.message >= 0 {
		l.Message = p.fields[r.message].Value
	}
	kept := p.fields[:0]
	for i, f := range p.fields {
		if i != r.message && (i != r.level || !r.exact) {
			kept = append(kept, f)
		}
	}
	p.fields = kept
	l.Fields = kept
	if l.Fields == nil {
		l.Fields = []telemetry.Field{}
	}
	return true
}

// record is what was found in an object: places in Parser.fields, -1 for none.
type record struct {
	level, message, failure int
	rank                    int  // of the message's name: the lower is the better
	exact                   bool // the level says no more than Level
	failed                  bool // it has an errorType
	more                    bool // it has more members than maxFields
}

// members collects an object's members and gives the place behind it.
func (p *Parser) members(b []byte, r *record) (end int, ok bool) {
	i := jsonview.Space(b, 1)
	if i < len(b) && b[i] == '}' {
		return i + 1, true
	}
	for {
		end, value, ok := jsonview.SkipKey(b, i)
		if !ok {
			return end, false
		}
		name := b[i+1 : end-1]
		if i, ok = jsonview.Skip(b, value, maxDepth); !ok {
			return i, false
		}
		if len(p.fields) < maxFields {
			p.member(name, b[value:i], r)
		} else {
			r.more = true
		}
		if i = jsonview.Space(b, i); i >= len(b) {
			return i, false
		}
		switch b[i] {
		case '}':
			return i + 1, true
		case ',':
			i = jsonview.Space(b, i+1)
		default:
			return i, false
		}
	}
}

// member takes one member, and its place if it is one that is looked for. The
// first level counts, and the best message.
func (p *Parser) member(name, value []byte, r *record) {
	if bytes.IndexByte(name, '\\') >= 0 {
		name = jsonview.AppendText(nil, name) // never in a logger's own names
	}
	place := len(p.fields)
	p.fields = append(p.fields, telemetry.Field{Key: name, Value: value})
	switch string(name) {
	case "level", "severity", "log.level", "levelname", "log_level":
		if r.level < 0 && value[0] != '{' && value[0] != '[' {
			r.level = place
		}
	case "message":
		r.better(place, 1)
	case "msg":
		r.better(place, 2)
	case "errorMessage":
		r.failure = place
	case "errorType":
		r.failed = value[0] == '"'
	}
}

func (r *record) better(place, rank int) {
	if r.message < 0 || rank < r.rank {
		r.message, r.rank = place, rank
	}
}
