package otlp

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"slipstream/telemetry"
)

// gRPC over HTTP/2, as far as a unary call needs it:
// https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md. A call's
// grpc-timeout is not looked at: taking an export is never waited for.
const grpcContentType = "application/grpc"

// serveGRPC answers one call.
func (s *Server) serveGRPC(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	contentType := r.Header.Get("Content-Type")
	if format := contentType[len(grpcContentType):]; format != "" && format[0] != ';' && format != "+proto" {
		s.config.Drop("unsupported", 1)
		w.WriteHeader(http.StatusUnsupportedMediaType)
		return
	}
	signal, encoding, v := s.judgeCall(w, r)
	if v.good() {
		v = s.receive(w, r, func(d *desk) verdict {
			d.sit(r, signal, false)
			return s.readCall(d, r.Body, encoding)
		})
	}
	s.answerGRPC(w, v)
}

// judgeCall judges a call by its head.
func (s *Server) judgeCall(w http.ResponseWriter, r *http.Request) (
	signal telemetry.Signal, encoding string, v verdict,
) {
	const prefix = "/opentelemetry.proto.collector."
	switch name, _ := strings.CutPrefix(r.URL.Path, prefix); name {
	case "trace.v1.TraceService/Export":
		signal = telemetry.Traces
	case "metrics.v1.MetricsService/Export":
		signal = telemetry.Metrics
	case "logs.v1.LogsService/Export":
		signal = telemetry.Logs
	default:
		return "", "", verdict{status: 404, code: codeUnimplemented,
			message: "unknown method " + r.URL.Path + ": there is Export of OTLP's trace, metrics and logs services"}
	}
	if encoding = encodingNamed(r.Header.Get("Grpc-Encoding")); encoding == "" {
		w.Header()["Grpc-Accept-Encoding"] = []string{"identity,gzip,zstd,deflate"}
		return "", "", s.drop("unsupported", 1, verdict{status: 415, code: codeUnimplemented,
			message: "no such grpc-encoding: there are gzip, zstd and deflate"})
	}
	return signal, encoding, verdict{}
}

// readCall reads the one message of a call into d.plain.
func (s *Server) readCall(d *desk, body io.Reader, encoding string) verdict {
	d.meter = meter{from: body, left: len(d.head), atEnd: io.EOF}
	if _, err := io.ReadFull(&d.meter, d.head[:]); err != nil {
		return s.unread(d, whole(err))
	}
	limit, size := s.config.MaxExport, binary.BigEndian.Uint32(d.head[1:])
	switch flag := d.head[0]; {
	case flag > 1 || flag == 1 && encoding == identity:
		return s.drop("malformed", 1, verdict{status: 400, code: codeInternal, message: fmt.Sprintf(
			"read the message: the compression flag is %d and grpc-encoding %s", flag, encoding)})
	case flag == 1:
		limit = s.config.MaxBody
	default:
		encoding = identity
	}
	if int64(size) > int64(limit) {
		return s.unread(d, errTooLarge)
	}
	d.meter.left, d.size = int(size), int64(size)
	err := d.decode(encoding)
	if err == nil && d.meter.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return s.unread(d, err)
	}
	d.meter.left = 1
	switch _, err := io.ReadFull(&d.meter, d.head[:1]); {
	case err == nil:
		return s.drop("malformed", 1, verdict{status: 400, code: codeInternal,
			message: "read the message: the call has more than one"})
	case d.meter.err != nil:
		return s.unread(d, err)
	}
	return verdict{}
}

// answerGRPC writes the answer of a call: message and trailers, or the trailers
// alone when the call failed.
func (s *Server) answerGRPC(w http.ResponseWriter, v verdict) {
	header := w.Header()
	header["Content-Type"] = []string{grpcContentType}
	if !v.good() {
		header["Grpc-Status"] = []string{strconv.Itoa(v.code)}
		header["Grpc-Message"] = []string{percentEncoded(v.message)}
		if v.again {
			details := appendStatus(nil, v, max(s.config.RetryAfter, time.Nanosecond))
			header["Grpc-Status-Details-Bin"] = []string{base64.RawStdEncoding.EncodeToString(details)}
		}
		w.WriteHeader(http.StatusOK)
		return
	}
	message := appendResponse(make([]byte, 5, 64), v)
	binary.BigEndian.PutUint32(message[1:], uint32(len(message)-5))
	header[http.TrailerPrefix+"Grpc-Status"] = []string{strconv.Itoa(codeOK)}
	s.send(w, http.StatusOK, message)
}

// percentEncoded is text as grpc-message wants it.
func percentEncoded(text string) string {
	var b strings.Builder
	for i := range len(text) {
		if c := text[i]; c < ' ' || c > '~' || c == '%' {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}
