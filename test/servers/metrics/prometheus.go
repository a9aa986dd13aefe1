// Package metrics runs the real servers that metrics are delivered to:
// Prometheus and Etsy's StatsD. Use it in tests, as package servers. The first
// use on a machine builds Prometheus, some minutes, and installs StatsD with npm.
package metrics

import (
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"slipstream/test/servers"
)

// within is generous: test machines are small and busy.
const within = 60 * time.Second

// Prometheus is a server with its remote write receiver on and nothing to scrape.
type Prometheus struct {
	Endpoint string // http://127.0.0.1:port
	client   http.Client
}

// StartPrometheus runs a Prometheus until the test ends, with more flags if given.
func StartPrometheus(t testing.TB, flags ...string) *Prometheus {
	t.Helper()
	tool := servers.Tool{Module: "prometheus", Package: "github.com/prometheus/prometheus/cmd/prometheus",
		Flags: []string{"-tags", "remove_all_sd"}}
	address, dir := tool.Address(t), t.TempDir()
	config := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(config, []byte("storage: {tsdb: {out_of_order_time_window: 1h}}\n"), 0o600); err != nil {
		t.Fatalf("metrics: %v", err)
	}
	s := &Prometheus{Endpoint: "http://" + address}
	s.client = http.Client{Timeout: within, Transport: &http.Transport{DisableKeepAlives: true}}
	ready := s.Endpoint + "/-/ready"
	output := tool.Run(t, tool.Build(t), ready, append([]string{"--config.file", config,
		"--storage.tsdb.path", filepath.Join(dir, "data"), "--web.listen-address", address,
		"--web.enable-remote-write-receiver", "--log.level=error"}, flags...)...)
	for deadline := time.Now().Add(within); ; time.Sleep(10 * time.Millisecond) { // it answers 503 at first
		resp, err := s.client.Get(ready)
		if err == nil {
			resp.Body.Close()
		}
		switch {
		case err == nil && resp.StatusCode == http.StatusOK:
			return s
		case time.Now().After(deadline):
			t.Fatalf("metrics: Prometheus is not ready: %v\n%s", err, output())
		}
	}
}

// Series is one of a query's results: its labels and, as Prometheus' API tells
// them, its value or its histogram.
type Series struct {
	Metric    map[string]string
	Value     [2]any
	Values    [][2]any
	Histogram [2]any
}

// Query runs PromQL at a moment.
func (s *Prometheus) Query(t testing.TB, query string, at time.Time) []Series {
	t.Helper()
	return s.ask(t, "/api/v1/query", url.Values{"query": {query}, "time": {at.UTC().Format(time.RFC3339Nano)}})
}

// QueryRange runs PromQL from one moment to another.
func (s *Prometheus) QueryRange(t testing.TB, query string, from, to time.Time, step string) []Series {
	t.Helper()
	return s.ask(t, "/api/v1/query_range", url.Values{"query": {query}, "step": {step},
		"start": {from.UTC().Format(time.RFC3339Nano)}, "end": {to.UTC().Format(time.RFC3339Nano)}})
}

func (s *Prometheus) ask(t testing.TB, path string, form url.Values) []Series {
	t.Helper()
	resp, err := s.client.PostForm(s.Endpoint+path, form)
	if err != nil {
		t.Fatalf("metrics: query Prometheus: %v", err)
	}
	defer resp.Body.Close()
	var answer struct {
		Status, Error string
		Data          struct{ Result []Series }
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || answer.Status != "success" {
		t.Fatalf("metrics: query %q: status %d: %s %v", form.Get("query"), resp.StatusCode, answer.Error, err)
	}
	return answer.Data.Result
}
