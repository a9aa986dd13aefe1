package emulator_test

import (
	"context"
	"fmt"
	"time"

	"slipstream/emulator"
)

// A test of another project starts its function and its extension, invokes, and
// reads what the extension received.
func ExampleStart() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	recorder := emulator.NewRecorder(0)
	lambda, err := emulator.Start(ctx, emulator.Config{
		Freeze:  true,
		Observe: recorder.Observe(),
		Functions: []emulator.Function{{
			Name: "shop", Command: []string{"./bootstrap"}, Extensions: []string{"./my-extension"}, MemoryMB: 512,
		}},
	})
	if err != nil {
		fmt.Println(err) // in a test: t.Fatal
		return
	}
	result, err := lambda.Invoke(ctx, "shop", []byte(`{"order": 1}`))
	fmt.Println(string(result.Payload), result.FunctionError, err)
	if err := lambda.Shutdown(ctx); err != nil {
		fmt.Println(err)
	}
	deliveries, _ := recorder.Deliveries("my-extension")
	for _, d := range deliveries {
		fmt.Printf("%s\n", d.Body)
	}
}
