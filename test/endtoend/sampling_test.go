package endtoend_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"slipstream/emulator"
)

// ownMetrics are the slipstream.metrics records below a folder.
type ownMetrics struct {
	Intake   int `json:"slipstream.intake.records"`
	Received int `json:"slipstream.records.received"`
	Policy   struct {
		NotSampled int `json:"not_sampled"`
	} `json:"slipstream.policy.logs"`
}

// read gives everything below a folder, decompressed, and its own metrics added up.
func readFolder(t *testing.T, dir string) (text []byte, sum ownMetrics) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		body, err := os.ReadFile(path)
		text = append(text, decode(t, path, body)...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(text) {
		var record struct {
			Type   string
			Record ownMetrics
		}
		if !bytes.Contains(line, []byte(`"slipstream.metrics"`)) {
			continue
		}
		if err := json.Unmarshal(line, &record); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		sum.Intake += record.Record.Intake
		sum.Received += record.Record.Received
		sum.Policy.NotSampled += record.Record.Policy.NotSampled
	}
	return text, sum
}

// One in a hundred invocations fails, in every way; one in fifty of the others is
// kept. All lines of the failed ones are there, few others, and the counts agree
// with what was written.
func TestSamplingKeepsWhatFailed(t *testing.T) {
	const invocations, perInvocation = 400, 40
	dir := t.TempDir()
	for _, name := range []string{"ours", "platform"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s := play{
		env: map[string]string{
			"SLIPSTREAM_DESTINATIONS": fmt.Sprintf("file://%s/ours file://%s/platform?format=telemetry", dir, dir),
			"SLIPSTREAM_SAMPLE":       "50",
		},
		config:   bind(dir),
		function: func(f *emulator.Function) { f.Timeout = 5 * time.Second },
	}.start(t)
	failing := map[int]string{57: "error", 155: "handled", 256: "hang", 358: "exit"}
	for id := range invocations {
		s.invoke(t, fmt.Sprintf(`{"id":%d,"lines":%d,"bytes":800,"end":%q}`, id, perInvocation, failing[id]))
	}
	s.shutdown(t)
	delivered := inFolder(t, filepath.Join(dir, "ours"))
	_, sum := readFolder(t, filepath.Join(dir, "ours"))
	for id, end := range failing {
		for n := range perInvocation {
			if got := delivered[fmt.Sprintf("%d-%d", id, n)]; got != 1 {
				t.Errorf("line %d of the invocation that ends with %s was delivered %d times", n, end, got)
			}
		}
	}
	if missing := invocations*perInvocation - len(delivered); missing != sum.Policy.NotSampled {
		t.Errorf("%d lines are not there, %d are counted as not sampled", missing, sum.Policy.NotSampled)
	}
	if sum.Received != sum.Intake-sum.Policy.NotSampled {
		t.Errorf("of %d records %d were delivered and %d not sampled", sum.Intake, sum.Received, sum.Policy.NotSampled)
	}
	if len(delivered)%perInvocation != 0 {
		t.Errorf("%d lines are no whole invocations of %d", len(delivered), perInvocation)
	}
	sent, _ := readFolder(t, filepath.Join(dir, "platform"))
	all := 0
	deliveries, _ := s.recorder.Deliveries("slipstream-extension")
	for _, d := range deliveries {
		if d.Status == 200 {
			all += len(d.Body)
		}
	}
	t.Logf("%d of %d bytes sent, %d of %d lines", len(sent), all, len(delivered), invocations*perInvocation)
	if len(sent)*10 > all { // the platform's own events are all kept, and are most of it
		t.Errorf("%d of %d bytes were sent", len(sent), all)
	}
	if strings.Contains(s.log.String(), "level=ERROR msg") {
		t.Error("the log tells of a loss")
	}
}

// The extension is killed at random moments while it holds lines: what it held is
// kept, all of it and once. What had been decided stays decided.
func TestHeldLinesSurviveAKill(t *testing.T) {
	random := seed(t)
	const kills, perInvocation = 20, 30
	dir := t.TempDir()
	var faults []string
	killed := map[int]bool{}
	for i := range kills {
		faults = append(faults, fmt.Sprintf("kill:extension=slipstream-extension,invoke=%d,after=%dus",
			4*i+3, 1000+random.IntN(30_000)))
	}
	s := play{
		env: map[string]string{
			"SLIPSTREAM_DESTINATIONS": "file://" + dir + "?batch_bytes=8192", "SLIPSTREAM_SAMPLE": "0",
		},
		faults: faults, config: bind(dir),
	}.start(t)
	for id := range 4 * kills {
		result := s.invoke(t, fmt.Sprintf(`{"id":%d,"lines":%d,"bytes":100,"sleep_ms":40}`, id, perInvocation))
		killed[id] = result.FunctionError != ""
	}
	s.shutdown(t)
	delivered, taken := inFolder(t, dir), s.taken(t)
	perID := map[int][2]int{} // lines that were taken, and delivered
	for line := range taken {
		var id, n int
		if _, err := fmt.Sscanf(line, "%d-%d", &id, &n); err != nil {
			t.Fatal(err)
		}
		if delivered[line] > 1 {
			t.Errorf("line %s was delivered %d times", line, delivered[line])
		}
		counts := perID[id]
		perID[id] = [2]int{counts[0] + 1, counts[1] + delivered[line]}
	}
	died, kept := 0, 0
	for id := range 4 * kills {
		counts := perID[id]
		if killed[id] {
			died++
		}
		if counts[1] > 0 {
			kept++
		}
		if counts[1] != counts[0] && (killed[id] || counts[1] > 0) {
			t.Errorf("invocation %d (killed: %t): of %d lines that were taken %d were delivered", id, killed[id], counts[0],
				counts[1])
		}
	}
	var invented []string
	for line := range delivered {
		if taken[line] == 0 {
			invented = append(invented, line)
		}
	}
	slices.Sort(invented)
	t.Logf("%d extensions killed; %d of %d invocations kept; %d lines without a 200", died, kept, 4*kills, len(invented))
	if died < kills/2 || kept > 3*kills+1 {
		t.Error("the test has killed too little, or kept too much, to say anything")
	}
}

// What the function exports goes with its invocation, on every way: in one call
// that is answered, without an answer, and as a file that is read after the thaw.
func TestSamplingTakesExportsAlong(t *testing.T) {
	ways := []string{"http", "ipc", "file"}
	const invocations, items = 60, 5
	c := collect(t, map[string]string{"SLIPSTREAM_SAMPLE": "0"})
	// What is made before the first one is known is kept, and the last ones' at SHUTDOWN.
	failed, near := map[string]bool{}, map[string]bool{"0": true, fmt.Sprint(invocations - 1): true}
	for id := range invocations {
		fail := id%9 == 4
		failed[fmt.Sprint(id)] = fail
		near[fmt.Sprint(id-1)] = near[fmt.Sprint(id-1)] || fail // what is made at its end may be of the one that fails
		near[fmt.Sprint(id)] = near[fmt.Sprint(id)] || id > 0 && failed[fmt.Sprint(id-1)]
		if result := c.send(t, id, items, fmt.Sprintf(`,"fail":%t`, fail), ways...); (result.FunctionError != "") != fail {
			t.Fatalf("%s", result.Payload)
		}
	}
	c.shutdown(t)
	delivered, kept := c.delivered(t), map[string]int{}
	for name, n := range delivered {
		id := strings.Split(name, ".")[2]
		if n > 1 {
			t.Errorf("%s is there %d times", name, n)
		}
		if kept[id]++; !failed[id] && !near[id] {
			t.Errorf("%s is there, and nothing was wrong with its invocation", name)
		}
	}
	for id, fail := range failed {
		if fail && kept[id] != items*len(ways) {
			t.Errorf("invocation %s failed: %d of %d items are there", id, kept[id], items*len(ways))
		}
	}
	dropped := 0
	for _, m := range regexp.MustCompile(`exports=map\[not_sampled:(\d+)\]`).FindAllStringSubmatch(c.log.String(), -1) {
		n, _ := strconv.Atoi(m[1])
		dropped += n
	}
	if all := invocations * items * len(ways); len(delivered)+dropped != all {
		t.Errorf("of %d items %d are there, %d are counted as not sampled", all, len(delivered), dropped)
	}
}

// The extension is killed while it holds what the function has exported: the next
// process keeps all of it, once, and what had been answered with 200 is never lost
// but by a decision.
func TestHeldExportsSurviveAKill(t *testing.T) {
	random := seed(t)
	const kills = 12
	var faults []string
	for i := range kills {
		faults = append(faults, fmt.Sprintf("kill:extension=slipstream-extension,invoke=%d,after=%dus",
			5*i+2, 1000+random.IntN(30_000)))
	}
	c := collect(t, map[string]string{"SLIPSTREAM_SAMPLE": "0"}, faults...)
	killed := map[string]bool{}
	for id := range 5 * kills {
		result := c.send(t, id, 40, `,"pause_us":300,"lenient":true`, "http", "file")
		killed[fmt.Sprint(id)] = result.FunctionError != ""
	}
	c.shutdown(t)
	state, delivered := c.sent(t), c.delivered(t)
	spared, lost := 0, []string{} // of invocations that nothing has happened to
	for name, n := range delivered {
		if n > 1 {
			t.Errorf("%s was delivered %d times", name, n)
		}
		if !killed[strings.Split(name, ".")[2]] {
			spared++
		}
	}
	died := 0
	for name, word := range state {
		if id := strings.Split(name, ".")[2]; killed[id] && word == "sent" && delivered[name] == 0 {
			lost = append(lost, name)
		}
	}
	for _, was := range killed {
		if was {
			died++
		}
	}
	slices.Sort(lost)
	t.Logf("%d extensions killed; of other invocations %d of %d items are kept", died, spared, (5*kills-died)*80)
	if len(lost) > 0 {
		t.Errorf("of the invocations that were killed %d items were lost: %.1000v", len(lost), lost)
	}
	if died < kills/2 || spared > (5*kills-died)*80/2 {
		t.Error("the test has killed too little, or kept too much, to say anything")
	}
}
