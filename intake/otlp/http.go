package otlp

import (
	"encoding/binary"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"slipstream/telemetry"
)

// Content types of requests, and of their answers.
const (
	protobufContentType = "application/x-protobuf"
	jsonContentType     = "application/json"
	textContentType     = "text/plain; charset=utf-8"
)

// serveHTTP answers OTLP/HTTP.
func (s *Server) serveHTTP(w http.ResponseWriter, r *http.Request) {
	contentType := answerType(r)
	signal, encoding, v := s.judgeHTTP(w, r, contentType)
	if !v.good() {
		s.answerHTTP(w, contentType, v)
		return
	}
	v = s.receive(w, r, func(d *desk) verdict {
		d.sit(r, signal, contentType == jsonContentType)
		d.meter = meter{from: r.Body, left: s.config.MaxBody + 1, atEnd: errTooLarge}
		if encoding == identity {
			d.meter.left = s.config.MaxExport + 1
		}
		err := errTooLarge
		if r.ContentLength < int64(d.meter.left) {
			err = d.decode(encoding)
		}
		if err != nil {
			s.drain(d, r.Body)
			return s.unread(d, err)
		}
		return verdict{}
	})
	s.answerHTTP(w, contentType, v)
}

// judgeHTTP judges a request by its head.
func (s *Server) judgeHTTP(w http.ResponseWriter, r *http.Request, contentType string) (
	signal telemetry.Signal, encoding string, v verdict,
) {
	switch r.URL.Path {
	case "/v1/traces":
		signal = telemetry.Traces
	case "/v1/metrics":
		signal = telemetry.Metrics
	case "/v1/logs":
		signal = telemetry.Logs
	default:
		return "", "", verdict{status: 404, code: codeUnimplemented,
			message: "no such path: there are /v1/traces, /v1/metrics and /v1/logs"}
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return "", "", verdict{status: 405, code: codeUnimplemented, message: "no such method: OTLP is sent with POST"}
	}
	if contentType == textContentType {
		return "", "", s.drop("unsupported", 1, verdict{status: 415, code: codeInvalidArgument,
			message: "no such Content-Type: OTLP is " + protobufContentType + " or " + jsonContentType})
	}
	switch given := r.Header["Content-Encoding"]; {
	case len(given) == 0:
		encoding = identity
	case len(given) == 1:
		encoding = encodingNamed(given[0])
	}
	if encoding == "" {
		w.Header().Set("Accept-Encoding", "gzip, zstd, deflate")
		return "", "", s.drop("unsupported", 1, verdict{status: 415, code: codeInvalidArgument,
			message: "no such Content-Encoding: there are gzip, zstd and deflate"})
	}
	return signal, encoding, verdict{}
}

// encodingNamed gives the encoding for the name in a request's header, or "".
func encodingNamed(name string) string {
	switch {
	case name == "", strings.EqualFold(name, identity):
		return identity
	case strings.EqualFold(name, gzipped):
		return gzipped
	case strings.EqualFold(name, zstded):
		return zstded
	case strings.EqualFold(name, deflated):
		return deflated
	}
	return ""
}

// answerType gives the content type of the answer: the request's, or text.
func answerType(r *http.Request) string {
	given := r.Header.Get("Content-Type")
	if given == protobufContentType || given == jsonContentType {
		return given
	}
	switch name, _, _ := mime.ParseMediaType(given); name {
	case protobufContentType:
		return protobufContentType
	case jsonContentType:
		return jsonContentType
	}
	return textContentType
}

// answerHTTP writes the verdict in the request's own encoding: an
// Export...ServiceResponse, or a google.rpc.Status.
func (s *Server) answerHTTP(w http.ResponseWriter, contentType string, v verdict) {
	header := w.Header()
	header.Set("Content-Type", contentType)
	if v.again {
		header.Set("Retry-After", strconv.Itoa(int((s.config.RetryAfter+time.Second-1)/time.Second)))
	}
	var body []byte
	switch {
	case contentType == protobufContentType && v.good():
		body = appendResponse(nil, v)
	case contentType == protobufContentType:
		body = appendStatus(nil, v, 0)
	case contentType == jsonContentType && v.good():
		body = appendResponseJSON(nil, v)
	case contentType == jsonContentType:
		body = append(strconv.AppendInt([]byte(`{"code":`), int64(v.code), 10), `,"message":`...)
		body = append(appendJSONString(body, v.message), '}')
	default:
		body = append([]byte(v.message), '\n')
	}
	header.Set("Content-Length", strconv.Itoa(len(body)))
	s.send(w, max(v.status, http.StatusOK), body)
}

// send writes an answer; a sender that does not read it is not waited for long.
func (s *Server) send(w http.ResponseWriter, status int, body []byte) {
	d := s.desks.Get().(*desk)
	defer s.desks.Put(d)
	d.patience.watchWrite(w)
	defer d.patience.stop()
	w.WriteHeader(status)
	_, _ = w.Write(body) // the sender is gone: nobody to tell
	_ = http.NewResponseController(w).Flush()
}

// appendResponse appends an Export...ServiceResponse: it is empty, or has the
// partial success, field 1, which all three signals number alike.
func appendResponse(dst []byte, v verdict) []byte {
	if v.rejected == 0 {
		return dst
	}
	partial := binary.AppendUvarint([]byte{1 << 3}, uint64(v.rejected))
	partial = appendText(partial, 2, v.message)
	return appendText(dst, 1, string(partial))
}

// rejectedNames are the fields of a partial success in JSON.
var rejectedNames = map[telemetry.Signal]string{
	telemetry.Traces:  "rejectedSpans",
	telemetry.Metrics: "rejectedDataPoints",
	telemetry.Logs:    "rejectedLogRecords",
}

func appendResponseJSON(dst []byte, v verdict) []byte {
	if v.rejected == 0 {
		return append(dst, "{}"...)
	}
	dst = append(append(dst, `{"partialSuccess":{"`...), rejectedNames[v.signal]...)
	dst = append(strconv.AppendInt(append(dst, `":"`...), int64(v.rejected), 10), `","errorMessage":`...)
	return append(appendJSONString(dst, v.message), "}}"...)
}

// appendStatus appends a google.rpc.Status, with a RetryInfo unless it is zero.
func appendStatus(dst []byte, v verdict, retry time.Duration) []byte {
	dst = binary.AppendUvarint(append(dst, 1<<3), uint64(v.code))
	dst = appendText(dst, 2, v.message)
	if retry == 0 {
		return dst
	}
	var delay []byte // google.protobuf.Duration
	if seconds := uint64(retry / time.Second); seconds > 0 {
		delay = binary.AppendUvarint(append(delay, 1<<3), seconds)
	}
	if nanos := uint64(retry % time.Second); nanos > 0 {
		delay = binary.AppendUvarint(append(delay, 2<<3), nanos)
	}
	any := appendText(nil, 1, "type.googleapis.com/google.rpc.RetryInfo")
	any = appendText(any, 2, string(appendText(nil, 1, string(delay))))
	return appendText(dst, 3, string(any))
}

// appendText appends a length-delimited field of protobuf.
func appendText(dst []byte, field byte, text string) []byte {
	dst = binary.AppendUvarint(append(dst, field<<3|2), uint64(len(text)))
	return append(dst, text...)
}

// appendJSONString appends text quoted; what is not UTF-8 becomes U+FFFD.
func appendJSONString(dst []byte, text string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for _, c := range text {
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', byte(c))
		case c < ' ':
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			dst = append(dst, string(c)...)
		}
	}
	return append(dst, '"')
}
