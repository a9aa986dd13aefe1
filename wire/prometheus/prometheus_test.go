package prometheus

import (
	"strconv"
	"strings"
	"testing"
	"time"

	metricspb "go.opentelemetry.io/proto/slim/otlp/metrics/v1"

	"slipstream/test/exported"
	"slipstream/wire/otlpread"
)

// encode gives the request and what was dropped.
func encode(o Options, records []byte) ([]byte, map[string]int) {
	dropped := map[string]int{}
	return New(o).AppendBody(nil, records, func(reason string, n int) { dropped[reason] += n }), dropped
}

func TestNames(t *testing.T) {
	point := exported.Counted(time.Unix(1, 0), 1)
	for in, want := range map[string]string{
		"faas.invoke_duration s":     "faas_invoke_duration_seconds",
		"system.memory.usage By":     "system_memory_usage_bytes",
		"memory.bytes By":            "memory_bytes",
		"a..b {thing}":               "a_b",
		"7up 1":                      "_7up_ratio",
		"http.server.request.total ": "http_server_request_total",
		"rate By/s":                  "rate_bytes_per_second",
		"speed m/{x}":                "speed_meters",
		"ü ":                         "_",
		"usage %":                    "usage_percent",
		"odd foo^2":                  "odd_foo_2",
	} {
		metric, unit, _ := strings.Cut(in, " ")
		body, _ := encode(Options{}, exported.Metrics(t, exported.Gauge(metric, unit, point)))
		if !strings.Contains(string(body), "\x22"+string(rune(len(want)))+want) { // field 4, its length, the text
			t.Errorf("%s: no %s in %q", in, want, body)
		}
	}
	for in, want := range map[string]string{"requests ": "requests_total", "io_total By": "io_bytes_total",
		"c 1": "c_total"} {
		metric, unit, _ := strings.Cut(in, " ")
		body, _ := encode(Options{}, exported.Metrics(t, exported.Sum(metric, unit, 2, true, point)))
		if !strings.Contains(string(body), "\x22"+string(rune(len(want)))+want) {
			t.Errorf("%s: no %s in %q", in, want, body)
		}
	}
}

func TestNothingIsNoByte(t *testing.T) {
	delta := exported.Sum("d", "", 1, true, exported.Counted(time.Unix(1, 0), 1))
	if body, _ := encode(Options{}, exported.Metrics(t, delta)); len(body) > 0 {
		t.Errorf("%q", body)
	}
}

func TestSamplesAreInOrder(t *testing.T) {
	at := time.Unix(100, 0)
	body, dropped := encode(Options{}, exported.Metrics(t,
		exported.Gauge("g", "", exported.Counted(at.Add(time.Hour), 1), exported.Counted(at, 2), exported.Counted(at, 3)),
		exported.ExponentialHistogram("h", "s", 2, exported.Exponential(at.Add(time.Hour), 2, 1),
			exported.Exponential(at, 2, 1))))
	if err := checkRequest(body); err != nil || dropped["superseded"] != 1 {
		t.Errorf("%v, dropped %v", err, dropped)
	}
}

// Buckets stand in spans; up to two empty ones are cheaper than another span.
func TestSpans(t *testing.T) {
	for _, tt := range []struct {
		offset  int32
		counts  []uint64
		coarser int32
		want    string
	}{
		{-1, []uint64{5, 3}, 0, "\x5a\x04\x08\x00\x10\x02" + "\x62\x02\x0a\x03"},              // from bucket 0 two: 5, -2
		{0, []uint64{1, 0, 0, 1}, 0, "\x5a\x04\x08\x02\x10\x04" + "\x62\x04\x02\x01\x00\x02"}, // the gap is written
		{0, []uint64{1, 0, 0, 0, 1}, 0,
			"\x5a\x04\x08\x02\x10\x01" + "\x5a\x04\x08\x06\x10\x01" + "\x62\x02\x02\x00"},
		{-2, []uint64{1, 1, 1, 1}, 1, "\x5a\x04\x08\x00\x10\x02" + "\x62\x02\x04\x00"}, // two by two
		{7, []uint64{0, 0}, 0, ""},
	} {
		b := otlpread.Buckets{Offset: tt.offset, Counts: tt.counts}
		if got := new(request).appendBuckets(nil, 11, 12, b, tt.coarser); string(got) != tt.want {
			t.Errorf("%+v: %q, not %q", tt, got, tt.want)
		}
	}
}

func FuzzAppendBody(f *testing.F) {
	f.Add(exported.Metrics(f, exported.Gauge("g", "By/s", exported.Counted(time.Unix(1, 0), 1, "a", "b")),
		exported.ExponentialHistogram("h", "s", 2, exported.Exponential(time.Unix(1, 0), 9, 1, 2, -3, 0))))
	f.Fuzz(func(t *testing.T, records []byte) {
		one, _ := encode(Options{}, records)
		two, _ := encode(Options{}, records)
		if string(one) != string(two) {
			t.Error("equal records give other bytes")
		}
		if len(one) > 0 && checkRequest(one) != nil {
			t.Errorf("%v: %q", checkRequest(one), one)
		}
	})
}

// What is allocated are the body's own lists, nothing for a point.
func TestNoAllocationForEachPoint(t *testing.T) {
	points := make([]*metricspb.NumberDataPoint, 1000)
	for i := range points {
		points[i] = exported.Counted(time.Unix(int64(i), 0), float64(i), "route", "/cart")
	}
	body := exported.Metrics(t, exported.Sum("requests", "", 2, true, points...))
	e := New(Options{})
	var dst []byte
	if n := testing.AllocsPerRun(10, func() { dst = e.AppendBody(dst[:0], body, func(string, int) {}) }); n > 200 {
		t.Errorf("%v allocations for 1,000 points", n)
	}
}

func BenchmarkAppendBody(b *testing.B) {
	points := make([]*metricspb.NumberDataPoint, 1000)
	for i := range points {
		points[i] = exported.Counted(time.Unix(int64(i), 0), float64(i), "route", "/cart", "status", strconv.Itoa(i%10))
	}
	body := exported.Metrics(b, exported.Sum("requests", "", 2, true, points...))
	e := New(Options{})
	var dst []byte
	for b.Loop() {
		dst = e.AppendBody(dst[:0], body, func(string, int) {})
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/point")
}
