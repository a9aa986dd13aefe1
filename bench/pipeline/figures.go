package pipeline

import (
	"fmt"
	"time"

	"slipstream/bench/figure"
)

// Figures makes the figures of some runs of one scenario at one place.
func Figures(s Scenario, place string, runs []Result) []figure.Figure {
	thousands := float64(s.Invocations*s.Lines) / 1000
	of := func(name, unit string, value func(Result) float64) figure.Figure {
		values := make([]float64, len(runs))
		for i, r := range runs {
			values[i] = value(r)
		}
		return figure.Of(fmt.Sprintf("%s/%s/%s", s.Name, place, name), unit, values)
	}
	var added []float64
	for _, r := range runs {
		for _, d := range r.Added {
			added = append(added, milliseconds(d))
		}
	}
	lost := of("lines_lost", "lines", func(r Result) float64 { return float64(r.Lost) })
	doubled := of("lines_doubled", "lines", func(r Result) float64 { return float64(r.Doubled) })
	// No median for these: one bad run is a bug.
	lost.Value, doubled.Value = lost.Max, doubled.Max
	memory := of("peak_memory", "MiB", func(r Result) float64 { return float64(r.PeakMemory) / (1 << 20) })
	figures := []figure.Figure{lost, doubled,
		of("bytes_per_1000_lines", "kB", func(r Result) float64 { return float64(r.ObjectBytes) / 1000 / thousands }),
		of("cpu_per_1000_lines", "ms", func(r Result) float64 { return milliseconds(r.CPU) / thousands }),
		memory,
	}
	if s.Invocations > 1 {
		return append(figures,
			figure.Quantile(fmt.Sprintf("%s/%s/added_p50", s.Name, place), "ms", 0.5, added),
			figure.Quantile(fmt.Sprintf("%s/%s/added_p99", s.Name, place), "ms", 0.99, added))
	}
	return append(figures, of("throughput", "MB/s", func(r Result) float64 {
		return float64(r.LogBytes) / 1e6 / r.Elapsed.Seconds()
	}))
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
