// Package replay measures the extension alone: no function, no emulator, only
// the posts of the Telemetry API, made beforehand and sent one after the other
// as fast as the extension answers. Use Run for how much it can take; package
// pipeline is the whole way, in which the emulator and the function work too.
package replay

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"time"

	"slipstream/bench/lines"
	"slipstream/bench/memory"
	"slipstream/bench/platform"
)

const (
	// maxBytes and maxItems are how large a post becomes: those that the
	// extension subscribes with.
	maxBytes = 256 << 10
	maxItems = 10_000
	// patience bounds one run.
	patience = 2 * time.Minute
	// again is how long a refused post waits, as the platform's first time.
	again = 50 * time.Millisecond
	// request is the one invocation.
	request = "3f1d7f0e-5a0b-4c39-9a68-0d6a8f9e2c11"
)

// Posts are the bodies of the posts of one invocation.
type Posts struct {
	Lines     int
	TextBytes int64 // of the lines
	bodies    [][]byte
}

// Prepare makes the posts of one invocation with that many lines. The last one
// ends with the report that says that there is no more.
func Prepare(count int) (Posts, error) {
	var text bytes.Buffer
	if err := lines.Write(&text, 1, count); err != nil {
		return Posts{}, err
	}
	p := Posts{Lines: count, TextBytes: int64(text.Len())}
	at := time.Date(2026, time.October, 1, 9, 0, 0, 0, time.UTC)
	body, items := []byte("["), 0
	add := func(kind string, record []byte) {
		if items == maxItems || len(body)+len(record) > maxBytes {
			p.bodies = append(p.bodies, append(bytes.TrimSuffix(body, []byte(",")), ']'))
			body, items = []byte("["), 0
		}
		at, items = at.Add(time.Millisecond/100), items+1
		body = fmt.Appendf(body, `{"time":"%s","type":"%s","record":%s},`,
			at.Format("2006-01-02T15:04:05.000Z"), kind, record)
	}
	add("platform.start", []byte(`{"requestId":"`+request+`","version":"$LATEST"}`))
	for line := range bytes.Lines(text.Bytes()) {
		record, err := json.Marshal(string(line))
		if err != nil {
			return Posts{}, err
		}
		add("function", record)
	}
	add("platform.report", []byte(`{"requestId":"`+request+`","status":"success","metrics":{"durationMs":1.5,`+
		`"billedDurationMs":2,"memorySizeMB":1769,"maxMemoryUsedMB":64}}`))
	p.bodies = append(p.bodies, append(bytes.TrimSuffix(body, []byte(",")), ']'))
	return p, nil
}

// Result is one run.
type Result struct {
	Elapsed    time.Duration // from the first post until the extension has delivered all and ended
	CPU        time.Duration // of the extension's whole life
	PeakMemory int64         // bytes
	Refused    int           // posts that it answered with 503, and got again
}

// Run starts the program, plays the posts to it, and shuts it down.
func Run(ctx context.Context, program string, environment []string, p Posts) (r Result, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	api := platform.Serve(filepath.Base(program))
	defer api.Close()
	command := exec.CommandContext(ctx, program)
	command.Env = append(environment, "AWS_LAMBDA_RUNTIME_API="+api.Address())
	var said bytes.Buffer
	command.Stderr = &said
	watcher := memory.Watch(filepath.Base(program))
	defer func() { r.PeakMemory = watcher.Stop() }()
	if err := command.Start(); err != nil {
		return r, err
	}
	began, err := play(ctx, api, p, &r)
	if err != nil {
		_ = command.Process.Kill() // Wait tells
		return r, fmt.Errorf("%w (%w); it said: %s", err, command.Wait(), said.Bytes())
	}
	err = command.Wait()
	r.Elapsed = time.Since(began)
	r.CPU = command.ProcessState.UserTime() + command.ProcessState.SystemTime()
	return r, err
}

// play is the invocation, the posts and SHUTDOWN.
func play(ctx context.Context, api *platform.API, p Posts, r *Result) (began time.Time, err error) {
	select {
	case <-api.Asked:
	case <-ctx.Done():
		return began, errors.New("the extension never asks for an event")
	}
	var to string
	select {
	case to = <-api.Destination:
	default:
		return began, errors.New("the extension has not subscribed")
	}
	where, err := url.Parse(to)
	if err != nil {
		return began, err
	}
	where.Host = "127.0.0.1:" + where.Port() // sandbox.localdomain is a name of Lambda's own
	api.Events <- fmt.Sprintf(`{"eventType":"INVOKE","requestId":%q,"deadlineMs":%d}`,
		request, time.Now().Add(patience).UnixMilli())
	began = time.Now()
	for i, body := range p.bodies {
		if err := post(ctx, where.String(), body, r); err != nil {
			return began, fmt.Errorf("post %d of %d: %w", i+1, len(p.bodies), err)
		}
	}
	api.Events <- fmt.Sprintf(`{"eventType":"SHUTDOWN","shutdownReason":"spindown","deadlineMs":%d}`,
		time.Now().Add(patience).UnixMilli())
	return began, nil
}

// post sends one body until it is taken.
func post(ctx context.Context, to string, body []byte, r *Result) error {
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
		if err != nil {
			return err
		}
		request.Header.Set("Content-Type", "application/json")
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, response.Body)
		if err = errors.Join(err, response.Body.Close()); err != nil {
			return err
		}
		switch response.StatusCode {
		case http.StatusOK:
			return nil
		case http.StatusServiceUnavailable:
			r.Refused++
			time.Sleep(again)
		default:
			return fmt.Errorf("the extension answers %s", response.Status)
		}
	}
}
