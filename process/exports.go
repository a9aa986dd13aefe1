// Package process applies one policy to everything that leaves: what must not is
// redacted, what is not wanted is dropped, what is too long is cut. Use a Logs for
// the platform's records and an Exports for what a function exports itself, before
// either is buffered or encoded. The operators are the packages below it.
package process

import (
	"time"

	"slipstream/process/captured"
	"slipstream/process/limit"
	"slipstream/process/match"
	"slipstream/process/redact"
	"slipstream/telemetry"
	"slipstream/wire"
)

// Redactor knows what must not leave. Its methods append what replaces a text to
// dst and tell whether anything does.
type Redactor interface {
	// Suspect is false where JSON has nothing to redact.
	Suspect(value []byte) bool
	// Key is about the name of an attribute, or the dotted path of a member.
	Key(path []byte) redact.Action
	Text(dst, text []byte) ([]byte, bool)
	Value(dst, key, text []byte) ([]byte, bool)
	// JSON redacts by the keys in value, which is JSON, and by its texts.
	JSON(dst, value []byte) ([]byte, bool)
	// Domain tells whether nothing may be told of calls to that host.
	Domain(host []byte) bool
}

// Filter decides which records are wanted, before they are redacted.
type Filter interface{ Keep(r Record) bool }

// Record is a log record, a span or a data point that a Filter is asked about.
// Each answer is looked up when it is asked for, and borrowed. Its level is
// LevelError for a span that failed; its name is a span's, a metric's, or a log's
// event; its body is a log's text, nil if that is none. Attributes are members of
// a log's body too, numbers and booleans as text.
type Record = match.Exported

// Policy is what an Exports applies. The zero value changes nothing.
type Policy struct {
	Limits   limit.Limits
	Redactor Redactor
	// Parts redact what was captured of calls in the Redactor's place; they must be
	// no less strict.
	Parts  map[captured.Part]Redactor
	Filter Filter
}

// Marks that are added to a log record or a span, as attributes that are true.
const (
	markTruncated = "slipstream.truncated"
	// markBare says what isMetadata says in Lumigo's spans.
	markBare = "slipstream.metadata_only"
)

// unavailable is what Lumigo's tracers say instead of a scrubbed domain's bodies.
const unavailable = "The data is not available"

// mask is what Lumigo's tracers write.
const mask = "****"

// maxKeys is of how many keys is remembered what to do with them, and maxKey how
// long one may be for that. Functions use few dozens.
const (
	maxKeys = 1024
	maxKey  = 256
)

// keptBuffer is the largest buffer that is kept for the next export.
const keptBuffer = 1 << 20

// Exports applies the policy to one export after the other, in one goroutine at
// a time. In each record it filters first, then redacts, then cuts: half a secret
// would not be recognised. Metrics are never dropped by a limit, nor marked.
type Exports struct {
	policy Policy
	budget *limit.Budget
	edit   wire.ExportEdit
	onSpan func(key, text []byte, size int) // look
	buf    []byte
	number []byte
	keys   map[string]treatment
	counts [len(reasons)]int

	requestID string // of the export in hand
	now       time.Time
	looked    spanState // of the span that comes
	span      spanState
	// The text that is the name of the value beside it: what it demands, and the
	// path of both, with a dot.
	named         treatment
	name, namedAt []byte
	left          room // what a record that is too large may still have
	// Of a list, or members, larger than an attribute may be: its path, and how
	// many bytes it may still have.
	list     []byte
	listLeft int
}

// room is how many bytes of texts there may be, -1 for no end. The body of a log
// has its own: attributes stand behind it.
type room struct{ body, other int }

// noEnd is the room of a record that is not too large.
var noEnd = room{body: -1, other: -1}

// treatment is what is known of a key.
type treatment struct {
	action redact.Action
	part   captured.Part
	by     Redactor
}

// spanState is what is known of a span before it is changed.
type spanState struct {
	scrubbed, bare, own bool
	captured            int // bytes
}

// reason is why something did not leave as it came.
type reason uint8

const (
	filtered reason = iota
	redacted
	scrubbedSpans
	bareSpans
	overBudget
	bodyTooLong
	attributeTooLong
	recordTooLong
)

var reasons = [...]string{
	filtered: "filtered", redacted: "redacted", scrubbedSpans: "domain_scrubbed", bareSpans: "span_metadata_only",
	overBudget: "spans_over_budget", bodyTooLong: "body_too_long", attributeTooLong: "attribute_too_long",
	recordTooLong: "record_too_long",
}

// NewExports makes one.
func NewExports(p Policy) *Exports {
	x := &Exports{policy: p, budget: limit.NewBudget(p.Limits), keys: map[string]treatment{}}
	x.onSpan = x.look
	x.edit.Record, x.edit.Text, x.edit.Value = x.record, x.text, x.value
	return x
}

// Redact takes other Redactors from now on; see Policy.
func (x *Exports) Redact(by Redactor, parts map[captured.Part]Redactor) {
	x.policy.Redactor, x.policy.Parts = by, parts
	clear(x.keys)
}

// Apply changes e to what may leave. Its body must be one that wire.CheckExport
// found right, and is such a one again: the same, or one borrowed from x until
// the next call. requestID is the invocation that pays for its spans, empty for
// none. Where no record is left, e.Records is 0.
func (x *Exports) Apply(e *telemetry.Export, requestID string, now time.Time) {
	x.requestID, x.now, x.left, x.list, x.named = requestID, now, noEnd, x.list[:0], treatment{}
	x.edit.Look = nil
	if e.Signal == telemetry.Traces {
		x.edit.Look = x.onSpan
	}
	if cap(x.buf) > keptBuffer {
		x.buf = nil
	}
	body := e.Body
	e.Body, e.Records = x.edit.Edit(x.buf[:0], e.Signal, body)
	if len(e.Body) > 0 && (len(body) == 0 || &e.Body[0] != &body[0]) {
		x.buf = e.Body
	}
}

// Done says that the invocation is over.
func (x *Exports) Done(requestID string) { x.budget.Done(requestID) }

// Counts tells how often what happened: records that were filtered or
// spans_over_budget; spans that went with span_metadata_only or domain_scrubbed;
// values that were redacted, or cut for attribute_, body_ or record_too_long.
func (x *Exports) Counts() map[string]int {
	all := map[string]int{}
	for i, n := range x.counts {
		if n > 0 {
			all[reasons[i]] = n
		}
	}
	return all
}

// look gathers what must be known of a span before it is changed.
func (x *Exports) look(key, text []byte, size int) {
	k := x.about(key)
	switch {
	case k.part == captured.Host || k.part == captured.URL:
		if x.policy.Redactor != nil && !x.looked.scrubbed && len(text) > 0 {
			if host := captured.HostOf(text); len(host) > 0 {
				x.looked.scrubbed = x.policy.Redactor.Domain(host)
			}
		}
	case k.part >= captured.Query:
		x.looked.captured += len(key) + size
	case string(key) == "faas.invocation_id", string(key) == "faas.trigger":
		x.looked.own = true
	}
}

// record decides on the record as a whole.
func (x *Exports) record() bool {
	x.span, x.looked = x.looked, spanState{}
	x.list, x.left, x.named = x.list[:0], noEnd, treatment{}
	if x.policy.Filter != nil && !x.policy.Filter.Keep(&x.edit) {
		x.counts[filtered]++
		return false
	}
	size := x.edit.Size()
	if x.policy.Limits.Record > 0 && size > x.policy.Limits.Record && x.edit.Signal() != telemetry.Metrics {
		x.left = room{body: x.policy.Limits.Record, other: x.policy.Limits.Record}
	}
	if x.edit.Signal() != telemetry.Traces {
		return true
	}
	verdict := x.budget.Take(x.requestID, x.now, limit.Span{Size: size, Bare: size - min(size, x.span.captured),
		Reserved: x.span.own || x.edit.Entry() || x.edit.Level() >= telemetry.LevelError})
	switch {
	case verdict == limit.Dropped:
		x.counts[overBudget]++
		return false
	case verdict == limit.Bare:
		x.span.bare = true
		x.counts[bareSpans]++
		x.edit.Mark(markBare)
	}
	if x.span.scrubbed {
		x.counts[scrubbedSpans]++
	}
	return true
}
