package otlpread

import "fmt"

// Span is one span. What it holds is valid until the visit returns.
type Span struct {
	Resource, Attributes Attributes
	Trace, ID, Parent    []byte // 16, 8 and 8 bytes, or none
	Name                 []byte
	Kind                 uint64 // OTLP's number: 2 server, 3 client, 4 producer, 5 consumer
	Start, End           uint64 // nanoseconds since 1970
	Status               uint64 // OTLP's number: 2 is an error
	StatusMessage        []byte
	Events               []Event
	Links                []Link
}

// Event is something that happened in a span.
type Event struct {
	Time       uint64 // nanoseconds since 1970
	Name       []byte
	Attributes Attributes
}

// Link is another span that a span has to do with.
type Link struct{ Trace, ID []byte }

// Spans visits every span of an ExportTraceServiceRequest, or of several written
// one after the other.
func (r *Reader) Spans(body []byte, visit func(*Span)) error {
	r.err = nil
	for request := (cursor{rest: body}); request.child(1, &r.err); {
		r.span.Resource = Attributes{message: last(request.data, 1), field: 1}
		for scopes := (cursor{rest: request.data}); scopes.child(2, &r.err); {
			for spans := (cursor{rest: scopes.data}); spans.child(2, &r.err); {
				if r.readSpan(spans.data); r.err == nil {
					visit(&r.span)
				}
			}
		}
	}
	if r.err != nil {
		return fmt.Errorf("read OTLP traces of %d bytes: %w", len(body), r.err)
	}
	return nil
}

func (r *Reader) readSpan(message []byte) {
	s := &r.span
	*s = Span{Resource: s.Resource, Attributes: Attributes{message: message, field: 9},
		Events: s.Events[:0], Links: s.Links[:0]}
	for fc := (cursor{rest: message}); fc.next(&r.err); {
		data, _ := fc.MessageData()
		switch fc.FieldNum {
		case 1:
			s.Trace = data
		case 2:
			s.ID = data
		case 4:
			s.Parent = data
		case 5:
			s.Name = data
		case 6:
			s.Kind, _ = fc.Uint64()
		case 7:
			s.Start, _ = fc.Fixed64()
		case 8:
			s.End, _ = fc.Fixed64()
		case 11:
			r.event(data)
		case 13:
			s.Links = append(s.Links, Link{Trace: last(data, 1), ID: last(data, 2)})
		case 15:
			r.status(data)
		}
	}
}

func (r *Reader) status(message []byte) {
	for fc := (cursor{rest: message}); fc.next(&r.err); {
		switch fc.FieldNum {
		case 2:
			r.span.StatusMessage, _ = fc.MessageData()
		case 3:
			r.span.Status, _ = fc.Uint64()
		}
	}
}

func (r *Reader) event(message []byte) {
	e := Event{Attributes: Attributes{message: message, field: 3}}
	for fc := (cursor{rest: message}); fc.next(&r.err); {
		switch fc.FieldNum {
		case 1:
			e.Time, _ = fc.Fixed64()
		case 2:
			e.Name, _ = fc.MessageData()
		}
	}
	r.span.Events = append(r.span.Events, e)
}
