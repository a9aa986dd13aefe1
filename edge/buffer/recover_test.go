package buffer

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipstream/wire"
)

const (
	environment = "0b8f4a1e-3c52-4d6a-9e77-5f1d2c3b4a59"
	arenaBytes  = 4 << 20
)

var opened = time.Date(2026, 11, 23, 10, 0, 0, 123456789, time.UTC)

// die makes a pool's arena look as if its process had been killed just now.
func die(t *testing.T, p *Pool) {
	t.Helper()
	if p.arena == nil {
		t.Fatalf("no arena: %v", p.usage.Err)
	}
	if err := p.arena.file.Close(); err != nil { // the mapping holds the lock still
		t.Fatal(err)
	}
	copied, err := os.ReadFile(p.arena.file.Name())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(p.arena.file.Name()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p.arena.file.Name(), copied, 0o600); err != nil {
		t.Fatal(err)
	}
}

// fill appends n records of about size bytes and gives what they encode to.
func fill(c *Chunk, n, size int) (want []byte) {
	enc := wire.TelemetryEvents()
	for i := range n {
		l := log(fmt.Sprint(i) + strings.Repeat("x", size))
		want = enc.AppendLog(want, l)
		c.Append(enc, l)
	}
	return want
}

func text(l *Leftover) string {
	if l.Chunk == nil {
		return string(l.Body)
	}
	var b []byte
	for _, p := range l.Chunk.pages {
		b = append(b, p.bytes...)
	}
	return string(b)
}

// recovered gives everything that is left below dir.
func recovered(t *testing.T, dir string) ([]*Leftover, Recovery) {
	t.Helper()
	var all []*Leftover
	r, err := Recover(dir, func(l *Leftover) error { all = append(all, l); return nil })
	if err != nil {
		t.Fatal(err)
	}
	return all, r
}

func name(sequence uint64) Name {
	return Name{Lane: LaneHash("s3://bucket"), Environment: environment, Sequence: sequence}
}

func TestRecoverGivesWhatWasCommitted(t *testing.T) {
	dir := t.TempDir()
	pool := NewPool(dir, arenaBytes)
	var sealer Sealer

	open := pool.Open(name(3), opened.Add(2*time.Second))
	committed := fill(open, 100, 1000)
	open.Commit()
	fill(open, 5, 10) // not committed
	closed := pool.Open(name(2), opened.Add(time.Second))
	large := fill(closed, 3, 100_000) // each more than a page
	closed.Close(opened.Add(3 * time.Second))
	compressed := pool.Open(name(1), opened)
	fill(compressed, 500, 200)
	compressed.Close(opened.Add(time.Second))
	body, err := sealer.Seal(compressed, wire.TelemetryEvents(), Zstd)
	if err != nil {
		t.Fatal(err)
	}
	if held := compressed.Held(); held == 0 || held > len(body)+2*unitBytes {
		t.Errorf("the sealed chunk holds %d bytes for a body of %d", held, len(body))
	}
	done := pool.Open(name(0), opened)
	fill(done, 500, 500)
	done.Commit()
	done.Release()
	die(t, pool)

	all, r := recovered(t, dir)
	if len(all) != 3 || r.Batches != 3 || r.Records != 603 || r.Files != 1 || len(r.Skipped) != 0 {
		t.Fatalf("%d batches: %+v", len(all), r)
	}
	want := []struct {
		name    Name
		sealed  time.Time
		text    string
		records int
	}{
		{name(1), opened.Add(time.Second), string(body), 500},
		{name(2), opened.Add(3 * time.Second), string(large), 3},
		{name(3), time.Time{}, string(committed), 100},
	}
	for i, w := range want {
		l := all[i]
		if l.Name != w.name || !l.Sealed.Equal(w.sealed) || text(l) != w.text || l.Records != w.records || l.Missing != 0 {
			t.Errorf("batch %d: %+v with %d bytes, want %+v with %d", i, l, len(text(l)), w.name, len(w.text))
		}
	}
	if all[0].Encoding != Zstd || !all[0].Opened.Equal(opened) {
		t.Errorf("%q, opened %v", all[0].Encoding, all[0].Opened)
	}
	if all, _ := recovered(t, dir); len(all) != 0 {
		t.Errorf("%d batches found again", len(all))
	}
}

// The same records, sealed by the process that recovered them, are the same
// bytes: a try before the crash and one after it carry the same batch.
func TestSealAfterRecoverGivesTheSameBytes(t *testing.T) {
	encoders := map[string]wire.Encoder{"headed": headed{wire.TelemetryEvents()}, "otlp": wire.OTLPLogs(resource()),
		"ndjson": wire.NDJSON(resource())}
	for format, enc := range encoders {
		for _, encoding := range []string{Plain, Gzip, Zstd} {
			t.Run(format+"/"+encoding, func(t *testing.T) {
				dir := t.TempDir()
				c := NewPool(dir, arenaBytes).Open(name(1), opened)
				mix(c, enc)
				c.Close(opened)
				die(t, c.pool)
				var before, after Sealer
				want, err := before.Seal(c, enc, encoding)
				if err != nil {
					t.Fatal(err)
				}
				other := (&Pool{}).Open(Name{}, opened)
				mix(other, wire.TelemetryEvents())
				if _, err := after.Seal(other, enc, encoding); err != nil { // a used compressor
					t.Fatal(err)
				}
				all, _ := recovered(t, dir)
				got, err := after.Seal(all[0].Chunk, enc, encoding)
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("%d bytes, before %d: %v", len(got), len(want), err)
				}
				onHeap := (&Pool{}).Open(Name{}, opened) // pages are cut elsewhere
				mix(onHeap, enc)
				if got, err := after.Seal(onHeap, enc, encoding); err != nil || !bytes.Equal(got, want) {
					t.Errorf("from the heap: %d bytes, want %d: %v", len(got), len(want), err)
				}
			})
		}
	}
}

// mix appends records of all sizes and kinds.
func mix(c *Chunk, enc wire.Encoder) {
	for i := range 2000 {
		l := log(strings.Repeat(fmt.Sprint(i*7919), i%60))
		switch {
		case i%500 == 3:
			l = log(strings.Repeat("large ", 15_000)) // more than a page
		case i%3 == 0:
			l.Body = fmt.Appendf(nil, `{"level":"INFO","n":%d,"deep":[{"a":%d.5}]}`, i, i)
		}
		c.Append(enc, l)
	}
}

// A kill between a body's publication and the release of its records leaves
// both: one batch is handed out, and neither comes again.
func TestRecoverTakesABodyOnce(t *testing.T) {
	dir := t.TempDir()
	pool := NewPool(dir, arenaBytes)
	c := pool.Open(name(1), opened)
	fill(c, 1000, 150)
	c.Close(opened)
	if _, ok := pool.sealed(c, []byte("body"), kindGzip); !ok {
		t.Fatal("no room")
	}
	other := pool.Open(name(2), opened)
	fill(other, 1, 1)
	other.Commit()
	die(t, pool)
	var got []string
	broken := errors.New("disk on fire")
	_, err := Recover(dir, func(l *Leftover) error {
		if l.Sequence == 2 {
			return broken
		}
		got = append(got, text(l))
		return nil
	})
	if !errors.Is(err, broken) || !cmp.Equal(got, []string{"body"}) {
		t.Fatalf("%d batches, %v", len(got), err)
	}
	if all, _ := recovered(t, dir); len(all) != 1 || all[0].Sequence != 2 {
		t.Errorf("then %d batches, want the one that failed", len(all))
	}
}

// Whatever happens to a file, what is not touched by it is found.
func TestRecoverCopesWithDamage(t *testing.T) {
	e := binary.NativeEndian
	// Pages of batch 1 begin at 0 and 64 KiB, batch 2 at 128 KiB.
	tests := []struct {
		name    string
		damage  func(b []byte) []byte
		found   string // sequence:pages missing
		skipped map[string]int
	}{
		{"none", func(b []byte) []byte { return b }, "1:0 2:0", map[string]int{}},
		{"empty", func(b []byte) []byte { return nil }, "", map[string]int{}},
		{"cut in a page", func(b []byte) []byte { return b[:128<<10+100] }, "1:0", map[string]int{"unreadable": 1}},
		{"cut in its content", func(b []byte) []byte { return b[:64<<10+4096+7] }, "1:1", map[string]int{"length": 2}},
		{"no first page", func(b []byte) []byte { clear(b[:64<<10]); return b }, "1:1 2:0", map[string]int{}},
		{"garbage", func(b []byte) []byte { fillWith(b[:64<<10], 0xa7); return b }, "1:1 2:0",
			map[string]int{"garbage": 16}},
		{"version", func(b []byte) []byte { b[0]++; return b }, "1:1 2:0", nil},
		{"checksum", func(b []byte) []byte { b[headSequence]++; return b }, "1:1 2:0", nil},
		{"committed beyond the page", func(b []byte) []byte {
			e.PutUint64(b[headCommitted:], 70_000<<32|3)
			return b
		}, "1:1 2:0", map[string]int{"length": 16}},
		{"committed beyond everything", func(b []byte) []byte {
			e.PutUint64(b[headCommitted:], 1<<63|1)
			return b
		}, "1:1 2:0", map[string]int{"length": 16}},
		{"more records than bytes", func(b []byte) []byte {
			e.PutUint64(b[headCommitted:], 10<<32|11)
			return b
		}, "1:1 2:0", map[string]int{"length": 16}},
		{"no units", func(b []byte) []byte {
			e.PutUint32(b[headUnits:], 0)
			e.PutUint64(b[headSum:], uint64(headChecksum(b)))
			return b
		}, "1:1 2:0", nil},
		{"the same page twice", func(b []byte) []byte { copy(b[64<<10:], b[:64<<10]); return b }, "1:1 2:0",
			map[string]int{"duplicate": 16}},
		{"released when killed", func(b []byte) []byte { b[headReleased] = 1; return b }, "2:0", map[string]int{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			pool := NewPool(dir, arenaBytes)
			c := pool.Open(name(1), opened)
			for range 110 {
				fill(c, 1, 1000)
			}
			c.Close(opened)
			other := pool.Open(name(2), opened)
			fill(other, 10, 1)
			other.Commit()
			if c.Held() != 128<<10 {
				t.Fatalf("%d bytes held", c.Held())
			}
			die(t, pool)
			b, err := os.ReadFile(pool.arena.file.Name())
			if err != nil {
				t.Fatal(err)
			}
			path := pool.arena.file.Name()
			if err := os.WriteFile(path, tt.damage(b), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(path, opened, opened.AddDate(-1, 0, 0)); err != nil { // not one that is being made
				t.Fatal(err)
			}
			all, r := recovered(t, dir)
			var found []string
			for _, l := range all {
				found = append(found, fmt.Sprintf("%d:%d", l.Sequence, l.Missing))
			}
			if got := strings.Join(found, " "); got != tt.found {
				t.Errorf("found %s, want %s", got, tt.found)
			}
			if tt.skipped != nil && !cmp.Equal(r.Skipped, tt.skipped) || tt.skipped == nil && r.Skipped[tt.name] == 0 &&
				r.Skipped["length"] == 0 {
				t.Errorf("skipped %v, want %v", r.Skipped, tt.skipped)
			}
			if left, _ := os.ReadDir(dir); len(left) != 0 {
				t.Errorf("%d files left", len(left))
			}
		})
	}
}

func fillWith(b []byte, with byte) {
	for i := range b {
		b[i] = with
	}
}

func TestRecoverLeavesTheLivingAlone(t *testing.T) {
	dir := t.TempDir()
	pool := NewPool(dir, arenaBytes)
	c := pool.Open(name(1), opened)
	fill(c, 10, 10)
	c.Commit()
	for _, made := range []string{"arena-1", "spool.batch"} { // one that is being made, one of others
		if err := os.WriteFile(filepath.Join(dir, made), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	old := filepath.Join(dir, "arena-2")
	if err := os.WriteFile(old, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(old, opened, opened.AddDate(-1, 0, 0)); err != nil {
		t.Fatal(err)
	}
	if all, r := recovered(t, dir); len(all) != 0 || r.Files != 1 {
		t.Errorf("%d batches of a living process, %d files, want only %s", len(all), r.Files, old)
	}
	if left, _ := os.ReadDir(dir); len(left) != 3 {
		t.Errorf("%d files are left, want 3", len(left))
	}
	c.Release()
	if err := pool.Close(); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 2 {
		t.Errorf("%d files after Close, want 2", len(left))
	}
	if _, r := recovered(t, filepath.Join(dir, "none")); r.Files != 0 {
		t.Error("files in a folder that is not there")
	}
}

// A function that cleans /tmp removes the arena too: what comes afterwards is
// protected again.
func TestRemovedArenaIsReplaced(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "slipstream")
	pool := NewPool(dir, arenaBytes)
	before := pool.Open(name(1), opened)
	want := fill(before, 100, 1000)
	before.Commit()
	old := before.pages[0].in
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	after := pool.Open(name(2), opened)
	fill(after, 100, 1000)
	after.Commit()
	want = append(want, fill(before, 1, 1)...) // its last page is where it was
	var sealer Sealer
	if body, err := sealer.Seal(before, wire.TelemetryEvents(), Plain); err != nil || !bytes.Equal(body, want) {
		t.Errorf("%d bytes, want %d: %v", len(body), len(want), err)
	}
	before.Release()
	if old.inUse != 0 || old.file.Close() == nil || pool.Usage().Mapped != after.Held() {
		t.Errorf("the removed file is still held: %d units, %+v", old.inUse, pool.Usage())
	}
	die(t, pool)
	if all, _ := recovered(t, dir); len(all) != 1 || all[0].Sequence != 2 || all[0].Records != 100 {
		t.Errorf("%d batches recovered", len(all))
	}
}
