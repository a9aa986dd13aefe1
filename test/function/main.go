// Command function is the function that scripts and benches run: its event says how
// many lines it writes, how long it takes and whether it fails.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
)

// event is what to do; the zero event does nothing.
type event struct {
	Lines   int    `json:"lines"`    // numbered lines on standard output
	Bytes   int    `json:"bytes"`    // length that each line is filled up to
	SleepMs int    `json:"sleep_ms"` // afterwards
	Fail    string `json:"fail"`     // the error of the handler
	Exit    int    `json:"exit"`     // end the process with this code
	Print   string `json:"print"`    // one more line, as it is
	Env     string `json:"env"`      // the variable whose value is the answer
}

func main() {
	invocation := 0
	lambda.Start(func(_ context.Context, e event) (string, error) {
		invocation++
		for n := 1; n <= e.Lines; n++ {
			line := fmt.Sprintf("invocation=%d line=%d ", invocation, n)
			fmt.Println(line + strings.Repeat("x", max(0, e.Bytes-len(line))))
		}
		if e.Print != "" {
			fmt.Println(e.Print)
		}
		time.Sleep(time.Duration(e.SleepMs) * time.Millisecond)
		if e.Exit != 0 {
			os.Exit(e.Exit)
		}
		if e.Fail != "" {
			return "", errors.New(e.Fail)
		}
		if e.Env != "" {
			return os.Getenv(e.Env), nil
		}
		return "ok", nil
	})
}
