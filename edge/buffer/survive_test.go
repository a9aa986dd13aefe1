package buffer

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"slipstream/telemetry"
	"slipstream/wire"
)

// way is how the records of a telemetry request come to survive the process.
type way struct {
	name   string
	pool   func(b *testing.B) *Pool
	pwrite bool // beside pages on the heap
}

var ways = []way{
	{"heap", func(*testing.B) *Pool { return &Pool{} }, false},
	{"mapped", func(b *testing.B) *Pool { return NewPool(b.TempDir(), 8<<20) }, false},
	{"pwrite", func(*testing.B) *Pool { return &Pool{} }, true},
}

// cpuTime is what the process has used so far.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// written writes the bytes of every page that came since the last time, one
// call a run of new bytes, as a journal beside pages on the heap would.
type written struct {
	file *os.File
	done int // bytes of the chunk that are in the file
}

func (w *written) commit(b *testing.B, c *Chunk) {
	at := 0
	for i := range c.pages {
		bytes := c.pages[i].bytes
		if from := max(0, w.done-at); from < len(bytes) {
			if _, err := w.file.WriteAt(bytes[from:], int64(i*pageBytes+from)); err != nil {
				b.Fatal(err)
			}
		}
		at += len(bytes)
	}
	w.done = at
}

// BenchmarkSurvive is the cost of a telemetry request's way into a chunk until
// it would survive a kill: bodies of 256 KiB and of 4 KiB in chunks of 256 KiB;
// warm, when pages are used again, and cold, when the file system has just
// written everything to the disk, which it does every 30 s.
func BenchmarkSurvive(b *testing.B) {
	for _, body := range []int{256 << 10, 4 << 10} {
		for _, state := range []string{"warm", "cold"} {
			for _, way := range ways {
				b.Run(fmt.Sprintf("body=%dKiB/%s/%s", body>>10, state, way.name), func(b *testing.B) {
					survive(b, way, body, state == "cold")
				})
			}
		}
	}
}

func survive(b *testing.B, way way, body int, cold bool) {
	pool := way.pool(b)
	file, err := os.Create(filepath.Join(b.TempDir(), "journal"))
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close()
	enc, l := wire.NDJSON(resource()), log(strings.Repeat("some ordinary text ", 8))
	var used time.Duration
	var c *Chunk
	var w written
	for b.Loop() {
		if c == nil || c.Size+body > 256<<10+body/2 {
			if c != nil {
				c.Release()
			}
			c, w = pool.Open(name(1), opened), written{file: file}
		}
		if cold {
			b.StopTimer()
			toDisk(b, pool, file)
			b.StartTimer()
		}
		before := cpuTime(b)
		for end := c.Size + body; c.Size < end; {
			c.Append(enc, l)
		}
		c.Commit()
		if way.pwrite {
			w.commit(b, c)
		}
		used += cpuTime(b) - before
	}
	b.ReportMetric(float64(used.Nanoseconds())/float64(b.N), "cpu-ns/op")
	if u := pool.Usage(); u.Heap > 0 {
		b.Fatal(u.Err)
	}
}

// toDisk makes the file system write everything, which makes the next write to
// each page a fault.
func toDisk(b *testing.B, pool *Pool, file *os.File) {
	if pool.arena != nil {
		file = pool.arena.file
	}
	if err := file.Sync(); err != nil {
		b.Fatal(err)
	}
}

func resource() *telemetry.Resource {
	return &telemetry.Resource{FunctionName: "checkout", FunctionVersion: "$LATEST", EnvironmentID: environment,
		Region: "eu-central-1"}
}

// BenchmarkFirstPage is what the first record of a process costs: the file is
// made, mapped, reserved and written to.
func BenchmarkFirstPage(b *testing.B) {
	dir := b.TempDir()
	for b.Loop() {
		pool := NewPool(dir, 8<<20)
		c := pool.Open(name(1), opened)
		c.Append(wire.NDJSON(resource()), log("first"))
		c.Commit()
		b.StopTimer()
		c.Release()
		if err := pool.Close(); err != nil || pool.Usage().Heap > 0 {
			b.Fatal(err, pool.Usage())
		}
		b.StartTimer()
	}
}

// BenchmarkScan finds 32 batches of 250 KiB in an arena.
func BenchmarkScan(b *testing.B) {
	pool := NewPool(b.TempDir(), 10<<20)
	for i := range 32 {
		fill(pool.Open(name(uint64(i)), opened), 220, 1000)
	}
	size := sizeOf(pool.arena.file)
	b.SetBytes(size)
	for b.Loop() {
		if n := len(scan(pool.arena.file, size, map[string]int{})); n != 32 {
			b.Fatal(n)
		}
	}
}

// Many small batches of one request fit the arena: a page is no larger than the
// batch will be.
func TestSmallBatchesFitTheArena(t *testing.T) {
	p := NewPool(t.TempDir(), 1<<20)
	var want []byte
	var chunks []*Chunk
	for i := range 100 {
		c := p.Open(Name{Lane: 1, Environment: environment, Sequence: uint64(i)}, opened)
		c.Limit = 1 << 10
		want = append(want, fill(c, 5, 300)...)
		c.Close(opened)
		chunks = append(chunks, c)
	}
	if u := p.Usage(); u.Heap > 0 {
		t.Errorf("%+v", u)
	}
	die(t, p)
	var got []byte
	if _, err := Recover(p.dir, func(l *Leftover) error { got = append(got, text(l)...); return nil }); err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("%d of %d bytes survive", len(got), len(want))
	}
	for _, c := range chunks {
		c.Release()
	}
}
