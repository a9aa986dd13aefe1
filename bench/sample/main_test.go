package main

import "testing"

// The goal: with one invocation in a hundred failing, at most a tenth of the
// bytes is sent, and every line of every failed one.
func TestATenthIsSentAndNoFailureIsLost(t *testing.T) {
	w, err := prepare(2000)
	if err != nil {
		t.Fatal(err)
	}
	if len(w.failed) != 20 {
		t.Fatalf("%d invocations fail", len(w.failed))
	}
	r := w.run(true)
	if r.share <= 1 || r.share > 10 || r.lost != 0 || r.difference != 0 {
		t.Errorf("%.1f %% sent, %d lines of failed invocations lost or doubled, counts are off by %d",
			r.share, r.lost, r.difference)
	}
	if r := w.run(false); r.share > 10 || r.lost != 0 || r.difference != 0 {
		t.Errorf("with all platform events: %.1f %% sent, %d lost, counts off by %d", r.share, r.lost, r.difference)
	}
}
