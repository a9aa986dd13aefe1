// Command edge prints what the extension does with a function's lines: under
// the emulator, to a folder and to a real S3 server, the lost and doubled lines,
// stored bytes and CPU per 1,000 lines, peak memory, throughput, and the time
// that it adds after the runtime is done; and alone, how much of the Telemetry
// API's posts it can take.
package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"slipstream/bench/figure"
	"slipstream/bench/pipeline"
	"slipstream/bench/replay"
	"slipstream/demo/objects"
)

// runs is how often each scenario is played.
const runs = 5

// replayLines are 100 MB of text: long enough that its start does not count.
const replayLines = 500_000

func main() { pipeline.Main("edge", measure) }

func measure(ctx context.Context, programs pipeline.Programs, scratch string) ([]figure.Figure, error) {
	var figures []figure.Figure
	for _, scenario := range pipeline.Scenarios() {
		more, err := scenarioFigures(ctx, scenario, programs, scratch)
		if err != nil {
			return nil, err
		}
		figures = append(figures, more...)
	}
	more, err := replayFigures(ctx, programs, scratch)
	return append(figures, more...), err
}

// scenarioFigures plays one scenario at each place in turn, so that whatever
// else the machine does meets all of them.
func scenarioFigures(ctx context.Context, s pipeline.Scenario, p pipeline.Programs, scratch string) (
	[]figure.Figure, error) {
	places := []string{"file", "s3"}
	if s.Invocations > 1 {
		places = append(places, "empty")
	}
	results := map[string][]pipeline.Result{}
	for run := range runs {
		for _, place := range places {
			r, err := one(ctx, s, p, place, filepath.Join(scratch, fmt.Sprint(s.Name, place, run)))
			if err != nil {
				return nil, fmt.Errorf("%s, %s: %w", s.Name, place, err)
			}
			results[place] = append(results[place], r)
		}
	}
	figures := slices.Concat(pipeline.Figures(s, "file", results["file"]), pipeline.Figures(s, "s3", results["s3"]))
	if empty := results["empty"]; empty != nil {
		figures = append(figures, pipeline.Costs(s, "empty", empty)...)
	}
	return figures, nil
}

// one plays a scenario once, to a place of its own.
func one(ctx context.Context, s pipeline.Scenario, p pipeline.Programs, place, folder string) (pipeline.Result, error) {
	if err := os.Mkdir(folder, 0o755); err != nil {
		return pipeline.Result{}, err
	}
	switch place {
	case "file":
		return pipeline.Run(ctx, s, p, objects.Folder(folder), map[string]string{})
	case "empty":
		return pipeline.RunEmpty(ctx, s, p)
	}
	bucket, err := pipeline.Bucket(ctx, folder, "bench/"+filepath.Base(folder))
	if err != nil {
		return pipeline.Result{}, err
	}
	defer bucket.Stop()
	return pipeline.Run(ctx, s, p, bucket, maps.Clone(bucket.Variables()))
}

// replayFigures plays the posts to the extension alone, each time to a folder
// of its own.
func replayFigures(ctx context.Context, p pipeline.Programs, scratch string) ([]figure.Figure, error) {
	posts, err := replay.Prepare(replayLines)
	if err != nil {
		return nil, err
	}
	var results []replay.Result
	for run := range runs {
		to := filepath.Join(scratch, fmt.Sprint("replay", run))
		r, err := replay.Run(ctx, p.Extension, []string{"SLIPSTREAM_DESTINATIONS=file://" + to}, posts)
		if err != nil {
			return nil, fmt.Errorf("replay: %w", err)
		}
		results = append(results, r)
	}
	return replay.Figures(posts, results), nil
}
