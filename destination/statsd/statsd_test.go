package statsd

import (
	"bytes"
	"context"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"slipstream/destination"
	"slipstream/destination/conformance"
)

// reader takes datagrams of a Unix socket, which the kernel never drops. A body
// begins with its batch's word.
type reader struct {
	mu     sync.Mutex
	bodies [][]byte
}

func (r *reader) run(conn net.PacketConn) {
	packet := make([]byte, 1<<20)
	for {
		n, _, err := conn.ReadFrom(packet)
		if err != nil {
			return
		}
		r.mu.Lock()
		if last := len(r.bodies) - 1; last >= 0 && !bytes.HasPrefix(packet[:n], []byte("batch ")) {
			r.bodies[last] = append(r.bodies[last], packet[:n]...)
		} else {
			r.bodies = append(r.bodies, bytes.Clone(packet[:n]))
		}
		r.mu.Unlock()
	}
}

// serialized sends one batch at a time, as the packets of two would be mixed.
type serialized struct {
	*Client
	turn *sync.Mutex
}

func (s serialized) Send(ctx context.Context, b *destination.Batch) error {
	s.turn.Lock()
	defer s.turn.Unlock()
	return s.Client.Send(ctx, b)
}

func TestConformance(t *testing.T) {
	conformance.Run(t, func(t *testing.T) conformance.Case {
		path := filepath.Join(t.TempDir(), "s")
		conn, err := net.ListenPacket("unixgram", path)
		if err != nil {
			t.Fatal(err)
		}
		r := &reader{}
		var done sync.WaitGroup
		done.Go(func() { r.run(conn) })
		stop := func() {
			conn.Close()
			done.Wait()
		}
		t.Cleanup(stop)
		return conformance.Case{
			New: func(t *testing.T, _ string) destination.Destination {
				c, err := Parse("statsd+unix://" + path)
				if err != nil {
					t.Fatal(err)
				}
				return serialized{New(c), new(sync.Mutex)}
			},
			Delivered: func(t *testing.T) [][]byte {
				last, err := net.Dial("unixgram", path) // behind all that was sent
				if err != nil {
					t.Fatal(err)
				}
				defer last.Close()
				if _, err := last.Write([]byte("batch end")); err != nil {
					t.Fatal(err)
				}
				for {
					r.mu.Lock()
					n := len(r.bodies)
					if n > 0 && string(r.bodies[n-1]) == "batch end" {
						bodies := r.bodies[:n-1]
						r.bodies = bodies
						r.mu.Unlock()
						return bodies
					}
					r.mu.Unlock()
					time.Sleep(time.Millisecond)
				}
			},
			Repeats: true,
		}
	})
}

func TestNobodyThere(t *testing.T) {
	c, err := Parse("statsd+unix://" + filepath.Join(t.TempDir(), "none"))
	if err != nil {
		t.Fatal(err)
	}
	to := New(c)
	defer to.Close()
	if err := to.Send(context.Background(), &destination.Batch{Body: []byte("a:1|c\n")}); err == nil ||
		destination.Permanent(err) {
		t.Errorf("%v", err)
	}
}

func TestPackets(t *testing.T) {
	line := strings.Repeat("x", 99) + "\n"
	for _, lines := range []string{"", line, strings.Repeat(line, 50), strings.Repeat("y", 5000) + "\n" + line,
		strings.Repeat(line, 14) + strings.Repeat("z", 31) + "\n", strings.Repeat("y", 5000)} {
		var all []byte
		for rest := []byte(lines); len(rest) > 0; {
			var packet []byte
			packet, rest = next(rest)
			if len(packet) > maxPacket && bytes.Count(packet, []byte("\n")) > 1 {
				t.Errorf("a packet of %d bytes", len(packet))
			}
			if len(rest) > 0 && packet[len(packet)-1] != '\n' {
				t.Errorf("a line is cut: %q", packet)
			}
			all = append(all, packet...)
		}
		if string(all) != lines {
			t.Error("the packets are not the lines")
		}
	}
}

func TestParse(t *testing.T) {
	for raw, want := range map[string]Config{
		"statsd://h":                 {"udp", "h:8125"},
		"statsd://[::1]:9125/":       {"udp", "[::1]:9125"},
		"statsd+unix:///var/dd.sock": {"unixgram", "/var/dd.sock"},
	} {
		if c, err := Parse(raw); err != nil || c != want {
			t.Errorf("%s: %v, %v", raw, c, err)
		}
	}
	for _, raw := range []string{"statsd://", "statsd://h/x", "udp://h", "statsd+unix://h/x", "statsd://h?a=b",
		"statsd://h:x"} {
		if _, err := Parse(raw); err == nil {
			t.Errorf("%s is taken", raw)
		}
	}
}
