package edge

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"slipstream/edge/buffer"
	"slipstream/telemetry"
	"slipstream/wire"
)

// total reads the value of the running total in a batch, and of whose it is.
func (s *scripted) total(t *testing.T, environment string) (value float64, found bool) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	toText := wire.NDJSON(&telemetry.Resource{}).(buffer.ExportEncoder)
	for _, body := range s.taken {
		if !strings.Contains(body, environment) {
			continue
		}
		text := string(toText.AppendExport(nil, &telemetry.Export{Signal: telemetry.Metrics, Records: 1, Body: []byte(body)}))
		if !strings.Contains(text, `"aggregationTemporality":2`) {
			t.Errorf("not cumulative: %s", text)
		}
		_, rest, _ := strings.Cut(text, `"asDouble":`)
		for _, c := range rest {
			if c < '0' || c > '9' {
				break
			}
			value = value*10 + float64(c-'0')
		}
		found = true
	}
	return value, found
}

// What a dead process had counted goes out as its own environment's total, and is no
// part of the next process's.
func TestRunningTotalsOfADeadProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cumulative := func(l *lane) { l.cumulative = true }
		dir := t.TempDir()
		r := rollUpAs(dir, testEnvironment, false, nil, cumulative)
		if err := r.aggregate.add(counted(5)); err != nil {
			t.Fatal(err)
		}
		copied := copyTree(t, dir)
		r.abandon()
		other := strings.Replace(testEnvironment, "3", "4", 1)
		next := rollUpAs(copied, other, true, nil, cumulative)
		if err := next.aggregate.add(counted(2)); err != nil {
			t.Fatal(err)
		}
		next.end(t)
		for environment, want := range map[string]float64{testEnvironment: 5, other: 2} {
			if got, found := next.to[0].total(t, environment); got != want || !found {
				t.Errorf("the total of %s is %g, want %g", environment, got, want)
			}
		}
	})
}

// A bin that is over when a freeze ends leaves at once: the wall clock has gone on,
// the monotonic one has not.
func TestRollupAfterAFreeze(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rollUp(t.TempDir(), testEnvironment, true, nil)
		var mu sync.Mutex
		frozen := time.Duration(0)
		r.aggregate.clock = newClock(func() time.Time {
			mu.Lock()
			defer mu.Unlock()
			return time.Now().Round(0).Add(frozen)
		})
		ctx, stop := context.WithCancel(context.Background())
		go r.aggregate.run(ctx)
		if err := r.aggregate.add(counted(1)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		mu.Lock()
		frozen = 10 * time.Minute
		mu.Unlock()
		time.Sleep(look) // nobody has told
		synctest.Wait()
		if n := r.to[0].tried(); n != 1 {
			t.Errorf("%d batches after the freeze", n)
		}
		stop()
		r.end(t)
		if got := r.to[0].sums(t, testEnvironment)[testEnvironment]; got != 1 {
			t.Errorf("the sum is %g", got)
		}
	})
}
