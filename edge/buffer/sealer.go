package buffer

import (
	"bytes"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"slipstream/wire"
)

// Encodings a Sealer knows, as HTTP's Content-Encoding spells them; the empty
// one leaves the bytes as they are.
const (
	Plain = ""
	Gzip  = "gzip"
	Zstd  = "zstd"
)

// zstdWindow bounds the compressor's memory; chunks are hardly larger.
const zstdWindow = 256 << 10

// Sealer compresses chunks. Its compressors are made when first needed and then
// kept; it is safe for concurrent use and seals one chunk at a time.
type Sealer struct {
	mu   sync.Mutex
	out  bytes.Buffer
	gzip *gzip.Writer
	zstd *zstd.Encoder
}

// Seal gives the closed chunk's whole body, compressed, in memory of exactly its size.
// Equal records give equal bytes, in every process of this version. The chunk
// then only holds what makes the body survive the process, nothing without an
// arena, until Release.
func (s *Sealer) Seal(c *Chunk, enc wire.Encoder, encoding string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.out.Reset()
	w, err := s.writer(encoding)
	if err != nil {
		return nil, err
	}
	if err := write(w, c, enc); err != nil {
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
	}
	return nil, fmt.Errorf("compress with %q: unknown encoding (use gzip, zstd or none)", encoding)
}

// unchanged passes the bytes through.
type unchanged struct{ io.Writer }

func (unchanged) Close() error { return nil }
