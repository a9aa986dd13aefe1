package pipeline

import (
	"time"

	"slipstream/bench/figure"
)

// Figures makes the figures of some runs of one scenario at one place. A
// megabyte is a million bytes of the lines' own text; CPU is that of the
// extension's whole life, its start included.
func Figures(s Scenario, place string, runs []Result) []figure.Figure {
	of := column(s, place, runs)
	figures := append(Losses(s, place, runs), Costs(s, place, runs)...)
	figures = append(figures, of("bytes_per_1000_lines", "kB", func(r Result) float64 {
		return float64(r.ObjectBytes) / 1000 / s.thousands()
	}))
	if s.Invocations > 1 {
		return figures
	}
	return append(figures,
		of("elapsed", "ms", func(r Result) float64 { return milliseconds(r.Elapsed) }),
		of("throughput", "MB/s", func(r Result) float64 { return float64(r.TextBytes) / 1e6 / r.Elapsed.Seconds() }))
}

// Costs makes the figures that any extension has, also the empty one. The time
// added is what the platform bills as the extension's: from the runtime's next
// to the extension's, for each invocation; its runs are all invocations.
func Costs(s Scenario, place string, runs []Result) []figure.Figure {
	of := column(s, place, runs)
	figures := []figure.Figure{
		of("cpu_per_1000_lines", "ms", func(r Result) float64 { return milliseconds(r.CPU) / s.thousands() }),
		of("peak_memory", "MiB", func(r Result) float64 { return float64(r.PeakMemory) / (1 << 20) }),
	}
	if s.Invocations == 1 {
		return figures
	}
	return append(figures, Added(s, place, runs)...)
}

// Added makes the figures of the time added alone.
func Added(s Scenario, place string, runs []Result) []figure.Figure {
	var added []float64
	for _, r := range runs {
		for _, report := range r.Reports {
			added = append(added, milliseconds(report.ExtensionOverhead))
		}
	}
	name := s.Name + "/" + place + "/added_p"
	return []figure.Figure{figure.Quantile(name+"50", "ms", 0.5, added), figure.Quantile(name+"99", "ms", 0.99, added)}
}

// Losses makes the figures that must be nothing. They are no medians: one bad
// run is a bug.
func Losses(s Scenario, place string, runs []Result) []figure.Figure {
	of := column(s, place, runs)
	lost := of("lines_lost", "lines", func(r Result) float64 { return float64(r.Lost) })
	doubled := of("lines_doubled", "lines", func(r Result) float64 { return float64(r.Doubled) })
	lost.Value, doubled.Value = lost.Max, doubled.Max
	return []figure.Figure{lost, doubled}
}

// column makes a figure of one value of each run.
func column(s Scenario, place string, runs []Result) func(string, string, func(Result) float64) figure.Figure {
	return func(name, unit string, value func(Result) float64) figure.Figure {
		values := make([]float64, len(runs))
		for i, r := range runs {
			values[i] = value(r)
		}
		return figure.Of(s.Name+"/"+place+"/"+name, unit, values)
	}
}

func (s Scenario) thousands() float64 { return float64(s.Invocations*s.Lines) / 1000 }

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
