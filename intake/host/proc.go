package host

import (
	"bytes"
	"math"
	"time"
)

// tick is the unit of /proc/stat: sysconf(_SC_CLK_TCK) is 100 on amd64 and arm64.
const tick = 10 * time.Millisecond

// maxTicks keeps a time within a time.Duration.
const maxTicks = int64(math.MaxInt64 / tick / 8)

// cpuTimes are the first line of /proc/stat.
type cpuTimes struct{ user, system, idle time.Duration }

// parseStat reads /proc/stat: "cpu  user nice system idle iowait irq softirq …". Time
// that was stolen is none of these.
func parseStat(text []byte) (c cpuTimes, ok bool) {
	rest, ok := bytes.CutPrefix(text, []byte("cpu "))
	if !ok {
		return c, false
	}
	var times [7]time.Duration
	for i := range times {
		var n int64
		if n, rest, ok = number(rest); !ok || n > maxTicks {
			return c, false
		}
		times[i] = time.Duration(n) * tick
	}
	return cpuTimes{
		user:   times[0] + times[1],
		system: times[2] + times[5] + times[6],
		idle:   times[3] + times[4],
	}, true
}

// lambdaInterface is the way out of a Lambda environment. Others there lead to the
// runtime's and the Telemetry API.
var lambdaInterface = []byte("vinternal_1")

// parseNetDev reads /proc/net/dev: bytes of the interface of Lambda, elsewhere of all
// but the loopback.
func parseNetDev(text []byte) (received, sent int64, ok bool) {
	for len(text) > 0 {
		var line []byte
		line, text, _ = bytes.Cut(text, []byte("\n"))
		name, rest, isLine := bytes.Cut(line, []byte(":"))
		if !isLine {
			continue // the two lines of the head
		}
		in, rest, _ := number(rest)
		out, found := int64(0), true
		for i := 0; i < 8 && found; i++ {
			out, rest, found = number(rest)
		}
		if !found || in > math.MaxInt64>>16 || out > math.MaxInt64>>16 {
			return 0, 0, false
		}
		switch name = bytes.TrimSpace(name); {
		case bytes.Equal(name, lambdaInterface):
			return in, out, true
		case string(name) != "lo":
			received += in
			sent += out
		}
		ok = true
	}
	return received, sent, ok
}

// parseMeminfo reads /proc/meminfo, in bytes.
func parseMeminfo(text []byte) (total, available int64, ok bool) {
	total, hasTotal := field(text, []byte("MemTotal:"))
	available, hasAvailable := field(text, []byte("MemAvailable:"))
	return total << 10, available << 10, hasTotal && hasAvailable && total < math.MaxInt64>>10 && available <= total
}

// field reads the number behind a word that begins a line.
func field(text, word []byte) (int64, bool) {
	for len(text) > 0 {
		if rest, ok := bytes.CutPrefix(text, word); ok {
			n, _, ok := number(rest)
			return n, ok
		}
		_, text, _ = bytes.Cut(text, []byte("\n"))
	}
	return 0, false
}

// parseStatm reads the second number of /proc/self/statm, the resident pages.
func parseStatm(text []byte) (pages int64, ok bool) {
	_, rest, ok := number(text)
	if !ok {
		return 0, false
	}
	pages, _, ok = number(rest)
	return pages, ok && pages < math.MaxInt32
}

// parseThreads reads num_threads of /proc/PID/stat, the 20th field. The second is a
// program's name, which may have spaces and parentheses.
func parseThreads(text []byte) (threads int64, ok bool) {
	end := bytes.LastIndexByte(text, ')')
	if end < 0 {
		return 0, false
	}
	rest := text[end+1:]
	for range 20 - 2 {
		rest = bytes.TrimLeft(rest, " ")
		word, after, _ := bytes.Cut(rest, []byte(" "))
		if len(word) == 0 {
			return 0, false
		}
		threads, _, ok = number(word)
		rest = after
	}
	return threads, ok && threads < math.MaxInt32
}

// number reads a whole number after spaces. One that does not fit is none.
func number(text []byte) (n int64, rest []byte, ok bool) {
	i := 0
	for i < len(text) && text[i] == ' ' {
		i++
	}
	start := i
	for ; i < len(text) && text[i] >= '0' && text[i] <= '9'; i++ {
		if n > (math.MaxInt64-9)/10 {
			return 0, nil, false
		}
		n = n*10 + int64(text[i]-'0')
	}
	return n, text[i:], i > start
}
