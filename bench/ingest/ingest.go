// Package ingest measures how much the local listeners take with one core's
// time. Use Measure: it feeds the shipped extension until it is done with all of
// it, and divides the CPU time of the whole process by what came out.
package ingest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"slipstream/bench/figure"
	"slipstream/bench/platform"
	"slipstream/bench/startup"
	"slipstream/telemetry"
	"slipstream/wire"
	"slipstream/wire/metrics"
)

const (
	runs     = 5
	requests = 500
	records  = 2000 // of a request
	packets  = 600_000
	// metricName is the counter that the packets are of.
	metricName = "orders.placed"
)

// way is one way in: what to listen on and who feeds it.
type way struct {
	name, network string
	sent          int
	feed          func(ctx context.Context, address string) error
}

// Measure gives the CPU time of a record or packet, and how many of those sent
// came out.
func Measure(ctx context.Context, program string) ([]figure.Figure, error) {
	var figures []figure.Figure
	for _, w := range []way{
		{"otlp", "tcp", requests * records, feedOTLP},
		{"statsd", "udp", packets, feedStatsD},
	} {
		var costs, shares []float64
		for range runs {
			out, cpu, err := w.run(ctx, program)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", w.name, err)
			}
			costs = append(costs, float64(cpu)/float64(max(out, 1)))
			shares = append(shares, 100*float64(out)/float64(w.sent))
		}
		figures = append(figures, figure.Of(w.name+"/cpu_per_record", "ns", costs),
			figure.Of(w.name+"/delivered", "%", shares))
	}
	return figures, nil
}

// run feeds one extension and ends it.
func (w way) run(ctx context.Context, program string) (out int64, cpu time.Duration, err error) {
	backend := &sink{}
	server := httptest.NewServer(backend)
	defer server.Close()
	folder, err := os.MkdirTemp("", "slipstream-bench-")
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	address, err := free(w.network)
	if err != nil {
		return 0, 0, err
	}
	api := platform.Serve(filepath.Base(program))
	defer api.Close()
	command := exec.CommandContext(ctx, program)
	command.Env = append(startup.Environment(), "AWS_LAMBDA_RUNTIME_API="+api.Address(),
		"SLIPSTREAM_DESTINATIONS=otlp+"+server.URL+"?compression=none", "SLIPSTREAM_SELF_METRICS=false",
		"SLIPSTREAM_LISTEN="+w.name+"="+address, "SLIPSTREAM_SPOOL_DIR="+folder, "SLIPSTREAM_LOG_LEVEL=warn")
	command.Stderr = os.Stderr
	if err := command.Start(); err != nil {
		return 0, 0, err
	}
	select {
	case <-api.Asked:
	case <-ctx.Done():
	}
	err = w.feed(ctx, address)
	api.Events <- fmt.Sprintf(`{"eventType":"SHUTDOWN","shutdownReason":"spindown","deadlineMs":%d}`,
		time.Now().Add(2*time.Second).UnixMilli())
	err = errors.Join(err, command.Wait())
	return backend.records.Load(), command.ProcessState.UserTime() + command.ProcessState.SystemTime(), err
}

// free is an address that nobody has.
func free(network string) (string, error) {
	if network == "udp" {
		c, err := net.ListenPacket(network, "127.0.0.1:0")
		if err != nil {
			return "", err
		}
		return c.LocalAddr().String(), c.Close()
	}
	l, err := net.Listen(network, "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// sink is a backend that takes everything at once and counts it: log records, and
// what metrics have counted.
type sink struct{ records atomic.Int64 }

func (s *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	signal := telemetry.Signal(strings.TrimPrefix(r.URL.Path, "/v1/"))
	n, err := wire.CheckExport(signal, body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if signal == telemetry.Metrics {
		n = counted(body)
	}
	s.records.Add(int64(n))
}

// counted adds up the counters of an export.
func counted(body []byte) (n int) {
	var splitter metrics.Splitter
	splitter.Split(nil, body, func(p *telemetry.Point, _ *metrics.Histogram) bool {
		if string(p.Name) == metricName {
			n += int(p.Value)
		}
		return true
	})
	return n
}

// feedOTLP posts requests of ordinary log records, again those that there was
// no room for.
func feedOTLP(ctx context.Context, address string) error {
	var text bytes.Buffer
	text.WriteString(`{"resourceLogs":[{"scopeLogs":[{"scope":{"name":"bench"},"logRecords":[`)
	for i := range records {
		if i > 0 {
			text.WriteByte(',')
		}
		fmt.Fprintf(&text, `{"timeUnixNano":"%d","severityNumber":9,"severityText":"INFO","body":{"stringValue":`+
			`"GET /orders/%d 200 in 12 ms"},"attributes":[{"key":"http.route","value":{"stringValue":"/orders/{id}"}}]}`,
			1790000000000000000+i, i)
	}
	text.WriteString(`]}]}]}`)
	body, err := wire.ExportFromJSON(nil, telemetry.Logs, text.Bytes())
	if err != nil {
		return err
	}
	for range requests {
		for status := 0; status != http.StatusOK; {
			if status, err = post(ctx, "http://"+address+"/v1/logs", body); err != nil {
				return err
			}
			if status == http.StatusTooManyRequests {
				time.Sleep(time.Millisecond)
			} else if status != http.StatusOK {
				return fmt.Errorf("status %d", status)
			}
		}
	}
	return nil
}

func post(ctx context.Context, url string, body []byte) (status int, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	request.Header.Set("Content-Type", "application/x-protobuf")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, response.Body)
	return response.StatusCode, errors.Join(err, response.Body.Close())
}

// feedStatsD sends packets of one metric each, with a breath now and then: UDP
// has no way to say that it is too fast.
func feedStatsD(ctx context.Context, address string) error {
	c, err := net.Dial("udp", address)
	if err != nil {
		return err
	}
	packet := []byte(metricName + ":1|c|#region:eu-west-1,kind:web")
	for i := range packets {
		if _, err := c.Write(packet); err != nil {
			return errors.Join(err, c.Close())
		}
		if i%500 == 499 {
			time.Sleep(time.Millisecond)
		}
		if ctx.Err() != nil {
			break
		}
	}
	return c.Close()
}
