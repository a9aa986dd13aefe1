package figure

import (
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// tick is the unit of /proc/stat on every Linux that Go runs on.
const tick = 10 * time.Millisecond

// load is how much CPU the whole machine and this program, with the processes
// that it started and that have ended, have used up to now.
type load struct{ all, busy, ours time.Duration }

func loadNow() (load, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return load{}, fmt.Errorf("read the machine's load: %w", err)
	}
	l, err := parseStat(string(text))
	if err != nil {
		return load{}, err
	}
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var usage syscall.Rusage
		if err := syscall.Getrusage(who, &usage); err != nil {
			return load{}, fmt.Errorf("read our own load: %w", err)
		}
		l.ours += time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	}
	return l, nil
}

// parseStat reads the first line of /proc/stat: user nice system idle iowait
// irq softirq steal, then guests that are in user already.
func parseStat(text string) (l load, err error) {
	first, _, _ := strings.Cut(text, "\n")
	fields := strings.Fields(first)
	if len(fields) < 9 || fields[0] != "cpu" {
		return l, fmt.Errorf("read the machine's load: /proc/stat begins with %q", first)
	}
	for i, field := range fields[1:9] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return l, fmt.Errorf("read the machine's load: %w", err)
		}
		l.all += time.Duration(n) * tick
		if idle := i == 3 || i == 4; !idle {
			l.busy += time.Duration(n) * tick
		}
	}
	return l, nil
}

// others gives the share of the machine's CPU, in percent, that programs other
// than ours used from a to b.
func others(a, b load) float64 {
	all := b.all - a.all
	if all <= 0 {
		return math.NaN()
	}
	rest := (b.busy - a.busy) - (b.ours - a.ours)
	return math.Round(100 * max(0, rest.Seconds()/all.Seconds()))
}
