package edge

import (
	"testing"
	"time"

	"slipstream/telemetry"
)

// A request of 64 points in known series allocates next to nothing, and leaves
// few bytes in its journal.
func TestRollupOfARequestIsCheap(t *testing.T) {
	r := rollUp(t.TempDir(), testEnvironment, false, nil)
	points := make([]telemetry.Point, 64)
	at := time.Now()
	for i := range points {
		points[i] = telemetry.Point{Kind: telemetry.Counter, Name: []byte("c"), Value: 1, Time: at,
			Tags: []telemetry.Tag{{Key: []byte("k"), Value: []byte{'a' + byte(i%26)}}}}
	}
	add := func() {
		if err := r.aggregate.add(points); err != nil {
			t.Fatal(err)
		}
	}
	add()
	size := func() (size int) {
		for _, g := range r.aggregate.open {
			size += g.chunk.Size
		}
		return size
	}
	before := size()
	if n := testing.AllocsPerRun(100, add); n > 3 {
		t.Errorf("%g allocations", n)
	}
	if each := float64(size()-before) / 101 / 64; each > 6 {
		t.Errorf("%g bytes a point", each)
	}
	r.abandon()
}

// BenchmarkRollup is what a request of 64 points costs until it would survive.
func BenchmarkRollup(b *testing.B) {
	r := rollUp(b.TempDir(), testEnvironment, false, nil)
	points := make([]telemetry.Point, 64)
	for i := range points {
		points[i] = telemetry.Point{Kind: telemetry.Counter, Name: []byte("c"), Value: 1,
			Tags: []telemetry.Tag{{Key: []byte("k"), Value: []byte{'a' + byte(i%26)}}}}
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := r.aggregate.add(points); err != nil {
			b.Fatal(err)
		}
		for _, l := range r.lanes {
			l.mu.Lock()
			for len(l.queue) > 0 {
				l.done(l.queue[0])
			}
			l.mu.Unlock()
		}
	}
	r.abandon()
}

// taking is a listener's way into an edge that keeps what it gets.
func taking(t testing.TB) (*edge, *taker) {
	c, errs := Load(environment(map[string]string{"SLIPSTREAM_DESTINATIONS": "file://" + t.TempDir(),
		"SLIPSTREAM_SPOOL_DIR": t.TempDir()}))
	e := &edge{config: c, clock: newClock(nil), changed: make(chan struct{}, 1), found: make(chan struct{}),
		ready: make(chan struct{})}
	res := &telemetry.Resource{ServiceName: "shop", EnvironmentID: newUUID()}
	e.identify(res)
	errs = append(append(append(errs, e.openLanes(res)...), e.openMetrics(res)...), e.openPolicy()...)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	return e, e.newTaker()
}

// packet is a StatsD client's point.
func packet() *telemetry.Point {
	return &telemetry.Point{Kind: telemetry.Counter, Name: []byte("orders.placed"), Value: 1, Count: 1,
		Tags: []telemetry.Tag{{Key: []byte("region"), Value: []byte("eu-west-1")},
			{Key: []byte("kind"), Value: []byte("web")}}}
}

// A listener's point goes through the policy into its bin without an allocation.
func TestTakingAPointIsCheap(t *testing.T) {
	e, taker := taking(t)
	p := packet()
	add := func() {
		if err := taker.Add(p); err != nil {
			t.Fatal(err)
		}
	}
	add()
	if n := testing.AllocsPerRun(1000, add); n > 0 {
		t.Errorf("%g allocations", n)
	}
	e.leave()
}

// BenchmarkTaker is what a point of a listener costs until it would survive, 64 of
// them at a time.
func BenchmarkTaker(b *testing.B) {
	e, taker := taking(b)
	p, n := packet(), 0
	b.ReportAllocs()
	for b.Loop() {
		if err := taker.Add(p); err != nil {
			b.Fatal(err)
		}
		if n++; n%64 == 0 {
			taker.Commit()
			for _, l := range e.lanes {
				l.mu.Lock()
				for len(l.queue) > 0 {
					l.done(l.queue[0])
				}
				l.mu.Unlock()
			}
		}
	}
	e.leave()
}

// BenchmarkInvocation is what an invocation's events cost: without metrics, with
// those of the platform, and with those of the host.
func BenchmarkInvocation(b *testing.B) {
	for name, env := range map[string][2]string{
		"none": {"false", "false"}, "platform": {"true", "false"}, "host": {"true", "true"},
	} {
		b.Run(name, func(b *testing.B) {
			c, errs := Load(environment(map[string]string{"SLIPSTREAM_DESTINATIONS": "file://" + b.TempDir(),
				"SLIPSTREAM_SPOOL_DIR": b.TempDir(), "SLIPSTREAM_PLATFORM_METRICS": env[0],
				"SLIPSTREAM_HOST_METRICS": env[1], "SLIPSTREAM_METRIC_LINES": "off", "SLIPSTREAM_EMF": "off"}))
			e := &edge{config: c, clock: newClock(nil), changed: make(chan struct{}, 1), found: make(chan struct{}),
				arrived: make(chan struct{}, 1)}
			res := &telemetry.Resource{ServiceName: "shop", EnvironmentID: newUUID()}
			e.identify(res)
			errs = append(append(append(errs, e.openLanes(res)...), e.openMetrics(res)...), e.openPolicy()...)
			if len(errs) > 0 {
				b.Fatal(errs)
			}
			const at = `{"time":"2026-11-28T12:00:00.000Z","type":"platform.`
			body := []byte(`[` + at + `start","record":{"requestId":"1"}},` +
				at + `runtimeDone","record":{"requestId":"1","status":"success","metrics":{"durationMs":12,"producedBytes":3}}},` +
				at + `report","record":{"requestId":"1","metrics":{"durationMs":12,"billedDurationMs":13,"memorySizeMB":128,` +
				`"maxMemoryUsedMB":60}}}]`)
			for b.Loop() {
				if !e.take(b.Context(), body) {
					b.Fatal("not taken")
				}
				for _, l := range e.lanes {
					l.flush(e.now)
					l.mu.Lock()
					for len(l.queue) > 0 {
						l.done(l.queue[0])
					}
					l.mu.Unlock()
				}
			}
			e.leave()
		})
	}
}
