package invokeapi

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/google/go-cmp/cmp"
)

// shop is an Invoker with one function, "shop", whose payload says what to do.
type shop struct {
	last   Request
	events []Request
}

func (s *shop) Check(r Request) error {
	if r.Function != "shop" {
		return NotFound("arn:aws:lambda:eu-west-1:123456789012:function:" + r.Function)
	}
	return nil
}

func (s *shop) Invoke(_ context.Context, r Request) (Response, error) {
	s.last = r
	if err := s.Check(r); err != nil {
		return Response{}, err
	}
	resp := Response{Payload: []byte(`{"ok":true}`), ExecutedVersion: "$LATEST", LogTail: []byte("START\nEND\n")}
	switch string(r.Payload) {
	case `"fail"`:
		resp.FunctionError, resp.Payload = "Unhandled", []byte(`{"errorMessage":"no"}`)
	case `"busy"`:
		return resp, Throttled()
	case `"broken"`:
		return resp, errors.New("no room for an environment")
	case `"stream"`:
		out := r.Stream("text/plain")
		for i := range 3 {
			fmt.Fprintf(out, "chunk %d\n", i)
		}
		resp.Streamed, resp.StreamError, resp.StreamDetails = true, "Function.Half", []byte("half way")
	}
	return resp, nil
}

func (s *shop) Enqueue(r Request) error {
	if err := s.Check(r); err != nil {
		return err
	}
	s.events = append(s.events, r)
	return nil
}

func open(t *testing.T) (*shop, *httptest.Server) {
	s := &shop{}
	server := httptest.NewServer(New(s))
	t.Cleanup(server.Close)
	return s, server
}

func post(t *testing.T, url, body string, headers ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequest("POST", url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(text)
}

// TestErrors is the table of the service's own errors.
func TestErrors(t *testing.T) {
	const path = "/2015-03-31/functions/shop/invocations"
	tooLong := strings.Repeat(" ", maxPayload) + "1"
	for _, c := range []struct {
		name, path, body, header, value string
		status                          int
		typ, want                       string
	}{
		{"unknown function", "/2015-03-31/functions/nope/invocations", "", "", "", 404, "ResourceNotFoundException",
			`{"Message":"Function not found: arn:aws:lambda:eu-west-1:123456789012:function:nope","Type":"User"}`},
		{"unknown function, event", "/2015-03-31/functions/nope/invocations", "", "X-Amz-Invocation-Type", "Event", 404,
			"ResourceNotFoundException",
			`{"Message":"Function not found: arn:aws:lambda:eu-west-1:123456789012:function:nope","Type":"User"}`},
		{"unknown function, dry run", "/2015-03-31/functions/nope/invocations", "", "X-Amz-Invocation-Type", "DryRun", 404,
			"ResourceNotFoundException",
			`{"Message":"Function not found: arn:aws:lambda:eu-west-1:123456789012:function:nope","Type":"User"}`},
		{"throttled", path, `"busy"`, "", "", 429, "TooManyRequestsException",
			`{"Reason":"ReservedFunctionConcurrentInvocationLimitExceeded","Type":"User","message":"Rate Exceeded."}`},
		{"not JSON", path, `{`, "", "", 400, "InvalidRequestContentException",
			`{"Type":"User","message":"Could not parse request body into json: unexpected end of JSON input"}`},
		{"unknown type", path, `1`, "X-Amz-Invocation-Type", "Later", 400, "InvalidParameterValueException",
			`{"Type":"User","message":"Value 'Later' at 'invocationType' failed to satisfy constraint: ` +
				`Member must satisfy enum value set: [Event, RequestResponse, DryRun]"}`},
		{"client context", path, `1`, "X-Amz-Client-Context", "!", 400, "InvalidRequestContentException",
			`{"Type":"User","message":"Client context must be a valid Base64-encoded JSON object."}`},
		{"too large", path, tooLong, "", "", 413, "RequestTooLargeException",
			`{"Type":"User","message":"6291457 byte payload is too large for ` +
				`the RequestResponse invocation type (limit 6291456 bytes)"}`},
		{"event too large", path, tooLong[maxPayload-maxEventPayload:], "X-Amz-Invocation-Type", "Event", 413,
			"RequestTooLargeException",
			`{"Type":"User","message":"1048577 byte payload is too large for the Event invocation type (limit 1048576 bytes)"}`},
		{"two qualifiers", "/2015-03-31/functions/shop:a/invocations?Qualifier=b", "", "", "", 400,
			"InvalidParameterValueException",
			`{"Type":"User","message":"no function name, or two qualifiers: shop:a"}`},
		{"the emulator's own failure", path, `"broken"`, "", "", 500, "ServiceException",
			`{"Message":"no room for an environment","Type":"Service"}`},
		{"another API", "/2015-03-31/functions", "", "", "", 404, "UnknownOperationException",
			`{"Type":"User","message":"the emulator serves the Invoke API only, not POST /2015-03-31/functions"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, server := open(t)
			var headers []string
			if c.header != "" {
				headers = []string{c.header, c.value}
			}
			resp, body := post(t, server.URL+c.path, c.body, headers...)
			if resp.StatusCode != c.status || resp.Header.Get("X-Amzn-ErrorType") != c.typ || body != c.want {
				t.Errorf("got  %d %s %s\nwant %d %s %s", resp.StatusCode, resp.Header.Get("X-Amzn-ErrorType"), body,
					c.status, c.typ, c.want)
			}
			if got := resp.Header.Get("Retry-After"); (got == "1") != (c.status == 429) {
				t.Errorf("Retry-After %q", got)
			}
		})
	}
}

func TestNames(t *testing.T) {
	for text, want := range map[string][2]string{
		"shop":                       {"shop", ""},
		"shop:live":                  {"shop", "live"},
		"shop:$LATEST":               {"shop", ""},
		"function:live":              {"function", "live"},
		"123456789012:function:shop": {"shop", ""},
		"shop?Qualifier=7":           {"shop", "7"},
		"shop:live?Qualifier=live":   {"shop", "live"},
		"arn%3Aaws%3Alambda%3Aeu-west-1%3A123456789012%3Afunction%3Ashop":      {"shop", ""},
		"arn%3Aaws%3Alambda%3Aeu-west-1%3A123456789012%3Afunction%3Ashop%3A12": {"shop", "12"},
	} {
		s, server := open(t)
		path, query, _ := strings.Cut(text, "?")
		post(t, server.URL+"/2015-03-31/functions/"+path+"/invocations?"+query, "")
		if diff := cmp.Diff(want, [2]string{s.last.Function, s.last.Qualifier}); diff != "" {
			t.Errorf("%s: %s", text, diff)
		}
	}
}

func client(server *httptest.Server) *lambda.Client {
	return lambda.New(lambda.Options{
		Region: "eu-west-1", BaseEndpoint: aws.String(server.URL), RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret", ""),
	})
}

// TestSDK drives every kind of invocation with AWS's own client.
func TestSDK(t *testing.T) {
	s, server := open(t)
	ctx := t.Context()
	sdk := client(server)
	out, err := sdk.Invoke(ctx, &lambda.InvokeInput{FunctionName: aws.String("shop"), Payload: []byte(`{"n":1}`),
		LogType: types.LogTypeTail, ClientContext: aws.String(base64.StdEncoding.EncodeToString([]byte(`{"client":{}}`)))})
	if err != nil {
		t.Fatal(err)
	}
	tail, _ := base64.StdEncoding.DecodeString(aws.ToString(out.LogResult))
	if out.StatusCode != 200 || string(out.Payload) != `{"ok":true}` || aws.ToString(out.ExecutedVersion) != "$LATEST" ||
		out.FunctionError != nil || string(tail) != "START\nEND\n" {
		t.Errorf("got %d %s %v, log %q", out.StatusCode, out.Payload, aws.ToString(out.FunctionError), tail)
	}
	if s.last.ClientContext != `{"client":{}}` || string(s.last.Payload) != `{"n":1}` || !s.last.Tail {
		t.Errorf("the invoker got %+v", s.last)
	}
	out, err = sdk.Invoke(ctx, &lambda.InvokeInput{FunctionName: aws.String("shop"), Payload: []byte(`"fail"`)})
	if err != nil || aws.ToString(out.FunctionError) != "Unhandled" || string(out.Payload) != `{"errorMessage":"no"}` {
		t.Errorf("function error: %v %+v", err, out)
	}
	out, err = sdk.Invoke(ctx, &lambda.InvokeInput{FunctionName: aws.String("shop"),
		InvocationType: types.InvocationTypeEvent})
	if err != nil || out.StatusCode != 202 || len(s.events) != 1 || string(s.events[0].Payload) != "{}" {
		t.Errorf("event: %v %+v", err, s.events)
	}
	out, err = sdk.Invoke(ctx, &lambda.InvokeInput{FunctionName: aws.String("shop"),
		InvocationType: types.InvocationTypeDryRun})
	if err != nil || out.StatusCode != 204 {
		t.Errorf("dry run: %v %+v", err, out)
	}
}

func TestSDKErrors(t *testing.T) {
	_, server := open(t)
	sdk := client(server)
	_, err := sdk.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("nope")})
	if e, ok := errors.AsType[*types.ResourceNotFoundException](err); !ok || !strings.Contains(e.ErrorMessage(),
		"function:nope") {
		t.Errorf("unknown function: %v", err)
	}
	_, err = sdk.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("shop"), Payload: []byte(`"busy"`)})
	if e, ok := errors.AsType[*types.TooManyRequestsException](err); !ok || aws.ToString(e.RetryAfterSeconds) != "1" ||
		e.Reason != types.ThrottleReasonReservedFunctionConcurrentInvocationLimitExceeded {
		t.Errorf("throttled: %v", err)
	}
	_, err = sdk.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("shop"), Payload: make([]byte,
		maxPayload+1)})
	if _, ok := errors.AsType[*types.RequestTooLargeException](err); !ok {
		t.Errorf("too large: %v", err)
	}
}

// TestSDKStream reads the event stream with AWS's own decoder.
func TestSDKStream(t *testing.T) {
	_, server := open(t)
	for payload, want := range map[string]string{
		`"stream"`: "chunk 0\nchunk 1\nchunk 2\nError Function.Half half way",
		`"plain"`:  `{"ok":true}` + "Error  ",
		`"fail"`:   `{"errorMessage":"no"}` + `Error Unhandled {"errorMessage":"no"}`,
	} {
		out, err := client(server).InvokeWithResponseStream(t.Context(),
			&lambda.InvokeWithResponseStreamInput{FunctionName: aws.String("shop"), Payload: []byte(payload)})
		if err != nil {
			t.Fatal(err)
		}
		var got strings.Builder
		for event := range out.GetStream().Events() {
			switch e := event.(type) {
			case *types.InvokeWithResponseStreamResponseEventMemberPayloadChunk:
				got.Write(e.Value.Payload)
			case *types.InvokeWithResponseStreamResponseEventMemberInvokeComplete:
				fmt.Fprintf(&got, "Error %s %s", aws.ToString(e.Value.ErrorCode), aws.ToString(e.Value.ErrorDetails))
			}
		}
		if err := out.GetStream().Err(); err != nil {
			t.Errorf("%s: %v", payload, err)
		}
		if diff := cmp.Diff(want, got.String()); diff != "" {
			t.Errorf("%s: %s", payload, diff)
		}
	}
	_, err := client(server).InvokeWithResponseStream(t.Context(),
		&lambda.InvokeWithResponseStreamInput{FunctionName: aws.String("nope")})
	if _, ok := errors.AsType[*types.ResourceNotFoundException](err); !ok {
		t.Errorf("unknown function: %v", err)
	}
}
