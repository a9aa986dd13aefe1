package statsd

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	commonpb "go.opentelemetry.io/proto/slim/otlp/common/v1"
	logspb "go.opentelemetry.io/proto/slim/otlp/logs/v1"
	metricspb "go.opentelemetry.io/proto/slim/otlp/metrics/v1"
	"google.golang.org/protobuf/proto"

	"slipstream/telemetry"
	"slipstream/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// taker keeps what a Server hands over, as text: a line a point or log record.
type taker struct {
	mu      sync.Mutex
	answer  error // of Take
	offers  int
	records int
	lines   []string
	drops   map[string]int
	changed chan struct{}
}

func newTaker() *taker { return &taker{drops: map[string]int{}, changed: make(chan struct{}, 1)} }

func (k *taker) config() Config {
	return Config{Completion: wire.NewCompletion(&telemetry.Resource{FunctionName: "shop"}), Take: k.take, Drop: k.drop}
}

func (k *taker) take(e *telemetry.Export) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.offers++
	k.signal()
	if k.answer != nil {
		return k.answer
	}
	lines, err := describe(e)
	if err != nil || len(lines) != e.Records || e.Records == 0 {
		lines = append(lines, fmt.Sprintf("WRONG EXPORT: %d lines of %d: %v", len(lines), e.Records, err))
	}
	k.lines = append(k.lines, lines...)
	k.records += e.Records
	return nil
}

func (k *taker) drop(reason string, n int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.drops[reason] += n
	k.signal()
}

func (k *taker) signal() {
	select {
	case k.changed <- struct{}{}:
	default:
	}
}

// wait waits until done says so, which is called with the lock.
func (k *taker) wait(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.After(20 * time.Second); ; {
		k.mu.Lock()
		ok := done()
		k.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-k.changed:
		case <-deadline:
			t.Fatalf("%s: not in 20 s; %d lines, drops %v", what, len(k.lines), k.drops)
		}
	}
}

// describe reads an Export with OpenTelemetry's own messages.
func describe(e *telemetry.Export) (lines []string, err error) {
	if e.Signal == telemetry.Logs {
		var data logspb.LogsData
		err = proto.Unmarshal(e.Body, &data)
		for _, rl := range data.ResourceLogs {
			if err == nil && rl.Resource.GetAttributes()[0].Key != "service.name" {
				err = fmt.Errorf("resource %v", rl.Resource)
			}
			for _, r := range rl.ScopeLogs[0].LogRecords {
				lines = append(lines, fmt.Sprintf("%s %s %d %q%s%s", r.EventName, r.SeverityText, r.SeverityNumber,
					r.Body.GetStringValue(), moment(r.TimeUnixNano), attributes(r.Attributes)))
			}
		}
		return lines, err
	}
	var data metricspb.MetricsData
	err = proto.Unmarshal(e.Body, &data)
	for _, rm := range data.ResourceMetrics {
		if err == nil && rm.Resource.GetAttributes()[0].Key != "service.name" {
			err = fmt.Errorf("resource %v", rm.Resource)
		}
		for _, m := range rm.ScopeMetrics[0].Metrics {
			lines = append(lines, describeMetric(m)...)
		}
	}
	return lines, err
}

func describeMetric(m *metricspb.Metric) (lines []string) {
	for _, p := range m.GetGauge().GetDataPoints() {
		lines = append(lines, fmt.Sprintf("gauge %s %v%s%s", m.Name, p.GetAsDouble(), moment(p.TimeUnixNano),
			attributes(p.Attributes)))
	}
	for _, p := range m.GetSum().GetDataPoints() {
		kind := "change"
		if m.GetSum().IsMonotonic {
			kind = "counter"
		}
		lines = append(lines, fmt.Sprintf("%s %s %v%s%s", kind, m.Name, p.GetAsDouble(), moment(p.TimeUnixNano),
			attributes(p.Attributes)))
	}
	for _, p := range m.GetHistogram().GetDataPoints() {
		lines = append(lines, fmt.Sprintf("histogram %s %v×%v%s%s%s", m.Name, p.ExplicitBounds,
			p.BucketCounts[:len(p.BucketCounts)-1], m.Unit, moment(p.TimeUnixNano), attributes(p.Attributes)))
	}
	return lines
}

// moment is a time that the line gave: the tests' are before 2020.
func moment(nanos uint64) string {
	if at := time.Unix(0, int64(nanos)); at.Year() < 2020 {
		return fmt.Sprint(" T", at.Unix())
	}
	return ""
}

func attributes(list []*commonpb.KeyValue) (s string) {
	for _, kv := range list {
		s += " " + kv.Key + "="
		switch v := kv.Value.Value.(type) {
		case *commonpb.AnyValue_StringValue:
			s += v.StringValue
		case *commonpb.AnyValue_IntValue:
			s += fmt.Sprint(v.IntValue)
		case *commonpb.AnyValue_ArrayValue:
			for _, item := range v.ArrayValue.Values {
				s += item.GetStringValue() + ";"
			}
		}
	}
	return s
}

// idle is a Server without a socket.
func idle(c Config) *Server { return newServer(nil, c) }

func TestLines(t *testing.T) {
	for _, tt := range []struct {
		datagram string
		want     []string
	}{
		{"orders:1|c", []string{"counter orders 1"}},
		{"orders:-3|c", []string{"change orders -3"}},
		{"orders:3|c|@0.1|#env:prod,canary", []string{"counter orders 30 env=prod canary="}},
		{"stock:12.5|g", []string{"gauge stock 12.5"}},
		{"stock:+2|g\nstock:-1.5|g", []string{"change stock 2", "change stock -1.5"}},
		{"latency:320|ms|@0.25", []string{"histogram latency [320]×[4]ms"}},
		{"size:1e3|h", []string{"histogram size [1000]×[1]"}},
		{"size:3:1:2:1|d|#a:b", []string{"histogram size [1 2 3]×[2 1 1] a=b"}},
		{"n:1:2|c|@0.5", []string{"counter n 2", "counter n 4"}},
		{"users:a:b|s|#x:y", []string{"counter users 1 set.member=a:b x=y"}},
		{"page:1|g|#url:http://x/y,a:,,:b,a:c|c:ci-83c0|T1565657600|e:it-false,cn-a|card:low|future",
			[]string{"gauge page 1 T1565657600 url=http://x/y a=;c; :b="}},
		{"a:1|c\r\n\nb:2|c\n", []string{"counter a 1", "counter b 2"}},
		{"_e{5,4}:title|text", []string{`statsd.event INFO 9 "text" statsd.event.title=title`}},
		{`_e{3,12}:a|b|one\ntwo|\n.|d:1565657600|h:host|k:key|p:low|s:src|t:error|#a:b,a:c|c:id|e:x`,
			[]string{`statsd.event ERROR 17 "one\ntwo|\n." T1565657600 statsd.event.title=a|b host.name=host ` +
				"statsd.event.aggregation_key=key statsd.event.priority=low statsd.event.source_type=src " +
				"statsd.event.alert_type=error a=b;c;"}},
		{"_e{1,0}:t||t:warning", []string{`statsd.event WARN 13 "" statsd.event.title=t statsd.event.alert_type=warning`}},
		{"_sc|db|0", []string{`statsd.service_check INFO 9 "" statsd.service_check.name=db statsd.service_check.status=0`}},
		{"_sc|db|2|d:1565657600|h:h|#a:b|c:id|m:down m\\: x|y\\nz|c:id|e:x", []string{
			`statsd.service_check ERROR 17 "down m: x|y\nz" T1565657600 statsd.service_check.name=db host.name=h ` +
				"statsd.service_check.status=2 a=b"}},
		{"_s:1|c", []string{"counter _s 1"}},
	} {
		k := newTaker()
		s := idle(k.config())
		s.datagram([]byte(tt.datagram), time.Now())
		s.offer()
		if diff := cmp.Diff(tt.want, k.lines); diff != "" || len(k.drops) > 0 {
			t.Errorf("%q: drops %v (-want +got):\n%s", tt.datagram, k.drops, diff)
		}
	}
	k := newTaker()
	c := k.config()
	c.AbsoluteGauges = true
	s := idle(c)
	s.datagram([]byte("g:-5|g"), time.Now())
	if s.offer(); !slices.Equal(k.lines, []string{"gauge g -5"}) {
		t.Errorf("an absolute gauge became %v", k.lines)
	}
}

// A line that cannot be read is counted, and its neighbours are kept.
func TestMalformed(t *testing.T) {
	for _, line := range []string{
		"x", "x:", "x:1", "x:1|", ":1|c", "x:|c", "x:1|q", "x:1|cc", "x:one|c", "x:1:|c", "x:1::2|d", "x:nan|g", "x:inf|g",
		"x:0x10|c", "x:1_0|c", "x:1e999|c", "x:1.2.3|g", "x:--1|g", "x:.|g", "x:+|g", "x:1|c|@0", "x:1|c|@-1", "x:1|c|@2",
		"x:1|c|@", "x:1e308|c|@1e-9", "x|y:1|c", "x:1|c|T", "x:1|c|Tx", "x:1|c|T0", "x:1|c|T1e11", "x:|s", "\x00\xff",
		"_e{", "_e{1,1}", "_e{1,1}:a", "_e{1,1}:a|", "_e{0,1}:|a", "_e{1,2}:a|b", "_e{1,1}:ab|c", "_e{1,1}:a|bc",
		"_e{-1,1}:a|b", "_e{1}:a|b", "_e{9999999,1}:a|b", "_e{1,1}:a|b|d:x", "_sc|", "_sc|a", "_sc|a|4", "_sc|a|",
		"_sc||1", "_sc|a|11",
	} {
		k := newTaker()
		s := idle(k.config())
		s.datagram([]byte("before:1|c\n"+line+"\nafter:1|c"), time.Now())
		s.offer()
		if !slices.Equal(k.lines, []string{"counter before 1", "counter after 1"}) ||
			!cmp.Equal(k.drops, map[string]int{reasonMalformed: 1}) {
			t.Errorf("%.60q: %q, drops %v", line, k.lines, k.drops)
		}
	}
	k := newTaker()
	s := idle(k.config())
	s.datagram([]byte("x:1|c|#"+strings.Repeat("a,", maxTags)+"b\nx:1|c|#"+strings.Repeat("a,", maxTags)), time.Now())
	values := "x:1" + strings.Repeat(":1", maxValues) + "|g\nx:1" + strings.Repeat(":2", 2*maxBucket) + "|d"
	s.datagram([]byte(values), time.Now())
	s.datagram(make([]byte, maxDatagram+1), time.Now())
	s.offer()
	if len(k.lines) != 4 || k.lines[1] != fmt.Sprintf("histogram x [1 2]×[1 %d]", maxBucket-1) ||
		!cmp.Equal(k.drops, map[string]int{reasonTooManyTags: 1, reasonTooManyValues: 1, reasonTooLarge: 1}) {
		t.Errorf("%d lines, drops %v", len(k.lines), k.drops)
	}
}

func TestNumbers(t *testing.T) {
	for s, want := range map[string]float64{
		"0": 0, "-0.5": -.5, "+7": 7, "1.": 1, ".25": .25, "123456789012345": 123456789012345, "0.1": .1, "0.3": .3,
		"1234567890123456789": 1234567890123456789, "0.000000000000001": 1e-15, "0.12345678901234567": 0.12345678901234567,
		"1e-3": 1e-3, "1E3": 1000, "999999.999999999": 999999.999999999, "00000000000000000001": 1,
	} {
		if got, ok := parseNumber([]byte(s)); !ok || got != want {
			t.Errorf("%s became %v, %v", s, got, ok)
		}
	}
}

// sockets are the kinds of socket that a Server reads, with a client for each.
func sockets(t *testing.T) map[string]func() (net.PacketConn, net.Conn) {
	open := func(network, address string) (net.PacketConn, net.Conn) {
		t.Helper()
		socket, err := net.ListenPacket(network, address)
		if err != nil {
			t.Fatal(err)
		}
		client, err := net.Dial(network, socket.LocalAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = client.Close() })
		return socket, client
	}
	return map[string]func() (net.PacketConn, net.Conn){
		"udp":      func() (net.PacketConn, net.Conn) { return open("udp", "127.0.0.1:0") },
		"unixgram": func() (net.PacketConn, net.Conn) { return open("unixgram", filepath.Join(t.TempDir(), "s")) },
		"any": func() (net.PacketConn, net.Conn) {
			socket, client := open("udp", "127.0.0.1:0")
			return struct{ net.PacketConn }{socket}, client
		},
	}
}

func send(t *testing.T, client net.Conn, datagram string) {
	t.Helper()
	if _, err := client.Write([]byte(datagram)); err != nil {
		t.Fatal(err)
	}
}

// What is sent arrives at once, without a Close and without another datagram;
// and Close takes everything that was sent before it.
func TestSockets(t *testing.T) {
	for name, open := range sockets(t) {
		t.Run(name, func(t *testing.T) {
			k := newTaker()
			socket, client := open()
			s := Serve(socket, k.config())
			for i := 1; i <= 3; i++ {
				send(t, client, "x:1|c\nbroken\n_sc|a|0")
				k.wait(t, "a datagram", func() bool { return k.records == 2*i && k.drops[reasonMalformed] == i })
			}
			want := 6
			for range 100 {
				send(t, client, "x:1|c\ny:2|g")
				want += 2
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if k.records != want || len(k.lines) != want || len(k.drops) != 1 {
				t.Errorf("%d records of %d, %d lines, drops %v", k.records, want, len(k.lines), k.drops)
			}
			if _, _, err := socket.ReadFrom(nil); !errors.Is(err, net.ErrClosed) {
				t.Errorf("the socket is not closed: %v", err)
			}
			if err := s.Close(); err == nil {
				t.Error("closed twice without an error")
			}
		})
	}
}

// Nothing is lost while the taker has no room for a while, and all of it is
// offered again though nothing more is received.
func TestNoRoom(t *testing.T) {
	for name, open := range sockets(t) {
		t.Run(name, func(t *testing.T) {
			k := newTaker()
			k.answer = telemetry.ErrNoRoom
			socket, client := open()
			s := Serve(socket, k.config())
			const datagrams = 40 // fewer than fill any socket
			line := "x:1|c|#a:" + strings.Repeat("v", 600)
			for range datagrams {
				send(t, client, line+"\n"+line+"\n_e{1,1}:a|b")
			}
			k.wait(t, "a refusal", func() bool { return k.offers > 2 })
			k.mu.Lock()
			k.answer = nil
			k.mu.Unlock()
			k.wait(t, "another offer", func() bool { return k.records == 3*datagrams })
			if err := s.Close(); err != nil || len(k.drops) > 0 {
				t.Errorf("drops %v, %v", k.drops, err)
			}
		})
	}
}

// What is kept has a bound, and every record is counted: taken or dropped.
func TestNoRoomForever(t *testing.T) {
	for answer, reason := range map[error]string{telemetry.ErrNoRoom: reasonNoRoom, telemetry.ErrOver: reasonOver} {
		k := newTaker()
		k.answer = answer
		socket, client := sockets(t)["unixgram"]()
		s := Serve(socket, k.config())
		const datagrams = 300
		line := "x:1|c|#a:" + strings.Repeat("v", 10_000)
		for range datagrams {
			send(t, client, line+"\n_sc|a|1|m:"+line)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if !cmp.Equal(k.drops, map[string]int{reason: 2 * datagrams}) || s.waitingBytes > maxWaiting {
			t.Errorf("%v: drops %v, %d bytes waiting", answer, k.drops, s.waitingBytes)
		}
	}
}

// Many datagrams become few Exports, as many as are full.
func TestExportsAreFull(t *testing.T) {
	k := newTaker()
	s := idle(k.config())
	for range 10_000 {
		s.datagram([]byte("orders:1|c|#env:prod"), time.Now())
	}
	s.offer()
	if k.records != 10_000 || k.offers > 20 {
		t.Errorf("%d records in %d exports", k.records, k.offers)
	}
}

// A socket that someone else closes ends the Server too.
func TestSocketClosed(t *testing.T) {
	for name, open := range sockets(t) {
		k := newTaker()
		socket, client := open()
		s := Serve(socket, k.config())
		send(t, client, "x:1|c")
		k.wait(t, name, func() bool { return k.records == 1 })
		if err := socket.Close(); err != nil {
			t.Fatal(err)
		}
		s.served.Wait()
		if err := s.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzDatagram(f *testing.F) {
	for _, seed := range []string{"a:1|c|@0.5|#x:y,z", "a:1:2:3|d|T1565657600", "u:m:n|s", "g:+1|g\ng:-1|g",
		"_e{3,4}:abc|text|d:1565657600|t:error|#a:b", "_sc|n|1|h:x|m:m\\: \\n", "a:1|c\xff\n\xfe:1e5|ms|c:x|e:y|card:low"} {
		f.Add([]byte(seed))
	}
	c := newTaker().config()
	f.Fuzz(func(t *testing.T, data []byte) {
		lines := 0
		for line := range strings.SplitSeq(string(data), "\n") {
			if strings.TrimSuffix(line, "\r") != "" {
				lines++
			}
		}
		k := newTaker()
		c.Take, c.Drop = k.take, k.drop
		s := idle(c)
		s.datagram(data, time.Now())
		s.offer()
		for _, line := range k.lines {
			if strings.HasPrefix(line, "WRONG") {
				t.Fatal(line)
			}
		}
		dropped := k.drops[reasonMalformed] + k.drops[reasonTooManyTags] + k.drops[reasonTooManyValues]
		if k.records+dropped < lines || dropped > lines {
			t.Fatalf("%d lines became %d records and drops %v", lines, k.records, k.drops)
		}
	})
}
