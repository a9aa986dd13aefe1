// Package conformance judges every destination by the same stories: what it
// delivers, what it says of a backend that misbehaves, and that it ends. Call
// Run from the test of each destination. Recorder is the backend of those that
// just post.
package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"slipstream/destination"
)

// soon is how long a test waits for what should take no time: long, because
// test machines are small and busy.
const soon = 30 * time.Second

// Case is one destination before its backend.
type Case struct {
	// New makes a destination for the backend at url. It is called once or more
	// in a story; each destination is closed by the suite.
	New func(t *testing.T, url string) destination.Destination
	// Backend is the real server's URL; the suite puts itself in front of it to
	// break answers. "" for a destination without a network.
	Backend string
	// Delivered gives the bodies that the backend holds, in any order.
	Delivered func(t *testing.T) [][]byte
	// Repeats says that the protocol cannot tell a resend from a new batch.
	Repeats bool
	// Permanent are the statuses that mean that a batch is never taken.
	Permanent []int
	// Secrets must be in no error. At least the credentials that New uses.
	Secrets []string
}

// Run judges a destination. newCase makes a fresh, empty backend for a story.
func Run(t *testing.T, newCase func(t *testing.T) Case) {
	for _, story := range []struct {
		name    string
		network bool
		run     func(t *testing.T, b *bench)
	}{
		{"every byte arrives", false, everyByteArrives},
		{"a resend is no double", false, resend},
		{"sends at once", false, sendsAtOnce},
		{"a cancelled send fails", false, cancelled},
		{"close at any time", false, closeAnyTime},
		{"a lost answer is no double", true, lostAnswer},
		{"a cut answer is no double", true, cutAnswer},
		{"one that hangs holds up no other", true, oneHangs},
		{"nobody there", true, nobodyThere},
		{"a backend that hangs", true, hangs},
		{"close ends a send", true, closeEndsSend},
		{"a connection that died while idle", true, deadConnection},
	} {
		t.Run(story.name, func(t *testing.T) {
			if b := newBench(t, newCase); !story.network || b.front != nil {
				story.run(t, b)
			}
		})
	}
	for _, f := range faults() {
		t.Run("fault "+f.name, func(t *testing.T) {
			if b := newBench(t, newCase); b.front != nil {
				survives(t, b, f)
			}
		})
	}
}

// bench is one story's destination, its backend and the front between them.
type bench struct {
	Case
	front *front // nil without a network
	to    destination.Destination
}

func newBench(t *testing.T, newCase func(t *testing.T) Case) *bench {
	t.Helper()
	b := &bench{}
	leaks := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, leaks) }) // runs last
	b.Case = newCase(t)
	url := ""
	if b.Backend != "" {
		b.front = newFront(t, b.Backend)
		url = b.front.server.URL
	}
	b.to = b.New(t, url)
	t.Cleanup(func() {
		if err := b.to.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return b
}

// batch makes the n-th batch, of about size bytes that no two batches share.
func batch(n, size int) *destination.Batch {
	at := time.Date(2026, 10, 1, 9, 59, 58, 0, time.UTC).Add(time.Duration(n) * time.Second)
	random := rand.New(rand.NewPCG(1, uint64(n)))
	body := fmt.Appendf(nil, "batch %d ", n)
	for len(body) < size {
		body = append(body, byte(random.Uint32()))
	}
	const environment = "0d4e3a52-5a1f-4d7c-9d5e-3f6f9e6c1c11"
	return &destination.Batch{
		ID: fmt.Sprintf("%s-%d", environment, n), Environment: environment, Sequence: uint64(n),
		Opened: at, Sealed: at.Add(time.Second), Records: 7,
		Body: body, ContentType: "application/x-ndjson", Encoding: "gzip",
	}
}

func (b *bench) send(t *testing.T, batch *destination.Batch) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	return b.to.Send(ctx, batch)
}

func (b *bench) mustSend(t *testing.T, batch *destination.Batch) {
	t.Helper()
	if err := b.send(t, batch); err != nil {
		t.Fatalf("send: %v", err)
	}
}

// judge checks what every failed Send has to say.
func (b *bench) judge(t *testing.T, err error) *destination.Error {
	t.Helper()
	var e *destination.Error
	if !errors.As(err, &e) {
		t.Fatalf("not a *destination.Error: %v", err)
	}
	if e.Op == "" || e.Target == "" || e.Err == nil {
		t.Errorf("operation, target or cause is missing: %+v", e)
	}
	text := err.Error()
	for _, secret := range b.Secrets {
		if strings.Contains(text, secret) {
			t.Errorf("a secret is in the error: %s", text)
		}
	}
	if strings.Contains(text, "\n") || len(text) > 1000 {
		t.Errorf("not one line: %q", text)
	}
	t.Log(text)
	return e
}

// holds checks that the backend has exactly these batches, each once.
func (b *bench) holds(t *testing.T, batches ...*destination.Batch) {
	t.Helper()
	got := b.Delivered(t)
	if b.Repeats {
		slices.SortFunc(got, bytes.Compare)
		got = slices.CompactFunc(got, bytes.Equal)
	}
	if len(got) != len(batches) {
		t.Errorf("the backend holds %d bodies, not %d", len(got), len(batches))
	}
	for _, batch := range batches {
		if !slices.ContainsFunc(got, func(body []byte) bool { return bytes.Equal(body, batch.Body) }) {
			t.Errorf("batch %s did not arrive as it was sent", batch.ID)
		}
	}
}

func everyByteArrives(t *testing.T, b *bench) {
	batches := []*destination.Batch{batch(1, 100), batch(2, 0), batch(3, 3<<20), batch(4, 256<<10)}
	for _, batch := range batches {
		b.mustSend(t, batch)
	}
	b.holds(t, batches...)
}

func resend(t *testing.T, b *bench) {
	first, second := batch(1, 10<<10), batch(2, 10<<10)
	for _, batch := range []*destination.Batch{first, second, first, first} {
		b.mustSend(t, batch)
	}
	b.holds(t, first, second)
}

// sendsAtOnce delivers from several goroutines, as many as an edge has pushers.
func sendsAtOnce(t *testing.T, b *bench) {
	const senders, each = 6, 4
	var batches []*destination.Batch
	for n := range senders * each {
		batches = append(batches, batch(n+1, 1+n*1000))
	}
	var wg sync.WaitGroup
	for i := range senders {
		wg.Go(func() {
			for _, batch := range batches[i*each : (i+1)*each] {
				if err := b.send(t, batch); err != nil {
					t.Errorf("send: %v", err)
				}
			}
		})
	}
	wg.Wait()
	b.holds(t, batches...)
}

func cancelled(t *testing.T, b *bench) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	e := b.judge(t, b.to.Send(ctx, batch(1, 100)))
	if e.Permanent || !errors.Is(e, context.Canceled) {
		t.Errorf("not a cancellation: %+v", e)
	}
	b.holds(t)
}

func closeAnyTime(t *testing.T, b *bench) {
	b.mustSend(t, batch(1, 100))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if err := b.to.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		})
	}
	wg.Wait()
	if e := b.judge(t, b.send(t, batch(2, 100))); e.Permanent || !errors.Is(e, destination.ErrClosed) {
		t.Errorf("a closed destination says: %+v", e)
	}
	b.holds(t, batch(1, 100))
}

func lostAnswer(t *testing.T, b *bench) {
	b.front.do(answerLost)
	if e := b.judge(t, b.send(t, batch(1, 1000))); e.Permanent {
		t.Errorf("permanent: %v", e)
	}
	b.front.do(pass)
	b.mustSend(t, batch(1, 1000))
	b.holds(t, batch(1, 1000))
}

// cutAnswer is a backend that takes the batch and closes in the middle of what
// it says: the client may know enough from the head, or has to send again.
func cutAnswer(t *testing.T, b *bench) {
	b.front.do(answerCut)
	if err := b.send(t, batch(1, 1000)); err != nil {
		if e := b.judge(t, err); e.Permanent {
			t.Errorf("permanent: %v", e)
		}
		b.front.do(pass)
		b.mustSend(t, batch(1, 1000))
	}
	b.holds(t, batch(1, 1000))
}

func oneHangs(t *testing.T, b *bench) {
	b.front.do(hang)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- b.to.Send(ctx, batch(1, 1000)) }()
	<-b.front.hanging
	b.front.do(pass)
	b.mustSend(t, batch(2, 1000))
	cancel()
	if e := b.judge(t, <-done); e.Permanent || !errors.Is(e, context.Canceled) {
		t.Errorf("not a cancellation: %+v", e)
	}
	b.mustSend(t, batch(1, 1000))
	b.holds(t, batch(1, 1000), batch(2, 1000))
}

func nobodyThere(t *testing.T, b *bench) {
	b.front.server.Close()
	if e := b.judge(t, b.send(t, batch(1, 1000))); e.Permanent || e.Status != 0 || e.Hint == "" {
		t.Errorf("want a passing fault with a hint: %+v", e)
	}
	b.holds(t)
}

func hangs(t *testing.T, b *bench) {
	b.front.do(hang)
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	began := time.Now()
	e := b.judge(t, b.to.Send(ctx, batch(1, 1000)))
	if e.Permanent || !errors.Is(e, context.DeadlineExceeded) || time.Since(began) > soon {
		t.Errorf("the deadline of 100 ms ended it after %v: %+v", time.Since(began), e)
	}
	b.front.do(pass)
	b.mustSend(t, batch(1, 1000))
	b.holds(t, batch(1, 1000))
}

func closeEndsSend(t *testing.T, b *bench) {
	b.front.do(hang)
	done := make(chan error)
	go func() { done <- b.to.Send(context.Background(), batch(1, 1000)) }()
	<-b.front.hanging
	if err := b.to.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	select {
	case err := <-done:
		if e := b.judge(t, err); e.Permanent || !errors.Is(e, destination.ErrClosed) {
			t.Errorf("a closed destination says: %+v", e)
		}
	case <-time.After(soon):
		t.Fatal("Send goes on after Close")
	}
}

// deadConnection is what a freeze leaves: a kept connection that the other side
// has given up. The first send after it just works.
func deadConnection(t *testing.T, b *bench) {
	b.mustSend(t, batch(1, 1000))
	b.front.server.CloseClientConnections()
	b.mustSend(t, batch(2, 1000))
	b.holds(t, batch(1, 1000), batch(2, 1000))
}

// fault is a backend's misbehaviour and what Send has to make of it.
type fault struct {
	name       string
	handler    http.HandlerFunc
	status     int // to be in the Error
	retryAfter time.Duration
	hint       bool // the user has to do something
}

// survives meets a fault and then sends the same batch again.
func survives(t *testing.T, b *bench, f fault) {
	b.front.do(f.handler)
	e := b.judge(t, b.send(t, batch(1, 10<<10)))
	permanent := slices.Contains(b.Permanent, f.status)
	if e.Permanent != permanent || destination.Permanent(e) != permanent {
		t.Errorf("permanent is %v: %+v", e.Permanent, e)
	}
	if e.Status != f.status || e.RetryAfter != f.retryAfter || f.hint && e.Hint == "" {
		t.Errorf("want status %d, retry after %v, a hint %v: %+v", f.status, f.retryAfter, f.hint, e)
	}
	b.front.do(pass)
	b.mustSend(t, batch(1, 10<<10))
	b.holds(t, batch(1, 10<<10))
}
