// Package edge is the extension: it receives what the platform and the function
// have to say and delivers it, beside the function and never in its way. Use
// Run from a main program; it is the only place where the steps (lambda,
// buffer, flush) and the stations (intake, wire, destination) meet.
package edge

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"slipstream/edge/behind"
	"slipstream/edge/buffer"
	"slipstream/edge/flush"
	"slipstream/edge/lambda"
	"slipstream/edge/spool"
	"slipstream/intake/telemetryapi"
	"slipstream/process"
	"slipstream/process/invocation"
	"slipstream/process/redact"
	"slipstream/telemetry"
)

const (
	// exitReserve is kept free before the shutdown's deadline for the exit.
	exitReserve = 100 * time.Millisecond
	// roomWait is how long a request of the platform waits for memory before
	// it is answered with 503 and comes again later.
	roomWait = 2 * time.Second
)

// edge is one extension in one execution environment.
type edge struct {
	config  Config
	clock   *clock
	client  *lambda.Client
	lanes   []*lane
	pool    *buffer.Pool
	spool   *spool.Spool
	found   chan struct{} // closed when what earlier processes left is in the lanes
	ready   chan struct{} // closed when the policy is there; nothing is taken before
	changed chan struct{} // something of interest to the pace has happened
	release chan struct{} // next may be called
	arrived chan struct{} // something of interest to the end came in
	alive   chan struct{} // closed when the environment is no snapshot
	busy    func() bool   // a request of the platform is under way

	registration lambda.Registration
	exports      exports
	collector    collector
	invocation   invocation.History
	aggregate    *aggregate                    // nil: points go out as they come
	takers       []*taker                      // of points, one a listener
	redactor     atomic.Pointer[redact.Policy] // nil: off, or not there yet

	mu      sync.Mutex // guards what a request of the platform goes through
	decoder telemetryapi.Decoder
	logs    *process.Logs
	held    heldRecords
	meter   *meter // nil: no metrics are made of what passes by
	frozen  bool   // in a snapshot: the environment has no identity of its own yet
	pacer   flush.Pacer
	ending  flush.Ending
	noRoom  bool // a request waits for memory
	deaf    bool // there is no subscription: nothing will come, and nothing is waited for
	over    bool // nothing is taken any more
	late    bool // something came after that; told once
	intake  intakeCount
	now     time.Time // of the request that is being decoded
	due     time.Time // when keepPace looks after the policy, zero for never
}

// Run is the whole life of the extension: register, subscribe, then an event
// after the other until SHUTDOWN, the end of ctx (SIGTERM), or an error of the
// Extensions API. Errors of the configuration are logged and, unless
// Config.Strict, survived: the function runs, what can be delivered is.
func Run(ctx context.Context, c Config, configErrors []error) error {
	if c.RuntimeAPI == "" {
		return errors.New("find the Runtime API: AWS_LAMBDA_RUNTIME_API is not set; " +
			"this program is started by Lambda, or by `slipstream local`")
	}
	e := &edge{
		config: c, clock: newClock(c.Outside.Wall), client: lambda.New(c.RuntimeAPI, c.Outside.Dial),
		changed: make(chan struct{}, 1),
		release: make(chan struct{}, 1), arrived: make(chan struct{}, 1), found: make(chan struct{}),
		alive:  make(chan struct{}),
		pacer:  flush.NewPacer(flush.Pace{Strategy: c.Strategy, Staleness: c.MaxStaleness, Hold: c.MaxHold}),
		ending: flush.NewEnding(c.ShutdownWait, exitReserve), intake: intakeCount{refused: map[string]int64{}},
		ready: make(chan struct{}),
	}
	defer e.client.Close()
	if err := e.register(ctx); err != nil {
		return err
	}
	res := e.resource()
	e.identify(res)
	configErrors = append(configErrors, e.openLanes(res)...)
	configErrors = append(configErrors, e.openMetrics(res)...)
	if c.Strict {
		configErrors = append(configErrors, e.openPolicy()...)
	}
	if err := e.complain(ctx, configErrors); err != nil {
		return err
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	if len(e.lanes) > 0 {
		e.openListeners(e.collector.forwarded)
		listener, err := e.subscribe(ctx)
		if err != nil {
			slog.Error("no telemetry will be collected", "error", err)
			e.deaf = true
		} else {
			e.busy = listener.Busy
			defer closeQuietly(listener)
		}
	}
	var lanes sync.WaitGroup
	for _, l := range e.lanes {
		lanes.Go(func() { l.run(running) })
	}
	lanes.Go(func() { e.keepPace(running) })
	if e.aggregate != nil {
		lanes.Go(func() { e.aggregate.run(running) })
	}
	lanes.Go(e.recover)
	lanes.Go(stepBehind)
	lanes.Go(func() { e.startPolicy(running) })
	end, err := e.events(ctx)
	e.finish(end)
	stop()
	lanes.Wait()
	e.report(end.goesOn)
	e.leave()
	return err
}

// stepBehind lets the function have the processor first.
func stepBehind() {
	if err := behind.Step(); err != nil {
		slog.Debug("step behind the function", "cause", err)
	}
}

// register makes us known, for the events that the kind of environment has.
func (e *edge) register(ctx context.Context) (err error) {
	events := []string{lambda.EventInvoke, lambda.EventShutdown}
	if e.config.managed() {
		events = events[1:]
		e.decoder.Concurrent = true
		e.ending.Several()
	}
	if e.frozen = e.config.snapshot(); !e.frozen {
		close(e.alive)
	}
	e.registration, err = e.client.Register(ctx, e.config.Name, events)
	return err
}

// complain logs the errors of the configuration. In strict mode it ends Init.
func (e *edge) complain(ctx context.Context, errs []error) error {
	for _, err := range errs {
		slog.Error("configuration", "error", err)
	}
	if !e.config.Strict || len(errs) == 0 {
		return nil
	}
	err := fmt.Errorf("configuration (SLIPSTREAM_STRICT is true): %w", errors.Join(errs...))
	return errors.Join(err, e.client.InitError(ctx, "Extension.ConfigInvalid", err))
}

// resource says whose records these are.
func (e *edge) resource() *telemetry.Resource {
	f, r := e.config.Function, e.registration
	res := &telemetry.Resource{
		ServiceName: f.ServiceName, FunctionName: first(r.FunctionName, f.Name),
		FunctionVersion: first(r.FunctionVersion, f.Version), EnvironmentID: newUUID(), AccountID: r.AccountID,
		Region: f.Region, Architecture: runtime.GOARCH, MemoryMB: f.MemoryMB,
	}
	res.ServiceName = first(res.ServiceName, res.FunctionName)
	for _, a := range sortedAttributes(f.Attributes) {
		if a.Key == "service.name" && f.ServiceName == "" {
			res.ServiceName = a.Value
			continue
		}
		res.Attributes = append(res.Attributes, a)
	}
	return res
}

func first(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// newUUID makes a random UUID, version 4.
func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// openLanes makes a lane of each destination and gives an error for each that
// cannot be one.
func (e *edge) openLanes(res *telemetry.Resource) []error {
	var errs []error
	e.pool = &buffer.Pool{}
	if e.config.SpoolDir != "" {
		size := e.config.BufferBytes/4*5 + 1<<20 + e.config.heldBytes() + e.config.journalBytes()
		e.pool = buffer.NewPool(e.config.SpoolDir, size)
	}
	sealer := &buffer.Sealer{}
	for i, raw := range e.config.Destinations {
		if slices.Contains(e.config.Destinations[:i], raw) {
			errs = append(errs, fmt.Errorf("open destination %s: it is there twice; the second is left out", publicName(raw)))
			continue
		}
		first, others := lanesOf(raw)
		main, err := e.openLane(raw, first, res, sealer)
		if err != nil {
			errs = append(errs, fmt.Errorf("open destination %s: %w", publicName(raw), err))
			continue
		}
		main.first = true
		for _, signal := range others {
			if !e.config.collects() && (signal != telemetry.Metrics || !e.config.Metrics.made()) {
				continue
			}
			l, err := e.openLane(raw, signal, res, sealer)
			if err != nil {
				errs = append(errs, fmt.Errorf("open destination %s for %s: %w", publicName(raw), signal, err))
				continue
			}
			l.sequence = main.sequence
		}
	}
	handler, err := e.openForward(res, sealer)
	if err != nil {
		errs = append(errs, fmt.Errorf("%w; nothing is forwarded", err))
	}
	e.collector.forwarded = handler
	e.divide()
	return errs
}

// openLane makes one lane and adds it to the others.
func (e *edge) openLane(raw string, signal telemetry.Signal, res *telemetry.Resource, sealer *buffer.Sealer) (
	*lane, error) {
	c, to, err := openDestination(&e.config, raw, signal, res)
	if err != nil {
		return nil, err
	}
	l := newLane(c, to, e.pool, sealer)
	e.addLane(l)
	return l, nil
}

func (e *edge) addLane(l *lane) {
	l.clock = e.clock
	l.changed, l.waiting = e.changed, e.frozen
	e.lanes = append(e.lanes, l)
}

// divide gives each destination the same share of the memory; of that, its
// further lanes get an eighth each.
func (e *edge) divide() {
	whole := 0
	for _, l := range e.lanes {
		if l.first {
			whole++
		}
	}
	share, eighths := e.config.BufferBytes/max(whole, 1), 8
	for _, l := range slices.Backward(e.lanes) { // a destination's own lane stands before those of its signals
		if !l.first {
			l.bufferBytes = share / 8
			eighths--
			continue
		}
		l.bufferBytes = share / 8 * max(eighths, 1)
		eighths = 8
	}
}

// subscribe opens the receiver and asks the platform to send to it.
func (e *edge) subscribe(ctx context.Context) (*telemetryapi.Listener, error) {
	c := &e.config
	listener, err := telemetryapi.Listen(telemetryapi.Config{
		Port: c.TelemetryPort, MaxBody: 4*c.TelemetryMaxBytes + 1<<20, Take: e.take, Refused: e.refused,
		Listen: c.Outside.Listen,
	})
	if err != nil {
		return nil, err
	}
	err = e.client.Subscribe(ctx, lambda.Subscription{
		Logs: c.TelemetryAPI == apiLogs, SchemaVersion: c.apiVersion(), Types: c.LogTypes,
		MaxItems: c.TelemetryMaxItems, MaxBytes: c.TelemetryMaxBytes, Timeout: c.collect(), URI: listener.URI(),
	})
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	return listener, nil
}

func closeQuietly(l *telemetryapi.Listener) {
	if err := l.Close(); err != nil {
		slog.Debug("close the telemetry listener", "cause", err)
	}
}

// end is how the events ended.
type end struct {
	deadline time.Time // by which all must be over
	goesOn   bool      // the environment may: a new process will find /tmp as it is
	reset    bool      // it does
}

// events follows the lifecycle. It asks for the next event as soon as the pacer
// lets it, which is at once unless it has a reason to hold the invocation.
func (e *edge) events(ctx context.Context) (end, error) {
	for {
		event, err := e.client.Next(ctx)
		now := e.clock.now()
		switch {
		case ctx.Err() != nil:
			return end{deadline: now.Add(shutdownTime), goesOn: true}, nil
		case err != nil:
			return end{deadline: now.Add(shutdownTime), goesOn: true}, err
		case event.Type == lambda.EventShutdown:
			deadline := e.clock.lastDeadline(now, event.Deadline)
			slog.Debug("shutdown", "reason", event.ShutdownReason, "left", deadline.Sub(now))
			reset := event.ShutdownReason != "spindown"
			return end{deadline: deadline, goesOn: reset, reset: reset}, nil
		case event.Type == lambda.EventInvoke:
			e.invoked(ctx, now, event)
		}
	}
}

// take puts the records of one request into the lanes. It is all or nothing: a
// request for which there is no room is not touched, and comes again.
func (e *edge) take(ctx context.Context, body []byte) bool {
	<-e.ready
	if !e.makeRoom(ctx) {
		return false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.over {
		if !e.late {
			slog.Error("telemetry refused: it came when SHUTDOWN's time was over (raise SLIPSTREAM_SHUTDOWN_WAIT_MS)")
			e.late = true
		}
		return false
	}
	e.now = e.clock.now()
	e.meter.begin(e.now)
	t := e.decoder.Decode(body, e.clock.stamp(e.now), e.record)
	e.book(t)
	e.commit()
	e.lookAgain()
	e.ending.Received(e.clock.now())
	signal(e.arrived)
	return true
}

// record takes note of what the platform tells and hands the record to the
// policy. The caller holds e.mu.
func (e *edge) record(log *telemetry.Log) {
	switch log.Type {
	case "platform.report", "platform.initReport":
		e.ending.Arrived(log.Type, log.RequestID)
		signal(e.arrived)
	case "platform.start":
		e.ending.Arrived(log.Type, log.RequestID)
	case "platform.restoreStart":
		e.restored(e.now)
	case "platform.runtimeDone":
		status := string(telemetryapi.Member(log.Body, "status"))
		e.pacer.Done(log.RequestID, e.clock.place(e.now, log.Time), status != `"success"`)
		e.collector.due.Store(true)
		signal(e.changed)
	case "platform.logsDropped":
		n, _ := strconv.Atoi(string(telemetryapi.Member(log.Body, "droppedRecords")))
		e.intake.platformDropped += n
		e.pacer.Lost()
		signal(e.changed)
		slog.Error("the platform dropped records before we could take them", "records", n)
	}
	e.meter.event(log, e.now)
	e.logs.Take(log, e.now)
}

// restored gives an environment that comes from a snapshot an identity of its
// own, once. The caller holds e.mu.
func (e *edge) restored(now time.Time) {
	if !e.frozen {
		return
	}
	e.frozen = false
	close(e.alive)
	res := e.resource()
	e.identify(res)
	for _, l := range e.lanes {
		l.renew(res, now)
	}
	if e.aggregate != nil {
		e.aggregate.renew(res)
	}
	e.meter.renew(res)
}

// makeRoom waits until every lane has room for another request, a bounded time.
// A lane whose destination fails while others work gives up its oldest batches
// instead: one dead destination never costs the others a record.
func (e *edge) makeRoom(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, roomWait)
	defer cancel()
	defer e.stuck(false)
	for _, l := range e.lanes {
		for {
			full, failing := l.full()
			if !full {
				break
			}
			if failing && len(e.lanes) > 1 {
				l.dropOldest()
				break
			}
			e.stuck(true)
			select {
			case <-l.room:
			case <-ctx.Done():
				return false
			}
		}
	}
	return true
}

// stuck takes note of whether a request waits for memory. No invocation is held
// meanwhile: what a hold waits for may be in that request.
func (e *edge) stuck(noRoom bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.noRoom = noRoom
	if noRoom {
		e.pacer.Lost()
		signal(e.changed)
	}
}

// finish waits for the records that the platform still owes, bounded, and then
// for the lanes to deliver everything.
func (e *edge) finish(end end) {
	e.clock.settle()
	now := e.clock.now()
	e.mu.Lock()
	e.ending.Shutdown(now, end.deadline)
	e.mu.Unlock()
	if len(e.lanes) > 0 && !e.deaf {
		e.receive()
	}
	e.closeListeners()
	<-e.ready
	e.mu.Lock()
	e.over = true
	e.now = e.clock.now()
	e.meter.begin(e.now)
	e.book(e.decoder.Flush(e.clock.stamp(e.now), e.record))
	e.logs.Finish(e.now)
	e.meter.finish(e.now)
	e.speak(e.now)
	e.commit()
	sendUntil := e.ending.SendUntil()
	e.mu.Unlock()

	timer := time.NewTimer(e.clock.until(sendUntil))
	defer timer.Stop()
	select {
	case <-e.found:
	case <-timer.C:
		return
	}
	if e.aggregate != nil {
		e.aggregate.close()
	}
	now = e.clock.now()
	for _, l := range e.lanes {
		l.finish(now, sendUntil, end.reset)
	}
	for _, l := range e.lanes {
		select {
		case <-l.drained:
		case <-timer.C:
			return
		}
	}
}

// receive returns when the last record is there, or when the platform has been
// silent for too long, or at the latest moment that leaves time to send. With a
// small share of a CPU a request may take longer than the silence that is waited
// for: as long as one is under way, the platform is not silent.
func (e *edge) receive() {
	for {
		e.mu.Lock()
		complete, until := e.ending.Complete(), e.ending.ReceiveUntil()
		e.mu.Unlock()
		if complete {
			return
		}
		timer := time.NewTimer(e.clock.until(until))
		select {
		case <-e.arrived:
			timer.Stop()
		case <-timer.C:
			if e.stillComing(until) {
				continue
			}
			slog.Debug("the platform's last word on the last invocation did not come in time")
			return
		}
	}
}

// stillComing tells whether a request is under way for which there is time beyond until.
func (e *edge) stillComing(until time.Time) bool {
	if !e.busy() {
		return false
	}
	e.mu.Lock() // while one is being decoded this waits for it
	defer e.mu.Unlock()
	e.ending.Received(e.clock.now())
	return e.ending.ReceiveUntil().After(until)
}
