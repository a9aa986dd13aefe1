package main

import (
	"errors"
	"math"

	"slipstream/telemetry"
	"slipstream/wire/metrics"
)

// histogramOf reads the one histogram of an export.
func histogramOf(body []byte) (*metrics.Histogram, error) {
	var h *metrics.Histogram
	var s metrics.Splitter
	s.Split(nil, body, func(_ *telemetry.Point, found *metrics.Histogram) bool {
		if found != nil {
			dup := *found
			h = &dup
		}
		return true
	})
	if h == nil {
		return nil, errors.New("read the export: there is no histogram in it")
	}
	return h, nil
}

// quantile is the value of a rank, from 0 on, of a histogram of positive values:
// the one of its bucket that is off least at worst, within what there was.
func quantile(h *metrics.Histogram, rank int) float64 {
	base := math.Exp2(math.Exp2(-float64(h.Scale)))
	left := uint64(rank)
	for i, n := range h.Positive {
		if left < n {
			low := math.Pow(base, float64(h.PositiveLow)+float64(i))
			return max(min(2*low*base/(1+base), h.Max), h.Min)
		}
		left -= n
	}
	return h.Max
}
