package emulator

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"slipstream/emulator/extensionsapi"
	"slipstream/emulator/fault"
	"slipstream/emulator/runtimeapi"
	"slipstream/emulator/sandbox"
	"slipstream/emulator/telemetryapi"
)

// version is the one version of every function.
const version = "$LATEST"

// environment is one execution environment: walls, the APIs on an address of its
// own, and one life of processes after the other. Its pool sees to it that it
// does one thing at a time: init, invoke, shut down.
type environment struct {
	lambda    *Lambda
	function  *readyFunction
	logStream string
	address   netip.Addr
	folder    string
	sandbox   *sandbox.Sandbox
	hub       *telemetryapi.Hub
	log       *functionLog
	plan      *fault.Plan
	listener  net.Listener
	server    *http.Server
	serving   sync.WaitGroup
	watching  sync.WaitGroup // over the processes

	life        atomic.Pointer[life] // nil before Init and after a reset
	mu          sync.Mutex           // over invocations, which managed instances begin in parallel
	invocations int
	fresh       bool          // no Init yet
	warm        bool          // made ahead of any invocation
	initTook    time.Duration // of a successful Init that no report has named yet
	idle        *time.Timer   // the pool's

	snapshot snapshot // SnapStart only
	shared   *shared  // managed instances only
}

// life is one life of the environment's processes, from Init to Shutdown.
type life struct {
	runtimeAPI *runtimeapi.API        // nil on managed instances
	concurrent *runtimeapi.Concurrent // there instead
	extensions *extensionsapi.API
	oomKills   int // of the sandbox before this life

	mu         sync.Mutex
	runtime    *process
	external   []*process
	lastErrors map[string]string // an extension's own error type, by name

	ending atomic.Bool // processes may exit from here on
	once   sync.Once
	failed chan struct{} // closed with the first failure
	cause  *failure
}

// process is a running runtime or extension.
type process struct {
	*sandbox.Process
	name  string        // the extension's, "" for the runtime
	ended chan struct{} // closed when its end has been dealt with
}

func newEnvironment(l *Lambda, f *readyFunction, number int) (*environment, error) {
	e := &environment{
		lambda: l, function: f, fresh: true, logStream: newLogStream(time.Now()), plan: fault.New(l.cfg.Faults...),
		folder: filepath.Join(l.folder, "environments", fmt.Sprint(number)),
		log:    &functionLog{to: l.log, json: f.LogFormat == "JSON"},
	}
	e.snapshot, e.shared = newSnapshot(), newShared()
	err := e.listen()
	if err == nil {
		err = e.buildWalls(number)
	}
	if err != nil {
		e.close()
		return nil, fmt.Errorf("make an execution environment: %w", err)
	}
	e.hub = telemetryapi.New(telemetryapi.Config{
		LogFormat: f.LogFormat,
		Managed:   f.InitType == managed,
		Identify:  e.identify,
		Dial:      e.dial,
		Fault:     e.plan.Post,
		Whole:     func() bool { return e.plan.Whole(time.Now()) },
		Observe:   e.observeDelivery,
	})
	e.server = &http.Server{Handler: e.routes()}
	e.serving.Go(func() { _ = e.server.Serve(e.listener) })
	return e, nil
}

// listen takes an address for the environment's APIs. Some systems have one
// loopback address only; then environments share it.
func (e *environment) listen() (err error) {
	e.address = e.lambda.addresses.take()
	e.listener, err = net.Listen("tcp", netip.AddrPortFrom(e.address, 0).String())
	if errors.Is(err, syscall.EADDRNOTAVAIL) && e.address.IsLoopback() {
		e.lambda.notices.add("only 127.0.0.1 can be listened on: extensions with a fixed port collide between environments")
		e.lambda.addresses.release(e.address)
		e.address = netip.AddrFrom4([4]byte{127, 0, 0, 1})
		e.lambda.addresses.hold(e.address)
		e.listener, err = net.Listen("tcp", netip.AddrPortFrom(e.address, 0).String())
	}
	if err != nil {
		return fmt.Errorf("listen for the runtime on %s: %w: give addresses of this machine", e.address, err)
	}
	return nil
}

func (e *environment) buildWalls(number int) (err error) {
	if err := os.MkdirAll(e.folder, 0o755); err != nil {
		return err
	}
	e.sandbox, err = sandbox.New(sandbox.Config{
		ID:  fmt.Sprintf("%s-%d", filepath.Base(e.lambda.folder), number),
		Dir: e.folder, Opt: e.function.opt, Task: e.function.TaskDir, Address: e.address,
		MemoryMB: e.function.MemoryMB, TmpMB: e.function.TmpMB, Binds: e.lambda.cfg.Binds,
		Files: e.function.files(),
	})
	if err == nil {
		e.lambda.notices.add(e.sandbox.Notices()...)
	}
	return err
}

// routes serves all that runtime and extensions call.
func (e *environment) routes() http.Handler {
	mux := http.NewServeMux()
	alive := func(api func(*life) http.Handler) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if l := e.life.Load(); l != nil {
				api(l).ServeHTTP(w, r)
				return
			}
			http.NotFound(w, r) // no process of this environment lives: a stranger asks
		}
	}
	mux.HandleFunc("/2018-06-01/", alive(func(l *life) http.Handler { return l.runtimeHandler() }))
	if !switchedOff(e.function.opt) {
		mux.HandleFunc("/2020-01-01/", alive(func(l *life) http.Handler { return l.extensions }))
	}
	mux.HandleFunc("PUT /2022-07-01/telemetry", e.hub.ServeTelemetry)
	switch e.function.InitType {
	case snapStart:
		mux.Handle("GET "+credentialsPath, e.snapshot.credentials)
		mux.HandleFunc("PUT /2020-08-15/logs", e.hub.ServeLogs)
	case managed: // without the Logs API
	default:
		mux.HandleFunc("PUT /2020-08-15/logs", e.hub.ServeLogs)
	}
	return mux
}

// identify finds the extension that makes a request, or answers why not.
func (e *environment) identify(w http.ResponseWriter, r *http.Request) (string, bool) {
	if l := e.life.Load(); l != nil {
		return l.extensions.Identify(w, r)
	}
	http.NotFound(w, r)
	return "", false
}

// dial finds a telemetry destination: the names of the sandbox mean the
// environment's address.
func (e *environment) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("dial telemetry destination: %w", err)
	}
	if host == "sandbox" || host == "sandbox.localdomain" {
		address = net.JoinHostPort(e.address.String(), port)
	}
	var d net.Dialer
	return d.DialContext(ctx, network, address)
}

func (e *environment) observeDelivery(d telemetryapi.Delivery) {
	if observe := e.lambda.cfg.Observe.Delivery; observe != nil {
		observe(Delivery{Function: e.function.Name, Environment: e.logStream, Delivery: d})
	}
}

func newLogStream(now time.Time) string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	return fmt.Sprintf("%s/[%s]%x", now.UTC().Format("2006/01/02"), version, b)
}

// taskRoot is how the function sees its code's folder.
func (e *environment) taskRoot() string {
	if e.function.TaskDir == "" {
		return "/var/task"
	}
	return e.sandbox.Path(e.function.TaskDir)
}

// begin makes the APIs for a new life.
func (e *environment) begin() *life {
	l := &life{failed: make(chan struct{}), oomKills: e.sandbox.OOMKills(), lastErrors: map[string]string{}}
	runtime := runtimeapi.Config{
		InitError:    func(typ string, body []byte) { l.fail(&failure{errorType: typ, body: body}) },
		BeforeEvent:  e.delayNext,
		Snapshot:     e.function.InitType == snapStart,
		RestoreError: func(typ string) { l.fail(&failure{errorType: typ, cause: "after-restore hook failed"}) },
	}
	if e.function.InitType == managed {
		l.concurrent = runtimeapi.NewConcurrent(runtime, e.function.MaxConcurrency)
	} else {
		l.runtimeAPI = runtimeapi.New(runtime)
	}
	l.extensions = extensionsapi.New(extensionsapi.Config{
		FunctionName: e.function.Name, FunctionVersion: version, Handler: e.function.Handler,
		AccountID: e.lambda.cfg.AccountID, BeforeEvent: e.delayNext, Managed: e.function.InitType == managed,
		Failed: func(name, typ, cause string) {
			l.noteError(name, cause)
			l.fail(&failure{errorType: typ, cause: cause})
		},
	}, e.function.external)
	e.life.Store(l)
	return l
}

// delayNext holds an event back when a fault says so.
func (e *environment) delayNext(ctx context.Context) { pause(ctx, e.plan.Next(time.Now())) }

func pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// runtimeHandler is the Runtime API of this life.
func (l *life) runtimeHandler() http.Handler {
	if l.concurrent != nil {
		return l.concurrent
	}
	return l.runtimeAPI
}

func (e *environment) freeze() {
	if e.lambda.cfg.Freeze {
		e.hold()
	}
}

// hold stops all processes and deliveries.
func (e *environment) hold() {
	e.hub.Freeze()
	if err := e.sandbox.Freeze(); err != nil {
		e.lambda.notices.add("freeze: " + err.Error())
	}
}

func (e *environment) thaw() {
	if !e.lambda.cfg.Freeze && !e.snapshot.held {
		return
	}
	e.snapshot.held = false
	if err := e.sandbox.Thaw(); err != nil {
		e.lambda.notices.add("thaw: " + err.Error())
	}
	e.hub.Thaw()
}

// close ends what is left after Shutdown. It is safe on a half-made environment.
func (e *environment) close() {
	if e.sandbox != nil {
		_ = e.sandbox.Close()
	}
	e.watching.Wait()
	if e.server != nil {
		_ = e.server.Close()
		e.serving.Wait()
		e.hub.Close()
	} else if e.listener != nil {
		_ = e.listener.Close()
	}
	e.lambda.addresses.release(e.address)
	_ = os.RemoveAll(e.folder)
}
