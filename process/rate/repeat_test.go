package rate

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipstream/process/parse"
	"slipstream/telemetry"
)

// said collects what a Repeats lets through.
type said struct{ lines []string }

func (s *said) take(l *telemetry.Log) {
	s.lines = append(s.lines, strings.TrimPrefix(l.RequestID+" "+string(l.Body), " "))
}

func TestRepeats(t *testing.T) {
	var s said
	r := NewRepeats(10*time.Second, s.take)
	add := func(l *telemetry.Log, seconds int) { r.Add(l, epoch.Add(time.Duration(seconds)*time.Second)) }
	add(line("a", "x"), 0)
	add(line("a", "x"), 1)
	add(line("b", "x"), 1) // another invocation's
	add(line("a", "x"), 2)
	add(line("a", "y"), 3)
	add(line("a", "x"), 4)
	add(line("b", "x"), 5)
	if at := r.Deadline(); !at.Equal(epoch.Add(14 * time.Second)) { // of the line that waits for a repetition
		t.Errorf("deadline %v", at)
	}
	r.Tick(epoch.Add(15 * time.Second))
	add(line("b", "x"), 16)
	add(&telemetry.Log{Type: "platform.report", RequestID: "b", Body: []byte(`{}`)}, 17)
	add(line("b", "x"), 18)
	add(line("", "in Init"), 18)
	add(line("", "in Init"), 18)
	add(&telemetry.Log{Type: "extension", RequestID: "b", Body: []byte(`"x"`)}, 18)
	add(&telemetry.Log{Type: "platform.initReport", Body: []byte(`{}`)}, 18)
	r.Finish(epoch)
	want := []string{`a "x"`, `b "x"`, `a {"message":"repeated 2 times: x","repeated":2}`, `a "y"`, `a "x"`,
		`b {"message":"repeated 1 times: x","repeated":1}`, `b {"message":"repeated 1 times: x","repeated":1}`, `b {}`,
		`b "x"`, `"in Init"`, `b "x"`, `{}`, `{"message":"repeated 1 times: in Init","repeated":1}`}
	if diff := cmp.Diff(want, s.lines); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if held, told := r.Held(); held != 5 || told != 5 {
		t.Errorf("%d held, %d told", held, told)
	}
}

// Lines that differ in their time are the same, others are not.
func TestSameLines(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		same bool
	}{
		{`{"level":30,"time":1,"msg":"x","n":1}`, `{"level":30,"time":2,"msg":"x","n":1}`, true},
		{`{"level":30,"time":1,"msg":"x","n":1}`, `{"level":30,"time":1,"msg":"x","n":2}`, false},
		{`{"level":30,"msg":"x"}`, `{"level":40,"msg":"x"}`, false},
		{`"[INFO]\t2026-10-01T09:00:00.330Z\ta\tx"`, `"[INFO]\t2026-10-01T09:00:01.330Z\ta\tx"`, false}, // no request id
		{`"[INFO]\t2026-10-01T09:00:00.330Z\t\tx"`, `"[INFO]\t2026-10-01T09:00:01.330Z\t\tx"`, true},
		{`{"a":1}`, `{"a":1}`, true},
		{`{"a":1}`, `{"a":2}`, false},
		{`""`, `""`, true},
		{`"` + strings.Repeat("x", maxLine) + `"`, `"` + strings.Repeat("x", maxLine) + `"`, false}, // too long to compare
	} {
		var s said
		r := NewRepeats(time.Second, s.take)
		p := &parse.Parser{}
		for _, body := range []string{tt.a, tt.b} {
			l := telemetry.Log{Type: "function", Body: []byte(body)}
			p.Parse(&l)
			r.Add(&l, epoch)
		}
		if same := len(s.lines) == 1; same != tt.same {
			t.Errorf("%.60s and %.60s are the same: %v", tt.a, tt.b, same)
		}
	}
}

// A record of repetitions looks like one that was parsed.
func TestToldRecord(t *testing.T) {
	var got telemetry.Log
	r := NewRepeats(time.Second, func(l *telemetry.Log) { got = *l })
	l := telemetry.Log{Time: epoch, Type: "function", RequestID: "a", Body: []byte(`{}`), Level: 17,
		Message: []byte(`{"no":"text"}`), Fields: []telemetry.Field{}}
	r.Add(&l, epoch)
	l.Time = epoch.Add(time.Second)
	r.Add(&l, epoch)
	r.Finish(epoch)
	want := telemetry.Log{Time: l.Time, Type: "function", RequestID: "a", Level: 17, Message: []byte(`"repeated 1 times"`),
		Body:   []byte(`{"message":"repeated 1 times","repeated":1}`),
		Fields: []telemetry.Field{{Key: []byte("repeated"), Value: []byte("1")}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Records in are records through and repetitions told, whatever comes; nothing
// that differs from the line before is held back, and memory is bounded.
func TestRepetitionsAreExact(t *testing.T) {
	random := newRandom(t)
	for range 100 {
		in, through, told := 0, 0, 0
		r := NewRepeats([]time.Duration{time.Second, time.Hour}[random.IntN(2)], func(l *telemetry.Log) {
			if len(l.Fields) == 0 {
				through++
				return
			}
			n := 0
			if _, err := fmt.Sscan(string(l.Fields[0].Value), &n); err != nil {
				t.Fatal(err)
			}
			told += n
		})
		now, lines, invocations := epoch, 1+random.IntN(3), 1+random.IntN(2*maxStreams)
		for range 1000 {
			in++
			l := line(fmt.Sprint(random.IntN(invocations)), fmt.Sprint("line ", random.IntN(lines)))
			if random.IntN(20) == 0 {
				l.Type = "platform.report"
			}
			r.Add(l, now)
			now = now.Add(time.Duration(random.IntN(100)) * time.Millisecond)
			if random.IntN(10) == 0 {
				r.Tick(now)
			}
			if held, said := r.Held(); len(r.streams) > maxStreams || in != through+held || said != told {
				t.Fatalf("%d in, %d through, %d held, %d told, %d streams", in, through, held, told, len(r.streams))
			}
		}
		r.Finish(now)
		if in != through+told || len(r.streams) != 0 {
			t.Fatalf("%d in, %d through, %d told", in, through, told)
		}
	}
}
