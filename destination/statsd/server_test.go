package statsd

import (
	"context"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipstream/destination"
	"slipstream/test/servers/metrics"
)

// The first of all StatsD servers has what was exported.
func TestARealServerHasWhatWasExported(t *testing.T) {
	s := metrics.StartStatsD(t)
	const lines = `calls.route._a_b_c.k_y.v:2|c
level:0|g
level:-5|g
change:+3|g
change:-4|g
g:0|g
g:-1.5|g
d:1000|ms
d:4000|ms
d:2000|ms|@0.5
q.quantile.0_5:2|g
q.quantile.1:3|g
` // as wire/statsd writes them, which its own tests compare
	config, err := Parse("statsd://" + s.Address)
	if err != nil {
		t.Fatal(err)
	}
	c := New(config)
	defer c.Close()
	if err := c.Send(context.Background(), &destination.Batch{Body: []byte(lines)}); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) { // nobody says when it has read
		if len(withoutOwn(s.State(t, "gauges"))) == 5 || time.Now().After(deadline) {
			break
		}
	}
	gauges, counters, timers := s.State(t, "gauges"), s.State(t, "counters"), s.State(t, "timers")
	if diff := cmp.Diff(map[string]any{"level": -5.0, "change": -1.0, "g": -1.5, "q.quantile.0_5": 2.0,
		"q.quantile.1": 3.0},
		withoutOwn(gauges)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]any{"calls.route._a_b_c.k_y.v": 2.0}, withoutOwn(counters)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]any{"d": []any{1000.0, 4000.0, 2000.0}}, withoutOwn(timers)); diff != "" {
		t.Error(diff)
	}
}

// withoutOwn leaves out what the server says of itself.
func withoutOwn(state map[string]any) map[string]any {
	maps.DeleteFunc(state, func(name string, _ any) bool { return strings.HasPrefix(name, "statsd.") })
	return state
}
