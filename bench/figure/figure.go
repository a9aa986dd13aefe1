// Package figure is how the programs of bench print and keep what they measured:
// a line a figure, or JSON, the goals that a figure must meet, and the README's
// table. Use Main in each.
package figure

import (
	"context"
	"encoding/json"
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
	Program string `json:"program"`
	Date    string `json:"date"`
	Machine string `json:"machine"`
	// Others is how much of the machine's CPU other programs used meanwhile, in
	// percent: above ten, times and ratios say little.
	Others  float64  `json:"others_percent"`
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
	keepIn := flag.String("keep", "", "keep the results in this `FILE` too, beside those of the other programs")
	flag.Parse()
	r, err := measured(ctx, program, measure)
	if err == nil {
		err = r.print(os.Stdout, *asJSON)
	}
	if err == nil && *keepIn != "" {
		err = keep(*keepIn, r)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "bench/%s: %v\n", program, err)
		os.Exit(2)
	}
	missed := r.missed()
	for _, goal := range missed {
		fmt.Fprintln(os.Stderr, "missed:", goal)
	}
	if *check && len(missed) > 0 {
		os.Exit(1)
	}
}

// measured makes the report.
func measured(ctx context.Context, program string, measure func(context.Context) ([]Figure, error)) (Report, error) {
	r := Report{Program: program, Date: time.Now().UTC().Format(time.DateOnly),
		Machine: fmt.Sprintf("%d cores, %s/%s, %s", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version())}
	before, err := loadNow()
	if err != nil {
		return r, err
	}
	if r.Figures, err = measure(ctx); err != nil {
		return r, err
	}
	after, err := loadNow()
	r.Others = others(before, after)
	return r, err
}

func (r Report) print(w io.Writer, asJSON bool) error {
	if asJSON {
		return writeJSON(w, r)
	}
	for _, f := range r.Figures {
		if _, err := fmt.Fprintln(w, f); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "# %s, %s; other programs used %.0f %% of the CPU meanwhile\n", r.Date, r.Machine, r.Others)
	return err
}

func writeJSON(w io.Writer, value any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}

// missed gives a line for each goal that the report does not keep.
func (r Report) missed() []string {
	var missed []string
	for _, f := range r.Figures {
		if goal, ok := GoalOf(f.Name); ok && !goal.Met(f.Value) {
			missed = append(missed, fmt.Sprintf("%s is %s %s, the goal is at most %s (%s)",
				f.Name, short(f.Value), f.Unit, short(goal.AtMost), goal.Why))
		}
	}
	return missed
}
