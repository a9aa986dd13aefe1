package demo

import (
	"context"
	"encoding/json"
	"sync"
	"sync/atomic"
	"time"

	"slipstream/demo/functions/shop"
	"slipstream/emulator"
	"slipstream/emulator/client"
)

// progressEvery is how often the progress is shown.
const progressEvery = 250 * time.Millisecond

// load places orders at checkout, parallel at once.
type load struct {
	lambda *emulator.Lambda
	orders int // 0: no end

	next     atomic.Int64
	placed   atomic.Int64 // answered, with or without an error
	declined atomic.Int64 // answered with a function error
	broken   atomic.Int64 // not answered by the function at all
}

func newLoad(l *emulator.Lambda, orders int) *load { return &load{lambda: l, orders: orders} }

// run ends when all orders are placed, or with ctx after those under way.
func (l *load) run(ctx context.Context, progress func()) {
	var customers sync.WaitGroup
	for range parallel {
		customers.Go(func() {
			for ctx.Err() == nil {
				number := int(l.next.Add(1))
				if l.orders > 0 && number > l.orders {
					return
				}
				l.place(shop.Order{Number: number, Items: 1 + number%4})
			}
		})
	}
	done := make(chan struct{})
	go func() {
		customers.Wait()
		close(done)
	}()
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case <-tick.C:
			progress()
		}
	}
}

// place sends one order. It is not bound to the user's patience: an order that
// is under way is finished, so that its lines are counted.
func (l *load) place(o shop.Order) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*timeout)
	defer cancel()
	event, _ := json.Marshal(o) // two integers
	result, err := client.Invoke(ctx, l.lambda, "checkout", event)
	switch {
	case err != nil:
		l.broken.Add(1)
	case result.FunctionError != "":
		l.declined.Add(1)
	}
	l.placed.Add(1)
}
