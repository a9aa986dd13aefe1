package startup

import (
	"runtime"
	"strings"
	"testing"

	"slipstream/deploy/layer"
)

func TestCompareMeasuresEachProgramOnceARound(t *testing.T) {
	empty, err := layer.Program(t.Context(), "./bench/emptyextension", runtime.GOARCH)
	if err != nil {
		t.Fatal(err)
	}
	starts, err := Compare(t.Context(), 2, Environment(), Program{Path: empty}, Program{Path: empty})
	if err != nil {
		t.Fatal(err)
	}
	for i, runs := range starts {
		if len(runs) != 2 {
			t.Fatalf("program %d: %d runs, want 2", i, len(runs))
		}
		for _, s := range runs {
			if s.ToNext <= 0 || s.CPU <= 0 || s.MaxRSS < 1<<20 {
				t.Errorf("program %d: %+v, want all measured", i, s)
			}
		}
	}
	figures := Figures(starts[0], starts[1])
	if figures[0].Name != "start_ratio" || figures[0].Value <= 0 {
		t.Errorf("first figure %+v, want the ratio", figures[0])
	}
}

func TestAProgramThatEndsIsAnError(t *testing.T) {
	_, err := Compare(t.Context(), 1, nil, Program{Path: "/bin/true"})
	if err == nil || !strings.Contains(err.Error(), "ended before its first next") {
		t.Errorf("error %v, want one that says so", err)
	}
}
