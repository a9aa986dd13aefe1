package endtoend_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"slipstream/emulator"
	"slipstream/test/servers"
)

// run invokes the function for the ids from first to last-1, each with so many
// lines.
func (s *stage) run(t *testing.T, first, last, perInvocation, bytes int) {
	t.Helper()
	for id := first; id < last; id++ {
		event := fmt.Sprintf(`{"id":%d,"lines":%d,"bytes":%d}`, id, perInvocation, bytes)
		if result := s.invoke(t, event); result.FunctionError != "" {
			t.Fatalf("invocation %d: %s", id, result.Payload)
		}
	}
}

// Fifty invocations with a freeze after each; SHUTDOWN comes right after the
// last.
func TestEveryLineReachesS3(t *testing.T) {
	s3 := servers.StartS3(t)
	s3.CreateBucket(t, "logs")
	s := play{env: s3Env(s3, map[string]string{"SLIPSTREAM_DESTINATIONS": "s3://logs/app"})}.start(t)
	s.run(t, 0, 50, 100, 100)
	s.shutdown(t)
	inBucket(t, s3, "logs").expect(t, 50, 100)
	key := regexp.MustCompile(`^app/year=\d{4}/month=\d\d/day=\d\d/hour=\d\d/shop-[0-9a-f-]{36}-\d+\.ndjson\.gz$`)
	for _, k := range s3.List(t, "logs", "") {
		if !key.MatchString(k) {
			t.Errorf("key %s", k)
		}
	}
	s.expectReports(t, s3, "logs", 50)
}

// expectReports: the platform's last word on each invocation arrives too, the
// last invocation's with SHUTDOWN.
func (s *stage) expectReports(t *testing.T, s3 *servers.S3, bucket string, want int) {
	t.Helper()
	count := 0
	for _, key := range s3.List(t, bucket, "") {
		count += strings.Count(string(decode(t, key, s3.Get(t, bucket, key).Body)), `"type":"platform.report"`)
	}
	if count != want {
		t.Errorf("%d platform.report, want %d", count, want)
	}
}

func TestOneLargeInvocation(t *testing.T) {
	s3 := servers.StartS3(t)
	s3.CreateBucket(t, "logs")
	s := play{
		env:    s3Env(s3, map[string]string{"SLIPSTREAM_DESTINATIONS": "s3://logs?compression=zstd"}),
		config: func(c *emulator.Config) { c.Freeze = false },
	}.start(t)
	s.run(t, 0, 1, 100_000, 180)
	// Not all of it fits into SHUTDOWN's two seconds where others use the machine.
	for end := time.Now().Add(patience); !s.reported(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the extension does not take the invocation's report")
		}
	}
	s.shutdown(t)
	inBucket(t, s3, "logs").expect(t, 1, 100_000)
}

func TestShutdownRightAfterOneInvocation(t *testing.T) {
	s3 := servers.StartS3(t)
	s3.CreateBucket(t, "logs")
	s := play{env: s3Env(s3, map[string]string{"SLIPSTREAM_DESTINATIONS": "s3://logs"})}.start(t)
	s.run(t, 0, 1, 500, 100)
	s.shutdown(t)
	inBucket(t, s3, "logs").expect(t, 1, 500)
}

func TestS3DownForTheFirstHalf(t *testing.T) {
	s3 := servers.StartS3(t)
	s3.CreateBucket(t, "logs")
	s3.Stop(t)
	s := play{env: s3Env(s3, map[string]string{
		"SLIPSTREAM_DESTINATIONS": "s3://logs", "SLIPSTREAM_MAX_STALENESS": "200ms",
	})}.start(t)
	s.run(t, 0, 25, 100, 100)
	s3.Start(t)
	s.run(t, 25, 50, 100, 100)
	s.shutdown(t)
	inBucket(t, s3, "logs").expect(t, 50, 100)
}

func TestSeveralDestinationsAtOnce(t *testing.T) {
	s3, otlp, dir := servers.StartS3(t), servers.StartOTLP(t), t.TempDir()
	s3.CreateBucket(t, "logs")
	s := play{
		env: s3Env(s3, map[string]string{
			"SLIPSTREAM_DESTINATIONS": "s3://logs file://" + dir + "?types=function " + otlpURL(otlp),
			"OTEL_SERVICE_NAME":       "web", "OTEL_RESOURCE_ATTRIBUTES": "team=blue",
		}),
		config: bind(dir),
	}.start(t)
	s.run(t, 0, 10, 100, 100)
	s.shutdown(t)
	inBucket(t, s3, "logs").expect(t, 10, 100)
	inFolder(t, dir).expect(t, 10, 100)
	l := lines{}
	for _, request := range otlp.Received(t) {
		l.addOTLP(t, request)
	}
	l.expect(t, 10, 100)
	all := string(otlp.Received(t)[0])
	for _, want := range []string{`"web"`, `"team"`, `"blue"`, `"faas.name"`, `"shop"`, `"aws_lambda"`} {
		if !strings.Contains(all, want) {
			t.Errorf("OTLP resource lacks %s in %.600s", want, all)
		}
	}
}

// addOTLP takes one request as OTLP JSON.
func (l lines) addOTLP(t *testing.T, request []byte) {
	t.Helper()
	var logs struct {
		ResourceLogs []struct {
			ScopeLogs []struct {
				LogRecords []struct {
					Body struct{ StringValue string }
				}
			}
		}
	}
	if err := json.Unmarshal(request, &logs); err != nil {
		t.Fatal(err)
	}
	for _, r := range logs.ResourceLogs {
		for _, s := range r.ScopeLogs {
			for _, record := range s.LogRecords {
				l.note(record.Body.StringValue)
			}
		}
	}
}

// The platform loses answers, breaks connections and is slow: every line still
// comes once.
func TestUnreliablePlatform(t *testing.T) {
	for name, rule := range map[string]string{
		"lost answers": "telemetry:duplicate,every=2", "broken connections": "telemetry:cut,every=3",
		"late telemetry": "telemetry:delay=150ms,every=4", "late events": "next:delay=20ms,every=3",
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := play{
				env: map[string]string{"SLIPSTREAM_DESTINATIONS": "file://" + dir}, faults: []string{rule}, config: bind(dir),
			}.start(t)
			s.run(t, 0, 12, 50, 100)
			s.shutdown(t)
			inFolder(t, dir).expect(t, 12, 50)
		})
	}
}

// However an invocation or the environment ends, what was written before
// arrives once, and so does what the next environment writes.
func TestEveryEnd(t *testing.T) {
	for _, end := range []string{"error", "exit", "hang", "terminate", "memory"} {
		t.Run(end, func(t *testing.T) {
			dir := t.TempDir()
			s := play{
				env: map[string]string{"SLIPSTREAM_DESTINATIONS": "file://" + dir},
				function: func(f *emulator.Function) {
					f.Timeout = 3 * time.Second
					if end == "memory" {
						f.MemoryMB, f.Timeout = 256, time.Minute
					}
				},
				config: bind(dir),
			}.start(t)
			s.run(t, 0, 2, 50, 100)
			result := s.invoke(t, fmt.Sprintf(`{"id":2,"lines":50,"bytes":100,"end":%q}`, end))
			if result.FunctionError == "" {
				t.Errorf("the invocation did not fail: %s", result.Payload)
			}
			s.run(t, 3, 5, 50, 100)
			s.shutdown(t)
			inFolder(t, dir).expect(t, 5, 50)
		})
	}
}

// Init that fails once is run again in the first invocation; what it wrote is
// delivered, both times.
func TestInitFailsAndIsRunAgain(t *testing.T) {
	dir := t.TempDir()
	s := play{
		env:    map[string]string{"SLIPSTREAM_DESTINATIONS": "file://" + dir, "WRITER_INIT_FAILS": "1"},
		config: bind(dir),
	}.start(t)
	s.run(t, 2, 4, 10, 100)
	s.shutdown(t)
	inFolder(t, dir).expect(t, 4, 10)
}

// SHUTDOWN may be the first event ever: the events of Init are delivered.
func TestShutdownIsTheFirstEvent(t *testing.T) {
	dir := t.TempDir()
	s := play{
		env:      map[string]string{"SLIPSTREAM_DESTINATIONS": "file://" + dir, "WRITER_INIT_FAILS": "0"},
		config:   bind(dir),
		function: func(f *emulator.Function) { f.Warm = 1 },
	}.start(t)
	s.shutdown(t)
	inFolder(t, dir).expect(t, 1, 10)
}

// A record larger than maxBytes comes in two posts, neither of which is JSON.
func TestRecordLargerThanMaxBytes(t *testing.T) {
	dir := t.TempDir()
	s := play{
		env: map[string]string{"SLIPSTREAM_DESTINATIONS": "file://" + dir}, config: bind(dir),
	}.start(t)
	s.run(t, 0, 3, 3, 262_100) // the envelope makes each larger than 256 KiB
	s.shutdown(t)
	inFolder(t, dir).expect(t, 3, 3)
}

// A backend that refuses costs one clear line in the log and nothing else: the
// function answers, and the other destination gets everything.
func TestRefusingDestinations(t *testing.T) {
	answers := map[string]http.HandlerFunc{
		"403": status(http.StatusForbidden), "404": status(http.StatusNotFound), "500": status(500),
		"garbage": func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				_, _ = conn.Write([]byte("garbage\r\n\r\n"))
				_ = conn.Close()
			}
		},
		"nothing": func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body) // or the server does not see the client go
			<-r.Context().Done()
		},
	}
	for name, answer := range answers {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(answer)
			defer server.Close()
			dir := t.TempDir()
			s := play{
				env: map[string]string{
					"AWS_ENDPOINT_URL_S3": server.URL, "AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "hidden",
					"SLIPSTREAM_DESTINATIONS":  "s3://logs,file://" + dir + ",otlp+" + server.URL,
					"SLIPSTREAM_MAX_STALENESS": "100ms", "SLIPSTREAM_SEND_TIMEOUT_MS": "300",
				},
				config: bind(dir),
			}.start(t)
			s.run(t, 0, 10, 100, 100)
			time.Sleep(time.Second) // frozen
			s.run(t, 10, 20, 100, 100)
			s.shutdown(t)
			inFolder(t, dir).expect(t, 20, 100)
			log := s.log.String()
			if !strings.Contains(log, "level=ERROR") || !strings.Contains(log, "closing account") {
				t.Error("nothing in the log tells of the loss")
			}
			if strings.Contains(log, "hidden") {
				t.Error("the log tells the secret")
			}
		})
	}
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

func TestBadConfigurationIsOneLineAndTheFunctionRuns(t *testing.T) {
	tests := map[string]string{
		"gopher://x":                "unknown scheme",
		"s3://":                     "bucket is missing",
		"file:///nowhere/at/all":    "",
		"otlp+http://":              "host",
		"":                          "SLIPSTREAM_DESTINATIONS: it is empty",
		"s3://b?colour=red file://": "unknown option",
	}
	for destinations, want := range tests {
		t.Run(destinations, func(t *testing.T) {
			s := play{env: map[string]string{"SLIPSTREAM_DESTINATIONS": destinations}}.start(t)
			s.run(t, 0, 2, 1, 10)
			s.shutdown(t)
			if log := s.log.String(); !strings.Contains(log, want) || !strings.Contains(log, "level=ERROR") {
				t.Errorf("the log does not say %q", want)
			}
		})
	}
}

func TestStrictEndsInit(t *testing.T) {
	s := play{env: map[string]string{"SLIPSTREAM_DESTINATIONS": "gopher://x", "SLIPSTREAM_STRICT": "true"}}.start(t)
	result := s.invoke(t, `{"id":0,"lines":1}`)
	if result.FunctionError == "" || !strings.Contains(string(result.Payload), "Extension.InitError") {
		t.Errorf("%+v", result)
	}
}
