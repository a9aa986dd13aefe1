// Command function is what bench/edge measures with: a function that writes
// lines like those of a web shop, each with a number that can be found again.
package main

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"

	"github.com/aws/aws-lambda-go/lambda"
)

// event says what to write in one invocation.
type event struct {
	ID    int `json:"id"`    // of the invocation, part of each line's number
	Lines int `json:"lines"` // how many
}

var (
	levels = []string{"INFO", "INFO", "INFO", "INFO", "DEBUG", "WARN"}
	paths  = []string{"/api/orders", "/api/customers", "/api/stock/reserve", "/api/payments/authorize", "/healthz"}
	agents = []string{"Mozilla/5.0 (X11; Linux x86_64)", "okhttp/4.12.0", "python-requests/2.32.3"}
)

func main() { lambda.Start(handle) }

// handle writes lines of about 200 bytes. Their words repeat as a program's do,
// their values vary, so that compression has honest work; the seed is the
// event's, so that every run has the same.
func handle(_ context.Context, e event) (string, error) {
	random := rand.New(rand.NewPCG(uint64(e.ID), uint64(e.Lines)))
	out := bufio.NewWriterSize(os.Stdout, 64<<10)
	for i := range e.Lines {
		_, err := fmt.Fprintf(out, "%s line %d-%d method=POST path=%s/%d status=%d took_ms=%.3f bytes=%d trace=%016x "+
			"customer=c-%07d agent=%q from=10.%d.%d.%d\n", pick(random, levels), e.ID, i, pick(random, paths),
			random.IntN(1e6), 200+random.IntN(4)*100, random.ExpFloat64()*40, random.IntN(1<<16), random.Uint64(),
			random.IntN(1e7), pick(random, agents), random.IntN(256), random.IntN(256), random.IntN(256))
		if err != nil {
			return "", err
		}
	}
	return "ok", out.Flush()
}

func pick(random *rand.Rand, from []string) string { return from[random.IntN(len(from))] }
