package wavefront

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipstream/telemetry"
)

// A refused line, a line that is too large and one that never ends cost only
// themselves, in whatever pieces they come.
func TestNeighboursAreKept(t *testing.T) {
	text := "a 1\nb\nc 3\r\n\n" + strings.Repeat("x", 100_000) + " 1\nd 4\n!M" + strings.Repeat(" #1 1", 6600) +
		" e\nf 6\nlost 7"
	for _, piece := range []int{1 << 20, 1000, 7} {
		t.Run(fmt.Sprint(piece), func(t *testing.T) {
			s, k := serve(t, nil)
			c := dial(t, s)
			for part := range slices.Chunk([]byte(text), piece) {
				if _, err := c.Write(part); err != nil {
					t.Fatal(err)
				}
			}
			_ = c.Close()
			eventually(t, "the end", func() bool { return k.dropped()[reasonUnterminated] == 1 })
			want := []string{"gauge a 1 @now", "gauge c 3 @now", "gauge d 4 @now",
				"distribution e 6600×1 @2026-11-24T02:01:00+1m0s", "gauge f 6 @now"}
			if diff := cmp.Diff(want, k.got()); diff != "" {
				t.Error(diff)
			}
			drops := map[string]int{reasonMalformed: 1, reasonTooLarge: 1, reasonUnterminated: 1}
			if diff := cmp.Diff(drops, k.dropped()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// What has come is handed over though the connection stays open.
func TestHandedOverWhenDrained(t *testing.T) {
	s, k := serve(t, nil)
	c := dial(t, s)
	for i := range 3 {
		if _, err := fmt.Fprintf(c, "a %d\nb", i); err != nil {
			t.Fatal(err)
		}
		k.wait(i + 1)
		if _, err := fmt.Fprint(c, "\n"); err != nil { // the b: refused
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if k.dropped()[reasonMalformed] != 3 {
		t.Errorf("dropped %v", k.dropped())
	}
}

// Everything that was written before Shutdown is taken, and nothing hangs on a
// connection that stays open, or has half a line or half a method.
func TestShutdownTakesWhatWasSent(t *testing.T) {
	s, k := serve(t, nil)
	var clients []net.Conn
	for range 10 {
		clients = append(clients, dial(t, s))
	}
	for i, c := range clients {
		if _, err := fmt.Fprint(c, strings.Repeat("a 1\n", 1000)+"POS"[:i%4]); err != nil {
			t.Fatal(err)
		}
	}
	half := dial(t, s)
	if _, err := fmt.Fprint(half, "POST"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	if n := len(k.got()); n != 10_000 {
		t.Errorf("%d of 10000 records are taken", n)
	}
	if _, err := net.Dial("tcp", s.Addr().String()); err == nil {
		t.Error("it still listens")
	}
}

func TestOneConnectionMoreIsClosed(t *testing.T) {
	s, k := serve(t, func(o *Options) { o.Connections = 2 })
	a, b := dial(t, s), dial(t, s)
	for _, c := range []net.Conn{a, b} {
		if _, err := fmt.Fprint(c, "a 1\n"); err != nil {
			t.Fatal(err)
		}
	}
	k.wait(2)
	if n, err := dial(t, s).Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("the third connection reads %d bytes, %v", n, err)
	}
	if k.dropped()[reasonConnections] != 1 {
		t.Errorf("dropped %v", k.dropped())
	}
	_ = a.Close()
	eventually(t, "room for one more", func() bool {
		c := dial(t, s)
		_, _ = fmt.Fprint(c, "b 1\n")
		_ = c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		_, err := c.Read(make([]byte, 1))
		timeout, ok := err.(net.Error)
		return ok && timeout.Timeout()
	})
}

// A request's connection counts until it ends, not longer.
func TestHTTPConnectionsAreCounted(t *testing.T) {
	s, k := serve(t, func(o *Options) { o.Connections = 1 })
	c := dial(t, s)
	if _, err := fmt.Fprint(c, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\na 1\n"); err != nil {
		t.Fatal(err)
	}
	k.wait(1)
	if n, err := dial(t, s).Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("a second connection reads %d bytes, %v", n, err)
	}
	_ = c.Close()
	eventually(t, "room for another", func() bool {
		c, err := net.Dial("tcp", s.Addr().String())
		if err != nil {
			return false
		}
		defer c.Close()
		_, _ = fmt.Fprint(c, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nb 1\n")
		head, _ := io.ReadAll(io.LimitReader(c, 12))
		return string(head) == "HTTP/1.1 202"
	})
}

// A connection that is silent is closed, whether it sent nothing, half a line
// or half a request's method.
func TestIdleConnectionsEnd(t *testing.T) {
	s, k := serve(t, func(o *Options) { o.Idle = 50 * time.Millisecond })
	for _, text := range []string{"", "PO", "a 1\nb"} {
		c := dial(t, s)
		if _, err := fmt.Fprint(c, text); err != nil {
			t.Fatal(err)
		}
		_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
		if _, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("%q: %v, want the end of the connection", text, err)
		}
	}
	want := map[string]int{reasonUnterminated: 2}
	if diff := cmp.Diff(want, k.dropped()); diff != "" {
		t.Error(diff)
	}
}

// No room: lines wait for it, and are lost, counted, when there is none.
func TestNoRoom(t *testing.T) {
	none := telemetry.ErrNoRoom
	s, k := serve(t, func(o *Options) { o.RoomWait = time.Minute })
	k.answers = []error{none, none, none}
	send(t, s, "a 1\n")
	k.wait(1)
	if len(k.dropped()) > 0 {
		t.Errorf("dropped %v", k.dropped())
	}

	s, k = serve(t, func(o *Options) { o.RoomWait = time.Nanosecond })
	k.answers = slices.Repeat([]error{none}, 100)
	send(t, s, "a 1\nb 2\ns"+testIDs+"1533531013 1\n")
	eventually(t, "two exports lost", func() bool { return k.dropped()[reasonNoRoom] == 3 })
	k.mu.Lock()
	k.answers = []error{telemetry.ErrOver}
	k.mu.Unlock()
	send(t, s, "a 1\n")
	eventually(t, "the end", func() bool { return k.dropped()[reasonOver] == 1 })
	send(t, s, "a 1\n")
	k.wait(1)
}

// post sends a body and gives the status code.
func post(t *testing.T, s *Server, target, body string, header ...string) int {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, "http://"+s.Addr().String()+target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	client := http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	return answer.StatusCode
}

func zipped(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestHTTP(t *testing.T) {
	event := `{"name":"deploy","annotations":{"severity":"info"},"startTime":1533531013000,"endTime":1533531213000,` +
		"\n" + `"tags":["env: prod"],"hosts":["h"],"dimensions":{"d":["x","y"]},"other":[{}]}`
	told := `log wavefront.event "deploy" @2018-08-06T04:50:13 d=[x|y] hosts=[h] severity=info tags=[env: prod] ` +
		"wavefront.event.end_time=1533531213000"
	gzipped := []string{"Content-Encoding", "gzip"}
	tests := []struct {
		name, target, body string
		header             []string
		status             int
		want               string
		drops              map[string]int
	}{
		{"lines", "/", "a 1\nb\nc 3", nil, 202, "gauge a 1 @now,gauge c 3 @now", map[string]int{reasonMalformed: 1}},
		{"f=wavefront", "/report?f=wavefront", "a 1\n!M #1 1 h\n", nil, 202, "gauge a 1 @now",
			map[string]int{reasonName: 0, reasonMalformed: 1}},
		{"gzip", "/report?f=histogram", zipped(t, "!M #1 1 h\n"), gzipped, 202,
			"distribution h 1×1 @2026-11-24T02:01:00+1m0s", nil},
		{"gzip that is none", "/api/v2/event", event, gzipped, 202, told, nil},
		{"an event's line", "/api/v2/event", "@Event 1533531013 1533531213 deploy d=x d=y severity=info " +
			"host=h tag=\"env: prod\"\n", nil, 202, told, nil},
		{"an event without a name", "/api/v2/event", `{"startTime":1533531013000}`, nil, 202, "",
			map[string]int{reasonMalformed: 1}},
		{"f=trace", "/report?format=trace", "s" + testIDs + "1533531013 1", nil, 202,
			"span s " + testHex + " @2018-08-06T04:50:13+1s ", nil},
		{"logs", "/report?f=logs_json_arr", "[]", nil, 403, "", map[string]int{reasonLogsNotServed: 1}},
		{"gzip that breaks", "/", "\x1f\x8brubbish" + zipped(t, "a 1\n"), gzipped, 400, "",
			map[string]int{reasonMalformed: 1}},
		{"another encoding", "/", "a 1\n", []string{"Content-Encoding", "br"}, 400, "",
			map[string]int{reasonMalformed: 1}},
		{"too large", "/", strings.Repeat("\n", maxBody+1), nil, 413, "", map[string]int{reasonTooLarge: 1}},
		{"a bomb", "/", zipped(t, strings.Repeat("\n", 4*maxBody)), gzipped, 413, "", map[string]int{reasonTooLarge: 1}},
		{"a bomb of one line", "/", zipped(t, strings.Repeat("x", 4*maxBody)), gzipped, 413, "",
			map[string]int{reasonTooLarge: 2}},
		{"a large event", "/api/v2/event", strings.Repeat(" ", maxLine+1), nil, 413, "",
			map[string]int{reasonTooLarge: 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, k := serve(t, nil)
			if status := post(t, s, tt.target, tt.body, tt.header...); status != tt.status {
				t.Errorf("status %d, want %d", status, tt.status)
			}
			if got := strings.Join(k.got(), ","); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			for reason, n := range tt.drops {
				if k.dropped()[reason] != n {
					t.Errorf("dropped %v, want %v", k.dropped(), tt.drops)
				}
			}
			if tt.drops == nil && len(k.dropped()) > 0 {
				t.Errorf("dropped %v", k.dropped())
			}
		})
	}
}

// A request that finds no room is refused: its sender keeps it. The next one on
// the same connection is taken.
func TestHTTPNoRoom(t *testing.T) {
	s, k := serve(t, func(o *Options) { o.RoomWait = time.Nanosecond })
	k.answers = slices.Repeat([]error{telemetry.ErrNoRoom}, 2)
	if status := post(t, s, "/", "a 1\n"); status != 503 {
		t.Errorf("status %d, want 503", status)
	}
	k.mu.Lock()
	k.answers = []error{telemetry.ErrOver}
	k.mu.Unlock()
	if status := post(t, s, "/", "b 1\n"); status != 503 {
		t.Errorf("status %d, want 503", status)
	}
	if status := post(t, s, "/", "c 1\n"); status != 202 {
		t.Errorf("status %d, want 202", status)
	}
	if got := strings.Join(k.got(), ","); got != "gauge c 1 @now" || len(k.dropped()) > 0 {
		t.Errorf("got %s, dropped %v", got, k.dropped())
	}
}

func TestHTTPMethods(t *testing.T) {
	s, k := serve(t, nil)
	answer, err := http.Get("http://" + s.Addr().String() + "/")
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	if answer.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("GET: %s", answer.Status)
	}
	send(t, s, "HEap.used 1\nPOST 2\n") // metrics, though two bytes of them are HTTP's
	want := []string{"gauge HEap.used 1 @now", "gauge POST 2 @now"}
	if diff := cmp.Diff(want, k.wait(2)); diff != "" {
		t.Error(diff)
	}
}

// seed is the function of the Wavefront seed, letter for letter.
const seed = `
import socket
import random
def lambda_handler(event, context):
    sock = socket.socket()
    sock.connect(('wavefront.local', 2878))
    sock.send("lambda.example %f\n" % random.random())
    sock.close()
    return True
`

// around runs it as its Python, the second, did on a machine where the name
// wavefront.local is localhost: text is sent as bytes, ports are the test's.
const around = `
import socket as real, sys
class Local(real.socket):
    def connect(self, address):
        name, port = address
        assert name == 'wavefront.local', name
        return real.socket.connect(self, ('localhost', int(sys.argv[1 if port == 2878 else 2])))
    def send(self, text):
        return real.socket.send(self, text if isinstance(text, bytes) else text.encode())
class Module:
    socket = Local
sys.modules['socket'] = Module
exec(%s)
assert lambda_handler({}, None) is True
exec(%s)
assert lambda_handler({}, None) is True
`

// The seed's example works, and the one that was changed to port 40001.
func TestSeedsPythonExample(t *testing.T) {
	s, k := serve(t, nil)
	minutes, m := serve(t, func(o *Options) { o.Minute = true })
	_, port, _ := net.SplitHostPort(s.Addr().String())
	_, minutePort, _ := net.SplitHostPort(minutes.Addr().String())
	script := fmt.Sprintf(around, quoted(seed), quoted(strings.ReplaceAll(seed, "2878", "40001")))
	out, err := exec.Command("python3", "-c", script, port, minutePort).CombinedOutput()
	if err != nil {
		t.Fatalf("python3: %v\n%s", err, out)
	}
	if got := k.wait(1)[0]; !strings.HasPrefix(got, "gauge lambda.example 0.") || !strings.HasSuffix(got, "@now") {
		t.Errorf("the example's line became %q", got)
	}
	if got := m.wait(1)[0]; !strings.HasPrefix(got, "distribution lambda.example 1×0.") {
		t.Errorf("the line for port 40001 became %q", got)
	}
}

func quoted(script string) string { return "'''" + strings.ReplaceAll(script, `\`, `\\`) + "'''" }

// Shutdown ends with its context, whatever a client does: half a request, lines
// without end.
func TestShutdownIsBounded(t *testing.T) {
	s, k := serve(t, nil)
	half := dial(t, s)
	if _, err := fmt.Fprint(half, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\na 1\n"); err != nil {
		t.Fatal(err)
	}
	endless := dial(t, s)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		for err := error(nil); err == nil; {
			_, err = fmt.Fprint(endless, "b 1\n")
		}
	}()
	k.wait(2)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := s.Shutdown(ctx); err != context.DeadlineExceeded {
		t.Errorf("shutdown: %v, want %v", err, context.DeadlineExceeded)
	}
	<-stopped
	n := len(k.got())
	if s.Close() != nil || len(k.got()) != n {
		t.Error("something was taken after Shutdown")
	}
}
