package tail

import (
	"cmp"
	"math"
	"slices"

	"slipstream/telemetry"
)

// perDoubling is how many buckets a sketch has from a value to its double: a
// percentile is off by at most 2.2 %.
const perDoubling = 16

// lowest and highest bound a sketch's buckets: 2^-40 to 2^56 in any unit.
const lowest, highest = -40 * perDoubling, 56 * perDoubling

// sketch is a distribution that any other can be added to.
type sketch struct {
	zeros              float64
	positive, negative map[int16]float64 // counts by bucket, of negative ones by size
}

func (s *sketch) add(list []telemetry.Centroid) {
	for _, c := range list {
		switch {
		case c.Value > 0:
			s.positive = put(s.positive, bucketOf(c.Value), c.Count)
		case c.Value < 0:
			s.negative = put(s.negative, bucketOf(-c.Value), c.Count)
		case c.Value == 0:
			s.zeros += c.Count
		}
	}
}

func (s *sketch) merge(o *sketch) {
	s.zeros += o.zeros
	for b, n := range o.positive {
		s.positive = put(s.positive, b, n)
	}
	for b, n := range o.negative {
		s.negative = put(s.negative, b, n)
	}
}

func put(m map[int16]float64, bucket int16, n float64) map[int16]float64 {
	if m == nil {
		m = map[int16]float64{}
	}
	m[bucket] += n
	return m
}

func bucketOf(size float64) int16 {
	return int16(math.Ceil(min(max(math.Log2(size)*perDoubling, lowest), highest)))
}

// quantiles gives a value for each q, which rise; NaN of an empty sketch.
func (s *sketch) quantiles(qs ...float64) []float64 {
	type part struct{ value, count float64 }
	parts := []part{{0, s.zeros}}
	total := s.zeros
	for sign, m := range map[float64]map[int16]float64{1: s.positive, -1: s.negative} {
		for b, n := range m {
			parts = append(parts, part{sign * math.Exp2((float64(b)-0.5)/perDoubling), n})
			total += n
		}
	}
	slices.SortFunc(parts, func(a, b part) int { return cmp.Compare(a.value, b.value) })
	var found []float64
	below, at := 0.0, 0
	for _, q := range qs {
		for at < len(parts)-1 && below+parts[at].count < q*total {
			below += parts[at].count
			at++
		}
		found = append(found, parts[at].value)
		if total == 0 {
			found[len(found)-1] = math.NaN()
		}
	}
	return found
}
