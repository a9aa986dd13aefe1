package buffer

import (
	"bytes"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"

	"slipstream/wire"
)

// Encodings a Sealer knows, as HTTP's Content-Encoding spells them; the empty
// one leaves the bytes as they are.
const (
	Plain = ""
	Gzip  = "gzip"
	Zstd  = "zstd"
	// Snappy is its block format, which Prometheus' remote write asks for.
	Snappy = "snappy"
)

// zstdWindow bounds the compressor's memory; chunks are hardly larger.
const zstdWindow = 256 << 10

// Sealer compresses chunks. Its compressors are made when first needed and then
// kept; it is safe for concurrent use and seals one chunk at a time.
type Sealer struct {
	mu   sync.Mutex
	out  bytes.Buffer
	all  []byte // of a BodyEncoder: the records, and the body after them
	gzip *gzip.Writer
	zstd *zstd.Encoder
}

// keptWhole is the largest buffer for a BodyEncoder that is kept.
const keptWhole = 1 << 20

// BodyEncoder is an Encoder whose records become their format only when they are
// complete: a table stands before them, or points of one series are added up.
// What it appends to a chunk is what it wants to read again.
type BodyEncoder interface {
	wire.Encoder
	// AppendBody appends the body of a chunk's records, and nothing if that is
	// empty. Records that have no place in it, or make others obsolete, are given
	// to drop. Equal records give equal bytes.
	AppendBody(dst, records []byte, drop func(reason string, n int)) []byte
}

// Seal gives the closed chunk's whole body, compressed, in memory of exactly its size.
// Equal records give equal bytes, in every process of this version. The chunk
// then only holds what makes the body survive the process, nothing without an
// arena, until Release; its Records are those of the body, the others are in Dropped.
func (s *Sealer) Seal(c *Chunk, enc wire.Encoder, encoding string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.out.Reset()
	w, err := s.writer(encoding)
	if err != nil {
		return nil, err
	}
	if whole, ok := enc.(BodyEncoder); ok {
		err = s.writeWhole(w, c, whole)
	} else {
		err = write(w, c, enc)
	}
	if err != nil {
		return nil, fmt.Errorf("compress %d records with %q: %w", c.Records, encoding, err)
	}
	body := bytes.Clone(s.out.Bytes())
	c.keep(body, encoding)
	return body, nil
}

// write puts the whole body through w.
func write(w io.WriteCloser, c *Chunk, enc wire.Encoder) error {
	if head := enc.AppendHead(nil, c.Size); len(head) > 0 {
		if _, err := w.Write(head); err != nil {
			return err
		}
	}
	for _, page := range c.pages {
		if _, err := w.Write(page.bytes); err != nil {
			return err
		}
	}
	return w.Close()
}

// writeWhole puts the body that the encoder makes of all records through w. No
// record is no byte, in any encoding.
func (s *Sealer) writeWhole(w io.WriteCloser, c *Chunk, enc BodyEncoder) error {
	records := s.all[:0]
	for _, page := range c.pages {
		records = append(records, page.bytes...)
	}
	whole := enc.AppendBody(records, records, func(reason string, n int) {
		if n = min(n, c.Records); n > 0 {
			if c.Dropped == nil {
				c.Dropped = map[string]int{}
			}
			c.Dropped[reason] += n
			c.Records -= n
		}
	})
	if s.all = whole; cap(whole) > keptWhole {
		s.all = nil
	}
	if len(whole) == len(records) {
		return nil
	}
	if _, err := w.Write(whole[len(records):]); err != nil {
		return err
	}
	return w.Close()
}

// writer gives a compressor that writes to s.out.
func (s *Sealer) writer(encoding string) (io.WriteCloser, error) {
	var err error
	switch encoding {
	case Plain:
		return unchanged{&s.out}, nil
	case Gzip:
		if s.gzip == nil {
			if s.gzip, err = gzip.NewWriterLevel(&s.out, gzip.BestSpeed); err != nil {
				return nil, fmt.Errorf("make a gzip compressor: %w", err)
			}
		}
		s.gzip.Reset(&s.out)
		return s.gzip, nil
	case Zstd:
		if s.zstd == nil {
			s.zstd, err = zstd.NewWriter(&s.out, zstd.WithEncoderLevel(zstd.SpeedFastest),
				zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true), zstd.WithWindowSize(zstdWindow))
			if err != nil {
				return nil, fmt.Errorf("make a zstd compressor: %w", err)
			}
		}
		s.zstd.Reset(&s.out)
		return s.zstd, nil
	case Snappy:
		return block{&s.out}, nil
	}
	return nil, fmt.Errorf("compress with %q: unknown encoding (use gzip, zstd, snappy or none)", encoding)
}

// block writes each Write as one block of Snappy: a body is one Write.
type block struct{ out *bytes.Buffer }

func (b block) Write(p []byte) (int, error) {
	_, err := b.out.Write(s2.EncodeSnappy(nil, p))
	return len(p), err
}

func (block) Close() error { return nil }

// unchanged passes the bytes through.
type unchanged struct{ io.Writer }

func (unchanged) Close() error { return nil }
