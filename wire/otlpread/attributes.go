package otlpread

import (
	"encoding/base64"
	"iter"
	"math"
	"strconv"

	"github.com/VictoriaMetrics/easyproto"
)

// Attributes are the KeyValues of a message, in its order.
type Attributes struct {
	message []byte
	field   uint32
}

// All gives each name and value; a name that stands there twice comes twice.
func (a Attributes) All() iter.Seq2[[]byte, Value] {
	return func(yield func([]byte, Value) bool) {
		var fc easyproto.FieldContext
		for message := a.message; len(message) > 0; {
			var err error
			if message, err = fc.NextField(message); err != nil {
				return
			}
			kv, ok := fc.MessageData()
			if fc.FieldNum != a.field || !ok {
				continue
			}
			if !yield(last(kv, 1), Value{last(kv, 2)}) {
				return
			}
		}
	}
}

// Get gives the first value of that name, and whether there is one.
func (a Attributes) Get(key string) (Value, bool) {
	for k, v := range a.All() {
		if string(k) == key {
			return v, true
		}
	}
	return Value{}, false
}

// Value is an AnyValue.
type Value struct{ message []byte }

// maxDepth is how deep a value is written; what is deeper is left out.
const maxDepth = 8

// AppendText appends a string as it is, and anything else as JSON, bytes in
// base64; nothing for no value.
func (v Value) AppendText(dst []byte) []byte {
	var fc easyproto.FieldContext
	if v.first(&fc) && fc.FieldNum == 1 {
		s, _ := fc.MessageData()
		return append(dst, s...)
	}
	return v.appendJSON(dst, 0)
}

// first reads the field that the value is.
func (v Value) first(fc *easyproto.FieldContext) bool {
	if len(v.message) == 0 {
		return false
	}
	_, err := fc.NextField(v.message)
	return err == nil
}

func (v Value) appendJSON(dst []byte, depth int) []byte {
	var fc easyproto.FieldContext
	if !v.first(&fc) {
		if depth > 0 {
			return append(dst, "null"...)
		}
		return dst
	}
	switch fc.FieldNum {
	case 1:
		s, _ := fc.MessageData()
		return AppendQuoted(dst, s)
	case 2:
		b, _ := fc.Bool()
		return strconv.AppendBool(dst, b)
	case 3:
		n, _ := fc.Int64()
		return strconv.AppendInt(dst, n, 10)
	case 4:
		f, _ := fc.Double()
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return AppendQuoted(dst, strconv.AppendFloat(nil, f, 'g', -1, 64))
		}
		return strconv.AppendFloat(dst, f, 'g', -1, 64)
	case 5, 6:
		list, _ := fc.MessageData()
		return appendList(dst, list, fc.FieldNum == 6, depth)
	case 7:
		b, _ := fc.MessageData()
		dst = append(dst, '"')
		return append(base64.StdEncoding.AppendEncode(dst, b), '"')
	}
	return dst
}

// appendList appends an ArrayValue, or a KeyValueList as an object.
func appendList(dst, list []byte, object bool, depth int) []byte {
	open, end := byte('['), byte(']')
	if object {
		open, end = '{', '}'
	}
	dst = append(dst, open)
	start := len(dst)
	var fc easyproto.FieldContext
	for len(list) > 0 && depth < maxDepth {
		var err error
		if list, err = fc.NextField(list); err != nil {
			break
		}
		item, ok := fc.MessageData()
		if fc.FieldNum != 1 || !ok {
			continue
		}
		if len(dst) > start {
			dst = append(dst, ',')
		}
		if object {
			dst = append(AppendQuoted(dst, last(item, 1)), ':')
			item = last(item, 2)
		}
		dst = Value{item}.appendJSON(dst, depth+1)
	}
	return append(dst, end)
}

// AppendQuoted appends a JSON string of text that is UTF-8.
func AppendQuoted(dst, text []byte) []byte {
	dst = append(dst, '"')
	for _, c := range text {
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c < ' ':
			const digits = "0123456789abcdef"
			dst = append(dst, `\u00`...)
			dst = append(dst, digits[c>>4], digits[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}
