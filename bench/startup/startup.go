// Package startup measures how long an extension takes from exec to its first
// next. Use Compare to set two programs side by side in one run: on one
// machine, under the same load, only their ratio means something.
package startup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// patience bounds one start.
const patience = 30 * time.Second

// Start is one start of a program.
type Start struct {
	ToNext time.Duration // from exec to the request for the first event
	CPU    time.Duration // used until it was ended, just after
	MaxRSS int64         // bytes
}

// Compare starts the programs in turn, so that whatever else the machine does
// meets all of them, and gives the runs of each. One more round before warms
// the page cache.
func Compare(ctx context.Context, rounds int, environment []string, programs ...string) ([][]Start, error) {
	starts := make([][]Start, len(programs))
	for round := range rounds + 1 {
		for i, program := range programs {
			start, err := once(ctx, environment, program)
			if err != nil {
				return nil, fmt.Errorf("start %s: %w", program, err)
			}
			if round > 0 {
				starts[i] = append(starts[i], start)
			}
		}
	}
	return starts, nil
}

// once starts program under an API that knows just enough, and ends it when it
// asks for its first event.
func once(ctx context.Context, environment []string, program string) (Start, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	next := make(chan time.Time, 1)
	api := httptest.NewServer(handler(filepath.Base(program), next))
	defer api.Close()
	command := exec.Command(program)
	command.Env = append(environment, "AWS_LAMBDA_RUNTIME_API="+api.Listener.Addr().String())
	command.Stderr = os.Stderr
	began := time.Now()
	if err := command.Start(); err != nil {
		return Start{}, err
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	var asked time.Time
	select {
	case asked = <-next:
	case err := <-ended:
		return Start{}, fmt.Errorf("it ended before its first next: %w", err)
	case <-ctx.Done():
	}
	memory, err := peakMemory(command.Process.Pid)
	// Whatever Kill says, the process is gone when Wait returns.
	_ = command.Process.Kill()
	<-ended
	if asked.IsZero() {
		return Start{}, fmt.Errorf("no next after %v", patience)
	}
	return Start{ToNext: asked.Sub(began), MaxRSS: memory,
		CPU: command.ProcessState.UserTime() + command.ProcessState.SystemTime()}, err
}

// peakMemory reads the most memory that a process has had, in bytes. The kernel's
// ru_maxrss will not do: across fork and exec it starts with the parent's.
func peakMemory(pid int) (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("read its memory: %w", err)
	}
	for line := range strings.Lines(string(status)) {
		var kib int64
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kib); n == 1 {
			return kib << 10, nil
		}
	}
	return 0, errors.New("read its memory: the kernel does not tell")
}

// handler answers what an extension asks before its first event.
func handler(name string, next chan<- time.Time) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /2020-01-01/extension/register", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Lambda-Extension-Name") != name {
			http.Error(w, "registered under another name than the file's", http.StatusForbidden)
			return
		}
		w.Header().Set("Lambda-Extension-Identifier", "7d2f9c1e-7a55-4b0d-8d3c-0f9a6d1f1c11")
		_, _ = io.WriteString(w, `{"functionName":"bench","functionVersion":"$LATEST","handler":"index.handler"}`)
	})
	subscribed := func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `"OK"`) }
	mux.HandleFunc("PUT /2022-07-01/telemetry", subscribed)
	mux.HandleFunc("PUT /2020-08-15/logs", subscribed)
	mux.HandleFunc("GET /2020-01-01/extension/event/next", func(_ http.ResponseWriter, r *http.Request) {
		select {
		case next <- time.Now():
		default:
		}
		<-r.Context().Done()
	})
	return mux
}
