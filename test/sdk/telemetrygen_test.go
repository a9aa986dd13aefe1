package sdk_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipstream/test/servers"
)

// telemetrygen is the OpenTelemetry Collector's load generator.
var telemetrygen = servers.Tool{Module: "telemetrygen",
	Package: "github.com/open-telemetry/opentelemetry-collector-contrib/cmd/telemetrygen"}

// total is how many records there are of a signal, equal ones counted each.
func (r records) total(signal string) (n int) {
	for id, resources := range r {
		if id.signal == signal {
			n += len(resources)
		}
	}
	return n
}

// The Collector's own load generator, several workers at once, by HTTP and gRPC:
// as many records as it says arrive in the collector and in the folder, and the
// same in both.
func TestTelemetrygen(t *testing.T) {
	generator, err := filepath.EvalSymlinks(telemetrygen.Build(t))
	if err != nil {
		t.Fatal(err)
	}
	const workers, each = 4, 200 // its queue of spans holds 2048
	var events []string
	for _, what := range []string{"logs", "traces", "metrics"} {
		for _, protocol := range []string{"--otlp-http --otlp-endpoint HOST:4318", "--otlp-endpoint HOST:4317"} {
			command := append([]string{generator, what, "--otlp-insecure", "--rate", "0", "--" + what, fmt.Sprint(each),
				"--workers", fmt.Sprint(workers)}, strings.Fields(protocol)...)
			event, err := json.Marshal(map[string][]string{"run": command})
			if err != nil {
				t.Fatal(err)
			}
			events = append(events, string(event))
		}
	}
	f := function{command: []string{program(t, "./test/sdk/instrumented")}, binds: []string{filepath.Dir(generator)}}
	o := f.deliver(t, events)
	for signal, want := range map[string]int{ // a trace has two spans
		"resourceLogs": 2 * workers * each, "resourceSpans": 2 * 2 * workers * each, "resourceMetrics": 2 * workers * each,
	} {
		if c, d := o.collector.total(signal), o.folder.total(signal); c != want || d != want {
			t.Errorf("%s: %d in the collector, %d in the folder, want %d", signal, c, d, want)
		}
	}
	o.collector.expectEqual(t, o.folder)
	for id, resources := range o.collector {
		if id.signal == "resourceSpans" && len(resources) != 1 {
			t.Errorf("a span is there %d times: %s", len(resources), id)
		}
	}
}

// expectEqual compares records of which some may be equal, and their resources.
func (r records) expectEqual(t *testing.T, other records) {
	t.Helper()
	if diff := cmp.Diff(r.sorted(), other.sorted()); diff != "" {
		t.Errorf("the records differ (-collector +folder):\n%.3000s", diff)
	}
	for id, resources := range r {
		if diff := cmp.Diff(resources, other[id]); diff != "" {
			t.Errorf("the resources of %s differ (-collector +folder):\n%.1000s", id, diff)
			return
		}
	}
}
