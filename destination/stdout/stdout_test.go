package stdout

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"

	"slipstream/destination"
	"slipstream/destination/conformance"
)

// stream keeps each write.
type stream struct {
	mu     sync.Mutex
	bodies [][]byte
}

func (s *stream) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bodies = append(s.bodies, bytes.Clone(p))
	return len(p), nil
}

func TestConformance(t *testing.T) {
	conformance.Run(t, func(t *testing.T) conformance.Case {
		s := &stream{}
		return conformance.Case{
			New: func(*testing.T, string) destination.Destination { return New(s) },
			Delivered: func(*testing.T) [][]byte {
				s.mu.Lock()
				defer s.mu.Unlock()
				return s.bodies
			},
			Repeats: true,
		}
	})
}

// broken takes some bytes and says nothing of it.
type broken struct{ err error }

func (b broken) Write(p []byte) (int, error) { return len(p) / 2, b.err }

func TestAShortWriteIsAnError(t *testing.T) {
	for _, err := range []error{nil, errors.New("the pipe is gone")} {
		if got := New(broken{err}).Send(context.Background(), &destination.Batch{Body: []byte("ab")}); got == nil ||
			destination.Permanent(got) {
			t.Errorf("%v became %v", err, got)
		}
	}
}
