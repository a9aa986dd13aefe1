package wire

import (
	"bytes"
	"errors"
	"io"
	"math"
	"strconv"

	"github.com/go-faster/jx"

	"slipstream/telemetry"
)

// maxDepth is how many levels of JSON become nested values. A level costs up to
// three messages, and C++ and Java receivers refuse more than 100.
const maxDepth = 30

// level is what a record says of its own severity. The text is copied because
// the bytes around it still move while lengths are patched.
type level struct {
	number uint64 // OpenTelemetry's SeverityNumber, 0 for none
	text   [8]byte
	size   int
}

var errNoValue = errors.New("no JSON value")

// appendBody appends LogRecord.body for one JSON value and tells the level that
// an object names. What is no JSON is kept as a string of its bytes.
func appendBody(dst, body []byte) ([]byte, level) {
	start := len(dst)
	dst, m := openField(dst, fieldBody, len(body))
	d := jx.GetDecoder()
	defer jx.PutDecoder(d)
	d.ResetBytes(body)
	v := valueWriter{d: d}
	dst, err := v.append(dst, 0)
	if err == nil && v.atEnd() {
		return closeField(dst, m), v.level
	}
	dst, m = openField(dst[:start], fieldBody, len(body)+4)
	return closeField(appendStringField(dst, fieldString, body), m), level{}
}

// appendFields appends a structured record's fields as attributes. A value that
// is no JSON is kept as a string of its bytes.
func appendFields(dst []byte, fields []telemetry.Field) []byte {
	d := jx.GetDecoder()
	defer jx.PutDecoder(d)
	v := valueWriter{d: d}
	for i := range fields {
		f := &fields[i]
		d.ResetBytes(f.Value)
		var kv, value mark
		dst, kv = openField(dst, fieldLogAttributes, len(f.Key)+len(f.Value)+6)
		dst = appendStringField(dst, fieldKey, f.Key)
		dst, value = openField(dst, fieldValue, len(f.Value))
		grown, err := v.append(dst, 1)
		if err != nil || !v.atEnd() {
			grown = appendStringField(dst, fieldString, f.Value)
		}
		dst = closeField(closeField(grown, value), kv)
	}
	return dst
}

// levelText is a level with its name.
func levelText(number telemetry.Level) level {
	l := level{number: uint64(number)}
	l.size = copy(l.text[:], number.String())
	return l
}

// valueWriter turns JSON into the content of AnyValue messages.
type valueWriter struct {
	d     *jx.Decoder
	level level
}

// atEnd tells whether nothing but white space is left.
func (v *valueWriter) atEnd() bool { return v.d.Skip() == io.EOF }

// append appends the content of the AnyValue for the next JSON value.
func (v *valueWriter) append(dst []byte, depth int) ([]byte, error) {
	switch v.d.Next() {
	case jx.String:
		return v.appendString(dst, depth)
	case jx.Number:
		return v.appendNumber(dst)
	case jx.Bool:
		b, err := v.d.Bool()
		n := uint64(0)
		if b {
			n = 1
		}
		return appendVarintField(dst, fieldBool, n), err
	case jx.Null: // an AnyValue without a value
		return dst, v.d.Null()
	case jx.Object, jx.Array:
		if depth == maxDepth {
			raw, err := v.d.Raw()
			return appendStringField(dst, fieldString, raw), err
		}
		if v.d.Next() == jx.Array {
			return v.appendArray(dst, depth)
		}
		return v.appendObject(dst, depth)
	}
	return dst, errNoValue
}

// appendString leaves out the end of a line that is the whole body.
func (v *valueWriter) appendString(dst []byte, depth int) ([]byte, error) {
	dst, m := openField(dst, fieldString, 0)
	dst, err := v.d.StrAppend(dst)
	if err != nil {
		return dst, err
	}
	if depth == 0 && len(dst) > m.start && dst[len(dst)-1] == '\n' {
		dst = dst[:len(dst)-1]
		if len(dst) > m.start && dst[len(dst)-1] == '\r' {
			dst = dst[:len(dst)-1]
		}
	}
	return closeField(validFrom(dst, m.start), m), nil
}

// appendNumber appends whole numbers as int64 and others as double. What fits
// neither stays text: an id of 20 digits is worthless once it is rounded.
func (v *valueWriter) appendNumber(dst []byte) ([]byte, error) {
	raw, err := v.d.Raw()
	if err != nil {
		return dst, err
	}
	if !bytes.ContainsAny(raw, ".eE") {
		if n, ok := wholeNumber(raw); ok {
			return appendVarintField(dst, fieldInt, uint64(n)), nil
		}
	} else if f, err := strconv.ParseFloat(string(raw), 64); err == nil {
		return appendFixed64Field(dst, fieldDouble, math.Float64bits(f)), nil
	}
	return appendStringField(dst, fieldString, raw), nil
}

// wholeNumber is the int64 that JSON's digits say, if they fit. Unlike
// strconv.ParseInt it makes no error value for those that do not.
func wholeNumber(digits []byte) (int64, bool) {
	negative := digits[0] == '-'
	if negative {
		digits = digits[1:]
	}
	n := int64(0) // counted downwards: the lowest number has no positive twin
	for _, c := range digits {
		digit := int64(c - '0')
		if n < (math.MinInt64+digit)/10 {
			return 0, false
		}
		n = n*10 - digit
	}
	if negative {
		return n, true
	}
	return -n, n != math.MinInt64
}

func (v *valueWriter) appendArray(dst []byte, depth int) ([]byte, error) {
	dst, array := openField(dst, fieldArray, 0)
	it, err := v.d.ArrIter()
	if err != nil {
		return dst, err
	}
	for it.Next() {
		var item mark
		dst, item = openField(dst, fieldValues, 0)
		if dst, err = v.append(dst, depth+1); err != nil {
			return dst, err
		}
		dst = closeField(dst, item)
	}
	return closeField(dst, array), it.Err()
}

func (v *valueWriter) appendObject(dst []byte, depth int) ([]byte, error) {
	dst, list := openField(dst, fieldKeyValue, 0)
	it, err := v.d.ObjIter()
	if err != nil {
		return dst, err
	}
	for it.Next() {
		var kv, value mark
		isLevel := depth == 0 && string(it.Key()) == "level"
		dst, kv = openField(dst, fieldValues, 0)
		dst = appendStringField(dst, fieldKey, it.Key())
		dst, value = openField(dst, fieldValue, 0)
		if dst, err = v.append(dst, depth+1); err != nil {
			return dst, err
		}
		if isLevel {
			v.level = levelOf(dst[value.start:])
		}
		dst = closeField(closeField(dst, value), kv)
	}
	return closeField(dst, list), it.Err()
}

// levelOf reads the level from an AnyValue's content: the tag of string_value,
// a length of one byte, the text. WARNING and CRITICAL are Python's names.
func levelOf(value []byte) level {
	const tag = fieldString<<3 | wireBytes
	if len(value) < 2 || value[0] != tag || len(value) > 2+len(level{}.text) {
		return level{}
	}
	text := value[2:]
	for _, known := range [...]struct {
		name   string
		number uint64
	}{
		{"INFO", 9}, {"DEBUG", 5}, {"WARN", 13}, {"ERROR", 17}, {"TRACE", 1}, {"FATAL", 21},
		{"WARNING", 13}, {"CRITICAL", 21},
	} {
		if len(known.name) == len(text) && equalFold(text, known.name) {
			l := level{number: known.number, size: len(text)}
			copy(l.text[:], text)
			return l
		}
	}
	return level{}
}

// equalFold compares text with an upper-case ASCII name of the same length.
func equalFold(text []byte, name string) bool {
	for i, c := range text {
		if c >= 'a' && c <= 'z' {
			c -= 'a' - 'A'
		}
		if c != name[i] {
			return false
		}
	}
	return true
}
