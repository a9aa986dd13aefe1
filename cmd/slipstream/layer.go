package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"

	"slipstream/deploy/layer"
)

// runLayer packs the extension for Lambda.
func runLayer(ctx context.Context, args []string, stdout, _ io.Writer) error {
	flags := flag.NewFlagSet("layer", flag.ContinueOnError)
	output := flags.String("output", "slipstream-layer.zip", "the zip `file` to write")
	arch := flags.String("arch", runtime.GOARCH, "the function's architecture: amd64 or arm64")
	if err := parse(flags, "layer [--output FILE] [--arch ARCH]", args, stdout); err != nil {
		return err
	}
	if *arch != "amd64" && *arch != "arm64" {
		return usageError{fmt.Errorf("--arch %s: use amd64 or arm64", *arch)}
	}
	path, err := extensionFor(ctx, *arch)
	if err != nil {
		return err
	}
	var zip bytes.Buffer
	if err := layer.Write(&zip, path); err != nil {
		return err
	}
	if err := os.WriteFile(*output, zip.Bytes(), 0o644); err != nil {
		return fmt.Errorf("write the layer: %w", err)
	}
	_, err = fmt.Fprintf(stdout, "%s: %.2f MB, extensions/%s for %s\n", *output, float64(zip.Len())/1e6, layer.Name, *arch)
	return err
}

// extensionFor gives the extension of an architecture: the file beside the
// command is of this machine's.
func extensionFor(ctx context.Context, arch string) (string, error) {
	if arch == runtime.GOARCH {
		return layer.Extension(ctx)
	}
	return layer.Program(ctx, "./cmd/slipstream-extension", arch)
}
