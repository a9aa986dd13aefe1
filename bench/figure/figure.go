// Package figure is how the programs of bench print what they measured: a line
// a figure, or JSON, and the goals that a figure must meet. Use Main in each.
package figure

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"time"
)

// Figure is one measured value: of n runs the median, unless its name says
// otherwise.
type Figure struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
	Runs  int     `json:"runs"`
	Min   float64 `json:"min"`
	Max   float64 `json:"max"`
}

// Report is a whole run, as --json prints it and bench/results.json keeps it.
type Report struct {
	Program string   `json:"program"`
	Date    string   `json:"date"`
	Machine string   `json:"machine"`
	Figures []Figure `json:"figures"`
}

// Of makes the figure of samples: their median, with the range.
func Of(name, unit string, samples []float64) Figure {
	return Quantile(name, unit, 0.5, samples)
}

// Quantile makes a figure of another quantile than the median, 0 to 1.
func Quantile(name, unit string, q float64, samples []float64) Figure {
	if len(samples) == 0 {
		return Figure{Name: name, Unit: unit, Value: math.NaN(), Min: math.NaN(), Max: math.NaN()}
	}
	sorted := slices.Sorted(slices.Values(samples))
	at := q * float64(len(sorted)-1)
	low, high := sorted[int(math.Floor(at))], sorted[int(math.Ceil(at))]
	return Figure{Name: name, Unit: unit, Runs: len(sorted), Min: sorted[0], Max: sorted[len(sorted)-1],
		Value: low + (high-low)*(at-math.Floor(at))}
}

// String is the line of text: name value unit (n runs, min–max).
func (f Figure) String() string {
	return fmt.Sprintf("%-34s %10s %-10s (%d runs, %s–%s)",
		f.Name, short(f.Value), f.Unit, f.Runs, short(f.Min), short(f.Max))
}

// short keeps three digits that mean something.
func short(v float64) string {
	switch {
	case v == math.Trunc(v) || math.Abs(v) >= 100:
		return fmt.Sprintf("%.0f", v)
	case math.Abs(v) >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}

// Main is the main function of a program of bench: flags, measure, print,
// judge. It ends the process: 0, 1 for a missed goal, 2 when nothing could be
// measured.
func Main(program string, measure func(context.Context) ([]Figure, error)) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	asJSON := flag.Bool("json", false, "print JSON")
	check := flag.Bool("check", false, "exit 1 when a goal is missed")
	flag.Parse()
	figures, err := measure(ctx)
	if err != nil {
		fmt.Fprintf(os.Stderr, "bench/%s: %v\n", program, err)
		os.Exit(2)
	}
	missed, err := report(os.Stdout, program, *asJSON, figures)
	if err != nil {
		fmt.Fprintf(os.Stderr, "bench/%s: %v\n", program, err)
		os.Exit(2)
	}
	for _, goal := range missed {
		fmt.Fprintln(os.Stderr, "missed:", goal)
	}
	if *check && len(missed) > 0 {
		os.Exit(1)
	}
}

func report(w io.Writer, program string, asJSON bool, figures []Figure) (missed []string, err error) {
	if asJSON {
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		err = encoder.Encode(Report{Program: program, Date: time.Now().UTC().Format(time.DateOnly),
			Machine: fmt.Sprintf("%d cores, %s/%s, %s", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version()),
			Figures: figures})
	} else {
		for _, f := range figures {
			_, e := fmt.Fprintln(w, f)
			err = errors.Join(err, e)
		}
	}
	for _, f := range figures {
		if goal, ok := GoalOf(f.Name); ok && !goal.Met(f.Value) {
			missed = append(missed, fmt.Sprintf("%s is %s %s, the goal is at most %s (%s)",
				f.Name, short(f.Value), f.Unit, short(goal.AtMost), goal.Why))
		}
	}
	return missed, err
}
