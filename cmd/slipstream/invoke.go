package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
)

// maxAnswer is more than Lambda's own limit for an answer.
const maxAnswer = 8 << 20

// invokeMany invokes the function n times, at most parallel at once, and prints
// each answer as a line. It ends with an error when an invocation failed.
func invokeMany(ctx context.Context, endpoint, function string, event []byte, n, parallel int, out io.Writer) error {
	var failed atomic.Int64
	var printing sync.Mutex
	var callers sync.WaitGroup
	var next atomic.Int64
	for range min(n, parallel) {
		callers.Go(func() {
			for next.Add(1) <= int64(n) && ctx.Err() == nil {
				answer, err := invokeOnce(ctx, endpoint, function, event)
				if err != nil {
					failed.Add(1)
					answer = []byte(err.Error())
				}
				printing.Lock()
				_, _ = fmt.Fprintf(out, "%s\n", bytes.TrimSpace(answer))
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

func invokeOnce(ctx context.Context, endpoint, function string, event []byte) ([]byte, error) {
	url := endpoint + "/2015-03-31/functions/" + function + "/invocations"
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(event))
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("invoke %s: %w", function, err)
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("invoke %s: %w", function, err)
	}
	if response.StatusCode >= http.StatusBadRequest || response.Header.Get("X-Amz-Function-Error") != "" {
		return nil, fmt.Errorf("%s", bytes.TrimSpace(answer))
	}
	return answer, nil
}
