package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"slipstream/bench/figure"
	"slipstream/bench/pipeline"
	"slipstream/bench/replay"
)

const (
	// pairs of runs, one with the policy and one without.
	pairs = 15
	// replayed lines are 40 MB: long enough that the start does not count.
	replayed = 200_000
)

// policy plays the same posts to the extension with the default policy and without
// one, in turn, so that whatever else the machine does meets both. The ratio is
// that of the two runs of a pair.
func policy(ctx context.Context, programs pipeline.Programs, scratch string) ([]figure.Figure, error) {
	posts, err := replay.Prepare(replayed)
	if err != nil {
		return nil, err
	}
	run := func(settings ...string) (float64, error) {
		to := filepath.Join(scratch, "replayed")
		defer func() { _ = os.RemoveAll(to) }()
		r, err := replay.Run(ctx, programs.Extension, append(settings, "SLIPSTREAM_DESTINATIONS=file://"+to), posts)
		if err != nil {
			return 0, fmt.Errorf("replay with %v: %w", settings, err)
		}
		return float64(r.CPU) / float64(time.Millisecond) / (replayed / 1000), nil
	}
	var ratios, with, without []float64
	for range pairs {
		bare, err := run("SLIPSTREAM_REDACT=off", "SLIPSTREAM_PARSE=false")
		if err != nil {
			return nil, err
		}
		usual, err := run()
		if err != nil {
			return nil, err
		}
		ratios, with, without = append(ratios, usual/bare), append(with, usual), append(without, bare)
	}
	return []figure.Figure{figure.Of("policy/cpu_ratio", "x", ratios),
		figure.Of("policy/with/cpu_per_1000_lines", "ms", with),
		figure.Of("policy/without/cpu_per_1000_lines", "ms", without)}, nil
}
