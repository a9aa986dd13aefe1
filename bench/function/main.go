// Command function is what bench measures with: a function that writes as many
// lines as its event says, and ends as it says.
package main

import (
	"bytes"
	"context"
	"os"
	"slices"
	"time"

	"github.com/aws/aws-lambda-go/lambda"

	"slipstream/bench/lines"
)

// event says what to write in one invocation.
type event struct {
	ID      int    `json:"id"`       // of the invocation, part of each line's number
	Lines   int    `json:"lines"`    // how many
	Parts   int    `json:"parts"`    // in which they are written, one if 0
	PauseMs int    `json:"pause_ms"` // after each part
	End     string `json:"end"`      // "", "exit", "hang" or "memory"
	AfterMs int    `json:"after_ms"` // with "memory": from the first line until there is none left
}

func main() { lambda.Start(handle) }

func handle(_ context.Context, e event) (string, error) {
	var outgrown <-chan error
	if e.End == "memory" {
		var err error
		if outgrown, err = outgrow(time.Duration(e.AfterMs) * time.Millisecond); err != nil {
			return "", err
		}
	}
	if err := write(e); err != nil {
		return "", err
	}
	switch e.End {
	case "memory":
		return "ok", <-outgrown
	case "exit":
		os.Exit(3)
	case "hang":
		select {}
	}
	return "ok", nil
}

// write writes the lines, in parts if there is more than one.
func write(e event) error {
	if e.Parts < 2 {
		return lines.Write(os.Stdout, e.ID, e.Lines)
	}
	var text bytes.Buffer
	if err := lines.Write(&text, e.ID, e.Lines); err != nil {
		return err
	}
	all := slices.Collect(bytes.Lines(text.Bytes()))
	for part := range slices.Chunk(all, (len(all)+e.Parts-1)/e.Parts) {
		if _, err := os.Stdout.Write(slices.Concat(part...)); err != nil {
			return err
		}
		time.Sleep(time.Duration(e.PauseMs) * time.Millisecond)
	}
	return nil
}
