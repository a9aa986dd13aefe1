package endtoend_test

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"

	"slipstream/test/servers"
)

// edgeDeltaLine is every record of the original, key for key.
var edgeDeltaLine = regexp.MustCompile(`^\{"cloud":\{"resource_id":"arn:aws:lambda:[a-z0-9-]*:\d*:function:shop",` +
	`"account_id":"\d*","region":"[a-z0-9-]*"\},"faas":\{"name":"shop","version":"\$LATEST","request_id":"([0-9a-f-]*)"` +
	`(,"step":"(START|END)")?\},"timestamp":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z",` +
	`"log_type":"(function|platform\.start|platform\.runtimeDone|platform\.report)"(,"status":"success")?` +
	`(,"message":"(START RequestID: |END RequestID: |line )[^"]*"|,"faas\.billed_duration_ms":\d+` +
	`(,"faas\.init_duration_ms":[\d.]+)?,"faas\.runtime_duration_ms":-?[\d.]+,"faas\.duration_ms":[\d.]+` +
	`(,"faas\.post_runtime_duration_ms":-?[\d.]+)?,"faas\.max_memory_used":\d+,"faas\.memory_left":\d+,` +
	`"faas\.memory_percent":[\d.]+)\}\n$`)

// expectEdgeDelta checks every line of the bodies, and that START, END and
// report are there once an invocation, END with the id of its own.
func expectEdgeDelta(t *testing.T, bodies [][]byte, invocations, perInvocation int) {
	t.Helper()
	l, kinds, ids := lines{}, map[string]int{}, map[string]bool{}
	for _, body := range bodies {
		for line := range bytes.Lines(body) {
			parts := edgeDeltaLine.FindSubmatch(line)
			var record struct{ Message string }
			if err := json.Unmarshal(line, &record); err != nil || parts == nil {
				t.Fatalf("%q is no record of Edge Delta's: %v", line, err)
			}
			id := string(parts[1])
			ids[id] = true
			kinds[string(parts[4])]++
			l.note(record.Message)
			if strings.Contains(record.Message, "RequestID: ") && !strings.HasSuffix(record.Message, " "+id) {
				t.Errorf("%q names another invocation", line)
			}
		}
	}
	l.expect(t, invocations, perInvocation)
	for _, kind := range []string{"platform.start", "platform.runtimeDone", "platform.report"} {
		if kinds[kind] != invocations {
			t.Errorf("%d of %s for %d invocations", kinds[kind], kind, invocations)
		}
	}
	if len(ids) != invocations {
		t.Errorf("%d request ids for %d invocations", len(ids), invocations)
	}
}

// The variables of Edge Delta's extension alone: its request, its records, a
// credential in the endpoint, and a 503 now and then.
func TestEdgeDeltaDropIn(t *testing.T) {
	var mu sync.Mutex
	bodies := map[string][]byte{} // by id: the same batch again is no double
	requests := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		body, err := io.ReadAll(r.Body)
		if err != nil || r.RequestURI != "/in?key=a-credential" || r.Header.Get("Content-Type") != "application/json" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		if requests++; requests%3 == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		id := r.Header.Get("Idempotency-Key")
		if before, ok := bodies[id]; ok && !bytes.Equal(before, body) {
			t.Errorf("batch %s came with other bytes", id)
		}
		bodies[id] = body
	}))
	t.Cleanup(server.Close)
	s := play{env: map[string]string{
		"ED_ENDPOINT": server.URL + "/in?key=a-credential", "ED_RETRY_INTERVAL_MS": "10", "ED_LAMBDA_TIMEOUT_MS": "25",
		"ED_LAMBDA_MAX_ITEMS": "10", // less than Lambda takes: the original would end Init
	}}.start(t)
	s.run(t, 0, 20, 10, 100)
	s.shutdown(t)
	mu.Lock()
	defer mu.Unlock()
	var all [][]byte
	for _, body := range bodies {
		all = append(all, body)
	}
	expectEdgeDelta(t, all, 20, 10)
	if text := s.log.others(); strings.Contains(text, "a-credential") || !strings.Contains(text, "ED_LAMBDA_MAX_ITEMS") {
		t.Errorf("the log holds the credential, or no warning:\n%s", text)
	}
}

// The same through a stream of Firehose.
func TestEdgeDeltaDropInThroughFirehose(t *testing.T) {
	server := servers.StartFirehose(t)
	server.CreateStream(t, "edge-logs")
	env := map[string]string{"PUSHER_MODE": "kinesis", "KINESIS_ENDPOINT": "edge-logs"}
	for _, pair := range server.Env() {
		name, value, _ := strings.Cut(pair, "=")
		maps.Copy(env, map[string]string{name: value})
	}
	s := play{env: env}.start(t)
	s.run(t, 0, 20, 10, 100)
	s.shutdown(t)
	expectEdgeDelta(t, server.Delivered(t, "edge-logs"), 20, 10)
}
