// Package handoff takes what a function hands over beside HTTP: OTLP payloads
// as files in a directory, as sealed memory passed through a Unix socket, and
// as bytes through a stream socket. Use Dir for the files and Serve for either
// socket; the clients are in handoff/ of the project's root.
package handoff

import (
	"errors"
	"fmt"
	"sync"

	"slipstream/telemetry"
)

// Limits of what is handed over.
const (
	MaxBody        = 16 << 20 // bytes of one payload
	maxConnections = 64       // of one socket
	maxInFlight    = 32 << 20 // bytes of bodies that are being read from stream sockets
	keepBuffer     = 1 << 20  // a buffer above that is given back after use
)

// Reasons for which something is dropped, or given up.
const (
	malformed   = "malformed"            // the payload, the message or the file's name
	tooLarge    = "too_large"            // above MaxBody
	dirFull     = "dir_full"             // the oldest files, when nobody takes them and there are too many
	leftOver    = "unfinished"           // a temporary file that its writer has left
	noRoom      = "no_room"              // for seconds, and the client waits for no answer
	connections = "too_many_connections" // to a socket
)

// Options say who takes what arrives.
type Options struct {
	// Take has one payload. nil means that it survives our death; telemetry.ErrNoRoom
	// and ErrOver leave it with the sender. It is called concurrently and must
	// not keep the bytes.
	Take func(*telemetry.Export) error
	// Prepare checks a payload and completes it: what it appends to dst goes to
	// Take, with the number of records. An error means that it is malformed. nil
	// hands the bytes over as they are, as one record.
	Prepare func(dst []byte, signal telemetry.Signal, body []byte) (prepared []byte, records int, err error)
	// Drop counts what is given up, with a reason in one word. It is called concurrently.
	Drop func(reason string, n int)
	// IDs know what has been taken, on whichever way: the ways of one
	// environment share them. nil makes some for this way alone.
	IDs *IDs
}

// complete gives the options that were left out.
func (o Options) complete() Options {
	if o.Drop == nil {
		o.Drop = func(string, int) {}
	}
	if o.IDs == nil {
		o.IDs = new(IDs)
	}
	return o
}

// errMalformed is wrapped around what is wrong with a payload.
var errMalformed = errors.New("malformed")

// deliver prepares a payload and passes it on; scratch is for the prepared
// bytes. An empty payload has nothing to be taken.
func (o *Options) deliver(id uint64, signal telemetry.Signal, body []byte, scratch *[]byte) error {
	export := telemetry.Export{Signal: signal, Records: 1, Body: body}
	if len(body) == 0 {
		return nil
	}
	if o.Prepare != nil {
		prepared, records, err := o.Prepare((*scratch)[:0], signal, body)
		if err != nil {
			return fmt.Errorf("%w: %w", errMalformed, err)
		}
		*scratch = prepared
		export.Records, export.Body = records, prepared
	}
	if export.Records == 0 {
		return nil
	}
	return o.IDs.Once(id, func() error { return o.Take(&export) })
}

// release gives a large buffer back to the collector.
func release(buffer *[]byte) {
	if cap(*buffer) > keepBuffer {
		*buffer = nil
	}
}

// remembered is how many payloads IDs know.
const remembered = 1024

// IDs remember the latest payloads that were taken. A client that got no answer
// in time hands the same payload over on another way, under the same id.
type IDs struct {
	mu    sync.Mutex
	state map[uint64]bool // true when it has been taken, false while it is being taken
	ring  [remembered]uint64
	next  int
}

// errBusy says that the payload is just being taken on another way: it is too
// early to say whether it has to be kept.
var errBusy = fmt.Errorf("it is being taken on another way: %w", telemetry.ErrNoRoom)

// Once calls take unless the payload of that id has been taken already; then it
// gives nil. While another one is just taking it, it gives telemetry.ErrNoRoom.
// The id 0 stands for none.
func (s *IDs) Once(id uint64, take func() error) error {
	if id == 0 {
		return take()
	}
	s.mu.Lock()
	taken, known := s.state[id]
	if !known {
		if s.state == nil {
			s.state = make(map[uint64]bool)
		}
		s.state[id] = false
	}
	s.mu.Unlock()
	switch {
	case taken:
		return nil
	case known:
		return errBusy
	}
	err := take()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		delete(s.state, id)
		return err
	}
	s.state[id] = true
	if old := s.ring[s.next]; old != 0 {
		delete(s.state, old)
	}
	s.ring[s.next] = id
	s.next = (s.next + 1) % remembered
	return nil
}

// has tells whether the payload of that id has been taken.
func (s *IDs) has(id uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state[id]
}
