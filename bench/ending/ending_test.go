package ending

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipstream/bench/pipeline"
	"slipstream/demo/objects"
	"slipstream/emulator"
	"slipstream/emulator/telemetryapi"
	"slipstream/test/servers"
)

// Forty ends: bench/drill has two hundred.
func TestWhatWasTakenIsDeliveredOnce(t *testing.T) {
	for _, variable := range servers.StartS3(t).Env() {
		name, value, _ := strings.Cut(variable, "=")
		t.Setenv(name, value)
	}
	bucket, err := objects.FindBucket(t.Context(), t.TempDir(), "ending")
	if err != nil {
		t.Fatal(err)
	}
	programs, err := pipeline.Build(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	plan := Plan{Seed: rand.Uint64(), Environments: 4, Ends: 10}
	o, err := Run(t.Context(), plan, programs, bucket)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("seed %d: %v, %d lines taken, %d more delivered", plan.Seed, o.Ends, o.Taken, o.Unasked)
	if o.Lost+o.Doubled > 0 || o.Taken == 0 {
		t.Errorf("of %d lines that the extension had taken %d are lost; %d are doubled\n%s", o.Taken, o.Lost, o.Doubled,
			strings.Join(o.Details, "\n"))
	}
	limited := !strings.Contains(strings.Join(o.Notices, "\n"), "memory is not limited")
	if o.Ends["Runtime.OutOfMemory"] == 0 && limited {
		t.Errorf("no function has run out of memory; notices: %q", o.Notices)
	}
}

func TestJudge(t *testing.T) {
	first := &environment{taken: map[line]time.Time{}, ends: map[string]int{"timeout": 2}, notices: []string{"x"}}
	second := &environment{number: 1, taken: map[line]time.Time{}, ends: map[string]int{"timeout": 1},
		notices: []string{"x", "y"}}
	take := func(e *environment, body string) {
		e.delivery(emulator.Delivery{Delivery: telemetryapi.Delivery{Status: 200, Body: []byte(body), At: time.Now()}})
	}
	take(first, `[{"record":"INFO line 10000-0 x"},{"record":"INFO line 10000-1 x"}]`)
	take(second, `[{"type":"platform.start"},{"record":"INFO line 20000-0 x"}]`)
	delivered := map[line]int{}
	count(delivered, []byte("{\"message\":\"line 10000-1 x\"}\n{\"message\":\"line 20000-0 x\"}\n"+
		"{\"message\":\"line 20000-0 x\"}\n{\"message\":\"line 20001-7 x\"}\n"))
	o := judge([]*environment{first, second}, delivered)
	details := len(o.Details)
	o.Details = nil
	want := Outcome{Ends: map[string]int{"timeout": 3}, Taken: 3, Unasked: 1, Lost: 1, Doubled: 1,
		Notices: []string{"x", "y"}}
	if diff := cmp.Diff(want, o); diff != "" || details != 2 {
		t.Errorf("%d details\n%s", details, diff)
	}
}

func TestASeedRepeatsThePlan(t *testing.T) {
	plan := func(seed uint64) (texts []string) {
		e := environment{random: rand.New(rand.NewPCG(seed, 0)), extension: "/x/ours", size: sizes[1]}
		rules, events, err := e.invocations(50)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rules {
			texts = append(texts, r.String())
		}
		for _, event := range events {
			texts = append(texts, string(event.payload))
		}
		return texts
	}
	if diff := cmp.Diff(plan(1), plan(1)); diff != "" {
		t.Error(diff)
	}
	if cmp.Equal(plan(1), plan(2)) {
		t.Error("another seed gives the same plan")
	}
}
