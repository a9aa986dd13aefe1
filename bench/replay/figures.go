package replay

import (
	"time"

	"slipstream/bench/figure"
)

// Figures makes the figures of some runs to a folder. A megabyte is a million
// bytes of the lines' own text, without what the APIs put around it.
func Figures(p Posts, runs []Result) []figure.Figure {
	of := func(name, unit string, value func(Result) float64) figure.Figure {
		values := make([]float64, len(runs))
		for i, r := range runs {
			values[i] = value(r)
		}
		return figure.Of("replay/file/"+name, unit, values)
	}
	megabytes := float64(p.TextBytes) / 1e6
	return []figure.Figure{
		of("throughput", "MB/s", func(r Result) float64 { return megabytes / r.Elapsed.Seconds() }),
		of("throughput_per_cpu", "MB/s", func(r Result) float64 { return megabytes / r.CPU.Seconds() }),
		of("cpu_per_1000_lines", "ms", func(r Result) float64 {
			return float64(r.CPU) / float64(time.Millisecond) / float64(p.Lines) * 1000
		}),
		of("peak_memory", "MiB", func(r Result) float64 { return float64(r.PeakMemory) / (1 << 20) }),
		of("posts_refused", "posts", func(r Result) float64 { return float64(r.Refused) }),
	}
}
