package endtoend_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"slipstream/test/servers"
)

// distribution is what a metric has come to: by OpenTelemetry's rules, worked out
// here once more.
type distribution struct {
	points   int // data points
	count    uint64
	sum      float64
	min, max float64
	scale    int
	buckets  map[int]uint64
}

// add takes buckets of a scale; the coarser one counts.
func (d *distribution) add(scale int, buckets map[int]uint64) {
	if d.buckets == nil {
		d.buckets, d.scale = map[int]uint64{}, scale
	}
	to := min(d.scale, scale)
	merged := map[int]uint64{}
	for i, n := range d.buckets {
		merged[i>>(d.scale-to)] += n
	}
	for i, n := range buckets {
		merged[i>>(scale-to)] += n
	}
	d.scale, d.buckets = to, merged
}

// of is the distribution of values at a scale.
func of(values []float64, scale int) *distribution {
	d := &distribution{scale: scale, buckets: map[int]uint64{}, min: math.Inf(1), max: math.Inf(-1)}
	for _, v := range values {
		d.count++
		d.sum += v
		d.min, d.max = min(d.min, v), max(d.max, v)
		d.buckets[bucketOf(v, scale)]++
	}
	return d
}

func bucketOf(v float64, scale int) int { return int(math.Ceil(math.Ldexp(math.Log2(v), scale))) - 1 }

// number is a member of OTLP/JSON that may be a text.
type number float64

func (n *number) UnmarshalJSON(b []byte) error {
	v, err := strconv.ParseFloat(strings.Trim(string(b), `"`), 64)
	*n = number(v)
	return err
}

// metricsOf is a line of a file: an export of metrics.
type metricsOf struct {
	ResourceMetrics []struct {
		ScopeMetrics []struct {
			Metrics []struct {
				Name string
				Sum  struct {
					DataPoints []struct {
						Attributes json.RawMessage
						AsDouble   number
					}
					AggregationTemporality int
				}
				ExponentialHistogram struct {
					DataPoints []struct {
						Attributes    json.RawMessage
						Count         number
						Sum, Min, Max float64
						Scale         int
						Positive      struct {
							Offset       int
							BucketCounts []number
						}
					}
					AggregationTemporality int
				}
			}
		}
	}
}

// measuredIn puts together what came to a folder.
func measuredIn(t *testing.T, folder string) map[string]*distribution {
	t.Helper()
	all := map[string]*distribution{}
	err := filepath.WalkDir(folder, func(path string, file fs.DirEntry, err error) error {
		if err != nil || file.IsDir() {
			return err
		}
		body, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for line := range bytes.Lines(decode(t, path, body)) {
			var m metricsOf
			if !bytes.HasPrefix(line, []byte(`{"resourceMetrics"`)) {
				continue
			}
			if err := json.Unmarshal(line, &m); err != nil {
				return fmt.Errorf("%s: %w", line, err)
			}
			m.collect(func(name string, _ json.RawMessage) *distribution { return entry(all, name) })
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// entry is a distribution in all, a new one if there is none.
func entry(all map[string]*distribution, name string) *distribution {
	d := all[name]
	if d == nil {
		d = &distribution{min: math.Inf(1), max: math.Inf(-1)}
		all[name] = d
	}
	return d
}

// collect adds the data points, each to what into gives for it.
func (m *metricsOf) collect(into func(name string, attributes json.RawMessage) *distribution) {
	for _, r := range m.ResourceMetrics {
		for _, s := range r.ScopeMetrics {
			for _, metric := range s.Metrics {
				for _, p := range metric.Sum.DataPoints {
					d := into(metric.Name, p.Attributes)
					d.points++
					d.sum += float64(p.AsDouble)
				}
				for _, p := range metric.ExponentialHistogram.DataPoints {
					d := into(metric.Name, p.Attributes)
					d.points++
					d.count += uint64(p.Count)
					d.sum += p.Sum
					d.min, d.max = min(d.min, p.Min), max(d.max, p.Max)
					buckets := map[int]uint64{}
					for i, n := range p.Positive.BucketCounts {
						buckets[p.Positive.Offset+i] += uint64(n)
					}
					d.add(p.Scale, buckets)
				}
			}
		}
	}
}

// values are those that the function has sent on a way: those that were answered
// for, and those of which nobody knows.
func (c *collecting) values(t *testing.T, way string) (sent, unsure []float64) {
	t.Helper()
	text, err := os.ReadFile(c.written)
	if err != nil {
		t.Fatal(err)
	}
	open := map[string]int{}
	for line := range strings.Lines(string(text)) {
		word, name, _ := strings.Cut(strings.TrimSpace(line), " ")
		number, ok := strings.CutPrefix(name, way+"=")
		if !ok {
			continue
		}
		v, err := strconv.ParseFloat(number, 64)
		if err != nil {
			t.Fatal(err)
		}
		switch word {
		case "try":
			open[number]++
		case "sent":
			open[number]--
			sent = append(sent, v)
		}
	}
	for number, n := range open {
		v, _ := strconv.ParseFloat(number, 64)
		unsure = append(unsure, slices.Repeat([]float64{v}, n)...)
	}
	return sent, unsure
}

// logged are the values of lines in what the extension has answered with 200, and
// those of the others that the function has written.
func (c *collecting) logged(t *testing.T, way, mark string) (sent, unsure []float64) {
	t.Helper()
	deliveries, dropped := c.recorder.Deliveries("slipstream-extension")
	if dropped > 0 {
		t.Fatalf("%d deliveries are not known", dropped)
	}
	written, more := c.values(t, way)
	unsure = append(written, more...)
	for _, d := range deliveries {
		for _, part := range strings.Split(string(d.Body), mark)[1:] {
			end := strings.IndexFunc(part, func(r rune) bool { return (r < '0' || r > '9') && r != '.' })
			v, err := strconv.ParseFloat(part[:max(end, 0)], 64)
			if err != nil || d.Status != 200 || way == "m.emf" && part[end] != '}' {
				continue // a record that was cut, or a line by the end of its process
			}
			sent = append(sent, v)
			if i := slices.Index(unsure, v); i >= 0 {
				unsure = slices.Delete(unsure, i, i+1)
			}
		}
	}
	return sent, unsure
}

// subset finds up to most of the unsure values that add up to rest, exactly.
func subset(unsure []float64, rest float64, most int) (n int, ok bool) {
	if rest == 0 {
		return 0, true
	}
	for i := 0; i < len(unsure) && rest > 0 && most > 0; i++ {
		if n, ok := subset(unsure[i+1:], rest-unsure[i], most-1); ok {
			return n + 1, true
		}
	}
	return 0, false
}

// expectSum is expect for a counter. Few requests are under way when a process is
// killed, so few of the unsure values have come.
func expectSum(t *testing.T, name string, got *distribution, sent, unsure []float64) {
	t.Helper()
	const most = 4
	sum := of(sent, 0).sum
	n, ok := subset(unsure, got.sum-sum, most)
	if !ok {
		t.Errorf("%s: the sum is %g, that of %d values sent is %g; %d are unsure", name, got.sum, len(sent), sum, len(unsure))
	}
	t.Logf("%s: %d values sent, %d unsure of which %d came; %d data points", name, len(sent), len(unsure), n, got.points)
}

// expect compares what came of a metric with what was sent: each value that was
// answered for once, each other at most once.
func expect(t *testing.T, name string, got *distribution, sent, unsure []float64) {
	t.Helper()
	if got == nil {
		t.Errorf("%s: nothing came of %d values", name, len(sent))
		return
	}
	if got.buckets == nil {
		expectSum(t, name, got, sent, unsure)
		return
	}
	sure, may := of(sent, got.scale), map[int][]float64{}
	slices.Sort(unsure)
	for _, v := range unsure {
		at := bucketOf(v, got.scale)
		may[at] = append(may[at], v)
	}
	came, low, high := 0, sure.sum, sure.sum // of those, the least and the most that they may add
	for i, n := range got.buckets {
		more := int(n) - int(sure.buckets[i])
		delete(sure.buckets, i)
		if more < 0 || more > len(may[i]) {
			t.Errorf("%s: bucket %d has %d values, %d more than were sent, and %d may be there", name, i, n, more, len(may[i]))
			continue
		}
		came += more
		low += of(may[i][:more], 0).sum
		high += of(may[i][len(may[i])-more:], 0).sum
	}
	t.Logf("%s: %d values sent, %d unsure of which %d came; %d data points", name, len(sent), len(unsure), came,
		got.points)
	if len(sure.buckets) > 0 || got.sum < low || got.sum > high || got.count != sure.count+uint64(came) {
		t.Errorf("%s: %d values with the sum %g, not %g to %g; lost %v", name, got.count, got.sum, low, high, sure.buckets)
	}
	if got.min > sure.min || got.max < sure.max || came == 0 && (got.min != sure.min || got.max != sure.max) {
		t.Errorf("%s: from %g to %g, sent were %g to %g", name, got.min, got.max, sure.min, sure.max)
	}
}

// Points are merged, and the merged result has each value that was answered for
// exactly once, in its bucket: whenever the extension is killed or frozen.
func TestMergedPointsSurviveKills(t *testing.T) {
	random := seed(t)
	const kills = 12
	var faults []string
	for i := range kills {
		faults = append(faults, fmt.Sprintf("kill:extension=slipstream-extension,invoke=%d,after=%dus",
			2*i+2, 1000+random.IntN(40_000)))
	}
	c := collect(t, map[string]string{"SLIPSTREAM_MAX_STALENESS": "300ms", "SLIPSTREAM_FORWARD": ""}, faults...)
	ways := []string{"m.lines", "m.delta", "m.log", "m.emf"}
	for id := range 2 * kills {
		c.send(t, id, 30, `,"pause_us":200,"lenient":true`, ways...)
		time.Sleep(time.Duration(random.IntN(150)) * time.Millisecond) // frozen
	}
	if result := c.send(t, 2*kills, 1, "", ways...); result.FunctionError != "" {
		t.Errorf("after the kills: %s", result.Payload)
	}
	c.shutdown(t)
	got := measuredIn(t, c.folder)
	total := 0
	for _, way := range ways {
		sent, unsure := c.values(t, way)
		switch way {
		case "m.log":
			sent, unsure = c.logged(t, way, " m.log ")
		case "m.emf":
			sent, unsure = c.logged(t, way, `\"emf\":`)
		}
		expect(t, way,
			got[way], sent, unsure)
		total += len(sent)
	}
	died := 0
	for _, end := range c.recorder.ProcessEnds() {
		if end.Signal == 9 && end.Extension != "" {
			died++
		}
	}
	t.Logf("%d extensions killed", died)
	if died < kills/2 || total < 30*kills*len(ways)/2 {
		t.Errorf("the test has killed too little (%d), or sent too little (%d), to say anything", died, total)
	}
}

// Without a kill every way comes to exactly what was sent, in few data points.
func TestPointsAreMerged(t *testing.T) {
	for _, kind := range []string{"on-demand", "snap-start"} {
		t.Run(kind, func(t *testing.T) { pointsAreMerged(t, kind) })
	}
}

func pointsAreMerged(t *testing.T, kind string) {
	c := collectAs(t, kind, map[string]string{"SLIPSTREAM_FORWARD": ""})
	ways := []string{"m.lines", "m.delta", "m.statsd", "m.tcp", "m.log", "m.emf"}
	const invocations = 8
	for id := range invocations {
		if result := c.send(t, id, 25, "", ways...); result.FunctionError != "" {
			t.Fatalf("%s", result.Payload)
		}
	}
	c.shutdown(t)
	got := measuredIn(t, c.folder)
	for _, way := range ways {
		sent, _ := c.values(t, way)
		expect(t, way, got[way], sent, nil)
		if got[way] != nil && got[way].points > 6 { // a minute's parts
			t.Errorf("%s: %d data points", way, got[way].points)
		}
	}
	if n := got["aws.lambda.invocations"]; n == nil || n.sum != invocations {
		t.Errorf("invocations: %+v", n)
	}
	if log := c.log.String(); strings.Contains(log, "level=ERROR") || strings.Contains(log, "level=WARN") {
		t.Errorf("the log tells of trouble:\n%s", tail(c.log.others(), 2000))
	}
}

// received puts together what a collector has got: deltas add up, of running totals
// the last of each series counts.
func received(t *testing.T, server *servers.OTLP, cumulative bool) map[string]*distribution {
	t.Helper()
	all, series := map[string]*distribution{}, map[string]*distribution{}
	for _, line := range server.Received(t) {
		var m metricsOf
		if err := json.Unmarshal(line, &m); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		want := 1
		if cumulative {
			want = 2
		}
		m.collect(func(name string, attributes json.RawMessage) *distribution {
			if cumulative {
				delete(series, name+string(attributes))
				return entry(series, name+string(attributes))
			}
			return entry(all, name)
		})
		for _, r := range m.ResourceMetrics {
			for _, s := range r.ScopeMetrics {
				for _, metric := range s.Metrics {
					got := metric.Sum.AggregationTemporality + metric.ExponentialHistogram.AggregationTemporality
					if got != want && got != 0 { // a gauge has none
						t.Errorf("%s: temporality %d, want %d", metric.Name, got, want)
					}
				}
			}
		}
	}
	for key, d := range series {
		name, _, _ := strings.Cut(key, "[")
		sum := entry(all, name)
		sum.points += d.points
		sum.count += d.count
		sum.sum += d.sum
		sum.min, sum.max = min(sum.min, d.min), max(sum.max, d.max)
		if d.buckets != nil {
			sum.add(d.scale, d.buckets)
		}
	}
	return all
}

// A real OpenTelemetry Collector takes what was merged, as deltas and as running
// totals, and has every value.
func TestACollectorTakesMergedPoints(t *testing.T) {
	deltas, totals := servers.StartOTLP(t), servers.StartOTLP(t)
	c := collect(t, map[string]string{"SLIPSTREAM_FORWARD": "",
		"SLIPSTREAM_DESTINATIONS": "otlp+" + deltas.Endpoint + " otlp+" + totals.Endpoint + "?temporality=cumulative"})
	ways := []string{"m.lines", "m.delta", "m.statsd", "m.tcp", "m.log", "m.emf"}
	for id := range 6 {
		if result := c.send(t, id, 25, "", ways...); result.FunctionError != "" {
			t.Fatalf("%s", result.Payload)
		}
	}
	c.shutdown(t)
	for name, got := range map[string]map[string]*distribution{
		"deltas": received(t, deltas, false), "totals": received(t, totals, true),
	} {
		for _, way := range ways {
			sent, _ := c.values(t, way)
			expect(t, name+" of "+way, got[way], sent, nil)
		}
	}
}
