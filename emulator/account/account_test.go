package account

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipstream/emulator"
)

func TestSummaryAddsUp(t *testing.T) {
	b := New()
	observe := b.Observe()
	for n := 1; n <= 101; n++ {
		observe.Report(emulator.Report{Status: "success", ColdStart: n == 1,
			ResponseLatency: time.Duration(n) * time.Millisecond, ExtensionOverhead: time.Duration(n) * time.Microsecond})
	}
	observe.Report(emulator.Report{Status: "timeout", ResponseLatency: time.Hour, ExtensionOverhead: time.Hour})
	observe.ProcessEnd(emulator.ProcessEnd{Function: "shop", MaxRSSBytes: 8 << 20, CPU: time.Second})
	observe.ProcessEnd(emulator.ProcessEnd{Function: "shop", Extension: "slipstream", MaxRSSBytes: 2 << 20, CPU: 1})
	observe.ProcessEnd(emulator.ProcessEnd{Function: "bank", Extension: "slipstream", MaxRSSBytes: 3 << 20, CPU: 2})
	want := Summary{
		Invocations: 102, ColdStarts: 1, Failed: 1,
		Response: Spread{P50: 51 * time.Millisecond, P99: 100 * time.Millisecond, Max: 101 * time.Millisecond},
		Added:    Spread{P50: 51 * time.Microsecond, P99: 100 * time.Microsecond, Max: 101 * time.Microsecond},
		Programs: []Program{{"extension slipstream", 2, 3 << 20, 3}, {"function shop", 1, 8 << 20, time.Second}},
	}
	if diff := cmp.Diff(want, b.Summary()); diff != "" {
		t.Error(diff)
	}
	var out bytes.Buffer
	if err := b.Summary().Print(&out); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"102 (1 cold starts, 1 failed)", "p50 51.00 ms", "max memory 3.0 MiB",
		"in 2 processes"} {
		if !strings.Contains(out.String(), text) {
			t.Errorf("summary lacks %q:\n%s", text, out.String())
		}
	}
}

func TestOnlyTheNewestSamplesAreKept(t *testing.T) {
	var s samples
	for range maxSamples {
		s.add(time.Hour)
	}
	for range maxSamples {
		s.add(time.Second)
	}
	if got := s.spread(); len(s.kept) != maxSamples || got.Max != time.Second {
		t.Errorf("%d kept with max %v, want %d with 1s", len(s.kept), got.Max, maxSamples)
	}
}
