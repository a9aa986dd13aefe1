package rate

import (
	"bytes"
	"strconv"
	"time"

	"slipstream/telemetry"
)

const (
	// maxStreams is how many invocations are followed at once.
	maxStreams = 64
	// maxLine bounds what is compared: longer lines are never held back.
	maxLine = 4 << 10
)

// Repeats lets the first of equal lines of an invocation through and counts the
// others, until another line comes, the window is over, or the invocation ends:
// then a record says how many there were. It is for one goroutine at a time, and
// has no clock.
type Repeats struct {
	window  time.Duration
	emit    func(*telemetry.Log)
	streams map[string]*stream
	line    []byte // what the current record says
	held    int
	told    int
}

// stream is the last line of an invocation.
type stream struct {
	id      string
	line    []byte // what it says; empty for one that is not compared
	message []byte // in words, one JSON value
	kind    string
	level   telemetry.Level
	since   time.Time // when it came, or was last told of
	last    time.Time // of the last repetition, as the platform has it
	count   int       // of repetitions that were not told
}

// NewRepeats gives a Repeats that hands to emit what goes on.
func NewRepeats(window time.Duration, emit func(*telemetry.Log)) *Repeats {
	return &Repeats{window: window, emit: emit, streams: map[string]*stream{}}
}

// Add takes a record. Lines are equal when they have level, message and fields in
// common, times apart; of a record that was not taken apart, all of it.
func (r *Repeats) Add(l *telemetry.Log, now time.Time) {
	if l.Type != "function" && l.Type != "extension" {
		if s := r.streams[l.RequestID]; s != nil && l.RequestID != "" {
			r.tell(s, now)
			if l.Type == "platform.report" {
				delete(r.streams, s.id)
			}
		}
		r.emit(l)
		return
	}
	s := r.streams[l.RequestID]
	if s == nil {
		if len(r.streams) >= maxStreams {
			r.forget(now)
		}
		s = &stream{id: l.RequestID}
		r.streams[s.id] = s
	}
	r.line = appendLine(r.line[:0], l)
	if len(r.line) <= maxLine && s.kind == l.Type && bytes.Equal(r.line, s.line) {
		if s.count == 0 { // the window is that of the repetitions
			s.since = now
		}
		s.count++
		s.last = l.Time
		r.held++
		return
	}
	r.tell(s, now)
	s.line = s.line[:0]
	if len(r.line) <= maxLine {
		s.line = append(s.line, r.line...)
		s.message = append(s.message[:0], message(l)...)
	}
	s.kind, s.level, s.since = l.Type, l.Level, now
	r.emit(l)
}

// message is what a record says in words; nothing for one without.
func message(l *telemetry.Log) []byte {
	if l.Message != nil {
		return l.Message
	}
	return l.Body
}

// appendLine appends what makes a line the same as another one; it is never empty.
func appendLine(dst []byte, l *telemetry.Log) []byte {
	dst = append(dst, byte(l.Level))
	if l.Message == nil || l.Fields == nil {
		return append(dst, message(l)...)
	}
	dst = append(dst, l.Message...)
	for i := range l.Fields {
		f := &l.Fields[i]
		switch string(f.Key) {
		case "time", "timestamp", "ts", "@timestamp", "instant", "asctime":
			continue
		}
		dst = append(append(dst, 0), f.Key...)
		dst = append(append(dst, 0), f.Value...)
	}
	return dst
}

// tell emits how often a stream's line was repeated.
func (r *Repeats) tell(s *stream, now time.Time) {
	if s.count == 0 {
		return
	}
	n := strconv.Itoa(s.count)
	words := []byte(`"repeated ` + n + ` times`)
	if text := bytes.TrimSpace(s.message); len(text) > 1 && text[0] == '"' {
		words = append(append(words, ": "...), text[1:]...)
	} else {
		words = append(words, '"')
	}
	body := append(append(append([]byte(`{"message":`), words...), `,"repeated":`...), n...)
	r.told += s.count
	s.count, s.since = 0, now
	r.emit(&telemetry.Log{Time: s.last, Type: s.kind, RequestID: s.id, Body: append(body, '}'), Level: s.level,
		Message: words, Fields: []telemetry.Field{{Key: []byte("repeated"), Value: []byte(n)}}})
}

// forget gives up the stream that has said nothing new for longest.
func (r *Repeats) forget(now time.Time) {
	var oldest *stream
	for _, s := range r.streams {
		if oldest == nil || s.since.Before(oldest.since) {
			oldest = s
		}
	}
	r.tell(oldest, now)
	delete(r.streams, oldest.id)
}

// Deadline is when Tick is due, zero for never.
func (r *Repeats) Deadline() (at time.Time) {
	for _, s := range r.streams {
		if due := s.since.Add(r.window); at.IsZero() || due.Before(at) {
			at = due
		}
	}
	return at
}

// Tick tells of repetitions whose window is over, and forgets lines that were not
// repeated in it.
func (r *Repeats) Tick(now time.Time) {
	for id, s := range r.streams {
		switch {
		case now.Before(s.since.Add(r.window)):
		case s.count > 0:
			r.tell(s, now)
		default:
			delete(r.streams, id)
		}
	}
}

// Finish tells of all repetitions: the environment ends.
func (r *Repeats) Finish(now time.Time) {
	for id, s := range r.streams {
		r.tell(s, now)
		delete(r.streams, id)
	}
}

// Held is how many records were held back since the start, and how many of those
// a record has told of.
func (r *Repeats) Held() (held, told int) { return r.held, r.told }
