// Command process prints what the steps between intake and destination cost: of
// redaction the throughput with the default policy, on text and JSON that look
// ordinary, its memory and how long it takes to make a policy; and how much more
// CPU the whole extension needs with the default policy than without.
package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"syscall"
	"time"

	"slipstream/bench/figure"
	"slipstream/bench/pipeline"
	"slipstream/process/redact"
)

const (
	runs  = 9
	lines = 20_000
	// atLeast is how much CPU one run takes.
	atLeast = 150 * time.Millisecond
)

func main() { pipeline.Main("process", measure) }

func measure(ctx context.Context, programs pipeline.Programs, scratch string) ([]figure.Figure, error) {
	figures, err := steps(ctx)
	if err != nil {
		return nil, err
	}
	whole, err := policy(ctx, programs, scratch)
	return append(figures, whole...), err
}

// steps measures redaction alone.
func steps(ctx context.Context) ([]figure.Figure, error) {
	p, errs := redact.New(redact.Config{})
	if errs != nil {
		return nil, errors.Join(errs...)
	}
	random := rand.New(rand.NewPCG(1, 2))
	texts, objects, secret := make([][]byte, lines), make([][]byte, lines), make([][]byte, lines)
	for i := range lines {
		texts[i], objects[i] = []byte(text(random)), []byte(object(random))
		if secret[i] = texts[i]; i%100 == 0 {
			secret[i] = fmt.Appendf(nil, "%s password=%x by ann%d@example.com", texts[i], random.Uint64(), i)
		}
	}
	var buffer []byte
	var figures []figure.Figure
	for _, of := range []struct {
		name  string
		lines [][]byte
		call  func([]byte)
	}{
		{"redact/text", texts, func(b []byte) { buffer, _ = p.Text(buffer[:0], b) }},
		{"redact/json", objects, func(b []byte) { buffer, _ = p.JSON(buffer[:0], b) }},
		{"redact/text_1_in_100", secret, func(b []byte) { buffer, _ = p.Text(buffer[:0], b) }},
		{"redact/suspect", objects, func(b []byte) { p.Suspect(b) }},
	} {
		var speeds, costs []float64
		for range runs {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			perSecond := speed(of.lines, of.call)
			speeds, costs = append(speeds, perSecond), append(costs, 1e6/perSecond)
		}
		figures = append(figures, figure.Of(of.name+"/throughput", "MB/s", speeds),
			figure.Of(of.name+"/cost", "ns/kB", costs),
			figure.Of(of.name+"/allocations", "a line", []float64{allocations(of.lines, of.call)}))
	}
	return append(figures, making(runs)...), nil
}

// speed gives how many megabytes of lines one second of CPU does.
func speed(lines [][]byte, call func([]byte)) float64 {
	bytes := 0
	start := cpu()
	for cpu()-start < atLeast {
		for _, line := range lines {
			call(line)
			bytes += len(line)
		}
	}
	return float64(bytes) / 1e6 / (cpu() - start).Seconds()
}

// allocations are those of one line; what the runtime itself allocates meanwhile
// is less than one a line.
func allocations(lines [][]byte, call func([]byte)) float64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for _, line := range lines {
		call(line)
	}
	runtime.ReadMemStats(&after)
	return float64((after.Mallocs - before.Mallocs) / uint64(len(lines)))
}

// making measures New: how long it takes, and what it keeps.
func making(runs int) []figure.Figure {
	var took, memory []float64
	for range runs {
		before := heap()
		start := time.Now()
		p, _ := redact.New(redact.Config{})
		took = append(took, float64(time.Since(start).Microseconds()))
		memory = append(memory, (heap()-before)/1024)
		runtime.KeepAlive(p)
	}
	return []figure.Figure{figure.Of("redact/new", "µs", took), figure.Of("redact/memory", "KiB", memory)}
}

func heap() float64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return float64(stats.HeapAlloc)
}

// cpu is what this process has used.
func cpu() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

var (
	levels  = []string{"INFO", "INFO", "INFO", "DEBUG", "WARN", "ERROR"}
	actions = []string{"reserved the stock", "cache miss, reading the table", "retrying after a timeout", "order accepted",
		"payment authorized", "connection from the pool reused", "no items left in warehouse 12"}
	agents = []string{"Mozilla/5.0 (X11; Linux x86_64; rv:128.0)", "okhttp/4.12.0", "python-requests/2.32.3"}
)

func pick(random *rand.Rand, from []string) string { return from[random.IntN(len(from))] }

// text is a line of some 200 bytes: times, ids, addresses, as functions log them.
func text(random *rand.Rand) string {
	return fmt.Sprintf("2026-11-24T10:%02d:%02d.%03dZ %s %08x-%04x-%04x-%04x-%012x %s order=%d took_ms=%.3f "+
		"path=/api/orders/%d status=%d agent=%q from=10.%d.%d.%d", random.IntN(60), random.IntN(60), random.IntN(1000),
		pick(random, levels), random.Uint32(), random.IntN(1<<16), random.IntN(1<<16), random.IntN(1<<16),
		random.Uint64()>>16, pick(random, actions), random.IntN(1e7), random.ExpFloat64()*40, random.IntN(1e6),
		200+random.IntN(4)*100, pick(random, agents), random.IntN(256), random.IntN(256), random.IntN(256))
}

// object is a structured record of some 400 bytes.
func object(random *rand.Rand) string {
	return fmt.Sprintf(`{"timestamp":"2026-11-24T10:%02d:%02d.%03dZ","level":%q,"message":%q,`+
		`"logger":"shop.orders.handler","requestId":"%08x-%04x-%04x-%04x-%012x","traceId":"%016x%016x",`+
		`"epoch_ms":%d,"http":{"method":"POST","path":"/api/orders/%d","status":%d,"agent":%q,"bytes":%d},`+
		`"durationMs":%.3f,"items":[{"sku":"A-%05d","count":%d},{"sku":"B-%05d","count":%d}],"ok":true,"error":null}`,
		random.IntN(60), random.IntN(60), random.IntN(1000), pick(random, levels), pick(random, actions),
		random.Uint32(), random.IntN(1<<16), random.IntN(1<<16), random.IntN(1<<16), random.Uint64()>>16,
		random.Uint64(), random.Uint64(), 1_795_500_000_000+random.Int64N(1e9), random.IntN(1e6),
		200+random.IntN(4)*100, pick(random, agents), random.IntN(1e5), random.ExpFloat64()*40, random.IntN(1e5),
		random.IntN(9), random.IntN(1e5), random.IntN(9))
}
