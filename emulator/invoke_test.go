package emulator

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/google/go-cmp/cmp"

	"slipstream/emulator/invokeapi"
)

func (s *stage) sdk() *lambda.Client {
	return lambda.New(lambda.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(s.Endpoint()), RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret", ""),
	})
}

// TestSDK invokes a real function with AWS's own client.
func TestSDK(t *testing.T) {
	s := play(t, change(func(c *Config, _ *Function) { c.EventRetryDelays = []time.Duration{1, 1} }))
	sdk, name := s.sdk(), aws.String("arn:aws:lambda:us-east-1:123456789012:function:shop:live")
	out, err := sdk.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: name, Payload: []byte(`{"Print":["hello"]}`),
		LogType: types.LogTypeTail, ClientContext: aws.String(base64.StdEncoding.EncodeToString([]byte(`{"a":1}`)))})
	if err != nil {
		t.Fatal(err)
	}
	if text := string(out.Payload); out.StatusCode != 200 || !strings.Contains(text, `function:shop:live"`) ||
		!strings.Contains(text, `"context":"{\"a\":1}"`) || aws.ToString(out.ExecutedVersion) != "$LATEST" {
		t.Errorf("got %d %s", out.StatusCode, out.Payload)
	}
	tail, _ := base64.StdEncoding.DecodeString(aws.ToString(out.LogResult))
	if lines := strings.Split(string(tail), "\n"); len(lines) != 5 || !strings.HasPrefix(lines[0], "START") ||
		lines[1] != "hello" || !strings.HasPrefix(lines[3], "REPORT") {
		t.Errorf("tail %q", tail)
	}
	s.settle()
	out, err = sdk.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: name, Payload: []byte(`{"Error":"Oops"}`)})
	if err != nil || aws.ToString(out.FunctionError) != "Unhandled" || !strings.Contains(string(out.Payload), "Oops") {
		t.Errorf("function error: %v %s", err, out.Payload)
	}
	s.settle()
	out, err = sdk.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: name, Payload: []byte(`{"Print":["event"]}`),
		InvocationType: types.InvocationTypeEvent})
	if err != nil || out.StatusCode != 202 {
		t.Errorf("event: %v", err)
	}
	s.settle()
	if got := s.printed(1, "event"); len(got) != 1 {
		t.Errorf("the event ran %d times", len(got))
	}
	_, err = sdk.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("nope")})
	if e, ok := errors.AsType[*types.ResourceNotFoundException](err); !ok ||
		e.ErrorMessage() != "Function not found: arn:aws:lambda:us-east-1:123456789012:function:nope" {
		t.Errorf("unknown function: %v", err)
	}
}

// TestSDKStream: a streamed response comes through in pieces.
func TestSDKStream(t *testing.T) {
	s := play(t)
	out, err := s.sdk().InvokeWithResponseStream(t.Context(), &lambda.InvokeWithResponseStreamInput{
		FunctionName: aws.String("shop"), Payload: []byte(`{"Stream":["one ","two ","three"]}`)})
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	completed := false
	for event := range out.GetStream().Events() {
		switch e := event.(type) {
		case *types.InvokeWithResponseStreamResponseEventMemberPayloadChunk:
			text.Write(e.Value.Payload)
		case *types.InvokeWithResponseStreamResponseEventMemberInvokeComplete:
			completed = e.Value.ErrorCode == nil
		}
	}
	if text.String() != "one two three" || !completed {
		t.Errorf("got %q, complete %v", text.String(), completed)
	}
	s.settle()
	if r := s.recorder.Reports()[0]; r.ProducedBytes != 13 {
		t.Errorf("report %+v", r)
	}
}

// TestLambdaGo runs a function on AWS's own Go runtime.
func TestLambdaGo(t *testing.T) {
	s := play(t, change(func(_ *Config, f *Function) { f.Command = []string{program("lambdago")} }), extension("ext",
		subscribed))
	const want = `"shop arn:aws:lambda:us-east-1:123456789012:function:shop 512 true"`
	if got := s.invoke(`{"id":7}`); string(got.Payload) != want {
		t.Errorf("got %s", got.Payload)
	}
	s.settle()
	if got := s.invoke(`{"fails":true}`); got.FunctionError != "Unhandled" ||
		string(got.Payload) != `{"errorMessage":"no such order","errorType":"errorString"}` {
		t.Errorf("error: %s", got.Payload)
	}
	s.settle()
	if got := s.invoke(`{"panic":"oh"}`); got.FunctionError != "Unhandled" || !strings.Contains(string(got.Payload),
		`"errorMessage":"oh"`) {
		t.Errorf("panic: %s", got.Payload)
	}
	s.settle()
	if got := s.invoke(`{"id":8}`); string(got.Payload) != want {
		t.Errorf("after the panic: %s", got.Payload)
	}
}

// TestConcurrency: as many environments as allowed, on as many addresses as there
// are, then 429; an event waits instead.
func TestConcurrency(t *testing.T) {
	one := netip.MustParseAddr("127.0.0.1")
	for name, addresses := range map[string][]netip.Addr{"an address each": nil, "one address": {one}} {
		t.Run(name, func(t *testing.T) {
			s := play(t, change(func(c *Config, f *Function) { c.Addresses, f.Concurrency = addresses, 2 }))
			answers := []<-chan Result{s.begin(`{"Env":true,"Gate":"GATE/f"}`), s.begin(`{"Env":true,"Gate":"GATE/f"}`)}
			s.reach()
			s.reach()
			_, err := s.Invoke(t.Context(), "shop", []byte(`{}`))
			if e, ok := errors.AsType[*invokeapi.Exception](err); !ok || e.Type != "TooManyRequestsException" {
				t.Errorf("third invocation: %v", err)
			}
			if _, err := s.InvokeEvent("shop", []byte(`{"Print":["queued"]}`)); err != nil {
				t.Error(err)
			}
			if got := s.log.lines("queued"); len(got) != 0 {
				t.Error("the event did not wait")
			}
			s.open <- struct{}{}
			s.open <- struct{}{}
			hosts, ports, environments := map[string]bool{}, map[string]bool{}, map[string]bool{}
			for _, answer := range answers {
				_, after, _ := strings.Cut(string((<-answer).Payload), `"AWS_LAMBDA_RUNTIME_API=`)
				host, port, _ := strings.Cut(after[:strings.Index(after, `"`)], ":")
				hosts[host], ports[port] = true, true
			}
			s.settle()
			if got := s.printed(1, "queued"); len(got) != 1 {
				t.Errorf("the event ran %d times", len(got))
			}
			for _, r := range s.recorder.Reports() {
				environments[r.Environment] = true
			}
			if len(environments) != 2 {
				t.Errorf("%d environments", len(environments))
			}
			wantHosts := 2
			if addresses != nil || slices.ContainsFunc(s.Notices(), func(n string) bool {
				return strings.Contains(n, "only 127.0.0.1")
			}) {
				wantHosts = 1
			}
			if len(hosts) != wantHosts || wantHosts == 1 && len(ports) != 2 {
				t.Errorf("hosts %v, ports %v, want %d hosts", hosts, ports, wantHosts)
			}
		})
	}
}

// TestEventRetries: twice more after a function error, with the same request id.
func TestEventRetries(t *testing.T) {
	s := play(t, change(func(c *Config, _ *Function) { c.EventRetryDelays = []time.Duration{1, 1} }))
	id, err := s.InvokeEvent("shop", []byte(`{"Error":"Oops"}`))
	if err != nil {
		t.Fatal(err)
	}
	s.settle()
	reports := s.recorder.Reports()
	if len(reports) != 3 {
		t.Errorf("%d tries", len(reports))
	}
	for _, r := range reports {
		if r.RequestID != id {
			t.Errorf("request id %s, want %s", r.RequestID, id)
		}
	}
}

// TestShutdownDoesNotRetryEvents: one that waits for its second try is dropped.
func TestShutdownDoesNotRetryEvents(t *testing.T) {
	s := play(t, change(func(c *Config, _ *Function) { c.EventRetryDelays = []time.Duration{time.Hour} }))
	if _, err := s.InvokeEvent("shop", []byte(`{"Error":"Oops"}`)); err != nil {
		t.Fatal(err)
	}
	s.eventually("the first try", func() bool { return len(s.recorder.Reports()) == 1 })
	s.stop()
	if n := len(s.recorder.Reports()); n != 1 {
		t.Errorf("%d tries", n)
	}
}

// TestFunctionsCallEachOther: several functions behind one Invoke API, which they
// find by AWS_ENDPOINT_URL_LAMBDA.
func TestFunctionsCallEachOther(t *testing.T) {
	s := play(t, change(func(c *Config, f *Function) {
		other := *f
		other.Name, other.Env = "bank", map[string]string{}
		c.Functions = append(c.Functions, other)
	}))
	if got := s.invoke(`{"Call":"bank"}`); !strings.Contains(string(got.Payload), "AWS_LAMBDA_FUNCTION_NAME=bank") {
		t.Errorf("shop got %s from bank", got.Payload)
	}
	s.settle()
	ran := map[string]int{}
	for _, r := range s.recorder.Reports() { // in any order: bank's caller need not wait for its report
		ran[r.Function]++
	}
	if diff := cmp.Diff(map[string]int{"shop": 1, "bank": 1}, ran); diff != "" {
		t.Error(diff)
	}
}

// TestConfigErrors: each mistake is named before anything runs.
func TestConfigErrors(t *testing.T) {
	good := Function{Name: "shop", Command: []string{program("function")}}
	for want, spoil := range map[string]func(*Config){
		`configured twice`:            func(c *Config) { c.Functions = append(c.Functions, good) },
		`name "a:b"`:                  func(c *Config) { c.Functions[0].Name = "a:b" },
		`no command`:                  func(c *Config) { c.Functions[0].Command = nil },
		`log format "xml": use Text`:  func(c *Config) { c.Functions[0].LogFormat = "xml" },
		`initialization type "never"`: func(c *Config) { c.Functions[0].InitType = "never" },
		`log format Text: managed`: func(c *Config) {
			c.Functions[0].InitType, c.Functions[0].LogFormat = managed, "Text"
		},
		`max concurrency 2: use`:  func(c *Config) { c.Functions[0].MaxConcurrency = 2 },
		`max concurrency -1: use`: func(c *Config) { c.Functions[0].MaxConcurrency = -1 },
		`/tmp of 600 MB: SnapStart`: func(c *Config) {
			c.Functions[0].InitType, c.Functions[0].TmpMB = snapStart, 600
		},
		`memory 20000 MB: use 128 to`:      func(c *Config) { c.Functions[0].MemoryMB = 20000 },
		`memory 127 MB: use 128 to`:        func(c *Config) { c.Functions[0].MemoryMB = 127 },
		`/tmp of 10241 MB`:                 func(c *Config) { c.Functions[0].TmpMB = 10241 },
		`timeout 16m0s`:                    func(c *Config) { c.Functions[0].Timeout = 16 * time.Minute },
		`listen for the Invoke API on x:y`: func(c *Config) { c.Listen = "x:y" },
		`extension: stat`:                  func(c *Config) { c.Functions[0].Extensions = []string{"/no/such"} },
		`not a plain file`:                 func(c *Config) { c.Functions[0].Extensions = []string{t.TempDir()} },
	} {
		cfg := Config{Functions: []Function{good}}
		spoil(&cfg)
		l, err := Start(context.Background(), cfg)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
		if l != nil {
			_ = l.Shutdown(context.Background())
		}
	}
}

func ExampleStart() {
	recorder := NewRecorder(0)
	l, err := Start(context.Background(), Config{
		Functions: []Function{{Name: "orders", Command: []string{program("lambdago")}}},
		Observe:   recorder.Observe(),
		Freeze:    true,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	result, err := l.Invoke(context.Background(), "orders", []byte(`{"id":1}`))
	fmt.Println(string(result.Payload), result.FunctionError, err)
	fmt.Println(l.Shutdown(context.Background()), recorder.Reports()[0].Status)
	// Output:
	// "orders arn:aws:lambda:us-east-1:123456789012:function:orders 128 true"  <nil>
	// <nil> success
}
