package emulator

import (
	"fmt"
	"strings"
	"time"

	"slipstream/emulator/runtimeapi"
	"slipstream/emulator/sandbox"
)

const (
	statusSuccess = "success"
	statusError   = "error"
	statusFailure = "failure"
	statusTimeout = "timeout"
)

// failure is why a phase failed: the first fatal error of a life, or a timeout.
type failure struct {
	errorType string // AWS's, for example Extension.Crash
	cause     string
	body      []byte // the runtime's own words to the caller, from init/error
	timeout   bool
}

func timedOut(limit time.Duration) *failure {
	return &failure{timeout: true, errorType: "Sandbox.Timedout",
		cause: fmt.Sprintf("Task timed out after %.2f seconds", limit.Seconds())}
}

// status is the word in the platform's events.
func (f *failure) status() string {
	switch {
	case f == nil:
		return statusSuccess
	case f.timeout:
		return statusTimeout
	case strings.HasPrefix(f.errorType, "Sandbox."):
		return statusFailure
	}
	return statusError
}

// reported is the error type in the platform's events: a timeout has none.
func (f *failure) reported() string {
	if f == nil || f.timeout {
		return ""
	}
	return f.errorType
}

// shutdownReason is the word in the SHUTDOWN event of the reset.
func (f *failure) shutdownReason() string {
	if f.timeout {
		return "timeout"
	}
	return "failure"
}

// explanation is for a person.
func (f *failure) explanation() string {
	if len(f.body) > 0 {
		return string(f.body)
	}
	return f.cause
}

// response is what the caller of the function gets.
func (f *failure) response(requestID string) []byte {
	if len(f.body) > 0 {
		return f.body
	}
	return runtimeapi.FailureBody(requestID, f.errorType, f.cause)
}

// fail records the life's first failure; later ones are its consequences.
func (l *life) fail(f *failure) {
	l.once.Do(func() {
		l.cause = f
		close(l.failed)
	})
}

// await waits for done, the life's failure or the deadline. What has been
// reached counts, even if something has failed since.
func (l *life) await(done <-chan struct{}, deadline time.Time, limit time.Duration) *failure {
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	select {
	case <-done:
		return nil
	case <-l.failed:
	case <-timer.C:
	}
	select {
	case <-done:
		return nil
	default:
	}
	select {
	case <-l.failed:
		return l.cause
	default:
		return timedOut(limit)
	}
}

// exited says what a process's end outside Shutdown means.
func (e *environment) exited(l *life, p *process) *failure {
	exit := p.Exit()
	if p.name != "" {
		return &failure{errorType: "Extension.Crash", cause: exitText(exit)}
	}
	f := &failure{errorType: "Runtime.ExitError", cause: "Runtime exited without providing a reason"}
	if exit.Signal != 0 || exit.Code != 0 {
		f.cause = "Runtime exited with error: " + exitText(exit)
	}
	if e.sandbox.OOMKills() > l.oomKills {
		f.errorType = "Runtime.OutOfMemory"
	}
	return f
}

func exitText(exit sandbox.Exit) string {
	switch {
	case exit.Signal != 0:
		return "signal: " + exit.Signal.String()
	case exit.Code == 0:
		return "exit code 0"
	}
	return fmt.Sprintf("exit status %d", exit.Code)
}
