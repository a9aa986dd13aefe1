// Command slipstream is Slipstream on a laptop: it runs functions under a local
// Lambda with the real extension, shows the demo, and packs the layer. Each
// subcommand has a file.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
)

// Exit codes: what was asked for went wrong, or was not understood.
const (
	exitFailed = 1
	exitUsage  = 2
)

// command is a subcommand. Results go to stdout, everything else to stderr.
type command struct {
	name string
	doc  string // one line for the list
	run  func(ctx context.Context, args []string, stdout, stderr io.Writer) error
}

func commands() []command {
	return []command{
		{"demo", "three functions, load, faults, and every log line counted", runDemo},
		{"local", "run a function and its extensions as Lambda would", runLocal},
		{"tail", "show what an extension delivers: lines, or a table of metrics", runTail},
		{"doctor", "say what the settings amount to, and what is wrong with them", runDoctor},
		{"layer", "write the Lambda layer's zip", runLayer},
		{"version", "print the version", runVersion},
	}
}

// usageError is a mistake in the command line.
type usageError struct{ error }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := dispatch(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// dispatch runs the subcommand that args name and gives the exit code.
func dispatch(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	name := "help"
	if len(args) > 0 {
		name = args[0]
	}
	if name == "help" || name == "-h" || name == "--help" {
		printHelp(stdout)
		return 0
	}
	for _, c := range commands() {
		if c.name != name {
			continue
		}
		err := c.run(ctx, args[1:], stdout, stderr)
		var usage usageError
		switch {
		case err == nil || errors.Is(err, flag.ErrHelp):
			return 0
		case errors.As(err, &usage):
			fmt.Fprintf(stderr, "slipstream %s: %v (slipstream %s -h lists the flags)\n", name, err, name)
			return exitUsage
		}
		fmt.Fprintf(stderr, "slipstream %s: %v\n", name, err)
		return exitFailed
	}
	fmt.Fprintf(stderr, "slipstream: there is no command %q\n\n", name)
	printHelp(stderr)
	return exitUsage
}

func printHelp(w io.Writer) {
	text := "Slipstream: telemetry for AWS Lambda that rides behind the function.\n\nUsage: slipstream COMMAND [flags]\n\n"
	for _, c := range commands() {
		text += fmt.Sprintf("  %-8s %s\n", c.name, c.doc)
	}
	fmt.Fprint(w, text+"\nslipstream COMMAND -h lists a command's flags.\n")
}

// parse reads the flags of a subcommand; its usage starts with synopsis.
func parse(flags *flag.FlagSet, synopsis string, args []string, stdout io.Writer) error {
	flags.SetOutput(io.Discard) // dispatch prints the error, once
	err := flags.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprintf(stdout, "Usage: slipstream %s\n\n", synopsis)
		flags.SetOutput(stdout)
		flags.PrintDefaults()
		return err
	}
	if err != nil {
		return usageError{err}
	}
	return nil
}

func runVersion(_ context.Context, _ []string, stdout, _ io.Writer) error {
	version := "(devel)"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		version = strings.TrimPrefix(info.Main.Version, "v")
	}
	_, err := fmt.Fprintln(stdout, "slipstream", version)
	return err
}
