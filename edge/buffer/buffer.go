// Package buffer holds encoded records until they are sent. Use a Chunk to
// collect records of one destination and a Sealer to turn the chunk, once, into
// the bytes that every try sends.
package buffer

import (
	"sync"
	"time"

	"slipstream/telemetry"
	"slipstream/wire"
)

const (
	// pageBytes is the unit of memory. A page takes records until less than
	// pageSlack is left, so that most records fit without moving.
	pageBytes = 64 << 10
	pageSlack = 4 << 10
	// keptPages is how many free pages a Pool keeps for the next chunk.
	keptPages = 8
)

// Pool keeps free pages. It is safe for concurrent use.
type Pool struct {
	mu   sync.Mutex
	free [][]byte
}

// Chunk is a growing run of records in one format.
type Chunk struct {
	Opened  time.Time // when its first record came in
	Records int
	Size    int // encoded bytes
	pool    *Pool
	pages   [][]byte
}

// Open gives an empty chunk.
func (p *Pool) Open(now time.Time) *Chunk { return &Chunk{Opened: now, pool: p} }

// Append encodes one record into the chunk and gives its encoded size in bytes.
func (c *Chunk) Append(enc wire.Encoder, l *telemetry.Log) int {
	if n := len(c.pages); n == 0 || cap(c.pages[n-1])-len(c.pages[n-1]) < min(len(l.Body)+pageSlack, pageBytes) {
		c.pages = append(c.pages, c.pool.page(len(l.Body)+pageSlack))
	}
	last := &c.pages[len(c.pages)-1]
	before := len(*last)
	*last = enc.AppendLog(*last, l)
	size := len(*last) - before
	c.Size += size
	c.Records++
	return size
}

// Held is the memory that the chunk occupies, in bytes.
func (c *Chunk) Held() int {
	held := 0
	for _, page := range c.pages {
		held += cap(page)
	}
	return held
}

// Release gives the pages back. The chunk is empty afterwards.
func (c *Chunk) Release() {
	c.pool.mu.Lock()
	defer c.pool.mu.Unlock()
	for _, page := range c.pages {
		if len(c.pool.free) < keptPages && cap(page) == pageBytes {
			c.pool.free = append(c.pool.free, page[:0])
		}
	}
	c.pages, c.Size, c.Records = nil, 0, 0
}

// page gives an empty page of at least want bytes.
func (p *Pool) page(want int) []byte {
	if want > pageBytes {
		return make([]byte, 0, want)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.free); n > 0 {
		page := p.free[n-1]
		p.free = p.free[:n-1]
		return page
	}
	return make([]byte, 0, pageBytes)
}
