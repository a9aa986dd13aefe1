// Package lines writes what a function of bench logs: lines like those of a web
// shop, each with a number that can be found again. Use it where lines are made
// and where their bytes are counted.
package lines

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"regexp"
	"strconv"
)

var (
	levels = []string{"INFO", "INFO", "INFO", "INFO", "DEBUG", "WARN"}
	paths  = []string{"/api/orders", "/api/customers", "/api/stock/reserve", "/api/payments/authorize", "/healthz"}
	agents = []string{"Mozilla/5.0 (X11; Linux x86_64)", "okhttp/4.12.0", "python-requests/2.32.3"}
)

// Write writes the lines of one invocation, about 200 bytes each. Their words
// repeat as a program's do, their values vary, so that compression has honest
// work; the seed is the invocation's, so that every run has the same.
func Write(w io.Writer, invocation, count int) error {
	random := rand.New(rand.NewPCG(uint64(invocation), uint64(count)))
	out := bufio.NewWriterSize(w, 64<<10)
	for i := range count {
		_, err := fmt.Fprintf(out, "%s line %d-%d method=POST path=%s/%d status=%d took_ms=%.3f bytes=%d trace=%016x "+
			"customer=c-%07d agent=%q from=10.%d.%d.%d\n", pick(random, levels), invocation, i, pick(random, paths),
			random.IntN(1e6), 200+random.IntN(4)*100, random.ExpFloat64()*40, random.IntN(1<<16), random.Uint64(),
			random.IntN(1e7), pick(random, agents), random.IntN(256), random.IntN(256), random.IntN(256))
		if err != nil {
			return err
		}
	}
	return out.Flush()
}

func pick(random *rand.Rand, from []string) string { return from[random.IntN(len(from))] }

// numbered finds the number that Write gives each line.
var numbered = regexp.MustCompile(`line ([0-9]+)-([0-9]+) `)

// Number gives the number of the line that text holds: its invocation and its
// place in it.
func Number(text []byte) (invocation, place int, ok bool) {
	found := numbered.FindSubmatch(text)
	if found == nil {
		return 0, 0, false
	}
	invocation, err := strconv.Atoi(string(found[1]))
	if err != nil {
		return 0, 0, false
	}
	place, err = strconv.Atoi(string(found[2]))
	return invocation, place, err == nil
}
