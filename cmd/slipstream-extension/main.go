// Command slipstream-extension is the binary of the Lambda layer: it reads the
// configuration from the environment and runs the edge.
package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"syscall"

	"slipstream/edge"
)

func main() {
	// The function's memory is shared with us: collect early, so that garbage
	// is never a multiple of what is held.
	debug.SetGCPercent(50)
	config, errs := edge.Load(os.Getenv)
	config.Name = filepath.Base(os.Args[0]) // what the platform calls us
	options := &slog.HandlerOptions{Level: config.LogLevel}
	var handler slog.Handler = slog.NewTextHandler(os.Stderr, options)
	if os.Getenv("AWS_LAMBDA_LOG_FORMAT") == "JSON" {
		handler = slog.NewJSONHandler(os.Stderr, options)
	}
	slog.SetDefault(slog.New(handler).With("extension", config.Name))
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := edge.Run(ctx, config, errs); err != nil {
		slog.Error("extension ends", "error", err)
		os.Exit(1)
	}
}
