package edge

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"slipstream/edge/buffer"
	"slipstream/edge/flush"
	"slipstream/rollup"
	"slipstream/telemetry"
	"slipstream/wire"
	"slipstream/wire/metrics"
)

// rolling is an edge of two lanes that roll points up, without the platform.
type rolling struct {
	*edge
	to   [2]*scripted
	stop context.CancelFunc
}

// rollUp starts one whose files are in dir. Its lanes send only when run is true.
func rollUp(dir, environment string, run bool, answer func(int, context.Context) error) *rolling {
	return rollUpAs(dir, environment, run, answer, func(*lane) {})
}

// rollUpAs does it with lanes that are changed.
func rollUpAs(dir, environment string, run bool, answer func(int, context.Context) error, change func(*lane)) *rolling {
	e := &edge{
		config: Config{SpoolDir: dir, BufferBytes: 4 << 20, SpoolBytes: 16 << 20, MaxStaleness: 20 * time.Second},
		pool:   buffer.NewPool(dir, 8<<20), changed: make(chan struct{}, 1), found: make(chan struct{}),
	}
	ctx, stop := context.WithCancel(context.Background())
	r := &rolling{edge: e, stop: stop}
	for i := range r.to {
		r.to[i] = &scripted{answer: answer}
		l := newLane(laneConfig{
			name: fmt.Sprint("test://", i), hash: uint64(7 + i), encoder: wire.OTLPExports{}, encoding: buffer.Plain,
			bufferBytes: 2 << 20, sendTimeout: 5 * time.Second, environment: environment, pushers: 2,
			limits: flush.Limits{Bytes: 1 << 20},
		}, r.to[i], e.pool, &buffer.Sealer{})
		l.changed = e.changed
		change(l)
		e.lanes = append(e.lanes, l)
	}
	e.aggregate = newAggregate(e, &telemetry.Resource{ServiceName: "shop", EnvironmentID: environment}, rollup.Config{})
	e.recover()
	for _, l := range e.lanes {
		if run {
			go l.run(ctx)
		} else {
			close(l.drained)
		}
	}
	return r
}

// end delivers everything.
func (r *rolling) end(t *testing.T) {
	t.Helper()
	r.aggregate.close()
	now := time.Now()
	for _, l := range r.lanes {
		l.finish(now, now.Add(1900*time.Millisecond), false)
		<-l.drained
		l.stop()
		if c := l.account(false); len(c.dropped) > 0 {
			t.Errorf("%v", c)
		}
	}
	r.stop()
	r.leave()
}

// abandon ends it as a kill would, for what is in its own dir.
func (r *rolling) abandon() {
	for _, l := range r.lanes {
		l.stop()
		l.account(false)
	}
	r.stop()
	r.leave()
}

// sums adds up the counters of all that a destination has taken, by environment.
func (s *scripted) sums(t *testing.T, environments ...string) map[string]float64 {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	sums := map[string]float64{}
	var splitter metrics.Splitter
	for id, body := range s.taken {
		splitter.Split(nil, []byte(body), func(p *telemetry.Point, _ *metrics.Histogram) bool {
			for _, environment := range environments {
				if bytes.Contains(p.Resource, []byte(environment)) {
					sums[environment] += p.Value
				}
			}
			return true
		})
		if !strings.HasPrefix(id, environments[0]+"-") && len(environments) == 1 {
			t.Errorf("batch %s is of another environment", id)
		}
	}
	return sums
}

func (s *scripted) tried() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.tries)
}

func counted(v float64) []telemetry.Point {
	return []telemetry.Point{{Kind: telemetry.Counter, Name: []byte("c"), Value: v}}
}

// Points of a minute become one data point a destination, or as many as the
// staleness asks for, and SHUTDOWN brings the rest.
func TestRollupIsEmitted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rollUp(t.TempDir(), testEnvironment, true, nil)
		ctx, stop := context.WithCancel(context.Background())
		go r.aggregate.run(ctx)
		for range 100 { // 50 s
			if err := r.aggregate.add(counted(1)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(500 * time.Millisecond)
		}
		synctest.Wait()
		if n := r.to[0].tried(); n != 2 {
			t.Errorf("%d batches in 50 s, want one each 20 s", n)
		}
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if n := r.to[0].tried(); n != 3 {
			t.Errorf("%d batches when the minute is over", n)
		}
		if err := r.aggregate.add(counted(5)); err != nil {
			t.Fatal(err)
		}
		stop()
		r.end(t)
		if err := r.aggregate.add(counted(1)); !errors.Is(err, telemetry.ErrOver) {
			t.Errorf("after SHUTDOWN: %v", err)
		}
		for _, to := range r.to {
			if got := to.sums(t, testEnvironment)[testEnvironment]; got != 105 {
				t.Errorf("the sum is %g", got)
			}
		}
		if u := r.pool.Usage(); u.Mapped != 0 || u.Heap != 0 {
			t.Errorf("left: %+v", u)
		}
	})
}

// What cannot be rolled up of an export comes back, what can does not.
func TestRollupOfExports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rollUp(t.TempDir(), testEnvironment, true, nil)
		body := []byte(`{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"c","sum":{"aggregationTemporality":1,
			"isMonotonic":true,"dataPoints":[{"timeUnixNano":"%d","asDouble":2}]}},
			{"name":"t","sum":{"aggregationTemporality":2,"dataPoints":[{"timeUnixNano":"1","asDouble":9}]}}]}]}]}`)
		body, err := wire.ExportFromJSON(nil, telemetry.Metrics, fmt.Appendf(nil, string(body), time.Now().UnixNano()))
		if err != nil {
			t.Fatal(err)
		}
		rest, err := r.aggregate.addExport(nil, &telemetry.Export{Signal: telemetry.Metrics, Records: 2, Body: body})
		if err != nil || rest.Records != 1 || !bytes.Contains(rest.Body, []byte{'t'}) {
			t.Errorf("%d records are left: %v", rest.Records, err)
		}
		r.end(t)
		if got := r.to[1].sums(t, testEnvironment)[testEnvironment]; got != 2 {
			t.Errorf("the sum is %g", got)
		}
	})
}

// killed is what a kill has left, and how much was answered for by then.
type killed struct {
	dir         string
	least, most float64
}

// A kill at any step leaves every point that was answered for, once.
func TestRollupSurvivesEveryKill(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("SLIPSTREAM_TEST_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("SLIPSTREAM_TEST_SEED=%d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		r := rollUp(dir, testEnvironment, false, nil)
		answered, adding := 0.0, 0.0
		var kills []killed
		r.aggregate.step = func() {
			kills = append(kills, killed{dir: copyTree(t, dir), least: answered, most: answered + adding})
		}
		const adds = 12
		for range adds {
			adding = float64(random.IntN(100) + 1)
			if err := r.aggregate.add(counted(adding)); err != nil {
				t.Fatal(err)
			}
			answered, adding = answered+adding, 0
			time.Sleep(time.Duration(random.Int64N(int64(30 * time.Second))))
			r.aggregate.tick()
		}
		r.aggregate.close() // emits what is left: a bin at least, whatever the times were
		r.aggregate.step = nil
		bins := int(r.lanes[0].count.received) // of one series each
		r.abandon()
		other := strings.Replace(testEnvironment, "3", "4", 1)
		for i, k := range kills {
			next := rollUp(k.dir, other, true, nil)
			if err := next.aggregate.add(counted(1)); err != nil {
				t.Fatal(err)
			}
			next.end(t)
			for _, to := range next.to {
				got := to.sums(t, testEnvironment, other)
				if v := got[testEnvironment]; v < k.least || v > k.most || v != k.least && v != k.most || got[other] != 1 {
					t.Errorf("kill %d: %g came, %g were answered for, %g were under way", i, v, k.least, k.most-k.least)
				}
			}
		}
		// An add has two steps, a bin one for each batch that is made and queued, and one between.
		if want := 2*adds + (2*len(r.lanes)+1)*bins; bins == 0 || len(kills) != want {
			t.Errorf("%d kills, want %d: %d bins were emitted", len(kills), want, bins)
		}
	})
}

// What was delivered is not made again from a journal, and a kill while the next
// process recovers does no harm either.
func TestRollupKilledAfterDeliveryAndAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		r := rollUp(dir, testEnvironment, true, nil)
		for _, v := range []float64{1, 2, 4} {
			if err := r.aggregate.add(counted(v)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(61 * time.Second)
			if v < 4 {
				r.aggregate.tick()
			}
			synctest.Wait()
		}
		if got := r.to[0].sums(t, testEnvironment)[testEnvironment]; got != 3 {
			t.Fatalf("%g was delivered", got)
		}
		copied := copyTree(t, dir)
		r.abandon()
		second := strings.Replace(testEnvironment, "3", "4", 1)
		down := rollUp(copied, second, true, func(int, context.Context) error { return errors.New("refused") })
		synctest.Wait()
		again := copyTree(t, copied) // it has recovered, and is killed
		down.abandon()
		next := rollUp(again, strings.Replace(testEnvironment, "3", "5", 1), true, nil)
		next.end(t)
		for _, to := range next.to {
			if got := to.sums(t, testEnvironment)[testEnvironment]; got != 4 || len(to.taken) != 1 {
				t.Errorf("%g came in %d batches, want what was not delivered", got, len(to.taken))
			}
		}
	})
}

// Before its restore an environment has no name, so nothing is in the arena; what
// came until then goes out under the name that it gets.
func TestRollupOfASnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rollUp(t.TempDir(), testEnvironment, true, nil)
		r.aggregate.mu.Lock()
		r.aggregate.waiting = true
		r.aggregate.mu.Unlock()
		for _, l := range r.lanes {
			l.mu.Lock()
			l.waiting, l.reencode = true, func(*telemetry.Resource) wire.Encoder { return nil }
			l.mu.Unlock()
		}
		if err := r.aggregate.add(counted(3)); err != nil || r.pool.Usage().Reserved != 0 {
			t.Errorf("%+v, %v", r.pool.Usage(), err)
		}
		res := &telemetry.Resource{ServiceName: "shop", EnvironmentID: strings.Replace(testEnvironment, "3", "6", 1)}
		for _, l := range r.lanes {
			l.renew(res, time.Now())
		}
		r.aggregate.renew(res)
		if err := r.aggregate.add(counted(4)); err != nil || r.pool.Usage().Mapped == 0 {
			t.Errorf("%+v, %v", r.pool.Usage(), err)
		}
		r.end(t)
		if got := r.to[0].sums(t, res.EnvironmentID)[res.EnvironmentID]; got != 7 {
			t.Errorf("the sum is %g", got)
		}
	})
}
