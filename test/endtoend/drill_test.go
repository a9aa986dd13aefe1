package endtoend_test

import (
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"slipstream/emulator"
	"slipstream/test/servers"
)

// every makes the same trouble for each n-th request.
func every(n int, trouble servers.Trouble) func(int) servers.Trouble {
	return func(request int) servers.Trouble {
		if request%n == 0 {
			return trouble
		}
		return servers.Trouble{}
	}
}

// always makes the same trouble for each request.
func always(trouble servers.Trouble) func(int) servers.Trouble { return every(1, trouble) }

// Whatever stands between us and a healthy S3 server: each line is there once.
func TestTroubleOnTheWay(t *testing.T) {
	s3 := servers.StartS3(t)
	for name, make := range map[string]func(int) servers.Trouble{
		"reset":              every(3, servers.Trouble{Reset: true}),
		"stalled":            every(8, servers.Trouble{Hang: true}), // each costs the send timeout
		"503 with a wish":    every(3, servers.Trouble{Status: http.StatusServiceUnavailable, RetryAfter: 1}),
		"429":                every(2, servers.Trouble{Status: http.StatusTooManyRequests}),
		"answers forgotten":  every(3, servers.Trouble{Forget: true}),
		"answers cut":        every(3, servers.Trouble{Truncate: true}),
		"slow":               always(servers.Trouble{Wait: 60 * time.Millisecond}),
		"all of it at times": troubles(7),
	} {
		t.Run(name, func(t *testing.T) {
			bucket := "way-" + strings.ReplaceAll(strings.ToLower(name), " ", "-")
			s3.CreateBucket(t, bucket)
			proxy := servers.StartProxy(t, s3.Endpoint)
			proxy.Make(make)
			s := play{env: s3Env(s3, map[string]string{
				"AWS_ENDPOINT_URL_S3":        proxy.Endpoint,
				"SLIPSTREAM_DESTINATIONS":    "s3://" + bucket + "?batch_bytes=4096",
				"SLIPSTREAM_SEND_TIMEOUT_MS": "300",
			})}.start(t)
			s.run(t, 0, 15, 40, 100)
			// A frozen extension sends nothing: without this all of it would be for SHUTDOWN's two
			// seconds, which troubles that last have nearly used up on a quick machine.
			s.invoke(t, `{"id":15,"sleep_ms":1500}`)
			s.shutdown(t)
			inBucket(t, s3, bucket).expect(t, 15, 40)
		})
	}
}

// troubles makes any of them, one request in three.
func troubles(seed uint64) func(int) servers.Trouble {
	random := rand.New(rand.NewPCG(seed, 0))
	all := []servers.Trouble{{Reset: true}, {Hang: true}, {Status: 503}, {Status: 429}, {Forget: true}, {Truncate: true}}
	return func(int) servers.Trouble {
		if random.IntN(3) > 0 {
			return servers.Trouble{}
		}
		return all[random.IntN(len(all))]
	}
}

// An S3 server that is killed and started again, and again.
func TestS3KilledAndRestarted(t *testing.T) {
	s3 := servers.StartS3(t)
	s3.CreateBucket(t, "logs")
	s := play{env: s3Env(s3, map[string]string{
		"SLIPSTREAM_DESTINATIONS": "s3://logs?batch_bytes=4096", "SLIPSTREAM_SEND_TIMEOUT_MS": "300",
	})}.start(t)
	for round := range 3 {
		s.run(t, round*10, round*10+5, 40, 100)
		s3.Stop(t)
		s.run(t, round*10+5, round*10+10, 40, 100)
		s3.Start(t)
	}
	s.shutdown(t)
	inBucket(t, s3, "logs").expect(t, 30, 40)
}

// A destination that hangs costs one bounded hold and then nothing, under the
// strategy that would wait for it.
func TestHangingDestinationHoldsOnce(t *testing.T) {
	s3 := servers.StartS3(t)
	proxy := servers.StartProxy(t, s3.Endpoint)
	proxy.Make(always(servers.Trouble{Hang: true}))
	s := play{env: s3Env(s3, map[string]string{
		"AWS_ENDPOINT_URL_S3":     proxy.Endpoint,
		"SLIPSTREAM_DESTINATIONS": "s3://logs", "SLIPSTREAM_FLUSH": "end", "SLIPSTREAM_MAX_HOLD_MS": "1000",
	})}.start(t)
	s.run(t, 0, 10, 10, 100)
	held := 0
	for _, r := range s.recorder.Reports() {
		if r.Status != "success" {
			t.Errorf("an invocation ended with %s", r.Status)
		}
		if r.ExtensionOverhead > 800*time.Millisecond { // no busy machine's own delay
			held++
		}
	}
	if held > 1 {
		t.Errorf("%d invocations were held, want the first at most", held)
	}
}

// With the strategy end everything is there when the invocation is over, not
// only at SHUTDOWN.
func TestEndSendsBeforeTheFreeze(t *testing.T) {
	dir := t.TempDir()
	s := play{env: map[string]string{
		"SLIPSTREAM_DESTINATIONS": "file://" + dir, "SLIPSTREAM_FLUSH": "end", "SLIPSTREAM_MAX_HOLD_MS": "5000",
	}, config: bind(dir), function: func(f *emulator.Function) { f.Timeout = 10 * time.Second }}.start(t)
	for id := range 5 {
		s.run(t, id, id+1, 20, 100)
		s.idle(t)
		inFolder(t, dir).expect(t, id+1, 20)
	}
}

// idle waits until the invocation is over for the extensions too.
func (s *stage) idle(t *testing.T) {
	t.Helper()
	reports := func() int { return len(s.recorder.Reports()) }
	for end, want := time.Now().Add(patience), s.invoked; reports() < want; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d of %d invocations were reported", reports(), want)
		}
	}
}
