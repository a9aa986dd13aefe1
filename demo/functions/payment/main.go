// Command payment is the demo's function with a slow dependency: the bank takes
// its time for every fifth order and declines every seventeenth.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/aws/aws-lambda-go/lambda"

	"slipstream/demo/functions/shop"
)

const (
	bankUsual  = 12 * time.Millisecond
	bankSlow   = 180 * time.Millisecond
	slowEvery  = 5
	noEvery    = 17
	splitLines = 3 // lines a payment writes while it waits
)

func main() {
	s, err := shop.New("payment")
	if err != nil {
		fmt.Fprintln(os.Stderr, "payment:", err)
		os.Exit(1)
	}
	lambda.Start(func(_ context.Context, o shop.Order) (shop.Answer, error) { return pay(s, o) })
}

func pay(s *shop.Shop, o shop.Order) (shop.Answer, error) {
	s.JSON("INFO", "payment asked for", o)
	wait := bankUsual
	if o.Number%slowEvery == 0 {
		wait = bankSlow
		s.Text("WARN", "the bank is slow today, order=%d", o.Number)
	}
	for i := range splitLines {
		time.Sleep(wait / splitLines)
		s.Text("DEBUG", "waiting for the bank, order=%d step=%d", o.Number, i+1)
	}
	if o.Number%noEvery == 0 {
		s.JSON("ERROR", "the bank declines", o)
		return shop.Answer{}, fmt.Errorf("order %d: the bank declines", o.Number)
	}
	s.JSON("INFO", "paid", o)
	return shop.Answer{Order: o.Number, Status: "paid"}, nil
}
