package edge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"slipstream/destination/awsauth"
	"slipstream/telemetry"
	"slipstream/wire"
)

// detailsTimeout bounds the one question to Lambda about the function.
const detailsTimeout = 10 * time.Second

// functionDetails is what Edge Delta's records say of the function, nil unless
// Config.ForwardTags: at once what the environment knows, and runtime and tags
// as soon as Lambda has told. It is asked once, in the background, when the
// first record of an invocation comes by, so never in Init. It needs
// lambda:GetFunction; without, there is one warning and the rest is sent.
func functionDetails(c *Config, res *telemetry.Resource) func(requestID string) *wire.FunctionDetails {
	if !c.ForwardTags {
		return nil
	}
	known := &wire.FunctionDetails{Architecture: res.Architecture}
	if known.Architecture == "amd64" {
		known.Architecture = "x86_64"
	}
	if res.MemoryMB > 0 {
		known.MemorySize = strconv.Itoa(res.MemoryMB)
	}
	var current atomic.Pointer[wire.FunctionDetails]
	current.Store(known)
	var once sync.Once
	return func(requestID string) *wire.FunctionDetails {
		if requestID != "" {
			once.Do(func() { go learn(c, known, &current) })
		}
		return current.Load()
	}
}

// learn asks Lambda and makes its answer the current details.
func learn(c *Config, known *wire.FunctionDetails, current *atomic.Pointer[wire.FunctionDetails]) {
	told, err := askLambda(c, *known)
	if err != nil {
		slog.Warn("ED_FORWARD_LAMBDA_TAGS: records go without the function's tags", "error", err)
		return
	}
	current.Store(told)
}

// askLambda adds to known what GetFunction says.
func askLambda(c *Config, known wire.FunctionDetails) (*wire.FunctionDetails, error) {
	ctx, cancel := context.WithTimeout(context.Background(), detailsTimeout)
	defer cancel()
	region := awsauth.Region(c.Function.Region, c.Getenv)
	endpoint, err := awsauth.Endpoint("", "LAMBDA", c.Getenv)
	if err != nil {
		return nil, fmt.Errorf("read AWS_ENDPOINT_URL_LAMBDA: %w", err)
	}
	client := awsauth.New("function "+c.Function.Name, c.Getenv)
	defer client.Close()
	creds, err := client.Credentials(ctx)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(ctx, &awsauth.Request{
		Op: "get function", Service: "lambda", Region: region, Method: http.MethodGet, Header: http.Header{},
		URL: awsauth.ServiceURL("lambda", region, endpoint).
			JoinPath("2015-03-31", "functions", url.PathEscape(c.Function.Name)),
	}, creds)
	if err != nil {
		return nil, err
	}
	if resp.Status != http.StatusOK {
		code, message := awsauth.JSONError(resp, creds)
		return nil, fmt.Errorf("get function %s: status %d %s: %s (allow the function's role lambda:GetFunction on itself)",
			c.Function.Name, resp.Status, code, message)
	}
	return readDetails(resp.Body, known, c.TagPrefix)
}

// readDetails reads the answer of GetFunction.
func readDetails(body []byte, known wire.FunctionDetails, prefix string) (*wire.FunctionDetails, error) {
	var answer struct {
		Configuration struct {
			Runtime       string
			MemorySize    int
			Architectures []string
		}
		Tags map[string]string
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, errors.New("get function: the answer is not Lambda's; check AWS_ENDPOINT_URL_LAMBDA")
	}
	f := answer.Configuration
	known.Runtime = f.Runtime
	if f.MemorySize > 0 {
		known.MemorySize = strconv.Itoa(f.MemorySize)
	}
	if len(f.Architectures) > 0 {
		known.Architecture = f.Architectures[0]
	}
	known.Tags = sortedAttributes(answer.Tags)
	for i := range known.Tags {
		known.Tags[i].Key = prefix + known.Tags[i].Key
	}
	return &known, nil
}
