// Package trial plays the extension against destinations that are healthy but
// slow, that hang, refuse or fail, and at a small function's share of the CPU,
// always beside the empty extension. Use All, and Measure on each.
package trial

import (
	"net/http"
	"slices"
	"time"

	"slipstream/bench/figure"
	"slipstream/bench/pipeline"
	"slipstream/emulator"
	"slipstream/test/servers"
)

// delay is how long the healthy destination takes, beside what the S3 server
// itself needs.
const delay = 5 * time.Millisecond

// noticeable is a time added that is no noise: the invocation was held.
const noticeable = 50 * time.Millisecond

// Trial is one destination and what is measured with it.
type Trial struct {
	pipeline.Scenario
	Runs      int
	gap       time.Duration // before each invocation
	variables map[string]string
	options   string          // of the destination
	trouble   servers.Trouble // of each request
	refuse    bool            // nothing listens
	half      bool            // trouble ends with half of the invocations
}

// small closes batches of 16 KiB, two or more an invocation: otherwise nothing
// is sent before SHUTDOWN in a run of less than 20 seconds.
const small = "&batch_bytes=16384"

// All are those of the README.
func All() []Trial {
	everyday := func(name string) pipeline.Scenario {
		return pipeline.Scenario{Name: name, Invocations: 50, Lines: 100, Freeze: true}
	}
	healthy := Trial{Scenario: everyday("healthy"), Runs: 5, trouble: servers.Trouble{Wait: delay}}
	sending := healthy
	sending.Name, sending.options = "sending", small

	hanging := Trial{Scenario: everyday("hanging_end"), Runs: 3, trouble: servers.Trouble{Hang: true},
		variables: map[string]string{"SLIPSTREAM_FLUSH": "end"}}
	hanging.Timeout = 3 * time.Second
	adaptive := hanging
	adaptive.Name, adaptive.Invocations, adaptive.gap = "hanging_adaptive", 40, 120*time.Millisecond
	// Invocations are further apart than this, so each would be held.
	adaptive.variables = map[string]string{"SLIPSTREAM_MAX_STALENESS": "100ms"}

	// The destination answers, so each of these is held until its lines are sent.
	sparse := healthy
	sparse.Name, sparse.Invocations, sparse.Runs, sparse.gap = "sparse", 20, 3, adaptive.gap
	sparse.variables = adaptive.variables

	refused := Trial{Scenario: everyday("refused"), Runs: 3, refuse: true, half: true, options: small}
	failing := refused
	failing.Name, failing.refuse = "failing", false
	failing.trouble = servers.Trouble{Status: http.StatusServiceUnavailable}

	slow := Trial{Scenario: everyday("128MB"), Runs: 10, trouble: servers.Trouble{Wait: delay}}
	slow.Invocations, slow.MemoryMB, slow.Cold = 20, 128, true

	return []Trial{healthy, sending, sparse, hanging, adaptive, refused, failing, slow}
}

func wait(d time.Duration) func(int) error {
	return func(int) error { time.Sleep(d); return nil }
}

// begin makes the trouble and sees to it that it ends when it has to.
func (t Trial) begin(proxy *servers.Proxy, s *pipeline.Scenario) error {
	proxy.Make(func(int) servers.Trouble { return t.trouble })
	if t.refuse {
		proxy.Close()
	}
	if !t.half {
		return nil
	}
	s.Before = func(invocation int) error {
		if invocation != t.Invocations/2 {
			return nil
		}
		proxy.Make(nil)
		if t.refuse {
			return proxy.Open()
		}
		return nil
	}
	return nil
}

// figures are those that fit the trial.
func (t Trial) figures(ours, empty []pipeline.Result) []figure.Figure {
	switch {
	case t.trouble.Hang:
		return t.held(ours, empty)
	case t.Cold:
		return t.started(ours, empty)
	}
	return t.lossless(ours, empty)
}

// lossless are the figures of a destination that works in the end.
func (t Trial) lossless(ours, empty []pipeline.Result) []figure.Figure {
	figures := append(pipeline.Losses(t.Scenario, "s3", ours), pipeline.Added(t.Scenario, "s3", ours)...)
	return append(append(figures, pipeline.Added(t.Scenario, "empty", empty)...), t.response(ours, empty)...)
}

// held are the figures of a destination that never answers: one invocation may
// be held until that is known, and then none.
func (t Trial) held(ours, empty []pipeline.Result) []figure.Figure {
	var first, failed []float64
	for i, r := range ours {
		timeouts := 0
		for _, report := range r.Reports {
			if report.Status != "success" {
				timeouts++
			}
		}
		failed = append(failed, float64(timeouts))
		at := slices.IndexFunc(r.Reports, func(r emulator.Report) bool { return r.ExtensionOverhead > noticeable })
		if at < 0 {
			first = append(first, 0)
			continue
		}
		first = append(first, milliseconds(r.Reports[at].ExtensionOverhead))
		ours[i].Reports = slices.Delete(slices.Clone(r.Reports), at, at+1)
	}
	figures := []figure.Figure{worst(figure.Of(t.Name+"/s3/timeouts", "times", failed)),
		worst(figure.Of(t.Name+"/s3/first_hold", "ms", first))}
	figures = append(figures, pipeline.Added(t.Scenario, "s3", ours)...)
	return append(append(figures, pipeline.Added(t.Scenario, "empty", empty)...), t.response(ours, empty)...)
}

// started are the figures of a cold start and what follows.
func (t Trial) started(ours, empty []pipeline.Result) []figure.Figure {
	start := initOf(t.Name+"/s3/init", ours)
	emptyStart := initOf(t.Name+"/empty/init", empty)
	ratio := figure.Figure{Name: t.Name + "/s3/init_ratio", Unit: "x", Runs: start.Runs,
		Value: start.Value / emptyStart.Value, Min: start.Min / emptyStart.Max, Max: start.Max / emptyStart.Min}
	return append([]figure.Figure{start, emptyStart, ratio}, t.lossless(ours, empty)...)
}

// response compares how long the function's callers wait, from the invocation's
// start to the last byte of the response, with the empty extension's.
func (t Trial) response(ours, empty []pipeline.Result) []figure.Figure {
	took := func(r emulator.Report) time.Duration { return r.ResponseLatency + r.ResponseDuration }
	of := func(runs []pipeline.Result) (values []float64) {
		for _, r := range runs {
			for _, report := range r.Reports {
				values = append(values, milliseconds(took(report)))
			}
		}
		return values
	}
	own, other := figure.Of(t.Name+"/s3/response", "ms", of(ours)), figure.Of(t.Name+"/empty/response", "ms", of(empty))
	ratio := figure.Figure{Name: t.Name + "/s3/response_ratio", Unit: "x", Runs: own.Runs,
		Value: own.Value / other.Value, Min: own.Min / other.Max, Max: own.Max / other.Min}
	return []figure.Figure{own, other, ratio}
}

func initOf(name string, runs []pipeline.Result) figure.Figure {
	var values []float64
	for _, r := range runs {
		values = append(values, milliseconds(r.Reports[0].Init))
	}
	return figure.Of(name, "ms", values)
}

// worst takes the highest of the runs instead of their median.
func worst(f figure.Figure) figure.Figure {
	f.Value = f.Max
	return f
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
