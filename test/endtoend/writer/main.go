// Command writer is the function of the end-to-end tests: it writes as many
// numbered lines as its event says, so that each can be found again.
package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
)

// event says what to do in one invocation.
type event struct {
	ID      int    `json:"id"`       // the lines' first number
	Lines   int    `json:"lines"`    // how many
	Bytes   int    `json:"bytes"`    // padding of each line
	SleepMs int    `json:"sleep_ms"` // after the lines
	Text    string `json:"text"`     // one more line
	End     string `json:"end"`      // "", "error", "handled", "exit", "hang", "terminate" or "memory"
}

func handle(_ context.Context, e event) (map[string]int, error) {
	out := bufio.NewWriterSize(os.Stdout, 64<<10)
	padding := strings.Repeat("x", e.Bytes)
	for i := range e.Lines {
		if _, err := fmt.Fprintf(out, "line %d-%d %s\n", e.ID, i, padding); err != nil {
			return nil, err
		}
	}
	if e.Text != "" {
		fmt.Fprintln(out, e.Text)
	}
	if err := out.Flush(); err != nil {
		return nil, err
	}
	time.Sleep(time.Duration(e.SleepMs) * time.Millisecond)
	switch e.End {
	case "error":
		return nil, errors.New("no such order")
	case "handled": // as loggers write what was caught
		fmt.Println(`{"level":"error","message":"out of stock","error":{"name":"StockError"}}`)
	case "exit":
		os.Exit(3)
	case "terminate":
		if err := terminate(); err != nil {
			return nil, err
		}
		select {}
	case "hang":
		select {}
	case "memory":
		for hog := [][]byte{}; ; {
			hog = append(hog, bytes.Repeat([]byte{1}, 8<<20))
		}
	}
	return map[string]int{"lines": e.Lines}, nil
}

// terminate sends SIGTERM to the extension: the other process of this execution
// environment that knows the same Runtime API.
func terminate() error {
	api := []byte("AWS_LAMBDA_RUNTIME_API=" + os.Getenv("AWS_LAMBDA_RUNTIME_API") + "\x00")
	files, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		return err
	}
	found := 0
	for _, name := range files {
		pid, err := strconv.Atoi(strings.Split(name, "/")[2])
		if err != nil || pid == os.Getpid() {
			continue
		}
		environ, err := os.ReadFile(name)
		if err != nil || !bytes.Contains(environ, api) {
			continue // gone, or of somebody else
		}
		if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
			return err
		}
		found++
	}
	if found != 1 {
		return fmt.Errorf("%d extensions in %d processes", found, len(files))
	}
	return nil
}

// initialise writes lines too and fails, as often as WRITER_INIT_FAILS says; a
// file in /tmp counts, because resets keep it.
func initialise() error {
	fails, err := strconv.Atoi(os.Getenv("WRITER_INIT_FAILS"))
	if err != nil {
		return nil // it is not set
	}
	const counter = "/tmp/writer-starts"
	text, _ := os.ReadFile(counter) // none at the first start
	if err := os.WriteFile(counter, append(text, '.'), 0o600); err != nil {
		return err
	}
	if _, err := handle(context.Background(), event{ID: len(text), Lines: 10}); err != nil {
		return err
	}
	if len(text) < fails {
		return errors.New("not ready yet")
	}
	return nil
}

func main() {
	if err := initialise(); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	lambda.Start(handle)
}
