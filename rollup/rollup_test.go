package rollup

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metricspb "go.opentelemetry.io/proto/slim/otlp/metrics/v1"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/testing/protocmp"

	"slipstream/telemetry"
	"slipstream/test/exported"
	"slipstream/wire"
	"slipstream/wire/metrics"
)

// minute is the start of a bin.
var minute = time.Unix(1_700_000_040, 0)

func tags(pairs ...string) (tags []telemetry.Tag) {
	for i := 0; i < len(pairs); i += 2 {
		tags = append(tags, telemetry.Tag{Key: []byte(pairs[i]), Value: []byte(pairs[i+1])})
	}
	return tags
}

func point(kind telemetry.PointKind, name string, v float64, pairs ...string) *telemetry.Point {
	return &telemetry.Point{Kind: kind, Name: []byte(name), Value: v, Count: 1, Tags: tags(pairs...)}
}

func counter(name string, v float64, pairs ...string) *telemetry.Point {
	return point(telemetry.Counter, name, v, pairs...)
}

func timer(name string, v float64, pairs ...string) *telemetry.Point {
	return point(telemetry.Distribution, name, v, pairs...)
}

// only gives the export of the one bin there is.
func only(t testing.TB, bins []*Bin) *metricspb.MetricsData {
	t.Helper()
	if len(bins) != 1 {
		t.Fatalf("%d bins", len(bins))
	}
	return exported.Read(t, bins[0].AppendExport(nil))
}

func metric(t testing.TB, data *metricspb.MetricsData, name string) *metricspb.Metric {
	t.Helper()
	var found *metricspb.Metric
	for _, r := range data.ResourceMetrics {
		for _, s := range r.ScopeMetrics {
			for _, m := range s.Metrics {
				if m.Name == name {
					if found != nil {
						t.Fatalf("%s is there twice", name)
					}
					found = m
				}
			}
		}
	}
	return found
}

// What each kind goes out as, with all the rest of a data point.
func TestExport(t *testing.T) {
	r := New(Config{Source: "shop", MaxBuckets: 4})
	at := minute.Add(20 * time.Second)
	for i, p := range []*telemetry.Point{
		counter("orders", 2, "b", "2", "a", "1"), counter("orders", 0.5, "a", "1", "b", "2"), counter("orders", -1),
		point(telemetry.Gauge, "heat", 3), point(telemetry.Gauge, "heat", 7), point(telemetry.Gauge, "heat", 5),
		point(telemetry.GaugeChange, "queue", -4, "k", "x", "k", "y"),
		timer("took", 1), timer("took", 2), timer("took", 0), timer("took", -8),
		{Kind: telemetry.Set, Name: []byte("users"), Member: []byte("ann"), Source: []byte("host")},
		{Kind: telemetry.Set, Name: []byte("users"), Member: []byte("bob"), Source: []byte("host")},
	} {
		p.Unit = map[string]string{"took": "ms"}[string(p.Name)]
		r.Add(p, at.Add(time.Duration(i)))
	}
	var want metricspb.MetricsData
	long := strings.NewReplacer("SHOP", `attributes { key: "source" value { string_value: "shop" } }`,
		"MINUTE", "start_time_unix_nano: 1700000040000000000 time_unix_nano: 1700000100000000000",
		": DELTA", ": AGGREGATION_TEMPORALITY_DELTA").Replace(wantExport)
	if err := prototext.Unmarshal([]byte(long), &want); err != nil {
		t.Fatal(err)
	}
	got := only(t, r.Close(minute.Add(65*time.Second), false))
	if diff := cmp.Diff(&want, got, protocmp.Transform()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if c := r.Counts(); c.Points != 13 || c.Overflowed != 0 || len(c.Dropped) != 0 || len(c.Mixed) != 0 {
		t.Errorf("%+v", c)
	}
	if r.Bytes() != 0 {
		t.Errorf("%d bytes are left", r.Bytes())
	}
}

// Points of one moment, of one name: every kind, tag, source and unit is a
// series of its own, and none overwrites another.
func TestIdentity(t *testing.T) {
	r := New(Config{})
	name := func(change func(*telemetry.Point)) {
		p := counter("m", 1, "k", "v")
		change(p)
		r.Add(p, minute)
	}
	for range 2 {
		name(func(*telemetry.Point) {})
		name(func(p *telemetry.Point) { p.Kind = telemetry.Gauge })
		name(func(p *telemetry.Point) { p.Kind = telemetry.Distribution })
		name(func(p *telemetry.Point) { p.Unit = "s" })
		name(func(p *telemetry.Point) { p.Source = []byte("a") })
		name(func(p *telemetry.Point) { p.Tags = nil })
		name(func(p *telemetry.Point) { p.Tags = tags("k", "w") })
		name(func(p *telemetry.Point) { p.Tags = tags("k", "v", "l", "x") })
		name(func(p *telemetry.Point) { p.Tags = tags("l", "x", "k", "v") })
		name(func(p *telemetry.Point) { p.Resource = []byte{10, 0} })
		name(func(p *telemetry.Point) { p.Tags[0].Key = []byte("k\xff") })
		name(func(p *telemetry.Point) { p.Tags[0].Key = []byte("k\ufffd") })
	}
	b := r.Close(minute, true)[0]
	if b.Series() != 10 || b.Points() != 24 {
		t.Errorf("%d series, %d points", b.Series(), b.Points())
	}
	if diff := cmp.Diff([]string{"m"}, r.Counts().Mixed); diff != "" {
		t.Error(diff)
	}
	total := 0.0
	for _, s := range b.sums {
		total += s.value()
	}
	if exported.Read(t, b.AppendExport(nil)); total != 20 {
		t.Errorf("the sums are %g", total)
	}
}

// A minute that was emitted already gets another part: what a reader adds up is
// right, and no two parts have the same time.
func TestLatePointsAddUp(t *testing.T) {
	r := New(Config{})
	sum, times := 0.0, map[uint64]bool{}
	var whole, merged histogram
	add := func(now time.Duration, v float64) {
		for _, p := range []*telemetry.Point{counter("c", v), timer("d", v)} {
			p.Time = minute.Add(30 * time.Second)
			r.Add(p, minute.Add(now))
		}
		whole.insert(v, 1, 320)
	}
	closeAt := func(now time.Duration, all bool, parts int) {
		t.Helper()
		closed := r.Close(minute.Add(now), all)
		if len(closed) != parts {
			t.Fatalf("%v: %d bins closed, want %d", now, len(closed), parts)
		}
		for _, b := range closed {
			p := metric(t, exported.Read(t, b.AppendExport(nil)), "c").GetSum().DataPoints[0]
			sum += p.GetAsDouble()
			merged.merge(&b.histograms[0], 320)
			start, end := time.Unix(0, int64(p.StartTimeUnixNano)), time.Unix(0, int64(p.TimeUnixNano))
			if start.Before(minute) || !start.Before(end) || end.After(minute.Add(time.Minute)) || times[p.TimeUnixNano] {
				t.Errorf("a part from %v to %v", start, end)
			}
			times[p.TimeUnixNano] = true
		}
	}
	add(40*time.Second, 1)
	closeAt(50*time.Second, false, 0)
	closeAt(50*time.Second, true, 1) // as MAX_STALENESS asks
	add(55*time.Second, 2)
	closeAt(64*time.Second, false, 0)
	closeAt(65*time.Second, false, 1)
	for i := range 5 {
		add(70*time.Second+time.Duration(i)*time.Second, 3)
		closeAt(80*time.Second, false, 1)
	}
	if sum != 18 || len(times) != 7 {
		t.Errorf("sum %g in %d parts", sum, len(times))
	}
	if diff := cmp.Diff(shapeOf(&whole), shapeOf(&merged)); diff != "" {
		t.Error(diff)
	}
}

func TestTimes(t *testing.T) {
	now := minute.Add(10 * time.Second)
	r := New(Config{MaxBins: 3})
	at := func(kind telemetry.PointKind, when time.Time) {
		p := point(kind, fmt.Sprint("m", kind), 1)
		p.Time = when
		r.Add(p, now)
	}
	at(telemetry.Counter, now.Add(-2*time.Hour))
	at(telemetry.Counter, time.Time{}.Add(1))
	at(telemetry.Gauge, now.Add(-2*time.Hour))
	at(telemetry.Gauge, now.Add(time.Hour))
	at(telemetry.Counter, time.Unix(1<<50, 0))
	at(telemetry.Counter, now.Add(-10*time.Minute))
	at(telemetry.Counter, now.Add(5*time.Minute))
	at(telemetry.Counter, now.Add(-20*time.Minute)) // a fourth bin
	c := r.Counts()
	want := []map[string]int{{"time_past": 2, "time_future": 1, "bins": 1}, {"time_past": 1, "time_future": 1}}
	if diff := cmp.Diff(want, []map[string]int{c.Clamped, c.Dropped}); diff != "" {
		t.Error(diff)
	}
	var starts []time.Duration
	sum := 0.0
	for _, b := range r.Close(now, true) {
		starts = append(starts, b.Start().Sub(minute))
		sum += b.sums[0].value()
	}
	if diff := cmp.Diff([]time.Duration{-10 * time.Minute, 0, 5 * time.Minute}, starts); diff != "" || sum != 6 {
		t.Error(diff, sum)
	}
	hour := &telemetry.Point{Kind: telemetry.Distribution, Name: []byte("h"), Bin: time.Hour, Time: minute,
		Centroids: []telemetry.Centroid{{Value: 1, Count: 3}, {Value: 2, Count: 0}}}
	r.Add(hour, now)
	if b := r.Close(now.Add(24*time.Hour), false)[0]; b.Width() != time.Hour || b.histograms[0].count != 4 {
		t.Errorf("a bin of %v with %d values", b.Width(), b.histograms[0].count)
	}
}

func TestLimits(t *testing.T) {
	long := strings.Repeat("ü", 1000)
	r := New(Config{MaxSeries: 16, MaxTags: 2})
	for i := range 20 {
		r.Add(counter("many", 1, "i", fmt.Sprint(i)), minute)
	}
	r.Add(counter("tags", 1, "a", "", "b", "", "c", ""), minute)
	r.Add(counter("key", 1, long, ""), minute)
	for range 50 {
		r.Add(counter("value", 1, "k", long), minute)
	}
	r.Add(counter(fmt.Sprint("another", "name"), 1), minute) // no place for its overflow any more
	for _, v := range []float64{math.NaN(), math.Inf(1)} {
		r.Add(counter("bad", v), minute)
		r.Add(timer("bad", v), minute)
		r.Add(&telemetry.Point{Kind: telemetry.Distribution, Centroids: []telemetry.Centroid{{Value: v, Count: 1}}}, minute)
	}
	c := r.Counts()
	if diff := cmp.Diff(Counts{Points: 22, Overflowed: 6, Clamped: map[string]int{},
		Dropped: map[string]int{"not_finite": 6, "overflow": 51}}, c); diff != "" {
		t.Error(diff)
	}
	data := only(t, r.Close(minute, true))
	overflow := 0.0
	for _, p := range metric(t, data, "many").GetSum().DataPoints {
		if p.Attributes[0].Key == "otel.metric.overflow" && p.Attributes[0].Value.GetBoolValue() {
			overflow += p.GetAsDouble()
		}
	}
	if overflow != 4 {
		t.Errorf("%g of 20 are in the overflow series", overflow)
	}
}

// Memory short of its bound asks to be closed, and at the bound takes no series.
func TestMemoryIsBounded(t *testing.T) {
	r := New(Config{MaxBytes: 64 << 10, MaxSeries: 1 << 20})
	for i := range 10_000 {
		r.Add(counter("m", 1, "i", fmt.Sprint(i)), minute.Add(time.Second))
	}
	if r.Bytes() > 65<<10 || r.Counts().Overflowed == 0 || !r.Due().Equal(minute.Add(time.Second)) {
		t.Errorf("%d bytes, due %v, %+v", r.Bytes(), r.Due(), r.Counts())
	}
	if bins := r.Close(minute.Add(time.Second), false); len(bins) != 1 || r.Bytes() != 0 || !r.Due().IsZero() {
		t.Errorf("%d bins, %d bytes", len(bins), r.Bytes())
	}
}

func TestAddAllocatesNothing(t *testing.T) {
	r := New(Config{Journal: true})
	points := []*telemetry.Point{counter("c", 1, "b", "2", "a", "1"), point(telemetry.Gauge, "g", 2, "a", "1"),
		timer("d", 3, "a", "1"), point(telemetry.GaugeChange, "x", 1),
		{Kind: telemetry.Set, Name: []byte("s"), Member: []byte("m")}}
	add := func() {
		for i, p := range points {
			r.Add(p, minute.Add(time.Duration(i)))
		}
		r.Flush(func(*Bin, []byte, int) {})
	}
	add()
	if n := testing.AllocsPerRun(1000, add); n > 0 {
		t.Errorf("%g allocations for %d points", n, len(points))
	}
}

// Running totals have one start for ever and only grow, also past the limit.
func TestCumulative(t *testing.T) {
	r := New(Config{Cumulative: true, MaxSeries: 8})
	begin, last := minute.Add(-time.Hour), map[string]float64{}
	values := 0
	for i := range 10 {
		now := minute.Add(time.Duration(i) * time.Minute)
		for j := range 6 {
			r.Add(counter("c", 1, "k", fmt.Sprint(i+j)), now)
			r.Add(timer("d", float64(i)), now)
			values++
		}
		r.Add(point(telemetry.Gauge, "g", 1), now)
		data := exported.Read(t, r.Close(now.Add(65*time.Second), false)[0].AppendCumulative(nil, begin, now))
		sum := metric(t, data, "c").GetSum()
		for _, p := range sum.DataPoints {
			key := p.Attributes[0].String()
			if p.GetAsDouble() < last[key] || p.StartTimeUnixNano != uint64(begin.UnixNano()) ||
				p.TimeUnixNano != uint64(now.UnixNano()) || sum.AggregationTemporality != 2 {
				t.Errorf("%v after %g", p, last[key])
			}
			last[key] = p.GetAsDouble()
		}
		if d := metric(t, data, "d").GetExponentialHistogram(); d.DataPoints[0].Count != uint64(values) ||
			d.AggregationTemporality != 2 {
			t.Errorf("%v, want %d values", d, values)
		}
	}
	total := 0.0
	for _, v := range slices.Collect(maps.Values(last)) {
		total += v
	}
	if total != 60 || len(last) != 8 {
		t.Errorf("%d series have %g in all", len(last), total)
	}
}

// Equal bins are equal bytes, however the points came.
func TestExportIsDeterministic(t *testing.T) {
	random := newRandom(t)
	var want []byte
	points := make([]*telemetry.Point, 0, 200)
	for i := range 200 {
		points = append(points, counter(fmt.Sprint("m", i%7), 1, "k", fmt.Sprint(i%13), "l", fmt.Sprint(i%3)),
			timer("d", float64(i), "k", fmt.Sprint(i%5)))
	}
	for range 5 {
		r := New(Config{})
		for _, i := range random.Perm(len(points)) {
			r.Add(points[i], minute)
		}
		x := r.Close(minute.Add(time.Hour), false)[0].AppendExport(nil)
		if want == nil {
			want = x.Body
		}
		if !bytes.Equal(want, x.Body) {
			t.Fatal("another order, other bytes")
		}
	}
}

// What a rollup gives can be rolled up again, as an aggregator does: each
// environment stays by itself, and nothing changes.
func TestExportIsRolledUpAgain(t *testing.T) {
	random := newRandom(t)
	again := New(Config{MaxSeries: 10_000})
	var want []byte
	for i := range 2 {
		r := New(Config{})
		for range 300 {
			s := anySample(random, minute)
			if s.Kind != telemetry.Gauge && s.Kind != telemetry.Set {
				s.Time = minute.Add(time.Duration(random.IntN(60)) * time.Second)
				s.Tags = append(s.Tags, telemetry.Tag{Key: []byte("code"), Value: []byte{3 << 3, 200, 1}, Typed: true})
				s.Description = []byte("what it means")
				s.add(r, minute)
			}
		}
		x := r.Close(minute.Add(time.Hour), false)[0].AppendExport(nil)
		completion := wire.NewCompletion(&telemetry.Resource{EnvironmentID: fmt.Sprint("environment-", i)})
		want = completion.Complete(want, x.Signal, x.Body)
	}
	var s metrics.Splitter
	rest := s.Split(nil, want, func(p *telemetry.Point, h *metrics.Histogram) bool {
		sample{p, h}.add(again, minute)
		return true
	})
	got := again.Close(minute.Add(time.Hour), false)[0].AppendExport(nil)
	if diff := cmp.Diff(exported.Read(t, telemetry.Export{Body: want, Records: got.Records}), exported.Read(t, got),
		protocmp.Transform()); diff != "" || rest.Records != 0 {
		t.Errorf("%d records are left (-want +got):\n%s", rest.Records, diff)
	}
}
