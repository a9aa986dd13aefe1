package wire

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"

	"github.com/go-faster/jx"

	"slipstream/telemetry"
)

var (
	errJSON    = errors.New("not valid JSON")
	errObject  = errors.New("no object")
	errList    = errors.New("no array")
	errNumber  = errors.New("no number, or out of the field's range")
	errEnum    = errors.New("no number and no name of this enum")
	errHex     = errors.New("not hexadecimal (OTLP/JSON writes identifiers so, not in base64)")
	errBase64  = errors.New("not base64")
	errContent = errors.New("data after the request")
)

// ExportFromJSON appends the protobuf of a request in OTLP/JSON. Fields that
// OTLP does not know are passed over. Identifiers are hexadecimal; numbers may
// be strings, enums names; null is as nothing. An error names the field and
// leaves dst as it was. The result is right by CheckExport, which counts its
// records, but for the number of resources.
func ExportFromJSON(dst []byte, signal telemetry.Signal, json []byte) ([]byte, error) {
	body := dst
	request, flaw := requestOf(signal)
	if flaw == nil {
		d := jx.GetDecoder()
		defer jx.PutDecoder(d)
		d.ResetBytes(json)
		body, flaw = fromJSON{d}.appendMessage(dst, request, 0)
		if flaw == nil && d.Skip() != io.EOF {
			flaw = &otlpFlaw{cause: errContent}
		}
	}
	if flaw != nil {
		return dst, fmt.Errorf("read OTLP/JSON %s of %d bytes: %w", signal, len(json), flaw)
	}
	return body, nil
}

// fromJSON turns JSON into the content of messages.
type fromJSON struct{ d *jx.Decoder }

// appendMessage appends the content of the message that is next.
func (j fromJSON) appendMessage(dst []byte, message uint8, depth int) ([]byte, *otlpFlaw) {
	if depth > maxNesting {
		return dst, &otlpFlaw{cause: errNesting}
	}
	if j.d.Next() != jx.Object {
		return dst, &otlpFlaw{cause: errObject}
	}
	it, err := j.d.ObjIter()
	if err != nil {
		return dst, brokenJSON(err)
	}
	seen := uint32(0)
	for it.Next() {
		number, f := fieldNamed(message, it.Key())
		switch {
		case f == nil:
			err = j.d.Skip()
		case j.d.Next() == jx.Null:
			err = j.d.Null()
		case f.kind == kindMessage && f.trait&repeated == 0 && seen&(1<<number) != 0:
			return dst, (&otlpFlaw{cause: errTwice}).in(f.name)
		default:
			seen |= 1 << number
			var flaw *otlpFlaw
			if dst, flaw = j.appendField(dst, number, f, depth); flaw != nil {
				return dst, flaw.in(f.name)
			}
		}
		if err != nil {
			return dst, brokenJSON(err)
		}
	}
	if it.Err() != nil {
		return dst, brokenJSON(it.Err())
	}
	return dst, nil
}

func brokenJSON(err error) *otlpFlaw { return &otlpFlaw{cause: fmt.Errorf("%w: %w", errJSON, err)} }

// fieldNamed finds a message's field by its name; nil if it has none.
func fieldNamed(message uint8, name []byte) (number int, f *otlpField) {
	fields := otlpMessages[message]
	for i := range fields {
		if fields[i].name == string(name) && fields[i].kind != kindUnknown {
			return i, &fields[i]
		}
	}
	return 0, nil
}

// appendField appends a field with the value that is next.
func (j fromJSON) appendField(dst []byte, number int, f *otlpField, depth int) ([]byte, *otlpFlaw) {
	if f.trait&repeated == 0 {
		return j.appendOne(dst, number, f, depth)
	}
	if j.d.Next() != jx.Array {
		return dst, &otlpFlaw{cause: errList}
	}
	it, err := j.d.ArrIter()
	if err != nil {
		return dst, brokenJSON(err)
	}
	list := wireTypes[f.kind] != wireBytes // packed
	start := len(dst)
	var m mark
	if list {
		dst, m = openField(dst, number, 0)
	}
	for it.Next() {
		var flaw *otlpFlaw
		if list {
			var value uint64
			if value, flaw = j.number(f); flaw == nil {
				dst = appendNumber(dst, f.kind, value)
			}
		} else {
			dst, flaw = j.appendOne(dst, number, f, depth)
		}
		if flaw != nil {
			return dst, flaw
		}
	}
	switch {
	case it.Err() != nil:
		return dst, brokenJSON(it.Err())
	case list && len(dst) == m.start:
		return dst[:start], nil
	case list:
		return closeField(dst, m), nil
	}
	return dst, nil
}

// appendOne appends a field with one value.
func (j fromJSON) appendOne(dst []byte, number int, f *otlpField, depth int) ([]byte, *otlpFlaw) {
	if wireTypes[f.kind] != wireBytes {
		value, flaw := j.number(f)
		if flaw != nil || value == 0 && f.trait == once {
			return dst, flaw
		}
		return appendNumber(appendTag(dst, number, int(wireTypes[f.kind])), f.kind, value), nil
	}
	start := len(dst)
	dst, m := openField(dst, number, guess(f))
	var flaw *otlpFlaw
	switch {
	case f.kind != kindMessage:
		dst, flaw = j.appendBytes(dst, f.kind)
		if len(dst) == m.start && f.trait == once {
			return dst[:start], flaw
		}
	case j.d.Next() == jx.Null: // in a list: a message of nothing
		if err := j.d.Null(); err != nil {
			flaw = brokenJSON(err)
		}
	default:
		dst, flaw = j.appendMessage(dst, f.of, depth+1)
	}
	if flaw != nil {
		return dst, flaw
	}
	return closeField(dst, m), nil
}

// guess is about how long a field gets, to save moving it.
func guess(f *otlpField) int {
	if f.trait&counted != 0 {
		return 1 << 7
	}
	return 0
}

// appendBytes appends the content of a string, of bytes or of an identifier.
func (j fromJSON) appendBytes(dst []byte, k otlpKind) ([]byte, *otlpFlaw) {
	start := len(dst)
	if k == kindString {
		dst, err := j.d.StrAppend(dst)
		if err != nil {
			return dst, brokenJSON(err)
		}
		return validFrom(dst, start), nil
	}
	text, err := j.d.StrBytes()
	if err != nil {
		return dst, brokenJSON(err)
	}
	if k == kindBytes {
		dst, err = appendBase64(dst, text)
		if err != nil {
			return dst, &otlpFlaw{cause: errBase64}
		}
		return dst, nil
	}
	if len(text) != 0 && uint64(len(text)) != 2*idSize(k) {
		return dst, &otlpFlaw{cause: errID}
	}
	if dst, err = hex.AppendDecode(dst, text); err != nil {
		return dst, &otlpFlaw{cause: errHex}
	}
	return dst, nil
}

// appendBase64 takes both alphabets, with padding and without.
func appendBase64(dst, text []byte) ([]byte, error) {
	text = bytes.TrimRight(text, "=")
	if bytes.ContainsAny(text, "-_") {
		return base64.RawURLEncoding.AppendDecode(dst, text)
	}
	return base64.RawStdEncoding.AppendDecode(dst, text)
}

// appendNumber appends a value as its kind is written.
func appendNumber(dst []byte, k otlpKind, value uint64) []byte {
	switch wireTypes[k] {
	case wireFixed64:
		return appendFixed64(dst, value)
	case wireFixed32:
		return appendFixed32(dst, uint32(value))
	}
	return appendVarint(dst, value)
}

// number is the number, the truth or the enum that is next, as protobuf's bits.
func (j fromJSON) number(f *otlpField) (uint64, *otlpFlaw) {
	var text []byte
	var err error
	quoted := false
	switch j.d.Next() {
	case jx.Bool:
		var b bool
		if b, err = j.d.Bool(); err == nil && f.kind == kindBool {
			if b {
				return 1, nil
			}
			return 0, nil
		}
	case jx.Number:
		text, err = j.d.Raw()
	case jx.String:
		quoted = true
		text, err = j.d.StrBytes()
	}
	switch {
	case err != nil:
		return 0, brokenJSON(err)
	case f.kind == kindBool || text == nil:
		return 0, &otlpFlaw{cause: errNumber}
	case f.kind == kindEnum && quoted:
		return enumNumber(f.of, text)
	case f.kind == kindDouble:
		return doubleBits(text)
	}
	return wholeBits(f.kind, text)
}

// enumNumber is the number of an enum's name, or of a number in quotes.
func enumNumber(enum uint8, text []byte) (uint64, *otlpFlaw) {
	for i, name := range otlpEnums[enum] {
		if name == string(text) {
			return uint64(i), nil
		}
	}
	if value, flaw := wholeBits(kindEnum, text); flaw == nil {
		return value, nil
	}
	return 0, &otlpFlaw{cause: errEnum}
}

func doubleBits(text []byte) (uint64, *otlpFlaw) {
	switch string(text) {
	case "NaN":
		return math.Float64bits(math.NaN()), nil
	case "Infinity":
		return math.Float64bits(math.Inf(1)), nil
	case "-Infinity":
		return math.Float64bits(math.Inf(-1)), nil
	}
	if f, ok := decimal(text); ok {
		return math.Float64bits(f), nil
	}
	return 0, &otlpFlaw{cause: errNumber}
}

// decimal reads what JSON has for a number. strconv knows more forms.
func decimal(text []byte) (float64, bool) {
	for _, c := range text {
		if (c < '0' || c > '9') && c != '-' && c != '+' && c != '.' && c != 'e' && c != 'E' {
			return 0, false
		}
	}
	f, err := strconv.ParseFloat(string(text), 64)
	return f, err == nil
}

// wholeBits reads a whole number in the range of its kind, in the bits that
// protobuf has for it. 1e3 and 5.0 are whole too.
func wholeBits(k otlpKind, text []byte) (uint64, *otlpFlaw) {
	digits := text
	negative := len(digits) > 0 && digits[0] == '-'
	if negative {
		digits = digits[1:]
	}
	size, err := uint64(0), error(nil)
	if bytes.ContainsAny(digits, ".eE") {
		f, ok := decimal(digits)
		if !ok || f != math.Trunc(f) || f < 0 || f >= 1<<64 {
			return 0, &otlpFlaw{cause: errNumber}
		}
		size = uint64(f)
	} else if size, err = strconv.ParseUint(string(digits), 10, 64); err != nil {
		return 0, &otlpFlaw{cause: errNumber}
	}
	highest, signed := uint64(math.MaxUint64), false
	switch k {
	case kindUint32, kindFixed32:
		highest = math.MaxUint32
	case kindEnum, kindInt32, kindSint32:
		highest, signed = math.MaxInt32, true
	case kindInt64, kindSfixed64:
		highest, signed = math.MaxInt64, true
	}
	if negative {
		highest++ // the lowest number has no positive twin
	}
	if size > highest || negative && !signed && size > 0 {
		return 0, &otlpFlaw{cause: errNumber}
	}
	value := size
	if negative {
		value = -size
	}
	if k == kindSint32 {
		n := int32(value)
		return uint64(uint32(n<<1) ^ uint32(n>>31)), nil
	}
	return value, nil
}
