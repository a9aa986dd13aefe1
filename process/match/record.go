package match

import (
	"bytes"

	"github.com/go-faster/jx"

	"slipstream/telemetry"
)

// maxKept bounds the memory that a Record keeps for the next one.
const maxKept = 64 << 10

// Record is one record that conditions are asked about; what they need of it is
// read once. It is for one goroutine at a time.
type Record struct {
	log    *telemetry.Log
	export Exported // nil: a log
	text   []byte   // nil: not read yet
	buffer []byte   // of text, if that had escapes
	field  []byte   // of a field's string, if that had escapes
}

// Reset makes it another record's.
func (r *Record) Reset(l *telemetry.Log) {
	r.log, r.export, r.text = l, nil, nil
	if cap(r.buffer) > maxKept {
		r.buffer = nil
	}
}

// Exported is a record of an export: a log record, a span or a data point.
type Exported interface {
	Signal() telemetry.Signal
	Level() telemetry.Level
	Name() []byte
	Body() []byte
	// Attribute is an attribute's text, nil for none.
	Attribute(key string) []byte
}

// ResetExported makes it a record of an export. Its message is its body, else its
// name; its fields are its attributes, all of them text.
func (r *Record) ResetExported(x Exported) { r.log, r.export, r.text = nil, x, nil }

// kind is the event type, or the signal of an export.
func (r *Record) kind() string {
	if r.export != nil {
		return string(r.export.Signal())
	}
	return r.log.Type
}

func (r *Record) level() telemetry.Level {
	if r.export != nil {
		return r.export.Level()
	}
	return r.log.Level
}

// Text is what the record says, without JSON's quotes and escapes and without
// the line's end: its message, or a string that is all of it. Of anything else it
// is the JSON. It is valid until the next Reset.
func (r *Record) Text() []byte {
	if r.text != nil {
		return r.text
	}
	if r.export != nil {
		if r.text = r.export.Body(); r.text == nil {
			r.text = append([]byte{}, r.export.Name()...)
		}
		return r.text
	}
	value := r.log.Message
	if value == nil {
		value = r.log.Body
	}
	value = bytes.TrimSpace(value)
	r.text = bytes.TrimRight(text(value, &r.buffer), "\r\n")
	if r.text == nil {
		r.text = []byte{}
	}
	return r.text
}

// Name is a field's name: dots lead into nested objects.
type Name struct {
	text  string
	whole []byte
	parts [][]byte // nil: no dots
}

// ParseName reads a name as a user writes it.
func ParseName(text string) Name {
	n := Name{text: text, whole: []byte(text)}
	if bytes.IndexByte(n.whole, '.') >= 0 {
		n.parts = bytes.Split(n.whole, []byte("."))
	}
	return n
}

// Field gives the JSON value of a member, nil if there is none. A name with dots
// is first looked for as it is.
func (r *Record) Field(n *Name) []byte {
	if r.export != nil {
		return r.export.Attribute(n.text)
	}
	if value := r.member(n.whole); value != nil || len(n.parts) == 0 {
		return value
	}
	value := r.member(n.parts[0])
	for _, name := range n.parts[1:] {
		value = member(value, name)
	}
	return value
}

// member is a field, or one of the object that a platform event is.
func (r *Record) member(name []byte) []byte {
	for i := range r.log.Fields {
		if bytes.Equal(r.log.Fields[i].Key, name) {
			return bytes.TrimSpace(r.log.Fields[i].Value)
		}
	}
	if r.log.Fields != nil {
		return nil
	}
	return member(r.log.Body, name)
}

// plain is a value's text: a string's content, or the JSON of any other.
func (r *Record) plain(value []byte) []byte {
	if r.export != nil {
		return value
	}
	return text(value, &r.field)
}

// isText tells whether a value is a string.
func (r *Record) isText(value []byte) bool {
	return r.export != nil || len(value) > 0 && value[0] == '"'
}

// text unescapes a JSON string into buffer, if it has escapes.
func text(value []byte, buffer *[]byte) []byte {
	if len(value) < 2 || value[0] != '"' || value[len(value)-1] != '"' {
		return value
	}
	inner := value[1 : len(value)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return inner
	}
	d := jx.GetDecoder()
	defer jx.PutDecoder(d)
	d.ResetBytes(value)
	plain, err := d.StrAppend((*buffer)[:0])
	if err != nil {
		return inner
	}
	*buffer = plain
	return plain
}

// member finds a member's value in an object, nil if it is none.
func member(object, name []byte) []byte {
	if object = bytes.TrimSpace(object); len(object) == 0 || object[0] != '{' {
		return nil
	}
	d := jx.GetDecoder()
	defer jx.PutDecoder(d)
	d.ResetBytes(object)
	it, err := d.ObjIter()
	if err != nil {
		return nil
	}
	for it.Next() {
		if !bytes.Equal(it.Key(), name) {
			if d.Skip() != nil {
				return nil
			}
			continue
		}
		value, err := d.Raw()
		if err != nil {
			return nil
		}
		return bytes.TrimSpace(value)
	}
	return nil
}
