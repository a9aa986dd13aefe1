package edge

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"slipstream/edge/buffer"
	"slipstream/edge/flush"
	"slipstream/edge/spool"
	"slipstream/telemetry"
	"slipstream/wire"
	"slipstream/wire/lines"
)

const testEnvironment = "3adf329b-240c-4fc6-b48a-54474f043a02"

// onDisk is an edge of one lane whose undelivered records lie in dir, without
// the APIs of the platform.
func onDisk(t *testing.T, dir, environment string, limits flush.Limits, bufferBytes int,
	to *scripted, change ...func(*edge, *lane)) (*edge, *laneUnderTest) {
	t.Helper()
	e := &edge{
		config:  Config{SpoolDir: dir, BufferBytes: bufferBytes, SpoolBytes: 16 << 20},
		pool:    buffer.NewPool(dir, bufferBytes*2),
		changed: make(chan struct{}, 1), found: make(chan struct{}),
	}
	l := newLane(laneConfig{
		name: "test://x", hash: 7, encoder: wire.TelemetryEvents(), encoding: buffer.Gzip, limits: limits,
		bufferBytes: bufferBytes, sendTimeout: 5 * time.Second, environment: environment, pushers: 2,
	}, to, e.pool, &buffer.Sealer{})
	l.changed = e.changed
	l.reencode = func(*telemetry.Resource) wire.Encoder { return nil }
	for _, f := range change {
		f(e, l)
	}
	e.lanes = []*lane{l}
	ctx, stop := context.WithCancel(context.Background())
	go l.run(ctx)
	e.recover()
	return e, &laneUnderTest{l, to, stop}
}

// records counts the test's records in what the destination took.
func (s *scripted) records(t *testing.T) map[string]int {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := map[string]int{}
	for id, body := range s.taken {
		for line := range strings.Lines(gunzip(t, body)) {
			var log telemetry.Log
			if err := lines.Decode([]byte(line), &log, &telemetry.Resource{}); err != nil {
				t.Fatalf("batch %s: %v", id, err)
			}
			seen[string(log.Body)]++
		}
	}
	return seen
}

func expectOnce(t *testing.T, seen map[string]int, n int) {
	t.Helper()
	for i := range n {
		if key := fmt.Sprintf("%q", record(i)); seen[key] != 1 {
			t.Errorf("record %d was delivered %d times", i, seen[key])
		}
	}
}

// record is the text of the i-th record, long enough to fill chunks.
func record(i int) string { return fmt.Sprintf("%d %s", i, strings.Repeat("x", 1000)) }

// A long outage costs disk and not memory; afterwards everything is there once.
func TestOutageGoesToTheDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		down.Store(true)
		to := &scripted{answer: func(int, context.Context) error {
			if down.Load() {
				return errors.New("refused")
			}
			return nil
		}}
		const bufferBytes = 256 << 10
		e, l := onDisk(t, t.TempDir(), testEnvironment, flush.Limits{Bytes: 16 << 10}, bufferBytes, to)
		for i := range 1000 {
			l.put(record(i))
			if i%10 == 0 {
				time.Sleep(20 * time.Millisecond)
				synctest.Wait()
			}
			if full, _ := l.full(); full {
				t.Fatalf("no room after %d records: %d bytes held", i, l.held)
			}
		}
		if u := e.spool.Usage(); u.Batches < 20 {
			t.Errorf("the spool has %+v", u)
		}
		down.Store(false)
		time.Sleep(time.Minute)
		synctest.Wait()
		c := l.end()
		if c.delivered != 1000 || len(c.dropped) != 0 || e.spool.Usage().Batches != 0 {
			t.Errorf("%v; left in the spool: %+v", c, e.spool.Usage())
		}
		expectOnce(t, to.records(t), 1000)
		e.leave()
	})
}

// A process that ends without a word leaves everything that was committed to
// the next one: the open batch, closed ones, and those in the spool.
func TestNextProcessDeliversWhatTheLastOneHad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		dead := &scripted{answer: func(int, context.Context) error { return errors.New("refused") }}
		e, l := onDisk(t, dir, testEnvironment, flush.Limits{Bytes: 16 << 10}, 1<<20, dead)
		for i := range 50 {
			l.put(record(i))
			l.commit()
		}
		time.Sleep(time.Second)
		l.put("not committed")
		l.stop()
		<-l.drained
		copied := copyTree(t, dir) // as a kill leaves it
		e.leave()

		to := &scripted{}
		other := strings.Replace(testEnvironment, "3", "4", 1)
		_, next := onDisk(t, copied, other, flush.Limits{Bytes: 16 << 10}, 1<<20, to)
		c := next.end()
		if c.recovered != c.delivered || c.received != 0 || c.recovered < 50 {
			t.Error(c)
		}
		expectOnce(t, to.records(t), 50)
		for _, id := range to.tries {
			if !strings.HasPrefix(id, testEnvironment+"-") {
				t.Errorf("batch %s does not have the name that it had", id)
			}
		}
	})
}

// What a killed process left and a full spool does not take is not forgotten.
func TestRecoveryWithAFullSpool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		dead := &scripted{answer: func(_ int, ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}}
		e, l := onDisk(t, dir, testEnvironment, flush.Limits{Bytes: 16 << 10}, 1<<20, dead)
		for i := range 50 {
			l.put(record(i))
			l.commit()
		}
		synctest.Wait() // a kill takes everything as it is at one moment: nothing may move while it is copied
		copied := copyTree(t, dir)
		l.stop()
		<-l.drained
		l.account(false)
		e.leave()

		to := &scripted{}
		_, next := onDisk(t, copied, strings.Replace(testEnvironment, "3", "4", 1), flush.Limits{}, 1<<20, to,
			func(e *edge, _ *lane) { e.config.SpoolBytes = 1 })
		if c := next.end(); c.recovered != 50 || c.delivered != 50 {
			t.Error(c)
		}
		expectOnce(t, to.records(t), 50)
		if arenas, err := filepath.Glob(filepath.Join(copied, "arena-*")); err != nil || len(arenas) > 0 {
			t.Errorf("%v, %v are left", arenas, err)
		}
	})
}

// With a full spool, too, a kill takes nothing that was answered: what cannot
// move there stays in the memory file.
func TestKillWithAFullSpool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		dead := &scripted{answer: func(int, context.Context) error { return errors.New("refused") }}
		e, l := onDisk(t, dir, testEnvironment, flush.Limits{Bytes: 16 << 10}, 256<<10, dead,
			func(e *edge, l *lane) { e.config.SpoolBytes, l.encoding = 1, buffer.Plain })
		for i := range 150 {
			l.put(record(i))
			l.commit()
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		copied := copyTree(t, dir)
		l.stop()
		<-l.drained
		l.account(false)
		e.leave()

		to := &scripted{}
		e, next := onDisk(t, copied, strings.Replace(testEnvironment, "3", "4", 1), flush.Limits{}, 1<<20, to)
		if c := next.end(); c.recovered != 150 || c.delivered != 150 {
			t.Error(c)
		}
		e.leave()
	})
}

// At SHUTDOWN the fallback takes what the destination does not; what neither
// takes is kept where the environment goes on, and else counted as lost.
func TestEndOfAnEnvironmentWithADeadDestination(t *testing.T) {
	refuse := func(int, context.Context) error { return errors.New("refused") }
	for name, tc := range map[string]struct {
		fallback *scripted
		goesOn   bool
		check    func(count) bool
	}{
		"a fallback":         {&scripted{}, false, func(c count) bool { return c.delivered == 3 && c.fallback == 3 }},
		"the environment on": {nil, true, func(c count) bool { return c.spooled == 3 && len(c.dropped) == 0 }},
		"the end":            {nil, false, func(c count) bool { return c.dropped["undelivered_at_shutdown"] == 3 }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				e, l := onDisk(t, dir, testEnvironment, flush.Limits{}, 1<<20, &scripted{answer: refuse})
				if tc.fallback != nil {
					l.fallback = tc.fallback
				}
				for i := range 3 {
					l.put(record(i))
				}
				now := time.Now()
				l.finish(now, now.Add(1900*time.Millisecond), tc.goesOn)
				select {
				case <-l.drained:
				case <-time.After(1900 * time.Millisecond):
				}
				if took := time.Since(now); (took < time.Second) != (tc.goesOn || tc.fallback != nil) {
					t.Errorf("took %v", took) // what the next process can do is left to it
				}
				l.stop()
				<-l.drained
				if tc.goesOn {
					l.keep()
				}
				if c := l.account(tc.goesOn); !tc.check(c) {
					t.Error(c)
				}
				e.leave()
				s, err := spool.Open(filepath.Join(dir, "spool"), 0)
				if err != nil {
					t.Fatal(err)
				}
				if got := s.Usage().Records; got > 0 != tc.goesOn {
					t.Errorf("%d records are left in the spool", got)
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// A disk that cannot be used costs the protection, not the records.
func TestWithoutADisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		to := &scripted{answer: func(try int, _ context.Context) error {
			if try < 3 {
				return errors.New("refused")
			}
			return nil
		}}
		e, l := onDisk(t, filepath.Join(file, "below"), testEnvironment, flush.Limits{Bytes: 16 << 10}, 1<<20, to)
		for i := range 100 {
			l.put(record(i))
			l.commit()
		}
		time.Sleep(time.Minute)
		if c := l.end(); c.delivered != 100 || len(c.dropped) != 0 {
			t.Error(c)
		}
		expectOnce(t, to.records(t), 100)
		e.leave()
	})
}

// Nothing leaves before the restore; then it goes under the environment's own
// name.
func TestSnapshotHasNoIdentity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := &scripted{}
		l := newLane(laneConfig{
			name: "test://x", encoder: wire.TelemetryEvents(), encoding: buffer.Gzip, limits: flush.Limits{Bytes: 1},
			bufferBytes: 1 << 20, sendTimeout: time.Second, environment: "snapshot", pushers: 1,
			reencode: func(*telemetry.Resource) wire.Encoder { return nil },
		}, to, &buffer.Pool{}, &buffer.Sealer{})
		l.waiting = true
		ctx, stop := context.WithCancel(context.Background())
		go l.run(ctx)
		under := &laneUnderTest{l, to, stop}
		under.put("init")
		time.Sleep(time.Hour)
		synctest.Wait()
		to.ids(t)
		l.renew(&telemetry.Resource{EnvironmentID: "mine"}, time.Now())
		synctest.Wait()
		under.put("more")
		synctest.Wait()
		if c := under.end(); c.delivered != 2 {
			t.Error(c)
		}
		for _, id := range to.tries {
			if !strings.HasPrefix(id, "mine-") {
				t.Errorf("batch %s", id)
			}
		}
	})
}

// copyTree copies a folder to another one.
func copyTree(t *testing.T, dir string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

// A restore gives a new name to what came in before it, and not to what an
// earlier process of the environment left: the spool knows that by its own.
func TestRestoreKeepsTheNamesOfWhatWasRecovered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		dead := &scripted{answer: func(int, context.Context) error { return errors.New("refused") }}
		e, l := onDisk(t, dir, testEnvironment, flush.Limits{}, 1<<20, dead)
		l.put("left")
		end := time.Now().Add(time.Second)
		l.finish(time.Now(), end, false)
		time.Sleep(time.Until(end))
		l.stop()
		<-l.drained
		l.keep()
		if c := l.account(true); c.spooled != 1 {
			t.Fatal(c)
		}
		e.leave()

		to := &scripted{}
		e, next := onDisk(t, dir, strings.Replace(testEnvironment, "3", "4", 1), flush.Limits{}, 1<<20, to,
			func(_ *edge, l *lane) { l.waiting = true })
		next.put("init")
		next.flush(time.Now())
		mine := strings.Replace(testEnvironment, "3", "5", 1)
		next.renew(&telemetry.Resource{EnvironmentID: mine}, time.Now())
		c := next.end()
		if c.recovered != 1 || c.delivered != 2 || len(c.dropped) != 0 || e.spool.Usage().Batches != 0 {
			t.Errorf("%v; left in the spool: %+v", c, e.spool.Usage())
		}
		for _, id := range []string{testEnvironment + "-1", mine + "-1"} {
			if _, ok := to.taken[id]; !ok {
				t.Errorf("batch %s was not delivered", id)
			}
		}
		e.leave()
	})
}

// What a snapshot holds goes to no disk, however much it is: it has no name yet.
func TestSnapshotStaysInMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, l := onDisk(t, t.TempDir(), testEnvironment, flush.Limits{Bytes: 16 << 10}, 256<<10, &scripted{},
			func(_ *edge, l *lane) { l.waiting, l.encoding = true, buffer.Plain })
		for i := range 500 {
			l.put(record(i))
			if i%10 == 0 {
				synctest.Wait()
			}
		}
		if u := e.spool.Usage(); u.Batches > 0 || l.pool.Usage().Mapped > 0 {
			t.Errorf("the spool has %+v, the arena %+v", u, l.pool.Usage())
		}
		l.renew(&telemetry.Resource{EnvironmentID: strings.Replace(testEnvironment, "3", "5", 1)}, time.Now())
		if c := l.end(); c.delivered != 500 || len(c.dropped) != 0 {
			t.Error(c)
		}
		e.leave()
	})
}

// Where SHUTDOWN leaves no time at all, the open batch is for the next process.
func TestNoTimeKeepsTheOpenBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, l := onDisk(t, t.TempDir(), testEnvironment, flush.Limits{}, 1<<20, &scripted{})
		l.put("open")
		l.stop()
		<-l.drained
		l.keep()
		if c := l.account(true); c.spooled != 1 || len(c.dropped) != 0 {
			t.Error(c)
		}
		e.leave()
	})
}
