package otlp

import (
	"encoding/binary"

	"slipstream/telemetry"
	"slipstream/wire"
)

// The fields that lead to the records, alike in all three signals: resource_*
// of the request, scope_* of a resource, and its spans, log records or metrics.
var pathToRecords = [...]uint64{1, 2, 2}

const wireBytes = 2

// maxChecks bounds the work for one body that is not valid: a body of nothing
// but empty fields would have millions.
const maxChecks = 1 << 18

// sift appends to dst what is valid of a body that is not, record by record,
// and counts the rest. It is not ok when nothing is left, or when the body
// cannot be taken apart.
func (s *Server) sift(d *desk, dst, body []byte) (_ []byte, rejected int, ok bool) {
	f := sieve{server: s, desk: d}
	dst, ok = f.sift(dst, body, 0)
	return dst, f.rejected, ok && f.kept > 0
}

type sieve struct {
	server         *Server
	desk           *desk
	kept, rejected int // kept fields with records; rejected records
	checks         int
}

// sift appends the valid fields of a message of the given level: 0 is the
// request, 1 a resource's part, 2 a scope's part. It is not ok when the message
// is none, or when something in it is not valid that is no record.
func (f *sieve) sift(dst, message []byte, level int) (_ []byte, ok bool) {
	for len(message) > 0 {
		field, content, rest, ok := nextField(message)
		if !ok || f.checks > maxChecks {
			return dst, false
		}
		whole := message[:len(message)-len(rest)]
		message = rest
		switch records := field == pathToRecords[level]<<3|wireBytes; {
		case f.valid(whole, level):
			dst = append(dst, whole...)
			if records {
				f.kept++
			}
		case !records:
			if level > 0 {
				return dst, false
			}
		case level == len(pathToRecords)-1:
			f.rejected += countRecords(f.desk.signal, content, level+1)
		default:
			dst = f.part(dst, content, level)
		}
	}
	return dst, true
}

// part appends the part of a resource or scope that is valid, if there is any.
func (f *sieve) part(dst, content []byte, level int) []byte {
	start, before := len(dst), *f
	dst = append(dst, byte(pathToRecords[level]<<3|wireBytes))
	inside := len(dst)
	dst, ok := f.sift(dst, content, level+1)
	if !ok || f.kept == before.kept {
		f.kept, f.rejected = before.kept, before.rejected+countRecords(f.desk.signal, content, level+1)
		return dst[:start]
	}
	var length [binary.MaxVarintLen64]byte
	size := len(dst) - inside
	width := binary.PutUvarint(length[:], uint64(size))
	dst = append(dst, length[:width]...)
	copy(dst[inside+width:], dst[inside:inside+size])
	copy(dst[inside:], length[:width])
	return dst
}

// valid checks one field of a message of the given level, in a request of its own.
func (f *sieve) valid(whole []byte, level int) bool {
	f.checks++
	item := f.desk.item[:0]
	switch size := len(whole); level {
	case 1:
		item = appendHead(item, 0, size)
	case 2:
		inner := len(appendHead(item, 1, size))
		item = appendHead(appendHead(item[:0], 0, inner+size), 1, size)
	}
	item = append(item, whole...)
	f.desk.item = item
	_, err := wire.CheckExport(f.desk.signal, item)
	return err == nil
}

// appendHead appends the tag and length of the field that leads on from level.
func appendHead(dst []byte, level, size int) []byte {
	return binary.AppendUvarint(append(dst, byte(pathToRecords[level]<<3|wireBytes)), uint64(size))
}

// nextField takes a message's first field off. Field is its tag.
func nextField(message []byte) (field uint64, content, rest []byte, ok bool) {
	field, n := binary.Uvarint(message)
	if n <= 0 {
		return 0, nil, nil, false
	}
	rest = message[n:]
	size := uint64(0)
	switch field & 7 {
	case 0:
		_, n := binary.Uvarint(rest)
		if n <= 0 {
			return 0, nil, nil, false
		}
		size = uint64(n)
	case 1:
		size = 8
	case wireBytes:
		if size, n = binary.Uvarint(rest); n <= 0 {
			return 0, nil, nil, false
		}
		rest = rest[n:]
	case 5:
		size = 4
	default:
		return 0, nil, nil, false
	}
	if size > uint64(len(rest)) {
		return 0, nil, nil, false
	}
	return field, rest[:size], rest[size:], true
}

// countRecords counts the records in a message of the given level, as far as it
// can be read. A metric has as many as data points, at least 1.
func countRecords(signal telemetry.Signal, message []byte, level int) (n int) {
	const record = len(pathToRecords)
	if level == record && signal != telemetry.Metrics {
		return 1
	}
	for len(message) > 0 {
		field, content, rest, ok := nextField(message)
		if !ok {
			break
		}
		message = rest
		switch {
		case level < record && field == pathToRecords[level]<<3|wireBytes:
			n += countRecords(signal, content, level+1)
		case level == record && isData(field):
			n += countRecords(signal, content, level+1)
		case level > record && field == 1<<3|wireBytes: // data_points
			n++
		}
	}
	if level == record {
		n = max(n, 1)
	}
	return n
}

// isData tells whether a Metric's field is its gauge, sum, histogram,
// exponential histogram or summary.
func isData(field uint64) bool {
	switch field {
	case 5<<3 | wireBytes, 7<<3 | wireBytes, 9<<3 | wireBytes, 10<<3 | wireBytes, 11<<3 | wireBytes:
		return true
	}
	return false
}
