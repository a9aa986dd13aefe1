package spool

import (
	"encoding/binary"
	"hash/crc32"
	"time"

	"slipstream/destination"
)

// A file is a head and the body of the batch. All numbers are little-endian:
//
//	magic, version   8 bytes
//	CRC-32C          4 bytes, of everything after the head's own CRC-32C
//	CRC-32C          4 bytes, of the head's rest
//	head             4 bytes, its length in all
//	lane, sequence, opened, sealed, records, body's length   8 bytes each
//	environment, id, content type, encoding                  2 bytes of length, then the text
//	body
//
// The second checksum lets the start judge a file by its head.
const (
	magic      = "SLIPBAT"
	version    = 1
	fixedBytes = 20 + 6*8

	// maxHeadBytes is far more than any head has.
	maxHeadBytes = 8 << 10

	atVersion  = len(magic)
	atSum      = 8
	atHeadSum  = 12
	atHeadSize = 16
	atNumbers  = 20
	atBodySize = atNumbers + 5*8
)

// noTime stands for time.Time's zero value.
const noTime = 1 << 63

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// appendHead appends everything that stands before the batch's body.
func appendHead(dst []byte, lane uint64, b *destination.Batch) []byte {
	e := binary.LittleEndian
	start := len(dst)
	dst = append(append(dst, magic...), version)
	dst = append(dst, make([]byte, atNumbers-atSum)...) // checksums and length
	for _, n := range []uint64{lane, b.Sequence, nanoseconds(b.Opened), nanoseconds(b.Sealed), uint64(b.Records),
		uint64(len(b.Body))} {
		dst = e.AppendUint64(dst, n)
	}
	for _, text := range []string{b.Environment, b.ID, b.ContentType, b.Encoding} {
		dst = append(e.AppendUint16(dst, uint16(len(text))), text...)
	}
	head := dst[start:]
	e.PutUint32(head[atHeadSize:], uint32(len(head)))
	e.PutUint32(head[atHeadSum:], crc32.Checksum(head[atHeadSize:], castagnoli))
	e.PutUint32(head[atSum:], sum(head, b.Body))
	return dst
}

// sum is the checksum of the whole file.
func sum(head, body []byte) uint32 {
	return crc32.Update(crc32.Checksum(head[atHeadSum:], castagnoli), castagnoli, body)
}

// decode reads a whole file. reason is "" or why it is not a batch of ours.
func decode(data []byte) (lane uint64, b *destination.Batch, reason string) {
	lane, b, headBytes, reason := decodeHead(data)
	if reason != "" {
		return 0, nil, reason
	}
	head, body := data[:headBytes], data[headBytes:]
	switch size := bodyBytes(head); {
	case uint64(len(body)) < size:
		return 0, nil, "truncated"
	case uint64(len(body)) > size:
		return 0, nil, "longer than it was"
	case sum(head, body) != binary.LittleEndian.Uint32(head[atSum:]):
		return 0, nil, "checksum"
	}
	b.Body = body
	return lane, b, ""
}

// decodeHead reads a file's head, of which data has the beginning at least. The
// batch has no body.
func decodeHead(data []byte) (lane uint64, b *destination.Batch, size int, reason string) {
	e := binary.LittleEndian
	switch {
	case len(data) < len(magic)+1 || string(data[:len(magic)]) != magic:
		return 0, nil, 0, "not a batch"
	case data[atVersion] != version:
		return 0, nil, 0, "version"
	case len(data) < fixedBytes:
		return 0, nil, 0, "truncated"
	}
	declared := e.Uint32(data[atHeadSize:])
	switch {
	case declared < fixedBytes || declared > maxHeadBytes:
		return 0, nil, 0, "checksum"
	case int(declared) > len(data):
		return 0, nil, 0, "truncated"
	}
	head := data[:declared]
	if crc32.Checksum(head[atHeadSize:], castagnoli) != e.Uint32(head[atHeadSum:]) {
		return 0, nil, 0, "checksum"
	}
	number := func(i int) uint64 { return e.Uint64(head[atNumbers+8*i:]) }
	b = &destination.Batch{Sequence: number(1), Opened: timeOf(number(2)), Sealed: timeOf(number(3)),
		Records: int(number(4))}
	rest := head[fixedBytes:]
	for _, field := range []*string{&b.Environment, &b.ID, &b.ContentType, &b.Encoding} {
		if len(rest) < 2 || len(rest)-2 < int(e.Uint16(rest)) {
			return 0, nil, 0, "length"
		}
		n := int(e.Uint16(rest))
		*field, rest = string(rest[2:2+n]), rest[2+n:]
	}
	if len(rest) > 0 || valid(b) != nil {
		return 0, nil, 0, "length"
	}
	return number(0), b, len(head), ""
}

// bodyBytes is the body's length by a valid head.
func bodyBytes(head []byte) uint64 { return binary.LittleEndian.Uint64(head[atBodySize:]) }

func nanoseconds(t time.Time) uint64 {
	if t.IsZero() {
		return noTime
	}
	return uint64(t.UnixNano())
}

func timeOf(ns uint64) time.Time {
	if ns == noTime {
		return time.Time{}
	}
	return time.Unix(0, int64(ns)).UTC()
}
