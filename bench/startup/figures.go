package startup

import (
	"time"

	"slipstream/bench/figure"
)

// Environment is what Lambda gives an extension before it starts, with an S3
// destination: nobody is there, because nothing may be asked before next.
func Environment() []string {
	return []string{
		"AWS_LAMBDA_FUNCTION_NAME=bench", "AWS_LAMBDA_FUNCTION_VERSION=$LATEST",
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE=1769", "AWS_REGION=eu-west-1", "AWS_DEFAULT_REGION=eu-west-1", "TZ=:UTC",
		"AWS_ACCESS_KEY_ID=bench", "AWS_SECRET_ACCESS_KEY=bench", "AWS_ENDPOINT_URL_S3=http://127.0.0.1:9",
		"SLIPSTREAM_DESTINATIONS=s3://bench/logs",
	}
}

// Figures makes the figures of our starts beside those of the empty extension.
// The ratio is that of the medians; its range is that of the single rounds.
func Figures(ours, empty []Start) []figure.Figure {
	ratios := make([]float64, len(ours))
	for i := range ours {
		ratios[i] = float64(ours[i].ToNext) / float64(empty[i].ToNext)
	}
	ratio := figure.Of("start_ratio", "x", ratios)
	start := figure.Of("start", "ms", column(ours, toNext))
	emptyStart := figure.Of("start_empty", "ms", column(empty, toNext))
	ratio.Value = start.Value / emptyStart.Value
	return []figure.Figure{ratio, start, emptyStart,
		figure.Of("start_cpu", "ms", column(ours, cpu)), figure.Of("start_cpu_empty", "ms", column(empty, cpu)),
		figure.Of("start_memory", "MiB", column(ours, peak)), figure.Of("start_memory_empty", "MiB", column(empty, peak)),
	}
}

// Difference is what one program takes more than another one, time by the
// medians, with the range of the single rounds.
func Difference(name string, more, less []Start) []figure.Figure {
	figures := make([]figure.Figure, 0, 2)
	for _, f := range []struct {
		name, unit string
		of         func(Start) float64
	}{{"start_more", "ms", toNext}, {"memory_more", "MiB", peak}} {
		one, other := column(more, f.of), column(less, f.of)
		pairs := make([]float64, len(one))
		for i := range one {
			pairs[i] = one[i] - other[i]
		}
		difference := figure.Of(name+"/"+f.name, f.unit, pairs)
		difference.Value = figure.Of("", "", one).Value - figure.Of("", "", other).Value
		figures = append(figures, difference)
	}
	return figures
}

func column(starts []Start, of func(Start) float64) []float64 {
	values := make([]float64, len(starts))
	for i, s := range starts {
		values[i] = of(s)
	}
	return values
}

func toNext(s Start) float64 { return float64(s.ToNext) / float64(time.Millisecond) }
func cpu(s Start) float64    { return float64(s.CPU) / float64(time.Millisecond) }
func peak(s Start) float64   { return float64(s.MaxRSS) / (1 << 20) }
