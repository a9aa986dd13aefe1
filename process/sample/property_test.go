package sample

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"slipstream/telemetry"
)

var seed = flag.Uint64("seed", 0, "of the random invocations; 0 takes the clock")

// world is a random telling of invocations, and what came out of it.
type world struct {
	*rand.Rand
	s        *Sampler
	config   Config
	now      time.Time
	in, out  map[string][]int // records by invocation, numbered
	bad      map[string]bool  // its error was told before its end
	emitted  int
	exported int // exports, of two records each
	begun    string
	after    map[string]string // which invocation came after one
	early    map[int]string    // by number: of which it is
	came     map[int]int       // of those
}

func (w *world) add(id string, l telemetry.Log) {
	l.RequestID = id
	n := len(w.in[id])
	w.in[id] = append(w.in[id], n)
	if l.Body == nil {
		l.Body = fmt.Append(nil, n)
	} else {
		l.Message = fmt.Append(nil, n)
	}
	w.now = w.now.Add(time.Duration(w.IntN(50)) * time.Millisecond)
	l.Time = w.now
	w.s.Add(&l, w.now)
}

// export adds an export of two records; it has one number, for the judge.
func (w *world) export(id string) {
	n := len(w.in[id])
	w.in[id] = append(w.in[id], n)
	w.exported++
	w.s.AddExport(&telemetry.Export{Records: 2, Body: fmt.Append(nil, id, " ", n)}, id, time.Time{}, w.now)
}

// begin is the next invocation of an environment that has one at a time. It may be
// ahead of the Sampler: what it exports seems to be of the one before.
func (w *world) begin(id string) {
	before := w.begun
	early := func() {
		if before == "" || w.IntN(2) == 0 {
			return
		}
		w.exported++
		w.early[w.exported] = id
		w.now = w.now.Add(time.Duration(w.IntN(20)) * time.Millisecond)
		w.s.AddExport(&telemetry.Export{Records: 2, Body: fmt.Append(nil, "early ", w.exported)}, before, w.now, w.now)
	}
	early()
	if before != "" && w.IntN(6) == 0 {
		w.bad[id] = true
		w.now = w.now.Add(close + time.Millisecond) // closer than that it is the one before
		w.s.FailedAt(before, w.now, w.now)
	}
	w.after[before], w.begun = id, id
	early()
	w.s.Invoked(w.now)
	early()
}

func (w *world) takeExport(x *telemetry.Export, _ bool) {
	id, n := "", 0
	_, _ = fmt.Sscan(string(x.Body), &id, &n)
	w.emitted += x.Records
	if id == "early" {
		w.came[n]++
		return
	}
	w.out[id] = append(w.out[id], n)
}

func (w *world) take(l *telemetry.Log) {
	w.emitted++
	n := 0
	text := l.Body
	if l.Message != nil {
		text = l.Message
	}
	_, _ = fmt.Sscan(string(text), &n)
	w.out[l.RequestID] = append(w.out[l.RequestID], n)
}

// step plays one word of one invocation that is open; it tells whether it is over.
func (w *world) step(id string) (over bool) {
	line := telemetry.Log{Type: "function", Level: telemetry.LevelInfo}
	event := func(kind, status string) telemetry.Log {
		return telemetry.Log{Type: kind, Body: fmt.Appendf(nil, `{"status":%q}`, status)}
	}
	switch w.IntN(20) {
	case 0:
		line.Level = telemetry.LevelError
		w.bad[id] = true
		w.add(id, line)
	case 1:
		status := "success"
		if w.IntN(5) == 0 {
			status, w.bad[id] = "timeout", true
		}
		w.add(id, event("platform.runtimeDone", status))
		for range w.IntN(3) {
			w.add(id, line)
		}
		if w.IntN(8) == 0 { // an exception is told after the end
			line.Level = telemetry.LevelFatal
			w.bad[id] = true
			w.add(id, line)
		}
		w.add(id, event("platform.report", status))
		return true
	case 2:
		w.s.Tick(w.now)
	case 4, 5:
		w.export(id)
	case 3:
		if at := w.s.Deadline(); !at.IsZero() && at.Before(w.now.Add(time.Minute)) && w.IntN(10) == 0 {
			w.now = at
			w.s.Tick(w.now)
		}
	default:
		w.add(id, line)
	}
	return false
}

// Whatever the invocations are, whole, interleaved and bounded: records in are
// records kept, dropped and held; every record of a failed one is there, once and
// in order; and of every other one all is there or nothing.
func TestInvocationsAreKeptWhole(t *testing.T) {
	from := *seed
	if from == 0 {
		from = uint64(time.Now().UnixNano())
	}
	t.Logf("go test ./process/sample -seed=%d", from)
	for round := range uint64(200) {
		r := rand.New(rand.NewPCG(from, round))
		c := Config{OneIn: r.IntN(4), SamplePlatform: true, Concurrent: r.IntN(2) == 0,
			MaxBytes: []int{0, 300, 3000}[r.IntN(3)], MaxInvocations: []int{0, 3}[r.IntN(2)]}
		w := &world{Rand: r, config: c, now: epoch, in: map[string][]int{}, out: map[string][]int{}, bad: map[string]bool{},
			after: map[string]string{}, early: map[int]string{}, came: map[int]int{}}
		if !c.Concurrent {
			c.Next = func(id string) string { return w.after[id] }
		}
		w.s = New(c, nil, Emit{Log: w.take, Export: w.takeExport})
		open := []string{}
		for i := range 60 {
			most := 1
			if c.Concurrent {
				most = 3
			}
			for len(open) < most {
				open = append(open, fmt.Sprintf("%d-%d", i, len(open)))
				if !c.Concurrent {
					w.begin(open[0])
				}
			}
			for over := false; !over; {
				at := r.IntN(len(open))
				if over = w.step(open[at]); over {
					open = append(open[:at], open[at+1:]...)
				}
				w.balance(t, round)
			}
		}
		w.s.Finish()
		w.balance(t, round)
		w.judge(t, round)
	}
}

// balance checks the counts at any moment.
func (w *world) balance(t *testing.T, round uint64) {
	t.Helper()
	in, kept, dropped := w.exported+len(w.early), 0, 0 // an export has two records, and one number or none
	for _, records := range w.in {
		in += len(records)
	}
	for _, c := range w.s.Counts() {
		if c.Dropped {
			dropped += c.Records + c.Exported
		} else {
			kept += c.Records + c.Exported
		}
	}
	held, bytes := w.s.Held()
	if in != kept+dropped+held || kept != w.emitted || bytes > w.s.config.MaxBytes ||
		len(w.s.order) > w.s.config.MaxInvocations || len(w.s.known) != len(w.s.order) {
		t.Fatalf("round %d: %d in, %d kept (%d came out), %d dropped, %d held in %d bytes, %d invocations; config %+v",
			round, in, kept, w.emitted, dropped, held, bytes, len(w.s.order), w.config)
	}
}

// judge checks what came out at the end.
func (w *world) judge(t *testing.T, round uint64) {
	t.Helper()
	for n, id := range w.early {
		if w.came[n] > 1 || w.came[n] == 0 && w.bad[id] {
			t.Fatalf("round %d: an early export of %s (failed: %t) came out %d times", round, id, w.bad[id], w.came[n])
		}
	}
	for id, in := range w.in {
		out := w.out[id]
		for i, n := range out {
			if i > 0 && n != out[i-1]+1 {
				t.Fatalf("round %d: %s came out as %v", round, id, out)
			}
		}
		if len(out) > 0 && len(out) < len(in) {
			t.Fatalf("round %d: %d of the %d records of %s came out; config %+v", round, len(out), len(in), id, w.config)
		}
		if w.bad[id] && len(out) != len(in) {
			t.Fatalf("round %d: %s failed, %d of %d records came out", round, id, len(out), len(in))
		}
	}
}
