package flush

import (
	"testing"
	"time"
)

var at0 = time.Date(2026, 10, 1, 9, 0, 0, 0, time.UTC)

func at(seconds float64) time.Time {
	return at0.Add(time.Duration(seconds * float64(time.Second)).Round(time.Microsecond))
}

// step is one thing that happens to a Batching and whether it closes the batch.
type step struct {
	at     float64
	what   string // append, invoke, look
	bytes  int
	closes bool
}

func TestBatching(t *testing.T) {
	tests := map[string]struct {
		limits Limits
		steps  []step
	}{
		"bytes": {Limits{Bytes: 100}, []step{
			{0, "append", 60, false}, {1, "append", 39, false}, {2, "append", 1, true}, {3, "append", 99, false},
		}},
		"one record over the limit": {Limits{Bytes: 100}, []step{{0, "append", 1000, true}}},
		"invocations count from the last batch": {Limits{Invokes: 2}, []step{
			{0, "invoke", 0, false}, {0, "append", 1, false}, {1, "invoke", 0, true}, {1, "append", 1, false},
			{2, "invoke", 0, false}, {3, "invoke", 0, true},
		}},
		"an empty batch is never closed": {Limits{Invokes: 1, Age: time.Second}, []step{
			{0, "invoke", 0, false}, {9, "invoke", 0, false}, {9, "look", 0, false}, {10, "append", 1, false},
			{10, "invoke", 0, true},
		}},
		"age counts from the first record": {Limits{Age: 10 * time.Second}, []step{
			{0, "look", 0, false}, {5, "append", 1, false}, {14, "append", 1, false}, {14.9, "look", 0, false},
			{15, "look", 0, true}, {15, "look", 0, false}, {20, "append", 1, false}, {30, "append", 1, true},
		}},
		"age is seen at an invocation, as after a freeze": {Limits{Age: 10 * time.Second}, []step{
			{0, "append", 1, false}, {3600, "invoke", 0, true},
		}},
		"no limits": {Limits{}, []step{
			{0, "append", 1 << 30, false}, {1e6, "invoke", 0, false}, {1e6, "look", 0, false},
		}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			b := New(tc.limits)
			for i, s := range tc.steps {
				var closes bool
				switch s.what {
				case "append":
					closes = b.Appended(at(s.at), s.bytes)
				case "invoke":
					closes = b.Invoked(at(s.at))
				case "look":
					closes = b.Due(at(s.at))
				}
				if closes != s.closes {
					t.Fatalf("step %d (%+v): closes = %v", i, s, closes)
				}
				if closes {
					b.Closed()
				}
			}
		})
	}
}

func TestDueAt(t *testing.T) {
	b := New(Limits{Age: 10 * time.Second})
	if !b.DueAt().IsZero() {
		t.Error("an empty batch has no due time")
	}
	b.Appended(at(3), 1)
	if got := b.DueAt(); !got.Equal(at(13)) {
		t.Errorf("due at %v, want %v", got, at(13))
	}
}

func TestEnding(t *testing.T) {
	tests := map[string]struct {
		events   func(*Ending)
		complete bool
	}{
		"nothing came":         {func(*Ending) {}, false},
		"Init only":            {func(e *Ending) { e.Arrived("platform.initReport", "") }, true},
		"invoked, no report":   {func(e *Ending) { e.Arrived("platform.initReport", ""); e.Invoked("a") }, false},
		"invoked and reported": {func(e *Ending) { e.Invoked("a"); e.Arrived("platform.report", "a") }, true},
		"an earlier one's report": {func(e *Ending) {
			e.Invoked("a")
			e.Invoked("b")
			e.Arrived("platform.report", "a")
		}, false},
		"reported before the event": {func(e *Ending) { e.Arrived("platform.report", "a"); e.Invoked("a") }, true},
		"lines are no report":       {func(e *Ending) { e.Invoked("a"); e.Arrived("function", "a") }, false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			e := NewEnding(300*time.Millisecond, 100*time.Millisecond)
			tc.events(&e)
			if got := e.Complete(); got != tc.complete {
				t.Errorf("Complete() = %v", got)
			}
		})
	}
}

func TestEndingTimes(t *testing.T) {
	tests := map[string]struct {
		deadline             float64
		receiveFor, sendTill float64
	}{
		"two seconds":      {2, 0.3, 1.9},
		"little time":      {0.3, 0.1, 0.2},
		"none":             {0, 0, -0.1},
		"already too late": {-1, 0, -1.1},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			e := NewEnding(300*time.Millisecond, 100*time.Millisecond)
			e.Shutdown(at(0), at(tc.deadline))
			if got := e.ReceiveUntil(); !got.Equal(at(tc.receiveFor)) {
				t.Errorf("ReceiveUntil = %v", got.Sub(at0))
			}
			if got := e.SendUntil(); !got.Equal(at(tc.sendTill)) {
				t.Errorf("SendUntil = %v", got.Sub(at0))
			}
		})
	}
}

// While the platform goes on sending, what it owes is waited for: up to two
// thirds of the time that is left.
func TestEndingGoesOnReceiving(t *testing.T) {
	e := NewEnding(300*time.Millisecond, 100*time.Millisecond)
	e.Invoked("a")
	e.Received(at(9))
	e.Shutdown(at(10), at(12))
	for _, tc := range []struct{ received, until float64 }{{9.5, 10.3}, {10.2, 10.5}, {10.9, 11.2}, {11.3, 10 + 4./3}} {
		e.Received(at(tc.received))
		if got := e.ReceiveUntil(); got.Sub(at(tc.until)).Abs() > time.Microsecond {
			t.Errorf("after a request at %v: until %v, want %v", tc.received, got.Sub(at(0)), tc.until)
		}
	}
}
