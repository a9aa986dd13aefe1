package rollup

import (
	"math"
	"math/big"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// newRandom gives random numbers from a printed seed.
func newRandom(t testing.TB) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("SLIPSTREAM_TEST_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("SLIPSTREAM_TEST_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// The table is 2^(i/256), computed by roots with 200 bits.
func TestBounds(t *testing.T) {
	root := new(big.Float).SetPrec(200).SetInt64(2)
	for range maxScale {
		root.Sqrt(root)
	}
	v := new(big.Float).SetPrec(200).SetInt64(1)
	for i, got := range bounds {
		f := new(big.Float).SetPrec(200).Sub(v, big.NewFloat(1))
		f.SetMantExp(f, 52)
		if want, _ := f.Uint64(); got != want {
			t.Errorf("bound %d is %#x, want %#x", i, got, want)
		}
		v.Mul(v, root)
	}
}

func TestIndexOf(t *testing.T) {
	for _, tt := range []struct {
		v    float64
		want int32
	}{
		{1, -1}, {math.Nextafter(1, 2), 0}, {2, 255}, {math.Nextafter(2, 3), 256}, {4, 511}, {0.5, -257},
		{math.Nextafter(2, 1), 255}, {math.MaxFloat64, 1024*256 - 1}, {math.SmallestNonzeroFloat64, -1074*256 - 1},
		{math.Ldexp(1, -1022), -1022*256 - 1}, {math.Ldexp(3, -1074), -1073*256 + 149},
	} {
		if got := indexOf(tt.v); got != tt.want {
			t.Errorf("indexOf(%g) = %d, want %d", tt.v, got, tt.want)
		}
	}
	random := newRandom(t)
	for range 200_000 {
		v := math.Float64frombits(random.Uint64N(0x7ff0000000000000-1) + 1)
		got, want := float64(indexOf(v)), math.Log2(v)*256
		if got > want+1e-6 || got < want-1-1e-6 {
			t.Fatalf("indexOf(%g) = %g, but its logarithm is %g", v, got, want)
		}
	}
}

// values of some distribution, with weights.
func values(random *rand.Rand, n int) (v []float64, counts []uint64) {
	spread, sign := math.Exp(random.Float64()*8-3), random.Float64()
	for range n {
		x := math.Exp(random.NormFloat64() * spread)
		x = max(min(x, math.MaxFloat64), math.SmallestNonzeroFloat64)
		switch u := random.Float64(); {
		case u < 0.01:
			x = 0
		case u < sign:
			x = -x
		}
		count := uint64(1)
		if random.IntN(20) == 0 {
			count = random.Uint64N(100_000) + 1
		}
		v, counts = append(v, x), append(counts, count)
	}
	return v, counts
}

// shape is what of a histogram must be equal to the bit.
type shape struct {
	Count, Zeros       uint64
	Min, Max           float64
	Shift              uint8
	Low                [2]int32
	Positive, Negative []uint64
}

func shapeOf(h *histogram) shape {
	s := shape{Count: h.count, Zeros: h.zeros, Min: h.min, Max: h.max, Shift: h.shift}
	for i := range h.positive.len() {
		s.Positive, s.Low[0] = append(s.Positive, h.positive.at(i)), h.positive.low
	}
	for i := range h.negative.len() {
		s.Negative, s.Low[1] = append(s.Negative, h.negative.at(i)), h.negative.low
	}
	return s
}

// Whatever the order and the grouping, the buckets are the same, at the finest
// scale that fits, and the sum is that of exact arithmetic.
func TestHistogramMergeIsExact(t *testing.T) {
	random := newRandom(t)
	for range 500 {
		limit := []int{2, 20, 160, 320}[random.IntN(4)]
		v, counts := values(random, random.IntN(600)+1)
		var whole histogram
		exact := new(big.Float).SetPrec(2400)
		for i := range v {
			whole.insert(v[i], counts[i], limit)
			x := new(big.Float).SetPrec(2400).SetFloat64(v[i])
			exact.Add(exact, x.Mul(x, new(big.Float).SetUint64(counts[i])))
		}
		parts := make([]histogram, random.IntN(8)+1)
		for _, i := range random.Perm(len(v)) {
			parts[random.IntN(len(parts))].insert(v[i], counts[i], limit)
		}
		var merged histogram
		for _, i := range random.Perm(len(parts)) {
			merged.merge(&parts[i], limit)
		}
		if diff := cmp.Diff(shapeOf(&whole), shapeOf(&merged)); diff != "" {
			t.Fatalf("limit %d, %d values (-whole +merged):\n%s", limit, len(v), diff)
		}
		finest(t, v, &whole, limit)
		want, _ := exact.Float64()
		want = max(min(want, math.MaxFloat64), -math.MaxFloat64)
		bound := 0.0
		for i := range v {
			bound += math.Abs(v[i]) * float64(counts[i]) * 0x1p-90
		}
		for _, got := range []float64{whole.sum.value(), merged.sum.value()} {
			if got != want && math.Abs(got-want) > bound && !math.IsInf(bound, 0) {
				if math.Nextafter(got, want) != want || bound == 0 {
					t.Fatalf("sum %g, exactly %g", got, want)
				}
			}
		}
	}
}

// finest checks the scale against its definition.
func finest(t *testing.T, v []float64, h *histogram, limit int) {
	t.Helper()
	fits := func(shift uint8) bool {
		for _, sign := range []float64{1, -1} {
			low, high := int32(math.MaxInt32), int32(math.MinInt32)
			for _, x := range v {
				if x*sign > 0 {
					low, high = min(low, indexOf(x*sign)>>shift), max(high, indexOf(x*sign)>>shift)
				}
			}
			if low <= high && int(high-low) >= bucketsAt(shift, limit) {
				return false
			}
		}
		return true
	}
	if !fits(h.shift) || h.shift > 0 && fits(h.shift-1) || h.shift > maxShift {
		t.Fatalf("scale %d is not the finest for %d buckets", maxScale-int(h.shift), limit)
	}
}
