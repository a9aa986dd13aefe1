package main

import (
	"math"
	"testing"
	"time"

	"slipstream/bench/figure"
	"slipstream/test/servers/metrics"
)

// Ten seconds of it: nothing is lost on any way, and quantiles are as good as
// promised; while the naive way loses most.
func TestNothingCollides(t *testing.T) {
	p := plan{seconds: 10, seed: uint64(time.Now().UnixNano()), prometheus: metrics.StartPrometheus(t).Endpoint}
	t.Logf("seed %d", p.seed)
	figures, err := p.run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	judged := 0
	for _, f := range figures {
		goal, ok := figure.GoalOf(f.Name)
		if !ok {
			continue
		}
		judged++
		if !goal.Met(f.Value) {
			t.Errorf("%s is %g %s, at most %g: %s", f.Name, f.Value, f.Unit, goal.AtMost, goal.Why)
		}
	}
	if naive := figures[0]; naive.Value > 250/2 || judged < 2*len(ways)*6 {
		t.Errorf("%s: %g; %d figures judged", naive.Name, naive.Value, judged)
	}
}

// What is compared can be wrong.
func TestComparison(t *testing.T) {
	now := time.Unix(100, 0)
	all := []sent{{1, now}, {3, now.Add(time.Millisecond)}, {8, now.Add(time.Second)}}
	truth, left := exact(all), naive(all)
	if truth.count != 3 || truth.sum != 12 || truth.min != 1 || truth.max != 8 || truth.quantile(0.5) != 3 ||
		left.count != 2 || left.sum != 11 || left.min != 3 {
		t.Errorf("%+v %+v", truth, left)
	}
	got := values{count: 2, sum: 6, min: math.NaN(), quantile: func(float64) float64 { return 16 }}
	for name, want := range map[string]float64{"x/values_lost": 1, "x/sum_error": 50, "x/p99_error": 100} {
		for _, f := range compare("x", "error", truth, got) {
			if f.Name == name && f.Value != want {
				t.Errorf("%s is %g, want %g", name, f.Value, want)
			}
		}
	}
	s := &sink{lines: []string{`!M 100 #2 1.5 #1 7 "m" source="s"`, `!M 160 #1 9 "m" source="s"`, `"m" 5 source="s"`,
		`!M 100 #4 3 "mm" source="s"`}}
	if v := s.of("m"); v.count != 4 || v.sum != 19 || v.min != 1.5 || v.max != 9 || v.quantile(0.5) != 1.5 {
		t.Errorf("%+v", v)
	}
}
