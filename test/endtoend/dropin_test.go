package endtoend_test

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"slipstream/emulator"
	"slipstream/test/servers"
)

// bind lets the function's sandbox reach a folder of the test.
func bind(dir string) func(*emulator.Config) {
	return func(c *emulator.Config) { c.Binds = append(c.Binds, dir) }
}

// otlpURL is a destination that leads to the server.
func otlpURL(o *servers.OTLP) string { return "otlp+" + o.Endpoint }

// The variables of AWS's sample alone: its keys, its bucket creation, valid
// NDJSON, and its triggers at the moment when they happen.
func TestAdaptiveBatchingDropIn(t *testing.T) {
	s3 := servers.StartS3(t)
	s := play{env: s3Env(s3, map[string]string{
		"ADAPTIVE_BATCHING_EXTENSION_S3_BUCKET":         "made-by-us",
		"ADAPTIVE_BATCHING_EXTENSION_SHIP_RATE_BYTES":   "4096",
		"ADAPTIVE_BATCHING_EXTENSION_SHIP_RATE_INVOKES": "5",
	})}.start(t)
	s.run(t, 0, 20, 10, 100)
	s.shutdown(t)
	inBucket(t, s3, "made-by-us").expect(t, 20, 10)

	key := regexp.MustCompile(`^\d{4}-\d\d-\d\d-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/` +
		`shop-\d{13}-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.log$`)
	keys := s3.List(t, "made-by-us", "")
	if len(keys) < 5 {
		t.Errorf("%d files for 20 invocations with about 1,400 bytes each", len(keys))
	}
	types := map[string]bool{}
	for _, k := range keys {
		if !key.MatchString(k) {
			t.Errorf("key %s", k)
		}
		for line := range bytes.Lines(s3.Get(t, "made-by-us", k).Body) {
			var event map[string]json.RawMessage
			if err := json.Unmarshal(line, &event); err != nil || len(event) != 3 {
				t.Fatalf("%q: %v", line, err)
			}
			types[strings.Trim(string(event["type"]), `"`)] = true
		}
	}
	for _, want := range []string{"function", "platform.start", "platform.end", "platform.report"} {
		if !types[want] {
			t.Errorf("no %s among %v, as the sample's Logs API has it", want, types)
		}
	}
}
