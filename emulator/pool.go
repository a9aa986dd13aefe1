package emulator

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"slipstream/emulator/invokeapi"
)

var errClosed = errors.New("the emulator is shutting down")

// pool holds the environments of one function.
type pool struct {
	lambda   *Lambda
	function *readyFunction
	events   chan struct{}  // a token for each queued event
	work     sync.WaitGroup // invocations, events and retirements under way
	stop     context.CancelFunc
	stopped  context.Context // ends when close begins

	mu      sync.Mutex
	all     map[*environment]bool
	idle    []*environment // the most recently used last
	counted int            // environments that count as concurrency: not those in Shutdown
	waiters []chan struct{}
	closed  bool
}

func newPool(l *Lambda, f *readyFunction) *pool {
	p := &pool{lambda: l, function: f, events: make(chan struct{}, maxEvents), all: map[*environment]bool{}}
	p.stopped, p.stop = context.WithCancel(context.Background())
	return p
}

// enter counts a piece of work that close has to wait for.
func (p *pool) enter() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return errClosed
	}
	p.work.Add(1)
	p.lambda.active.begin()
	return nil
}

func (p *pool) leave() {
	p.lambda.active.end()
	p.work.Done()
}

// invoke runs the function once and returns its answer as soon as there is one;
// the environment may be busy for longer.
func (p *pool) invoke(ctx context.Context, req invokeapi.Request) (invokeapi.Response, error) {
	if err := p.enter(); err != nil {
		return invokeapi.Response{}, err
	}
	e, err := p.acquire()
	if err != nil {
		p.leave()
		return invokeapi.Response{}, err
	}
	inv := p.newInvocation(req)
	go func() {
		defer p.leave()
		e.run(inv)
		p.release(e)
	}()
	select {
	case response := <-inv.answer:
		return response, inv.refused
	case <-ctx.Done(): // the function runs on, as on Lambda
		return invokeapi.Response{}, ctx.Err()
	}
}

func (p *pool) newInvocation(req invokeapi.Request) *invocation {
	arn := p.function.arn
	if req.Qualifier != "" {
		arn += ":" + req.Qualifier
	}
	return &invocation{Request: req, arn: arn, answer: make(chan invokeapi.Response, 1)}
}

// acquire takes the most recently used idle environment, or makes one.
func (p *pool) acquire() (*environment, error) {
	if p.function.InitType == managed {
		return p.acquireShared()
	}
	p.mu.Lock()
	if n := len(p.idle); n > 0 {
		e := p.idle[n-1]
		p.idle = p.idle[:n-1]
		e.idle.Stop()
		p.mu.Unlock()
		return e, nil
	}
	p.mu.Unlock()
	return p.create()
}

// create makes an environment, if there may be one more, in the caller's hands.
func (p *pool) create() (*environment, error) {
	p.mu.Lock()
	if p.counted >= p.function.Concurrency {
		p.mu.Unlock()
		return nil, invokeapi.Throttled()
	}
	p.counted++
	p.mu.Unlock()

	e, err := newEnvironment(p.lambda, p.function, p.lambda.addresses.number())

	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		p.counted--
		p.wake()
		return nil, err
	}
	p.all[e] = true
	if p.function.InitType == managed {
		e.shared.users = 1
		go p.guard(e)
	}
	return e, nil
}

// await is acquire for those who can wait: queued events. It is an error when ctx
// has ended, even if an environment is free.
func (p *pool) await(ctx context.Context) (*environment, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		free := make(chan struct{}, 1)
		p.mu.Lock()
		p.waiters = append(p.waiters, free)
		p.mu.Unlock()
		e, err := p.acquire()
		if _, throttled := errors.AsType[*invokeapi.Exception](err); !throttled {
			p.forget(free)
			return e, err
		}
		select {
		case <-free:
		case <-ctx.Done():
			p.forget(free)
			return nil, ctx.Err()
		}
	}
}

// wake tells the one who waits longest that an environment may be free; the lock
// is held.
func (p *pool) wake() {
	if len(p.waiters) > 0 {
		p.waiters[0] <- struct{}{}
		p.waiters = p.waiters[1:]
	}
}

// forget withdraws a waiter, and passes its turn on if it just got one.
func (p *pool) forget(free chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.waiters, free); i >= 0 {
		p.waiters = slices.Delete(p.waiters, i, i+1)
		return
	}
	p.wake()
}

// release puts an environment back; after the idle timeout it is spun down.
func (p *pool) release(e *environment) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.function.InitType == managed && !p.releaseShared(e) {
		p.wake()
		return
	}
	p.idle = append(p.idle, e)
	timeout := p.lambda.cfg.IdleTimeout
	if e.snapshot.held {
		timeout = max(timeout, snapshotLife)
	}
	e.idle = time.AfterFunc(timeout, func() { p.expire(e) })
	p.wake()
}

// expire spins an environment down that nobody took in time.
func (p *pool) expire(e *environment) {
	p.mu.Lock()
	i := slices.Index(p.idle, e)
	if i < 0 || p.closed {
		p.mu.Unlock()
		return
	}
	p.idle = slices.Delete(p.idle, i, i+1)
	e.shared.leaving = true
	p.counted--
	p.wake()
	p.work.Add(1)
	p.mu.Unlock()
	defer p.work.Done()
	p.retire(e)
}

func (p *pool) retire(e *environment) {
	close(e.shared.retired)
	if e.snapshot.held {
		e.discard()
	} else {
		e.shutdown("spindown")
	}
	e.close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.all, e)
}

// warm makes environments and runs their Init, all at once.
func (p *pool) warm(ctx context.Context, n int) error {
	if n == 0 {
		return nil
	}
	problems := make(chan error, n)
	for range n {
		if err := p.enter(); err != nil {
			return err
		}
		go func() {
			defer p.leave()
			e, err := p.create()
			if err == nil {
				err = e.prewarm()
				p.release(e)
			}
			problems <- err
		}()
	}
	var all []error
	for range n {
		select {
		case err := <-problems:
			all = append(all, err)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return errors.Join(all...)
}

// close spins all environments down after their invocations. When the context
// ends, what is left is killed.
func (p *pool) close(ctx context.Context) error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.stop()
	finished := make(chan struct{})
	go func() {
		p.work.Wait()
		close(finished)
	}()
	var problem error
	select {
	case <-finished:
	case <-ctx.Done():
		problem = ctx.Err()
		p.killAll()
		<-finished
	}
	var spindown sync.WaitGroup
	p.mu.Lock()
	idle := p.idle
	p.idle = nil
	p.mu.Unlock()
	for _, e := range idle {
		e.idle.Stop()
		spindown.Go(func() { p.retire(e) })
	}
	spindown.Wait()
	return problem
}

// killAll ends the processes of every environment at once.
func (p *pool) killAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for e := range p.all {
		if l := e.life.Load(); l != nil {
			l.killAll()
		}
	}
}

func (l *life) killAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range append(l.external, l.runtime) {
		if p != nil {
			p.Kill()
		}
	}
}
