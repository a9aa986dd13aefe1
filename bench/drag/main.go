// Command drag prints what the extension costs a function beside an empty one,
// and what it loses: with a healthy destination that takes its time, with one
// that hangs, refuses or fails, and at a small function's share of the CPU.
package main

import (
	"context"
	"fmt"

	"slipstream/bench/figure"
	"slipstream/bench/pipeline"
	"slipstream/bench/trial"
)

func main() { pipeline.Main("drag", measure) }

func measure(ctx context.Context, programs pipeline.Programs, scratch string) ([]figure.Figure, error) {
	var figures []figure.Figure
	for _, t := range trial.All() {
		more, err := t.Measure(ctx, programs, scratch)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", t.Name, err)
		}
		figures = append(figures, more...)
	}
	return figures, nil
}
