// Package invocation tells of which invocations the records of an export are. Use a
// Divider where whole invocations are kept or dropped: an SDK may send the spans of
// one together with the next ones', or after its end.
package invocation

import (
	"time"

	"slipstream/telemetry"
	"slipstream/wire"
)

const (
	// maxParts is how many invocations are told apart in one export. Records of
	// further ones are of nobody knows which.
	maxParts = 1024
	// maxTraces is of how many traces is remembered which invocation served them.
	maxTraces = 64
	// maxID is how long a request id may be; Lambda's have 36 bytes.
	maxID = 128
	// keptRecords and keptBuffer are for how much memory is kept until the next export.
	keptRecords = 8 << 10
	keptBuffer  = 1 << 20
)

// Part is what an export has of one invocation, known in one way.
type Part struct {
	RequestID string // "" for none, or nobody knows which
	// At is when the latest of the records was made, if only their time tells whose they
	// are: they may be of the next invocation, see History.At. Else it is zero.
	At      time.Time
	Failed  bool // it has a span that failed, or a log record of an error
	Records int
	// FirstError and LastError are when the earliest and the latest of those were made,
	// where At is not zero: an end may lie between them and At.
	FirstError, LastError time.Time
}

// Divider divides one export after the other, in one goroutine at a time.
type Divider struct {
	edit    wire.ExportEdit
	onLook  func() bool
	onCut   func() bool
	wanted  func(part int) bool
	cut     int // records that Cut has seen
	records []record
	parts   []Part
	index   map[owner]int // of parts
	buf     []byte
	traces  [maxTraces]trace
	next    int // of traces, the one that makes room
}

// owner is whose a record is, and whether its time tells that.
type owner struct {
	id    string
	timed bool
}

// record is what is known of one.
type record struct {
	part   int // -1: it does not say
	trace  [16]byte
	time   uint64
	failed bool
}

// trace is one that an invocation has said to serve.
type trace struct {
	id        [16]byte
	requestID string
	several   bool // and others too: the trace alone tells nothing
}

// New makes a Divider.
func New() *Divider {
	d := &Divider{index: map[owner]int{}}
	d.onLook, d.onCut = d.look, d.pick
	return d
}

// Read gives the parts of x, until the next call. A record is of the invocation that
// its attribute faas.invocation_id names (faas.execution in older SDKs), else of the
// one that a record of its trace names, in this export or in one before, else of the
// one at its time; now is the time of those that have none. x is a request that
// wire.CheckExport found right.
func (d *Divider) Read(x *telemetry.Export, h *History, now time.Time) []Part {
	if cap(d.records) > keptRecords {
		d.records = nil
	}
	d.records, d.parts = d.records[:0], d.parts[:0]
	clear(d.index)
	d.edit.Record = d.onLook
	d.edit.Edit(nil, x.Signal, x.Body)
	for i := range d.records {
		r := &d.records[i]
		at := time.Time{}
		if r.part < 0 {
			r.part, at = d.find(r, h, now)
		}
		p := &d.parts[r.part]
		if p.Records++; at.After(p.At) {
			p.At = at
		}
		if r.failed {
			p.failed(at)
		}
	}
	return d.parts
}

// failed takes note of a failure.
func (p *Part) failed(at time.Time) {
	if !p.Failed || at.Before(p.FirstError) {
		p.FirstError = at
	}
	if at.After(p.LastError) {
		p.LastError = at
	}
	p.Failed = true
}

// find gives the part of a record that does not say whose it is, and its time if
// that was what told.
func (d *Divider) find(r *record, h *History, now time.Time) (part int, at time.Time) {
	if t := d.known(r.trace); t != nil && !t.several {
		return d.part(owner{id: t.requestID}), at
	}
	if at = now; r.time != 0 {
		at = time.Unix(0, int64(r.time))
	}
	id := h.At(at)
	if id == "" {
		at = time.Time{}
	}
	return d.part(owner{id, id != ""}), at
}

// Cut gives what x, the export that was read last, has of the parts that are
// wanted, by their index: x itself or an export that is borrowed until the next
// call.
func (d *Divider) Cut(x *telemetry.Export, wanted func(part int) bool) telemetry.Export {
	if cap(d.buf) > keptBuffer {
		d.buf = nil
	}
	d.cut, d.wanted, d.edit.Record = 0, wanted, d.onCut
	cut := telemetry.Export{Signal: x.Signal}
	cut.Body, cut.Records = d.edit.Edit(d.buf[:0], x.Signal, x.Body)
	if cut.Records < x.Records {
		d.buf = cut.Body
	}
	return cut
}

// pick tells whether the next record is of a part that is wanted.
func (d *Divider) pick() bool {
	d.cut++
	return d.wanted(d.records[d.cut-1].part)
}

// look takes down what a record says of its invocation.
func (d *Divider) look() bool {
	r := record{part: -1, time: d.edit.Time(), failed: d.edit.Level() >= telemetry.LevelError}
	copy(r.trace[:], d.edit.TraceID())
	id := d.edit.Attribute("faas.invocation_id")
	if len(id) == 0 {
		id = d.edit.Attribute("faas.execution")
	}
	if len(id) > 0 && len(id) <= maxID {
		at, found := d.index[owner{id: string(id)}]
		if !found {
			at = d.part(owner{id: string(id)})
		}
		r.part = at
		d.learn(r.trace, d.parts[at].RequestID)
	}
	d.records = append(d.records, r)
	return true
}

// part finds or adds a part. When there are too many, the last one is for everybody
// else.
func (d *Divider) part(of owner) int {
	if at, found := d.index[of]; found {
		return at
	}
	if len(d.parts) >= maxParts-1 && of != (owner{}) {
		return d.part(owner{})
	}
	d.parts = append(d.parts, Part{RequestID: of.id})
	d.index[of] = len(d.parts) - 1
	return len(d.parts) - 1
}

// learn remembers which invocation serves a trace.
func (d *Divider) learn(id [16]byte, requestID string) {
	if id == ([16]byte{}) || requestID == "" {
		return
	}
	if t := d.known(id); t != nil {
		t.several = t.several || t.requestID != requestID
		return
	}
	d.traces[d.next] = trace{id: id, requestID: requestID}
	d.next = (d.next + 1) % maxTraces
}

// known is what is known of a trace, nil for nothing.
func (d *Divider) known(id [16]byte) *trace {
	if id == ([16]byte{}) {
		return nil
	}
	for i := range d.traces {
		if d.traces[i].id == id {
			return &d.traces[i]
		}
	}
	return nil
}
