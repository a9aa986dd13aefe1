package wavefront

import (
	"context"
	"encoding/hex"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	commonpb "go.opentelemetry.io/proto/slim/otlp/common/v1"
	logspb "go.opentelemetry.io/proto/slim/otlp/logs/v1"
	metricspb "go.opentelemetry.io/proto/slim/otlp/metrics/v1"
	resourcepb "go.opentelemetry.io/proto/slim/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/slim/otlp/trace/v1"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"slipstream/telemetry"
	"slipstream/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testNow is a minute and a half past the hour.
var testNow = time.Date(2026, 11, 24, 2, 1, 30, 0, time.UTC)

// taker takes exports as the edge does, and tells each record as a line.
type taker struct {
	t       *testing.T
	mu      sync.Mutex
	records []string
	exports int
	drops   map[string]int
	answers []error // of the next calls of Take
}

func (k *taker) take(e *telemetry.Export) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.answers) > 0 {
		err := k.answers[0]
		k.answers = k.answers[1:]
		if err != nil {
			return err
		}
	}
	lines := tell(k.t, e)
	if len(lines) != e.Records {
		k.t.Errorf("an export of %d records says %d", len(lines), e.Records)
	}
	if n, err := wire.CheckExport(e.Signal, e.Body); err != nil || n != e.Records {
		k.t.Errorf("wire.CheckExport: %d records, %v, want %d", n, err, e.Records)
	}
	k.records = append(k.records, lines...)
	k.exports++
	return nil
}

func (k *taker) drop(reason string, n int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.drops[reason] += n
}

func (k *taker) got() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.records)
}

func (k *taker) dropped() map[string]int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return maps.Clone(k.drops)
}

// serve starts a server on a free port of the loopback.
func serve(t *testing.T, change func(*Options)) (*Server, *taker) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	k := &taker{t: t, drops: map[string]int{}}
	o := options(k)
	if change != nil {
		change(&o)
	}
	s := Serve(l, o)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s, k
}

func options(k *taker) Options {
	return Options{Take: k.take, Drop: k.drop, Now: func() time.Time { return testNow },
		Completion: wire.NewCompletion(&telemetry.Resource{FunctionName: "checkout", Region: "eu-west-2"})}
}

func dial(t *testing.T, s *Server) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// send writes text on a connection of its own and closes it.
func send(t *testing.T, s *Server, text string) {
	t.Helper()
	c := dial(t, s)
	if _, err := c.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

// records waits for n records.
func (k *taker) wait(n int) []string {
	k.t.Helper()
	eventually(k.t, fmt.Sprintf("%d records", n), func() bool { return len(k.got()) >= n })
	return k.got()
}

// tell makes a line of each record of an export, with protobuf's own decoder.
func tell(t *testing.T, e *telemetry.Export) (lines []string) {
	t.Helper()
	fail := func(err error) {
		if err != nil {
			t.Errorf("the oracle refuses an export of %s: %v", e.Signal, err)
		}
	}
	var resource *resourcepb.Resource
	switch e.Signal {
	case telemetry.Metrics:
		var data metricspb.MetricsData
		fail(proto.Unmarshal(e.Body, &data))
		for _, r := range data.ResourceMetrics {
			resource = r.Resource
			for _, s := range r.ScopeMetrics {
				for _, m := range s.Metrics {
					lines = append(lines, tellMetric(m)...)
				}
			}
		}
	case telemetry.Traces:
		var data tracepb.TracesData
		fail(proto.Unmarshal(e.Body, &data))
		for _, r := range data.ResourceSpans {
			resource = r.Resource
			for _, s := range r.ScopeSpans[0].Spans {
				lines = append(lines, tellSpan(s))
			}
		}
	case telemetry.Logs:
		var data logspb.LogsData
		fail(proto.Unmarshal(e.Body, &data))
		for _, r := range data.ResourceLogs {
			resource = r.Resource
			for _, l := range r.ScopeLogs[0].LogRecords {
				lines = append(lines, tellLog(l))
			}
		}
	}
	if whose := attributes(resource.GetAttributes()); !strings.Contains(whose, "faas.name=checkout") {
		t.Errorf("the resource is not the function's: %s", whose)
	}
	return lines
}

func tellMetric(m *metricspb.Metric) (lines []string) {
	add := func(kind string, from, to uint64, value string, tags []*commonpb.KeyValue) {
		at := stamp(to)
		if from != 0 && kind == "distribution" {
			at = stamp(from) + "+" + time.Duration(to-from).String()
		}
		lines = append(lines, strings.TrimSpace(fmt.Sprintf("%s %s %s @%s %s", kind, m.Name, value, at, attributes(tags))))
	}
	kind, points := "gauge", m.GetGauge().GetDataPoints()
	if sum := m.GetSum(); sum != nil {
		kind, points = "counter", sum.DataPoints
	}
	for _, p := range points {
		add(kind, p.StartTimeUnixNano, p.TimeUnixNano, float(p.GetAsDouble()), p.Attributes)
	}
	for _, p := range m.GetHistogram().GetDataPoints() {
		var values []string
		for i, bound := range p.ExplicitBounds {
			if n := p.BucketCounts[i]; n > 0 {
				values = append(values, fmt.Sprintf("%d×%s", n, float(bound)))
			}
		}
		add("distribution", p.StartTimeUnixNano, p.TimeUnixNano, strings.Join(values, ","), p.Attributes)
	}
	return lines
}

func tellSpan(s *tracepb.Span) string {
	line := fmt.Sprintf("span %s %s/%s", s.Name, hex.EncodeToString(s.TraceId), hex.EncodeToString(s.SpanId))
	if len(s.ParentSpanId) > 0 {
		line += "<" + hex.EncodeToString(s.ParentSpanId)
	}
	for _, l := range s.Links {
		line += " link " + hex.EncodeToString(l.SpanId) + " " + attributes(l.Attributes)
		if string(l.TraceId) != string(s.TraceId) {
			line += " of another trace"
		}
	}
	if s.Kind != 0 {
		line += " " + s.Kind.String()
	}
	if s.Status.GetCode() != 0 {
		line += " " + s.Status.GetCode().String()
	}
	return fmt.Sprintf("%s @%s+%s %s", line, stamp(s.StartTimeUnixNano),
		time.Duration(s.EndTimeUnixNano-s.StartTimeUnixNano), attributes(s.Attributes))
}

func tellLog(l *logspb.LogRecord) string {
	line := "log " + l.EventName
	if l.Body != nil {
		line += " " + strconv.Quote(l.Body.GetStringValue())
	}
	if len(l.TraceId) > 0 {
		line += " " + hex.EncodeToString(l.TraceId) + "/" + hex.EncodeToString(l.SpanId)
	}
	if l.TimeUnixNano != 0 {
		line += " @" + stamp(l.TimeUnixNano)
	}
	return strings.TrimSpace(line + " " + attributes(l.Attributes))
}

func stamp(nanoseconds uint64) string {
	if nanoseconds-uint64(testNow.UnixNano()) < 1000 { // points without a time are a nanosecond apart
		return "now"
	}
	return time.Unix(0, int64(nanoseconds)).UTC().Format("2006-01-02T15:04:05.999999999")
}

func float(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

func attributes(list []*commonpb.KeyValue) string {
	var all []string
	for _, a := range list {
		all = append(all, a.Key+"="+value(a.Value))
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

func value(v *commonpb.AnyValue) string {
	switch v := v.Value.(type) {
	case *commonpb.AnyValue_StringValue:
		return v.StringValue
	case *commonpb.AnyValue_IntValue:
		return strconv.FormatInt(v.IntValue, 10)
	case *commonpb.AnyValue_ArrayValue:
		var all []string
		for _, item := range v.ArrayValue.Values {
			all = append(all, value(item))
		}
		return "[" + strings.Join(all, "|") + "]"
	}
	return fmt.Sprint(v)
}

// read gives a server's batch one line and says what becomes of it.
func read(t *testing.T, line string, f format, minute bool) (records []string, drops map[string]int) {
	t.Helper()
	k := &taker{t: t, drops: map[string]int{}}
	o := options(k)
	o.Minute = minute
	b := newBatch(&o, context.Background().Done())
	b.parser.now = testNow
	b.line([]byte(line), f)
	if err := b.flush(true); err != nil {
		t.Fatal(err)
	}
	return k.records, k.drops
}
