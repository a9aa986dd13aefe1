// Command drill ends the extension's and the function's processes two hundred
// times at random moments, by kill -9, exit, timeout and a lack of memory, and prints
// what became of the lines that the extension had taken.
package main

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"

	"slipstream/bench/ending"
	"slipstream/bench/figure"
	"slipstream/bench/pipeline"
)

// environments and ends make two hundred.
const environments = 8

var (
	seed = flag.Uint64("seed", 0, "of the moments; 0 takes one by chance, which is printed")
	ends = flag.Int("ends", 25, "of the processes, in each of 8 environments")
)

func main() { pipeline.Main("drill", measure) }

func measure(ctx context.Context, programs pipeline.Programs, scratch string) ([]figure.Figure, error) {
	bucket, err := pipeline.Bucket(ctx, scratch, "drill")
	if err != nil {
		return nil, err
	}
	defer bucket.Stop()
	for *seed == 0 {
		*seed = rand.Uint64()
	}
	fmt.Fprintf(os.Stderr, "bench/drill: seed %d\n", *seed)
	o, err := ending.Run(ctx, ending.Plan{Seed: *seed, Environments: environments, Ends: *ends}, programs, bucket)
	if err != nil {
		return nil, err
	}
	for _, text := range slices.Concat(o.Notices, o.Details) {
		fmt.Fprintln(os.Stderr, text)
	}
	return figures(o), nil
}

func figures(o ending.Outcome) []figure.Figure {
	one := func(name, unit string, value int) figure.Figure {
		return figure.Of("drill/"+name, unit, []float64{float64(value)})
	}
	all := 0
	var kinds []figure.Figure
	for _, kind := range slices.Sorted(maps.Keys(o.Ends)) {
		all += o.Ends[kind]
		kinds = append(kinds, one(kind, "times", o.Ends[kind]))
	}
	return append([]figure.Figure{one("ends", "times", all), one("lines_taken", "lines", o.Taken),
		one("lines_lost", "lines", o.Lost), one("lines_doubled", "lines", o.Doubled),
		one("lines_unasked", "lines", o.Unasked)}, kinds...)
}
