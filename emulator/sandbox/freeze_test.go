package sandbox

import (
	"errors"
	"slices"
	"syscall"
	"testing"
	"time"
)

// variant is a machine that lacks something.
type variant struct {
	name string
	machine
}

// variants are this machine with each of its freezers, and with nothing.
func variants() []variant {
	all := thisMachine()
	without := func(m machine, drop func(hierarchy) bool) machine {
		m.hierarchies = slices.DeleteFunc(slices.Clone(m.hierarchies), drop)
		return m
	}
	v2 := func(h hierarchy) bool { return h.v2 }
	freezerOf := func(h hierarchy) bool { return slices.Contains(h.controllers, "freezer") }
	return []variant{
		{"all there is", all},
		{"version 1", without(all, v2)},
		{"version 2 alone", without(all, func(h hierarchy) bool { return !h.v2 })},
		{"no freezer", without(without(all, v2), freezerOf)},
		{"no groups", machine{}},
		{"nothing", machine{noMounts: errors.New("not allowed here")}},
	}
}

func TestFreezeStopsEveryThreadOfEveryGeneration(t *testing.T) {
	for _, v := range variants() {
		t.Run(v.name, func(t *testing.T) {
			shared := t.TempDir()
			s := makeSandbox(t, Config{Binds: []string{shared}, MemoryMB: 512}, v.machine)
			p := startRole(t, s, &text{}, "count", shared)
			eventually(t, "three generations", func() bool { return len(counts(shared)) == 3 })
			for range 3 {
				if err := s.Freeze(); err != nil {
					t.Fatal(err)
				}
				if err := s.Freeze(); err != nil {
					t.Fatalf("second freeze: %v", err)
				}
				before := counts(shared)
				time.Sleep(60 * time.Millisecond)
				if after := counts(shared); !slices.Equal(before, after) {
					t.Errorf("counters went from %v to %v while frozen", before, after)
				}
				if _, err := s.Start(Command{Path: "/bin/true"}); err == nil {
					t.Error("a process was started while frozen")
				}
				if err := s.Thaw(); err != nil {
					t.Fatal(err)
				}
				if err := s.Thaw(); err != nil {
					t.Fatalf("second thaw: %v", err)
				}
				eventually(t, "counting after the thaw", func() bool {
					after := counts(shared)
					return len(after) == 3 && after[0] != before[0] && after[1] != before[1] && after[2] != before[2]
				})
			}
			p.Kill()
			waitDone(t, p)
		})
	}
}

func TestFrozenProcessesCanBeKilled(t *testing.T) {
	for _, v := range variants() {
		t.Run(v.name, func(t *testing.T) {
			shared := t.TempDir()
			s := makeSandbox(t, Config{Binds: []string{shared}}, v.machine)
			a, b := startRole(t, s, &text{}, "asleep"), startRole(t, s, &text{}, "count", shared)
			eventually(t, "counting", func() bool { return len(counts(shared)) == 3 })
			if err := s.Freeze(); err != nil {
				t.Fatal(err)
			}
			a.Kill()
			waitDone(t, a)
			if exit := a.Exit(); exit.Signal != syscall.SIGKILL {
				t.Errorf("%+v", exit)
			}
			before := counts(shared)
			time.Sleep(50 * time.Millisecond)
			if after := counts(shared); !slices.Equal(before, after) {
				t.Errorf("the other one ran: %v, %v", before, after)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			waitDone(t, b)
		})
	}
}
