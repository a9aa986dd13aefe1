package rollup

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"math/bits"
	"time"
)

// The journal of a bin is frames, one after the other: what Add did between two
// calls of Flush. A frame is the length of its body (a varint), the body's
// CRC-32C (4 bytes, little-endian), and the body: entries, each a varint first.
//
//	0  series: its number, which is the next one, from 0 on, and its key, with its
//	   length. The number is told so that a journal with a gap is not taken for
//	   another one.
//	1  the bin: start in Unix nanoseconds and width, once, before all others
//	2  note: the caller's, with its length
//	3+ the series of number n-3, and what was added, by its class:
//	   gauge: value, time after the last one's in this frame (first: the bin's
//	   start); sum: value; set: place; distribution: a count and a value, or 0 and
//	   a whole histogram
//
// Signed numbers are zigzag varints. A float64 is a varint of its bytes in
// reverse, as encoding/gob has it: small whole numbers take three bytes.
const (
	entrySeries = iota
	entryBin
	entryNote
	entryFirst
)

// headBytes is the most that a frame's head takes.
const headBytes = binary.MaxVarintLen32 + 4

// maxReplayed bounds the series of a journal that is replayed.
const maxReplayed = 1 << 16

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Flush gives the journal of what was added since the last Flush: a frame for
// each bin that got something, with the number of points in it. The frame is
// valid until write returns. A bin's frames are to be kept in their order.
func (r *Rollup) Flush(write func(b *Bin, frame []byte, entries int)) {
	for _, b := range r.bins {
		if len(b.frame) > headBytes {
			write(b, closeFrame(b.frame), b.framed)
			b.frame, b.framed = b.frame[:headBytes], 0
			b.lastGauge = b.start.UnixNano()
		}
	}
}

// AppendNote appends a frame that holds a note of the caller's.
func AppendNote(dst, note []byte) []byte {
	body := appendText(append(make([]byte, headBytes), entryNote), note)
	return append(dst, closeFrame(body)...)
}

// closeFrame writes the head in front of the body and gives the whole frame.
func closeFrame(frame []byte) []byte {
	body := frame[headBytes:]
	var head [headBytes]byte
	n := binary.PutUvarint(head[:], uint64(len(body)))
	binary.LittleEndian.PutUint32(head[n:], crc32.Checksum(body, castagnoli))
	at := headBytes - n - 4
	copy(frame[at:], head[:n+4])
	return frame[at:]
}

// entry begins an entry of a series.
func (b *Bin) entry(n int32) {
	b.framed++
	b.frame = binary.AppendUvarint(b.frame, uint64(n)+entryFirst)
}

func (b *Bin) journalSeries(n int32, key string) {
	if !b.rollup.config.Journal {
		return
	}
	if b.frame == nil {
		b.frame = append(make([]byte, headBytes, 512), entryBin)
		b.frame = appendSigned(b.frame, b.start.UnixNano())
		b.frame = appendSigned(b.frame, int64(b.width))
		b.lastGauge = b.start.UnixNano()
	}
	b.frame = appendText(binary.AppendUvarint(append(b.frame, entrySeries), uint64(n)), key)
}

func (b *Bin) journalGauge(n int32, v float64, at int64) {
	if b.rollup.config.Journal {
		b.entry(n)
		b.frame = appendSigned(appendFloat(b.frame, v), at-b.lastGauge)
		b.lastGauge = at
	}
}

func (b *Bin) journalSum(n int32, v float64) {
	if b.rollup.config.Journal {
		b.entry(n)
		b.frame = appendFloat(b.frame, v)
	}
}

func (b *Bin) journalValue(n int32, v float64, count uint64) {
	if b.rollup.config.Journal {
		b.entry(n)
		b.frame = appendFloat(binary.AppendUvarint(b.frame, count), v)
	}
}

func (b *Bin) journalMember(n int32, place uint32) {
	if b.rollup.config.Journal {
		b.entry(n)
		b.frame = binary.AppendUvarint(b.frame, uint64(place))
	}
}

func (b *Bin) journalHistogram(n int32, h *histogram) {
	if !b.rollup.config.Journal {
		return
	}
	b.entry(n)
	dst := append(b.frame, 0, h.shift)
	dst = binary.AppendUvarint(binary.AppendUvarint(dst, h.count), h.zeros)
	dst = appendFloat(appendFloat(appendFloat(dst, h.sum.value()), h.min), h.max)
	for _, side := range [...]*buckets{&h.positive, &h.negative} {
		dst = binary.AppendUvarint(appendSigned(dst, int64(side.low)), uint64(side.len()))
		for i := range side.len() {
			dst = binary.AppendUvarint(dst, side.at(i))
		}
	}
	b.frame = dst
}

func appendSigned(dst []byte, v int64) []byte { return binary.AppendVarint(dst, v) }

func appendFloat(dst []byte, v float64) []byte {
	return binary.AppendUvarint(dst, bits.ReverseBytes64(math.Float64bits(v)))
}

func (r *reader) float() float64 {
	v := math.Float64frombits(bits.ReverseBytes64(r.uvarint()))
	if !finite(v) {
		r.bad = true
	}
	return v
}

// ErrTorn is the cause of Replay's error where the journal ends within a frame,
// or a frame is not as it was written.
var ErrTorn = errors.New("the journal is torn")

// Replay makes the bin again that a journal is of, closed, and counts it into
// the totals. It stops at the first frame that is not whole, with an error that
// tells how many bytes it did not read; the bin is what was before, nil for
// nothing. Notes are given to note, which may be nil. The limits are those that
// held when it was written.
func (r *Rollup) Replay(journal []byte, now time.Time, note func([]byte)) (b *Bin, err error) {
	rest := journal
	for len(rest) > 0 {
		body, after := nextFrame(rest)
		if body == nil {
			err = fmt.Errorf("replay a journal of %d bytes: %w: %d bytes left", len(journal), ErrTorn, len(rest))
			break
		}
		if err = r.replayFrame(&b, body, note); err != nil {
			err = fmt.Errorf("replay a journal of %d bytes: %w: %d bytes left", len(journal), err, len(rest))
			break
		}
		rest = after
	}
	if b == nil || b.points == 0 {
		return nil, err
	}
	b.from, b.to = r.span(b, now)
	r.addTotals(b)
	return b, err
}

// nextFrame gives the body of a frame and what follows it; nil if it is not whole.
func nextFrame(b []byte) (body, after []byte) {
	size, n := binary.Uvarint(b)
	if n <= 0 || size == 0 || uint64(len(b)-n) < 4 || size > uint64(len(b)-n-4) {
		return nil, nil
	}
	body = b[n+4:][:size:size]
	if crc32.Checksum(body, castagnoli) != binary.LittleEndian.Uint32(b[n:]) {
		return nil, nil
	}
	return body, b[n+4+int(size):]
}

func (r *Rollup) replayFrame(b **Bin, body []byte, note func([]byte)) error {
	in := reader{b: body}
	if *b != nil {
		(*b).lastGauge = (*b).start.UnixNano()
	}
	for len(in.b) > 0 && !in.bad {
		switch entry := in.uvarint(); {
		case entry == entryNote:
			if text := in.text(); note != nil && !in.bad {
				note(text)
			}
		case entry == entryBin:
			start, width := in.varint(), in.varint()
			if *b != nil || width <= 0 || in.bad {
				in.bad = true
				break
			}
			*b = newBin(&Rollup{config: r.config}, time.Unix(0, start), time.Duration(width))
			(*b).rollup.config.Journal = false
			(*b).rollup.totals = r.totals
			(*b).lastGauge = start
		case *b == nil:
			in.bad = true
		case entry == entrySeries:
			in.bad = !(*b).replaySeries(&in)
		default:
			in.bad = !(*b).replayEntry(&in, entry-entryFirst)
		}
	}
	if in.bad {
		return ErrTorn
	}
	return nil
}

func (b *Bin) replaySeries(in *reader) bool {
	number, key := in.uvarint(), string(in.text())
	k, ok := readKey([]byte(key), &b.point)
	if _, twice := b.index[key]; in.bad || !ok || twice || number != uint64(len(b.cells)) || len(b.cells) >= maxReplayed {
		return false
	}
	b.define(key, k)
	return true
}

func (b *Bin) replayEntry(in *reader, number uint64) bool {
	if number >= uint64(len(b.cells)) {
		return false
	}
	n := int32(number)
	switch b.cells[n].class {
	case gaugeClass:
		v := in.float()
		b.lastGauge += in.varint()
		if !in.bad {
			b.gauge(n, v, b.lastGauge)
		}
	case changeClass, counterClass:
		if v := in.float(); !in.bad {
			b.sum(n, v)
		}
	case setClass:
		place := in.uvarint()
		if place >= registers<<8 || place&0xff > maxRegister || place&0xff == 0 {
			return false
		}
		b.member(n, uint32(place))
	case distributionClass:
		if count := in.uvarint(); count > 0 {
			if v := in.float(); !in.bad {
				b.value(n, v, count)
			}
		} else if h := readHistogram(in); h != nil {
			b.merge(n, h)
		} else {
			return false
		}
	}
	b.points++
	return !in.bad
}

// readHistogram reads what journalHistogram wrote; nil if it is none.
func readHistogram(in *reader) *histogram {
	h := histogram{shift: in.byte()}
	if h.shift > maxShift {
		return nil
	}
	h.count, h.zeros = in.uvarint(), in.uvarint()
	h.sum.high, h.min, h.max = in.float(), in.float(), in.float()
	for _, side := range [...]*buckets{&h.positive, &h.negative} {
		low, n := in.varint(), in.uvarint()
		if n > uint64(len(in.b)) || in.bad ||
			low < -1075<<maxScale>>h.shift || low+int64(n)-1 > 1024<<maxScale>>h.shift {
			return nil
		}
		if n == 0 {
			continue
		}
		side.low, side.wide = int32(low), make([]uint64, n)
		for i := range side.wide {
			side.wide[i] = in.uvarint()
		}
	}
	if in.bad || h.count == 0 || h.min > h.max {
		return nil
	}
	return &h
}
