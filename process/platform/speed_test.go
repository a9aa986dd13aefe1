package platform_test

import (
	"math"
	"strings"
	"testing"

	"slipstream/process/platform"
	"slipstream/telemetry"
)

func logOf(event string) telemetry.Log {
	kind, record, _ := strings.Cut(event, " ")
	return telemetry.Log{Type: "platform." + kind, Time: at, Body: []byte(record), RequestID: "id-1"}
}

func TestNoAllocation(t *testing.T) {
	m := platform.New(platform.Config{})
	points := 0
	emit := func(*telemetry.Point) { points++ }
	ids := [2]string{"id-1", "id-2"}
	events := []telemetry.Log{logOf(start), logOf(runtimeDone), logOf(report)}
	if n := testing.AllocsPerRun(100, func() {
		for _, id := range ids {
			for i := range events {
				events[i].RequestID = id
				m.Take(&events[i], emit)
			}
			m.Failed(id, "TypeError", at, emit)
		}
	}); n != 0 || points == 0 {
		t.Errorf("%v allocations for two invocations, want none", n)
	}
}

func BenchmarkInvocation(b *testing.B) {
	m := platform.New(platform.Config{})
	emit := func(*telemetry.Point) {}
	events := []telemetry.Log{logOf(start), logOf(runtimeDone), logOf(report)}
	var ids []string
	for i := range 1000 {
		ids = append(ids, strings.Repeat("x", 32)+string(rune('a'+i%26))+string(rune('a'+i/26%26)))
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		for k := range events {
			events[k].RequestID = ids[i%len(ids)]
			m.Take(&events[k], emit)
		}
	}
}

// FuzzTake: events of any kind and form give finite points, and no invocation more
// than one of each counter.
func FuzzTake(f *testing.F) {
	for _, e := range []string{initStart, initDone, initReport, start, runtimeDone, report, reportTimeout} {
		kind, body, _ := strings.Cut(e, " ")
		f.Add(kind, []byte(body), kind, []byte(body))
	}
	f.Add("runtimeDone", []byte(`{"requestId":"a","status":"timeout"}`), "report",
		[]byte(`{"requestId":"a","status":"error"}`))
	f.Fuzz(func(t *testing.T, kind1 string, body1 []byte, kind2 string, body2 []byte) {
		m := platform.New(platform.Config{})
		before := string(body1)
		counts := map[string]int{}
		emit := func(p *telemetry.Point) {
			if math.IsNaN(p.Value) || math.IsInf(p.Value, 0) || p.Value < 0 || len(p.Name) == 0 {
				t.Fatalf("a point %s of %v", p.Name, p.Value)
			}
			counts[string(p.Name)]++
		}
		for range 3 {
			m.Take(&telemetry.Log{Type: "platform." + kind1, Time: at, Body: body1, RequestID: "a"}, emit)
			m.Failed("a", "X", at, emit)
			m.Take(&telemetry.Log{Type: "platform." + kind2, Time: at, Body: body2, RequestID: "a"}, emit)
		}
		m.End(at, emit)
		for _, name := range []string{"faas.errors", "faas.timeouts", "aws.lambda.invocations", "faas.invocations",
			"aws.lambda.out_of_memory", "faas.coldstarts", "aws.lambda.estimated_cost"} {
			if counts[name] > 1 {
				t.Fatalf("%s %d times", name, counts[name])
			}
		}
		if string(body1) != before {
			t.Fatalf("%q became %q", before, body1)
		}
	})
}
