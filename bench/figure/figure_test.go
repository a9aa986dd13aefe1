package figure

import (
	"bytes"
	"encoding/json"
	"math"
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
	missed, err := report(&bytes.Buffer{}, "x", false, figures)
	if err != nil || len(missed) != 2 || !strings.Contains(missed[0], "50x100/s3/peak_memory is 17 MiB") ||
		!strings.Contains(missed[1], "lines_lost") {
		t.Errorf("missed %q, %v; want memory and the figure without a value", missed, err)
	}
}

func TestJSONKeepsTheFigures(t *testing.T) {
	figures := []Figure{{Name: "a", Value: 1, Unit: "ms", Runs: 3, Min: 0, Max: 2}}
	var out bytes.Buffer
	if _, err := report(&out, "x", true, figures); err != nil {
		t.Fatal(err)
	}
	var back Report
	if err := json.Unmarshal(out.Bytes(), &back); err != nil || back.Program != "x" || back.Machine == "" {
		t.Fatalf("report %+v, %v", back, err)
	}
	if diff := cmp.Diff(figures, back.Figures); diff != "" {
		t.Error(diff)
	}
}
