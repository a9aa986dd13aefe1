package telemetryapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipstream/emulator/fault"
)

// told is a time with all that stamp has to change: a zone and nanoseconds.
var told = time.Date(2026, 10, 1, 11, 0, 0, 123_456_789, time.FixedZone("", 2*3600))

func TestBodiesAreThoseOfTheReference(t *testing.T) {
	type record map[string]any
	story := func(h *Hub) {
		h.Platform("platform.initStart", told, record{"phase": "init"})
		h.Platform("platform.start", told, record{"requestId": "r1", "version": "$LATEST", "tracing": record{"type": "X"}})
		write(t, h.Output("function"), "hello\n")
		write(t, h.Output("extension"), "{\"level\":\"INFO\"}\n")
		h.Platform("platform.runtimeDone", told, record{"requestId": "r1", "status": "error", "errorType": "E"})
		h.Platform("platform.end", told, record{"requestId": "r1"})
		h.Platform("platform.fault", told, "RequestId: r1 Status: error")
		h.Platform("platform.report", told,
			record{"requestId": "r1", "status": "error", "metrics": record{"durationMs": 1.5}, "spans": []int{}})
		h.Platform("platform.restoreStart", told, record{"functionName": "f"})
	}
	const when = `{"time":"2026-10-01T09:00:00.123Z","type":"platform.`
	for _, c := range []struct {
		name, api, members, subscription string
		want                             []string
	}{
		{"telemetry", apiTelemetry, ``, "telemetry", []string{
			when + `initStart","record":{"phase":"init"}}`,
			when + `start","record":{"requestId":"r1","tracing":{"type":"X"},"version":"$LATEST"}}`,
			`{"time":"T","type":"function","record":"hello\n"}`,
			`{"time":"T","type":"extension","record":{"level":"INFO"}}`,
			when + `runtimeDone","record":{"errorType":"E","requestId":"r1","status":"error"}}`,
			when + `report","record":{"metrics":{"durationMs":1.5},"requestId":"r1","spans":[],"status":"error"}}`,
			when + `restoreStart","record":{"functionName":"f"}}`,
		}},
		{"logs", apiLogs, `"schemaVersion":"2021-03-18"`, "logs", []string{
			when + `start","record":{"requestId":"r1","version":"$LATEST"}}`,
			`{"time":"T","type":"function","record":"hello\n"}`,
			`{"time":"T","type":"extension","record":"{\"level\":\"INFO\"}\n"}`,
			when + `runtimeDone","record":{"requestId":"r1","status":"failure"}}`,
			when + `end","record":{"requestId":"r1"}}`,
			when + `fault","record":"RequestId: r1 Status: error"}`,
			when + `report","record":{"requestId":"r1","metrics":{"durationMs":1.5}}}`,
			when + `restoreStart","record":{}}`,
		}},
		{"logs of 2020 have no runtimeDone", apiLogs, `"schemaVersion":"2020-08-15","types":["platform"]`, "logs", []string{
			when + `start","record":{"requestId":"r1","version":"$LATEST"}}`,
			when + `end","record":{"requestId":"r1"}}`,
			when + `fault","record":"RequestId: r1 Status: error"}`,
			when + `report","record":{"requestId":"r1","metrics":{"durationMs":1.5}}}`,
			when + `restoreStart","record":{}}`,
		}},
		{"functions only", apiTelemetry, `"types":["function"]`, "", []string{
			`{"time":"T","type":"function","record":"hello\n"}`,
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHub(t, Config{LogFormat: "JSON"})
			r := newReceiver(t, nil)
			members := []string{c.members}
			if c.members == "" {
				members = nil
			}
			subscribe(t, h, c.api, "my-ext", r.request(members...))
			story(h)
			if c.subscription != "" {
				types := `"platform","function","extension"`
				if strings.Contains(c.members, "types") {
					types = `"platform"`
				}
				c.want = append([]string{`{"time":"T","type":"platform.` + c.subscription +
					`Subscription","record":{"name":"my-ext","state":"Subscribed","types":[` + types + `]}}`}, c.want...)
			}
			want := "[" + strings.Join(c.want, ",") + "]"
			h.Flush()
			eventually(t, "delivery", func() bool { return h.counted().Delivered == int64(len(c.want)) })
			got := strings.ReplaceAll(strings.Join(r.got(), ""), "][", ",")
			if d := cmp.Diff(timeless(want), timeless(got)); d != "" {
				t.Error(d)
			}
			if strings.Count(got, "2026-10-01T09:00:00.123Z") != strings.Count(want, "2026-10-01T09:00:00.123Z") {
				t.Errorf("platform's times are not kept: %s", got)
			}
		})
	}
}

func TestBatchLeavesAtItsBounds(t *testing.T) {
	const never = `"buffering":{"timeoutMs":30000,"maxItems":1000,"maxBytes":262144}`
	t.Run("maxItems", func(t *testing.T) {
		h, r := newHub(t, Config{}), newReceiver(t, nil)
		subscribe(t, h, apiTelemetry, "e", r.request(never, `"types":["function"]`))
		write(t, h.Output("function"), strings.Repeat("x\n", 2500))
		eventually(t, "two full batches", func() bool { return h.counted().Deliveries == 2 })
		if n := h.counted().Delivered; n != 2000 {
			t.Errorf("%d records in two batches, want 2000", n)
		}
		h.Flush()
		eventually(t, "the rest", func() bool { return h.counted().Delivered == 2500 })
	})
	t.Run("maxBytes", func(t *testing.T) {
		h, r := newHub(t, Config{}), newReceiver(t, nil)
		subscribe(t, h, apiTelemetry, "e", r.request(never, `"types":["function"]`))
		write(t, h.Output("function"), strings.Repeat(strings.Repeat("x", 99_999)+"\n", 8))
		eventually(t, "two full batches", func() bool { return h.counted().Deliveries == 2 })
		for _, body := range r.got() {
			if len(body) < 262_144 || len(body) > 2*262_144 || strings.Count(body, "time") != 3 {
				t.Errorf("a batch of %d bytes and %d events", len(body), strings.Count(body, "time"))
			}
		}
	})
	t.Run("timeoutMs", func(t *testing.T) {
		h, r := newHub(t, Config{}), newReceiver(t, nil)
		subscribe(t, h, apiTelemetry, "e", r.request(`"buffering":{"timeoutMs":100}`, `"types":["function"]`))
		begin := time.Now()
		write(t, h.Output("function"), "x\n")
		eventually(t, "delivery", func() bool { return h.counted().Delivered == 1 })
		if d := time.Since(begin); d < 100*time.Millisecond {
			t.Errorf("delivered after %v, before timeoutMs", d)
		}
	})
	t.Run("Flush", func(t *testing.T) {
		h, r := newHub(t, Config{}), newReceiver(t, nil)
		subscribe(t, h, apiTelemetry, "e", r.request(never))
		h.Flush()
		eventually(t, "delivery", func() bool { return h.counted().Delivered == 1 })
	})
}

func TestRecordOverMaxBytesIsCut(t *testing.T) {
	h, r := newHub(t, Config{}), newReceiver(t, nil)
	subscribe(t, h, apiTelemetry, "e", r.request(`"types":["function"]`, `"buffering":{"timeoutMs":30000}`))
	long := strings.Repeat("\"", 200_000) // 400,000 bytes when escaped
	write(t, h.Output("function"), "before\n"+long+"\nafter\n")
	h.Flush()
	eventually(t, "three records", func() bool { return h.counted().Delivered == 3 })
	bodies := r.got()
	if len(bodies) != 2 {
		t.Fatalf("%d bodies, want 2", len(bodies))
	}
	const head = `{"time":"T","type":"function","record":`
	first, second := timeless(bodies[0]), timeless(bodies[1])
	cut := 262_144 - (len(bodies[0]) - len(first)) // where the body ends without its two times
	wantFirst := `[` + head + `"before\n"},` + head + `"` + strings.Repeat(`\"`, 200_000)
	rest := wantFirst[cut:]
	if first != wantFirst[:cut] {
		t.Errorf("first body has %d bytes, ends %q, want %d, %q", len(first), first[len(first)-20:], cut,
			wantFirst[cut-20:cut])
	}
	if want := `[` + head + rest + `\n"},` + head + `"after\n"}]`; second != want {
		t.Errorf("second body: %d bytes, %.80q, want %d, %.80q", len(second), second, len(want), want)
	}
	all, err := join(bodies)
	if err != nil || len(all) != 3 || all[1].text() != long+"\n" {
		t.Errorf("joined: %d records, %v", len(all), err)
	}
}

func TestRecordOverMaxBytesStaysWholeWhenAskedTo(t *testing.T) {
	asked := 0
	h, r := newHub(t, Config{Whole: func() bool { asked++; return true }}), newReceiver(t, nil)
	subscribe(t, h, apiTelemetry, "e", r.request(`"types":["function"]`))
	long := strings.Repeat("\"", 200_000)
	write(t, h.Output("function"), "before\n"+long+"\n")
	eventually(t, "both records", func() bool { return h.counted().Delivered == 2 })
	for _, body := range r.got() {
		if !json.Valid([]byte(body)) {
			t.Errorf("a body of %d bytes is not JSON", len(body))
		}
	}
	if asked != 1 {
		t.Errorf("asked %d times, only one record is over maxBytes", asked)
	}
}

func TestRecordFarOverMaxBytesIsCutOften(t *testing.T) {
	h, r := newHub(t, Config{}), newReceiver(t, nil)
	subscribe(t, h, apiTelemetry, "e", r.request(`"types":["function"]`))
	long := strings.Repeat("\x01", maxLine) // six bytes each when escaped
	write(t, h.Output("function"), long+"\n")
	h.Flush()
	eventually(t, "the record", func() bool { return h.counted().Delivered == 1 })
	bodies := r.got()
	all, err := join(bodies)
	if err != nil || len(all) != 1 || all[0].text() != long+"\n" || len(bodies) != 7 {
		t.Errorf("%d records from %d bodies, %v", len(all), len(bodies), err)
	}
}

// shortTry is what a test waits for when a try gets no answer. Those that do get one
// get it within milliseconds: a busy machine has the rest.
const shortTry = 750 * time.Millisecond

func TestFailedDeliveriesAreTriedAgain(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer func(w http.ResponseWriter, n int, body []byte) int
	}{
		{"500 and 400 twice", func(_ http.ResponseWriter, n int, _ []byte) int {
			return []int{500, 400, 200}[min(n, 3)-1]
		}},
		{"connection closed instead of an answer", func(w http.ResponseWriter, n int, _ []byte) int {
			if n <= 2 {
				conn, _, _ := http.NewResponseController(w).Hijack()
				_ = conn.Close()
				return 0
			}
			return 200
		}},
		{"no answer", func(_ http.ResponseWriter, n int, _ []byte) int {
			if n <= 2 {
				time.Sleep(2 * shortTry)
				return 500
			}
			return 200
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var tries []int
			h := newHub(t, Config{Observe: func(d Delivery) { tries = append(tries, d.Tries) }})
			if c.name == "no answer" { // the others are answered, however late
				h.try = shortTry
			}
			r := newReceiver(t, c.answer)
			subscribe(t, h, apiTelemetry, "e", r.request(`"types":["function"]`))
			write(t, h.Output("function"), "x\n")
			eventually(t, "delivery", func() bool { return h.counted().Delivered == 1 })
			h.Close()
			if d := cmp.Diff([]int{3}, tries); d != "" || len(r.got()) != 1 {
				t.Errorf("tries %v, %d bodies", tries, len(r.got()))
			}
		})
	}
}

func TestTriesAreFurtherAndFurtherApart(t *testing.T) {
	var began []time.Time
	r := newReceiver(t, func(_ http.ResponseWriter, n int, _ []byte) int {
		began = append(began, time.Now())
		if n < 5 {
			return 503
		}
		return 200
	})
	h := newHub(t, Config{})
	subscribe(t, h, apiTelemetry, "e", r.request(`"types":["function"]`))
	write(t, h.Output("function"), "x\n")
	eventually(t, "delivery", func() bool { return h.counted().Delivered == 1 })
	for i, least := 1, firstBackoff; i < len(began); i, least = i+1, 2*least {
		if gap := began[i].Sub(began[i-1]); gap < least {
			t.Errorf("try %d came %v after the one before, want at least %v", i+1, gap, least)
		}
	}
}

// TestAnswerOnItsWayCounts: the extension has answered and ended, and the
// environment with it, before the answer is read.
func TestAnswerOnItsWayCounts(t *testing.T) {
	h := newHub(t, Config{Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dialLoopback(ctx, network, address)
		return &lateConn{Conn: conn, limited: make(chan struct{})}, err
	}})
	r := newReceiver(t, nil)
	subscribe(t, h, apiTelemetry, "e", r.request(`"types":["function"]`))
	write(t, h.Output("function"), "x\n")
	eventually(t, "the POST", func() bool { return len(r.got()) == 1 })
	h.Reset()
	if c := h.counted(); c.Delivered != 1 || c.Lost != 0 {
		t.Errorf("%+v, want 1 delivered, 0 lost", c)
	}
}

// lateConn is read only once it has got a deadline.
type lateConn struct {
	net.Conn
	limited chan struct{}
	once    sync.Once
}

func (c *lateConn) SetDeadline(at time.Time) error {
	defer c.once.Do(func() { close(c.limited) })
	return c.Conn.SetDeadline(at)
}

func (c *lateConn) Read(b []byte) (int, error) {
	<-c.limited
	return c.Conn.Read(b)
}

func TestNobodyListensAtFirst(t *testing.T) {
	h, r := newHub(t, Config{}), &receiver{}
	port, listen := quietPort(t)
	subscribe(t, h, apiTelemetry, "e", subscriptionTo(fmt.Sprintf(
		`{"protocol":"HTTP","URI":"http://sandbox.localdomain:%d/in"}`, port), `"types":["function"]`))
	write(t, h.Output("function"), "x\n")
	eventually(t, "a retry", func() bool { return h.counted().Retries > 1 })
	r.server = httptest.NewUnstartedServer(http.HandlerFunc(r.serve))
	_ = r.server.Listener.Close()
	r.server.Listener = listen()
	r.server.Start()
	t.Cleanup(r.server.Close)
	eventually(t, "delivery", func() bool { return h.counted().Delivered == 1 && len(r.got()) == 1 })
}

func TestIdleConnectionClosedByTheReceiverDoublesNothing(t *testing.T) {
	h, r := newHub(t, Config{}), newReceiver(t, nil)
	subscribe(t, h, apiTelemetry, "e", r.request(`"types":["function"]`))
	for i := range 5 {
		write(t, h.Output("function"), fmt.Sprintln(i))
		eventually(t, "delivery", func() bool { return h.counted().Delivered == int64(i+1) })
		r.server.CloseClientConnections()
	}
	if n := h.counted().Retries; n != 0 || r.tried() != 5 {
		t.Errorf("%d retries, %d requests", n, r.tried())
	}
}

func TestFreezeHoldsDeliveries(t *testing.T) {
	h, r := newHub(t, Config{}), newReceiver(t, nil)
	subscribe(t, h, apiTelemetry, "e", r.request(`"types":["function"]`))
	h.Freeze()
	h.Freeze()
	write(t, h.Output("function"), "x\n")
	h.Flush()
	time.Sleep(100 * time.Millisecond)
	if r.tried() != 0 {
		t.Error("a POST came while frozen")
	}
	h.Thaw()
	h.Thaw()
	eventually(t, "delivery after the thaw", func() bool { return len(r.got()) == 1 })
}

func TestFrozenTimeIsNoTimeout(t *testing.T) {
	h := newHub(t, Config{})
	h.try = shortTry
	came, thawed := make(chan struct{}), make(chan struct{})
	r := newReceiver(t, func(http.ResponseWriter, int, []byte) int {
		close(came)
		<-thawed
		return 200
	})
	subscribe(t, h, apiTelemetry, "e", r.request(`"types":["function"]`))
	write(t, h.Output("function"), "x\n")
	<-came
	h.Freeze()
	time.Sleep(2 * shortTry)
	h.Thaw()
	close(thawed)
	eventually(t, "delivery", func() bool { return h.counted().Delivered == 1 })
	if r.tried() != 1 {
		t.Errorf("%d tries, want 1", r.tried())
	}
}

func TestSlowSubscriberLosesTheNewestAndIsTold(t *testing.T) {
	h := newHub(t, Config{LimitBytes: 400_000})
	hold := make(chan struct{})
	r := newReceiver(t, func(http.ResponseWriter, int, []byte) int {
		<-hold
		return 200
	})
	subscribe(t, h, apiTelemetry, "e", r.request(`"types":["platform","function"]`))
	eventually(t, "the first POST", func() bool { return r.tried() == 1 })
	out := h.Output("function")
	for i := range 2000 {
		write(t, out, fmt.Sprintf("%04d%s\n", i, strings.Repeat("x", 495)))
	}
	dropped := h.counted().Dropped
	close(hold)
	eventually(t, "all that was taken in", func() bool { s := h.counted(); return s.Delivered == s.Accepted })
	write(t, out, "last\n")
	eventually(t, "the last", func() bool { s := h.counted(); return s.Delivered == s.Accepted })
	all, err := join(r.got())
	if err != nil {
		t.Fatal(err)
	}
	if dropped == 0 || dropped > 1600 {
		t.Errorf("%d of 2000 dropped", dropped)
	}
	kept := 2000 - int(dropped)
	for i, e := range all[1 : 1+kept] {
		if !strings.HasPrefix(e.text(), fmt.Sprintf("%04d", i)) {
			t.Fatalf("record %d is %.20s", i, e.Record)
		}
	}
	note := fmt.Sprintf(`{"droppedBytes":%d,"droppedRecords":%d,"reason":"Some logs were dropped because the `+
		`downstream consumer is slower than the logs production rate"}`, dropped*500, dropped)
	after := all[1+kept:]
	if len(after) != 2 || after[0].Type != "platform.logsDropped" || string(after[0].Record) != note ||
		after[1].text() != "last\n" {
		t.Errorf("after the kept ones: %s, want %s and the last", after, note)
	}
}

func TestFaults(t *testing.T) {
	for _, c := range []struct {
		name     string
		verdict  fault.Verdict
		bodies   int
		broken   int
		retries  int64
		dropped  int64
		atLeast  time.Duration
		contains string
	}{
		{name: "none", bodies: 1},
		{name: "delay", verdict: fault.Verdict{Delay: 200 * time.Millisecond}, bodies: 1, atLeast: 200 * time.Millisecond},
		{name: "duplicate", verdict: fault.Verdict{Duplicate: true}, bodies: 2, retries: 1},
		{name: "cut", verdict: fault.Verdict{Cut: true}, bodies: 1, broken: 1, retries: 1},
		{name: "drop", verdict: fault.Verdict{Drop: true}, bodies: 1, dropped: 1,
			contains: `"type":"platform.logsDropped","record":{"droppedBytes":2,"droppedRecords":1,`},
	} {
		t.Run(c.name, func(t *testing.T) {
			asked := 0
			h := newHub(t, Config{Fault: func(p fault.Post) fault.Verdict {
				asked++
				if p.Extension != "e" || p.Bytes == 0 || p.At.IsZero() {
					t.Errorf("asked about %+v", p)
				}
				if asked == 2 { // the first is the subscription event
					return c.verdict
				}
				return fault.Verdict{}
			}})
			r := newReceiver(t, nil)
			subscribe(t, h, apiTelemetry, "e", r.request())
			eventually(t, "subscription event", func() bool { return h.counted().Delivered == 1 })
			begin := time.Now()
			write(t, h.Output("function"), "x\n")
			eventually(t, "delivery", func() bool { return h.counted().Delivered == 2 })
			s := h.counted()
			if d := time.Since(begin); d < c.atLeast {
				t.Errorf("delivered after %v", d)
			}
			if n := len(r.got()) - 1; n != c.bodies || r.broken != c.broken || s.Retries != c.retries ||
				s.Dropped != c.dropped {
				t.Errorf("%d bodies, %d broken, %d retries, %d dropped: want %+v", n, r.broken, s.Retries, s.Dropped, c)
			}
			if last := r.got()[c.bodies]; !strings.Contains(last, c.contains) {
				t.Errorf("last body %s", last)
			}
		})
	}
}

func TestTCPDestinationGetsLines(t *testing.T) {
	faults := []fault.Verdict{{}, {Duplicate: true}, {Cut: true}}
	h := newHub(t, Config{Fault: func(fault.Post) fault.Verdict {
		v := faults[0]
		faults = faults[1:]
		return v
	}})
	r := newTCPReceiver(t)
	subscribe(t, h, apiTelemetry, "e", r.request(`"types":["function"]`))
	out := h.Output("function")
	long := strings.Repeat("x", maxLine)
	write(t, out, long+"\n")
	eventually(t, "first batch", func() bool { return h.counted().Delivered == 1 })
	write(t, out, "c\n")
	eventually(t, "second batch", func() bool { return h.counted().Delivered == 2 })
	write(t, out, "d\n")
	eventually(t, "third batch", func() bool { return h.counted().Delivered == 3 })
	line := func(s string) string { return `{"time":"T","type":"function","record":"` + s + `\n"}` }
	want := []string{line(long), line("c"), line("c"), line("d")}
	eventually(t, "all lines", func() bool { lines, _ := r.got(); return len(lines) == len(want) })
	lines, conns := r.got()
	for i := range lines {
		lines[i] = timeless(lines[i])
	}
	if d := cmp.Diff(want, lines); d != "" || conns != 3 {
		t.Errorf("%d connections, %s", conns, d)
	}
}
