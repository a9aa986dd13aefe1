// Command sample prints what is left of a function's logs, and of the spans that it
// exports, when only failed invocations and one in a hundred of the others are kept:
// the share of the bytes, whether a record of a failed one is missing, whether the
// counts are exact, and what it costs.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"syscall"
	"time"

	"slipstream/bench/figure"
	"slipstream/bench/lines"
	"slipstream/process/parse"
	"slipstream/process/sample"
	"slipstream/telemetry"
	"slipstream/wire"
)

func main() {
	figure.Main("sample", func(context.Context) ([]figure.Figure, error) { return measure(5000) })
}

const (
	linesEach = 40  // of an invocation
	spansEach = 12  // in one export
	failEvery = 100 // one invocation in so many fails
	oneIn     = 100
	runs      = 5
)

// workload is the records of some invocations, and how many lines of which.
type workload struct {
	logs    []telemetry.Log
	exports map[string]*telemetry.Export // of an invocation
	failed  map[string]int               // lines and spans of each failed invocation
}

// prepare makes the records, in the platform's order. A failed invocation shows
// it by an error in the middle, by a timeout, or by an exception that is told
// after the runtime's success.
func prepare(invocations int) (*workload, error) {
	w := &workload{failed: map[string]int{}, exports: map[string]*telemetry.Export{}}
	at := time.Date(2026, time.October, 1, 9, 0, 0, 0, time.UTC)
	for i := range invocations {
		var text bytes.Buffer
		if err := lines.Write(&text, i, linesEach); err != nil {
			return nil, err
		}
		id := fmt.Sprintf("3f1d7f0e-5a0b-4c39-9a68-%012x", i)
		add := func(kind string, body []byte) {
			at = at.Add(time.Millisecond)
			w.logs = append(w.logs, telemetry.Log{Time: at, Type: kind, RequestID: id, Body: body})
			if kind == "function" && i%failEvery == 0 {
				w.failed[id]++
			}
		}
		way := -1
		if i%failEvery == 0 {
			way = i / failEvery % 3
		}
		status := "success"
		if way == 1 {
			status = "timeout"
		}
		end := fmt.Appendf(nil, `{"requestId":%q,"status":%q,"metrics":{"durationMs":31.2,"billedDurationMs":32,`+
			`"memorySizeMB":1769,"maxMemoryUsedMB":64}}`, id, status)
		add("platform.start", fmt.Appendf(nil, `{"requestId":%q,"version":"$LATEST"}`, id))
		for line := range bytes.Lines(text.Bytes()) {
			body, err := json.Marshal(string(line))
			if err != nil {
				return nil, err
			}
			add("function", body)
			if way == 0 && w.failed[id] == linesEach/2 {
				add("function", []byte(`"ERROR no stock\n"`))
			}
		}
		add("platform.runtimeDone", end)
		if way == 2 {
			add("function", []byte(`"[ERROR] ValueError: no stock\r\nTraceback (most recent call last):\n"`))
		}
		add("platform.report", end)
		x, err := spans(id)
		if err != nil {
			return nil, err
		}
		if w.exports[id] = x; w.failed[id] > 0 {
			w.failed[id] += spansEach
		}
	}
	return w, nil
}

// spans is what an SDK exports at the end of an invocation, none of them failed.
func spans(id string) (*telemetry.Export, error) {
	var all []string
	for i := range spansEach {
		all = append(all, fmt.Sprintf(`{"traceId":"%032x","spanId":"%016x","name":"SELECT orders","kind":3,`+
			`"startTimeUnixNano":"1790848800000000000","endTimeUnixNano":"1790848800004000000","attributes":[`+
			`{"key":"faas.invocation_id","value":{"stringValue":%q}},`+
			`{"key":"db.system.name","value":{"stringValue":"postgresql"}},`+
			`{"key":"server.address","value":{"stringValue":"orders.example.com"}}]}`, i+1, i+1, id))
	}
	body, err := wire.ExportFromJSON(nil, telemetry.Traces,
		[]byte(`{"resourceSpans":[{"scopeSpans":[{"spans":[`+strings.Join(all, ",")+`]}]}]}`))
	return &telemetry.Export{Signal: telemetry.Traces, Records: spansEach, Body: body}, err
}

// result is what one run has left.
type result struct {
	share      float64 // of the encoded bytes, percent
	lost       int     // lines and spans of failed invocations
	difference int     // records in less those that the counts tell of
	cpu        time.Duration
}

// run shapes the whole workload.
func (w *workload) run(samplePlatform bool) result {
	encoder := wire.NDJSON(&telemetry.Resource{FunctionName: "checkout", FunctionVersion: "$LATEST", Region: "eu-west-1",
		EnvironmentID: "0d4e3a52-5a1f-4d7c-9d5e-3f6f9e6c1c11", AccountID: "123456789012"})
	missing := map[string]int{}
	for id, n := range w.failed {
		missing[id] = n
	}
	var buffer []byte
	all, sent, out := 0, 0, 0
	for i := range w.logs {
		buffer = encoder.AppendLog(buffer[:0], &w.logs[i])
		all += len(buffer)
	}
	for _, x := range w.exports {
		all += len(x.Body)
	}
	config := sample.Config{OneIn: oneIn, SamplePlatform: samplePlatform}
	s := sample.New(config, nil, sample.Emit{Log: func(l *telemetry.Log) {
		buffer = encoder.AppendLog(buffer[:0], l)
		sent += len(buffer)
		out++
		if l.Type == "function" && w.failed[l.RequestID] > 0 {
			missing[l.RequestID]--
		}
	}, Export: func(x *telemetry.Export, _ bool) {
		id := string(x.Body[bytes.Index(x.Body, []byte("3f1d7f0e")):][:36])
		sent += len(x.Body)
		if out += x.Records; w.failed[id] > 0 {
			missing[id] -= x.Records
		}
	}})
	p := &parse.Parser{}
	began := processorTime()
	for _, l := range w.logs {
		if l.Type == "platform.runtimeDone" {
			s.AddExport(w.exports[l.RequestID], l.RequestID, time.Time{}, l.Time)
		}
		p.Parse(&l)
		s.Add(&l, l.Time)
	}
	r := result{cpu: processorTime() - began}
	s.Finish()
	kept, dropped := 0, 0
	for _, c := range s.Counts() {
		if c.Dropped {
			dropped += c.Records + c.Exported
		} else {
			kept += c.Records + c.Exported
		}
	}
	for _, n := range missing {
		r.lost += max(n, -n)
	}
	in := len(w.logs) + spansEach*len(w.exports)
	r.difference = max(in-kept-dropped, kept+dropped-in) + max(kept-out, out-kept)
	r.share = 100 * float64(sent) / float64(all)
	return r
}

// processorTime is what this process has used.
func processorTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func measure(invocations int) ([]figure.Figure, error) {
	w, err := prepare(invocations)
	if err != nil {
		return nil, err
	}
	var figures []figure.Figure
	for _, mode := range []struct {
		name           string
		samplePlatform bool
	}{{"whole", true}, {"with_platform", false}} {
		var shares, lost, off, costs []float64
		for range runs {
			r := w.run(mode.samplePlatform)
			shares = append(shares, r.share)
			lost = append(lost, float64(r.lost))
			off = append(off, float64(r.difference))
			costs = append(costs, float64(r.cpu)/float64(len(w.logs)))
		}
		figures = append(figures, figure.Of(mode.name+"/volume", "%", shares),
			figure.Of(mode.name+"/failed_lines_lost", "lines", lost),
			figure.Of(mode.name+"/counts_off", "records", off), figure.Of(mode.name+"/cpu_per_record", "ns", costs))
	}
	return figures, nil
}
