package rollup

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"slipstream/telemetry"
	"slipstream/wire/metrics"
)

// sample is a point, or one of a histogram.
type sample struct {
	*telemetry.Point
	histogram *metrics.Histogram
}

// add puts it into the Rollup.
func (s sample) add(r *Rollup, now time.Time) {
	if s.histogram != nil {
		r.AddHistogram(s.Point, s.histogram, now)
	} else {
		r.Add(s.Point, now)
	}
}

// anySample is one of any kind in one of a few series.
func anySample(random *rand.Rand, now time.Time) sample {
	p := &telemetry.Point{Kind: telemetry.PointKind(random.IntN(5)), Name: fmt.Append(nil, "m", random.IntN(3)),
		Value: math.Round(random.NormFloat64()*1000) / 8, Count: 1, Tags: tags("k", fmt.Sprint(random.IntN(3)))}
	if random.IntN(3) > 0 {
		p.Time = now.Add(time.Duration(random.Int64N(int64(3*time.Minute))) - 150*time.Second)
	}
	switch p.Kind {
	case telemetry.Set:
		p.Member = fmt.Append(nil, random.IntN(2000))
	case telemetry.Distribution:
		switch random.IntN(4) {
		case 0:
			p.Count = random.Float64() * 100
		case 1:
			for i := range random.IntN(4) {
				c := telemetry.Centroid{Value: float64(i) * p.Value, Count: float64(random.IntN(70_000))}
				p.Centroids = append(p.Centroids, c)
			}
		case 2:
			return sample{p, anyHistogram(random)}
		}
	}
	return sample{p, nil}
}

// anyHistogram is one that another program may have sent, of any scale.
func anyHistogram(random *rand.Rand) *metrics.Histogram {
	h := &metrics.Histogram{Scale: int32(random.IntN(16)) - 3, Zeros: random.Uint64N(3), Sum: float64(random.IntN(1000)),
		Min: -100, Max: 1000}
	h.Count = h.Zeros + 1
	h.PositiveLow, h.Positive = -3, []uint64{0, 1, 0}
	for range random.IntN(30) {
		n := random.Uint64N(5)
		h.Negative = append(h.Negative, n)
		h.Count += n
	}
	return h
}

// A journal that is replayed gives the very bin, to the byte; one that is cut
// anywhere the bin of the whole frames before.
func TestReplayIsIdentical(t *testing.T) {
	random := newRandom(t)
	for range 200 {
		now := minute.Add(3 * time.Minute)
		r := New(Config{Journal: true, Source: "s", MaxSeries: 12, MaxBuckets: 40})
		journals, ends := map[*Bin][]byte{}, map[*Bin][]int{}
		for range random.IntN(100) + 1 {
			for range random.IntN(20) + 1 {
				anySample(random, now).add(r, now)
			}
			r.Flush(func(b *Bin, frame []byte, entries int) {
				if entries == 0 {
					t.Fatal("a frame of nothing")
				}
				journals[b] = append(journals[b], frame...)
				ends[b] = append(ends[b], len(journals[b]))
			})
		}
		for _, b := range r.Close(now, true) {
			fresh := New(Config{MaxBuckets: 40})
			again, err := fresh.Replay(journals[b], now, nil)
			if err != nil {
				t.Fatal(err)
			}
			again.from, again.to = b.from, b.to
			if want, got := b.AppendExport(nil), again.AppendExport(nil); !bytes.Equal(want.Body, got.Body) {
				t.Fatalf("bin %v of %d points: replayed to other bytes", b.Start(), b.Points())
			}
			cut := random.IntN(len(journals[b]))
			whole := 0
			for _, end := range ends[b] {
				if end <= cut {
					whole = end
				}
			}
			torn, err := New(Config{MaxBuckets: 40}).Replay(journals[b][:cut], now, nil)
			if (err != nil) != (cut != whole) || err != nil && !errors.Is(err, ErrTorn) {
				t.Fatalf("cut at %d of whole frames up to %d: %v", cut, whole, err)
			}
			want, err := New(Config{MaxBuckets: 40}).Replay(journals[b][:whole], now, nil)
			if err != nil || (want == nil) != (torn == nil) {
				t.Fatal(err)
			}
			if want != nil && !bytes.Equal(want.AppendExport(nil).Body, torn.AppendExport(nil).Body) {
				t.Fatal("a torn frame left something")
			}
		}
	}
}

func TestNotes(t *testing.T) {
	journal := AppendNote(AppendNote(nil, []byte("one")), nil)
	r := New(Config{Journal: true})
	r.Add(counter("c", 1), minute)
	r.Flush(func(_ *Bin, frame []byte, _ int) { journal = append(journal, frame...) })
	journal = AppendNote(journal, []byte("two"))
	var notes []string
	b, err := New(Config{}).Replay(journal, minute, func(note []byte) { notes = append(notes, string(note)) })
	if err != nil || b.Points() != 1 || fmt.Sprint(notes) != "[one  two]" {
		t.Errorf("%q, %v", notes, err)
	}
}

// A point in a known series takes few bytes.
func TestJournalIsSmall(t *testing.T) {
	r := New(Config{Journal: true})
	for i, want := range []int{100, 12, 12} {
		r.Add(counter("some.counter", 1, "key", "value"), minute)
		r.Flush(func(_ *Bin, frame []byte, _ int) {
			if len(frame) > want {
				t.Errorf("frame %d has %d bytes, want at most %d", i, len(frame), want)
			}
		})
	}
}

// Whatever a journal is, it is replayed or refused, and what is replayed can be
// exported.
func FuzzReplay(f *testing.F) {
	random := rand.New(rand.NewPCG(1, 1))
	r := New(Config{Journal: true})
	for range 50 {
		anySample(random, minute).add(r, minute)
	}
	r.Flush(func(_ *Bin, frame []byte, _ int) {
		body, _ := nextFrame(frame)
		f.Add(bytes.Clone(body))
	})
	f.Add([]byte{entryNote, 1, 'x', entryBin, 2, 4})
	f.Fuzz(func(t *testing.T, body []byte) {
		// The fuzzer makes bodies: it would not find checksums.
		journal := append(make([]byte, headBytes), body...)
		b, err := New(Config{Cumulative: true}).Replay(closeFrame(journal), minute, nil)
		if err != nil && !errors.Is(err, ErrTorn) {
			t.Fatal(err)
		}
		if b != nil {
			b.AppendExport(nil)
			b.AppendCumulative(nil, minute, minute)
		}
		_, _ = New(Config{}).Replay(body, minute, nil) // without a right head
	})
}
