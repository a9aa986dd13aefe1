// Command writer is the function of the end-to-end tests: it writes as many
// numbered lines as its event says, so that each can be found again.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
)

// event says what to do in one invocation.
type event struct {
	ID      int    `json:"id"`       // the lines' first number
	Lines   int    `json:"lines"`    // how many
	Bytes   int    `json:"bytes"`    // padding of each line
	SleepMs int    `json:"sleep_ms"` // after the lines
	End     string `json:"end"`      // "", "error", "exit" or "hang"
}

func handle(_ context.Context, e event) (map[string]int, error) {
	out := bufio.NewWriterSize(os.Stdout, 64<<10)
	padding := strings.Repeat("x", e.Bytes)
	for i := range e.Lines {
		if _, err := fmt.Fprintf(out, "line %d-%d %s\n", e.ID, i, padding); err != nil {
			return nil, err
		}
	}
	if err := out.Flush(); err != nil {
		return nil, err
	}
	time.Sleep(time.Duration(e.SleepMs) * time.Millisecond)
	switch e.End {
	case "error":
		return nil, errors.New("no such order")
	case "exit":
		os.Exit(3)
	case "hang":
		select {}
	}
	return map[string]int{"lines": e.Lines}, nil
}

func main() { lambda.Start(handle) }
