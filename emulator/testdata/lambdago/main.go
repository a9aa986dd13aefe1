// Command lambdago is a function on AWS's own Go runtime.
package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
)

type order struct {
	ID    int    `json:"id"`
	Fails bool   `json:"fails"`
	Panic string `json:"panic"`
}

func main() {
	lambda.Start(func(ctx context.Context, o order) (string, error) {
		c, _ := lambdacontext.FromContext(ctx)
		fmt.Println("order", o.ID)
		if o.Panic != "" {
			panic(o.Panic)
		}
		if o.Fails {
			return "", errors.New("no such order")
		}
		_, hasDeadline := ctx.Deadline()
		return fmt.Sprintf("%s %s %d %v", lambdacontext.FunctionName, c.InvokedFunctionArn, lambdacontext.MemoryLimitInMB,
			hasDeadline), nil
	})
}
