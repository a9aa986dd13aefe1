package endtoend_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"slipstream/emulator"
)

// everyWay is how a function can send something.
var everyWay = []string{"statsd", "wavefront", "file", "ipc", "http", "forward"}

// vendor is whom requests are forwarded to. It knows a request that comes again
// by its Idempotency-Key.
type vendor struct {
	*httptest.Server
	mu    sync.Mutex
	seen  map[string]int  // by the item's name
	keys  map[string]bool // of requests
	again int             // requests with a key that was there before
}

func newVendor(t *testing.T) *vendor {
	v := &vendor{seen: map[string]int{}, keys: map[string]bool{}}
	v.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		name, below := strings.CutPrefix(r.URL.Path, "/base/")
		if err != nil || !below || string(body) != "body of "+name {
			t.Errorf("forwarded: %s %q %v", r.URL, body, err)
		}
		v.mu.Lock()
		defer v.mu.Unlock()
		if key := r.Header.Get("Idempotency-Key"); key == "" || v.keys[key] {
			v.again++
			return
		}
		v.keys[r.Header.Get("Idempotency-Key")] = true
		v.seen[name]++
	}))
	t.Cleanup(v.Close)
	return v
}

// collecting is a stage whose function is the sender.
type collecting struct {
	*stage
	folder, written string
	vendor          *vendor
}

// collect starts the sender beside our extension.
func collect(t *testing.T, env map[string]string, faults ...string) *collecting {
	t.Helper()
	return collectAs(t, "", env, faults...)
}

// collectAs does it in another kind of environment.
func collectAs(t *testing.T, kind string, env map[string]string, faults ...string) *collecting {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "out"), 0o755); err != nil {
		t.Fatal(err)
	}
	c := &collecting{folder: filepath.Join(dir, "out"), written: filepath.Join(dir, "written"), vendor: newVendor(t)}
	all := map[string]string{
		"SLIPSTREAM_DESTINATIONS": "file://" + c.folder + "?types=logs%2Ctraces%2Cmetrics",
		"SLIPSTREAM_LISTEN":       "all", "SLIPSTREAM_FORWARD": "/vendor=" + c.vendor.URL + "/base",
		"SLIPSTREAM_SELF_METRICS": "false", "SENDER_WRITTEN": c.written,
	}
	for name, value := range env {
		all[name] = value
	}
	c.stage = play{
		env: all, config: bind(dir), faults: faults,
		function: func(f *emulator.Function) { f.Command, f.InitType = []string{program(t, sender)}, kind },
	}.start(t)
	return c
}

// send has the function send, and fails if that does.
func (c *collecting) send(t *testing.T, id, items int, more string, ways ...string) emulator.Result {
	t.Helper()
	names, err := json.Marshal(ways)
	if err != nil {
		t.Fatal(err)
	}
	return c.invoke(t, fmt.Sprintf(`{"id":%d,"items":%d,"ways":%s%s}`, id, items, names, more))
}

var itemName = regexp.MustCompile(`item\.[a-z]+\.b?\d+\.\d+`)

// delivered counts the items in the folder and at the vendor.
func (c *collecting) delivered(t *testing.T) map[string]int {
	t.Helper()
	items := map[string]int{}
	err := filepath.WalkDir(c.folder, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		body, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, name := range itemName.FindAllString(string(decode(t, path, body)), -1) {
			items[name]++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	c.vendor.mu.Lock()
	defer c.vendor.mu.Unlock()
	for name, n := range c.vendor.seen {
		items[name] += n
	}
	return items
}

// expectOnce: what the function says it has sent arrived once, the rest at most
// once. It gives how many were sent on each way.
func (c *collecting) expectOnce(t *testing.T) map[string]int {
	t.Helper()
	state, delivered, sent := c.sent(t), c.delivered(t), map[string]int{}
	var lost, doubled, invented []string
	for name, word := range state {
		if word == "sent" {
			sent[strings.Split(name, ".")[1]]++
			if delivered[name] == 0 {
				lost = append(lost, name)
			}
		}
	}
	for name, n := range delivered {
		if n > 1 {
			doubled = append(doubled, name)
		}
		if state[name] == "" {
			invented = append(invented, name)
		}
	}
	if len(lost)+len(doubled)+len(invented) > 0 {
		for _, list := range [][]string{lost, doubled, invented} {
			slices.Sort(list)
		}
		t.Errorf("of %d items %d lost %.2000v, %d doubled %.500v, %d were never sent %.500v",
			len(state), len(lost), lost, len(doubled), doubled, len(invented), invented)
	}
	return sent
}

// sent tells of each item whether it was sent, or tried, or has failed.
func (c *collecting) sent(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile(c.written)
	if err != nil {
		t.Fatal(err)
	}
	state := map[string]string{}
	for line := range strings.Lines(string(text)) {
		word, name, _ := strings.Cut(strings.TrimSpace(line), " ")
		state[name] = word
	}
	return state
}

// Every way of sending, invocation after invocation with a freeze after each.
// SHUTDOWN comes straight after the last answer, while things lie in the folder
// and in the sockets.
func TestEverythingThatTheFunctionSends(t *testing.T) {
	c := collect(t, nil)
	const invocations, items = 12, 20
	for id := range invocations {
		if result := c.send(t, id, items, "", everyWay...); result.FunctionError != "" {
			t.Fatalf("%s", result.Payload)
		}
	}
	c.shutdown(t)
	sent := c.expectOnce(t)
	for _, way := range everyWay {
		if sent[way] != invocations*items {
			t.Errorf("%s: %d items sent, not %d", way, sent[way], invocations*items)
		}
	}
	if c.vendor.again > 0 {
		t.Errorf("%d requests forwarded again", c.vendor.again)
	}
	if log := c.log.String(); strings.Contains(log, "level=ERROR") || strings.Contains(log, "level=WARN") {
		t.Errorf("the log tells of trouble:\n%s", tail(c.log.others(), 2000))
	}
}

// Only the defaults: no listener is named.
func TestTheStandardListeners(t *testing.T) {
	c := collect(t, map[string]string{"SLIPSTREAM_LISTEN": "otlp,handoff", "SLIPSTREAM_FORWARD": ""})
	if result := c.send(t, 0, 10, "", "http", "file", "ipc"); result.FunctionError != "" {
		t.Fatalf("%s", result.Payload)
	}
	c.shutdown(t)
	if sent := c.expectOnce(t); sent["http"] != 10 || sent["file"] != 10 || sent["ipc"] != 10 {
		t.Errorf("%v", sent)
	}
}

// The function goes on sending after its response: it is frozen in the middle of
// that, thawed by the next invocation, and ended by SHUTDOWN.
func TestSendingBetweenInvocations(t *testing.T) {
	c := collect(t, nil)
	c.send(t, 0, 1, `,"background":true,"pause_us":300`, everyWay...)
	const enough = 50
	id := 1
	for end := time.Now().Add(patience); c.slowest(t) < enough; id++ {
		if result := c.send(t, id, 3, `,"pause_us":500`, "http", "file"); result.FunctionError != "" {
			t.Fatalf("%s", result.Payload)
		}
		c.idle(t)
		if time.Now().After(end) {
			t.Fatalf("in %d invocations fewer than %d items were sent on a way", id, enough)
		}
	}
	c.shutdown(t)
	sent := c.expectOnce(t)
	t.Logf("%d invocations; sent: %v", id, sent)
}

// The function's last words, at SIGTERM: when SHUTDOWN comes to the extension,
// the process is gone and everything lies in the folder and in the sockets.
func TestWhatIsSentAtTheVeryEnd(t *testing.T) {
	const items = 20
	for _, way := range everyWay {
		t.Run(way, func(t *testing.T) {
			c := collect(t, nil)
			c.send(t, 0, items, `,"farewell":true`, way)
			c.idle(t)
			c.shutdown(t)
			if sent := c.expectOnce(t); sent[way] != items {
				t.Errorf("%d items sent, not %d", sent[way], items)
			}
		})
	}
}

// slowest is how many items were sent on the way that has sent the fewest.
func (c *collecting) slowest(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile(c.written)
	if err != nil {
		t.Fatal(err)
	}
	least := strings.Count(string(text), "sent ")
	for _, way := range everyWay {
		least = min(least, strings.Count(string(text), "sent item."+way+"."))
	}
	return least
}

// What the extension has answered with 200, and what lies in the folder, survives
// a SIGKILL: the environment's next process delivers it once. A request that was
// on its way to the vendor then goes there again, with the same key.
func TestAcknowledgedItemsSurviveAKill(t *testing.T) {
	random := seed(t)
	const kills = 12
	var faults []string
	for i := range kills {
		faults = append(faults, fmt.Sprintf("kill:extension=slipstream-extension,invoke=%d,after=%dus",
			2*i+2, 1000+random.IntN(30_000)))
	}
	c := collect(t, nil, faults...)
	for id := range 2 * kills {
		c.send(t, id, 40, `,"pause_us":300,"lenient":true`, "http", "file", "forward")
	}
	if result := c.send(t, 2*kills, 1, "", "http", "file", "forward"); result.FunctionError != "" {
		t.Errorf("after the kills: %s", result.Payload)
	}
	c.shutdown(t)
	sent, died := c.expectOnce(t), 0
	for _, end := range c.recorder.ProcessEnds() {
		if end.Signal == 9 && end.Extension != "" {
			died++
		}
	}
	t.Logf("%d extensions killed; sent %v; %d requests forwarded again", died, sent, c.vendor.again)
	if died < kills/2 || sent["http"] < 40*kills/2 {
		t.Error("the test has killed too little, or sent too little, to say anything")
	}
}

// A port that another process has is a warning; the function and the rest of the
// collector do not notice.
func TestAPortThatIsTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	datagrams, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer datagrams.Close()
	c := collect(t, map[string]string{"SLIPSTREAM_LISTEN": "all,otlp-grpc=" + taken.Addr().String() +
		",wavefront-minute=" + taken.Addr().String() + ",statsd=" + datagrams.LocalAddr().String()})
	for id := range 3 {
		result := c.send(t, id, 5, "", "wavefront", "file", "ipc", "http", "forward")
		if result.FunctionError != "" {
			t.Fatalf("%s", result.Payload)
		}
	}
	c.shutdown(t)
	if sent := c.expectOnce(t); sent["http"] != 15 || sent["wavefront"] != 15 {
		t.Errorf("%v", sent)
	}
	for _, name := range []string{"otlp-grpc", "wavefront-minute", "statsd"} {
		if !regexp.MustCompile(`level=WARN .*listener=` + name + ` .*in use`).MatchString(c.log.String()) {
			t.Errorf("no warning names %s", name)
		}
	}
}

// What the extension opens: nothing but the receiver of the Telemetry API with
// none, and only loopback and Unix sockets with all.
func TestWhatListens(t *testing.T) {
	for list, want := range map[string][3]int{ // TCP besides the receiver, UDP, Unix
		"none": {}, "otlp": {1, 0, 0}, "statsd": {0, 1, 0}, "handoff": {0, 0, 2}, "all": {4, 1, 2},
	} {
		t.Run(list, func(t *testing.T) {
			c := collect(t, map[string]string{"SLIPSTREAM_LISTEN": list, "SLIPSTREAM_FORWARD": ""})
			result := c.invoke(t, `{"sockets":true}`)
			var open map[string][]string
			if err := json.Unmarshal(result.Payload, &open); err != nil || result.FunctionError != "" {
				t.Fatalf("%s: %v", result.Payload, err)
			}
			if got := [3]int{len(open["tcp"]) - 1, len(open["udp"]), len(open["unix"])}; got != want {
				t.Errorf("%v, want %v: %v", got, want, open)
			}
			loopback := 0
			for _, address := range slices.Concat(open["tcp"], open["udp"]) {
				if regexp.MustCompile(`^[0-9A-F]{6}7F:`).MatchString(address) {
					loopback++
				}
			}
			if loopback < want[0]+want[1] {
				t.Errorf("others than the receiver are not on loopback: %v", open)
			}
			for _, path := range open["unix"] {
				if !strings.HasPrefix(path, "/tmp/slipstream/") {
					t.Errorf("a socket at %s", path)
				}
			}
			c.shutdown(t)
			if n := strings.Count(c.log.String(), "level=WARN"); n > 0 {
				t.Errorf("%d warnings", n)
			}
		})
	}
}
