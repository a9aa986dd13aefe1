// Command edge prints what the extension does with a function's lines, from the
// Telemetry API to a folder and to a real S3 server: lost and doubled lines,
// stored bytes and CPU per 1,000 lines, peak memory, throughput, and the time
// that it adds after the runtime is done.
package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"

	"slipstream/bench/figure"
	"slipstream/bench/pipeline"
	"slipstream/demo/objects"
)

const runs = 3

func main() { figure.Main("edge", measure) }

func measure(ctx context.Context) ([]figure.Figure, error) {
	scratch, err := os.MkdirTemp("", "slipstream-bench-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(scratch) }()
	programs, err := pipeline.Build(ctx, scratch)
	if err != nil {
		return nil, err
	}
	var figures []figure.Figure
	for _, scenario := range pipeline.Scenarios() {
		for _, kind := range []string{"file", "s3"} {
			var results []pipeline.Result
			for run := range runs {
				r, err := one(ctx, scenario, programs, kind, filepath.Join(scratch, fmt.Sprint(scenario.Name, kind, run)))
				if err != nil {
					return nil, fmt.Errorf("%s to %s: %w", scenario.Name, kind, err)
				}
				results = append(results, r)
			}
			figures = append(figures, pipeline.Figures(scenario, kind, results)...)
		}
	}
	return figures, nil
}

// one plays a scenario once, to a place of its own.
func one(ctx context.Context, s pipeline.Scenario, p pipeline.Programs, kind, folder string) (pipeline.Result, error) {
	if err := os.Mkdir(folder, 0o755); err != nil {
		return pipeline.Result{}, err
	}
	if kind == "file" {
		return pipeline.Run(ctx, s, p, objects.Folder(folder), map[string]string{})
	}
	bucket, err := objects.FindBucket(ctx, folder, "bench/"+filepath.Base(folder))
	if err != nil {
		return pipeline.Result{}, err
	}
	if bucket == nil {
		return pipeline.Result{}, errors.New("no S3 server at hand: set AWS_ENDPOINT_URL_S3 or run make tools")
	}
	defer bucket.Stop()
	return pipeline.Run(ctx, s, p, bucket, maps.Clone(bucket.Variables()))
}
