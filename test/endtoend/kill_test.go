package endtoend_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"slipstream/emulator"
)

// taken counts the function's lines in what the extension has answered with 200.
func (s *stage) taken(t *testing.T) lines {
	t.Helper()
	l := lines{}
	deliveries, dropped := s.recorder.Deliveries("slipstream-extension")
	if dropped > 0 {
		t.Fatalf("%d deliveries are not known", dropped)
	}
	for _, d := range deliveries {
		if d.Status != 200 {
			continue
		}
		var events []struct {
			Type   string
			Record any
		}
		if err := json.Unmarshal(d.Body, &events); err != nil {
			continue // a record that was cut: its other half is the next body
		}
		for _, e := range events {
			if text, ok := e.Record.(string); ok && e.Type == "function" {
				l.note(text)
			}
		}
	}
	return l
}

// reported tells whether the extension has taken an invocation's report, behind which
// nothing of the invocation comes.
func (s *stage) reported() bool {
	deliveries, _ := s.recorder.Deliveries("slipstream-extension")
	return slices.ContainsFunc(deliveries, func(d emulator.Delivery) bool {
		return d.Status == 200 && bytes.Contains(d.Body, []byte(`"platform.report"`))
	})
}

// seed is SLIPSTREAM_TEST_SEED or a new one, which the log names.
func seed(t *testing.T) *rand.Rand {
	t.Helper()
	n := uint64(time.Now().UnixNano())
	if text := os.Getenv("SLIPSTREAM_TEST_SEED"); text != "" {
		var err error
		if n, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("seed: SLIPSTREAM_TEST_SEED=%d", n)
	return rand.New(rand.NewPCG(n, 0))
}

// The extension, or the function, is killed at random moments. What the
// extension had answered with 200 is delivered once, by it or by the next
// process of the environment.
func TestKilledAtRandomMoments(t *testing.T) {
	random := seed(t)
	const kills = 40
	dir := t.TempDir()
	var faults []string
	for i := range kills {
		whom := []string{"kill:extension=slipstream-extension", "kill:function"}[i%2]
		faults = append(faults, fmt.Sprintf("%s,invoke=%d,after=%dus", whom, 3*i+2, random.IntN(30_000)))
	}
	s := play{
		env: map[string]string{
			"SLIPSTREAM_DESTINATIONS": "file://" + dir + "?batch_bytes=8192", "SLIPSTREAM_TELEMETRY_TIMEOUT_MS": "25",
		},
		faults: faults, config: bind(dir),
		function: func(f *emulator.Function) { f.Timeout = 20 * time.Second },
	}.start(t)
	for id := range 3 * kills {
		s.invoke(t, fmt.Sprintf(`{"id":%d,"lines":40,"bytes":100,"sleep_ms":%d}`, id, 10+random.IntN(30)))
	}
	s.shutdown(t)
	delivered := inFolder(t, dir)
	taken := s.taken(t)
	var lost, doubled []string
	for line := range taken {
		switch n := delivered[line]; {
		case n == 0:
			lost = append(lost, line)
		case n > 1:
			doubled = append(doubled, line)
		}
	}
	died := 0
	for _, end := range s.recorder.ProcessEnds() {
		if end.Signal == 9 {
			died++
		}
	}
	t.Logf("%d processes were killed; %d lines taken, %d delivered", died, len(taken), len(delivered))
	if len(lost) > 0 || len(doubled) > 0 {
		t.Errorf("lost %v; doubled %v", slices.Sorted(slices.Values(lost)), slices.Sorted(slices.Values(doubled)))
	}
	if died < kills/2 || len(taken) < 40*kills {
		t.Error("the test has killed too little, or delivered too little, to say anything")
	}
	if log := s.log.String(); strings.Contains(log, "level=ERROR") {
		t.Errorf("the log tells of a loss:\n%s", tail(s.log.others(), 2000))
	}
}
