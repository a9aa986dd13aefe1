package emulator

import (
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestShutdown is the table of 2.5: who is registered, how long each has, and
// how each process ends.
func TestShutdown(t *testing.T) {
	const killed = "killed"
	for _, c := range []struct {
		name, init, plan string
		sigterm          bool   // the runtime gets SIGTERM first
		runtime          string // how it ends
		extension        string
		shutdownEvent    bool
		atLeast          time.Duration // of the whole
	}{
		{"no extension", "", "", false, killed, "", false, 0},
		{"internal only", "internal=agent", "", true, "exit 0", "", false, 0},
		{"internal only, stubborn runtime", "internal=agent,stubborn", "", true, killed, "", false, 500 * time.Millisecond},
		{"external", "", `{"Events":["SHUTDOWN"]}`, true, "exit 0", "exit 0", true, 0},
		{"external, stubborn runtime", "stubborn", `{"Events":["SHUTDOWN"]}`, true, killed, "exit 0", true,
			300 * time.Millisecond},
		{"external without SHUTDOWN", "", `{"Events":["INVOKE"]}`, true, "exit 0", killed, false, 0},
		{"external fails", "", `{"Events":["SHUTDOWN"],"ExitShutdown":4}`, true, "exit 0", "exit 4", true, 0},
		{"external hangs", "", `{"Events":["SHUTDOWN"],"NoNextAfter":"SHUTDOWN"}`, true, "exit 0", killed, true,
			2 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			settings := []setting{variable("INIT", c.init)}
			if c.plan != "" {
				settings = append(settings, extension("ext", c.plan))
			}
			s := play(t, settings...)
			s.invoke(`{}`)
			s.settle()
			began := time.Now()
			s.stop()
			if took := time.Since(began); took < c.atLeast {
				t.Errorf("shutdown took %v, at least %v was granted", took, c.atLeast)
			}
			if got := len(s.log.lines("function: SIGTERM")); (got == 1) != c.sigterm {
				t.Errorf("the runtime got SIGTERM %d times", got)
			}
			want := []string{"runtime " + c.runtime}
			if c.plan != "" {
				want = append(want, "ext "+c.extension) // always after the runtime
			}
			if diff := cmp.Diff(want, ends(s.recorder.ProcessEnds())); diff != "" {
				t.Error(diff)
			}
			if got := s.log.lines("[ext] SHUTDOWN "); (len(got) == 1 && got[0] == "spindown within-2s=true") != c.shutdownEvent {
				t.Errorf("SHUTDOWN: %q", got)
			}
		})
	}
}

func ends(list []ProcessEnd) []string {
	var lines []string
	for _, e := range list {
		line := e.Extension
		if line == "" {
			line = "runtime"
		}
		if e.Signal == syscall.SIGKILL {
			line += " killed"
		} else {
			line += " exit " + string(rune('0'+e.ExitCode))
		}
		lines = append(lines, line)
	}
	return lines
}

// TestShutdownWithoutInvocation: an environment made ahead of time.
func TestShutdownWithoutInvocation(t *testing.T) {
	s := play(t, extension("ext", subscribed), change(func(c *Config, f *Function) { f.Warm, c.Freeze = 1, true }))
	s.stop()
	if got := s.log.lines("[ext] "); len(got) != 3 || got[2] != "SHUTDOWN spindown within-2s=true" {
		t.Errorf("the extension's life: %q", got)
	}
	if got := story(only(s.received("ext"), "platform.initReport", "platform.start")); !slices.Equal(got,
		[]string{"platform.initReport init success"}) {
		t.Errorf("telemetry: %q", got)
	}
}

// TestIdleTimeout: an environment that nobody uses is spun down; the next
// invocation is a cold start.
func TestIdleTimeout(t *testing.T) {
	s := play(t, extension("ext", ""), change(func(c *Config, _ *Function) { c.IdleTimeout = 50 * time.Millisecond }))
	s.invoke(`{}`)
	s.eventually("spindown", func() bool { return len(s.recorder.ProcessEnds()) == 2 })
	if got := s.printed(1, "[ext] SHUTDOWN "); len(got) != 1 || !strings.HasPrefix(got[0], "spindown") {
		t.Errorf("SHUTDOWN: %q", got)
	}
	s.invoke(`{}`)
	s.settle()
	for _, r := range s.recorder.Reports() {
		if !r.ColdStart || r.Init <= 0 {
			t.Errorf("not a cold start: %+v", r)
		}
	}
}

// TestIdleTimeoutWithoutInvocation: a warm environment that nobody ever uses.
func TestIdleTimeoutWithoutInvocation(t *testing.T) {
	s := play(t, extension("ext", ""), change(func(c *Config, f *Function) {
		f.Warm, c.Freeze, c.IdleTimeout = 1, true, 50*time.Millisecond
	}))
	s.eventually("spindown", func() bool { return len(s.recorder.ProcessEnds()) == 2 })
	if got := s.printed(1, "[ext] SHUTDOWN "); len(got) != 1 || got[0] != "spindown within-2s=true" {
		t.Errorf("SHUTDOWN: %q", got)
	}
}

// TestShutdownLosesPatience: an invocation hangs; Shutdown kills it when its
// context ends, and the caller gets an answer.
func TestShutdownLosesPatience(t *testing.T) {
	s := play(t)
	answer := s.begin(`{"Gate":"GATE/never"}`)
	s.reach()
	ctx, cancel := contextWithTimeout(50 * time.Millisecond)
	defer cancel()
	s.impatient = true
	if err := s.Shutdown(ctx); err == nil {
		t.Error("a killed invocation is not a clean shutdown")
	}
	if got := <-answer; !strings.Contains(string(got.Payload), "Runtime.ExitError") {
		t.Errorf("got %s", got.Payload)
	}
}
