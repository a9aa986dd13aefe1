// Command inventory is the demo's quick function: it reserves the items of an
// order, and has none left for every twenty-third.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/aws/aws-lambda-go/lambda"

	"slipstream/demo/functions/shop"
)

const noneEvery = 23

func main() {
	s, err := shop.New("inventory")
	if err != nil {
		fmt.Fprintln(os.Stderr, "inventory:", err)
		os.Exit(1)
	}
	lambda.Start(func(_ context.Context, o shop.Order) (shop.Answer, error) { return reserve(s, o), nil })
}

func reserve(s *shop.Shop, o shop.Order) shop.Answer {
	for i := range o.Items {
		s.Text("INFO", "looking for item %d of order=%d", i+1, o.Number)
	}
	if o.Number%noneEvery == 0 {
		s.JSON("WARN", "out of stock", o)
		return shop.Answer{Order: o.Number, Status: "out of stock"}
	}
	s.JSON("INFO", "reserved", o)
	return shop.Answer{Order: o.Number, Status: "reserved"}
}
