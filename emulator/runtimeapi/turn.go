package runtimeapi

import (
	"io"
	"time"
)

// Invocation is what the runtime gets with next. Empty values send no header.
type Invocation struct {
	RequestID     string
	Deadline      time.Time // when the function times out
	FunctionARN   string    // as invoked, with version or alias
	TraceID       string    // X-Ray header
	ClientContext string    // JSON text
	TenantID      string
	Payload       []byte

	// Stream is called when the runtime begins a streamed response, and gets the
	// bytes as they come. Nil collects them into Reply.Payload, as for a caller
	// that asked for a buffered answer.
	Stream func(contentType string) io.Writer
}

// Reply is how the runtime answered an invocation.
type Reply struct {
	Payload     []byte // what the caller gets; nil when it went to Invocation.Stream
	ContentType string
	// ErrorType is empty for a success, else one of AWS's error types.
	ErrorType string
	// TrailerType and TrailerBody are an error after the first streamed byte. The
	// invocation counts as a success all the same.
	TrailerType string
	TrailerBody []byte
	Streamed    bool
	Bytes       int64     // produced by the runtime
	Start, End  time.Time // of the answer: first byte and last
}

// Turn is one invocation in the runtime's hands.
type Turn struct {
	inv      Invocation
	answered chan struct{}
	done     chan struct{}
	reply    Reply
	end      time.Time
	claimed  bool // by an answer under way; Concurrent only
}

// Answered is closed when the response or error is complete.
func (t *Turn) Answered() <-chan struct{} { return t.answered }

// Reply is valid once Answered is closed.
func (t *Turn) Reply() Reply { return t.reply }

// Done is closed when the runtime waits in next again.
func (t *Turn) Done() <-chan struct{} { return t.done }

// End is when the runtime called next; valid once Done is closed.
func (t *Turn) End() time.Time { return t.end }
