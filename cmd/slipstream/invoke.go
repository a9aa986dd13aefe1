package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"slipstream/emulator"
	"slipstream/emulator/client"
)

// invokeMany invokes the function n times, at most parallel at once, and prints
// each answer as a line. It ends with an error when an invocation failed.
func invokeMany(ctx context.Context, l *emulator.Lambda, function string, event []byte, n, parallel int,
	out io.Writer) error {
	var next, failed atomic.Int64
	var printing sync.Mutex
	var callers sync.WaitGroup
	for range min(n, parallel) {
		callers.Go(func() {
			for next.Add(1) <= int64(n) && ctx.Err() == nil {
				result, err := client.Invoke(ctx, l, function, event)
				answer := bytes.TrimSpace(result.Payload)
				if err != nil {
					answer = []byte(err.Error())
				}
				if err != nil || result.FunctionError != "" {
					failed.Add(1)
				}
				printing.Lock()
				_, _ = fmt.Fprintf(out, "%s\n", answer)
				printing.Unlock()
			}
		})
	}
	callers.Wait()
	if n := failed.Load(); n > 0 {
		return fmt.Errorf("invoke %s: %d invocations failed, see their answers", function, n)
	}
	return ctx.Err()
}
