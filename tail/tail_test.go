package tail

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"

	"slipstream/rollup"
	"slipstream/telemetry"
	"slipstream/wire"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var at = time.Date(2026, 10, 1, 9, 0, 0, 0, time.UTC)

// golden compares got with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (go test ./tail -update rewrites it):\n%s", name, diff)
	}
}

// delivered is what an extension delivers: its lines and requests.
func delivered(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("testdata/delivered.ndjson")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(text)), "\n")
}

func TestLines(t *testing.T) {
	for name, color := range map[string]bool{"lines.golden": false, "colors.golden": true} {
		var got bytes.Buffer
		out := bufio.NewWriter(&got)
		view := NewLines(out, color)
		unknown := 0
		for _, line := range delivered(t) {
			if err := Line(view, []byte(line)); err != nil {
				unknown++
			}
		}
		if err := out.Flush(); err != nil || unknown != 2 {
			t.Errorf("%d unknown lines, want 2: %v", unknown, err)
		}
		golden(t, name, strings.ReplaceAll(got.String(), "\x1b", "ESC"))
	}
}

// What a function writes must not reach the terminal as a command.
func TestTextIsSafe(t *testing.T) {
	for text, want := range map[string]string{
		"a\x1b[2Jb": `a\x1b[2Jb`, "a\u009b1mb": `a\u009b1mb`, "a\u202eb": `a\u202eb`, "a\tb": "a  b", "a\r\nb": "a\n  b",
		"höher": "höher", "a\x00b": `a\x00b`, "a\xffb": `a\ufffdb`,
	} {
		if got := clean(text, "  "); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
	if got := clean(strings.Repeat("x", maxText+5), ""); !strings.HasSuffix(got, "x… (5 bytes more)") {
		t.Errorf("a long text ends with %q", got[len(got)-30:])
	}
}

// JSON gives lines that are read again as the same.
func TestJSON(t *testing.T) {
	write := func(lines []string) string {
		var got bytes.Buffer
		out := bufio.NewWriter(&got)
		for _, line := range lines {
			_ = Line(NewJSON(out), []byte(line))
		}
		_ = out.Flush()
		return got.String()
	}
	once := write(delivered(t))
	if twice := write(strings.Split(once, "\n")); once != twice || strings.Count(once, "\n") != len(delivered(t))-2 {
		t.Errorf("%d lines of %d: %s", strings.Count(once, "\n"), len(delivered(t)), cmp.Diff(once, twice))
	}
}

// exported is what an extension makes of points: ten minutes of three functions, as
// the rollup writes them.
func exported(t *testing.T) [][]byte {
	t.Helper()
	r := rollup.New(rollup.Config{})
	dice := rand.New(rand.NewPCG(1, 2))
	var bodies [][]byte
	for minute := range 10 {
		now := at.Add(time.Duration(minute) * time.Minute)
		add := func(kind telemetry.PointKind, name, unit string, v float64, tags ...string) {
			p := telemetry.Point{Kind: kind, Name: []byte(name), Unit: unit, Value: v, Count: 1, Time: now}
			for i := 0; i < len(tags); i += 2 {
				p.Tags = append(p.Tags, telemetry.Tag{Key: []byte(tags[i]), Value: []byte(tags[i+1])})
			}
			if !r.Add(&p, now) {
				t.Fatalf("%s: not taken", name)
			}
		}
		for range 20 + 10*minute {
			add(telemetry.Counter, "aws.lambda.invocations", "{invocation}", 1, "faas.coldstart", "false")
			add(telemetry.Distribution, "aws.lambda.post_runtime_duration", "s", 0.002+0.001*dice.Float64())
			add(telemetry.Distribution, "aws.lambda.duration", "s", 0.05*float64(minute+1)+dice.Float64())
			add(telemetry.Counter, "aws.lambda.estimated_cost", "{USD}", 2.1e-6)
		}
		if minute%4 == 0 {
			add(telemetry.Counter, "aws.lambda.invocations", "{invocation}", 1, "faas.coldstart", "true")
		}
		add(telemetry.Gauge, "aws.lambda.memory.used", "By", float64(90+minute)*(1<<20))
		add(telemetry.Gauge, "aws.lambda.memory.used", "By", float64(100+minute)*(1<<20))
		add(telemetry.Gauge, "Shop.Ünïcode.temperature", "Cel", -3.5)
		for _, b := range r.Close(now.Add(time.Minute), true) {
			x := b.AppendExport(nil)
			body := wire.NewCompletion(&telemetry.Resource{ServiceName: "checkout"}).Complete(nil, x.Signal, x.Body)
			bodies = append(bodies, body)
		}
	}
	return bodies
}

func table(t *testing.T, c TableConfig, bodies ...[]byte) *Table {
	t.Helper()
	c.Now = func() time.Time { return at.Add(time.Hour) }
	made, err := NewTable(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, body := range bodies {
		if err := made.Export(&telemetry.Export{Signal: telemetry.Metrics, Body: body}); err != nil {
			t.Fatal(err)
		}
	}
	return made
}

func TestTable(t *testing.T) {
	made := table(t, TableConfig{}, exported(t)...)
	for name, columns := range map[string]int{"table80.golden": 80, "table140.golden": 140} {
		lines := made.Draw(Size{Columns: columns}, false)
		for _, line := range lines {
			if n := len([]rune(line)); n > columns {
				t.Errorf("%d columns of %d: %s", n, columns, line)
			}
		}
		golden(t, name, strings.Join(lines, "\n")+"\n")
	}
	text, err := made.AppendJSON(nil)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "table.json.golden", string(text))
	for rows := 3; rows < 20; rows++ {
		if got := made.Draw(Size{Columns: 80, Rows: rows}, true); len(got) > rows {
			t.Errorf("%d lines of %d", len(got), rows)
		}
	}
}

// While a minute goes on its sum is no rate yet.
func TestRateIsOfAWholeBin(t *testing.T) {
	made := table(t, TableConfig{Name: "aws.lambda.invocations"}, exported(t)...)
	rates := func(now time.Time) (list []float64) {
		made.Advance(now)
		for _, s := range made.sorted() {
			list = append(list, made.rate(s))
		}
		return list
	}
	if got := rates(at.Add(9*time.Minute + time.Second)); got[0] != 100.0/60 || got[1] != 1.0/60 {
		t.Errorf("in the last minute: %v", got)
	}
	if got := rates(at.Add(10*time.Minute + time.Second)); got[0] != 110.0/60 {
		t.Errorf("after it: %v", got)
	}
}

func TestTableIsFiltered(t *testing.T) {
	made := table(t, TableConfig{Name: "*.duration"}, exported(t)...)
	if len(made.series) != 1 {
		t.Errorf("%d series, want one", len(made.series))
	}
	if _, err := NewTable(TableConfig{Name: "[a"}); err == nil {
		t.Error("a pattern that is none is taken")
	}
}

// Percentiles are those of the values, within what sketch promises.
func TestPercentiles(t *testing.T) {
	made := table(t, TableConfig{Name: "aws.lambda.post_runtime_duration"}, exported(t)...)
	for _, s := range made.series {
		for i, want := range []float64{0.0025, 0.0029, 0.00299} { // evenly from 2 to 3 ms
			if got := s.percentiles()[i]; got < want*0.93 || got > want*1.07 {
				t.Errorf("%v, want about %v", got, want)
			}
		}
		if s.count != 650 {
			t.Errorf("%v values, want 650", s.count)
		}
	}
}

// Bounds hold whatever comes, and what is left out is said.
func TestTableIsBounded(t *testing.T) {
	made := table(t, TableConfig{})
	var metrics strings.Builder
	for i := range maxSeries + 50 {
		fmt.Fprintf(&metrics, `{"name":"n%d","gauge":{"dataPoints":[{"timeUnixNano":"%d","asInt":"1"}]}},`, i,
			at.Add(time.Duration(i)*time.Minute).UnixNano())
	}
	line := `{"resourceMetrics":[{"scopeMetrics":[{"metrics":[` + strings.TrimSuffix(metrics.String(), ",") + `]}]}]}`
	if err := Line(made, []byte(line)); err != nil {
		t.Fatal(err)
	}
	for i := range 10 * maxHistory {
		one := fmt.Sprintf(`{"resourceMetrics":[{"resource":{"attributes":[{"key":"faas.instance","value":{"stringValue":`+
			`"e%d"}}]},"scopeMetrics":[{"metrics":[{"name":"n1","gauge":{"dataPoints":[{"timeUnixNano":"%d"}]}}]}]}]}`, i,
			at.Add(-time.Duration(i)*time.Minute).UnixNano())
		if err := Line(made, []byte(one)); err != nil {
			t.Fatal(err)
		}
	}
	if head := made.Draw(Size{Columns: 120}, false)[0]; !strings.Contains(head, "50 points of more than 1000 series") {
		t.Errorf("nothing is said of what is left out: %s", head)
	}
	for _, s := range made.series {
		if len(s.bins) > maxHistory {
			t.Errorf("%d bins", len(s.bins))
		}
	}
}

// Running totals: what is new counts, per environment; one that began anew, too.
func TestCumulative(t *testing.T) {
	made := table(t, TableConfig{})
	tell := func(instance string, minute, start, count int) {
		t.Helper()
		times := fmt.Sprintf(`"startTimeUnixNano":"%d","timeUnixNano":"%d"`,
			at.Add(time.Duration(start)*time.Minute).UnixNano(), at.Add(time.Duration(minute)*time.Minute).UnixNano())
		line := fmt.Sprintf(`{"resourceMetrics":[{"resource":{"attributes":[{"key":"faas.instance","value":`+
			`{"stringValue":%q}}]},`+
			`"scopeMetrics":[{"metrics":[{"name":"c","sum":{"aggregationTemporality":2,"isMonotonic":true,"dataPoints":[{%s,`+
			`"asDouble":%d}]}},{"name":"h","exponentialHistogram":{"aggregationTemporality":2,"dataPoints":[{%s,"count":"%d",`+
			`"sum":%d,"scale":3,"positive":{"offset":-1,"bucketCounts":["%d"]}}]}}]}]}]}`,
			instance, times, count, times, count, count, count)
		if err := Line(made, []byte(line)); err != nil {
			t.Fatal(err)
		}
	}
	tell("a", 1, 0, 5)
	tell("a", 2, 0, 7)
	tell("b", 2, 0, 10)
	tell("a", 3, 0, 7)
	tell("a", 4, 3, 2) // it began anew, and says so
	tell("b", 4, 0, 1) // and without saying so
	tell("b", 5, 0, 3)
	for i := range maxInstances + 10 {
		tell(fmt.Sprint("more", i), 5, 0, 1)
	}
	for _, s := range made.series {
		want := 7.0 + 2 + 10 + 3 + maxInstances + 10
		if got := s.total; got != want {
			t.Errorf("%s: %v, want %v", s.name, got, want)
		}
		if len(s.instances) > maxInstances {
			t.Errorf("%s: %d instances", s.name, len(s.instances))
		}
		if s.kind == distribution {
			all := 0.0
			for _, i := range s.instances {
				for _, n := range i.sketch.positive {
					all += n
				}
			}
			for _, n := range s.sketch.positive {
				all += n
			}
			if all != want {
				t.Errorf("the distribution has %v values, want %v", all, want)
			}
		}
	}
}

// A clock that is wrong must not move the history away.
func TestTimesToCome(t *testing.T) {
	made := table(t, TableConfig{})
	line := fmt.Sprintf(`{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"a","gauge":{"dataPoints":[`+
		`{"timeUnixNano":"%d","asInt":"1"}]}}]}]}]}`, at.AddDate(50, 0, 0).UnixNano())
	if err := Line(made, []byte(line)); err != nil {
		t.Fatal(err)
	}
	if want := made.binOf(at.Add(time.Hour).UnixNano()); made.newest != want {
		t.Errorf("the newest bin is %d, want %d: now's", made.newest, want)
	}
}

// Of a file that is cut short the whole lines are read, not the piece of one.
func TestCutFile(t *testing.T) {
	var whole bytes.Buffer
	z := gzip.NewWriter(&whole)
	_, _ = z.Write([]byte("first\nsecond"))
	_ = z.Flush()
	path := filepath.Join(t.TempDir(), "cut.gz")
	if err := os.WriteFile(path, whole.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := NewFolder(path, at)
	if err != nil {
		t.Fatal(err)
	}
	var got, warned []string
	take := func(line []byte) error {
		got = append(got, string(line))
		return nil
	}
	warn := func(err error) { warned = append(warned, err.Error()) }
	err = f.Poll(context.Background(), take, warn)
	if err != nil || strings.Join(got, "|") != "first" ||
		!strings.Contains(strings.Join(warned, ""), "cut short: unexpected EOF") {
		t.Errorf("got %q, told %q: %v", got, warned, err)
	}
}

func TestFolderHasEachFileOnce(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, age time.Duration) {
		t.Helper()
		path := filepath.Join(dir, filepath.FromSlash(name))
		err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644),
			os.Chtimes(path, time.Time{}, at.Add(-age)))
		if err != nil {
			t.Fatal(err)
		}
	}
	f, err := NewFolder(dir, at.Add(-time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	poll := func() string {
		var got, warned []string
		err := f.Poll(context.Background(), func(line []byte) error {
			got = append(got, string(line))
			if strings.HasPrefix(string(line), "bad") {
				return errors.New("a bad line")
			}
			return nil
		}, func(err error) { warned = append(warned, strings.ReplaceAll(err.Error(), dir, "DIR")) })
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(append(got, warned...), "|")
	}
	write("b/2.ndjson", "three\n", time.Minute)
	write("1.ndjson", "one\ntwo", 2*time.Minute)
	write("old.ndjson", "old\n", 2*time.Hour)
	write(".3.ndjson.tmp", "half", 0)
	if got := poll(); got != "one|two|three" {
		t.Errorf("first %q", got)
	}
	write("b/4.log", "bad 1\ngood\nbad 2\n", 0)
	write("empty.gz", "", 0)
	write("5.gz", "\x1f\x8b\x08", 0)
	want := "bad 1|good|bad 2|read DIR/5.gz: the file is broken, or cut short: unexpected EOF|" +
		"read DIR/b/4.log: line 1: a bad line|read DIR/b/4.log: 2 lines in all are unknown"
	if got := poll(); got != want {
		t.Errorf("then %q, want %q", got, want)
	}
	if got := poll(); got != "" {
		t.Errorf("again %q", got)
	}
	_, err = NewFolder(filepath.Join(dir, "nowhere"), at)
	if err == nil || !strings.Contains(err.Error(), "no such folder") {
		t.Errorf("a folder that is not there: %v", err)
	}
}
