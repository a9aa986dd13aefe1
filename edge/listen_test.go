package edge

import (
	"strings"
	"testing"
)

func TestListen(t *testing.T) {
	for text, want := range map[string]map[string]string{
		"none": {},
		"otlp": {"otlp": "127.0.0.3:4318"},
		"otlp,all": {"otlp": "127.0.0.3:4318", "otlp-grpc": "127.0.0.3:4317", "statsd": "127.0.0.3:8125",
			"wavefront": "127.0.0.3:2878", "wavefront-minute": "127.0.0.3:40001", "handoff": "/tmp/slipstream"},
		"wavefront": {"wavefront": "127.0.0.3:2878", "wavefront-minute": "127.0.0.3:40001"},
		"wavefront-minute=localhost:4000 wavefront": {"wavefront": "127.0.0.3:2878", "wavefront-minute": "localhost:4000"},
		"all,otlp=[::1]:99":                         nil,
		"statsd=/tmp/s.sock,handoff=/tmp/other":     {"statsd": "/tmp/s.sock", "handoff": "/tmp/other"},
	} {
		c := Config{RuntimeAPI: "127.0.0.3:9001"}
		if err := setListen(&c, text); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if want == nil {
			continue
		}
		for _, l := range localListeners {
			if got, on := c.listener(l.name); on != (want[l.name] != "") || got != want[l.name] {
				t.Errorf("%s: %s is %q (%v), not %q", text, l.name, got, on, want[l.name])
			}
		}
	}
	for text, want := range map[string]string{
		"otlp,nothing":        `unknown listener "nothing"`,
		"none,otlp":           `unknown listener "none"`,
		"otlp=0.0.0.0:4318":   "not a loopback address",
		"otlp=example.com:80": "not a loopback address",
		"otlp=4318":           "not host:port",
		"otlp=/tmp/x":         "write host:port",
		"handoff=tmp":         "absolute path of a folder",
		"all=127.0.0.1:1":     `unknown listener "all"`,
	} {
		if err := setListen(&Config{}, text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, not %s", text, err, want)
		}
	}
	for _, api := range []string{"127.0.0.1:9001", "169.254.100.1:9001", ""} {
		if got := (&Config{RuntimeAPI: api}).loopback(); got != "127.0.0.1" {
			t.Errorf("%s: %s", api, got)
		}
	}
}
