package process

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"slipstream/bench/lines"
	"slipstream/process/redact"
	"slipstream/telemetry"
)

// plainLogs are records as the platform hands over a function's lines.
func plainLogs(t testing.TB) (logs []telemetry.Log, size int) {
	t.Helper()
	var text bytes.Buffer
	if err := lines.Write(&text, 1, 1000); err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(text.Bytes()) {
		body, err := json.Marshal(string(line))
		if err != nil {
			t.Fatal(err)
		}
		logs = append(logs, telemetry.Log{Time: time.Unix(0, 0), Type: "function", Body: body})
		size += len(body)
	}
	return logs, size
}

// usual is the default policy without what it does after a record is known.
func usual(t testing.TB, emit func(*telemetry.Log)) *Logs {
	t.Helper()
	redactor, errs := redact.New(redact.Config{})
	for _, err := range errs {
		t.Fatal(err)
	}
	return NewLogs(LogPolicy{Redactor: redactor, Record: 1 << 20, Parse: true}, emit)
}

// A line without a secret costs no allocation, and goes on as it came, with its
// level.
func TestOrdinaryLogsAllocateNothing(t *testing.T) {
	logs, _ := plainLogs(t)
	emitted, levels := 0, 0
	l := usual(t, func(log *telemetry.Log) {
		if emitted++; log.Level != 0 {
			levels++
		}
	})
	now, log := time.Unix(0, 0), telemetry.Log{}
	n := testing.AllocsPerRun(20, func() {
		for i := range logs {
			log = logs[i]
			l.Take(&log, now)
		}
	})
	if n != 0 || emitted != 21*len(logs) || levels != emitted || len(l.Counts()) != 0 {
		t.Errorf("%v allocations for %d records, %d emitted, %d with a level, counts %v", n, len(logs), emitted, levels,
			l.Counts())
	}
}

func BenchmarkLogs(b *testing.B) {
	logs, size := plainLogs(b)
	l := usual(b, func(*telemetry.Log) {})
	now, log := time.Unix(0, 0), telemetry.Log{}
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		for i := range logs {
			log = logs[i]
			l.Take(&log, now)
		}
	}
}
