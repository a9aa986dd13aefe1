package buffer

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipstream/process/frame"
	"slipstream/process/sample"
	"slipstream/telemetry"
)

// holding keeps what a Sampler holds in the arena, a chunk an invocation.
type holding struct {
	pool   *Pool
	chunks []*Chunk
}

func (h *holding) Open(now time.Time) sample.Run {
	c := run{h.pool.Open(Name{Lane: 1, Environment: environment, Sequence: uint64(len(h.chunks) + 1)}, now)}
	c.Limit = 4 << 10
	h.chunks = append(h.chunks, c.Chunk)
	return c
}

// run is a chunk of frames.
type run struct{ *Chunk }

func (r run) Append(l *telemetry.Log) int { return r.Chunk.Append(frame.Encoder{}, l) }

func (r run) AppendExport(x *telemetry.Export, n frame.Note) int {
	return r.Chunk.AppendExport(frame.Encoder{Note: n}, x)
}

// A process is killed while it holds the records of two invocations: the next one
// finds those, in order, and none of an invocation that was decided.
func TestHeldRecordsSurviveAKill(t *testing.T) {
	dir := t.TempDir()
	h := &holding{pool: NewPool(dir, arenaBytes)}
	var kept []string
	s := sample.New(sample.Config{Concurrent: true}, h, sample.Emit{Log: func(l *telemetry.Log) {
		kept = append(kept, string(l.Body))
	}})
	add := func(id, kind, body string, level telemetry.Level) {
		s.Add(&telemetry.Log{Time: opened, Type: kind, RequestID: id, Body: []byte(body), Level: level}, opened)
		for _, c := range h.chunks {
			c.Commit()
		}
	}
	for i := range 500 { // more than a page
		for _, id := range []string{"a", "b"} {
			add(id, "function", fmt.Sprintf(`"%s line %d"`, id, i), 0)
		}
		add("good", "function", `"good"`, 0)
		add("bad", "function", `"bad"`, telemetry.LevelError)
	}
	add("good", "platform.report", `{"status":"success"}`, 0)
	if want := 501; len(kept) != want { // all of bad, and the report
		t.Errorf("%d records are kept, want %d", len(kept), want)
	}
	die(t, h.pool)
	found := map[string][]string{}
	_, err := Recover(dir, func(l *Leftover) error {
		var problem error
		l.Chunk.Pages(func(frames []byte) {
			var r telemetry.Log
			for len(frames) > 0 && problem == nil {
				if frames, problem = frame.Decode(frames, &r); problem == nil {
					found[r.RequestID] = append(found[r.RequestID], string(r.Body))
				}
			}
		})
		return problem
	})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]string{}
	for _, id := range []string{"a", "b"} {
		for i := range 500 {
			want[id] = append(want[id], fmt.Sprintf(`"%s line %d"`, id, i))
		}
	}
	if diff := cmp.Diff(want, found); diff != "" {
		t.Errorf("found after the kill (-want +got):\n%s", diff)
	}
}
