package emulator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"slipstream/emulator/extensionsapi"
	"slipstream/emulator/sandbox"
)

// The phases that Init runs in.
const (
	phaseInit   = "init"
	phaseInvoke = "invoke" // again, within an invocation: the suppressed init
)

// prewarm initialises the environment ahead of any invocation. A failure is not
// the end: the first invocation runs Init again. But where Init belongs to the
// publishing of a version, that has failed.
func (e *environment) prewarm() error {
	e.warm = true
	var f *failure
	switch e.function.InitType {
	case managed:
		f = e.initOnce()
	case snapStart:
		f = e.initPhase()
	default:
		_ = e.initPhase()
		e.initTook = 0
		e.freeze()
	}
	if f != nil {
		return fmt.Errorf("publish: Init failed: %s: %s", orText(f.reported(), f.status()), f.explanation())
	}
	return nil
}

// initPhase is Init with a limit of its own, before the first invocation.
func (e *environment) initPhase() *failure {
	e.fresh = false
	e.prepareSnapshot()
	limit := initLimit(e.initType(), e.function.Timeout, e.lambda.cfg.initLimit)
	f := e.init(phaseInit, time.Now().Add(limit), limit)
	if f != nil {
		e.reset(f)
		return f
	}
	e.takeSnapshot()
	return nil
}

// initLimit is how long the Init phase may take: longer when it is paid for ahead
// of time.
func initLimit(initType string, timeout, usual time.Duration) time.Duration {
	if initType != onDemand {
		return max(130*time.Second, timeout)
	}
	return usual
}

// initType is the function's, but an environment beyond the provisioned ones is one
// on demand.
func (e *environment) initType() string {
	if e.function.InitType == provisioned && !e.warm {
		return onDemand
	}
	return e.function.InitType
}

// init runs Init once and reports it.
func (e *environment) init(phase string, deadline time.Time, limit time.Duration) *failure {
	began := time.Now()
	l := e.begin()
	e.event("platform.initStart", initStartRecord{
		InitializationType: e.initType(), Phase: phase, FunctionName: e.function.Name, FunctionVersion: version,
		InstanceID: e.initInstance(), InstanceMaxMemory: int64(e.function.MemoryMB) << 20,
	}, true)
	pause(context.Background(), min(e.plan.Init(began), time.Until(deadline)))
	f := e.boot(l, deadline, limit)
	e.reportInit(l, phase, time.Since(began), f)
	return f
}

// boot is Init step by step.
func (e *environment) boot(l *life, deadline time.Time, limit time.Duration) *failure {
	if f := e.startExtensions(l); f != nil {
		return f
	}
	if f := l.await(l.extensions.AllRegistered().Done(), deadline, limit); f != nil {
		return f
	}
	if f := e.startRuntime(l); f != nil {
		return f
	}
	if f := l.await(l.initialised(), deadline, limit); f != nil {
		return f
	}
	l.extensions.CloseRegistration()
	if f := l.await(l.extensions.AllReady().Done(), deadline, limit); f != nil {
		return f
	}
	e.hub.EndInit()
	return nil
}

// initialised is closed when the runtime's part of Init is over.
func (l *life) initialised() <-chan struct{} {
	if l.concurrent != nil {
		return l.concurrent.Arrived()
	}
	return l.runtimeAPI.Snapshot()
}

// startExtensions starts all in name order without waiting for any.
func (e *environment) startExtensions(l *life) *failure {
	_, variables := e.variables()
	for i, name := range e.function.external {
		problem, cause := "TooManyExtensions", fmt.Sprintf("Extension limit (%d) reached", extensionsapi.Limit)
		if i < extensionsapi.Limit {
			path := filepath.Join(e.function.opt, "extensions", name)
			err := e.launch(l, name, sandbox.Command{Path: path, Env: variables, Dir: "/"})
			if err == nil {
				continue
			}
			problem, cause = launchProblem(err), err.Error()
		}
		l.noteError(name, problem)
		l.extensions.SetState(name, extensionsapi.LaunchError)
		f := &failure{errorType: "Extension.LaunchError", cause: cause}
		l.fail(f)
		return l.cause
	}
	return nil
}

func (e *environment) startRuntime(l *life) *failure {
	variables, _ := e.variables()
	command := e.function.Command
	path, err := findCommand(command[0], e.function.TaskDir)
	if err == nil {
		err = e.launch(l, "", sandbox.Command{Path: path, Args: command, Env: variables, Dir: e.function.TaskDir})
	}
	if err != nil {
		l.fail(&failure{errorType: "Runtime.InvalidEntrypoint", cause: err.Error()})
		return l.cause
	}
	return nil
}

// findCommand looks where a person would expect it: a path with a slash below
// the function's folder or here, a bare name in PATH.
func findCommand(name, task string) (string, error) {
	if strings.Contains(name, "/") && !filepath.IsAbs(name) && task != "" {
		if path, err := exec.LookPath(filepath.Join(task, name)); err == nil {
			return filepath.Abs(path)
		}
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", err
	}
	return filepath.Abs(path)
}

// launch starts a process and watches over its end.
func (e *environment) launch(l *life, name string, command sandbox.Command) error {
	source := "function"
	if name != "" {
		source = "extension"
	}
	out := &output{e.hub.Output(source), &lineWriter{to: e.log}}
	command.Stdout, command.Stderr = out, out // one stream, so that the order stays
	started, err := e.sandbox.Start(command)
	if err != nil {
		return err
	}
	p := &process{Process: started, name: name, ended: make(chan struct{})}
	l.add(p)
	e.watching.Go(func() { e.watch(l, p, out) })
	return nil
}

func (l *life) add(p *process) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p.name == "" {
		l.runtime = p
		return
	}
	l.external = append(l.external, p)
}

// watch deals with a process's end: its last lines, the observers, and, outside
// Shutdown, the failure that it is.
func (e *environment) watch(l *life, p *process, out io.Closer) {
	defer close(p.ended)
	<-p.Done()
	_ = out.Close()
	if observe := e.lambda.cfg.Observe.ProcessEnd; observe != nil {
		exit := p.Exit()
		observe(ProcessEnd{Function: e.function.Name, Environment: e.logStream, Extension: p.name, ExitCode: exit.Code,
			Signal: exit.Signal, MaxRSSBytes: exit.MaxRSS, CPU: exit.CPU, At: time.Now()})
	}
	if !l.ending.Load() {
		l.fail(e.exited(l, p))
	}
	if p.name == "" {
		return
	}
	if exit := p.Exit(); exit.Code == 0 && exit.Signal == 0 {
		l.extensions.SetState(p.name, extensionsapi.Exited)
	} else {
		l.extensions.SetState(p.name, extensionsapi.ShutdownFailed)
	}
}

func launchProblem(err error) string {
	if errors.Is(err, fs.ErrPermission) {
		return "PermissionDenied"
	}
	return "UnknownError"
}

func (l *life) noteError(name, errorType string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lastErrors[name] = errorType
}

// reportInit tells of Init's end. The runtime's part is reported only if Init
// came as far as starting it.
func (e *environment) reportInit(l *life, phase string, took time.Duration, f *failure) {
	kind := e.initType()
	l.mu.Lock()
	runtimeStarted := l.runtime != nil
	l.mu.Unlock()
	if runtimeStarted {
		e.event("platform.initRuntimeDone", initRuntimeDoneRecord{
			InitializationType: kind, Phase: phase, Status: f.status(), ErrorType: f.reported()}, f == nil)
	}
	for _, extension := range l.extensions.Extensions() {
		l.mu.Lock()
		problem := l.lastErrors[extension.Name]
		l.mu.Unlock()
		e.event("platform.extension", extensionRecord{
			Name: extension.Name, State: extension.State, Events: orEmpty(extension.Events), ErrorType: problem}, true)
	}
	e.event("platform.initReport", initReportRecord{InitializationType: kind, Phase: phase, Status: f.status(),
		ErrorType: f.reported(), Metrics: initMetrics{milliseconds(took)}}, f == nil && kind == onDemand)
	if f != nil || kind != onDemand {
		e.log.initReport(took, phase, f)
	}
	if f != nil {
		return
	}
	if phase == phaseInit {
		e.initTook = took
	}
}

func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}
