// Package startup measures how long an extension takes from exec to its first
// next. Use Compare to set two programs side by side in one run: on one
// machine, under the same load, only their ratio means something.
package startup

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"slipstream/bench/memory"
	"slipstream/bench/platform"
)

// patience bounds one start.
const patience = 30 * time.Second

// Start is one start of a program.
type Start struct {
	ToNext time.Duration // from exec to the request for the first event
	CPU    time.Duration // used until it was ended, just after
	MaxRSS int64         // bytes, of this process alone
}

// Program is what is started, with variables of its own.
type Program struct {
	Path string
	Env  []string
}

// Compare starts the programs in turn, so that whatever else the machine does
// meets all of them, and gives the runs of each. One more round before warms
// the page cache.
func Compare(ctx context.Context, rounds int, environment []string, programs ...Program) ([][]Start, error) {
	starts := make([][]Start, len(programs))
	for round := range rounds + 1 {
		for i, program := range programs {
			start, err := once(ctx, environment, program)
			if err != nil {
				return nil, fmt.Errorf("start %s: %w", program.Path, err)
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
func once(ctx context.Context, environment []string, program Program) (Start, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	api := platform.Serve(filepath.Base(program.Path))
	defer api.Close()
	command := exec.Command(program.Path)
	command.Env = append(slices.Concat(environment, program.Env), "AWS_LAMBDA_RUNTIME_API="+api.Address())
	command.Stderr = os.Stderr
	began := time.Now()
	if err := command.Start(); err != nil {
		return Start{}, err
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	var asked time.Time
	select {
	case asked = <-api.Asked:
	case err := <-ended:
		return Start{}, fmt.Errorf("it ended before its first next: %w", err)
	case <-ctx.Done():
	}
	peak, err := memory.Peak(command.Process.Pid)
	// Whatever Kill says, the process is gone when Wait returns.
	_ = command.Process.Kill()
	<-ended
	if asked.IsZero() {
		return Start{}, fmt.Errorf("no next after %v", patience)
	}
	return Start{ToNext: asked.Sub(began), MaxRSS: peak,
		CPU: command.ProcessState.UserTime() + command.ProcessState.SystemTime()}, err
}
