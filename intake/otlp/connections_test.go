package otlp

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	collectorlogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	"google.golang.org/grpc"

	"slipstream/telemetry"
)

// line is a connection on which a test says what it likes.
type line struct {
	net.Conn
	in *bufio.Reader
}

func (s *stage) line(t testing.TB) *line {
	t.Helper()
	c, err := net.Dial("tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return &line{c, bufio.NewReader(c)}
}

func (l *line) say(t testing.TB, format string, args ...any) {
	t.Helper()
	if _, err := fmt.Fprintf(l, format, args...); err != nil {
		t.Fatal(err)
	}
}

// status reads an answer and gives its status, 0 when the connection was closed.
func (l *line) status(t testing.TB) int {
	t.Helper()
	r, err := http.ReadResponse(l.in, nil)
	if err != nil {
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			t.Fatal("neither answered nor closed")
		}
		return 0
	}
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		t.Fatal(err)
	}
	return r.StatusCode
}

const head = "POST /v1/logs HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\n"

// Who does not send on is answered or cut when the patience is over.
func TestSlowSenders(t *testing.T) {
	s := newStage(t, Config{Patience: 100 * time.Millisecond})
	for _, tt := range []struct {
		name, said string
		status     int
		drops      map[string]int
	}{
		{"nothing", "", 0, map[string]int{}},
		{"half a line", "POST /v1", 400, map[string]int{}},
		{"half a head", head, 0, map[string]int{}},
		{"no body", head + "Content-Length: 10\r\n\r\n", 408, map[string]int{"incomplete": 1}},
		{"half a body", head + "Content-Length: 10\r\n\r\nabc", 408, map[string]int{"incomplete": 1}},
		{"half a chunk", head + "Transfer-Encoding: chunked\r\n\r\n5\r\nab", 408, map[string]int{"incomplete": 1}},
		{"no last chunk", head + "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n", 408, map[string]int{"incomplete": 1}},
		{"half a preface", "PRI * HTTP/2.0\r\n\r\n", 404, map[string]int{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := s.line(t)
			l.say(t, "%s", tt.said)
			if got := l.status(t); got != tt.status {
				t.Errorf("status %d, want %d", got, tt.status)
			}
			if diff := cmp.Diff(tt.drops, s.drops()); diff != "" {
				t.Errorf("dropped (-want +got):\n%s", diff)
			}
		})
	}
	if r := s.post(t, "/v1/logs", bytes.NewReader(marshal(t, someLogs(1))),
		"Content-Type", protobufContentType); r.status != 200 {
		t.Errorf("after all of them: %d", r.status)
	}
}

// Who hangs up in the middle of a body is not taken.
func TestHangUps(t *testing.T) {
	s := newStage(t, Config{})
	body := marshal(t, someLogs(3))
	l := s.line(t)
	l.say(t, "%sContent-Length: %d\r\n\r\n%s", head, len(body)+1, body)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	until(t, "it is counted", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.dropped["incomplete"] == 1
	})
	if got := s.exports(); len(got) != 0 {
		t.Errorf("taken %d exports", len(got))
	}
}

// A body without end is refused while it is still being sent.
func TestEndlessBody(t *testing.T) {
	s := newStage(t, Config{MaxExport: 100_000})
	l := s.line(t)
	l.say(t, "%sTransfer-Encoding: chunked\r\n\r\n", head)
	go func() {
		chunk := "1000\r\n" + strings.Repeat("x", 0x1000) + "\r\n"
		for {
			if _, err := io.WriteString(l, chunk); err != nil {
				return
			}
		}
	}()
	if got := l.status(t); got != 413 {
		t.Errorf("status %d, want 413", got)
	}
	if d := s.drops(); d["too_large"] != 1 {
		t.Errorf("dropped %v", d)
	}
	_ = l.Close()
}

func TestHugeHeaders(t *testing.T) {
	s := newStage(t, Config{})
	l := s.line(t)
	go func() { _, _ = io.WriteString(l, head+strings.Repeat("X-More: more of it\r\n", 10_000)) }()
	if got := l.status(t); got != 431 {
		t.Errorf("status %d, want 431", got)
	}
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols}
	defer transport.CloseIdleConnections()
	r, err := http.NewRequest(http.MethodPost, s.url+"/v1/logs", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Large", strings.Repeat("x", 100_000))
	if w, err := transport.RoundTrip(r); err == nil {
		if w.StatusCode != 431 {
			t.Errorf("over HTTP/2: status %d", w.StatusCode)
		}
		_ = w.Body.Close()
	}
}

// One connection more takes the place of the one that is idle longest, or waits
// until there is one.
func TestConnectionsAreBounded(t *testing.T) {
	s := newStage(t, Config{MaxConnections: 3})
	ask := func(l *line) {
		t.Helper()
		l.say(t, "%sContent-Length: 0\r\n\r\n", head)
		if got := l.status(t); got != 200 {
			t.Errorf("status %d", got)
		}
	}
	lines := []*line{s.line(t), s.line(t), s.line(t)}
	for _, i := range []int{1, 0, 2} {
		ask(lines[i])
		until(t, "it is idle", func() bool {
			s.door.mu.Lock()
			defer s.door.mu.Unlock()
			return s.door.idle.Len() == []int{2, 1, 3}[i]
		})
	}
	fourth := s.line(t)
	ask(fourth)
	if got := lines[1].status(t); got != 0 {
		t.Errorf("the longest idle connection was answered %d", got)
	}
	busy := append(lines[:1], lines[2], fourth)
	for _, l := range busy {
		l.say(t, "%sContent-Length: 1\r\n\r\n", head)
	}
	until(t, "all are busy", func() bool { return len(s.seats) == 3 })
	fifth := s.line(t)
	fifth.say(t, "%sContent-Length: 0\r\n\r\n", head)
	busy[0].say(t, "x")
	if got := busy[0].status(t); got != 400 {
		t.Errorf("status %d", got)
	}
	if got := fifth.status(t); got != 200 {
		t.Errorf("the one that waited: status %d", got)
	}
}

// Large bodies have few places: whoever finds none tries again.
func TestLargeBodiesAreBounded(t *testing.T) {
	s := newStage(t, Config{RetryAfter: time.Millisecond})
	body := marshal(t, someLogs(10_000))
	small := marshal(t, someLogs(1))
	for range maxLarge {
		s.large <- struct{}{}
	}
	for _, encoding := range encodings {
		header := []string{"Content-Type", protobufContentType, "Content-Encoding", encoding}
		r := s.post(t, "/v1/logs", bytes.NewReader(compressed(t, encoding, body)), header...)
		if r.status != 429 || r.header.Get("Retry-After") != "1" {
			t.Errorf("%q: %d, want 429", encoding, r.status)
		}
		if r := s.post(t, "/v1/logs", bytes.NewReader(compressed(t, encoding, small)), header...); r.status != 200 {
			t.Errorf("%q: a small one: %d", encoding, r.status)
		}
	}
	for range maxLarge {
		<-s.large
	}
	if r := s.post(t, "/v1/logs", bytes.NewReader(body), "Content-Type", protobufContentType); r.status != 200 {
		t.Errorf("with a place: %d", r.status)
	}
	until(t, "the place is free again", func() bool { return len(s.large) == 0 })
}

func TestNoSeat(t *testing.T) {
	s := newStage(t, Config{RetryAfter: time.Millisecond})
	for range maxSeats {
		s.seats <- struct{}{}
	}
	if r := s.post(t, "/v1/logs", http.NoBody, "Content-Type", protobufContentType); r.status != 429 {
		t.Errorf("status %d", r.status)
	}
	for range maxSeats {
		<-s.seats
	}
}

// What was begun before Shutdown is taken and answered before it returns.
func TestShutdownWaits(t *testing.T) {
	for _, protocol := range []string{"HTTP", "gRPC"} {
		begun, goOn := make(chan bool), make(chan bool)
		taken := false
		s := newStage(t, Config{Take: func(*telemetry.Export) error {
			begun <- true
			<-goOn
			taken = true
			return nil
		}})
		answered := make(chan error, 1)
		c := s.dial(t)
		go func() {
			if protocol == "gRPC" {
				_, err := collectorlogs.NewLogsServiceClient(c).Export(context.Background(), someLogs(1))
				answered <- err
				return
			}
			w, err := s.client.Post(s.url+"/v1/logs", protobufContentType, bytes.NewReader(marshal(t, someLogs(1))))
			if err == nil {
				_ = w.Body.Close()
			}
			answered <- err
		}()
		<-begun
		halfOpen := s.line(t)
		down := make(chan error)
		go func() { down <- s.Shutdown(within(t)) }()
		until(t, "nobody can connect", func() bool {
			c, err := net.Dial("tcp", s.address)
			if err == nil {
				_ = c.Close()
			}
			return err != nil
		})
		close(goOn)
		if err := <-down; err != nil || !taken {
			t.Errorf("%s: shut down: %v, taken: %v", protocol, err, taken)
		}
		if err := <-answered; err != nil {
			t.Errorf("%s: the answer: %v", protocol, err)
		}
		_ = halfOpen.Close()
	}
}

// A sender that never ends does not hold up Shutdown for longer than ctx.
func TestShutdownCuts(t *testing.T) {
	s := newStage(t, Config{})
	l := s.line(t)
	l.say(t, "%sContent-Length: 10\r\n\r\nabc", head)
	until(t, "it is being read", func() bool { return len(s.seats) == 1 })
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("shut down: %v, want that requests were cut", err)
	}
	if got := l.status(t); got == 200 {
		t.Errorf("half a body was answered with success")
	}
	until(t, "the request is over", func() bool { return len(s.seats) == 0 })
}

// A request that comes after the end of Shutdown's wait is told that it is over.
func TestTooLate(t *testing.T) {
	s := newStage(t, Config{})
	s.over.Store(true)
	for _, contentType := range []string{protobufContentType, jsonContentType} {
		if r := s.post(t, "/v1/logs", http.NoBody, "Content-Type", contentType); r.status != 503 {
			t.Errorf("%s: %d", contentType, r.status)
		}
	}
	if r := s.call(t, frame(0, nil)); r.trailer != "14" {
		t.Errorf("gRPC: %v", r)
	}
	s.over.Store(false)
}

// A connection of gRPC gives its place up too when it is idle, and gets one again.
func TestIdleGRPCGivesUpItsPlace(t *testing.T) {
	s := newStage(t, Config{MaxConnections: 1})
	c := s.dial(t)
	for range 3 {
		until(t, "it has a connection", func() bool { // its first one may be closed while it asks
			_, err := collectorlogs.NewLogsServiceClient(c).Export(within(t), someLogs(1), grpc.WaitForReady(true))
			return err == nil
		})
		r := s.post(t, "/v1/logs", http.NoBody, "Content-Type", protobufContentType)
		if r.status != 200 {
			t.Errorf("status %d", r.status)
		}
	}
}

// deadlines is an http.ResponseWriter that counts the deadlines it is given.
type deadlines struct {
	quiet
	read, write int
}

func (d *deadlines) SetReadDeadline(time.Time) error  { d.read++; return nil }
func (d *deadlines) SetWriteDeadline(time.Time) error { d.write++; return nil }

// A freeze costs one slice of the patience, however long it is: the timer fires
// once. All slices over, the deadline is set.
func TestPatienceSurvivesAFreeze(t *testing.T) {
	var w deadlines
	p := newPatience(time.Hour)
	p.watchRead(&w)
	for range timeSlices - 1 {
		p.tick()
	}
	if w.read != 0 {
		t.Errorf("patience ended %d times before its last slice", w.read)
	}
	p.stop()
	p.tick() // fired while it was stopped
	p.watchWrite(&w)
	for range timeSlices + 3 {
		p.tick()
	}
	if w.read != 0 || w.write != 1 {
		t.Errorf("%d read and %d write deadlines, want 0 and 1", w.read, w.write)
	}
}
