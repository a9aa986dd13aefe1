package wavefront

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
)

// firstBuffer is what a connection reads into at first; it grows up to a line's
// limit.
const firstBuffer = 4 << 10

// lines cuts what is read into lines.
type lines struct {
	buffer   []byte
	from, to int  // what is there and not yet given
	scanned  int  // up to here there is no end of a line
	skipping bool // what is there belongs to a line that is too large
	full     bool // the last read filled the buffer
}

// fill reads once. The buffer grows when a read fills it: more is coming.
func (l *lines) fill(r io.Reader) error {
	if l.from > 0 {
		l.to = copy(l.buffer, l.buffer[l.from:l.to])
		l.scanned -= l.from
		l.from = 0
	}
	if (l.full || l.to == len(l.buffer)) && len(l.buffer) <= maxHistogram {
		size := min(max(2*len(l.buffer), firstBuffer), maxHistogram+1)
		bigger := make([]byte, size)
		copy(bigger, l.buffer[:l.to])
		l.buffer = bigger
	}
	n, err := r.Read(l.buffer[l.to:])
	l.to += n
	l.full = l.to == len(l.buffer)
	return err
}

// reset forgets everything but the buffer.
func (l *lines) reset() { *l = lines{buffer: l.buffer} }

// next gives the next line without its end. tooLarge tells, once, of one that
// is over every limit; nothing of it is given.
func (l *lines) next() (line []byte, tooLarge, ok bool) {
	for {
		i := bytes.IndexByte(l.buffer[l.scanned:l.to], '\n')
		if i < 0 {
			l.scanned = l.to
			if l.skipping {
				l.from = l.to
				return nil, false, false
			}
			if l.to-l.from > limit(l.buffer[l.from:l.to]) {
				l.skipping, l.from = true, l.to
				return nil, true, true
			}
			return nil, false, false
		}
		line = l.buffer[l.from : l.scanned+i]
		l.scanned += i + 1
		l.from = l.scanned
		if !l.skipping {
			return line, false, true
		}
		l.skipping = false
	}
}

// rest is what stands behind the last end of a line, if anything.
func (l *lines) rest() []byte {
	if l.skipping {
		return nil
	}
	return trim(l.buffer[l.from:l.to])
}

// serve reads a connection to its end.
func (s *Server) serve(c net.Conn) {
	var l lines
	var err error
	for more := true; more && err == nil; {
		err = s.read(c, &l)
		var http bool
		if http, more = speaksHTTP(l.buffer[:l.to]); http {
			s.passHTTP(c, l.buffer[:l.to])
			return
		}
	}
	defer s.remove(c)
	for {
		_ = s.take(&l, detect, true) // a refusal has been counted
		if err != nil {
			break
		}
		err = s.read(c, &l)
	}
	if len(l.rest()) > 0 {
		s.options.Drop(reasonUnterminated, 1)
	}
}

// take hands over the lines that are there. lost tells that what is refused has
// no other keeper: else the first refusal ends it.
func (s *Server) take(l *lines, f format, lost bool) error {
	if l.scanned == l.to {
		return nil
	}
	s.turn.Lock()
	defer s.turn.Unlock()
	b := s.batch
	b.parser.now = s.options.Now()
	for {
		line, tooLarge, ok := l.next()
		switch {
		case tooLarge:
			b.drop(reasonTooLarge)
			continue
		case ok:
			b.line(line, f)
			if !b.full() {
				continue
			}
		}
		if err := b.flush(lost); !ok || err != nil && !lost {
			return err
		}
	}
}

// takeOne hands over one line, or what reads like it.
func (s *Server) takeOne(read func(*parser) string) error {
	s.turn.Lock()
	defer s.turn.Unlock()
	b := s.batch
	b.parser.now = s.options.Now()
	if reason := read(&b.parser); reason != "" {
		b.drop(reason)
	}
	return b.flush(false)
}

// read reads once, and again while nothing comes and the connection may stay.
// While the server closes, one silence is not enough: the processor may have
// been taken away until the time was over, with the bytes there.
func (s *Server) read(c net.Conn, l *lines) error {
	for idle := 0; ; idle++ {
		if err := s.tick(c); err != nil {
			return err
		}
		before := l.to - l.from
		err := l.fill(c)
		if l.to > before || !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		if idle == idleTicks-1 || idle > 0 && s.isClosing() {
			return err
		}
	}
}
