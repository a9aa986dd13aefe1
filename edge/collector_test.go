package edge

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"slipstream/telemetry"
	"slipstream/wire"
)

// collecting is an edge that delivers and takes exports, without a platform.
func collecting(t *testing.T, env map[string]string) *edge {
	t.Helper()
	env["SLIPSTREAM_SPOOL_DIR"] = filepath.Join(t.TempDir(), "spool")
	c, errs := Load(environment(env))
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	e := &edge{
		config: c, clock: newClock(nil), changed: make(chan struct{}, 1), release: make(chan struct{}, 1),
		arrived: make(chan struct{}, 1), found: make(chan struct{}), ready: make(chan struct{}), deaf: true,
		frozen: c.snapshot(), alive: make(chan struct{}),
	}
	res := &telemetry.Resource{ServiceName: "shop", FunctionName: "shop", EnvironmentID: newUUID(), Region: "eu-west-1"}
	e.identify(res)
	errs = append(append(e.openLanes(res), e.openMetrics(res)...), e.openPolicy()...)
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	return e
}

// run starts the lanes; the function that it gives is SHUTDOWN.
func (e *edge) runLanes() (shutdown func()) {
	ctx, stop := context.WithCancel(context.Background())
	var lanes sync.WaitGroup
	for _, l := range e.lanes {
		lanes.Go(func() { l.run(ctx) })
	}
	if e.aggregate != nil {
		lanes.Go(func() { e.aggregate.run(ctx) })
	}
	lanes.Go(e.recover)
	return func() {
		e.finish(end{deadline: time.Now().Add(shutdownTime)})
		stop()
		lanes.Wait()
		e.report(false)
		e.leave()
	}
}

// anExport is a body with n records of a signal, named by number.
func anExport(t *testing.T, signal telemetry.Signal, number, n int) *telemetry.Export {
	t.Helper()
	var items []string
	for i := range n {
		switch name := fmt.Sprintf("%d-%d", number, i); signal {
		case telemetry.Logs:
			items = append(items, fmt.Sprintf(`{"timeUnixNano":"1","body":{"stringValue":%q}}`, name))
		case telemetry.Traces:
			items = append(items, fmt.Sprintf(`{"traceId":"%032x","spanId":"%016x","name":%q}`, number+1, i+1, name))
		default:
			items = append(items, fmt.Sprintf(`{"name":%q,"gauge":{"dataPoints":[{"timeUnixNano":"1","asDouble":1.5}]}}`, name))
		}
	}
	text := map[telemetry.Signal]string{
		telemetry.Logs:    `{"resourceLogs":[{"scopeLogs":[{"logRecords":[%s]}]}]}`,
		telemetry.Traces:  `{"resourceSpans":[{"scopeSpans":[{"spans":[%s]}]}]}`,
		telemetry.Metrics: `{"resourceMetrics":[{"scopeMetrics":[{"metrics":[%s]}]}]}`,
	}[signal]
	e := exportOf(t, signal, fmt.Sprintf(text, strings.Join(items, ",")))
	e.Records = n
	return e
}

// exportOf is OTLP/JSON as an export of one record.
func exportOf(t *testing.T, signal telemetry.Signal, text string) *telemetry.Export {
	t.Helper()
	body, err := wire.ExportFromJSON(nil, signal, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return &telemetry.Export{Signal: signal, Records: 1, Body: body}
}

// Each signal of an OTLP destination goes to its own path, in a file all go
// together, the resource is completed, and every batch has a name of its own.
func TestExports(t *testing.T) {
	var mu sync.Mutex
	posted := map[string][]byte{} // by path
	names := map[string]int{}
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			t.Error(err)
			return
		}
		body, err := io.ReadAll(z)
		if err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		posted[r.URL.Path] = append(posted[r.URL.Path], body...)
		names[r.Header.Get("Idempotency-Key")]++
	}))
	defer server.Close()
	folder := t.TempDir()
	e := collecting(t, map[string]string{
		"SLIPSTREAM_DESTINATIONS": "otlp+" + server.URL + ",file://" + folder + "?compression=none",
		"SLIPSTREAM_SELF_METRICS": "false", "SLIPSTREAM_PLATFORM_METRICS": "false",
	})
	shutdown := e.runLanes()
	const exports, records = 20, 3
	var wait sync.WaitGroup
	for i := range exports {
		for _, signal := range signals {
			x := anExport(t, signal, i, records)
			wait.Go(func() {
				if err := e.takeExport(x); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wait.Wait()
	shutdown()
	if err := e.takeExport(anExport(t, telemetry.Logs, 0, 1)); !errors.Is(err, telemetry.ErrOver) {
		t.Errorf("after SHUTDOWN: %v", err)
	}
	lines := readAll(t, folder)
	for _, signal := range signals {
		body := posted["/v1/"+string(signal)]
		if n, err := wire.CheckExport(signal, body); n != exports*records || err != nil {
			t.Errorf("%s: %d records posted, %v", signal, n, err)
		}
		text, err := wire.ExportToJSON(nil, signal, body)
		if err != nil || bytes.Count(text, []byte(`"faas.name"`)) != exports {
			t.Errorf("%s: the resource is not completed in %.300s (%v)", signal, text, err)
		}
		for i := range exports {
			for k := range records {
				name := fmt.Sprintf(`"%d-%d"`, i, k)
				member := map[telemetry.Signal]string{telemetry.Logs: `"stringValue":`}[signal]
				if member == "" {
					member = `"name":`
				}
				if bytes.Count(text, []byte(member+name)) != 1 {
					t.Errorf("%s %s: not there once", signal, name)
				}
			}
		}
		want := map[telemetry.Signal]string{telemetry.Logs: "resourceLogs", telemetry.Traces: "resourceSpans",
			telemetry.Metrics: "resourceMetrics"}[signal]
		if n := strings.Count(lines, `{"`+want+`":`); n != exports {
			t.Errorf("%s: %d lines in the file, not %d", signal, n, exports)
		}
	}
	for name, n := range names {
		if n != 1 {
			t.Errorf("batch %s: %d times", name, n)
		}
	}
}

func readAll(t *testing.T, folder string) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		all.Write(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}

// A full lane asks the sender to wait; a failing one gives way to one that works.
func TestExportsNeedRoom(t *testing.T) {
	e := collecting(t, map[string]string{"SLIPSTREAM_DESTINATIONS": "otlp+http://127.0.0.1:1"})
	var traces *lane
	for _, l := range e.lanes {
		if l.signal == telemetry.Traces {
			traces = l
		}
	}
	traces.held = traces.bufferBytes
	if err := e.takeExport(anExport(t, telemetry.Traces, 1, 1)); !errors.Is(err, telemetry.ErrNoRoom) {
		t.Errorf("traces: %v", err)
	}
	if err := e.takeExport(anExport(t, telemetry.Logs, 1, 1)); err != nil {
		t.Errorf("logs have room: %v", err)
	}
}

// What no destination takes is counted.
func TestUnwantedExports(t *testing.T) {
	e := collecting(t, map[string]string{
		"SLIPSTREAM_DESTINATIONS": "file://" + t.TempDir() + "?types=function%2Clogs file://" + t.TempDir() +
			"?format=telemetry",
	})
	for _, signal := range signals {
		if err := e.takeExport(anExport(t, signal, 1, 2)); err != nil {
			t.Error(err)
		}
	}
	taken, unwanted, _ := e.exports.counts()
	if taken[telemetry.Logs] != 2 || unwanted != 4 || e.lanes[0].count.received != 2 || e.lanes[1].count.received != 0 {
		t.Errorf("taken %v, unwanted %d", taken, unwanted)
	}
}

// What a listener has accepted before SHUTDOWN it may still hand on.
func TestExportsOfClosingListeners(t *testing.T) {
	folder := t.TempDir()
	e := collecting(t, map[string]string{"SLIPSTREAM_DESTINATIONS": "file://" + folder + "?compression=none"})
	last := anExport(t, telemetry.Logs, 7, 1)
	e.atEnd(func(context.Context) error { return e.takeExport(last) })
	scanned := anExport(t, telemetry.Logs, 8, 1)
	e.collector.scan = func(context.Context, time.Time) (int, error) { return 1, e.takeExport(scanned) }
	e.runLanes()()
	for _, name := range []string{`"7-0"`, `"8-0"`} {
		if n := strings.Count(readAll(t, folder), name); n != 1 {
			t.Errorf("record %s is there %d times", name, n)
		}
	}
}
