package otlp

import (
	"errors"
	"fmt"
	"io"
	"os"

	"slipstream/telemetry"
	"slipstream/wire"
)

// Codes of google.rpc.Code, which are gRPC's too.
const (
	codeOK                = 0
	codeInvalidArgument   = 3
	codeDeadlineExceeded  = 4
	codeResourceExhausted = 8
	codeUnimplemented     = 12
	codeInternal          = 13
	codeUnavailable       = 14
)

// completionRoom is about what the completion of one resource takes, in bytes.
const completionRoom = 2 << 10

// verdict is what becomes of a request; the zero one is full success.
type verdict struct {
	status   int // of HTTP, 0 for 200
	code     int // of gRPC, and of the status in an HTTP answer's body
	message  string
	again    bool // the sender shall try again after RetryAfter
	rejected int  // records of a partial success; message says why
	signal   telemetry.Signal
}

func (v verdict) good() bool { return v.status == 0 }

// refuse is the verdict when Take, or a place to read, refuses.
func refuse(err error) verdict {
	switch {
	case errors.Is(err, telemetry.ErrNoRoom):
		return verdict{status: 429, code: codeUnavailable, message: "no room for telemetry now: try again later", again: true}
	case errors.Is(err, telemetry.ErrOver):
		return verdict{status: 503, code: codeUnavailable, message: "the environment is ending: nothing is taken any more"}
	}
	return verdict{status: 503, code: codeUnavailable, message: "take telemetry: " + err.Error()}
}

func malformed(err error) verdict {
	return verdict{status: 400, code: codeInvalidArgument, message: err.Error()}
}

// drop counts what is refused for good, and makes it the verdict.
func (s *Server) drop(reason string, n int, v verdict) verdict {
	s.config.Drop(reason, n)
	return v
}

// unread is the verdict on a body that could not be read.
func (s *Server) unread(d *desk, err error) verdict {
	c := &s.config
	switch network := d.meter.err; {
	case errors.Is(err, errNoPlace):
		return refuse(telemetry.ErrNoRoom)
	case errors.Is(network, os.ErrDeadlineExceeded):
		return s.drop("incomplete", 1, verdict{status: 408, code: codeDeadlineExceeded,
			message: fmt.Sprintf("read the body: not there after %v: send it faster or smaller", c.Patience)})
	case network != nil && !errors.Is(err, errTooLarge):
		return s.drop("incomplete", 1, malformed(fmt.Errorf("read the body: %w", network)))
	case errors.Is(err, errTooLarge):
		return s.drop("too_large", 1, verdict{status: 413, code: codeResourceExhausted,
			message: fmt.Sprintf("the body is too large: at most %d bytes, compressed %d: send smaller batches",
				c.MaxExport, c.MaxBody)})
	case errors.Is(err, io.ErrUnexpectedEOF):
		return s.drop("incomplete", 1, malformed(errors.New("read the body: it ends in the middle")))
	}
	return s.drop("malformed", 1, malformed(fmt.Errorf("decompress the body: %w", err)))
}

// take hands on what is in plain.
func (s *Server) take(d *desk) verdict {
	in, out := &d.plain, &d.other
	if d.json {
		var err error
		if *out, err = wire.ExportFromJSON((*out)[:0], d.signal, *in); err != nil {
			return s.drop("malformed", 1, malformed(err))
		}
		in, out = out, in
	}
	v := verdict{signal: d.signal}
	records, cause := wire.CheckExport(d.signal, *in)
	if cause != nil {
		var ok bool
		if *out, v.rejected, ok = s.sift(d, (*out)[:0], *in); ok {
			in, out = out, in
			records, _ = wire.CheckExport(d.signal, *in) // 0 if it is still not valid
		}
		if records == 0 {
			return s.drop("malformed", max(v.rejected, 1), malformed(cause))
		}
		v.message = fmt.Sprintf("%d records were rejected: %v", v.rejected, cause)
	}
	if records > 0 {
		if c := s.config.Completion; c != nil {
			var err error
			if *out, err = d.grow((*out)[:0], len(*in)+completionRoom); err != nil {
				return refuse(telemetry.ErrNoRoom)
			}
			*out = c.Complete((*out)[:0], d.signal, *in)
			in = out
		}
		d.export = telemetry.Export{Signal: d.signal, Records: records, Body: *in}
		if err := s.handOn(d); err != nil {
			return refuse(err)
		}
	}
	if v.rejected > 0 {
		s.config.Drop("malformed", v.rejected)
	}
	return v
}

// handOn passes the export to Take: once, where the sender has named it.
func (s *Server) handOn(d *desk) error {
	if d.id == 0 || s.config.Once == nil {
		return s.config.Take(&d.export)
	}
	return s.config.Once(d.id, func() error { return s.config.Take(&d.export) })
}

// drain reads what is left of a body that is refused, so that the sender is not
// cut before it reads why, but not without end.
func (s *Server) drain(d *desk, from io.Reader) {
	if d.meter.err == nil {
		_, _ = io.CopyN(io.Discard, from, 4*int64(s.config.MaxExport)) // it is refused anyway
	}
}
