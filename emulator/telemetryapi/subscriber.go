package telemetryapi

import (
	"context"
	"encoding/json"
	"sync"
	"time"
)

// minPiece is the least room for a value that makes it worth beginning a record
// in a body where it has to be cut.
const minPiece = 1 << 10

// dropNote is the room that a platform.logsDropped event needs at most.
const dropNote = 512

// batch is one body on its way to a subscriber.
type batch struct {
	body     []byte
	items    int   // events and pieces of events in it
	records  int   // events that end in it
	raw      int64 // length of those events' records
	fragment bool  // it begins or ends within a record
}

// subscriber buffers the events of one subscription in the very bytes that are
// sent later, and sends them one batch after the other.
type subscriber struct {
	hub    *Hub
	name   string
	want   subscription
	cancel context.CancelFunc
	ended  chan struct{} // closed when its goroutine is
	wake   chan struct{} // something is due, or a first event has come

	mu           sync.Mutex
	open         batch     // takes events
	since        time.Time // of open's first event
	full         []*batch  // wait for their turn, oldest first
	held         int       // bytes in open, full and the batch under way
	due          bool      // Flush asked to send open now
	flushed      bool      // Flush asked to end a backoff
	dropped      int64     // not yet told by platform.logsDropped
	droppedBytes int64
	over         bool          // takes nothing more
	spare        [][]byte      // used bodies
	empty        chan struct{} // closed when nothing is held any more; nil if nobody waits
}

func newSubscriber(h *Hub, name string, want subscription) *subscriber {
	ctx, cancel := context.WithCancel(context.Background())
	s := &subscriber{hub: h, name: name, want: want, cancel: cancel,
		ended: make(chan struct{}), wake: make(chan struct{}, 1)}
	go s.run(ctx)
	return s
}

// add buffers an event if the subscription wants it and there is room.
func (s *subscriber) add(e *event) {
	if !s.want.wants(e) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return
	}
	if !s.tellDropped(len(e.record)) || !s.append(e) {
		s.drop(1, int64(len(e.record)))
	}
}

// append encodes e into the open batch, and gives false if there is no room. Its
// caller holds s.mu, as do those of all methods below.
func (s *subscriber) append(e *event) bool {
	start := len(s.open.body)
	b := s.openBody()
	b = e.appendEnvelope(b)
	value := len(b)
	b = e.appendValue(b, s.want.api, s.want.objects())
	b = append(b, '}')
	size := len(b) - start
	if s.held+size > s.hub.config.LimitBytes {
		s.open.body = b[:start]
		return false
	}
	s.hub.count(func(c *counts) { c.Accepted++ })
	if size > s.want.maxBytes && s.cuts() {
		envelope := append([]byte(nil), b[start+1:value]...)
		rest := append([]byte(nil), b[value:]...)
		s.open.body = b[:start]
		s.appendCut(envelope, rest)
	} else {
		s.open.body = b
		s.held += size
		s.appended()
	}
	s.open.records++
	s.open.raw += int64(len(e.record))
	if s.open.items >= s.want.maxItems || len(s.open.body) >= s.want.maxBytes {
		s.seal(true)
	}
	return true
}

// cuts tells whether this record over maxBytes is cut.
func (s *subscriber) cuts() bool {
	return !s.want.tcp && (s.hub.config.Whole == nil || !s.hub.config.Whole())
}

// openBody gives the open batch's body, ready to take an event.
func (s *subscriber) openBody() []byte {
	b := s.open.body
	if n := len(s.spare); b == nil && n > 0 {
		b, s.spare = s.spare[n-1], s.spare[:n-1]
	}
	switch {
	case s.want.tcp && len(b) == 0:
		return b
	case s.want.tcp:
		return append(b, '\n')
	case len(b) == 0:
		return append(b, '[')
	}
	return append(b, ',')
}

// appended counts the event or piece that has just been added.
func (s *subscriber) appended() {
	s.open.items++
	if s.open.items == 1 {
		s.since = time.Now()
		s.signal()
	}
}

// appendCut adds an event that is longer than maxBytes: the body ends within
// the value, and the next one repeats the envelope and goes on with the value.
// rest is the value with the event's closing brace.
func (s *subscriber) appendCut(envelope, rest []byte) {
	if s.open.items > 0 && len(s.open.body)+1+len(envelope)+minPiece > s.want.maxBytes {
		s.seal(true)
	}
	for {
		before := len(s.open.body)
		s.open.body = append(s.openBody(), envelope...)
		n := min(len(rest), s.want.maxBytes-len(s.open.body))
		s.open.body = append(s.open.body, rest[:n]...)
		rest = rest[n:]
		s.held += len(s.open.body) - before
		s.open.fragment = true
		s.appended()
		if len(rest) == 0 {
			return
		}
		s.seal(false)
	}
}

// seal queues the open batch; whole closes its array.
func (s *subscriber) seal(whole bool) {
	b := s.open
	s.open = batch{}
	s.due = false
	switch {
	case s.want.tcp:
		b.body = append(b.body, '\n')
		s.held++
	case whole:
		b.body = append(b.body, ']')
		s.held++
	}
	s.full = append(s.full, &b)
	s.signal()
}

// take gives the batch whose turn it is, or none and the time until one is due;
// negative means: not before an event comes.
func (s *subscriber) take(now time.Time) (*batch, time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.full) == 0 {
		if s.open.items == 0 {
			return nil, -1
		}
		if left := s.since.Add(s.want.timeout).Sub(now); left > 0 && !s.due {
			return nil, left
		}
		s.seal(true)
	}
	b := s.full[0]
	s.full[0] = nil
	s.full = s.full[1:]
	return b, 0
}

// release gives back the room of a batch that is done with.
func (s *subscriber) release(b *batch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held -= len(b.body)
	if len(s.spare) < 2 {
		s.spare = append(s.spare, b.body[:0])
	}
	s.tellDropped(0)
	s.tellEmpty()
}

// drained is closed when nothing is held any more.
func (s *subscriber) drained() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.empty == nil {
		s.empty = make(chan struct{})
	}
	empty := s.empty
	s.tellEmpty()
	return empty
}

// tellEmpty ends the waits for an empty buffer, if it is. s.mu is held.
func (s *subscriber) tellEmpty() {
	if s.empty != nil && (s.held <= 0 || s.over) {
		close(s.empty)
		s.empty = nil
	}
}

// drop counts records that the subscriber will not get.
func (s *subscriber) drop(records, raw int64) {
	s.hub.count(func(c *counts) {
		c.Dropped += records
		c.DroppedBytes += raw
	})
	s.dropped += records
	s.droppedBytes += raw
}

// missed takes over what was dropped of the events of Init.
func (s *subscriber) missed(q *earlyEvents) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, wanted := range s.want.types {
		if wanted && q.dropped[k] > 0 {
			s.drop(q.dropped[k], q.droppedBytes[k])
		}
	}
	s.tellDropped(0)
}

// tellDropped puts platform.logsDropped where dropped records would have been.
// It gives false if there was no room for it with next more bytes: then nothing
// may follow yet.
func (s *subscriber) tellDropped(next int) bool {
	if s.dropped == 0 || !s.want.types[kindPlatform] {
		s.dropped, s.droppedBytes = 0, 0
		return true
	}
	if s.over || s.held+next+dropNote > s.hub.config.LimitBytes {
		return false
	}
	reason := "Some logs were dropped because the downstream consumer is slower than the logs production rate"
	if s.want.api == apiLogs {
		reason = "Consumer seems to have fallen behind as it has not acknowledged receipt of logs."
	}
	record, _ := json.Marshal(struct {
		DroppedBytes   int64  `json:"droppedBytes"`
		DroppedRecords int64  `json:"droppedRecords"`
		Reason         string `json:"reason"`
	}{s.droppedBytes, s.dropped, reason})
	s.dropped, s.droppedBytes = 0, 0
	return s.append(&event{at: stamp(time.Now()), typ: "platform.logsDropped", kind: kindPlatform, record: record})
}

// flush makes the open batch due and ends a backoff.
func (s *subscriber) flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.due = s.open.items > 0
	s.flushed = true
	s.signal()
}

func (s *subscriber) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// finish counts what is left as lost; nothing is taken in after it.
func (s *subscriber) finish(underWay *batch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	lost := int64(s.open.records)
	for _, b := range s.full {
		lost += int64(b.records)
	}
	if underWay != nil {
		lost += int64(underWay.records)
	}
	s.hub.count(func(c *counts) { c.Lost += lost })
	s.open, s.full, s.spare = batch{}, nil, nil
	s.tellEmpty()
}
