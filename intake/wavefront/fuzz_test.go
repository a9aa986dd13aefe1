package wavefront

import (
	"bytes"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"slipstream/telemetry"
	"slipstream/wire"
)

// FuzzLine: whatever a line is, it is taken or refused for one reason, and what
// is taken is OTLP that wire.CheckExport accepts.
func FuzzLine(f *testing.F) {
	for _, line := range []string{
		`"foo.metric" 1.2 1533529977 source="test_source" "env"="test"`, "lambda.example 0.563928",
		"a 1 k=\"say \\\"hi\\\"\"", "\u2206~a 1", "\u0394 1", `!M 1533529977 #20 30 "request.latency" source="s"`,
		"!H #2 5 #1 5 #0 1 h", "s" + testIDs + "parent=" + testParent + " followsFrom=" + testSpan + " k=v k=w 1533531013 1",
		"@SourceTag action=add source=s t", "@SourceDescription action=delete source=s",
		`@Event 1533531013 1533531213 "deploy" host=h host=h tag=t =""`, `@Event 1 d ""=x ""=y`,
		`{"traceId":"` + testTrace + `","spanId":"` + testSpan + `","logs":[{"timestamp":1,"fields":{"a":"b","c":[1]}}]}`,
		`{"name":"d","startTime":1533531013000,"tags":["a"],"dimensions":{"d":["x"]},"annotations":null}`,
		`"\"`, `"\\"`, `a 1 "\"`, "!M #", "a 1 1e99", "a 1 k='",
	} {
		f.Add([]byte(line), uint8(detect), false)
		f.Add([]byte(line), uint8(traces), true)
	}
	f.Fuzz(func(t *testing.T, line []byte, named uint8, minute bool) {
		taken, dropped := 0, 0
		o := Options{Minute: minute, Completion: wire.NewCompletion(&telemetry.Resource{FunctionName: "f"}),
			Take: func(e *telemetry.Export) error {
				taken += e.Records
				if n, err := wire.CheckExport(e.Signal, e.Body); err != nil || n != e.Records {
					t.Errorf("%q became %d %s of which %d are right: %v", line, e.Records, e.Signal, n, err)
				}
				return nil
			},
			Drop: func(_ string, n int) { dropped += n }}
		b := newBatch(&o, nil)
		b.parser.now = testNow
		if format(named) > spanLogs {
			if reason := b.parser.eventJSON(line); reason != "" {
				b.drop(reason)
			}
		} else {
			b.line(line, format(named))
		}
		if err := b.flush(true); err != nil {
			t.Fatal(err)
		}
		if dropped > 1 || dropped == 1 && taken > 0 {
			t.Errorf("%q: %d records taken, %d dropped", line, taken, dropped)
		}
	})
}

// FuzzLines: however the bytes are cut, the same lines come out as bytes.Split
// gives, but for those that are over the limit.
func FuzzLines(f *testing.F) {
	f.Add([]byte("a 1\nb 2\n\nrest"), uint16(3))
	f.Add([]byte("!\n"+strings.Repeat("x", maxLine+1)+"\na\n"), uint16(1000))
	f.Add([]byte("!"+strings.Repeat("x", maxHistogram)+"\na\n!"+strings.Repeat("x", maxHistogram-1)+"\n"), uint16(4096))
	f.Fuzz(func(t *testing.T, data []byte, piece uint16) {
		var want []string
		all := bytes.Split(data, []byte("\n"))
		for _, line := range all[:len(all)-1] {
			if len(line) <= limit(line) {
				want = append(want, string(line))
			}
		}
		var got []string
		var l lines
		r := &pieces{data: data, size: int(piece) + 1}
		for err := error(nil); err == nil; {
			err = l.fill(r)
			for line, tooLarge, ok := l.next(); ok; line, tooLarge, ok = l.next() {
				if !tooLarge && len(line) <= limit(line) {
					got = append(got, string(line))
				}
			}
			if len(l.buffer) > maxHistogram+1 {
				t.Fatalf("the buffer has %d bytes", len(l.buffer))
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("lines %.50q, want %.50q", got, want)
		}
	})
}

// pieces reads a few bytes at a time.
type pieces struct {
	data []byte
	size int
}

func (p *pieces) Read(to []byte) (int, error) {
	if len(p.data) == 0 {
		return 0, bytes.ErrTooLarge
	}
	n := copy(to, p.data[:min(p.size, len(p.data))])
	p.data = p.data[n:]
	return n, nil
}

// kinds are lines of each kind that a batch is measured with.
var kinds = []struct{ name, line string }{
	{"metric", `"foo.metric" 1.2 1533529977 source="test_source" "env"="test" "region"="eu-west-2"`},
	{"delta", "\u2206orders.taken 3 source=checkout env=test"},
	{"histogram", `!M 1533529977 #20 30 #3 40.5 #1 12 "request.latency" source="test_source" "env"="test"`},
	{"span", "getAllUsers source=localhost" + testIDs + "parent=" + testParent + " application=Wavefront 1533531013 343"},
	{"spanLogs", `{"traceId":"` + testTrace + `","spanId":"` + testSpan + `","logs":[{"timestamp":1533531013123456,` +
		`"fields":{"event":"error","message":"no \"room\""}}]}`},
	{"event", `@Event 1533531013 1533531213 "deploy" severity="info" host="h1" tag="env: prod"`},
	{"sourceTag", "@SourceTag action=add source=s t1 t2"},
}

func quiet() *batch {
	o := &Options{Completion: wire.NewCompletion(&telemetry.Resource{FunctionName: "f"}),
		Take: func(*telemetry.Export) error { return nil }, Drop: func(string, int) {}}
	b := newBatch(o, nil)
	b.parser.now = testNow
	return b
}

func TestNoAllocations(t *testing.T) {
	for _, kind := range kinds {
		b, line, count := quiet(), []byte(kind.line), 0
		b.options.Drop = func(reason string, _ int) { t.Errorf("%s: dropped: %s", kind.name, reason) }
		b.options.Take = func(e *telemetry.Export) error { count += e.Records; return nil }
		read := make([]byte, len(line))
		once := func() {
			for range 100 {
				copy(read, line) // quotes are taken off where they stand
				b.line(read, detect)
			}
			if err := b.flush(true); err != nil {
				t.Fatal(err)
			}
		}
		once()
		if n := testing.AllocsPerRun(20, once); n > 0 {
			t.Errorf("%s: %v allocations for 100 lines", kind.name, n)
		}
		if count%100 != 0 || count == 0 {
			t.Errorf("%s: %d records", kind.name, count)
		}
	}
}

// BenchmarkLines prints lines a second, with their hand-over and its resource.
func BenchmarkLines(b *testing.B) {
	for _, kind := range kinds {
		b.Run(kind.name, func(b *testing.B) {
			batch, line := quiet(), []byte(kind.line)
			read := make([]byte, len(line))
			b.ReportAllocs()
			b.SetBytes(int64(len(line)))
			for b.Loop() {
				copy(read, line)
				batch.line(read, detect)
				if batch.full() {
					_ = batch.flush(true)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "lines/s")
		})
	}
}

// BenchmarkTCP prints lines a second over a connection of the loopback, client
// and kernel included.
func BenchmarkTCP(b *testing.B) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	o := *quiet().options
	var taken atomic.Int64
	o.Take = func(e *telemetry.Export) error { taken.Add(int64(e.Records)); return nil }
	s := Serve(listener, o)
	defer s.Close()
	c, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	const block = 500
	text := []byte(strings.Repeat(kinds[0].line+"\n", block))
	b.ReportAllocs()
	sent := int64(0)
	for b.Loop() {
		if _, err := c.Write(text); err != nil {
			b.Fatal(err)
		}
		sent += block
	}
	for taken.Load() < sent {
		runtime.Gosched()
	}
	b.ReportMetric(float64(sent)/b.Elapsed().Seconds(), "lines/s")
}
