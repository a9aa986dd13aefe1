package edge

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipstream/edge/buffer"
	"slipstream/process/frame"
	"slipstream/process/sample"
	"slipstream/telemetry"
)

// chosenID is a request id that one in so many keeps, or not.
func chosenID(word string, oneIn int, chosen bool) string {
	for i := 0; ; i++ {
		if id := fmt.Sprintf("%s-%d", word, i); sample.Chosen(id, oneIn) == chosen {
			return id
		}
	}
}

// platform has the platform tell of an invocation, with events of that time.
func (e *edge) platform(t *testing.T, at time.Time, id string, events ...string) {
	t.Helper()
	var all []string
	for _, event := range events {
		kind, status, _ := strings.Cut(event, " ")
		record := fmt.Sprintf(`{"requestId":%q,"status":%q}`, id, status)
		if kind == "function" {
			record = fmt.Sprintf("%q", status)
		}
		all = append(all, fmt.Sprintf(`{"time":%q,"type":%q,"record":%s}`, at.UTC().Format(time.RFC3339Nano), kind,
			record))
	}
	if !e.take(t.Context(), []byte("["+strings.Join(all, ",")+"]")) {
		t.Fatal("refused")
	}
}

// words gives an export of spans or log records that are found again by their
// names; "name@id" names its invocation, "!name" has failed.
func words(t *testing.T, signal telemetry.Signal, list ...string) *telemetry.Export {
	t.Helper()
	var items []string
	for _, word := range list {
		word, failed := strings.CutPrefix(word, "!")
		name, id, named := strings.Cut(word, "@")
		item := fmt.Sprintf(`{"name":"word-%s."`, name)
		if signal == telemetry.Logs {
			item = fmt.Sprintf(`{"body":{"stringValue":"word-%s."}`, name)
		}
		if named {
			item += fmt.Sprintf(`,"attributes":[{"key":"faas.invocation_id","value":{"stringValue":%q}}]`, id)
		}
		switch {
		case failed && signal == telemetry.Logs:
			item += `,"severityNumber":17`
		case failed:
			item += `,"status":{"code":2}`
		}
		items = append(items, item+"}")
	}
	text := map[telemetry.Signal]string{
		telemetry.Logs:   `{"resourceLogs":[{"scopeLogs":[{"logRecords":[%s]}]}]}`,
		telemetry.Traces: `{"resourceSpans":[{"scopeSpans":[{"spans":[%s]}]}]}`,
		telemetry.Metrics: `{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"word-%s.",` +
			`"gauge":{"dataPoints":[{}]}}]}]}]}`,
	}[signal]
	what := strings.Join(items, ",")
	if signal == telemetry.Metrics {
		what = list[0]
	}
	x := exportOf(t, signal, fmt.Sprintf(text, what))
	x.Records = len(list)
	return x
}

// found are the words in a text, in order.
func found(text string) (all []string) {
	for _, part := range strings.Split(text, "word-")[1:] {
		word, _, _ := strings.Cut(part, ".")
		all = append(all, word)
	}
	return all
}

// What a function exports is kept or dropped with its invocation, in the order in
// which it came; what is dropped is counted, and metrics are not asked about.
func TestExportsAreSampled(t *testing.T) {
	const oneIn = 10
	folder := t.TempDir()
	e := collecting(t, map[string]string{"SLIPSTREAM_DESTINATIONS": "file://" + folder + "?compression=none",
		"SLIPSTREAM_SAMPLE": fmt.Sprint(oneIn), "SLIPSTREAM_SELF_METRICS": "false", "SLIPSTREAM_PLATFORM_METRICS": "false"})
	shutdown := e.runLanes()
	export := func(signal telemetry.Signal, list ...string) {
		t.Helper()
		if err := e.takeExport(words(t, signal, list...)); err != nil {
			t.Fatal(err)
		}
	}
	good, bad := chosenID("good", oneIn, false), chosenID("bad", oneIn, false)
	slow, lucky, last := chosenID("slow", oneIn, false), chosenID("lucky", oneIn, true), chosenID("last", oneIn, false)
	end := time.Now().Add(time.Hour) // nothing comes after it
	begin := func(id string) { e.invocation.Begin(id, time.Now()) }
	over := []string{"platform.runtimeDone success", "platform.report success"}

	export(telemetry.Traces, "init")
	begin(good)
	export(telemetry.Traces, "g1", "g2")
	export(telemetry.Logs, "g3")
	export(telemetry.Metrics, "metric")
	e.platform(t, end, good, over...)
	export(telemetry.Traces, "g4")
	begin(bad)
	export(telemetry.Traces, "b1")
	export(telemetry.Traces, "b2", "g5@"+good)
	export(telemetry.Logs, "!b3")
	export(telemetry.Logs, "b4", "g6@"+good)
	e.platform(t, end, bad, over...)
	begin(slow)
	export(telemetry.Logs, "t1")
	export(telemetry.Traces, "b5@"+bad)
	e.platform(t, end, slow, "platform.runtimeDone timeout")
	export(telemetry.Logs, "t2")
	begin(lucky)
	export(telemetry.Traces, "l1")
	e.platform(t, end, lucky, over...)
	export(telemetry.Traces, "l2", "g7@"+good, "b6@"+bad)
	begin(last)
	export(telemetry.Traces, "s1")
	records, _ := e.logs.Held()
	if records != 1 {
		t.Errorf("%d records are held", records)
	}
	e.mu.Lock()
	counts := e.exportCounts()
	e.mu.Unlock()
	shutdown()
	text := readAll(t, folder)
	want := []string{"init", "metric", "b1", "b2", "b3", "b4", "b5", "t1", "t2", "l1", "b6", "l2", "s1"}
	if diff := cmp.Diff(want, found(text)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]int{"not_sampled": 7}, counts); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
	if n := strings.Count(text, `"sampling.adjusted_count","value":{"intValue":"10"}`); n != 2 {
		t.Errorf("%d records stand for others:\n%s", n, text)
	}
	taken, _, _ := e.exports.counts()
	if taken[telemetry.Traces] != 13 || taken[telemetry.Logs] != 6 {
		t.Errorf("taken %v", taken)
	}
}

// Exports may be left alone; what they say of their invocation counts.
func TestExportsThatAreNotSampled(t *testing.T) {
	folder := t.TempDir()
	e := collecting(t, map[string]string{"SLIPSTREAM_DESTINATIONS": "file://" + folder + "?compression=none",
		"SLIPSTREAM_SAMPLE": "0", "SLIPSTREAM_SAMPLE_EXPORTS": "false", "SLIPSTREAM_SELF_METRICS": "false"})
	shutdown := e.runLanes()
	end := time.Now().Add(time.Hour)
	for _, id := range []string{"good", "bad"} {
		e.invocation.Begin(id, time.Now())
		e.platform(t, end, id, "platform.start", "function word-line-of-"+id+".")
		name := "span-of-" + id
		if id == "bad" {
			name = "!" + name
		}
		if err := e.takeExport(words(t, telemetry.Traces, name)); err != nil {
			t.Fatal(err)
		}
		e.platform(t, end, id, "platform.runtimeDone success", "platform.report success")
	}
	shutdown()
	if diff := cmp.Diff([]string{"span-of-good", "span-of-bad", "line-of-bad"}, found(readAll(t, folder))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What comes after a thaw is of the invocation that made it; what was made when that
// was over may be of the next one, of which the extension has heard later.
func TestExportsAfterAThaw(t *testing.T) {
	folder := t.TempDir()
	e := collecting(t, map[string]string{"SLIPSTREAM_DESTINATIONS": "file://" + folder + "?compression=none",
		"SLIPSTREAM_SAMPLE": "0", "SLIPSTREAM_SELF_METRICS": "false", "SLIPSTREAM_PLATFORM_METRICS": "false"})
	shutdown := e.runLanes()
	now := time.Now()
	at := func(name string, before time.Duration) {
		x := exportOf(t, telemetry.Traces, fmt.Sprintf(`{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"word-%s.",`+
			`"startTimeUnixNano":"%d"}]}]}]}`, name, now.Add(-before).UnixNano()))
		if err := e.takeExport(x); err != nil {
			t.Fatal(err)
		}
	}
	e.invocation.Begin("failed", now.Add(-time.Minute))
	e.invocation.Begin("good", now.Add(-30*time.Second))
	e.invocation.Begin("now", now)
	at("dropped", 10*time.Second)
	at("failed", 40*time.Second)
	at("early", 10*time.Millisecond)
	e.platform(t, now.Add(-time.Second), "good", "platform.runtimeDone success", "platform.report success")
	e.platform(t, now.Add(-35*time.Second), "failed", "platform.runtimeDone error")
	e.platform(t, now, "now", "platform.runtimeDone error")
	shutdown()
	if diff := cmp.Diff([]string{"failed", "early"}, found(readAll(t, folder))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Of a batch that spans the end of an invocation, of which the extension has not heard
// yet, each failure is of the invocation that it was made in, whatever else is in the
// batch.
func TestFailuresAroundAnEnd(t *testing.T) {
	span := func(name string, status int, at time.Time) string {
		return fmt.Sprintf(`{"name":"word-%s.","status":{"code":%d},"startTimeUnixNano":"%d"}`, name, status, at.UnixNano())
	}
	now := time.Now()
	end, begin := now.Add(-time.Minute), now
	for name, tt := range map[string]struct {
		before, after int // status of a span made then
		want          []string
	}{
		"before": {2, 0, []string{"line-of-one", "before", "after"}},
		"after":  {0, 2, []string{"before", "after", "line-of-two"}}, // who is together in doubt is kept
		"both":   {2, 2, []string{"line-of-one", "before", "after", "line-of-two"}},
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			e := collecting(t, map[string]string{"SLIPSTREAM_DESTINATIONS": "file://" + folder + "?compression=none",
				"SLIPSTREAM_SAMPLE": "0", "SLIPSTREAM_SELF_METRICS": "false", "SLIPSTREAM_PLATFORM_METRICS": "false"})
			shutdown := e.runLanes()
			e.invocation.Begin("one", end.Add(-time.Minute))
			e.platform(t, end, "one", "platform.start", "function word-line-of-one.")
			x := exportOf(t, telemetry.Traces, fmt.Sprintf(`{"resourceSpans":[{"scopeSpans":[{"spans":[%s,%s]}]}]}`,
				span("before", tt.before, end.Add(-time.Second)), span("after", tt.after, begin)))
			x.Records = 2
			if err := e.takeExport(x); err != nil {
				t.Fatal(err)
			}
			e.platform(t, end, "one", "platform.runtimeDone success")
			e.invocation.Begin("two", begin.Add(time.Millisecond))
			e.mu.Lock()
			e.logs.Invoked(begin.Add(time.Millisecond))
			e.mu.Unlock()
			e.platform(t, end, "one", "platform.report success")
			e.platform(t, now.Add(time.Minute), "two", "platform.start", "function word-line-of-two.",
				"platform.runtimeDone success", "platform.report success")
			shutdown()
			if diff := cmp.Diff(tt.want, found(readAll(t, folder))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// Exports that a dead process held are kept, in their order with its records.
func TestHeldExportsAreAdopted(t *testing.T) {
	folder := t.TempDir()
	e := collecting(t, map[string]string{"SLIPSTREAM_DESTINATIONS": "file://" + folder + "?compression=none",
		"SLIPSTREAM_SAMPLE": "0", "SLIPSTREAM_SELF_METRICS": "false", "SLIPSTREAM_PLATFORM_METRICS": "false"})
	c := (&buffer.Pool{}).Open(buffer.Name{Lane: buffer.LaneHash(heldLane)}, time.Now())
	line := &telemetry.Log{Time: time.Now(), Type: "function", RequestID: "a", Body: []byte(`"word-line."`)}
	c.AppendExport(frame.Encoder{Note: frame.Note{Doubtful: true}}, words(t, telemetry.Traces, "one", "two"))
	c.Append(frame.Encoder{}, line)
	c.AppendExport(frame.Encoder{}, words(t, telemetry.Logs, "three"))
	shutdown := e.runLanes()
	left := &buffer.Leftover{Name: buffer.Name{Lane: buffer.LaneHash(heldLane)}, Chunk: c, Records: c.Records}
	if err := e.adopt(left, time.Now()); err != nil {
		t.Fatal(err)
	}
	shutdown()
	if diff := cmp.Diff([]string{"one", "two", "line", "three"}, found(readAll(t, folder))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
