// Package client invokes a function as AWS's SDKs do: an invocation that is
// throttled, because every environment is still busy, is tried again. Use it to
// invoke one function many times in a row.
package client

import (
	"context"
	"errors"
	"net/http"
	"time"

	"slipstream/emulator"
	"slipstream/emulator/invokeapi"
)

// The waits between two tries grow from firstWait to longestWait.
const (
	firstWait   = time.Millisecond
	longestWait = 50 * time.Millisecond
)

// Invoke waits for the function's answer; only ctx bounds the tries. Other
// errors than throttling are returned at once.
func Invoke(ctx context.Context, l *emulator.Lambda, function string, event []byte) (emulator.Result, error) {
	for wait := firstWait; ; wait = min(2*wait, longestWait) {
		result, err := l.Invoke(ctx, function, event)
		var exception *invokeapi.Exception
		if !errors.As(err, &exception) || exception.Status != http.StatusTooManyRequests {
			return result, err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return result, errors.Join(ctx.Err(), err)
		}
	}
}
