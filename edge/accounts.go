package edge

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"time"

	"slipstream/destination"
	"slipstream/intake/telemetryapi"
	"slipstream/telemetry"
)

// intakeCount is what came in, and what was given up before it had a lane.
type intakeCount struct {
	records         int
	malformed       int
	malformedBytes  int
	truncated       int
	refused         map[string]int64 // bytes, by reason
	platformDropped int              // records that the platform says it dropped
}

// book counts what the decoder could not read, and says so the first time.
func (e *edge) book(t telemetryapi.Tally) {
	if t.Malformed > 0 && e.intake.malformed == 0 {
		slog.Error("telemetry from the platform is not what its API promises: the events are counted and dropped",
			"events", t.Malformed, "bytes", t.MalformedBytes)
	}
	e.intake.records += t.Records
	e.intake.malformed += t.Malformed
	e.intake.malformedBytes += t.MalformedBytes
	e.intake.truncated += t.Truncated
}

// refused counts a request that was dropped unread.
func (e *edge) refused(bytes int64, reason string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.intake.refused[reason] == 0 {
		slog.Error("telemetry dropped unread", "bytes", bytes, "reason", reason)
	}
	e.intake.refused[reason] += bytes
}

// speak adds a record of our own to every lane whose format is ours: what has
// become of the others by now, this lane's last batch not among the delivered.
// The caller holds e.mu.
func (e *edge) speak(now time.Time) {
	if !e.config.SelfMetrics {
		return
	}
	for _, l := range e.lanes {
		if !l.native || l.waiting || l.signal != "" || !l.takesRecords() {
			continue
		}
		body, err := json.Marshal(e.selfMetrics(l))
		if err != nil {
			slog.Debug("write slipstream.metrics", "cause", err)
			continue
		}
		l.append(&telemetry.Log{Time: e.clock.stamp(now).UTC(), Type: "slipstream.metrics", Body: body}, now)
	}
}

// selfMetrics are a lane's counts under the names that they have as metrics.
func (e *edge) selfMetrics(l *lane) map[string]any {
	taken, unwanted, dropped := e.exports.counts() // whose lock is never taken while a lane's is held
	exported := e.exportCounts()
	l.mu.Lock()
	defer l.mu.Unlock()
	c, in := l.count, &e.intake
	return map[string]any{
		"slipstream.destination":             l.name,
		"slipstream.intake.records":          in.records,
		"slipstream.intake.malformed":        in.malformed,
		"slipstream.intake.truncated":        in.truncated,
		"slipstream.intake.refused_bytes":    in.refused,
		"slipstream.intake.platform_dropped": in.platformDropped,
		"slipstream.intake.exported":         taken,
		"slipstream.intake.unwanted":         unwanted,
		"slipstream.intake.dropped":          dropped,
		"slipstream.policy.logs":             e.logs.Counts(),
		"slipstream.policy.exports":          exported,
		"slipstream.policy.points":           e.pointCounts(),
		"slipstream.records.received":        c.received,
		"slipstream.records.recovered":       c.recovered,
		"slipstream.records.delivered":       c.delivered,
		"slipstream.records.pending":         c.received + c.recovered - c.delivered - sum(c.dropped),
		"slipstream.records.dropped":         maps.Clone(c.dropped),
		"slipstream.batches.delivered":       c.batches,
		"slipstream.bytes.delivered":         c.bytes,
		"slipstream.sends.retried":           c.retries,
	}
}

func sum(m map[string]int) int {
	total := 0
	for _, n := range m {
		total += n
	}
	return total
}

// report closes the books: one line a destination, an error where a record was
// lost. Every record that came in or was recovered is in exactly one of
// delivered, spooled and dropped.
func (e *edge) report(goesOn bool) {
	e.mu.Lock()
	in, logs, exports := e.intake, e.logs.Counts(), e.exportCounts()
	e.mu.Unlock()
	if len(logs) > 0 || len(exports) > 0 {
		slog.Info("what the policy has changed or kept back", "logs", logs, "exports", exports)
	}
	if in.malformed > 0 || in.truncated > 0 || in.platformDropped > 0 || len(in.refused) > 0 {
		slog.Error("telemetry lost on the way in", "malformed_events", in.malformed, "malformed_bytes", in.malformedBytes,
			"truncated_records", in.truncated, "platform_dropped_records", in.platformDropped, "refused_bytes", in.refused)
	}
	if taken, unwanted, dropped := e.exports.counts(); len(dropped) > 0 || unwanted > 0 {
		slog.Error("data from the function lost on the way in", "taken", taken, "unwanted", unwanted, "dropped", dropped)
	}
	for _, l := range e.lanes {
		if goesOn {
			l.keep()
		}
		c := l.account(goesOn)
		level := slog.LevelInfo
		if len(c.dropped) > 0 {
			level = slog.LevelError
		}
		slog.Log(context.Background(), level, "closing account", "destination", l.name, "received", c.received,
			"recovered", c.recovered, "delivered", c.delivered, "fallback", c.fallback, "spooled", c.spooled,
			"batches", c.batches, "sent_bytes", c.bytes, "retries", c.retries, "dropped", c.dropped)
		for _, to := range []destination.Destination{l.to, l.fallback} {
			if to == nil {
				continue
			}
			if err := to.Close(); err != nil {
				slog.Debug("close destination", "destination", l.name, "cause", err)
			}
		}
	}
}
