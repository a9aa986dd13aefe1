package otlp

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"strconv"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"

	"slipstream/telemetry"
)

// Encodings of a body, by their names in Content-Encoding and grpc-encoding.
const (
	identity = "identity"
	gzipped  = "gzip"
	zstded   = "zstd"
	deflated = "deflate" // zlib, RFC 9110 8.4.1.2
)

// keepBody is the largest buffer that waits for the next request, in bytes.
const keepBody = 2 << 20

// maxWindow is what RFC 8878 recommends every zstd decoder to support.
const maxWindow = 8 << 20

var (
	errTooLarge = errors.New("too large")
	errBehind   = errors.New("bytes behind its end")
	errNoPlace  = errors.New("no place for a large body")
)

// desk is what one request needs, used again by the next one.
type desk struct {
	server   *Server
	patience *patience
	large    bool // has a place among the server's large ones

	// What the request says of itself.
	request *http.Request
	signal  telemetry.Signal
	json    bool
	size    int64  // of the body as it is sent, -1 when it is not known
	id      uint64 // of the payload, 0 for none

	plain []byte // the body, decompressed
	other []byte // compressed, or the export
	item  []byte // one record, see sieve
	head  [5]byte

	export telemetry.Export
	meter  meter
	buffer *bufio.Reader
	gzip   *gzip.Reader
	zlib   io.ReadCloser
	zstd   *zstd.Decoder

	compressed bytes.Reader
}

func newDesk(s *Server) *desk {
	return &desk{server: s, patience: newPatience(s.config.Patience), buffer: bufio.NewReader(nil)}
}

// sit prepares the desk for a request.
func (d *desk) sit(r *http.Request, signal telemetry.Signal, json bool) {
	d.request, d.signal, d.json, d.size, d.id = r, signal, json, r.ContentLength, 0
	if given := r.Header["Slipstream-Id"]; len(given) == 1 {
		d.id, _ = strconv.ParseUint(given[0], 16, 64) // another word is no name
	}
}

// clear gives the desk back.
func (d *desk) clear() {
	if d.large {
		<-d.server.large
		d.large, d.zstd = false, nil // its memory may be maxWindow
	}
	for _, b := range []*[]byte{&d.plain, &d.other, &d.item} {
		if cap(*b) > keepBody {
			*b = nil
		}
		*b = (*b)[:0]
	}
	d.buffer.Reset(nil)
	d.compressed.Reset(nil)
	d.meter = meter{}
	d.request = nil
	d.export = telemetry.Export{}
	d.server.desks.Put(d)
}

// meter reads at most left bytes and remembers what the network said.
type meter struct {
	from  io.Reader
	left  int
	atEnd error // what the reader says when nothing is left
	err   error // of the network
}

func (m *meter) Read(p []byte) (int, error) {
	if m.left <= 0 {
		return 0, m.atEnd
	}
	n, err := m.from.Read(p[:min(len(p), m.left)])
	m.left -= n
	if err != nil && !errors.Is(err, io.EOF) {
		m.err = err
	}
	return n, err
}

// decode fills plain with what d.meter gives, decompressed.
func (d *desk) decode(encoding string) (err error) {
	limit := d.server.config.MaxExport
	switch encoding {
	case gzipped:
		d.buffer.Reset(&d.meter)
		if d.gzip == nil {
			d.gzip = new(gzip.Reader)
		}
		if err := d.gzip.Reset(d.buffer); err != nil {
			return whole(err)
		}
		d.plain, err = d.readAll(d.plain, d.gzip, limit)
	case deflated:
		d.buffer.Reset(&d.meter)
		if d.zlib == nil {
			d.zlib, err = zlib.NewReader(d.buffer)
		} else {
			err = d.zlib.(zlib.Resetter).Reset(d.buffer, nil)
		}
		if err != nil {
			return whole(err)
		}
		if d.plain, err = d.readAll(d.plain, d.zlib, limit); err == nil {
			err = d.atEnd()
		}
	case zstded:
		if d.other, err = d.readAll(d.other, &d.meter, d.server.config.MaxBody); err == nil {
			err = d.unzstd(limit)
		}
	default:
		d.plain, err = d.readAll(d.plain, &d.meter, limit)
	}
	return err
}

// atEnd tells when there is more behind what was decompressed.
func (d *desk) atEnd() error {
	switch _, err := d.buffer.ReadByte(); {
	case err == nil:
		return errBehind
	case errors.Is(err, io.EOF):
		return nil
	default:
		return err
	}
}

// whole makes an end in the middle what it is.
func whole(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// unzstd decompresses other into plain. A frame says how much of it the decoder
// must remember; a large memory needs a place as a large body does.
func (d *desk) unzstd(limit int) (err error) {
	if d.zstd == nil {
		d.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true))
		if err != nil {
			return err
		}
	}
	window := uint64(smallBody)
	if d.large {
		window = maxWindow
	}
	d.compressed.Reset(d.other)
	if err = d.zstd.ResetWithOptions(&d.compressed, zstd.WithDecoderMaxWindow(window)); err != nil {
		return err
	}
	d.plain, err = d.readAll(d.plain, d.zstd, limit)
	if errors.Is(err, zstd.ErrWindowSizeExceeded) && window != maxWindow {
		if err := d.claim(); err != nil {
			return err
		}
		return d.unzstd(limit)
	}
	return err
}

// readAll fills dst from its start with everything src gives, at most limit.
func (d *desk) readAll(dst []byte, src io.Reader, limit int) (_ []byte, err error) {
	dst = dst[:0]
	for {
		if len(dst) == cap(dst) {
			if len(dst) > limit {
				return dst, errTooLarge
			}
			next := max(4*cap(dst), 16<<10)
			if src == io.Reader(&d.meter) && len(dst) > 0 && int64(len(dst)) <= d.size {
				next = int(min(d.size, int64(limit))) + 1 // some has come: the rest will; 1 more to see its end
			}
			if dst, err = d.grow(dst, min(next, limit+1)); err != nil {
				return dst, err
			}
		}
		n, err := src.Read(dst[len(dst):min(cap(dst), limit+1)])
		dst = dst[:len(dst)+n]
		switch {
		case len(dst) > limit:
			return dst, errTooLarge
		case errors.Is(err, io.EOF):
			return dst, nil
		case err != nil:
			return dst, err
		}
	}
}

// grow gives b at least the capacity of size bytes. A large one needs a place.
func (d *desk) grow(b []byte, size int) ([]byte, error) {
	if cap(b) >= size {
		return b, nil
	}
	if size > smallBody {
		if err := d.claim(); err != nil {
			return b, err
		}
	}
	bigger := make([]byte, len(b), size)
	copy(bigger, b)
	return bigger, nil
}

// claim takes one of the server's places for large bodies, if it has none yet.
func (d *desk) claim() error {
	if d.large {
		return nil
	}
	select {
	case d.server.large <- struct{}{}:
	default:
		if !d.server.wait(d.server.large, d.request) {
			return errNoPlace
		}
	}
	d.large = true
	return nil
}
