// Command checkout is the demo's front function: it asks inventory, then
// payment, and fails when one of them does.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/aws/aws-lambda-go/lambda"

	"slipstream/demo/functions/shop"
)

func main() {
	s, err := shop.New("checkout")
	if err != nil {
		fmt.Fprintln(os.Stderr, "checkout:", err)
		os.Exit(1)
	}
	lambda.Start(func(ctx context.Context, o shop.Order) (shop.Answer, error) { return checkout(ctx, s, o) })
}

func checkout(ctx context.Context, s *shop.Shop, o shop.Order) (shop.Answer, error) {
	s.JSON("INFO", "order received", o)
	stock, err := s.Call(ctx, "inventory", o)
	if err != nil {
		s.Text("ERROR", "order=%d: %v", o.Number, err)
		return shop.Answer{}, fmt.Errorf("order %d: %w", o.Number, err)
	}
	s.Text("INFO", "order=%d inventory says %s", o.Number, stock.Status)
	if stock.Status != "reserved" {
		return stock, nil
	}
	paid, err := s.Call(ctx, "payment", o)
	if err != nil {
		s.Text("ERROR", "order=%d: %v", o.Number, err)
		return shop.Answer{}, fmt.Errorf("order %d: %w", o.Number, err)
	}
	s.JSON("INFO", "order complete", o)
	return paid, nil
}
