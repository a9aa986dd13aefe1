package rollup

import (
	"math"
	"math/bits"
)

const (
	// maxScale is the finest that a histogram is: base 2^(1/256), an error of
	// 0.14 %. Prometheus's native histograms have no finer one either.
	maxScale = 8
	// maxShift is how many times two buckets become one at most: then a side has
	// two buckets at most, whatever the values.
	maxShift = maxScale + 12
)

// histogram is an exponential histogram as OpenTelemetry defines it. Its scale
// is the finest one at which both sides fit their limit, and a bucket of a
// coarser scale is always two of the finer one's: so it depends on the values
// only, not on their order nor on how they were grouped. The zero one is empty.
type histogram struct {
	count, zeros       uint64
	sum                sum
	min, max           float64
	shift              uint8 // maxScale - scale
	positive, negative buckets
}

// buckets are the counts of one side. The first and the last are never 0.
type buckets struct {
	low    int32    // index of the first
	narrow []uint16 // until one of them has more than 65,535
	wide   []uint64
}

// indexOf gives the bucket of a positive number at maxScale: the i for which it
// is above 2^(i/256) and not above 2^((i+1)/256).
func indexOf(v float64) int32 {
	b := math.Float64bits(v)
	exponent, fraction := int32(b>>52)-1023, b&(1<<52-1)
	if exponent == -1023 { // subnormal
		zeros := int32(bits.LeadingZeros64(fraction)) - 11
		exponent, fraction = -1022-zeros, fraction<<zeros&(1<<52-1)
	}
	// The logarithm of 1+x is x at both ends and 22 of 256 buckets above it at
	// most in between: the parabola below is less than two off.
	x := int32(fraction >> 44)
	at := x + x*(256-x)*22>>14
	for at < len32(bounds[:]) && bounds[at] < fraction {
		at++
	}
	for at > 0 && bounds[at-1] >= fraction {
		at--
	}
	return exponent<<maxScale + at - 1
}

func len32(b []uint64) int32 { return int32(len(b)) }

// insert adds a finite value n times and gives how many bytes it took for that.
func (h *histogram) insert(v float64, n uint64, limit int) (grew int) {
	h.note(v, v, n)
	h.sum.addTimes(v, n)
	if v == 0 {
		h.zeros = add(h.zeros, n)
		return 0
	}
	side := &h.positive
	if v < 0 {
		side, v = &h.negative, -v
	}
	at := indexOf(v)
	if i := at>>h.shift - side.low; uint(i) < uint(len(side.narrow)) {
		if c := uint64(side.narrow[i]) + n; c <= math.MaxUint16 {
			side.narrow[i] = uint16(c)
			return 0
		}
	}
	return h.insertSlow(side, at, n, limit)
}

func (h *histogram) insertSlow(side *buckets, at int32, n uint64, limit int) (grew int) {
	before := side.bytes()
	h.fit(side, at>>h.shift, at>>h.shift, limit)
	at >>= h.shift
	side.cover(at, at)
	side.add(at, n)
	return side.bytes() - before
}

// note takes the number of the values and their range.
func (h *histogram) note(least, most float64, n uint64) {
	if h.count == 0 {
		h.min, h.max = least, most
	}
	h.min, h.max = min(h.min, least), max(h.max, most)
	h.count = add(h.count, n)
}

// fit makes the histogram as coarse as a side needs that is to cover the
// buckets from low to high too.
func (h *histogram) fit(side *buckets, low, high int32, limit int) {
	if n := side.len(); n > 0 {
		low, high = min(low, side.low), max(high, side.low+int32(n)-1)
	}
	by := uint8(0)
	for int(high>>by-low>>by) >= bucketsAt(h.shift+by, limit) {
		by++
	}
	h.coarsen(by)
}

// bucketsAt is how many buckets a side may have: twice the limit before the error
// becomes greater than one of scale 5, 2.2 % wherever in its bucket a value is put.
func bucketsAt(shift uint8, limit int) int {
	if shift < maxScale-5 {
		return limit
	}
	return 2 * limit
}

// coarsen makes the base greater, by times.
func (h *histogram) coarsen(by uint8) {
	if by > 0 {
		h.shift += by
		h.positive.coarsen(by)
		h.negative.coarsen(by)
	}
}

// merge adds another histogram, which stays as it is.
func (h *histogram) merge(other *histogram, limit int) (grew int) {
	if other.count == 0 {
		return 0
	}
	before := h.bytes()
	h.note(other.min, other.max, other.count)
	h.sum.merge(other.sum)
	h.zeros = add(h.zeros, other.zeros)
	h.mergeSide(&h.positive, &other.positive, other.shift, limit)
	h.mergeSide(&h.negative, &other.negative, other.shift, limit)
	return h.bytes() - before
}

func (h *histogram) mergeSide(side, from *buckets, shift uint8, limit int) {
	if shift > h.shift {
		h.coarsen(shift - h.shift)
	}
	n := from.len()
	if n == 0 {
		return
	}
	low, high := from.low>>(h.shift-shift), (from.low+int32(n)-1)>>(h.shift-shift)
	h.fit(side, low, high, limit)
	by := h.shift - shift
	side.cover(from.low>>by, (from.low+int32(n)-1)>>by)
	for i := range n {
		if c := from.at(i); c > 0 {
			side.add((from.low+int32(i))>>by, c)
		}
	}
}

// bytes is the memory of both sides.
func (h *histogram) bytes() int { return h.positive.bytes() + h.negative.bytes() }

func (b *buckets) bytes() int { return 2*cap(b.narrow) + 8*cap(b.wide) }

func (b *buckets) len() int { return max(len(b.narrow), len(b.wide)) }

func (b *buckets) at(i int) uint64 {
	if b.wide != nil {
		return b.wide[i]
	}
	return uint64(b.narrow[i])
}

// cover makes place for the buckets from low to high, which the caller fills.
func (b *buckets) cover(low, high int32) {
	n := b.len()
	if n == 0 {
		b.low = low
	}
	low, high = min(low, b.low), max(high, b.low+int32(n)-1)
	before, want := int(b.low-low), int(high-low)+1
	if want == n {
		return
	}
	if b.wide != nil {
		b.wide = stretch(b.wide, before, want)
	} else {
		b.narrow = stretch(b.narrow, before, want)
	}
	b.low = low
}

// stretch gives counts with so many zeros before them, want in all.
func stretch[T uint16 | uint64](counts []T, before, want int) []T {
	n := len(counts)
	if want > cap(counts) {
		larger := make([]T, want, want+want/4+4)
		copy(larger[before:], counts)
		return larger
	}
	counts = counts[:want]
	copy(counts[before:], counts[:n])
	clear(counts[:before])
	clear(counts[before+n:])
	return counts
}

// add counts in a bucket that is covered.
func (b *buckets) add(at int32, n uint64) {
	i := at - b.low
	if b.wide == nil {
		if c := uint64(b.narrow[i]) + n; c >= n && c <= math.MaxUint16 {
			b.narrow[i] = uint16(c)
			return
		}
		b.widen()
	}
	b.wide[i] = add(b.wide[i], n)
}

func (b *buckets) widen() {
	b.wide = make([]uint64, len(b.narrow), cap(b.narrow))
	for i, c := range b.narrow {
		b.wide[i] = uint64(c)
	}
	b.narrow = nil
}

// coarsen makes each 2^by buckets one.
func (b *buckets) coarsen(by uint8) {
	n := b.len()
	if n == 0 {
		return
	}
	low := b.low >> by
	if b.wide == nil && !fold(b.narrow, b.low, by) {
		b.widen()
	}
	last := int((b.low+int32(n)-1)>>by - low)
	if b.wide != nil {
		fold(b.wide, b.low, by)
		b.wide = b.wide[:last+1]
	} else {
		b.narrow = b.narrow[:last+1]
	}
	b.low = low
}

// fold adds up the counts that become one. It is false, and nothing is changed,
// if a sum does not fit.
func fold[T uint16 | uint64](counts []T, from int32, by uint8) bool {
	low := from >> by
	if _, narrow := any(counts).([]uint16); narrow {
		total, at := uint64(0), low
		for i, c := range counts {
			if to := (from + int32(i)) >> by; to != at {
				total, at = 0, to
			}
			if total += uint64(c); total > math.MaxUint16 {
				return false
			}
		}
	}
	to := int32(-1)
	for i, c := range counts {
		next := (from+int32(i))>>by - low
		if next != to {
			to = next
			counts[to] = c
			continue
		}
		counts[to] = T(add(uint64(counts[to]), uint64(c)))
	}
	return true
}

// add is a sum that stays at its greatest value.
func add(a, b uint64) uint64 {
	if s := a + b; s >= a {
		return s
	}
	return math.MaxUint64
}

// sum adds up with twice float64's precision: what an addition loses is kept
// beside, so the order matters by less than 2^-100 of the sum of the absolute
// values, which the result's own rounding hides but where it falls on an edge.
type sum struct{ high, low float64 }

func (s *sum) add(v float64) {
	high := s.high + v
	back := high - s.high
	s.low += (s.high - (high - back)) + (v - back)
	s.high = high
}

// addTimes adds n times v; the product is exact, too.
func (s *sum) addTimes(v float64, n uint64) {
	if n == 1 {
		s.add(v)
		return
	}
	times := float64(n)
	product := float64(v * times)
	s.add(product)
	s.low += math.FMA(v, times, -product)
}

func (s *sum) merge(other sum) {
	s.add(other.high)
	s.low += other.low
}

// value is the sum, as far as float64 goes.
func (s *sum) value() float64 {
	switch v := s.high + s.low; {
	case !math.IsInf(s.high, 0) && !math.IsNaN(v):
		return max(min(v, math.MaxFloat64), -math.MaxFloat64)
	default:
		return max(min(s.high, math.MaxFloat64), -math.MaxFloat64)
	}
}
