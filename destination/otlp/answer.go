package otlp

import (
	"strconv"
	"strings"

	"github.com/VictoriaMetrics/easyproto"
	"github.com/go-faster/jx"

	"slipstream/destination"
)

// partialSuccess reads an Export*ServiceResponse in protobuf or JSON. An
// answer that is neither says nothing about single records.
func partialSuccess(resp *destination.Response) (rejected int64, message string) {
	if isProtobuf(resp) {
		const fieldPartialSuccess, fieldRejected, fieldErrorMessage = 1, 1, 2
		partial := field(resp.Body, fieldPartialSuccess)
		count := field(partial.data, fieldRejected)
		return count.number, string(field(partial.data, fieldErrorMessage).data)
	}
	if mediaType(resp) != "application/json" {
		return 0, ""
	}
	err := jx.DecodeBytes(resp.Body).Obj(func(d *jx.Decoder, key string) error {
		if key != "partialSuccess" {
			return d.Skip()
		}
		return d.Obj(func(d *jx.Decoder, key string) (err error) {
			switch key {
			case "rejectedLogRecords", "rejectedSpans", "rejectedDataPoints":
				rejected, err = jsonInt64(d)
			case "errorMessage":
				message, err = d.Str()
			default:
				err = d.Skip()
			}
			return err
		})
	})
	if err != nil {
		return 0, ""
	}
	return rejected, message
}

// jsonInt64 reads an int64, which protobuf's JSON writes as a string.
func jsonInt64(d *jx.Decoder) (int64, error) {
	raw, err := d.Raw()
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.Trim(raw.String(), `"`), 10, 64)
}

// errorMessage is what a refusal says: a google.rpc.Status in protobuf or
// JSON, else the text itself unless it is a web page.
func errorMessage(resp *destination.Response) string {
	switch {
	case isProtobuf(resp):
		const fieldMessage = 2
		return string(field(resp.Body, fieldMessage).data)
	case isHTML(resp):
		return ""
	}
	return string(resp.Body)
}

// value is a protobuf field's, as bytes or as a number.
type value struct {
	data   []byte
	number int64
}

// field finds a field in a protobuf message; what is broken has none.
func field(message []byte, number uint32) value {
	var found value
	var fc easyproto.FieldContext
	for len(message) > 0 {
		var err error
		if message, err = fc.NextField(message); err != nil {
			return value{}
		}
		if fc.FieldNum != number {
			continue
		}
		if data, ok := fc.MessageData(); ok {
			found.data = data
		}
		if n, ok := fc.Int64(); ok {
			found.number = n
		}
	}
	return found
}
