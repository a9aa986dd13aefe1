// Command lambdago is a function on AWS's own Go runtime.
package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
)

type order struct {
	ID    int    `json:"id"`
	Fails bool   `json:"fails"`
	Panic string `json:"panic"`
	Gate  string `json:"gate"` // a URL to fetch: its server decides when to go on
}

func main() {
	lambda.Start(func(ctx context.Context, o order) (string, error) {
		c, _ := lambdacontext.FromContext(ctx)
		fmt.Println("order", o.ID)
		if o.Panic != "" {
			panic(o.Panic)
		}
		if o.Gate != "" {
			resp, err := http.Get(o.Gate)
			if err != nil {
				return "", err
			}
			_ = resp.Body.Close()
		}
		if o.Fails {
			return "", errors.New("no such order")
		}
		_, hasDeadline := ctx.Deadline()
		return fmt.Sprintf("%s %s %d %v", lambdacontext.FunctionName, c.InvokedFunctionArn, lambdacontext.MemoryLimitInMB,
			hasDeadline), nil
	})
}
