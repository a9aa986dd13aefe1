package figure

import (
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestQuantile(t *testing.T) {
	samples := []float64{5, 1, 2, 4, 3}
	for _, tt := range []struct{ q, want float64 }{{0, 1}, {0.5, 3}, {0.99, 4.96}, {1, 5}} {
		f := Quantile("x", "ms", tt.q, samples)
		if math.Abs(f.Value-tt.want) > 1e-9 || f.Min != 1 || f.Max != 5 || f.Runs != 5 {
			t.Errorf("quantile %v: %+v, want %v of 5 runs, 1–5", tt.q, f, tt.want)
		}
	}
	if f := Of("x", "ms", nil); !math.IsNaN(f.Value) {
		t.Errorf("no samples give %v, want NaN: nothing was measured", f.Value)
	}
}

func TestALineHasNameValueUnitAndRange(t *testing.T) {
	got := strings.Join(strings.Fields(Of("start", "ms", []float64{2.5, 2.25, 3.125}).String()), " ")
	if want := "start 2.50 ms (3 runs, 2.25–3.12)"; got != want {
		t.Errorf("line %q, want %q", got, want)
	}
}

func TestAMissedGoalIsNamed(t *testing.T) {
	figures := []Figure{{Name: "start_ratio", Value: 1.2}, {Name: "50x100/s3/peak_memory", Value: 17, Unit: "MiB"},
		{Name: "not_a_goal", Value: 1e9}, {Name: "50x100/file/lines_lost", Value: math.NaN()}}
	missed := Report{Figures: figures}.missed()
	if len(missed) != 2 || !strings.Contains(missed[0], "50x100/s3/peak_memory is 17 MiB") ||
		!strings.Contains(missed[1], "lines_lost") {
		t.Errorf("missed %q, want memory and the figure without a value", missed)
	}
}

func TestKeepReplacesTheProgramsOwnReport(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.json")
	of := func(program string, value float64) Report {
		return Report{Program: program, Date: "2026-11-23", Machine: "m",
			Figures: []Figure{{Name: program, Value: value, Unit: "ms", Runs: 3, Min: 0, Max: 2}}}
	}
	for _, r := range []Report{of("a", 1), of("b", 1), of("a", 1.5)} {
		if err := keep(path, r); err != nil {
			t.Fatal(err)
		}
	}
	got, err := Read(path)
	if diff := cmp.Diff([]Report{of("b", 1), of("a", 1.5)}, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
}

func TestAFigureWithoutAValueIsNotKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.json")
	if err := keep(path, Report{Figures: []Figure{Of("a", "ms", nil)}}); err == nil {
		t.Error("a figure that was not measured was kept")
	}
	if _, err := Read(path); err == nil || !strings.Contains(err.Error(), "make figures") {
		t.Errorf("error %v, want one that says how results are made", err)
	}
}

func TestTableNeedsEveryFigure(t *testing.T) {
	if _, err := Table(nil); err == nil || !strings.Contains(err.Error(), "figure start is not among") {
		t.Errorf("error %v, want one that names the first figure", err)
	}
	reports := []Report{{Program: "p", Figures: []Figure{
		{Name: "a", Value: 0, Unit: "ms"}, {Name: "b", Value: 2.345, Unit: "ms", Max: 7}}}}
	if got, err := cell(reports, []string{"a", "b"}, true); err != nil || got != "0 / 2.35 / 7 ms" {
		t.Errorf("cell %q, %v", got, err)
	}
	for want, names := range map[string][]string{
		"≤ 1.5, aim 1.25": {"start_ratio"}, "0": {"x/lines_lost", "x/lines_doubled"}, "": {"unknown"},
		"≤ 1 / ≤ 10": {"healthy/s3/added_p50", "healthy/s3/added_p99"},
	} {
		if got := goalsCell(names); got != want {
			t.Errorf("goals of %q: %q, want %q", names, got, want)
		}
	}
}
