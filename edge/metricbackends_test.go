package edge

import (
	"compress/gzip"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/klauspost/compress/s2"

	"slipstream/edge/buffer"
	"slipstream/edge/flush"
	"slipstream/telemetry"
	"slipstream/wire"
	"slipstream/wire/prometheus"
)

// backends is one server that stands for all of them that speak HTTP.
type backends struct {
	mu     sync.Mutex
	bodies map[string]string // by path and query
}

func (b *backends) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	switch r.Header.Get("Content-Encoding") {
	case "gzip":
		var z *gzip.Reader
		if z, err = gzip.NewReader(strings.NewReader(string(body))); err == nil {
			body, err = io.ReadAll(z)
		}
	case "snappy":
		body, err = s2.Decode(nil, body)
	}
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.bodies[r.URL.RequestURI()] += string(body)
}

// Every destination of metrics gets what its format has a place for, and counts
// the rest.
func TestMetricDestinations(t *testing.T) {
	b := &backends{bodies: map[string]string{}}
	server := httptest.NewServer(b)
	defer server.Close()
	socket, err := net.ListenPacket("unixgram", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	folder := t.TempDir()
	e := collecting(t, map[string]string{
		"SLIPSTREAM_LISTEN": "otlp", "SLIPSTREAM_ROLLUP": "false", "SLIPSTREAM_PLATFORM_METRICS": "false",
		"SLIPSTREAM_DESTINATIONS": strings.Join([]string{
			"wavefront+" + server.URL + "?token=t", "prometheus+" + server.URL,
			"statsd+unix://" + socket.LocalAddr().String(), "emf+file://" + folder + "?compression=none"}, " "),
	})
	shutdown := e.runLanes()
	const metrics = `{"resourceMetrics":[{"scopeMetrics":[{"metrics":[
		{"name":"g","gauge":{"dataPoints":[{"timeUnixNano":"1790000000000000000","asDouble":1.5}]}},
		{"name":"c","sum":{"aggregationTemporality":1,"isMonotonic":true,
			"dataPoints":[{"timeUnixNano":"1790000000000000000","asInt":"3"},{"timeUnixNano":"1790000000000000000"}]}},
		{"name":"t","sum":{"aggregationTemporality":2,"isMonotonic":true,
			"dataPoints":[{"timeUnixNano":"1790000000000000000","asInt":"7"}]}}]}]}]}`
	body, err := wire.ExportFromJSON(nil, telemetry.Metrics, []byte(metrics))
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []*telemetry.Export{{Signal: telemetry.Metrics, Records: 4, Body: body},
		anExport(t, telemetry.Traces, 1, 2), anExport(t, telemetry.Logs, 1, 2)} {
		if err := e.takeExport(x); err != nil {
			t.Fatal(err)
		}
	}
	shutdown()
	for uri, want := range map[string]string{
		"/report?f=wavefront": `"g" 1.5 1790000000 source="shop"`, "/api/v1/write": "t_total",
	} {
		if got := b.bodies[uri]; !strings.Contains(got, want) {
			t.Errorf("%s got %q, without %s", uri, got, want)
		}
	}
	packet := make([]byte, 9999)
	n, _, err := socket.ReadFrom(packet)
	if got := string(packet[:n]); err != nil || !strings.HasPrefix(got, "g:1.5|g|#") ||
		!strings.Contains(got, "\nc:3|c|#") {
		t.Errorf("statsd got %q, %v", got, err)
	}
	var documents string
	if err := filepath.WalkDir(folder, func(path string, d os.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".emf.json") {
			text, failed := os.ReadFile(path)
			documents, err = documents+string(text), failed
		}
		return err
	}); err != nil || strings.Count(documents, "\n") != 2 || !strings.Contains(documents, `"g":1.5`) {
		t.Errorf("emf got %q, %v", documents, err)
	}
	for _, l := range e.lanes {
		c := l.account(false)
		want := map[string]map[string]int{
			"wavefront": {}, "prometheus": {"delta_temporality": 2}, "statsd": {"cumulative_temporality": 1},
			"emf": {"cumulative_temporality": 1},
		}[l.name[:strings.IndexAny(l.name, "+:")]]
		if l.signal == telemetry.Traces { // they have no time, and there are two
			want = map[string]int{"no_time": 2}
		}
		if c.received != c.delivered+sum(c.dropped) || sum(c.dropped) != sum(want) {
			t.Errorf("%s: %v, dropped should be %v", l.name, c, want)
		}
		for reason, n := range want {
			if c.dropped[reason] != n {
				t.Errorf("%s: %v, dropped should be %v", l.name, c, want)
			}
		}
	}
}

func TestOpenMetricDestinations(t *testing.T) {
	c, errs := Load(environment(map[string]string{"SLIPSTREAM_DESTINATIONS": "x"}))
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	for raw, want := range map[string]laneConfig{
		"prometheus+https://h?names=utf8&token=t": {encoding: buffer.Snappy, cumulative: true, pushers: 1},
		"wavefront+tcp://h?source=s":              {encoding: buffer.Plain, pushers: 1},
		"statsd://h?format=etsy":                  {encoding: buffer.Plain, pushers: 1},
		"emf+stdout:?namespace=n&resolution=1":    {encoding: buffer.Plain, pushers: 1},
		"emf+file:///tmp?distributions=counts":    {encoding: buffer.Gzip, pushers: 1},
		"otlp+http://h?temporality=cumulative":    {encoding: buffer.Gzip, cumulative: true, pushers: 1},
	} {
		lane, to, err := openDestination(&c, raw, telemetry.Metrics, &telemetry.Resource{EnvironmentID: "e"})
		if err != nil {
			t.Errorf("%s: %v", raw, err)
			continue
		}
		if err := to.Close(); err != nil {
			t.Error(err)
		}
		if lane.encoding != want.encoding || lane.cumulative != want.cumulative || lane.pushers != want.pushers ||
			lane.exports(telemetry.Metrics) == nil || lane.exports(telemetry.Traces) != nil || lane.wants("function") {
			t.Errorf("%s: %+v", raw, lane)
		}
		if lane.limits.Age != 20*time.Second {
			t.Errorf("%s: %v", raw, lane.limits)
		}
	}
	for raw, want := range map[string]string{
		"prometheus+http://h?compression=gzip":    "has its own; leave it out",
		"prometheus+http://h?names=x":             "use underscores or utf8",
		"prometheus+http://h?source=x":            "unknown option source",
		"wavefront+tcp://h?compression=gzip":      "has its own; leave it out",
		"wavefront+udp://h":                       "unknown scheme",
		"statsd://h?format=ndjson":                "use dogstatsd, statsd or etsy",
		"emf+stdout:?compression=gzip":            "has its own; leave it out",
		"emf+stdout://x":                          "write emf+stdout:",
		"emf+file://h/x":                          "no absolute folder",
		"emf+stdout:?resolution=5":                "use 60 or 1",
		"emf+stdout:?distributions=x":             "use values or counts",
		"otlp+http://h?temporality=x":             "use delta or cumulative",
		"statsd://h?fallback=emf%2Bstdout%3A":     "of the same format",
		"wavefront+tcp://h?fallback=s3%3A%2F%2Fb": "of the same format",
	} {
		if _, _, err := openDestination(&c, raw, telemetry.Metrics, &telemetry.Resource{}); err == nil ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q in it", raw, err, want)
		}
	}
}

// What a killed process had for a format of whole batches is delivered by the
// next one, but for what the format has no place for, which is counted.
func TestNextProcessDeliversMetrics(t *testing.T) {
	body, err := wire.ExportFromJSON(nil, telemetry.Metrics, []byte(`{"resourceMetrics":[{"scopeMetrics":[{"metrics":[
		{"name":"g","gauge":{"dataPoints":[{"timeUnixNano":"1790000000000000000","asDouble":1.5}]}},
		{"name":"c","sum":{"aggregationTemporality":1,"isMonotonic":true,
			"dataPoints":[{"timeUnixNano":"1790000000000000000","asInt":"3"}]}}]}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		records            []byte
		delivered, dropped int
	}{"some": {body, 1, 1}, "nothing": {nil, 2, 0}} {
		synctest.Test(t, func(t *testing.T) {
			dir := t.TempDir()
			format := func(_ *edge, l *lane) {
				l.encoder, l.encoding, l.signal = prometheus.New(prometheus.Options{}), buffer.Snappy, telemetry.Metrics
			}
			e, l := onDisk(t, dir, testEnvironment, flush.Limits{}, 1<<20, &scripted{}, format)
			l.appendExport(l.exports(telemetry.Metrics), &telemetry.Export{Signal: telemetry.Metrics, Records: 2,
				Body: append([]byte("\x9a\x06\x00"), tt.records...)}, time.Now()) // an unknown field first
			l.commit()
			copied := copyTree(t, dir) // as a kill leaves it
			l.stop()
			<-l.drained
			l.account(false)
			e.leave()

			to := &scripted{}
			_, next := onDisk(t, copied, strings.Replace(testEnvironment, "3", "4", 1), flush.Limits{}, 1<<20, to, format)
			c := next.end()
			if c.recovered != 2 || c.delivered != tt.delivered || c.dropped["delta_temporality"] != tt.dropped {
				t.Errorf("%s: %v", name, c)
			}
			if want := min(len(tt.records), 1); len(to.tries) != want {
				t.Errorf("%s: tries %v", name, to.tries)
			}
		})
	}
}
