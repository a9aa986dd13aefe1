// Package emulator is an AWS Lambda execution environment for a laptop and for
// tests: it runs real function and extension processes through Lambda's phases
// and APIs. Use Start in a `go test` to invoke a function and to read what its
// extensions received; `slipstream local` is the same as a command.
//
// # Known differences from AWS
//
//   - All environments share the host's network. Each has a loopback address of
//     its own (127.0.0.1, 127.0.0.2, ...), but two processes that listen on
//     0.0.0.0 with the same fixed port collide.
//   - Where the machine does not allow namespaces, cgroups or mounts, the walls
//     they make are missing; Lambda.Notices says which.
//   - The runtime's SIGTERM comes 300 ms before its SIGKILL when an external
//     extension is registered, as AWS documents; AWS's code has 600 ms.
//   - Extensions also get PATH, LANG and LD_LIBRARY_PATH, without which scripts
//     do not start outside Lambda; functions get AWS_ENDPOINT_URL_LAMBDA, so that
//     functions in one emulator can call each other.
//   - Requests are neither signed nor authorised; any qualifier is accepted and
//     runs the one code there is; the 4 KB limit of variables is not enforced.
//   - A caller that asks for the log's tail is answered after the REPORT line.
//   - Streamed responses are not slowed down after the first 6 MB.
//   - Environments are not ended after hours of continuous use.
//   - Function lines that are no JSON are not wrapped when LogFormat is JSON.
//   - There are no Cognito identities and no X-Ray daemon: functions never get the
//     header of the one, causes of errors for the other are dropped.
//   - SnapStart takes no snapshot of processes. Each environment's own processes run
//     Init when it is made, by Start as when a version is published, are held frozen,
//     and go on at the restore: sockets, ids and random numbers in memory are as old
//     as Init, but no two environments share them. What Init reports is delivered
//     after the restore. The version is $LATEST, any runtime will do.
//   - A snapshot whose processes have failed after the restore is made anew by the next
//     invocation; one that was never restored is deleted without SHUTDOWN.
//   - Managed instances have no capacity provider: Start makes all environments, an idle
//     one is ended after the idle timeout, any memory size will do. Where no worker of
//     the runtime waits in next an invocation waits for one, as long as the function's
//     timeout, and is throttled then.
package emulator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"slipstream/emulator/fault"
	"slipstream/emulator/invokeapi"
)

// Config says what Start runs.
type Config struct {
	Functions []Function
	// Listen is the address of the Invoke API, 127.0.0.1 and a free port if empty.
	Listen string
	// Addresses are given to environments, the least used first; they must be this
	// machine's. Empty means 127.0.0.1, 127.0.0.2 and so on.
	Addresses []netip.Addr
	// Region and AccountID appear in ARNs; us-east-1 and 123456789012 if empty.
	Region, AccountID string
	// LogWriter gets what CloudWatch Logs would: START, END and REPORT lines and
	// the output of functions and extensions. One line a call. Nil discards it.
	LogWriter io.Writer
	// Faults are applied in each environment, with counts of its own.
	Faults []fault.Rule
	// Freeze stops all processes of an environment between invocations. Those of
	// managed instances always run on.
	Freeze bool
	// IdleTimeout is when an idle environment is spun down; 10 minutes if 0.
	IdleTimeout time.Duration
	// EventRetryDelays are the waits before an asynchronous event is tried again
	// after a function error; nil is 1 and 2 minutes, as on Lambda.
	EventRetryDelays []time.Duration
	// Binds are host paths that stay reachable inside under the same name.
	Binds []string
	// Observe tells what happens.
	Observe Observe

	// Of the Init phase, and of Restore; 10 s unless a test is in a hurry.
	initLimit, restoreLimit time.Duration
}

// Function is one function and its extensions.
type Function struct {
	Name string
	// Command runs the function: anything that speaks the Runtime API.
	Command []string
	// Env are the customer's variables; functions and extensions get them.
	Env map[string]string
	// Extensions are executables that appear in /opt/extensions by their base name.
	Extensions []string
	// LayerDir appears as /opt; its extensions/ is run too. May be empty.
	LayerDir string
	// TaskDir appears as /var/task and is the function's working directory.
	TaskDir string
	Handler string // _HANDLER, "index.handler" if empty
	// MemoryMB is the limit for all processes together and gives the CPU share,
	// 128 to 10,240; 128 if 0.
	MemoryMB int
	// TmpMB is the size of /tmp, at most 10,240; 512 if 0. Lambda has no smaller
	// one, here it may be.
	TmpMB int
	// Timeout of an invocation, at most 15 minutes; 3 s if 0.
	Timeout time.Duration
	// Concurrency is how many environments may exist at once; 1 if 0.
	Concurrency int
	// Warm is how many environments are initialised by Start, before any
	// invocation. With another InitType than on-demand it is Concurrency if 0. Those
	// beyond the provisioned ones are on demand.
	Warm int
	// LogFormat is "Text", also if empty, or "JSON". Managed instances have JSON only.
	LogFormat string
	// InitType is "on-demand", also if empty, "provisioned-concurrency", "snap-start"
	// or "lambda-managed-instances".
	InitType string
	// MaxConcurrency is how many invocations one environment of managed instances
	// runs at once, AWS_LAMBDA_MAX_CONCURRENCY; 16 if 0.
	MaxConcurrency int
}

// The values of Function.InitType.
const (
	onDemand    = "on-demand"
	provisioned = "provisioned-concurrency"
	snapStart   = "snap-start"
	managed     = "lambda-managed-instances"
)

// Lambda is a running emulator.
type Lambda struct {
	cfg       Config
	functions map[string]*pool
	listener  net.Listener
	server    *http.Server
	folder    string // everything the emulator writes
	log       io.Writer
	addresses addressBook
	active    activity
	notices   notices
	serving   sync.WaitGroup
	stopping  sync.Once
	stopped   error
}

// Start checks the configuration, makes folders, serves the Invoke API and
// initialises warm environments. The context bounds the start alone.
func Start(ctx context.Context, cfg Config) (*Lambda, error) {
	cfg.applyDefaults()
	folder, err := os.MkdirTemp("", fmt.Sprintf("slipstream-%d-", os.Getpid()))
	if err != nil {
		return nil, fmt.Errorf("start emulator: make folder: %w", err)
	}
	l := &Lambda{cfg: cfg, functions: map[string]*pool{}, folder: folder, log: &serialWriter{to: cfg.LogWriter}}
	l.addresses.candidates = cfg.Addresses
	if err := l.start(ctx); err != nil {
		_ = l.Shutdown(ctx)
		return nil, fmt.Errorf("start emulator: %w", err)
	}
	return l, nil
}

func (c *Config) applyDefaults() {
	c.Listen = orText(c.Listen, "127.0.0.1:0")
	c.Region = orText(c.Region, "us-east-1")
	c.AccountID = orText(c.AccountID, "123456789012")
	if c.LogWriter == nil {
		c.LogWriter = io.Discard
	}
	if c.IdleTimeout == 0 {
		c.IdleTimeout = 10 * time.Minute
	}
	if c.EventRetryDelays == nil {
		c.EventRetryDelays = []time.Duration{time.Minute, 2 * time.Minute}
	}
	if c.initLimit == 0 {
		c.initLimit = 10 * time.Second
	}
	if c.restoreLimit == 0 {
		c.restoreLimit = defaultRestoreLimit
	}
	if len(c.Addresses) == 0 {
		for n := byte(1); n < 255; n++ {
			c.Addresses = append(c.Addresses, netip.AddrFrom4([4]byte{127, 0, 0, n}))
		}
	}
}

func orText(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

func (l *Lambda) start(ctx context.Context) (err error) {
	if l.listener, err = net.Listen("tcp", l.cfg.Listen); err != nil {
		return fmt.Errorf("listen for the Invoke API on %s: %w", l.cfg.Listen, err)
	}
	for _, f := range l.cfg.Functions {
		if l.functions[f.Name] != nil {
			return fmt.Errorf("function %s is configured twice: give each its own name", f.Name)
		}
		ready, err := l.prepare(f)
		if err != nil {
			return fmt.Errorf("function %q: %w", f.Name, err)
		}
		l.functions[f.Name] = newPool(l, ready)
	}
	l.server = &http.Server{Handler: invokeapi.New((*frontEnd)(l)), ReadHeaderTimeout: 10 * time.Second}
	l.serving.Go(func() { _ = l.server.Serve(l.listener) })
	for _, f := range l.cfg.Functions {
		p := l.functions[f.Name]
		if err := p.warm(ctx, p.function.Warm); err != nil {
			return fmt.Errorf("function %q: %w", f.Name, err)
		}
	}
	return nil
}

// Endpoint is the base URL of the Invoke API, for an SDK's BaseEndpoint.
func (l *Lambda) Endpoint() string { return "http://" + l.listener.Addr().String() }

// Notices says what this machine does not allow, each thing once.
func (l *Lambda) Notices() []string { return l.notices.list() }

// Wait returns when no invocation runs and no event is queued.
func (l *Lambda) Wait(ctx context.Context) error { return l.active.wait(ctx) }

// Shutdown refuses new invocations, waits for running ones, spins every
// environment down and removes every file. When the context ends, processes are
// killed instead. Queued events are dropped: call Wait first to have them run.
func (l *Lambda) Shutdown(ctx context.Context) error {
	l.stopping.Do(func() { l.stopped = l.stop(ctx) })
	return l.stopped
}

func (l *Lambda) stop(ctx context.Context) error {
	var closing sync.WaitGroup
	problems := make([]error, len(l.functions))
	for i, name := range slices.Sorted(maps.Keys(l.functions)) {
		closing.Go(func() { problems[i] = l.functions[name].close(ctx) })
	}
	closing.Wait()
	if l.server != nil {
		problems = append(problems, l.server.Close())
	} else if l.listener != nil {
		problems = append(problems, l.listener.Close())
	}
	l.serving.Wait()
	problems = append(problems, os.RemoveAll(l.folder))
	if err := errors.Join(problems...); err != nil {
		return fmt.Errorf("shut the emulator down: %w", err)
	}
	return nil
}

// readyFunction is a Function with its defaults, checked and laid out on disk.
type readyFunction struct {
	Function
	arn      string // without qualifier
	opt      string // folder that appears as /opt
	external []string
}

func (l *Lambda) prepare(f Function) (*readyFunction, error) {
	f.Handler = orText(f.Handler, "index.handler")
	f.InitType = orText(f.InitType, onDemand)
	f.LogFormat = orText(f.LogFormat, map[bool]string{true: "JSON", false: "Text"}[f.InitType == managed])
	if f.MaxConcurrency == 0 && f.InitType == managed {
		f.MaxConcurrency = 16
	}
	if f.MemoryMB == 0 {
		f.MemoryMB = 128
	}
	if f.TmpMB == 0 {
		f.TmpMB = 512
	}
	f.Concurrency = max(f.Concurrency, 1, f.Warm)
	if f.InitType != onDemand && f.Warm == 0 {
		f.Warm = f.Concurrency
	}
	if f.Timeout == 0 {
		f.Timeout = 3 * time.Second
	}
	if err := f.validate(); err != nil {
		return nil, err
	}
	ready := &readyFunction{Function: f, opt: filepath.Join(l.folder, "opt", f.Name),
		arn: fmt.Sprintf("arn:aws:lambda:%s:%s:function:%s", l.cfg.Region, l.cfg.AccountID, f.Name)}
	var err error
	ready.external, err = layOut(ready.opt, f.LayerDir, f.Extensions)
	return ready, err
}

func (f *Function) validate() error {
	switch {
	case f.Name == "" || strings.ContainsAny(f.Name, ":/ "):
		return fmt.Errorf("name %q: use letters, digits, hyphens and underscores", f.Name)
	case len(f.Command) == 0:
		return errors.New("no command: say how to run the function")
	case f.LogFormat != "Text" && f.LogFormat != "JSON":
		return fmt.Errorf("log format %q: use Text or JSON", f.LogFormat)
	case !slices.Contains([]string{onDemand, provisioned, snapStart, managed}, f.InitType):
		return fmt.Errorf("initialization type %q: use %s, %s, %s or %s", f.InitType, onDemand, provisioned, snapStart,
			managed)
	case f.InitType == managed && f.LogFormat != "JSON":
		return errors.New("log format Text: managed instances have JSON only")
	case f.MaxConcurrency < 0 || f.MaxConcurrency > 0 && f.InitType != managed:
		return fmt.Errorf("max concurrency %d: use a count, and only with %s", f.MaxConcurrency, managed)
	case f.InitType == snapStart && f.TmpMB > 512:
		return fmt.Errorf("/tmp of %d MB: SnapStart allows 512", f.TmpMB)
	case f.MemoryMB < 128 || f.MemoryMB > 10240:
		return fmt.Errorf("memory %d MB: use 128 to 10240", f.MemoryMB)
	case f.TmpMB < 1 || f.TmpMB > 10240:
		return fmt.Errorf("/tmp of %d MB: use 1 to 10240", f.TmpMB)
	case f.Timeout < 0 || f.Timeout > 15*time.Minute:
		return fmt.Errorf("timeout %v: above 0, at most 15m", f.Timeout)
	}
	return nil
}
