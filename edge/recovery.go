package edge

import (
	"log/slog"
	"path/filepath"
	"time"

	"slipstream/destination"
	"slipstream/edge/buffer"
	"slipstream/edge/spool"
)

// recover gives the lanes their spool, and everything that earlier processes of
// the environment had taken and not delivered. It runs beside the first
// invocation: Init does not wait for the disk.
func (e *edge) recover() {
	defer close(e.found)
	if len(e.lanes) == 0 || e.config.SpoolDir == "" {
		return
	}
	s, err := spool.Open(filepath.Join(e.config.SpoolDir, "spool"), e.config.SpoolBytes)
	if err != nil {
		slog.Warn("the spool of earlier processes", "error", err)
	}
	e.spool = s
	now := e.clock.stamp(e.clock.now())
	found, err := buffer.Recover(e.config.SpoolDir, func(left *buffer.Leftover) error { return e.adopt(left, now) })
	if err != nil {
		slog.Warn("telemetry of earlier processes stays where it is", "error", err)
	}
	if found.Batches > 0 || len(found.Skipped) > 0 {
		slog.Info("telemetry of an earlier process recovered", "batches", found.Batches, "records", found.Records,
			"skipped", found.Skipped)
	}
	claimed := map[uint64]bool{}
	for _, l := range e.lanes {
		l.adopt(s, s.Left(l.hash))
		claimed[l.hash] = true
	}
	for _, hash := range s.Lanes() {
		if claimed[hash] {
			continue
		}
		batches, records, err := s.Discard(hash)
		slog.Error("records dropped: an earlier process had them for a destination that is not configured any more",
			"batches", batches, "records", records, "error", err)
	}
}

// adopt moves what a process that died has left into the spool, under the name
// that it would have had, and to memory where the spool takes no more: left
// where it is, it would be lost with the environment, and nobody would know.
func (e *edge) adopt(left *buffer.Leftover, now time.Time) error {
	if left.Lane == buffer.LaneHash(heldLane) {
		return e.adoptHeld(left)
	}
	if e.aggregate != nil && e.aggregate.knows(left) {
		for _, b := range e.aggregate.replay(left, now) {
			e.putBack(b.lane, b.batch)
		}
		return nil
	}
	var l *lane
	for _, other := range e.lanes {
		if other.hash == left.Lane {
			l = other
		}
	}
	if l == nil {
		slog.Error("records dropped: an earlier process had them for a destination that is not configured any more",
			"records", left.Records)
		return nil
	}
	b, err := l.rebuild(left, now)
	if err != nil {
		slog.Error("records dropped: what an earlier process left cannot be read", "destination", l.name,
			"records", left.Records, "error", err)
		return nil
	}
	if len(b.Body) == 0 { // nothing to say
		l.mu.Lock()
		defer l.mu.Unlock()
		l.count.recovered += b.Records
		l.count.delivered += b.Records
		return nil
	}
	e.putBack(l, b)
	return nil
}

// putBack puts a batch of an earlier process where the lane finds it.
func (e *edge) putBack(l *lane, b *destination.Batch) {
	if err := e.spool.Put(l.hash, b); err != nil {
		slog.Warn("records of an earlier process go to memory", "destination", l.name, "records", b.Records, "error", err)
		l.takeBack(b)
	}
}

// rebuild makes the batch that a leftover was or would have become. One that is
// not whole gets a name of its own: under the old one it could replace more.
func (l *lane) rebuild(left *buffer.Leftover, now time.Time) (*destination.Batch, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := &destination.Batch{
		Environment: left.Environment, Sequence: left.Sequence, Opened: left.Opened, Sealed: left.Sealed,
		Records: left.Records, Body: left.Body, ContentType: l.encoder.ContentType(), Encoding: left.Encoding,
	}
	if b.Sealed.IsZero() {
		b.Sealed = now
	}
	if left.Missing > 0 {
		b.Environment, b.Sequence = l.environment, l.sequence.Add(1)
	}
	b.ID = batchID(b.Environment, b.Sequence)
	if left.Chunk == nil {
		return b, nil
	}
	var err error
	b.Encoding = l.encoding
	b.Body, err = l.sealer.Seal(left.Chunk, l.encoder, l.encoding)
	b.Records = left.Chunk.Records
	l.count.recovered += sum(left.Chunk.Dropped)
	l.leftOut(left.Chunk)
	return b, err
}

// leave gives the files back, last.
func (e *edge) leave() {
	if e.spool != nil {
		if err := e.spool.Close(); err != nil {
			slog.Debug("close the spool", "cause", err)
		}
	}
	if err := e.pool.Close(); err != nil {
		slog.Debug("close the arena", "cause", err)
	}
}
