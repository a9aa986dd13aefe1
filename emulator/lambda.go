package emulator

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"slipstream/emulator/invokeapi"
)

// maxEvents bounds the asynchronous events that wait or run, per function.
const maxEvents = 1000

// Result is a function's answer.
type Result struct {
	RequestID string
	Payload   []byte
	// FunctionError is empty for a success, else "Unhandled": the payload is the
	// error then.
	FunctionError string
	// ResponseTime is from the call of Invoke to the answer, Init included.
	ResponseTime time.Duration
}

// Invoke runs a function, named as in the Invoke API, and waits for its answer.
// Errors of the service are *invokeapi.Exception; those of the function are in
// the Result.
func (l *Lambda) Invoke(ctx context.Context, name string, payload []byte) (Result, error) {
	began := time.Now()
	req := invokeapi.Request{RequestID: invokeapi.NewRequestID(), Function: name, Payload: payload}
	response, err := (*frontEnd)(l).Invoke(ctx, req)
	return Result{RequestID: req.RequestID, Payload: response.Payload, FunctionError: response.FunctionError,
		ResponseTime: time.Since(began)}, err
}

// InvokeEvent queues an asynchronous invocation and returns its request id.
func (l *Lambda) InvokeEvent(name string, payload []byte) (string, error) {
	req := invokeapi.Request{RequestID: invokeapi.NewRequestID(), Function: name, Payload: payload}
	return req.RequestID, (*frontEnd)(l).Enqueue(req)
}

// frontEnd is the Lambda as the Invoke API sees it.
type frontEnd Lambda

var _ invokeapi.Invoker = (*frontEnd)(nil)

func (f *frontEnd) pool(name string) (*pool, error) {
	if p := f.functions[name]; p != nil {
		return p, nil
	}
	return nil, invokeapi.NotFound("arn:aws:lambda:" + f.cfg.Region + ":" + f.cfg.AccountID + ":function:" + name)
}

// Check finds the function.
func (f *frontEnd) Check(req invokeapi.Request) error {
	_, err := f.pool(req.Function)
	return err
}

// Invoke runs the function.
func (f *frontEnd) Invoke(ctx context.Context, req invokeapi.Request) (invokeapi.Response, error) {
	p, err := f.pool(req.Function)
	if err != nil {
		return invokeapi.Response{}, err
	}
	return p.invoke(ctx, req)
}

// Enqueue takes an event, if the queue has room.
func (f *frontEnd) Enqueue(req invokeapi.Request) error {
	p, err := f.pool(req.Function)
	if err != nil {
		return err
	}
	if err := p.enter(); err != nil {
		return err
	}
	select {
	case p.events <- struct{}{}:
	default:
		p.leave()
		return invokeapi.Throttled()
	}
	go func() {
		defer p.leave()
		defer func() { <-p.events }()
		p.runEvent(req, f.cfg.EventRetryDelays)
	}()
	return nil
}

// runEvent invokes the function until it succeeds or the retries are used up. An
// event that is lost is logged: nobody else would learn of it.
func (p *pool) runEvent(req invokeapi.Request, delays []time.Duration) {
	for attempt := 0; ; attempt++ {
		e, err := p.await(p.stopped)
		if err != nil {
			slog.Warn("event dropped", "function", req.Function, "request", req.RequestID, "cause", err)
			return
		}
		inv := p.newInvocation(req)
		e.run(inv)
		p.release(e)
		if inv.response.FunctionError == "" && inv.refused == nil {
			return
		}
		if attempt == len(delays) {
			slog.Warn("event dropped after function errors", "function", req.Function, "request", req.RequestID,
				"attempts", attempt+1, "error", string(inv.response.Payload), "cause", inv.refused)
			return
		}
		pause(p.stopped, delays[attempt])
	}
}

// addressBook gives each environment the least used address.
type addressBook struct {
	candidates []netip.Addr

	mu    sync.Mutex
	users map[netip.Addr]int
	last  int
}

func (b *addressBook) take() netip.Addr {
	b.mu.Lock()
	defer b.mu.Unlock()
	best := b.candidates[0]
	for _, a := range b.candidates {
		if b.users[a] < b.users[best] {
			best = a
		}
	}
	b.add(best, 1)
	return best
}

func (b *addressBook) hold(a netip.Addr) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.add(a, 1)
}

func (b *addressBook) release(a netip.Addr) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.add(a, -1)
}

func (b *addressBook) add(a netip.Addr, n int) {
	if b.users == nil {
		b.users = map[netip.Addr]int{}
	}
	b.users[a] += n
}

// number counts the environments made.
func (b *addressBook) number() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last++
	return b.last
}

// activity counts invocations and queued events.
type activity struct {
	mu   sync.Mutex
	n    int
	zero chan struct{} // closed when n is 0 again; nil before the first
}

func (a *activity) begin() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.n == 0 {
		a.zero = make(chan struct{})
	}
	a.n++
}

func (a *activity) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.n--; a.n == 0 {
		close(a.zero)
	}
}

func (a *activity) wait(ctx context.Context) error {
	a.mu.Lock()
	zero := a.zero
	a.mu.Unlock()
	if zero == nil {
		return nil
	}
	select {
	case <-zero:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
