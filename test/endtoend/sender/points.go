package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"time"
)

// pointWays are the ways on which an item is a value of one metric, which is
// m.WAY; the others send a name of its own with each item.
var pointWays = map[string]func(s *sender, value float64) error{
	"m.lines": func(s *sender, v float64) error {
		return s.postTo("2878", "/", "text/plain",
			fmt.Sprintf("!M %d #1 %g \"m.lines\" source=\"s\" \"kind\"=\"test\"\n", time.Now().Unix(), v))
	},
	"m.delta": func(s *sender, v float64) error {
		return s.postTo("4318", "/v1/metrics", "application/json", fmt.Sprintf(`{"resourceMetrics":[{"scopeMetrics":[{`+
			`"metrics":[{"name":"m.delta","sum":{"aggregationTemporality":1,"isMonotonic":true,`+
			`"dataPoints":[{"timeUnixNano":"%d","asDouble":%g}]}}]}]}]}`, time.Now().UnixNano(), v))
	},
	"m.statsd": func(s *sender, v float64) error {
		return s.write("udp", "8125", fmt.Sprintf("m.statsd:%g|d|#kind:test", v))
	},
	"m.tcp": func(s *sender, v float64) error {
		return s.write("tcp", "2878", fmt.Sprintf("!M %d #1 %g \"m.tcp\" source=\"s\"\n", time.Now().Unix(), v))
	},
	"m.log": func(_ *sender, v float64) error {
		_, err := fmt.Printf("[METRIC] %s aba1328d-5831-11e8-833f-b5cd5e8c0a59 m.log %g\n",
			time.Now().UTC().Format("2006-01-02T15:04:05.000Z"), v)
		return err
	},
	"m.emf": func(_ *sender, v float64) error {
		_, err := fmt.Printf(`{"_aws":{"Timestamp":%d,"CloudWatchMetrics":[{"Namespace":"m","Dimensions":[[]],`+
			`"Metrics":[{"Name":"emf"}]}]},"emf":%g}`+"\n", time.Now().UnixMilli(), v)
		return err
	},
}

// sendPoint sends a random value, exact in binary, and writes down which.
func (s *sender) sendPoint(way string) error {
	value := float64(rand.IntN(1_000_000)+1) / 4
	name := fmt.Sprintf("%s=%g", way, value)
	if _, err := fmt.Fprintf(s.written, "try %s\n", name); err != nil {
		return err
	}
	word, err := "sent", pointWays[way](s, value)
	if err != nil {
		word = "failed"
	}
	_, _ = fmt.Fprintf(s.written, "%s %s\n", word, name)
	return err
}

func (s *sender) postTo(port, path, contentType, body string) error {
	response, err := s.client.Post("http://"+net.JoinHostPort(s.host, port)+path, contentType, strings.NewReader(body))
	if err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, response.Body)
	if err := response.Body.Close(); err != nil || response.StatusCode > http.StatusAccepted {
		return fmt.Errorf("%s answers %s, %w", path, response.Status, err)
	}
	return nil
}
