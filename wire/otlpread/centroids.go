package otlpread

import (
	"math"

	"slipstream/telemetry"
)

// Bucket is one of a histogram's: how many values lie above Low, up to High. The
// ends may be infinite; those below zero include Low and not High.
type Bucket struct {
	Low, High float64
	Count     uint64
}

// Centroids appends a distribution as values with counts, in rising order, at
// most limit (at least 4) of them, to dst. The least and the greatest value are
// themselves where they are known. Of each bucket its middle stands for the other
// values, moved so that the mean is the distribution's own but for rounding: the
// wider a bucket, the more, since there the middle knows least. Where the bounds
// are the values themselves, as wire.Points writes them, they come out unchanged.
// Too many buckets become one with their neighbour, by weight; the lowest and the
// highest stay.
func (p *Point) Centroids(dst []telemetry.Centroid, limit int) []telemetry.Centroid {
	start := len(dst)
	bands, total := p.extent()
	ends := p.HasMin && p.HasMax && p.Min <= p.Max && total > 1
	uniform, slope := p.shift(bands, ends)
	band := 0
	for b := range p.bands {
		band++
		if ends && band == 1 {
			dst = append(dst, telemetry.Centroid{Value: p.Min, Count: 1})
		}
		value, width := b.High, b.High-b.Low
		if slope != 0 {
			uniform = min(max(0.5+slope*width, 0), 1)
		}
		if uniform < 1 {
			value = b.Low + uniform*width
		}
		dst = add(dst, start, value, rest(&b, band, bands, ends))
	}
	if ends {
		dst = add(dst, start, p.Max, 1)
	}
	if total == 0 && p.Count > 0 && p.HasSum { // no buckets, which OTLP allows
		dst = append(dst, telemetry.Centroid{Value: p.Sum / float64(p.Count), Count: float64(p.Count)})
	}
	return dst[:start+merge(dst[start:], max(limit, 4))]
}

// rest is how many values of a bucket are neither the least nor the greatest.
func rest(b *Bucket, band, bands int, ends bool) float64 {
	count := float64(b.Count)
	if ends && band == 1 {
		count--
	}
	if ends && band == bands {
		count--
	}
	return count
}

// add appends a value, or adds to the last one if that is the same.
func add(dst []telemetry.Centroid, start int, value, count float64) []telemetry.Centroid {
	switch last := len(dst) - 1; {
	case count <= 0:
	case last >= start && dst[last].Value == value:
		dst[last].Count += count
	default:
		dst = append(dst, telemetry.Centroid{Value: value, Count: count})
	}
	return dst
}

// extent counts the buckets that are not empty, and the values in them.
func (p *Point) extent() (bands int, total uint64) {
	for b := range p.bands {
		bands++
		total += b.Count
	}
	return bands, total
}

// maxPasses is how often shift looks again for buckets whose values cannot move on.
const maxPasses = 8

// shift tells where in each bucket its values stand, for the mean to be right: at
// 0.5 and slope for each unit of the bucket's width, but not outside it; or, where
// slope is 0, all at the same fraction.
func (p *Point) shift(bands int, ends bool) (uniform, slope float64) {
	low, weight, band := 0.0, 0.0, 0 // sums of lower ends, and of widths
	for b := range p.bands {
		band++
		n := rest(&b, band, bands, ends)
		low, weight = low+b.Low*n, weight+(b.High-b.Low)*n
	}
	if !p.HasSum || !(weight > 0) {
		return 0.5, 0
	}
	sum := p.Sum
	if ends {
		sum -= p.Min + p.Max
	}
	uniform = (sum - low) / weight
	switch { // a sum that no values in these buckets have is somebody's mistake
	case !(uniform > 0):
		return 0, 0
	case uniform >= 1:
		return 1, 0
	}
	missing := (uniform - 0.5) * weight
	for range maxPasses {
		moved, squares, band := 0.0, 0.0, 0
		for b := range p.bands {
			band++
			n, width := rest(&b, band, bands, ends), b.High-b.Low
			if math.Abs(slope)*width >= 0.5 {
				moved += math.Copysign(n*width/2, missing)
			} else {
				squares += n * width * width
			}
		}
		if squares == 0 {
			break
		}
		next := (missing - moved) / squares
		if next == slope {
			return uniform, slope
		}
		slope = next
	}
	return uniform, 0
}

// merge makes at most limit of the centroids, and gives how many there are.
func merge(c []telemetry.Centroid, limit int) int {
	for len(c) > limit {
		to := 1
		for from := 1; from < len(c)-1; from += 2 {
			one := c[from]
			if from+1 < len(c)-1 {
				other := c[from+1]
				count := one.Count + other.Count
				one = telemetry.Centroid{Value: (one.Value*one.Count + other.Value*other.Count) / count, Count: count}
			}
			c[to] = one
			to++
		}
		c[to] = c[len(c)-1]
		c = c[:to+1]
	}
	return len(c)
}

// bands gives the buckets that are not empty, from the lowest on, with what min
// and max know of their ends.
func (p *Point) bands(yield func(Bucket) bool) {
	for b := range p.Buckets {
		if b.Count == 0 {
			continue
		}
		if p.HasMin && !math.IsNaN(p.Min) {
			b.Low, b.High = max(b.Low, p.Min), max(b.High, p.Min)
		}
		if p.HasMax && !math.IsNaN(p.Max) {
			b.Low, b.High = min(b.Low, p.Max), min(b.High, p.Max)
		}
		// An end that is not known is the other one.
		switch {
		case math.IsInf(b.Low, -1) && math.IsInf(b.High, 1):
			b.Low, b.High = 0, 0
		case math.IsInf(b.Low, -1):
			b.Low = min(b.High, 0)
		case math.IsInf(b.High, 1):
			b.High = b.Low
		}
		if !yield(b) {
			return
		}
	}
}

// Buckets gives the buckets of either histogram, from the lowest on: it is to be
// ranged over.
func (p *Point) Buckets(yield func(Bucket) bool) {
	if p.Kind == Exponential {
		p.exponentials(yield)
		return
	}
	low := math.Inf(-1)
	for i, count := range p.Counts {
		high := math.Inf(1)
		if i < len(p.Bounds) {
			high = p.Bounds[i]
		}
		if !yield(Bucket{low, high, count}) {
			return
		}
		low = high
	}
}

func (p *Point) exponentials(yield func(Bucket) bool) {
	for i := len(p.Negative.Counts) - 1; i >= 0; i-- {
		index := int64(p.Negative.Offset) + int64(i)
		if !yield(Bucket{-bound(p.Scale, index+1), -bound(p.Scale, index), p.Negative.Counts[i]}) {
			return
		}
	}
	// The zero bucket's values are nearly that, whatever its breadth.
	if p.Zero > 0 && !yield(Bucket{0, 0, p.Zero}) {
		return
	}
	for i, count := range p.Positive.Counts {
		index := int64(p.Positive.Offset) + int64(i)
		if !yield(Bucket{bound(p.Scale, index), bound(p.Scale, index+1), count}) {
			return
		}
	}
}

// bound is base^index with base = 2^(2^-scale), within what a float64 holds.
func bound(scale int32, index int64) float64 {
	exponent := math.Ldexp(float64(index), -int(scale))
	switch {
	case exponent >= 1024:
		return math.MaxFloat64
	case exponent < -1074:
		return 0
	}
	return math.Exp2(exponent)
}
