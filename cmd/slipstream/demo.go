package main

import (
	"context"
	"flag"
	"io"
	"os"

	"slipstream/demo"
)

// onceOrders is enough for a summary and short enough for a first minute.
const onceOrders = 200

// runDemo shows the product's first minute.
func runDemo(ctx context.Context, args []string, stdout, _ io.Writer) error {
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	once := flags.Bool("once", false, "end by itself; the exit code is 0 only if nothing was lost or duplicated")
	orders := flags.Int("orders", 0, "place `N` orders and end (default with --once 200, else until Ctrl-C)")
	output := flags.String("output", "", "keep the delivered files in the folder `DIR`")
	if err := parse(flags, "demo [--once] [--orders N] [--output DIR]", args, stdout); err != nil {
		return err
	}
	if *once && *orders == 0 {
		*orders = onceOrders
	}
	scratch, err := os.MkdirTemp("", "slipstream-extension-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(scratch) }()
	extension, err := ownExtension(ctx, scratch)
	if err != nil {
		return err
	}
	live := isTerminal(stdout)
	return demo.Run(ctx, demo.Config{
		Orders: *orders, Extension: extension, Output: *output, Out: stdout,
		Live: live, Color: live && os.Getenv("NO_COLOR") == "",
	})
}

// isTerminal tells whether w is a screen that a line can be redrawn on.
func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
