package wire

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"slipstream/telemetry"
)

// maxNesting is how deep messages may stand in each other. Receivers in C++
// and Java refuse a whole batch for more than 100.
const maxNesting = 64

// maxResources is of how many resources a request may speak. A function has
// one; each gets the attributes that it lacks, so that a small body of many
// resources would become a large one.
const maxResources = 4096

// otlpFlaw is what is wrong with a request, and in which field of it.
type otlpFlaw struct {
	path  string // the fields from the request on, by their names in JSON
	cause error
}

func (f *otlpFlaw) Error() string {
	if f.path == "" {
		return f.cause.Error()
	}
	return f.path + ": " + f.cause.Error()
}

func (f *otlpFlaw) Unwrap() error { return f.cause }

// in says that the flaw is in the named field.
func (f *otlpFlaw) in(name string) *otlpFlaw {
	if f.path != "" {
		name += "." + f.path
	}
	f.path = name
	return f
}

var (
	errProtobuf = errors.New("not valid protobuf (cut short, or no OTLP request?)")
	errWireType = errors.New("of another wire type than OTLP's (not this signal's request?)")
	errUTF8     = errors.New("a string that is not UTF-8 (protobuf has bytes for that)")
	errNesting  = fmt.Errorf("messages nested deeper than %d", maxNesting)
	errID       = errors.New("an identifier of the wrong size (16 bytes for a trace, 8 for a span, or none)")
	errTwice    = errors.New("there twice, where a request has one")
	errMany     = fmt.Errorf("more than %d resources", maxResources)
	errSignal   = errors.New("not a signal of OTLP (logs, traces or metrics)")
)

// CheckExport walks an Export{Logs,Trace,Metrics}ServiceRequest in protobuf and
// counts its log records, spans or data points. What is wrong for any receiver
// is an error that names the field: no valid protobuf, other wire types than
// OTLP's, strings that are not UTF-8, identifiers of the wrong size, messages
// nested deeper than 64. So is a message in several parts but for a resource:
// nobody writes that, and joining it on many levels takes memory without bound.
// The resources have a bound too. Unknown fields are right.
func CheckExport(signal telemetry.Signal, body []byte) (records int, err error) {
	request, flaw := requestOf(signal)
	if flaw == nil {
		flaw = checkMessage(request, body, 0, &records)
	}
	if flaw == nil && !fewFields(body) {
		flaw = &otlpFlaw{cause: errMany}
	}
	if flaw != nil {
		return 0, fmt.Errorf("check OTLP %s of %d bytes: %w", signal, len(body), flaw)
	}
	return records, nil
}

// fewFields tells whether a request that is right has not too many resources.
func fewFields(body []byte) bool {
	n := 0
	for at := 0; at < len(body) && n <= maxResources; n++ {
		_, _, at = readField(body, at)
	}
	return n <= maxResources
}

func checkMessage(message uint8, b []byte, depth int, records *int) *otlpFlaw {
	if depth > maxNesting {
		return &otlpFlaw{cause: errNesting}
	}
	fields := otlpMessages[message]
	seen := uint32(0) // the messages of which there is one
	for at := 0; at < len(b); {
		tag, value, end := readField(b, at)
		if end < 0 {
			return &otlpFlaw{cause: errProtobuf}
		}
		at = end
		number := tag >> 3
		if number >= uint64(len(fields)) || fields[number].kind == kindUnknown {
			continue
		}
		f := &fields[number]
		if tag&7 != wireTypes[f.kind] {
			if tag&7 != wireBytes || f.trait&repeated == 0 {
				return (&otlpFlaw{cause: errWireType}).in(f.name)
			}
			if !packed(f.kind, b[end-int(value):end]) {
				return (&otlpFlaw{cause: errProtobuf}).in(f.name)
			}
			continue
		}
		switch f.kind {
		case kindMessage:
			if f.trait&counted != 0 {
				*records++
			}
			if f.trait&repeated == 0 {
				if seen&(1<<number) != 0 && f.of != msgResource {
					return (&otlpFlaw{cause: errTwice}).in(f.name)
				}
				seen |= 1 << number
			}
			if flaw := checkMessage(f.of, b[end-int(value):end], depth+1, records); flaw != nil {
				return flaw.in(f.name)
			}
		case kindString:
			if !utf8.Valid(b[end-int(value) : end]) {
				return (&otlpFlaw{cause: errUTF8}).in(f.name)
			}
		case kindTraceID, kindSpanID:
			if value != 0 && value != idSize(f.kind) {
				return (&otlpFlaw{cause: errID}).in(f.name)
			}
		}
	}
	return nil
}

func idSize(k otlpKind) uint64 {
	if k == kindTraceID {
		return traceIDSize
	}
	return spanIDSize
}

// packed tells whether b is whole values of the kind, one after the other.
func packed(k otlpKind, b []byte) bool {
	switch wireTypes[k] {
	case wireFixed64:
		return len(b)%8 == 0
	case wireVarint:
		for at := 0; at < len(b); {
			if _, at = readVarint(b, at); at < 0 {
				return false
			}
		}
		return true
	}
	return false // of fixed32 OTLP has no lists, and the rest has no packed form
}

// OTLPExports writes exports as they are: the bodies of one signal, one after
// the other, are one request. It has no form for a log, and appends nothing.
type OTLPExports struct{}

// AppendExport appends the body of e.
func (OTLPExports) AppendExport(dst []byte, e *telemetry.Export) []byte {
	return append(dst, e.Body...)
}

// AppendLog appends nothing.
func (OTLPExports) AppendLog(dst []byte, _ *telemetry.Log) []byte { return dst }

// AppendHead appends nothing.
func (OTLPExports) AppendHead(dst []byte, _ int) []byte { return dst }

// ContentType is that of OTLP over HTTP.
func (OTLPExports) ContentType() string { return "application/x-protobuf" }

// Extension is that of OTLPLogs.
func (OTLPExports) Extension() string { return ".otlp.pb" }
