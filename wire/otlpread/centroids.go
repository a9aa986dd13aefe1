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
// themselves where they are known. Of each bucket one place within it stands for
// the other values, its middle or what the mean takes (see lean): so while there
// are no more than limit, each value is within its bucket's width of what it was,
// and the sum is the distribution's own but for rounding. Where the bounds are
// the values themselves, as wire.Points writes them, they come out unchanged.
// Too many become one with their neighbours, by weight, and are as far off as
// those are apart; the lowest and the highest stay.
func (p *Point) Centroids(dst []telemetry.Centroid, limit int) []telemetry.Centroid {
	start := len(dst)
	bands, total := p.extent()
	ends := p.HasMin && p.HasMax && p.Min <= p.Max && total > 1
	slope, all := p.lean(bands, ends)
	band := 0
	for b := range p.bands {
		band++
		if ends && band == 1 {
			dst = append(dst, telemetry.Centroid{Value: p.Min, Count: 1})
		}
		half := b.High/2 - b.Low/2
		value := b.Low + half + half*(slope*half+all)
		if all == 1 {
			value = b.High
		}
		dst = add(dst, start, min(max(value, b.Low), b.High), rest(&b, band, bands, ends))
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

// lean tells how far from the middle of each bucket its values stand, in halves
// of its width: slope for each unit of half its width, and all. What the mean is
// off is most likely of the widest, and least felt there, so those lean alone, in
// proportion to their width, until the widest one's values are at its end; if
// that is not enough, all lean further alike, until all are at their ends.
func (p *Point) lean(bands int, ends bool) (slope, all float64) {
	missing, reach, squares, widest, size, band := p.Sum, 0.0, 0.0, 0.0, 0.0, 0
	if ends {
		missing -= p.Min + p.Max
	}
	for b := range p.bands {
		band++
		if n, half := rest(&b, band, bands, ends), b.High/2-b.Low/2; n > 0 {
			missing -= n * (b.Low + half)
			reach, squares, widest = reach+n*half, squares+n*half*half, max(widest, half)
			size += n * max(math.Abs(b.Low), math.Abs(b.High))
		}
	}
	far, sign := math.Abs(missing), math.Copysign(1, missing)
	switch first := squares / widest; {
	case !p.HasSum || !(reach > 0) || math.IsNaN(missing):
		return 0, 0
	case !(far < reach-1e-13*size): // but for rounding; or a sum that no values in these buckets have
		return 0, sign
	case !(squares > 0 && squares < math.Inf(1)): // wider, or narrower, than floats have squares
		return 0, missing / reach
	case far <= first:
		return missing / squares, 0
	default:
		all = (far - first) / (reach - first)
		return sign * (1 - all) / widest, sign * all
	}
}

// merge makes at most limit of the centroids, and gives how many there are.
func merge(c []telemetry.Centroid, limit int) int {
	if len(c) <= limit {
		return len(c)
	}
	inner, groups := c[1:len(c)-1], limit-2
	for i := range groups {
		group := inner[i*len(inner)/groups : (i+1)*len(inner)/groups]
		one := group[0]
		for _, other := range group[1:] {
			count := one.Count + other.Count
			one.Value += (other.Value - one.Value) * (other.Count / count)
			one.Count = count
		}
		inner[i] = one
	}
	c[limit-1] = c[len(c)-1]
	return limit
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
