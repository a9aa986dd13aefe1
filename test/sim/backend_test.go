package sim_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"

	"slipstream/destination"
)

// backend is a destination (or a fallback) as one life of the edge sees it. It
// does with each batch what the weather says, and books what it holds.
type backend struct {
	w    *world
	l    *life
	lane *lane
	mine *laneLife
	name string
	mood func() mood
}

// verdict is what is to become of one send.
type verdict struct {
	mood     mood
	after    time.Duration
	takes    bool // the backend holds the batch afterwards
	fails    bool // the edge hears that it does not
	rejected int  // records that it does not take, ever
	asks     time.Duration
	dies     bool // if a freeze comes, the connection does not survive it
}

// decide draws a verdict, which depends on the batch and the number of the try
// alone: sends at the same time may come in any order. A backend that has taken
// a batch knows it again.
func (b *backend) decide(batch *destination.Batch) verdict {
	b.w.mu.Lock()
	defer b.w.mu.Unlock()
	known := b.lane.batches[batch.ID]
	known.tries++
	d := newDice(b.lane.plan.dice ^ uint64(b.l.number)<<48 ^ batch.Sequence<<24 ^ known.tries)
	v := b.draw(d, batch.Records)
	if b.lane.taken[batch.ID] && v.rejected > 0 {
		v = verdict{mood: v.mood, takes: true}
	}
	b.mine.health.began(v)
	return v
}

func (b *backend) draw(d dice, records int) verdict {
	m := b.mood()
	v := verdict{mood: m, dies: d.chance(30)}
	if m == flaky {
		switch d.IntN(8) {
		case 0: // the answer is lost
			return verdict{mood: m, after: d.between(0, time.Second), takes: true, fails: true}
		case 1:
			return verdict{mood: m, takes: true, rejected: 1 + d.IntN(records)}
		case 2:
			return verdict{mood: m, rejected: records}
		default:
			m = pick(d, fine, fine, slow, refusing, busy, hanging)
		}
	}
	switch m {
	case fine:
		v.after, v.takes = d.between(0, 5*time.Millisecond), true
	case slow:
		v.after, v.takes = d.between(50*time.Millisecond, 3*time.Second), true
	case refusing:
		v.fails = true
	case busy:
		v.after, v.fails = d.between(0, 5*time.Millisecond), true
		v.asks = pick(d, 0, time.Second, 10*time.Second, 365*24*time.Hour)
	case hanging:
		v.after, v.fails = 1000*time.Hour, true
	}
	return v
}

// maxAsked is how far a Retry-After is followed (destination.Backoff).
const maxAsked = time.Minute

func (b *backend) Send(ctx context.Context, batch *destination.Batch) error {
	if b.l.isKilled() {
		return errKilled
	}
	lines := b.arrived(batch)
	v := b.decide(batch)
	planned, began := v, time.Now()
	freezes := b.l.net.await()
	timer := time.NewTimer(v.after)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done(): // a request that takes time may have been taken all the same
		v.fails, v.takes = true, v.takes && v.dies
	}
	if after := b.l.net.await(); after != freezes && v.dies {
		v.fails = true
	}
	if b.l.isKilled() {
		if v.takes && v.dies && v.rejected == 0 { // it was on its way
			b.w.take(b.lane, batch.ID, lines)
		}
		return errKilled
	}
	if v.takes {
		b.w.take(b.lane, batch.ID, lines[:len(lines)-v.rejected])
	}
	if v.rejected > 0 && !v.fails {
		b.refuse(lines[len(lines)-v.rejected:])
	}
	return b.answer(ctx, planned, v, batch, began)
}

// refuse books lines that the backend will never take.
func (b *backend) refuse(lines []string) {
	b.w.mu.Lock()
	defer b.w.mu.Unlock()
	for _, text := range lines {
		token := tokenOf(text)
		b.lane.refused[token] = true
		if token >= 0 && token < len(b.w.records) && b.w.records[token].definite() {
			if r := b.w.records[token]; r.life == b.w.life {
				b.w.owes(b.lane, -len(r.value))
			}
		}
	}
}

var errKilled = errors.New("the environment was killed")

// arrived checks what does not depend on the outcome.
func (b *backend) arrived(batch *destination.Batch) []string {
	w, now := b.w, b.w.clock.platform(time.Now())
	w.mu.Lock()
	known, again := b.lane.batches[batch.ID]
	early := b.mine.notBefore.Sub(now.Add(w.clock.forward() - b.mine.forward))
	w.mu.Unlock()
	if !again {
		lines, err := linesOf(batch)
		if err != nil {
			w.problem("%s: batch %s cannot be read: %v", b.name, batch.ID, err)
		}
		known = &content{body: bytes.Clone(batch.Body), lines: lines, name: objectName(batch)}
		w.mu.Lock()
		b.lane.batches[batch.ID] = known
		w.mu.Unlock()
	}
	switch {
	case !bytes.Equal(known.body, batch.Body):
		w.problem("%s: batch %s came again with other bytes", b.name, batch.ID)
	case known.name != objectName(batch):
		w.problem("%s: batch %s came again as %s, it was %s", b.name, batch.ID, objectName(batch), known.name)
	case !w.clock.showed(batch.Opened) || !w.clock.showed(batch.Sealed):
		w.problem("%s: batch %s is of %v to %v, which no clock has shown", b.name, batch.ID, batch.Opened, batch.Sealed)
	case len(known.lines) != batch.Records:
		w.problem("%s: batch %s has %d lines, and says %d", b.name, batch.ID, len(known.lines), batch.Records)
	case early > unseen && !b.l.ending() && b.name == b.lane.plan.name:
		w.problem("%s: batch %s was sent %v before the Retry-After was over", b.name, batch.ID, early)
	case b.l.unrestored():
		w.problem("%s: batch %s was sent before the restore", b.name, batch.ID)
	}
	return known.lines
}

// answer books the end of a send and gives what the edge hears.
func (b *backend) answer(ctx context.Context, planned, v verdict, batch *destination.Batch, began time.Time) error {
	now := time.Now()
	took := now.Sub(began)
	b.w.mu.Lock()
	m := b.mine
	m.lastReturn = now
	m.health.ended(planned, v, took, now)
	m.answers = append(m.answers, answer{now, !v.fails})
	if !v.fails {
		m.told += batch.Records - v.rejected
		m.rejected += v.rejected
	}
	if v.fails && v.asks > 0 && ctx.Err() == nil && !m.worked.Equal(now) { // which of two at once is last?
		before := m.notBefore.Add(m.forward - b.w.clock.forward())
		m.notBefore = later(before, b.w.clock.platform(now).Add(min(v.asks, maxAsked)))
		m.forward = b.w.clock.forward()
	} else if !v.fails {
		m.notBefore, m.worked = time.Time{}, now
	}
	if b.l.ending() {
		m.busy += took
	}
	if b.l.ending() && (v.fails || took > 20*time.Millisecond) {
		m.denied = true
	}
	b.w.mu.Unlock()
	b.w.logf("%s: batch %s, %d records, %v: took %v, %s", b.name, short(batch.ID), batch.Records, v.mood, took, v)
	switch {
	case v.fails:
		err := &destination.Error{Op: "send", Target: b.name, Status: 503, RetryAfter: v.asks, Err: errors.New("unavailable")}
		if ctx.Err() != nil {
			err.Status, err.RetryAfter, err.Err = 0, 0, context.Cause(ctx)
		}
		return err
	case v.rejected == batch.Records && !v.takes:
		return &destination.Error{Op: "send", Target: b.name, Status: 400, Permanent: true, Err: errors.New("never")}
	case v.rejected > 0:
		return &destination.Partial{Target: b.name, Rejected: v.rejected, Message: "too old"}
	}
	return nil
}

func (v verdict) String() string {
	text := fmt.Sprintf("takes %v, fails %v", v.takes, v.fails)
	if v.rejected > 0 {
		text += fmt.Sprintf(", rejects %d", v.rejected)
	}
	if v.asks > 0 {
		text += fmt.Sprintf(", Retry-After %v", v.asks)
	}
	return text
}

// objectName is what the batch is called where it lies: the same on each try.
func objectName(batch *destination.Batch) string {
	return destination.Layout{}.Key(batch) + destination.Layout{Style: "sample"}.Key(batch)
}

func (b *backend) Close() error { return nil }

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// short is a batch id without the environment's random part.
func short(id string) string { return id[strings.LastIndex(id, "-"):] }

// linesOf reads a batch: a line a record.
func linesOf(batch *destination.Batch) ([]string, error) {
	text := batch.Body
	if batch.Encoding == "gzip" {
		r, err := gzip.NewReader(bytes.NewReader(text))
		if err != nil {
			return nil, err
		}
		if text, err = io.ReadAll(r); err != nil {
			return nil, err
		}
	}
	var all []string
	for line := range strings.SplitSeq(strings.TrimSuffix(string(text), "\n"), "\n") {
		entries, err := entriesOf(line)
		if err != nil {
			return nil, err
		}
		all = append(all, entries...)
	}
	return all, nil
}
