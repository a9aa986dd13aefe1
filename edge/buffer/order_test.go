package buffer

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"slipstream/wire"
)

// snapshot is what a kill would leave behind.
type snapshot struct{ *bytes.Reader }

func (snapshot) WriteAt(b []byte, _ int64) (int, error) { return len(b), nil }

// promise is what must be found of a batch.
type promise struct {
	committed, appended string // the text found begins with one and is the beginning of the other
	gone                bool   // released, or about to be: nothing, or all
}

// watch judges the arena after every store, which is every state that a kill
// can leave but for bytes that no head counts yet.
type watch struct {
	t        *testing.T
	pool     *Pool
	promises map[uint64]*promise
	points   int
}

func (w *watch) judge() {
	w.points++
	memory := bytes.Clone(w.pool.arena.memory[:w.pool.arena.reserved])
	skipped := map[string]int{}
	left := inOrder(scan(snapshot{bytes.NewReader(memory)}, int64(len(memory)), skipped))
	found := map[uint64]string{}
	for _, r := range left {
		l := r.read(skipped)
		if _, twice := found[l.Sequence]; twice || l.Missing != 0 {
			w.t.Fatalf("point %d: batch %d twice, or %d pages of it missing", w.points, l.Sequence, l.Missing)
		}
		found[l.Sequence] = plain(w.t, []byte(text(l)), l.Encoding)
	}
	for sequence, p := range w.promises {
		got, there := found[sequence]
		switch {
		case !there && (p.gone || p.committed == ""):
		case p.gone && got == p.appended:
		case !p.gone && strings.HasPrefix(got, p.committed) && strings.HasPrefix(p.appended, got) &&
			(got == "" || strings.HasSuffix(got, "\n")):
		default:
			w.t.Fatalf("point %d: batch %d has %d bytes, committed %d, appended %d, gone %v", w.points, sequence,
				len(got), len(p.committed), len(p.appended), p.gone)
		}
	}
	if len(skipped) > 0 {
		w.t.Fatalf("point %d: skipped %v", w.points, skipped)
	}
}

// grow appends n records of size bytes and commits them.
func (w *watch) grow(c *Chunk, n, size int) {
	p := w.promises[c.name.Sequence]
	if p == nil {
		p = &promise{}
		w.promises[c.name.Sequence] = p
	}
	enc := wire.TelemetryEvents()
	for i := range n {
		l := log(fmt.Sprint(i) + strings.Repeat("y", size))
		p.appended += string(enc.AppendLog(nil, l))
		c.Append(enc, l)
	}
	c.Commit()
	p.committed = p.appended
	w.judge()
}

// A kill between any two instructions leaves what was committed.
func TestEveryKillPoint(t *testing.T) {
	pool := NewPool(t.TempDir(), 2<<20)
	first := pool.Open(name(0), opened)
	fill(first, 1, 1)
	first.Release()
	w := &watch{t: t, pool: pool, promises: map[uint64]*promise{}}
	pool.arena.stored = w.judge
	var sealer Sealer
	var held []*Chunk
	for round := range 6 {
		c := pool.Open(name(uint64(round+1)), opened)
		w.grow(c, 30, 100)
		w.grow(c, 20, 9_000) // three pages more
		w.grow(c, 1, 100_000)
		w.grow(c, 2+round, 30)
		c.Close(opened)
		if round%3 > 0 {
			if _, err := sealer.Seal(c, wire.TelemetryEvents(), []string{Plain, Gzip, Zstd}[round%3]); err != nil {
				t.Fatal(err)
			}
			w.judge()
		}
		held = append(held, c)
		if round%2 == 1 { // the older one of two: the next ones use its pages again
			w.promises[held[0].name.Sequence].gone = true
			held[0].Release()
			held = slices.Delete(held, 0, 1)
		}
	}
	for _, c := range held {
		w.promises[c.name.Sequence].gone = true
		c.Release()
	}
	if u := pool.Usage(); u.Mapped != 0 || u.Heap != 0 || u.Reserved > 1<<20 {
		t.Errorf("when all is released: %+v", u)
	}
	if w.points < 200 {
		t.Errorf("only %d points judged", w.points)
	}
}
