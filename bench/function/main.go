// Command function is what bench/edge measures with: a function that writes as
// many lines as its event says.
package main

import (
	"context"
	"os"

	"github.com/aws/aws-lambda-go/lambda"

	"slipstream/bench/lines"
)

// event says what to write in one invocation.
type event struct {
	ID    int `json:"id"`    // of the invocation, part of each line's number
	Lines int `json:"lines"` // how many
}

func main() { lambda.Start(handle) }

func handle(_ context.Context, e event) (string, error) {
	if err := lines.Write(os.Stdout, e.ID, e.Lines); err != nil {
		return "", err
	}
	return "ok", nil
}
