package handoff

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"slipstream/handoff"
	"slipstream/telemetry"
)

const patience = 30 * time.Second

func serve(t *testing.T, network string, k *taker) (*Socket, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "run", "s.sock")
	l, err := Listen(network, path)
	if err != nil {
		t.Fatal(err)
	}
	s := Serve(l, k.options())
	t.Cleanup(func() { _ = s.Close() })
	return s, path
}

func shutdown(t *testing.T, s *Socket) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}

func newClient(t *testing.T, path string, acknowledge bool) *handoff.Client {
	t.Helper()
	c := handoff.New(handoff.Options{Socket: path, Directory: filepath.Join(filepath.Dir(path), "files"),
		SendBound: patience, Acknowledge: acknowledge})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestSocketTakesSealedMemory(t *testing.T) {
	for _, acknowledge := range []bool{false, true} {
		k := &taker{}
		s, path := serve(t, "unixpacket", k)
		c := newClient(t, path, acknowledge)
		if err := c.Send(handoff.Logs, []byte("copied")); err != nil {
			t.Error(err)
		}
		b, err := c.Buffer(1 << 20)
		if err != nil {
			t.Fatal(err)
		}
		copy(b.Bytes(), "in place and more")
		if err := b.Send(handoff.Traces, 8); err != nil || b.Bytes() != nil {
			t.Error(err)
		}
		if err := c.Send(handoff.Metrics, nil); err != nil {
			t.Error(err)
		}
		shutdown(t, s) // takes what is queued
		k.check(t, []string{"logs copied", "traces in place"}, nil)
		if diff := c.Stats(); diff != (handoff.Stats{IPC: 3}) {
			t.Errorf("counted %+v", diff)
		}
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Errorf("the socket is still there: %v", err)
		}
	}
}

func TestSocketAnswers(t *testing.T) {
	k := &taker{refuse: "bad", answer: telemetry.ErrNoRoom}
	s, path := serve(t, "unixpacket", k)
	c := newClient(t, path, true)
	if err := c.Send(handoff.Logs, []byte("bad")); err == nil {
		t.Error("a malformed payload was taken")
	}
	if err := c.Send(handoff.Logs, []byte("kept")); err != nil {
		t.Error(err)
	}
	if got := c.Stats(); got != (handoff.Stats{Refused: 1, File: 1, Fallbacks: 1}) {
		t.Errorf("counted %+v", got)
	}
	shutdown(t, s)
	k.check(t, nil, map[string]int{malformed: 1})
	k.answer = nil
	d, err := NewDir(filepath.Join(filepath.Dir(path), "files"), k.options())
	if err != nil {
		t.Fatal(err)
	}
	scan(t, d, 1)
	k.check(t, []string{"logs kept"}, map[string]int{malformed: 1})
}

// A payload whose client waits for no answer waits for room.
func TestSocketWaitsForRoom(t *testing.T) {
	k := &taker{answer: telemetry.ErrNoRoom, asked: make(chan struct{}, 1)}
	s, path := serve(t, "unixpacket", k)
	if err := newClient(t, path, false).Send(handoff.Logs, []byte("a")); err != nil {
		t.Fatal(err)
	}
	<-k.asked
	k.mu.Lock()
	k.answer = nil
	k.mu.Unlock()
	for taken := 0; taken == 0; {
		<-k.asked
		k.mu.Lock()
		taken = len(k.got)
		k.mu.Unlock()
	}
	shutdown(t, s)
	k.check(t, []string{"logs a"}, nil)
}

// At the end it is not waited for: then the payload is lost, and counted.
func TestShutdownDoesNotWaitForRoom(t *testing.T) {
	k := &taker{answer: telemetry.ErrNoRoom, asked: make(chan struct{}, 1)}
	s, path := serve(t, "unixpacket", k)
	if err := newClient(t, path, false).Send(handoff.Logs, []byte("a")); err != nil {
		t.Fatal(err)
	}
	<-k.asked
	shutdown(t, s)
	k.check(t, nil, map[string]int{noRoom: 1})
}

// What lies in the queues when the end begins, even of clients that were not
// accepted yet, is taken.
func TestShutdownTakesWhatIsQueued(t *testing.T) {
	k := &taker{waiting: make(chan struct{})}
	s, path := serve(t, "unixpacket", k)
	const clients, each = 5, 4
	var want []string
	for i := range clients {
		c := newClient(t, path, false)
		for range each {
			want = append(want, "logs x")
			if err := c.Send(handoff.Logs, []byte("x")); err != nil {
				t.Fatal(i, err)
			}
		}
	}
	done := make(chan struct{})
	go func() { defer close(done); shutdown(t, s) }()
	close(k.waiting)
	<-done
	k.check(t, want, nil)
}

// Messages of a client that is not ours.
func TestSocketRefusesWhatIsNotSealed(t *testing.T) {
	header := func(size uint64) []byte {
		return appendAnswer(nil, header{signal: telemetry.Logs, id: 9, size: size}, 0)
	}
	file, err := os.CreateTemp(t.TempDir(), "")
	if err == nil {
		_, err = file.WriteString("a file can change and shrink")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	tests := map[string]struct {
		message []byte
		fds     []int
		reason  string
	}{
		"a file":          {header(4), []int{int(file.Fd())}, malformed},
		"no descriptor":   {header(4), nil, malformed},
		"two descriptors": {header(4), []int{int(file.Fd()), int(file.Fd())}, malformed},
		"too large":       {header(MaxBody + 1), nil, tooLarge},
		"no header":       {[]byte("GET / HTTP/1.1\r\n\r\nHost: x"), nil, malformed},
		"short":           {[]byte("SLH"), nil, malformed},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			before := openFiles(t)
			k := &taker{}
			s, path := serve(t, "unixpacket", k)
			c, err := net.Dial("unixpacket", path)
			if err != nil {
				t.Fatal(err)
			}
			if len(tt.message) == headerBytes {
				tt.message[5] = wantAnswer
			}
			unix := c.(*net.UnixConn)
			if _, _, err := unix.WriteMsgUnix(tt.message, syscall.UnixRights(tt.fds...), nil); err != nil {
				t.Fatal(err)
			}
			if len(tt.message) == headerBytes {
				answer := make([]byte, 64)
				if n, err := c.Read(answer); n != headerBytes || err != nil || answer[6] != statusRefused {
					t.Errorf("answer %x (%v), want refused", answer[:n], err)
				}
			}
			shutdown(t, s)
			k.check(t, nil, map[string]int{tt.reason: 1})
			_ = c.Close()
			if after := openFiles(t); after > before {
				t.Errorf("%d files open, %d before", after, before)
			}
		})
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestStream(t *testing.T) {
	k := &taker{refuse: "bad"}
	s, path := serve(t, "unix", k)
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	message := func(flags byte, id uint64, body []byte) []byte {
		m := append([]byte(magic), 1, flags, 0, 0)
		m = binary.LittleEndian.AppendUint64(m, id)
		return append(binary.LittleEndian.AppendUint64(m, uint64(len(body))), body...)
	}
	big := bytes.Repeat([]byte("x"), 2<<20)
	for id, body := range [][]byte{[]byte("a"), big, nil, []byte("bad"), []byte("b")} {
		if _, err := c.Write(message(wantAnswer, uint64(id+1), body)); err != nil {
			t.Fatal(err)
		}
		answer, want := make([]byte, headerBytes), byte(statusTaken)
		if string(body) == "bad" {
			want = statusRefused
		}
		if _, err := io.ReadFull(c, answer); err != nil || answer[6] != want || answer[8] != byte(id+1) {
			t.Errorf("answer %x (%v) to %d, want status %d", answer, err, id+1, want)
		}
	}
	if _, err := c.Write(append(message(0, 77, []byte("queued")), message(0, 78, []byte("last"))...)); err != nil {
		t.Fatal(err)
	}
	shutdown(t, s)
	k.check(t, []string{"logs a", "logs " + string(big), "logs b", "logs queued", "logs last"},
		map[string]int{malformed: 1})
}

func TestSocketsAreBounded(t *testing.T) {
	k := &taker{}
	s, path := serve(t, "unix", k)
	var all []net.Conn
	for range maxConnections + 3 {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	for _, c := range all[maxConnections:] {
		if n, err := c.Read(make([]byte, 1)); err == nil {
			t.Errorf("%d bytes from a connection too many", n)
		}
	}
	shutdown(t, s)
	k.check(t, nil, map[string]int{connections: 3})
	for _, c := range all {
		_ = c.Close()
	}
}

func TestListenTakesOver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.sock")
	first, err := Listen("unixpacket", path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v, want 0600", info.Mode(), err)
	}
	if _, err := Listen("unixpacket", path); err == nil {
		t.Error("a socket that answers was taken over")
	}
	first.SetUnlinkOnClose(false) // as after a kill
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second, err := Listen("unixpacket", path)
	if err != nil {
		t.Fatalf("a socket that an earlier process has left: %v", err)
	}
	_ = second.Close()
}

// The cost in allocations does not grow with what is handed over.
func TestDeliverAllocatesAConstant(t *testing.T) {
	o := Options{Take: func(*telemetry.Export) error { return nil }, Prepare: func(dst []byte, _ telemetry.Signal,
		body []byte) ([]byte, int, error) {
		return append(dst, body...), 1000, nil
	}}.complete()
	var scratch []byte
	body, id := make([]byte, 64<<10), uint64(0)
	n := testing.AllocsPerRun(3*remembered, func() {
		if id++; o.deliver(id, telemetry.Logs, body, &scratch) != nil {
			t.Fatal("not taken")
		}
	})
	if n > 4 {
		t.Errorf("%v allocations a payload, want at most 4", n)
	}
}

func BenchmarkSend(b *testing.B) {
	path := filepath.Join(b.TempDir(), "s.sock")
	l, err := Listen("unixpacket", path)
	if err != nil {
		b.Fatal(err)
	}
	s := Serve(l, Options{Take: func(*telemetry.Export) error { return nil }})
	defer func() { _ = s.Close() }()
	c := handoff.New(handoff.Options{Socket: path, SendBound: patience, Acknowledge: true})
	defer func() { _ = c.Close() }()
	for _, size := range []int{1 << 10, 64 << 10, 1 << 20} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			body := make([]byte, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if err := c.Send(handoff.Logs, body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
