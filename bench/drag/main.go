// Command drag prints what the extension costs a function beside an empty one,
// and what it loses: with a healthy destination that takes its time, with one
// that hangs, refuses or fails, and at a small function's share of the CPU.
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
	"slipstream/test/servers"
)

func main() { figure.Main("drag", measure) }

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
	for _, t := range trials() {
		more, err := t.measure(ctx, programs, scratch)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", t.Name, err)
		}
		figures = append(figures, more...)
	}
	return figures, nil
}

// measure plays a trial with the empty extension and with ours in turn, so that
// whatever else the machine does meets both.
func (t trial) measure(ctx context.Context, p pipeline.Programs, scratch string) ([]figure.Figure, error) {
	var ours, empty []pipeline.Result
	for run := range t.runs {
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
func (t trial) one(ctx context.Context, s pipeline.Scenario, p pipeline.Programs, folder string) (
	r pipeline.Result, err error) {
	if err := os.Mkdir(folder, 0o755); err != nil {
		return r, err
	}
	bucket, err := objects.FindBucket(ctx, folder, "bench/"+filepath.Base(folder))
	if err != nil {
		return r, err
	}
	if bucket == nil {
		return r, errors.New("no S3 server at hand: set AWS_ENDPOINT_URL_S3 or run make tools")
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
	trial trial
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
