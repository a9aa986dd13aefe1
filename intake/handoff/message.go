package handoff

import (
	"encoding/binary"
	"fmt"

	"slipstream/telemetry"
)

// A message begins with a header of 24 bytes, numbers in little endian:
//
//	0  "SLH" and the version, 1
//	4  signal: 1 logs, 2 traces, 3 metrics
//	5  flags: 1 for an answer wanted; 2 for an answer
//	6  status of an answer: see below; else 0
//	7  0
//	8  id of the payload, 8 bytes; 0 for none
//	16 size of the payload in bytes, 8 bytes
//
// The answer is a header with the same id.
const (
	headerBytes = 24
	magic       = "SLH\x01"

	wantAnswer = 1
	isAnswer   = 2

	statusTaken   = 0
	statusNoRoom  = 1 // keep it, try again later
	statusOver    = 2 // nothing is taken any more
	statusRefused = 3 // it is malformed: do not try again
)

// header is a message's header.
type header struct {
	signal telemetry.Signal
	answer bool // wanted
	id     uint64
	size   uint64
}

// parseHeader reads a message's header; of a wrong one it gives what can be
// read, for the answer.
func parseHeader(b []byte) (h header, err error) {
	if len(b) < headerBytes || string(b[:4]) != magic {
		return h, fmt.Errorf("read a hand-off message: %d bytes that do not begin with a header", len(b))
	}
	h = header{signal: signalOf(b[4]), answer: b[5]&wantAnswer != 0,
		id: binary.LittleEndian.Uint64(b[8:]), size: binary.LittleEndian.Uint64(b[16:])}
	switch {
	case h.signal == "":
		err = fmt.Errorf("read a hand-off message: unknown signal %d", b[4])
	case b[5]&^wantAnswer != 0:
		err = fmt.Errorf("read a hand-off message: unknown flags %#x", b[5])
	case h.size > MaxBody:
		err = fmt.Errorf("read a hand-off message: %w: it says %d", errTooLarge, h.size)
	}
	return h, err
}

// appendAnswer appends the answer to a message.
func appendAnswer(dst []byte, h header, status byte) []byte {
	dst = append(dst, magic...)
	dst = append(dst, signalCode(h.signal), isAnswer, status, 0)
	dst = binary.LittleEndian.AppendUint64(dst, h.id)
	return binary.LittleEndian.AppendUint64(dst, h.size)
}

func signalCode(s telemetry.Signal) byte {
	switch s {
	case telemetry.Logs:
		return 1
	case telemetry.Traces:
		return 2
	case telemetry.Metrics:
		return 3
	}
	return 0
}

func signalOf(code byte) telemetry.Signal {
	switch code {
	case 1:
		return telemetry.Logs
	case 2:
		return telemetry.Traces
	case 3:
		return telemetry.Metrics
	}
	return ""
}
