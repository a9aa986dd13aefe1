package edge

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"slipstream/telemetry"
	"slipstream/wire"
	"slipstream/wire/metrics"
)

// measured is what metrics came to a folder of lines: data points, values added up
// and distributions' counts and sums, by name and tags.
type measured struct {
	points, records int
	sums            map[string]float64
	counts          map[string]uint64
}

func measuredIn(t *testing.T, folder string) measured {
	t.Helper()
	m := measured{sums: map[string]float64{}, counts: map[string]uint64{}}
	var splitter metrics.Splitter
	for line := range strings.Lines(readAll(t, folder)) {
		if !strings.HasPrefix(line, `{"resourceMetrics"`) {
			m.records++
			continue
		}
		body, err := wire.ExportFromJSON(nil, telemetry.Metrics, []byte(line))
		if err != nil {
			t.Fatal(err)
		}
		rest := splitter.Split(nil, body, func(p *telemetry.Point, h *metrics.Histogram) bool {
			key := string(p.Name)
			for _, tag := range p.Tags {
				key += " " + string(tag.Key) + "=" + string(tag.Value)
			}
			m.points++
			if h != nil {
				m.sums[key] += h.Sum
				m.counts[key] += h.Count
			} else {
				m.sums[key] += p.Value
			}
			return true
		})
		m.points += rest.Records
		m.sums["unchanged"] += float64(rest.Records)
	}
	return m
}

// metering is an edge whose metrics come to a folder, with the listeners open.
func metering(t *testing.T, more map[string]string) (
	e *edge, folder, lines string, shutdown func()) {
	t.Helper()
	folder = t.TempDir()
	env := map[string]string{
		"SLIPSTREAM_DESTINATIONS": "file://" + folder + "?compression=none", "SLIPSTREAM_SELF_METRICS": "false",
		"SLIPSTREAM_LISTEN": "statsd=" + filepath.Join(t.TempDir(), "s") + ",wavefront=127.0.0.1:0," +
			"wavefront-minute=127.0.0.1:0",
		"SLIPSTREAM_REDACT_KEYS":    "customer",
		"SLIPSTREAM_METRIC_FILTERS": `[{"pattern":"\"took\"","name":"slow"}]`,
	}
	for k, v := range more {
		env[k] = v
	}
	e = collecting(t, env)
	e.config.Outside.Listen = func(network, address string) (net.Listener, error) {
		l, err := net.Listen(network, address)
		if err == nil && lines == "" {
			lines = l.Addr().String()
		}
		return l, err
	}
	e.openListeners(nil)
	return e, folder, lines, e.runLanes()
}

// Points of listeners are rolled up, answered for when they survive, and without
// what must not leave: neither in what is delivered nor in what would survive.
func TestPointsOfListeners(t *testing.T) {
	for _, rolled := range []string{"true", "false"} {
		e, folder, address, shutdown := metering(t, map[string]string{"SLIPSTREAM_ROLLUP": rolled})
		path, _ := e.config.listener(listenStatsD)
		c, err := net.Dial("unixgram", path)
		if err != nil {
			t.Fatal(err)
		}
		const secret = "AKIAIOSFODNN7EXAMPLE"
		for range 50 {
			if _, err := fmt.Fprintf(c, "hits:2|c|#customer:jane,who:%s\nwait:3:4|ms\nseen:a|s", secret); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		lines := fmt.Sprintf("\"∆calls\" 3 source=\"s\" \"customer\"=\"jane\"\n"+
			"!M %d #2 1.5 #1 7 \"d\" source=\"s\" \"x\"=\"%s\"\n"+
			"\"old\" 5 1500000000 source=\"s\"\n", time.Now().Unix(), secret)
		if w := postTo(t, address, lines); w != http.StatusAccepted {
			t.Fatalf("answered %d", w)
		}
		kept := arenaOf(t, e.config.SpoolDir)
		shutdown()
		text := readAll(t, folder)
		for _, where := range []string{kept, text} {
			if strings.Contains(where, secret) || strings.Contains(where, "jane") {
				t.Errorf("rollup %s: what must not leave is kept", rolled)
			}
		}
		got := measuredIn(t, folder)
		if rolled == "false" {
			if got.points != 153 {
				t.Errorf("%d data points without a rollup", got.points)
			}
			continue
		}
		for key, want := range map[string]float64{
			"hits customer=**** who=****": 100, "wait": 350, "seen": 1, "calls source=s customer=****": 3,
			"d source=s x=****": 10, "old source=s": 5, "unchanged": 0,
		} {
			if got.sums[key] != want {
				t.Errorf("%s: %g, want %g", key, got.sums[key], want)
			}
		}
		if got.counts["wait"] != 100 || got.counts["d source=s x=****"] != 3 || got.points > 20 {
			t.Errorf("%d points: %v", got.points, got.counts)
		}
	}
}

// postTo posts lines to the Wavefront listener of an edge.
func postTo(t *testing.T, address, lines string) int {
	t.Helper()
	r, err := http.Post("http://"+address+"/", "text/plain", strings.NewReader(lines))
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Body.Close()
	return r.StatusCode
}

// arenaOf is all that would survive a kill now.
func arenaOf(t *testing.T, folder string) string {
	t.Helper()
	var all bytes.Buffer
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			b, failed := os.ReadFile(path)
			all.Write(bytes.Trim(b, "\x00"))
			err = failed
		}
		return err
	})
	if err != nil || all.Len() == 0 {
		t.Fatalf("%d bytes: %v", all.Len(), err)
	}
	return all.String()
}

// function is a post of the platform with lines of the function.
func posted(t *testing.T, e *edge, events ...string) {
	t.Helper()
	at := time.Now().UTC().Format("2006-01-02T15:04:05.000Z")
	for i := range events {
		kind, record, _ := strings.Cut(events[i], " ")
		events[i] = fmt.Sprintf(`{"time":%q,"type":%q,"record":%s}`, at, kind, record)
	}
	if !e.take(context.Background(), []byte("["+strings.Join(events, ",")+"]")) {
		t.Fatal("not taken")
	}
}

const anEMF = `{\"_aws\":{\"Timestamp\":%d,\"CloudWatchMetrics\":[{\"Namespace\":\"Shop\",` +
	`\"Dimensions\":[[\"customer\"]],` +
	`\"Metrics\":[{\"Name\":\"Latency\",\"Unit\":\"Milliseconds\"}]}]},\"customer\":\"jane\",\"Latency\":[12,30]}`

// Metrics are taken out of the lines as they came, though those are redacted, and
// what is taken out is redacted itself.
func TestMetricsOfLines(t *testing.T) {
	for _, rolled := range []string{"true", "false"} {
		e, folder, _, shutdown := metering(t, map[string]string{
			"SLIPSTREAM_ROLLUP": rolled, "SLIPSTREAM_EMF": "consume", "SLIPSTREAM_METRIC_LINES": "keep",
			"SLIPSTREAM_REDACT_RULES": `[{"pattern":"took \\d+"}]`,
		})
		document := fmt.Sprintf(`function "`+anEMF+`"`, time.Now().UnixMilli())
		for range 10 {
			posted(t, e, `platform.start {"requestId":"1"}`, document,
				`function "[METRIC] 2026-05-15T11:18:19.297Z aba1328d-5831-11e8-833f-b5cd5e8c0a59 random 0.5"`,
				`function "it took 12 ms"`)
		}
		shutdown()
		got, text := measuredIn(t, folder), readAll(t, folder)
		const latency = "Shop.Latency customer=****"
		if rolled == "true" && (got.sums[latency] != 420 || got.counts[latency] != 20 || got.sums["random"] != 5 ||
			got.sums["slow"] != 10) {
			t.Errorf("%v %v", got.sums, got.counts)
		}
		if rolled == "false" && got.points != 30 {
			t.Errorf("%d points without a rollup", got.points)
		}
		if got.records != 30 || strings.Contains(text, "jane") || strings.Contains(text, "took 12") {
			t.Errorf("rollup %s: %d records in %s", rolled, got.records, text)
		}
	}
}

// What runtimes write of an invocation that failed.
const (
	lineNode = `function "2026-01-01T00:00:00.000Z\taba1328d-5831-11e8-833f-b5cd5e8c0a59\tERROR\tInvoke Error ` +
		`\t{\"errorType\":\"E\",\"stack\":[]}\n"`
	linePython = `function "[ERROR] E: boom\nTraceback (most recent call last):\n  File"`
	lineJSON   = `function {"timestamp":"","level":"ERROR","errorMessage":"boom","errorType":"E","requestId":"1",` +
		`"stackTrace":[]}`
)

// An invocation that failed is counted once, whoever says so.
func TestFailuresAreCountedOnce(t *testing.T) {
	for name, events := range map[string][]string{
		"only the platform": {`platform.runtimeDone {"requestId":"1","status":"error","errorType":"E"}`},
		"only the runtime": {lineNode,
			`platform.runtimeDone {"requestId":"1","status":"success"}`},
		"in Python": {linePython},
		"as JSON":   {lineJSON},
		"all of them": {linePython, lineNode,
			`platform.runtimeDone {"requestId":"1","status":"failure","errorType":"E"}`,
			`platform.report {"requestId":"1","status":"error","metrics":{"durationMs":1}}`},
	} {
		e, folder, _, shutdown := metering(t, map[string]string{"SLIPSTREAM_PLATFORM_METRICS": "true",
			"SLIPSTREAM_HOST_METRICS": "false"})
		posted(t, e, append([]string{`platform.start {"requestId":"1"}`}, events...)...)
		shutdown()
		if got := measuredIn(t, folder).sums; got["faas.errors error.type=E"] != 1 {
			t.Errorf("%s: %v", name, got)
		}
	}
	e, folder, _, shutdown := metering(t, map[string]string{"SLIPSTREAM_PLATFORM_METRICS": "true"})
	posted(t, e, `platform.start {"requestId":"1"}`,
		`function "2026-01-01T00:00:00.000Z\taba1328d-5831-11e8-833f-b5cd5e8c0a59\tERROR\tdealt with Error: x\n"`,
		`function {"level":"ERROR","message":"dealt with","errorType":"E","errorMessage":"boom","stackTrace":[]}`,
		`function "[ERROR]\t2026-01-01T00:00:00.000Z\taba1328d-5831-11e8-833f-b5cd5e8c0a59\tdealt with`+
			`\nTraceback (most recent call last):\n"`,
		`platform.runtimeDone {"requestId":"1","status":"success"}`)
	shutdown()
	got := measuredIn(t, folder).sums
	for key := range got {
		if strings.HasPrefix(key, "faas.errors") {
			t.Errorf("what was dealt with counts: %v", got)
		}
	}
	if got["faas.invocations faas.coldstart=true"] != 1 && got["aws.lambda.invocations faas.coldstart=true"] != 1 ||
		got["aws.lambda.threads"] == 0 {
		t.Errorf("%v", got)
	}
}

// Without a destination for metrics nothing is measured, and nothing costs.
func TestNothingIsMeasuredForNobody(t *testing.T) {
	for destination, want := range map[string][2]bool{
		"file:///d": {true, false}, "file:///d?types=metrics": {true, true}, "file:///d?types=function": {false, false},
		"https://h?format=edgedelta": {false, false}, "prometheus+http://h": {true, true}, "otlp+http://h": {true, true},
		"otlp+http://h?types=logs": {false, false},
	} {
		e := collecting(t, map[string]string{"SLIPSTREAM_DESTINATIONS": destination})
		if got := [2]bool{e.aggregate != nil, e.meter != nil}; got != want {
			t.Errorf("%s: rolled up and measured: %v, want %v", destination, got, want)
		}
		e.leave()
	}
}

// Metrics in our own log are not read again, round and round.
func TestMetricsAreNoEcho(t *testing.T) {
	e, folder, _, shutdown := metering(t, map[string]string{"SLIPSTREAM_EMF": "keep",
		"SLIPSTREAM_LOG_TYPES": "platform,function,extension"})
	document := fmt.Sprintf(`"`+anEMF+`"`, time.Now().UnixMilli())
	posted(t, e, "extension "+document)
	e.meter.echo = true
	posted(t, e, "extension "+document, "function "+document)
	shutdown()
	if got := measuredIn(t, folder); got.sums["Shop.Latency customer=****"] != 2*42 {
		t.Errorf("%v", got.sums)
	}
	e = collecting(t, map[string]string{"SLIPSTREAM_DESTINATIONS": "emf+stdout:"})
	if !e.meter.echo {
		t.Error("emf+stdout is not known to be an echo")
	}
	e.leave()
}

// What cannot be rolled up of points goes out as it is, and a full lane makes them
// wait where they are.
func TestPointsThatAreNotTaken(t *testing.T) {
	e, taker := taking(t)
	old := telemetry.Point{Kind: telemetry.Gauge, Name: []byte("g"), Value: 1, Time: time.Unix(1, 0)}
	if err := taker.Add(&old); !errors.Is(err, errAlone) {
		t.Errorf("an old gauge: %v", err)
	}
	taker.Commit()
	e.lanes[0].held = e.lanes[0].bufferBytes
	if err := taker.Add(packet()); !errors.Is(err, telemetry.ErrNoRoom) {
		t.Errorf("without room: %v", err)
	}
	e.lanes[0].held = 0
	if err := taker.Add(packet()); err != nil {
		t.Error(err)
	}
	e.aggregate.close()
	if err := taker.Add(packet()); !errors.Is(err, telemetry.ErrOver) {
		t.Errorf("at the end: %v", err)
	}
	e.leave()
}

// A restored environment measures under its own name, and its running totals begin
// with it.
func TestMeasuringASnapshot(t *testing.T) {
	e, folder, _, shutdown := metering(t, map[string]string{"AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start",
		"SLIPSTREAM_METRIC_LINES": "keep"})
	const line = `function "[METRIC] 2026-05-15T11:18:19.297Z aba1328d-5831-11e8-833f-b5cd5e8c0a59 random 0.5"`
	before := e.aggregate.environment
	posted(t, e, line, `platform.restoreStart {}`, line)
	shutdown()
	if got := measuredIn(t, folder); got.sums["random"] != 1 || got.records != 3 {
		t.Errorf("%v, %d records", got.sums, got.records)
	}
	for line := range strings.Lines(readAll(t, folder)) {
		if strings.HasPrefix(line, `{"resourceMetrics"`) && strings.Contains(line, before) {
			t.Errorf("the snapshot's name has left in %s", line)
		}
	}
}

// Managed instances tell of an invocation's end by its report alone; they have many
// at once, and the host is read once a second at most.
func TestMeasuringManagedInstances(t *testing.T) {
	e, folder, _, shutdown := metering(t, map[string]string{"AWS_LAMBDA_INITIALIZATION_TYPE": "lambda-managed-instances",
		"SLIPSTREAM_PLATFORM_METRICS": "true"})
	began := time.Now()
	for i := range 20 {
		posted(t, e, fmt.Sprintf(`platform.start {"requestId":"%d"}`, i),
			fmt.Sprintf(`platform.report {"requestId":"%d","status":"success","metrics":{"durationMs":12}}`, i))
	}
	if e.meter.read.IsZero() {
		t.Error("the host was not read")
	}
	shutdown()
	got := measuredIn(t, folder)
	if got.sums["aws.lambda.invocations faas.coldstart=false"] != 20 || got.counts["faas.invoke_duration"] != 20 {
		t.Errorf("%v %v", got.sums, got.counts)
	}
	if n := got.counts["slipstream.cpu_usage"]; n > 2+uint64(time.Since(began)/time.Second) {
		t.Errorf("the host was read %d times", n)
	}
}

// Metrics that nobody takes are an error of the configuration.
func TestMetricsInVain(t *testing.T) {
	c, errs := Load(environment(map[string]string{"SLIPSTREAM_DESTINATIONS": "file:///d?types=function",
		"SLIPSTREAM_SPOOL_DIR": "none", "SLIPSTREAM_PLATFORM_METRICS": "true", "SLIPSTREAM_EMF": "keep",
		"SLIPSTREAM_HOST_METRICS": "false"}))
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	e := &edge{config: c, clock: newClock(nil)}
	e.openLanes(&telemetry.Resource{EnvironmentID: newUUID()})
	compareErrors(t, []string{"SLIPSTREAM_PLATFORM_METRICS: no destination takes metrics",
		"SLIPSTREAM_EMF: no destination"}, e.openMetrics(&telemetry.Resource{}))
}
