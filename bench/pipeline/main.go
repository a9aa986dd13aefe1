package pipeline

import (
	"context"
	"errors"
	"os"

	"slipstream/bench/figure"
	"slipstream/demo/objects"
)

// Main is figure.Main for what is measured with the programs, and with a scratch
// folder that is gone afterwards.
func Main(program string, measure func(context.Context, Programs, string) ([]figure.Figure, error)) {
	figure.Main(program, func(ctx context.Context) ([]figure.Figure, error) {
		scratch, err := os.MkdirTemp("", "slipstream-bench-")
		if err != nil {
			return nil, err
		}
		defer func() { _ = os.RemoveAll(scratch) }()
		programs, err := Build(ctx, scratch)
		if err != nil {
			return nil, err
		}
		return measure(ctx, programs, scratch)
	})
}

// Bucket is objects.FindBucket where there is nothing to measure without one.
func Bucket(ctx context.Context, scratch, prefix string) (*objects.Bucket, error) {
	bucket, err := objects.FindBucket(ctx, scratch, prefix)
	if err == nil && bucket == nil {
		err = errors.New("no S3 server at hand: set AWS_ENDPOINT_URL_S3 or run make tools")
	}
	return bucket, err
}
