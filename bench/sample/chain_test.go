package main

import (
	"flag"
	"math/rand/v2"
	"testing"
	"time"

	"slipstream/process/filter"
	"slipstream/process/parse"
	"slipstream/process/rate"
	"slipstream/process/sample"
	"slipstream/telemetry"
)

var seed = flag.Uint64("seed", 0, "of the random settings; 0 takes the clock")

// chain is the operators in the order in which the edge has them.
type chain struct {
	parser  parse.Parser
	limiter *rate.Limiter
	filter  *filter.Filter
	repeats *rate.Repeats
	sampler *sample.Sampler
	out     int            // records of the function or the platform
	told    int            // records of repetitions, which nobody put in
	lines   map[string]int // that came out, by invocation
}

func newChain(t *testing.T, rules, limits string, c sample.Config) *chain {
	t.Helper()
	x := &chain{lines: map[string]int{}}
	var errs, more []error
	x.filter, errs = filter.New(rules)
	x.limiter, more = rate.NewLimiter(limits, time.Second)
	if len(errs)+len(more) > 0 {
		t.Fatal(errs, more)
	}
	x.sampler = sample.New(c, nil, sample.Emit{Log: func(l *telemetry.Log) {
		x.out++
		x.lines[l.RequestID]++
	}})
	x.repeats = rate.NewRepeats(time.Second, func(l *telemetry.Log) {
		if len(l.Fields) == 1 && string(l.Fields[0].Key) == "repeated" {
			x.told++
		}
		x.sampler.Add(l, l.Time)
	})
	return x
}

func (x *chain) add(l telemetry.Log) {
	x.parser.Parse(&l)
	if !x.limiter.Allow(&l, l.Time) || !x.filter.Keep(&l) {
		x.sampler.Note(&l, l.Time) // an outcome counts, whether it is sent or not
		return
	}
	x.repeats.Add(&l, l.Time)
	x.repeats.Tick(l.Time)
	x.sampler.Tick(l.Time)
}

// Whatever the operators are set to: each record that goes in comes out, or is
// counted by the one that kept it back.
func TestEveryRecordIsAccountedFor(t *testing.T) {
	from := *seed
	if from == 0 {
		from = uint64(time.Now().UnixNano())
	}
	t.Logf("go test ./bench/sample -seed=%d", from)
	w, err := prepare(300)
	if err != nil {
		t.Fatal(err)
	}
	for round := range uint64(20) {
		r := rand.New(rand.NewPCG(from, round))
		pick := func(of ...string) string { return of[r.IntN(len(of))] }
		rules := pick("", `[{"drop":{"level":"<warn"}}]`, `[{"drop":{"type":"start/end/report"}}]`,
			`[{"drop":{"message":"~healthz"}},{"keep":{"level":">=warn"}},{"drop":{}}]`)
		limits := pick("", `[{"limit":{"type":"function","level":"<error"},"records":100}]`,
			`[{"limit":{"type":"function"},"records":5,"per":"request"}]`)
		x := newChain(t, rules, limits, sample.Config{OneIn: r.IntN(3), SamplePlatform: r.IntN(2) == 0,
			MaxBytes: 1 + r.IntN(50_000)})
		in := 0
		for _, l := range w.logs {
			for range 1 + r.IntN(20)/18 { // some twice
				in++
				x.add(l)
			}
		}
		x.repeats.Finish(w.logs[len(w.logs)-1].Time)
		x.sampler.Finish()
		parts := x.limiter.Cut() // what became of the records
		for _, c := range x.filter.Counts() {
			if c.Drops {
				parts = append(parts, c.Records)
			}
		}
		held, told := x.repeats.Held()
		sampled := 0
		for _, c := range x.sampler.Counts() {
			if c.Dropped {
				sampled += c.Records
			}
		}
		all := x.out + sampled
		for _, n := range append(parts, held) {
			all += n
		}
		if held != told || all != in+x.told {
			t.Fatalf("round %d: %d in; out %d, cut and filtered %v, repeated %d (%d told), sampled away %d; %s %s",
				round, in, x.out, parts, held, told, sampled, rules, limits)
		}
		if rules == "" && limits == "" {
			for id, n := range w.failed {
				if x.lines[id] < n-spansEach {
					t.Fatalf("round %d: %d of %d lines of the failed %s", round, x.lines[id], n, id)
				}
			}
		}
	}
}
