package handoff_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipstream/handoff"
)

const payload = 100_000 // bytes

// client is one of the three clients: it hands over a payload that begins with
// a name, and tells the counts so far.
type client interface {
	hand(way, name string, size int) (handoff.Stats, error)
}

// inGo is the Go client.
type inGo struct{ *handoff.Client }

func (c inGo) hand(way, name string, size int) (handoff.Stats, error) {
	body := []byte(name + " " + strings.Repeat("x", max(0, size-len(name)-1)))
	var err error
	switch way {
	case "post":
		err = c.Post(handoff.Logs, body)
	case "write":
		err = c.Write(handoff.Logs, body)
	case "send":
		err = c.Send(handoff.Logs, body)
	case "buffer":
		var b *handoff.Buffer
		if b, err = c.Buffer(len(body) + 10); err == nil {
			err = b.Send(handoff.Logs, copy(b.Bytes(), body))
		}
	}
	return c.Stats(), err
}

// script is the client of another language, in a process of its own.
type script struct {
	in  io.Writer
	out *bufio.Reader
}

func (s script) hand(way, name string, size int) (stats handoff.Stats, err error) {
	if _, err := fmt.Fprintln(s.in, way, name, size); err != nil {
		return stats, err
	}
	line, err := s.out.ReadString('\n')
	if err != nil {
		return stats, err
	}
	_, err = fmt.Sscan(line, &stats.HTTP, &stats.File, &stats.IPC, &stats.Fallbacks, &stats.Timeouts,
		&stats.Refused, &stats.Failed)
	if failure := strings.Join(strings.Fields(line)[7:], " "); failure != "" {
		err = errors.Join(err, errors.New(failure))
	}
	return stats, err
}

// language makes a client; ways are those that it has.
type language struct {
	name string
	ways []string
	new  func(t *testing.T, at places, acknowledge bool) client
}

func languages() []language {
	all := []string{"post", "write", "send", "buffer"}
	return []language{{"go", all, newGo}, {"python", all, newScript("python3", "client.py")},
		{"node", all[:3], newScript("node", "client.js")}}
}

func newGo(t *testing.T, at places, acknowledge bool) client {
	c := handoff.New(handoff.Options{HTTP: at.http, Directory: at.directory, Socket: at.ipc, Rest: 1,
		HTTPBound: at.bound, SendBound: at.bound, Acknowledge: acknowledge})
	t.Cleanup(func() { _ = c.Close() })
	return inGo{c}
}

func newScript(interpreter, name string) func(*testing.T, places, bool) client {
	return func(t *testing.T, at places, acknowledge bool) client {
		cmd := exec.Command(interpreter, filepath.Join("testdata", name), at.http, at.directory, at.ipc, at.stream,
			fmt.Sprint(acknowledge), fmt.Sprint(at.bound.Milliseconds()))
		cmd.Stderr = os.Stderr
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatalf("run %s: %v (install it)", interpreter, err)
		}
		t.Cleanup(func() { _, _ = in.Close(), cmd.Wait() })
		return script{in, bufio.NewReader(out)}
	}
}

// forEach runs a story with each language's client.
func forEach(t *testing.T, story func(t *testing.T, l language, at places)) {
	for _, l := range languages() {
		t.Run(l.name, func(t *testing.T) { story(t, l, newPlaces(t)) })
	}
}

// want compares how often each payload was taken, once at the end.
func want(t *testing.T, at places, names []string) {
	t.Helper()
	wanted := map[string]int{}
	for _, name := range names {
		wanted[name]++
	}
	if diff := cmp.Diff(wanted, taken(t, at)); diff != "" {
		t.Errorf("taken (-want +got):\n%s", diff)
	}
}

// until scans until the receiver has as many payloads.
func until(t *testing.T, r *receiver, at places, n int) {
	t.Helper()
	r.scan(t)
	for end := time.Now().Add(time.Minute); len(taken(t, at)) < n; r.scan(t) {
		if time.Now().After(end) {
			t.Fatalf("%d payloads after a minute, want %d", len(taken(t, at)), n)
		}
	}
}

// everyWay hands one payload over on each way. On a busy machine a bound may
// pass: then a file is as right.
func (l language) everyWay(t *testing.T, c client, size int, prefix string) (names []string, last handoff.Stats) {
	t.Helper()
	for _, way := range l.ways {
		name := prefix + way
		stats, err := c.hand(way, name, size)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		names, last = append(names, name), stats
	}
	return names, last
}

func TestHandsOver(t *testing.T) {
	forEach(t, func(t *testing.T, l language, at places) {
		r := startReceiver(t, at)
		at.bound = time.Minute // each way is taken, however busy the machine is
		c := l.new(t, at, true)
		var names []string
		var last handoff.Stats
		for i, size := range []int{10, payload, 4 << 20} {
			more, stats := l.everyWay(t, c, size, fmt.Sprint(i))
			names, last = append(names, more...), stats
		}
		until(t, r, at, len(names))
		want(t, at, names)
		counts := handoff.Stats{HTTP: 3, File: 3, IPC: uint64(len(names) - 6)}
		if diff := cmp.Diff(counts, last); diff != "" {
			t.Errorf("counted (-want +got):\n%s", diff)
		}
		if last, err := c.hand("post", "large", handoff.MaxBody+1); err == nil || last.Failed != 1 {
			t.Errorf("a payload that is too large: %v, %+v", err, last)
		}
	})
}

func TestWithoutReceiverFilesAreWritten(t *testing.T) {
	forEach(t, func(t *testing.T, l language, at places) {
		at.bound = time.Minute // that nobody is there is known at once: no bound passes
		c := l.new(t, at, false)
		names, last := l.everyWay(t, c, payload, "")
		n := uint64(len(names))
		if diff := cmp.Diff(handoff.Stats{File: n, Fallbacks: n - 1}, last); diff != "" {
			t.Errorf("counted (-want +got):\n%s", diff)
		}
		startReceiver(t, at).scan(t) // the next process of the environment
		want(t, at, names)
	})
}

// A receiver that does not run costs each call its bound at most; what it was
// sent and what was written to files meanwhile it takes once.
func TestStoppedReceiver(t *testing.T) {
	for _, acknowledge := range []bool{true, false} {
		forEach(t, func(t *testing.T, l language, at places) {
			r := startReceiver(t, at)
			c := l.new(t, at, acknowledge)
			names, before := l.everyWay(t, c, payload, "before")
			r.stop(t)
			var last handoff.Stats
			rounds := 30 // more than the socket's queue has room for
			if acknowledge {
				rounds = 5
			}
			for i := range rounds {
				more, stats := l.everyWay(t, c, payload, fmt.Sprint(i))
				names, last = append(names, more...), stats
			}
			if last.Timeouts < before.Timeouts+uint64(rounds) || last.Failed > 0 {
				t.Errorf("counted %+v, want a bound that passed for each of %d posts", last, rounds)
			}
			if last.IPC-before.IPC > 40 {
				t.Errorf("%d payloads lie in a socket that nobody reads, want a bound", last.IPC-before.IPC)
			}
			if err := r.cmd.Process.Signal(syscall.SIGCONT); err != nil {
				t.Fatal(err)
			}
			until(t, r, at, len(names))
			want(t, at, names)
		})
	}
}

// A receiver that needs longer than the bounds, however late a client looks, gets a
// file as well, and takes the payload once.
func TestSlowReceiver(t *testing.T) {
	forEach(t, func(t *testing.T, l language, at places) {
		r := startReceiver(t, at)
		c := l.new(t, at, true)
		if err := os.WriteFile(at.slow, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		var names []string
		var last handoff.Stats
		for i := range 5 {
			more, stats := l.everyWay(t, c, payload, fmt.Sprint(i))
			names, last = append(names, more...), stats
		}
		n := uint64(len(names))
		if diff := cmp.Diff(handoff.Stats{File: n, Fallbacks: n - 5, Timeouts: n - 5}, last); diff != "" {
			t.Errorf("counted (-want +got):\n%s", diff)
		}
		if err := os.Remove(at.slow); err != nil {
			t.Fatal(err)
		}
		until(t, r, at, len(names))
		want(t, at, names)
	})
}

// The receiver is killed at random moments, and the next one begins. What a
// file or an acknowledgement promised is never lost; it may be taken twice,
// when the receiver dies between taking and saying so.
func TestKilledReceiver(t *testing.T) {
	forEach(t, func(t *testing.T, l language, at places) {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		random := rand.New(rand.NewPCG(seed, 0))
		r := startReceiver(t, at)
		for _, acknowledge := range []bool{true, false} {
			c := l.new(t, at, acknowledge)
			promised, hoped := map[string]bool{}, map[string]bool{}
			for round := range 15 {
				killed := make(chan struct{})
				go func() {
					defer close(killed)
					time.Sleep(time.Duration(random.IntN(20_000)) * time.Microsecond)
					r.kill()
				}()
				for n, alive := 0, true; alive; n++ {
					way := l.ways[n%len(l.ways)]
					name := fmt.Sprintf("%v-%d-%d-%s", acknowledge, round, n, way)
					stats, err := c.hand(way, name, payload)
					if err != nil || stats.Failed > 0 {
						t.Fatalf("%s: %v, %+v", name, err, stats)
					}
					memory := way == "send" || way == "buffer"
					if memory && !acknowledge && l.name != "node" {
						hoped[name] = true
					} else {
						promised[name] = true
					}
					select {
					case <-killed:
						alive = false
					default:
					}
				}
				r = startReceiver(t, at)
				if round%2 == 0 {
					r.scan(t)
				}
			}
			r.scan(t)
			got := taken(t, at)
			for name := range promised {
				if got[name] == 0 {
					t.Errorf("lost: %s", name)
				}
			}
			lost, doubled := 0, 0
			for name := range hoped {
				if got[name] == 0 {
					lost++
				}
			}
			for _, n := range got {
				doubled += n - 1
			}
			t.Logf("acknowledge %v: %d promised, none lost; %d without a promise, %d of them lost; %d doubled in all",
				acknowledge, len(promised), len(hoped), lost, doubled)
		}
	})
}
