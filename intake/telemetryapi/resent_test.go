package telemetryapi

import (
	"hash/maphash"
	"testing"
	"testing/synctest"
	"time"
)

// TestResentAfterAFreeze: the answer is lost, the environment is frozen for
// hours, and then the platform sends the body again.
func TestResentAfterAFreeze(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := resent{seed: maphash.MakeSeed()}
		lost, next := new(int), new(int)
		if r.seen(lost, []byte("[1]")) {
			t.Error("the first body counts as one that was seen")
		}
		r.took(lost, []byte("[1]"))
		time.Sleep(5 * time.Hour)
		if !r.seen(next, []byte("[1]")) {
			t.Error("the body is taken twice")
		}
	})
}
