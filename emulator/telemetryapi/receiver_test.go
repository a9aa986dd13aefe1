package telemetryapi

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what has to happen.
const patience = 20 * time.Second

// receiver is an extension's listener: a real HTTP server that keeps the bodies.
type receiver struct {
	server *httptest.Server
	mu     sync.Mutex
	bodies []string
	// answer, if set, is called before the body is kept and gives the status, 0 after
	// a hijack.
	answer func(w http.ResponseWriter, n int, body []byte) (status int)
	tries  int
	broken int // requests whose body ended early
}

func newReceiver(t *testing.T, answer func(w http.ResponseWriter, n int, body []byte) int) *receiver {
	t.Helper()
	r := &receiver{answer: answer}
	r.server = httptest.NewServer(http.HandlerFunc(r.serve))
	t.Cleanup(r.server.Close)
	return r
}

func (r *receiver) serve(w http.ResponseWriter, q *http.Request) {
	body, err := io.ReadAll(q.Body)
	r.mu.Lock()
	if err != nil {
		r.broken++
		r.mu.Unlock()
		return
	}
	r.tries++
	n := r.tries
	r.mu.Unlock()
	status := http.StatusOK
	if r.answer != nil {
		status = r.answer(w, n, body)
	}
	if status == 0 {
		return // hijacked
	}
	if status < 400 {
		r.mu.Lock()
		r.bodies = append(r.bodies, string(body))
		r.mu.Unlock()
	}
	w.WriteHeader(status)
}

func (r *receiver) got() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.bodies...)
}

func (r *receiver) tried() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.tries
}

func (r *receiver) uri() string {
	_, port, _ := net.SplitHostPort(r.server.Listener.Addr().String())
	return "http://sandbox.localdomain:" + port + "/in?a=1"
}

// request is a subscription body for r with more members, for example
// `"types":["function"]`; those given replace the defaults.
func (r *receiver) request(members ...string) string {
	return subscriptionTo(fmt.Sprintf(`{"protocol":"HTTP","URI":%q}`, r.uri()), members...)
}

func subscriptionTo(destination string, members ...string) string {
	m := map[string]json.RawMessage{
		"schemaVersion": json.RawMessage(`"2022-12-13"`),
		"types":         json.RawMessage(`["platform","function","extension"]`),
		"buffering":     json.RawMessage(`{"maxItems":1000,"maxBytes":262144,"timeoutMs":25}`),
		"destination":   json.RawMessage(destination),
	}
	for _, text := range members {
		var more map[string]json.RawMessage
		if err := json.Unmarshal([]byte("{"+text+"}"), &more); err != nil {
			panic(err)
		}
		for k, v := range more {
			m[k] = v
		}
	}
	b, _ := json.Marshal(m)
	return string(b)
}

// newHub makes a Hub whose extensions name themselves in a header.
func newHub(t *testing.T, c Config) *Hub {
	t.Helper()
	c.Identify = func(w http.ResponseWriter, r *http.Request) (string, bool) {
		name := r.Header.Get("Name")
		if name == "" {
			w.WriteHeader(http.StatusForbidden)
		}
		return name, name != ""
	}
	h := New(c)
	t.Cleanup(h.Close)
	return h
}

// put sends a subscription to one of the APIs and gives status and body.
func put(h *Hub, api, name, body string) (int, string) {
	r := httptest.NewRequest(http.MethodPut, "/", strings.NewReader(body))
	r.Header.Set("Name", name)
	w := httptest.NewRecorder()
	if api == apiLogs {
		h.ServeLogs(w, r)
	} else {
		h.ServeTelemetry(w, r)
	}
	return w.Code, strings.TrimSpace(w.Body.String())
}

func subscribe(t *testing.T, h *Hub, api, name, body string) {
	t.Helper()
	if code, answer := put(h, api, name, body); code != 200 || answer != `"OK"` {
		t.Fatalf("subscribe: %d %s", code, answer)
	}
}

// eventually polls until ok, or fails the test after patience.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

func write(t *testing.T, w io.Writer, text string) {
	t.Helper()
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
}

var timeMember = regexp.MustCompile(`"time":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"`)

// timeless replaces the times in a body, which tests cannot know.
func timeless(body string) string { return timeMember.ReplaceAllString(body, `"time":"T"`) }

// received is an event as a test reads it.
type received struct {
	Time   time.Time       `json:"time"`
	Type   string          `json:"type"`
	Record json.RawMessage `json:"record"`
}

// text is the record if it is a string.
func (r received) text() string {
	var s string
	if json.Unmarshal(r.Record, &s) != nil {
		return ""
	}
	return s
}

var envelope = regexp.MustCompile(`^\[(\{"time":"[^"]*","type":"[^"]*","record":)`)

// join decodes bodies and puts records together that were cut. It knows only
// what the reference says: a body that is not valid JSON goes on in the next
// one, after a repeated envelope.
func join(bodies []string) ([]received, error) {
	var all []received
	var begun string
	for i, body := range bodies {
		if begun != "" {
			m := envelope.FindStringSubmatch(body)
			if m == nil {
				return nil, fmt.Errorf("body %d does not repeat an envelope: %.100s", i, body)
			}
			if at := strings.LastIndex(begun, `{"time":"`); !strings.HasPrefix(begun[at:], m[1]) {
				return nil, fmt.Errorf("body %d repeats %s, the cut record is %.100s", i, m[1], begun[at:])
			}
			body = begun + body[1+len(m[1]):]
			begun = ""
		}
		if !json.Valid([]byte(body)) {
			begun = body
			continue
		}
		var some []received
		if err := json.Unmarshal([]byte(body), &some); err != nil {
			return nil, fmt.Errorf("body %d: %w", i, err)
		}
		all = append(all, some...)
	}
	if begun != "" {
		return all, fmt.Errorf("the last record is not complete: %.100s", begun)
	}
	return all, nil
}

// tcpReceiver takes connections and keeps the lines of each.
type tcpReceiver struct {
	listener net.Listener
	mu       sync.Mutex
	lines    []string
	conns    int
	open     []net.Conn
	done     sync.WaitGroup
}

func newTCPReceiver(t *testing.T) *tcpReceiver {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &tcpReceiver{listener: l}
	r.done.Go(r.run)
	t.Cleanup(func() {
		_ = l.Close()
		r.mu.Lock()
		for _, conn := range r.open {
			_ = conn.Close()
		}
		r.mu.Unlock()
		r.done.Wait()
	})
	return r
}

func (r *tcpReceiver) run() {
	for {
		conn, err := r.listener.Accept()
		if err != nil {
			return
		}
		r.mu.Lock()
		r.conns++
		r.open = append(r.open, conn)
		r.mu.Unlock()
		r.done.Go(func() { r.read(conn) })
	}
}

func (r *tcpReceiver) read(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	in := bufio.NewReader(conn)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return
		}
		r.mu.Lock()
		r.lines = append(r.lines, string(bytes.TrimSuffix(line, []byte("\n"))))
		r.mu.Unlock()
	}
}

func (r *tcpReceiver) got() ([]string, int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.lines...), r.conns
}

func (r *tcpReceiver) request(members ...string) string {
	port := r.listener.Addr().(*net.TCPAddr).Port
	return subscriptionTo(fmt.Sprintf(`{"protocol":"TCP","port":%d}`, port), members...)
}

// quietPort is a port of the loopback that nobody can take, but nobody listens on
// until listen is called.
func quietPort(t *testing.T) (port int, listen func() net.Listener) {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	socket := os.NewFile(uintptr(fd), "reserved port")
	t.Cleanup(func() { _ = socket.Close() })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	address, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return address.(*syscall.SockaddrInet4).Port, func() net.Listener {
		if err := syscall.Listen(fd, 16); err != nil {
			t.Fatal(err)
		}
		l, err := net.FileListener(socket)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
}
