package otlpread

import "fmt"

// Log is one log record. What it holds is valid until the visit returns.
type Log struct {
	Resource, Attributes    Attributes
	Time, Observed          uint64 // nanoseconds since 1970, 0 for unknown
	Severity                uint64 // OTLP's number, as telemetry.Level
	SeverityText, EventName []byte
	Body                    Value
	Trace, Span             []byte // 16 and 8 bytes, or none
}

// Logs visits every record of an ExportLogsServiceRequest, or of several written
// one after the other.
func (r *Reader) Logs(body []byte, visit func(*Log)) error {
	r.err = nil
	for request := (cursor{rest: body}); request.child(1, &r.err); {
		resource := Attributes{message: last(request.data, 1), field: 1}
		for scopes := (cursor{rest: request.data}); scopes.child(2, &r.err); {
			for records := (cursor{rest: scopes.data}); records.child(2, &r.err); {
				l := Log{Resource: resource, Attributes: Attributes{message: records.data, field: 6}}
				if l.read(records.data, &r.err); r.err == nil {
					visit(&l)
				}
			}
		}
	}
	if r.err != nil {
		return fmt.Errorf("read OTLP logs of %d bytes: %w", len(body), r.err)
	}
	return nil
}

func (l *Log) read(message []byte, flaw *error) {
	for fc := (cursor{rest: message}); fc.next(flaw); {
		data, _ := fc.MessageData()
		switch fc.FieldNum {
		case 1:
			l.Time, _ = fc.Fixed64()
		case 2:
			l.Severity, _ = fc.Uint64()
		case 3:
			l.SeverityText = data
		case 5:
			l.Body = Value{data}
		case 9:
			l.Trace = data
		case 10:
			l.Span = data
		case 11:
			l.Observed, _ = fc.Fixed64()
		case 12:
			l.EventName = data
		}
	}
}
