package host

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipstream/telemetry/usage"
)

// Texts as Linux 5.10 writes them in a Lambda environment with two CPUs.
const (
	statText = `cpu  23 1 17 7002 21 2 3 9 0 0
cpu0 11 0 8 3500 10 0 1 4 0 0
cpu1 12 1 9 3502 11 2 2 5 0 0
intr 41203 0 0
ctxt 80123
btime 1790845200
processes 41
`
	netHead = "Inter-|   Receive                                                |  Transmit\n" +
		" face |bytes    packets errs drop fifo frame compressed multicast|" +
		"bytes    packets errs drop fifo colls carrier compressed\n"
	netText = netHead +
		"    lo:  900000     120    0    0    0     0          0         0   900000     120    0    0    0     0  0  0\n" +
		"vinternal_1:  180324     210    0    0    0     0          0         0    64211     198    0    0    0  0  0  0\n" +
		"telemetry1_sb:   40000      80    0    0    0     0          0         0    52000      80    0    0  0  0  0  0\n" +
		"vint_runtime:   12000      40    0    0    0     0          0         0     9000      40    0    0  0  0  0  0\n"
	netElsewhere = netHead +
		"    lo:  900000     120    0    0    0     0          0         0   900000     120    0    0    0     0  0  0\n" +
		"  eth0:1000 1 0 0 0 0 0 0 20 1 0 0 0 0 0 0\n" +
		"  eth1: 500 1 0 0 0 0 0 0 3 1 0 0 0 0 0 0\n"
	memoryText = `MemTotal:         183832 kB
MemFree:           25800 kB
MemAvailable:     101372 kB
Buffers:            1416 kB
`
	statmText = "2048 1200 700 300 0 900 0\n"
	pidText   = "17 (node (main) x) S 1 17 1 0 -1 4194560 9000 0 0 0 40 9 0 0 20 0 11 0 120 900000000 12000 " +
		"18446744073709551615\n"
)

func TestParse(t *testing.T) {
	const ms = time.Millisecond
	if c, ok := parseStat([]byte(statText)); !ok || c != (cpuTimes{user: 240 * ms, system: 220 * ms, idle: 70_230 * ms}) {
		t.Errorf("stat: %+v %v", c, ok)
	}
	if in, out, ok := parseNetDev([]byte(netText)); !ok || in != 180324 || out != 64211 {
		t.Errorf("net/dev: %d %d %v", in, out, ok)
	}
	if in, out, ok := parseNetDev([]byte(netElsewhere)); !ok || in != 1500 || out != 23 {
		t.Errorf("net/dev elsewhere: %d %d %v", in, out, ok)
	}
	if total, free, ok := parseMeminfo([]byte(memoryText)); !ok || total != 183832<<10 || free != 101372<<10 {
		t.Errorf("meminfo: %d %d %v", total, free, ok)
	}
	if n, ok := parseStatm([]byte(statmText)); !ok || n != 1200 {
		t.Errorf("statm: %d %v", n, ok)
	}
	if n, ok := parseThreads([]byte(pidText)); !ok || n != 11 {
		t.Errorf("PID/stat: %d %v", n, ok)
	}
}

func TestParseNonsense(t *testing.T) {
	for _, text := range []string{"", "cpu", "cpu  1 2 3", "cpu  x", "cpu  99999999999999999999 0 0 0 0 0 0", "eth0: 1 2",
		"eth0: x",
		"MemTotal: 1 kB\n", "MemTotal: 1 kB\nMemAvailable: 2 kB\n", "1", "17 (a", "17 (a) S 1 2", "\n\n"} {
		b := []byte(text)
		_, stat := parseStat(b)
		_, _, net := parseNetDev(b)
		_, _, memory := parseMeminfo(b)
		_, statm := parseStatm(b)
		_, threads := parseThreads(b)
		if stat || net || memory || statm || threads {
			t.Errorf("%q is read: stat %v, net %v, memory %v, statm %v, threads %v", text, stat, net, memory, statm, threads)
		}
	}
}

func TestDifference(t *testing.T) {
	const all = usage.CPU | usage.Network | usage.Temp | usage.Memory |
		usage.Threads | usage.Descriptors | usage.OwnCPU | usage.OwnMemory
	const levels = all &^ (usage.CPU | usage.Network | usage.OwnCPU)
	first := totals{known: all, cpu: cpuTimes{100, 50, 1000}, received: 10, sent: 20, ownCPU: 7, processes: 3, open: 30,
		threads:  12,
		tempUsed: 1, free: 2, memory: 3, total: 4, ownMemory: 5}
	second := first
	second.cpu, second.received, second.sent, second.ownCPU = cpuTimes{130, 60, 1500}, 110, 25, 9
	still := usage.Reading{TempUsed: 1, TempFree: 2, MemoryUsed: 3, MemoryTotal: 4, Processes: 3, Threads: 12,
		Descriptors: 30,
		OwnMemory:   5}
	used := still
	used.CPUUser, used.CPUSystem, used.CPUIdle, used.Received, used.Sent, used.OwnCPU = 30, 10, 500, 100, 5, 2
	back := second
	back.cpu.user = 90
	backUsed := used
	backUsed.CPUUser, backUsed.CPUSystem, backUsed.CPUIdle = 0, 0, 0
	some := second
	some.known &^= usage.Network
	tests := []struct {
		name       string
		last, next totals
		known      usage.Kind
		want       usage.Reading
	}{
		{"the first", totals{}, first, levels, still},
		{"the second", first, second, all, used},
		{"counters that went back", second, first, levels, still},
		{"one that went back", first, back, all &^ usage.CPU, backUsed},
		{"a source that is gone", second, some, levels | usage.CPU | usage.OwnCPU, still},
	}
	for _, tt := range tests {
		tt.want.Known = tt.known
		if diff := cmp.Diff(tt.want, difference(&tt.last, &tt.next)); diff != "" {
			t.Errorf("%s:\n%s", tt.name, diff)
		}
	}
}

// FuzzParse: no text makes a parser panic or gives a number below zero.
func FuzzParse(f *testing.F) {
	for _, text := range []string{statText, netText, netElsewhere, memoryText, statmText, pidText} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, _ := parseStat(b)
		in, out, _ := parseNetDev(b)
		total, free, okMemory := parseMeminfo(b)
		pages, okPages := parseStatm(b)
		threads, okThreads := parseThreads(b)
		if c.user < 0 || c.system < 0 || c.idle < 0 || in < 0 || out < 0 || okMemory && (total < free || free < 0) ||
			okPages && pages < 0 || okThreads && threads < 0 {
			t.Errorf("%q gives %v, %d and %d, %d and %d, %d, %d", b, c, in, out, total, free, pages, threads)
		}
	})
}
