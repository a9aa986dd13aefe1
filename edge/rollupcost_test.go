package edge

import (
	"testing"
	"time"

	"slipstream/telemetry"
)

// A request of 64 points in known series allocates next to nothing, and leaves
// few bytes in its journal.
func TestRollupOfARequestIsCheap(t *testing.T) {
	r := rollUp(t.TempDir(), testEnvironment, false, nil)
	points := make([]telemetry.Point, 64)
	at := time.Now()
	for i := range points {
		points[i] = telemetry.Point{Kind: telemetry.Counter, Name: []byte("c"), Value: 1, Time: at,
			Tags: []telemetry.Tag{{Key: []byte("k"), Value: []byte{'a' + byte(i%26)}}}}
	}
	add := func() {
		if err := r.aggregate.add(points); err != nil {
			t.Fatal(err)
		}
	}
	add()
	size := func() (size int) {
		for _, g := range r.aggregate.open {
			size += g.chunk.Size
		}
		return size
	}
	before := size()
	if n := testing.AllocsPerRun(100, add); n > 3 {
		t.Errorf("%g allocations", n)
	}
	if each := float64(size()-before) / 101 / 64; each > 6 {
		t.Errorf("%g bytes a point", each)
	}
	r.abandon()
}

// BenchmarkRollup is what a request of 64 points costs until it would survive.
func BenchmarkRollup(b *testing.B) {
	r := rollUp(b.TempDir(), testEnvironment, false, nil)
	points := make([]telemetry.Point, 64)
	for i := range points {
		points[i] = telemetry.Point{Kind: telemetry.Counter, Name: []byte("c"), Value: 1,
			Tags: []telemetry.Tag{{Key: []byte("k"), Value: []byte{'a' + byte(i%26)}}}}
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := r.aggregate.add(points); err != nil {
			b.Fatal(err)
		}
		for _, l := range r.lanes {
			l.mu.Lock()
			for len(l.queue) > 0 {
				l.done(l.queue[0])
			}
			l.mu.Unlock()
		}
	}
	r.abandon()
}
