// Package telemetryapi is the emulator's Telemetry API and Logs API: it takes
// subscriptions, buffers events for each subscriber and delivers them as the
// platform does. Use one Hub per execution environment.
//
// Where the public descriptions of the platform are silent, these choices are
// made here:
//
//   - maxItems is 10,000 unless given, as in the guide, for both APIs.
//   - Repeating a subscription with the same values changes nothing; with other
//     values it replaces the first, and the events of Init are delivered from
//     their beginning under the new one. What the old one still held is void.
//   - A subscription through the other API than before is a 400.
//   - Body and record bytes are cut wherever maxBytes falls, also within an
//     escape or a character. TCP destinations get every record whole.
//   - A batch is tried again until it is answered with a status below 400 or the
//     environment ends: 50 ms, then twice as long each time, up to 1 s apart.
//   - The time of a freeze counts for timeoutMs (the batch leaves at the thaw),
//     but not for the time that a POST may take.
//   - The newest records are dropped when the buffer is full, and
//     platform.logsDropped stands where they would have been.
package telemetryapi

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"slipstream/emulator/fault"
)

// defaultLimit bounds what waits for one subscriber. The platform's own figure
// is not known; this much lets a consumer that answers within a second or so
// take a burst of 20 MB without a loss.
const defaultLimit = 32 << 20

// defaultTry bounds one try of a POST.
const defaultTry = 5 * time.Second

// Config says how a Hub works.
type Config struct {
	// LogFormat is the function's log format, "Text" (also if empty) or "JSON".
	LogFormat string
	// Managed is the Telemetry API of managed instances: schema 2025-01-29 only.
	Managed bool
	// Identify finds the extension that makes a request, or writes the 403.
	Identify func(w http.ResponseWriter, r *http.Request) (name string, ok bool)
	// Dial connects to a destination; it maps sandbox and sandbox.localdomain to
	// the environment's address. nil takes 127.0.0.1 for both.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Fault is asked once for each batch; nil means no faults.
	Fault func(fault.Post) fault.Verdict
	// Whole is asked for each record over maxBytes whether it is to be sent in one
	// piece, where the platform cuts it; nil means never. It must not call the Hub.
	Whole func() bool
	// Observe is called after each delivery, from the subscriber's goroutine,
	// which waits for it. It must not call the Hub's Reset or Close. May be nil.
	Observe func(Delivery)
	// LimitBytes bounds the encoded events that wait for one subscriber, and the
	// events of Init that wait for late ones; 32 MiB if 0.
	LimitBytes int
}

// Delivery is one batch that a subscriber has taken.
type Delivery struct {
	Extension string // whose subscription it is
	API       string // "telemetry" or "logs"
	Body      []byte // valid only during the call
	Records   int    // records that end in Body
	Tries     int    // 1 if the first try went well
	Status    int    // the answer's status, 0 for a TCP destination
	At        time.Time
	Took      time.Duration // from the start of the first try
}

// counts are of records over all subscribers and the Hub's whole life. A record
// counts once for each subscriber that wants its type; platform.logsDropped and
// the subscription events are records like all others.
type counts struct {
	Accepted     int64 // buffered for a subscriber
	Delivered    int64 // taken by a subscriber
	Dropped      int64 // not taken in because the buffer was full, or by a fault
	DroppedBytes int64 // length of those records
	Lost         int64 // still buffered at Reset, Close or a replaced subscription
	Deliveries   int64 // batches taken
	Bytes        int64 // length of their bodies
	Retries      int64 // tries beyond the first
}

// Hub is the two APIs of one environment. Its methods may be called from
// several goroutines.
type Hub struct {
	config Config
	gate   gate
	try    time.Duration
	json   bool

	mu       sync.Mutex
	subs     []*subscriber
	replaced []*subscriber // cancelled, their goroutines may still run
	early    earlyEvents
	initOver bool
	closed   bool

	statsMu sync.Mutex
	stats   counts
}

// New makes a Hub in its Init phase.
func New(c Config) *Hub {
	if c.LimitBytes == 0 {
		c.LimitBytes = defaultLimit
	}
	if c.Dial == nil {
		c.Dial = dialLoopback
	}
	h := &Hub{config: c, try: defaultTry, json: c.LogFormat == "JSON"}
	h.early.limit = c.LimitBytes
	return h
}

func dialLoopback(ctx context.Context, network, address string) (net.Conn, error) {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", address, err)
	}
	var d net.Dialer
	return d.DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
}

// Platform hands an event of the platform to the subscribers that get its type.
// typ is the event's type, record its record as the Telemetry API has it; the
// Logs API's older shape is made from it. A record that JSON cannot express is
// an error of the caller and becomes a string that says so.
func (h *Hub) Platform(typ string, at time.Time, record any) {
	raw, err := json.Marshal(record)
	if err != nil {
		raw = appendString(nil, []byte(fmt.Sprintf("encode record of %s: %v", typ, err)))
	}
	e := event{at: stamp(at), typ: typ, kind: kindPlatform, record: raw}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.publish(&e)
}

// publish gives e to all subscribers and keeps it for late ones. h.mu is held.
func (h *Hub) publish(e *event) {
	if h.closed {
		return
	}
	if !h.initOver {
		h.early.add(e)
	}
	for _, s := range h.subs {
		s.add(e)
	}
}

// Output gives the writer that takes the standard output or error of a process.
// source is "function" or "extension". Each line becomes an event when its
// newline is written, lines over 256 KiB become several; Close makes an event
// of a last line without a newline. One goroutine at a time may use a writer.
func (h *Hub) Output(source string) io.WriteCloser {
	o := &output{hub: h, typ: "function", kind: kindFunction}
	if source == "extension" {
		o.typ, o.kind = "extension", kindExtension
	}
	return o
}

// EndInit closes the subscriptions: later ones get a 403.
func (h *Hub) EndInit() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.initOver = true
	h.early.clear()
}

// Freeze stops all deliveries where they are until Thaw. Events are still
// buffered.
func (h *Hub) Freeze() { h.gate.close() }

// Thaw lets deliveries go on.
func (h *Hub) Thaw() { h.gate.open() }

// Flush sends what is buffered now without waiting for timeoutMs or the end of
// a backoff. It returns at once.
func (h *Hub) Flush() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.subs {
		s.flush()
	}
}

// Drain sends what is buffered now and waits until all of it has been taken, or
// the context ends.
func (h *Hub) Drain(ctx context.Context) {
	h.mu.Lock()
	subs := slices.Clone(h.subs)
	h.mu.Unlock()
	for _, s := range subs {
		s.flush()
	}
	for _, s := range subs {
		select {
		case <-s.drained():
		case <-ctx.Done():
		}
	}
}

// Reset ends all subscriptions, voids what they hold (counted as lost)
// and starts Init anew.
func (h *Hub) Reset() { h.end(false) }

// Close ends all subscriptions and deliveries for good.
func (h *Hub) Close() { h.end(true) }

func (h *Hub) end(closed bool) {
	h.mu.Lock()
	subs := append(h.subs, h.replaced...)
	h.subs, h.replaced = nil, nil
	h.early.clear()
	h.initOver = closed
	h.closed = h.closed || closed
	h.mu.Unlock()
	for _, s := range subs {
		s.cancel()
	}
	for _, s := range subs {
		<-s.ended
	}
}

// counted gives the counts up to now.
func (h *Hub) counted() counts {
	h.statsMu.Lock()
	defer h.statsMu.Unlock()
	return h.stats
}

func (h *Hub) count(change func(*counts)) {
	h.statsMu.Lock()
	defer h.statsMu.Unlock()
	change(&h.stats)
}
