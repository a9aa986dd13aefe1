// Command start prints what the extension adds to a cold start: the time from
// exec to its first next beside that of an empty Go extension, and the sizes of
// what Lambda has to load.
package main

import (
	"bytes"
	"context"
	"os"
	"runtime"

	"slipstream/bench/figure"
	"slipstream/bench/startup"
	"slipstream/deploy/layer"
)

const rounds = 60

func main() { figure.Main("start", measure) }

func measure(ctx context.Context) ([]figure.Figure, error) {
	ours, err := layer.Program(ctx, "./cmd/slipstream-extension", runtime.GOARCH)
	if err != nil {
		return nil, err
	}
	empty, err := layer.Program(ctx, "./bench/emptyextension", runtime.GOARCH)
	if err != nil {
		return nil, err
	}
	starts, err := startup.Compare(ctx, rounds, startup.Environment(),
		startup.Program{Path: ours}, startup.Program{Path: empty})
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(ours)
	if err != nil {
		return nil, err
	}
	var zip bytes.Buffer
	if err := layer.Write(&zip, ours); err != nil {
		return nil, err
	}
	return append(startup.Figures(starts[0], starts[1]),
		figure.Of("binary_size", "MB", []float64{float64(info.Size()) / 1e6}),
		figure.Of("layer_size", "MB", []float64{float64(zip.Len()) / 1e6}),
	), nil
}
