// Command intake prints what the local listeners cost while nobody uses them, at
// start-up and in memory, and how much they take with one core's time: the whole
// extension, from the socket to a backend that answers at once.
package main

import (
	"context"
	"runtime"

	"slipstream/bench/figure"
	"slipstream/bench/ingest"
	"slipstream/bench/startup"
	"slipstream/deploy/layer"
)

const rounds = 40

func main() { figure.Main("intake", measure) }

func measure(ctx context.Context) ([]figure.Figure, error) {
	program, err := layer.Program(ctx, "./cmd/slipstream-extension", runtime.GOARCH)
	if err != nil {
		return nil, err
	}
	figures, err := idle(ctx, program)
	if err != nil {
		return nil, err
	}
	more, err := ingest.Measure(ctx, program)
	return append(figures, more...), err
}

// idle compares starts without, with the usual, and with all listeners.
func idle(ctx context.Context, program string) ([]figure.Figure, error) {
	listen := func(what string) startup.Program {
		return startup.Program{Path: program, Env: []string{"SLIPSTREAM_LISTEN=" + what}}
	}
	starts, err := startup.Compare(ctx, rounds, startup.Environment(), listen("none"), listen("otlp,handoff"),
		listen("all"))
	if err != nil {
		return nil, err
	}
	var figures []figure.Figure
	for i, name := range []string{"usual", "all"} {
		figures = append(figures, startup.Difference(name, starts[i+1], starts[0])...)
	}
	return figures, nil
}
