package budget

import (
	"bytes"
	"maps"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"slipstream/bench/figure"
	"slipstream/bench/pipeline"
	"slipstream/bench/startup"
	"slipstream/bench/trial"
	"slipstream/demo/objects"
	"slipstream/deploy/layer"
	"slipstream/test/servers"
)

// keep fails the test if the value passes the goal of that name.
func keep(t *testing.T, name string, value float64) {
	t.Helper()
	goal, ok := figure.GoalOf(name)
	if !ok {
		t.Fatalf("%s has no goal in bench/figure/goal.go", name)
	}
	if !goal.Met(value) {
		t.Errorf("%s is %.2f %s, the goal is at most %.2f: %s. It was %.2f on %s. Find what has changed, or raise "+
			"the goal in bench/figure/goal.go and say there why",
			name, value, goal.Unit, goal.AtMost, goal.Why, goal.Measured, goal.Date)
	}
	t.Logf("%s: %.2f %s, at most %.2f", name, value, goal.Unit, goal.AtMost)
}

// TestSizes weighs what ships, for both of Lambda's processors.
func TestSizes(t *testing.T) {
	for _, arch := range []string{"amd64", "arm64"} {
		t.Run(arch, func(t *testing.T) {
			binary, err := layer.Program(t.Context(), "./cmd/slipstream-extension", arch)
			if err != nil {
				t.Fatal(err)
			}
			info, err := os.Stat(binary)
			if err != nil {
				t.Fatal(err)
			}
			var zip bytes.Buffer
			if err := layer.Write(&zip, binary); err != nil {
				t.Fatal(err)
			}
			keep(t, "binary_size", float64(info.Size())/1e6)
			keep(t, "layer_size", float64(zip.Len())/1e6)
		})
	}
}

// TestStartRatio compares the median start with that of the empty extension,
// started in turn with ours, so that a busy machine slows both. The median and
// not the quickest start, which is a matter of luck: on a quiet machine ratios of
// medians of 40 lie between 1.11 and 1.17, those of the quickest between 1.08
// and 1.39. With every core taken by others medians reach 1.5, so it looks again
// before it says that the goal is missed.
func TestStartRatio(t *testing.T) {
	const rounds, looks = 40, 5
	ours, err := layer.Program(t.Context(), "./cmd/slipstream-extension", runtime.GOARCH)
	if err != nil {
		t.Fatal(err)
	}
	empty, err := layer.Program(t.Context(), "./bench/emptyextension", runtime.GOARCH)
	if err != nil {
		t.Fatal(err)
	}
	goal, _ := figure.GoalOf("start_ratio")
	best := math.Inf(1)
	for range looks {
		starts, err := startup.Compare(t.Context(), rounds, startup.Environment(),
			startup.Program{Path: ours}, startup.Program{Path: empty})
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range startup.Figures(starts[0], starts[1])[:3] {
			t.Log(f)
			if f.Name == goal.Figure {
				best = min(best, f.Value)
			}
		}
		if goal.Met(best) {
			break
		}
	}
	keep(t, "start_ratio", best)
}

// TestMemory plays the everyday scenario and the burst under the emulator, to a
// folder and to a real S3 server, and reads the most memory that the extension
// ever had.
func TestMemory(t *testing.T) {
	programs, err := pipeline.Build(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, scenario := range pipeline.Scenarios() {
		for _, place := range []string{"file", "s3"} {
			t.Run(scenario.Name+"/"+place, func(t *testing.T) {
				var to pipeline.Place = objects.Folder(t.TempDir())
				// On a busy machine the platform here is stopped as long as the extension is, which
				// Lambda's own is not: a silence of 300 ms would say nothing.
				variables := map[string]string{"SLIPSTREAM_SHUTDOWN_WAIT_MS": "1000"}
				if place == "s3" {
					b := bucket(t)
					to = b
					maps.Copy(variables, b.Variables())
				}
				r, err := pipeline.Run(t.Context(), scenario, programs, to, variables)
				if err != nil {
					t.Fatal(err)
				}
				prefix := scenario.Name + "/" + place
				keep(t, prefix+"/peak_memory", float64(r.PeakMemory)/(1<<20))
				keep(t, prefix+"/lines_lost", float64(r.Lost))
				keep(t, prefix+"/lines_doubled", float64(r.Doubled))
			})
		}
	}
}

// TestTrials plays each destination of bench/drag once, and keeps the goals that
// do not depend on what else the machine does.
func TestTrials(t *testing.T) {
	programs, err := pipeline.Build(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	bucket(t)
	for _, tt := range trial.All() {
		t.Run(tt.Name, func(t *testing.T) {
			tt.Runs = 1
			figures, err := tt.Measure(t.Context(), programs, t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			kept := 0
			for _, f := range figures {
				if goal, ok := figure.GoalOf(f.Name); ok && !goal.Timed {
					keep(t, f.Name, f.Value)
					kept++
				}
			}
			if kept == 0 {
				t.Error("no figure of it has a goal that does not depend on the machine")
			}
		})
	}
}

// bucket is a place on an S3 server of the test's own.
func bucket(t *testing.T) *objects.Bucket {
	t.Helper()
	for _, variable := range servers.StartS3(t).Env() {
		name, value, _ := strings.Cut(variable, "=")
		t.Setenv(name, value)
	}
	b, err := objects.FindBucket(t.Context(), t.TempDir(), "budget")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestEveryGoalIsKept makes sure that a goal cannot be written down and then
// not looked at: each is kept by a test above or beside its code, unless it is a matter of time.
func TestEveryGoalIsKept(t *testing.T) {
	kept := []string{"binary_size", "layer_size", "start_ratio", "50x100/file/peak_memory", "50x100/s3/peak_memory",
		"1x100000/file/peak_memory", "1x100000/s3/peak_memory", "lines_lost", "lines_doubled", "timeouts",
		// Kept beside their code, in process and process/redact, and in bench/sample.
		"allocations", "leaks", "volume", "failed_lines_lost", "counts_off",
		// By the test of bench/collisions.
		"values_lost", "sum_error", "range_error", "p50_error", "p90_error", "p95_error", "p99_error"}
	for _, goal := range figure.Goals() {
		if !goal.Timed && !slices.Contains(kept, goal.Figure) {
			t.Errorf("%s has a goal, but no test keeps it: add one here", goal.Figure)
		}
		if goal.Measured > goal.AtMost || goal.Why == "" || goal.Date == "" {
			t.Errorf("%s: %+v: a goal has a measured value that meets it, a date and a reason", goal.Figure, goal)
		}
	}
}
