package trial

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"

	"slipstream/bench/figure"
	"slipstream/bench/pipeline"
	"slipstream/demo/objects"
	"slipstream/test/servers"
)

// Measure plays a trial with the empty extension and with ours in turn, so that
// whatever else the machine does meets both.
func (t Trial) Measure(ctx context.Context, p pipeline.Programs, scratch string) ([]figure.Figure, error) {
	var ours, empty []pipeline.Result
	for run := range t.Runs {
		s := t.Scenario
		if t.gap > 0 {
			s.Before = wait(t.gap)
		}
		r, err := pipeline.RunEmpty(ctx, s, p)
		if err != nil {
			return nil, fmt.Errorf("empty extension: %w", err)
		}
		empty = append(empty, r)
		if r, err = t.one(ctx, s, p, filepath.Join(scratch, fmt.Sprint(t.Name, run))); err != nil {
			return nil, err
		}
		ours = append(ours, r)
	}
	return t.figures(ours, empty), nil
}

// one plays the trial once with our extension, to a bucket of its own behind a
// proxy that makes the trial's trouble.
func (t Trial) one(ctx context.Context, s pipeline.Scenario, p pipeline.Programs, folder string) (
	r pipeline.Result, err error) {
	if err := os.Mkdir(folder, 0o755); err != nil {
		return r, err
	}
	bucket, err := pipeline.Bucket(ctx, folder, "bench/"+filepath.Base(folder))
	if err != nil {
		return r, err
	}
	defer bucket.Stop()
	variables := maps.Clone(bucket.Variables())
	proxy, err := servers.NewProxy(variables["AWS_ENDPOINT_URL_S3"])
	if err != nil {
		return r, err
	}
	defer proxy.Close()
	variables["AWS_ENDPOINT_URL_S3"] = proxy.Endpoint
	maps.Copy(variables, t.variables)
	if err := t.begin(proxy, &s); err != nil {
		return r, err
	}
	return pipeline.Run(ctx, s, p, behind{bucket, t}, variables)
}

// behind is the trial's bucket.
type behind struct {
	*objects.Bucket
	trial Trial
}

func (b behind) URL() string { return b.Bucket.URL() + b.trial.options }

// Each reads what has come through; where all hangs that is nothing, not even
// the bucket.
func (b behind) Each(ctx context.Context, do objects.Visit) error {
	if b.trial.trouble.Hang {
		return nil
	}
	return b.Bucket.Each(ctx, do)
}
