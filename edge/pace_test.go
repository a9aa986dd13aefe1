package edge

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"slipstream/edge/flush"
	"slipstream/edge/lambda"
	"slipstream/process"
)

// holding is an edge with one lane that holds every invocation up to a second.
func holding(t *testing.T, to *scripted) *edge {
	t.Helper()
	l := startLane(flush.Limits{}, 1<<20, to)
	t.Cleanup(l.stop)
	e := &edge{
		lanes: []*lane{l.lane}, changed: make(chan struct{}, 1), release: make(chan struct{}, 1),
		ready: make(chan struct{}),
		pacer: flush.NewPacer(flush.Pace{Strategy: flush.End, Hold: time.Second}),
	}
	l.changed = e.changed
	e.logs = process.NewLogs(process.LogPolicy{}, e.emit)
	return e
}

// held gives how long the invocation is held after event has happened to the
// edge, one second after its INVOKE.
func held(e *edge, event func()) time.Duration {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go e.keepPace(ctx)
	now := time.Now()
	time.AfterFunc(time.Second, event)
	e.invoked(ctx, now, lambda.Event{Type: lambda.EventInvoke, RequestID: "r", Deadline: now.Add(time.Minute)})
	return time.Since(now) - time.Second
}

func TestAnInvocationWithNothingToSendIsNotHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := holding(t, &scripted{})
		got := held(e, func() {
			e.mu.Lock()
			e.pacer.Done("r", time.Now(), false)
			e.mu.Unlock()
			signal(e.changed)
		})
		if got != 0 {
			t.Errorf("held for %v after the runtime was done", got)
		}
	})
}

// The platform's runtimeDone stands behind a request that there is no room for.
func TestAFullBufferHoldsNoInvocation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := holding(t, &scripted{})
		got := held(e, func() {
			e.lanes[0].mu.Lock()
			e.lanes[0].held = 1 << 20
			e.lanes[0].mu.Unlock()
			if e.makeRoom(context.Background()) {
				t.Error("there is room in a full buffer")
			}
		})
		if got != 0 {
			t.Errorf("held for %v after the buffer was full", got)
		}
		time.Sleep(roomWait)
	})
}

// The INVOKE comes while such a request is already waiting.
func TestAFullBufferHoldsNoLaterInvocation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := holding(t, &scripted{})
		e.lanes[0].mu.Lock()
		e.lanes[0].held = 1 << 20
		e.lanes[0].mu.Unlock()
		go e.makeRoom(context.Background())
		time.Sleep(time.Millisecond)
		if got := held(e, func() {}); got != -time.Second {
			t.Errorf("held for %v", got+time.Second)
		}
		time.Sleep(roomWait)
	})
}

// Without a subscription nothing will ever say that the runtime is done.
func TestNothingIsHeldWithoutASubscription(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := holding(t, &scripted{})
		e.deaf = true
		if got := held(e, func() {}); got != -time.Second {
			t.Errorf("held for %v", got+time.Second)
		}
	})
}

// Only a strategy that holds nothing may ask for the schema without
// platform.runtimeDone.
func TestEndAsksForRuntimeDone(t *testing.T) {
	for strategy, want := range map[flush.Strategy]string{
		flush.End: "2021-03-18", flush.Adaptive: "2020-08-15", flush.Periodic: "2020-08-15",
	} {
		c := Config{TelemetryAPI: apiLogs, OldLogs: true, Strategy: strategy}
		if got := c.apiVersion(); got != want {
			t.Errorf("%s: schema %s, want %s", strategy, got, want)
		}
	}
}

// At SHUTDOWN what the platform owes is waited for while a request is under way,
// however long it takes, within the time that is left; else 300 ms of silence are enough.
func TestReceivingGoesOnWhileARequestComes(t *testing.T) {
	for name, tc := range map[string]struct{ busyFor, reportAt, want time.Duration }{
		"silence":                    {0, time.Hour, 300 * time.Millisecond},
		"the report alone":           {0, 200 * time.Millisecond, 200 * time.Millisecond},
		"a slow request":             {time.Second, time.Second, time.Second},
		"a request that brings none": {500 * time.Millisecond, time.Hour, 600 * time.Millisecond},
		"one that never ends":        {time.Hour, time.Hour, shutdownTime * 2 / 3},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				e := &edge{arrived: make(chan struct{}, 1), ending: flush.NewEnding(300*time.Millisecond, exitReserve),
					busy: func() bool { return time.Since(began) < tc.busyFor }}
				e.ending.Invoked("r")
				e.ending.Shutdown(began, began.Add(shutdownTime))
				report := time.AfterFunc(tc.reportAt, func() {
					e.mu.Lock()
					defer e.mu.Unlock()
					e.ending.Arrived("platform.report", "r")
					signal(e.arrived)
				})
				defer report.Stop()
				if e.receive(); time.Since(began).Round(time.Millisecond) != tc.want.Round(time.Millisecond) {
					t.Errorf("received for %v, want %v", time.Since(began), tc.want)
				}
			})
		})
	}
}
