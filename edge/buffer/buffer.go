// Package buffer holds encoded records until they are sent. Use a Chunk to
// collect records of one destination and a Sealer to turn the chunk, once, into
// the bytes that every try sends. What is committed lies in a file mapping, so
// that it outlives a killed process: Recover gives it to the next one.
package buffer

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"syscall"
	"time"

	"slipstream/telemetry"
	"slipstream/wire"
)

const (
	// pageBytes is the unit of memory. A page takes records until less than
	// pageSlack is left, so that most records fit without moving.
	pageBytes = 64 << 10
	pageSlack = 4 << 10
	// keptPages is how many free pages a Pool keeps on the heap for the next chunk.
	keptPages = 8
)

// Pool is where pages come from: its arena, or the heap where there is none or
// it has no room. The zero Pool uses the heap. It is safe for concurrent use.
type Pool struct {
	dir      string // of the arena, "" for none
	maxBytes int

	mu    sync.Mutex
	arena *arena
	free  [][]byte // of the heap
	usage Usage

	environment string // of the last page, and its bytes
	id          [16]byte
}

// Usage says what a Pool holds.
type Usage struct {
	Mapped   int   // bytes in use in the arena
	Reserved int   // bytes that the arena's file occupies
	Heap     int64 // pages that came from the heap instead, since the start
	Err      error // why the last of them did
}

// NewPool gives a Pool with an arena below dir of at most maxBytes. The file is
// made when the first page is needed, and without it, whatever the reason, the
// heap serves: that is logged once, counted, and never an error.
func NewPool(dir string, maxBytes int) *Pool {
	return &Pool{dir: dir, maxBytes: max(maxBytes/unitBytes*unitBytes, pageBytes)}
}

// Usage tells what is in use now.
func (p *Pool) Usage() Usage {
	p.mu.Lock()
	defer p.mu.Unlock()
	u := p.usage
	if p.arena != nil {
		u.Mapped, u.Reserved = p.arena.inUse*unitBytes, p.arena.reserved
	}
	return u
}

// Close removes the arena if no chunk is left in it; else its file stays for
// the next process to recover.
func (p *Pool) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	a := p.arena
	if a == nil || a.inUse > 0 {
		return nil
	}
	p.arena, p.dir = nil, ""
	err := os.Remove(a.file.Name())
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, a.unmap())
}

// page is a piece of memory for records. Its run is the part of the arena with
// its head, both nil on the heap.
type page struct {
	in      *arena
	run     []byte
	bytes   []byte
	records int
	written int // how much of the run may not be as it was, the head included
}

// publish makes all of the page's records part of what survives, in one store.
func (p *page) publish() {
	if p.run != nil {
		p.in.store(p.run, headCommitted, uint64(len(p.bytes))<<32|uint64(p.records))
	}
}

func (p *page) held() int {
	if p.run != nil {
		return len(p.run)
	}
	return cap(p.bytes)
}

// Chunk is a growing run of records in one format. It is used by one goroutine
// at a time.
type Chunk struct {
	Opened  time.Time // when its first record came in
	Records int
	Size    int // encoded bytes
	// Dropped is how many records Seal has left out, by reason: they are none of Records any more.
	Dropped map[string]int
	// Limit is about how many bytes it will be closed at, 0 for unknown. Small
	// chunks take small pages of the arena, or many at once would not fit.
	Limit int

	name      Name
	sealed    time.Time
	pool      *Pool
	pages     []page
	published int // pages that get no more records and are committed
}

// Open gives an empty chunk. The name is what Recover finds it under.
func (p *Pool) Open(name Name, now time.Time) *Chunk { return &Chunk{Opened: now, name: name, pool: p} }

// Append encodes one record into the chunk and gives its encoded size in bytes.
// It survives the process after the next Commit.
func (c *Chunk) Append(enc wire.Encoder, l *telemetry.Log) int {
	last := c.room(len(l.Body))
	return c.grew(last, enc.AppendLog(last.bytes, l), 1)
}

// ExportEncoder is an Encoder whose format has a place for exports, too.
type ExportEncoder interface {
	wire.Encoder
	// AppendExport appends an export's records to dst and returns the extended
	// slice.
	AppendExport(dst []byte, x *telemetry.Export) []byte
}

// AppendExport does the same with all records of an export.
func (c *Chunk) AppendExport(enc ExportEncoder, x *telemetry.Export) int {
	last := c.room(len(x.Body))
	return c.grew(last, enc.AppendExport(last.bytes, x), x.Records)
}

// room gives the page for a record of about so many bytes.
func (c *Chunk) room(body int) *page {
	want := body + pageSlack
	if n := len(c.pages); n == 0 ||
		cap(c.pages[n-1].bytes)-len(c.pages[n-1].bytes) < min(want, pageBytes-headBytes) {
		c.pages = append(c.pages, c.pool.page(c, want))
	}
	return &c.pages[len(c.pages)-1]
}

// grew takes what the last page has become by the bytes of some records.
func (c *Chunk) grew(last *page, grown []byte, records int) int {
	before := len(last.bytes)
	size := len(grown) - before
	if last.run != nil && len(grown) > cap(last.bytes) { // it has outgrown the page and moved to the heap
		last.written = len(last.run)
		c.pages = append(c.pages, c.pool.page(c, size))
		last = &c.pages[len(c.pages)-1]
		grown = append(last.bytes, grown[before:]...)
	}
	last.bytes = grown
	last.records += records
	// An encoder may write more than it leaves, where it guesses lengths or takes
	// back what it began: hardly more than the record again.
	last.written = max(last.written, headBytes+len(grown)+size+512)
	c.Size += size
	c.Records += records
	return size
}

// least is how many bytes a page of the arena has at least.
func (c *Chunk) least() int {
	if c.Limit > 0 && c.Limit < pageBytes-pageSlack-headBytes {
		return c.Limit + pageSlack
	}
	return pageBytes - headBytes
}

// Commit makes what was appended survive the process from now on. A kill while
// it runs leaves whole records, without a gap. Call it before the request that
// brought the records is answered.
func (c *Chunk) Commit() {
	for i := c.published; i < len(c.pages); i++ {
		c.pages[i].publish()
	}
	c.published = max(len(c.pages)-1, 0)
}

// Close commits, and tells a later Recover that the chunk is complete and when
// it was sealed. Nothing may be appended afterwards.
func (c *Chunk) Close(now time.Time) {
	c.Commit()
	c.sealed = now
	if len(c.pages) > 0 && c.pages[0].run != nil {
		first := &c.pages[0]
		first.in.store(first.run, headPages, uint64(len(c.pages)))
		first.in.store(first.run, headSealed, nanoseconds(now))
	}
}

// Pages hands out what was appended, in order, some whole records at a time. It
// is for records that are to be read again, by this process or the one that has
// recovered them.
func (c *Chunk) Pages(each func(records []byte)) {
	for i := range c.pages {
		each(c.pages[i].bytes)
	}
}

// Held is the memory that the chunk occupies, in bytes.
func (c *Chunk) Held() int {
	held := 0
	for i := range c.pages {
		held += c.pages[i].held()
	}
	return held
}

// Release gives the pages back: the batch is where it belongs, and a later
// Recover must not find it. The chunk is empty afterwards.
func (c *Chunk) Release() {
	c.pool.release(c.pages)
	c.pages, c.Size, c.Records, c.published = nil, 0, 0, 0
}

// keep replaces the records by the body that was made of them, which survives
// the process too. Without room for it the records' pages stay for that.
func (c *Chunk) keep(body []byte, encoding string) {
	copied, ok := c.pool.sealed(c, body, kinds[encoding])
	switch {
	case ok:
		c.pool.release(c.pages)
		c.pages = []page{copied}
	case len(c.pages) > 0 && c.pages[0].run == nil: // never complete after a kill
		c.pool.release(c.pages)
		c.pages = nil
	}
}

// page gives an empty page of at least want bytes for the chunk's next index.
func (p *Pool) page(c *Chunk, want int) page {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dir != "" {
		run, err := p.take(c, max(want, c.least()), kindRecords, len(c.pages))
		if err == nil {
			return page{in: p.arena, run: run, bytes: run[headBytes:headBytes:len(run)]}
		}
		p.fallBack(err)
	}
	if want > pageBytes {
		return page{bytes: make([]byte, 0, want)}
	}
	if n := len(p.free); n > 0 {
		bytes := p.free[n-1]
		p.free = p.free[:n-1]
		return page{bytes: bytes}
	}
	return page{bytes: make([]byte, 0, pageBytes)}
}

// sealed copies a chunk's body into the arena, if there is room.
func (p *Pool) sealed(c *Chunk, body []byte, kind uint32) (page, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dir == "" {
		return page{}, false
	}
	run, err := p.take(c, len(body), kind, 0)
	if err != nil {
		return page{}, false
	}
	copied := page{in: p.arena, run: run, bytes: append(run[headBytes:headBytes:len(run)], body...), records: c.Records}
	p.arena.store(run, headPages, 1)
	p.arena.store(run, headSealed, nanoseconds(c.sealed))
	copied.written = headBytes + len(body)
	copied.publish() // last: a body without its length is not there
	return copied, true
}

// take gives a run of the arena with its head. The caller holds p.mu.
func (p *Pool) take(c *Chunk, want int, kind uint32, index int) ([]byte, error) {
	if name := c.name.Environment; name != p.environment || p.arena == nil {
		id, err := parseUUID(name)
		if err != nil {
			return nil, err
		}
		p.environment, p.id = name, id
	}
	if p.arena != nil && p.arena.lost() { // what is in it goes with the last of its pages
		p.retire()
	}
	if p.arena == nil {
		a, err := newArena(p.dir, p.maxBytes)
		if err != nil {
			return nil, err
		}
		p.arena = a
	}
	run, err := p.arena.take(want)
	if err == nil {
		p.arena.writeHead(run, p.id, c.name, c.Opened, index, kind)
	}
	return run, err
}

// retire gives the arena up. The caller holds p.mu.
func (p *Pool) retire() {
	slog.Warn("the extension's memory file was removed: what is in it now does not survive a crash of the extension",
		"path", p.arena.file.Name(), "hint", "leave /tmp/slipstream alone when the function cleans /tmp")
	a := p.arena
	p.arena = nil
	p.unmapUnused(a)
}

// unmapUnused ends an arena that was retired once its last page is back. The
// caller holds p.mu.
func (p *Pool) unmapUnused(a *arena) {
	if a == p.arena || a.inUse > 0 {
		return
	}
	if err := a.unmap(); err != nil {
		slog.Debug("unmap a removed file", "cause", err)
	}
}

// fallBack counts a page that comes from the heap, and tells of the first. The
// caller holds p.mu.
func (p *Pool) fallBack(err error) {
	if p.usage.Heap == 0 {
		slog.Warn("telemetry in memory does not survive a crash of the extension",
			"error", err, "hint", hint(err))
	}
	p.usage.Heap++
	p.usage.Err = err
}

// hint says what the user may do about a page that came from the heap.
func hint(err error) string {
	switch {
	case errors.Is(err, errArenaFull):
		return "raise SLIPSTREAM_BUFFER_BYTES"
	case errors.Is(err, syscall.ENOSPC):
		return "/tmp is full: raise the function's ephemeral storage, or clean up in the function"
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return "check that /tmp is writable"
	}
	return "check /tmp"
}

// release gives pages back to where they are from. The first page says that all
// are done before any of them goes.
func (p *Pool) release(pages []page) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(pages) > 0 && pages[0].run != nil {
		pages[0].in.store(pages[0].run, headReleased, 1)
	}
	for i := len(pages) - 1; i >= 0; i-- { // the first one last
		switch page := pages[i]; {
		case page.run != nil:
			page.in.give(page.run, page.written)
			p.unmapUnused(page.in)
		case len(p.free) < keptPages && cap(page.bytes) == pageBytes:
			p.free = append(p.free, page.bytes[:0])
		}
	}
}
