// Package stdout delivers batches to a stream, such as the extension's standard
// output, which Lambda takes to CloudWatch Logs. Use it for formats whose lines
// are worth something there.
package stdout

import (
	"context"
	"io"
	"sync"

	"slipstream/destination"
)

var _ destination.Destination = (*Stream)(nil)

// Stream writes batches to a Writer.
type Stream struct {
	mu     sync.Mutex
	to     io.Writer
	closed bool
}

// New makes a destination of a stream that it does not close.
func New(to io.Writer) *Stream { return &Stream{to: to} }

// Close ends the Sends to come. One that is under way cannot be ended: the
// platform reads what its extensions write.
func (s *Stream) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}

// Send writes the batch at once. One that failed in its middle is written again
// as a whole.
func (s *Stream) Send(ctx context.Context, b *destination.Batch) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := context.Cause(ctx)
	if s.closed {
		err = destination.ErrClosed
	}
	if err == nil {
		var n int
		if n, err = s.to.Write(b.Body); err == nil && n < len(b.Body) {
			err = io.ErrShortWrite
		}
	}
	if err != nil {
		return &destination.Error{Op: "write lines", Target: "stdout", Err: err}
	}
	return nil
}
