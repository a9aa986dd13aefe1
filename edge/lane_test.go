package edge

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipstream/destination"
	"slipstream/edge/buffer"
	"slipstream/edge/flush"
	"slipstream/telemetry"
	"slipstream/wire"
)

// scripted is a destination that answers as the test says and remembers what it
// took. It stands in for a backend in virtual time, where no socket can be.
type scripted struct {
	mu     sync.Mutex
	answer func(try int, ctx context.Context) error
	tries  []string // ids
	bodies map[string]string
	taken  map[string]string // the bodies that it said yes to
	times  []time.Time
}

func (s *scripted) Send(ctx context.Context, b *destination.Batch) error {
	s.mu.Lock()
	s.tries = append(s.tries, b.ID)
	s.times = append(s.times, time.Now())
	try := len(s.tries)
	if known, ok := s.bodies[b.ID]; ok && known != string(b.Body) {
		panic("the same batch with other bytes: " + b.ID)
	}
	if s.bodies == nil {
		s.bodies = map[string]string{}
	}
	s.bodies[b.ID] = string(b.Body)
	s.mu.Unlock()
	var err error
	if s.answer != nil {
		err = s.answer(try, ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		if s.taken == nil {
			s.taken = map[string]string{}
		}
		s.taken[b.ID] = string(b.Body)
	}
	return err
}

func gunzip(t *testing.T, body string) string {
	t.Helper()
	r, err := gzip.NewReader(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func (s *scripted) Close() error { return nil }

// laneUnderTest is a lane with its goroutine.
type laneUnderTest struct {
	*lane
	to   *scripted
	stop context.CancelFunc
}

func startLane(limits flush.Limits, bufferBytes int, to *scripted) *laneUnderTest {
	l := newLane(laneConfig{
		name: "test://x", encoder: wire.TelemetryEvents(), encoding: buffer.Plain, limits: limits,
		bufferBytes: bufferBytes, sendTimeout: 5 * time.Second, environment: "e", pushers: 1,
	}, to, &buffer.Pool{}, &buffer.Sealer{})
	ctx, stop := context.WithCancel(context.Background())
	go l.run(ctx)
	return &laneUnderTest{l, to, stop}
}

func (l *laneUnderTest) put(text string) {
	l.append(&telemetry.Log{Time: testNow, Type: "function", Body: []byte(`"` + text + `"`)}, time.Now())
}

// end finishes the lane within two seconds of virtual time.
func (l *laneUnderTest) end() count {
	now := time.Now()
	l.finish(now, now.Add(1900*time.Millisecond), false)
	select {
	case <-l.drained:
	case <-time.After(1900 * time.Millisecond):
	}
	l.stop()
	<-l.drained
	return l.account(false)
}

var testNow = time.Date(2026, 10, 1, 9, 0, 0, 0, time.UTC)

// ids compares which batches were tried, in order.
func (s *scripted) ids(t *testing.T, want ...string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if diff := cmp.Diff(want, s.tries); diff != "" {
		t.Errorf("tries (-want +got):\n%s", diff)
	}
}

func TestLaneTriggers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := &scripted{}
		l := startLane(flush.Limits{Bytes: 300, Invokes: 2, Age: 10 * time.Second}, 1<<20, to)
		l.put("one")
		time.Sleep(9 * time.Second)
		synctest.Wait()
		to.ids(t)
		time.Sleep(2 * time.Second) // the age, with no invocation to look at it
		synctest.Wait()
		to.ids(t, "e-1")
		for range 5 {
			l.put("two")
		}
		synctest.Wait() // the bytes
		to.ids(t, "e-1", "e-2")
		l.invoked(time.Now())
		l.put("three")
		l.invoked(time.Now()) // the invocations
		synctest.Wait()
		to.ids(t, "e-1", "e-2", "e-3")
		c := l.end()
		if c.received != 7 || c.delivered != 7 || c.batches != 3 || len(c.dropped) != 0 {
			t.Error(c)
		}
	})
}

func TestLaneRetriesTheSameBytesInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := errors.New("connection refused")
		to := &scripted{answer: func(try int, _ context.Context) error {
			if try <= 3 {
				return down
			}
			return nil
		}}
		l := startLane(flush.Limits{Bytes: 1}, 1<<20, to)
		l.put("a")
		l.put("b")
		time.Sleep(time.Minute)
		synctest.Wait()
		to.ids(t, "e-1", "e-1", "e-1", "e-1", "e-2")
		if c := l.end(); c.delivered != 2 || c.retries != 3 || len(c.dropped) != 0 {
			t.Error(c)
		}
	})
}

func TestLaneDropsWhatIsRejectedForGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := &scripted{answer: func(try int, _ context.Context) error {
			if try == 1 {
				return fmt.Errorf("send: %w", &destination.Error{Op: "post", Permanent: true, Err: errors.New("bad request")})
			}
			return nil
		}}
		l := startLane(flush.Limits{Bytes: 1}, 1<<20, to)
		l.put("a")
		l.put("b")
		synctest.Wait()
		c := l.end()
		to.ids(t, "e-1", "e-2")
		if diff := cmp.Diff(map[string]int{"rejected": 1}, c.dropped); diff != "" || c.delivered != 1 {
			t.Error(c, diff)
		}
	})
}

func TestLaneHonoursRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := &scripted{answer: func(try int, _ context.Context) error {
			if try == 1 {
				return &destination.Error{Op: "post", RetryAfter: 7 * time.Second, Err: errors.New("slow down")}
			}
			return nil
		}}
		l := startLane(flush.Limits{Bytes: 1}, 1<<20, to)
		l.put("a")
		time.Sleep(time.Minute)
		l.end()
		if waited := to.times[1].Sub(to.times[0]); waited < 7*time.Second || waited > 10*time.Second {
			t.Errorf("tried again after %v, want about 7s", waited)
		}
	})
}

func TestLaneAtShutdownWithoutABackend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := &scripted{answer: func(int, context.Context) error { return errors.New("refused") }}
		l := startLane(flush.Limits{}, 1<<20, to)
		l.put("a")
		began := time.Now()
		c := l.end()
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("took %v", took)
		}
		if diff := cmp.Diff(map[string]int{"undelivered_at_shutdown": 1}, c.dropped); diff != "" {
			t.Error(diff)
		}
		if len(to.tries) < 5 {
			t.Errorf("only %d tries in the last two seconds", len(to.tries))
		}
	})
}

// A try that hangs when SHUTDOWN comes, as on a connection that a freeze has
// killed, leaves time for another.
func TestLaneAtShutdownWithAHangingTry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := &scripted{answer: func(try int, ctx context.Context) error {
			if try == 1 {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}}
		l := startLane(flush.Limits{Bytes: 1}, 1<<20, to)
		l.put("a")
		synctest.Wait()
		c := l.end()
		to.ids(t, "e-1", "e-1")
		if c.delivered != 1 {
			t.Error(c)
		}
	})
}

func TestLaneTriesNothingAfterTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := &scripted{answer: func(try int, _ context.Context) error {
			if try > 100 {
				time.Sleep(time.Hour) // or a lane that tries again at once would do so for ever
			}
			return errors.New("refused")
		}}
		l := startLane(flush.Limits{}, 1<<20, to)
		l.put("one")
		l.finish(time.Now(), time.Now().Add(500*time.Millisecond), false)
		time.Sleep(time.Second)
		synctest.Wait()
		if n := len(to.tries); n < 2 || n > 100 {
			t.Errorf("%d tries within half a second", n)
		}
		l.stop()
		<-l.drained
	})
}

func TestLaneTryIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := &scripted{answer: func(try int, ctx context.Context) error {
			if try == 1 {
				<-ctx.Done()
				return context.Cause(ctx)
			}
			return nil
		}}
		l := startLane(flush.Limits{Bytes: 1}, 1<<20, to)
		l.put("a")
		time.Sleep(10 * time.Second)
		synctest.Wait()
		to.ids(t, "e-1", "e-1")
		l.end()
	})
}

func TestLaneGivesUpTheOldestWhenFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := &scripted{answer: func(int, context.Context) error { return errors.New("refused") }}
		const limit = 64 << 10
		l := startLane(flush.Limits{Bytes: 4 << 10}, limit, to)
		text := strings.Repeat("x", 1<<10)
		for range 500 {
			l.put(text)
			synctest.Wait()
			if full, failing := l.full(); full && failing {
				l.dropOldest()
			}
			if l.held > limit+pageBytesForTest {
				t.Fatalf("holds %d bytes, limit %d", l.held, limit)
			}
		}
		c := l.end()
		if c.dropped["buffer_full"] == 0 || c.dropped["buffer_full"]+c.dropped["undelivered_at_shutdown"] != 500 {
			t.Error(c)
		}
	})
}

// pageBytesForTest is the memory of one open page, before it is compressed.
const pageBytesForTest = 64 << 10

func TestTypesFilter(t *testing.T) {
	c := laneConfig{types: []string{"function", "platform"}}
	for kind, want := range map[string]bool{"function": true, "platform.start": true, "extension": false} {
		if c.wants(kind) != want {
			t.Errorf("wants(%s) = %v", kind, !want)
		}
	}
	if all := (laneConfig{}); !all.wants("extension") {
		t.Error("without types everything is wanted")
	}
}
