package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"slipstream/demo/functions/shop"
)

// progressEvery is how often the progress is shown.
const progressEvery = 250 * time.Millisecond

// load places orders at checkout, parallel at once.
type load struct {
	url    string
	orders int // 0: no end
	client *http.Client

	next     atomic.Int64
	placed   atomic.Int64 // answered, with or without an error
	declined atomic.Int64 // answered with a function error
	broken   atomic.Int64 // not answered by the function at all
}

func newLoad(endpoint string, orders int) *load {
	return &load{url: endpoint + "/2015-03-31/functions/checkout/invocations", orders: orders,
		client: &http.Client{Timeout: 2 * timeout}}
}

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
	event, _ := json.Marshal(o) // two integers
	response, err := l.client.Post(l.url, "application/json", bytes.NewReader(event))
	if err != nil {
		l.broken.Add(1)
		return
	}
	_, err = io.Copy(io.Discard, response.Body)
	_ = response.Body.Close() // read to its end
	switch {
	case err != nil || response.StatusCode != http.StatusOK:
		l.broken.Add(1)
	case response.Header.Get("X-Amz-Function-Error") != "":
		l.declined.Add(1)
	}
	l.placed.Add(1)
}
