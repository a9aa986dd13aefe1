// Package destination says what it is to take a batch of telemetry for good.
// Use its interface to add a backend (a folder each); the conformance suite in
// destination/conformance judges every one of them alike.
package destination

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Batch is a sealed run of records, encoded and compressed once. Nothing in it
// changes after sealing, so every retry sends the same bytes under the same id.
type Batch struct {
	// ID is "<environment id>-<sequence>" and names the batch for ever: object
	// keys and idempotency keys derive from it.
	ID string
	// Environment is the execution environment's UUID, Sequence counts its
	// batches for one destination from 1.
	Environment string
	Sequence    uint64
	// Opened is when the first record came in, Sealed when the last one had.
	Opened, Sealed time.Time
	// Records is how many records the body holds.
	Records int
	// Body is the encoded, compressed payload.
	Body []byte
	// ContentType is the media type of the decoded body.
	ContentType string
	// Encoding is the Content-Encoding of Body: "", "gzip", "zstd" or "snappy".
	Encoding string
}

// Destination takes batches. Send returns nil only when the backend holds the
// batch durably, *Partial when it does but for some records, and else an *Error;
// it honours ctx's deadline, and may be called again with the same batch after
// any *Error. Several goroutines may call it at once, each with another batch; a
// Send that hangs holds up no other. Close ends the Sends under way; it may be
// called at any time, more than once and from several goroutines.
type Destination interface {
	Send(ctx context.Context, b *Batch) error
	Close() error
}

// ErrClosed is the cause of a Send's Error after Close.
var ErrClosed = errors.New("the destination is closed")

// Error is a failed Send: what was tried, where, why, whether trying again can
// help, and what the user may do about it.
type Error struct {
	Op         string        // "put object", "post logs"
	Target     string        // the destination without its secrets
	Status     int           // the backend's status code, 0 without an answer
	Permanent  bool          // this batch will never be taken: drop and count it
	RetryAfter time.Duration // the backend's wish, 0 for none
	Hint       string        // what to do
	Err        error
}

// Error gives operation, target, cause and hint in one line.
func (e *Error) Error() string {
	s := fmt.Sprintf("%s to %s: %v", e.Op, e.Target, e.Err)
	if e.Hint != "" {
		s += " (" + e.Hint + ")"
	}
	return s
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Partial is what Send returns when the backend has taken the batch but for
// Rejected of its records, which it will never take. The batch is done: do not
// send it again, count the rejected records as dropped.
type Partial struct {
	Target   string // the destination without its secrets
	Rejected int    // records, at least 1
	Message  string // the backend's reason
}

// Error gives target, count and reason in one line.
func (p *Partial) Error() string {
	return fmt.Sprintf("%s took the batch but rejected %d of its records: %s", p.Target, p.Rejected, p.Message)
}

// Permanent tells whether err says that sending the same batch again is
// useless: the backend will never take it, or has taken what it wants (Partial).
func Permanent(err error) bool {
	var e *Error
	var p *Partial
	return errors.As(err, &e) && e.Permanent || errors.As(err, &p)
}
