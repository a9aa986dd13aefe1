package runtimeapi

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// session is a runtime at one end of the API and the lifecycle at the other.
type session struct {
	t       *testing.T
	api     *API
	server  *httptest.Server
	turn    *Turn
	failed  []string
	begun   int
	waiting chan answer
}

type answer struct {
	status int
	body   string
	header http.Header
}

func newSession(t *testing.T) *session {
	s := &session{t: t, waiting: make(chan answer, 4)}
	s.api = New(Config{InitError: func(typ string, body []byte) { s.failed = append(s.failed, typ+" "+string(body)) }})
	s.server = httptest.NewServer(s.api)
	t.Cleanup(func() {
		s.server.CloseClientConnections()
		s.server.Close()
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	})
	return s
}

func (s *session) call(method, path, body string, headers ...string) answer {
	s.t.Helper()
	got, err := s.try(method, path, body, headers...)
	if err != nil {
		s.t.Fatal(err)
	}
	return got
}

func (s *session) try(method, path, body string, headers ...string) (answer, error) {
	r, err := http.NewRequest(method, s.server.URL+"/2018-06-01"+path, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, string(text), resp.Header}, err
}

// wait calls next in the background, as a runtime blocks in it, and returns
// when the API has seen the call.
func (s *session) wait() {
	s.t.Helper()
	go func() {
		got, err := s.try("GET", "/runtime/invocation/next", "")
		if err == nil {
			s.waiting <- got
		}
	}()
	s.await(func() bool { return s.api.state == ready })
}

func (s *session) await(condition func() bool) {
	s.t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		s.api.mu.Lock()
		ok := condition()
		s.api.mu.Unlock()
		if ok {
			return
		}
	}
	s.t.Fatal("the API did not reach the state within 10 s")
}

// invoke brings the session to Running with request id r<n>.
func (s *session) invoke() answer {
	s.wait()
	s.begun++
	s.turn = s.api.Begin(Invocation{RequestID: fmt.Sprintf("r%d", s.begun), Deadline: time.UnixMilli(1790000003000),
		Payload: []byte(`{"n":1}`)})
	return <-s.waiting
}

func TestNextHandsOutHeadersAndPayload(t *testing.T) {
	s := newSession(t)
	s.wait()
	<-s.api.Arrived()
	s.api.Begin(Invocation{
		RequestID: "3b0e", Deadline: time.UnixMilli(1790000003000), FunctionARN: "arn:aws:lambda:x:1:function:shop:live",
		TraceID: "Root=1-a;Sampled=1", ClientContext: `{"c":1}`, TenantID: "t",
		Payload: []byte("hello"),
	})
	got := <-s.waiting
	for name, want := range map[string]string{
		"Lambda-Runtime-Aws-Request-Id":       "3b0e",
		"Lambda-Runtime-Deadline-Ms":          "1790000003000",
		"Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:x:1:function:shop:live",
		"Lambda-Runtime-Trace-Id":             "Root=1-a;Sampled=1",
		"Lambda-Runtime-Client-Context":       `{"c":1}`,
		"Lambda-Runtime-Aws-Tenant-Id":        "t",
		"Content-Type":                        "application/json",
	} {
		if got.header.Get(name) != want {
			t.Errorf("%s = %q, want %q", name, got.header.Get(name), want)
		}
	}
	if got.status != 200 || got.body != "hello" {
		t.Errorf("got %d %q", got.status, got.body)
	}
}

func TestNextSendsNoEmptyHeaders(t *testing.T) {
	got := newSession(t).invoke()
	for _, name := range []string{"Lambda-Runtime-Trace-Id", "Lambda-Runtime-Client-Context",
		"Lambda-Runtime-Aws-Tenant-Id"} {
		if _, ok := got.header[name]; ok {
			t.Errorf("%s was sent", name)
		}
	}
}

func TestNextAgainDeliversTheSameInvocation(t *testing.T) {
	s := newSession(t)
	first := s.invoke()
	second := s.call("GET", "/runtime/invocation/next", "")
	if diff := cmp.Diff(first.body+first.header.Get("Lambda-Runtime-Aws-Request-Id"),
		second.body+second.header.Get("Lambda-Runtime-Aws-Request-Id")); diff != "" {
		t.Error(diff)
	}
}

func TestTurn(t *testing.T) {
	s := newSession(t)
	s.invoke()
	got := s.call("POST", "/runtime/invocation/r1/response", `{"ok":true}`, "Content-Type", "application/json")
	if got.status != 202 || got.body != `{"status":"OK"}` {
		t.Fatalf("got %d %s", got.status, got.body)
	}
	<-s.turn.Answered()
	select {
	case <-s.turn.Done():
		t.Fatal("done before the runtime called next")
	default:
	}
	reply := s.turn.Reply()
	if string(reply.Payload) != `{"ok":true}` || reply.ErrorType != "" || reply.Bytes != 11 {
		t.Errorf("reply = %+v", reply)
	}
	s.wait()
	<-s.turn.Done()
	if s.turn.End().Before(reply.End) || reply.End.Before(reply.Start) {
		t.Errorf("times out of order: %v %v %v", reply.Start, reply.End, s.turn.End())
	}
}

// TestRefusals is AWS's table of bodies: what leads there, the call, the answer.
func TestRefusals(t *testing.T) {
	respond := func(s *session) { s.call("POST", "/runtime/invocation/r1/response", "1") }
	running := func(s *session) { s.invoke() }
	answered := func(s *session) { s.invoke(); respond(s) }
	waiting := func(s *session) { s.invoke(); respond(s); s.wait() }
	initError := func(s *session) { s.call("POST", "/runtime/init/error", "{}") }
	move := func(from, to string) string {
		return `{"errorMessage":"State transition from ` + from + ` to ` + to +
			` failed for runtime. Error: State transition is not allowed","errorType":"InvalidStateTransition"}`
	}
	const invalidID = `{"errorMessage":"Invalid request ID","errorType":"InvalidRequestID"}`
	for _, c := range []struct {
		name         string
		before       func(*session)
		method, path string
		headers      []string
		status       int
		body         string
	}{
		{"response before any invocation", func(*session) {}, "POST", "/runtime/invocation/r1/response", nil, 400, invalidID},
		{"response for another id", running, "POST", "/runtime/invocation/rX/response", nil, 400, invalidID},
		{"error for another id", running, "POST", "/runtime/invocation/rX/error", nil, 400, invalidID},
		{"second response", answered, "POST", "/runtime/invocation/r1/response", nil, 403,
			move("RuntimeResponseSentState", "InvocationResponse")},
		{"error after response", answered, "POST", "/runtime/invocation/r1/error", nil, 403,
			move("RuntimeResponseSentState", "InvocationErrorResponse")},
		{"response in next", waiting, "POST", "/runtime/invocation/r1/response", nil, 403, move("Ready",
			"InvocationResponse")},
		{"two parallel next", waiting, "GET", "/runtime/invocation/next", nil, 403, move("Ready", "Ready")},
		{"init/error past Init", running, "POST", "/runtime/init/error", nil, 403, move("Running", "InitError")},
		{"next after init/error", initError, "GET", "/runtime/invocation/next", nil, 403, move("InitError", "Ready")},
		{"init/error twice", initError, "POST", "/runtime/init/error", nil, 403, move("InitError", "InitError")},
		{"unknown response mode", running, "POST", "/runtime/invocation/r1/response",
			[]string{"Lambda-Runtime-Function-Response-Mode", "buffered"}, 400,
			`{"errorMessage":"Invalid function response mode","errorType":"InvalidFunctionResponseMode"}`},
		{"restore/next without SnapStart", func(*session) {}, "GET", "/runtime/restore/next", nil, 404,
			"404 page not found\n"},
		{"wrong method", func(*session) {}, "POST", "/runtime/invocation/next", nil, 405, "Method Not Allowed\n"},
		{"ping", func(*session) {}, "GET", "/ping", nil, 200, "pong"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSession(t)
			c.before(s)
			got := s.call(c.method, c.path, "", c.headers...)
			if got.status != c.status || got.body != c.body {
				t.Errorf("got  %d %s\nwant %d %s", got.status, got.body, c.status, c.body)
			}
		})
	}
}

func TestResponseSize(t *testing.T) {
	for _, c := range []struct {
		size, status int
		typ, payload string
	}{
		{maxPayload, 202, "", ""},
		{maxPayload + 1, 413, "Function.ResponseSizeTooLarge", `{"errorMessage":"Response payload size (6291557 bytes) ` +
			`exceeded maximum allowed payload size (6291556 bytes).","errorType":"Function.ResponseSizeTooLarge"}`},
		{7000000, 413, "Function.ResponseSizeTooLarge", `{"errorMessage":"Response payload size (7000000 bytes) ` +
			`exceeded maximum allowed payload size (6291556 bytes).","errorType":"Function.ResponseSizeTooLarge"}`},
	} {
		s := newSession(t)
		s.invoke()
		got := s.call("POST", "/runtime/invocation/r1/response", strings.Repeat("x", c.size))
		reply := s.turn.Reply()
		if got.status != c.status || reply.ErrorType != c.typ {
			t.Errorf("%d bytes: %d %s, error type %q", c.size, got.status, got.body, reply.ErrorType)
		}
		if c.payload != "" {
			const want = `{"errorMessage":"Exceeded maximum allowed payload size (6291556 bytes).",` +
				`"errorType":"RequestEntityTooLarge"}`
			if got.body != want || string(reply.Payload) != c.payload {
				t.Errorf("%d bytes: answer %s\npayload %s", c.size, got.body, reply.Payload)
			}
		}
		s.wait() // the runtime goes on
	}
}

func TestTruncatedResponse(t *testing.T) {
	s := newSession(t)
	s.invoke()
	conn, err := net.Dial("tcp", s.server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "POST /2018-06-01/runtime/invocation/r1/response HTTP/1.1\r\nHost: x\r\n"+
		"Content-Length: 10\r\n\r\nfive!")
	conn.(*net.TCPConn).CloseWrite()
	got, _ := io.ReadAll(conn)
	const want = `{"errorMessage":"HTTP request detected as truncated","errorType":"TruncatedHTTPRequest"}`
	if !bytes.HasPrefix(got, []byte("HTTP/1.1 400")) || !bytes.HasSuffix(got, []byte(want)) {
		t.Errorf("got %q", got)
	}
	<-s.turn.Answered()
	if got := s.turn.Reply().ErrorType; got != "Runtime.TruncatedResponse" {
		t.Errorf("error type %q", got)
	}
}

func TestError(t *testing.T) {
	const withCause = "application/vnd.aws.lambda.error.cause+json"
	tooLong := strings.Repeat("x", maxPayload+1)
	for _, c := range []struct {
		name, typ, contentType, body string
		status                       int
		wantType, wantBody           string
	}{
		{"kept type", "Function.MyError", "", `{"a":1}`, 202, "Function.MyError", `{"a":1}`},
		{"type inside text", "x Runtime.Oops!", "", "", 202, "Runtime.Oops", ""},
		{"unknown function type", "Function.lower", "", "", 202, "Function.Unknown", ""},
		{"no type", "", "", "any text", 202, "Runtime.Unknown", "any text"},
		{"unhandled", "Unhandled", "", "", 202, "Runtime.Unknown", ""},
		{"cause in body", "", withCause, `{"errorMessage":"m","errorType":"T","stackTrace":["s"],` +
			`"errorCause":{"working_directory":"/var/task","paths":["index.js"]}}`, 202,
			"Runtime.Unknown", `{"errorMessage":"m","errorType":"T","stackTrace":["s"]}`},
		{"unreadable body", "", withCause, `{`, 202, "Runtime.Unknown", `"Invalid error body"`},
		{"too large", "Function.MyError", "", tooLong, 413, "Function.ResponseSizeTooLarge",
			`{"errorMessage":"Response payload size (6291557 bytes) exceeded maximum allowed payload size ` +
				`(6291556 bytes).","errorType":"Function.ResponseSizeTooLarge"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSession(t)
			s.invoke()
			got := s.call("POST", "/runtime/invocation/r1/error", c.body, errorTypeHeader, c.typ,
				"Content-Type", c.contentType)
			if got.status != c.status || c.status == 202 && got.body != `{"status":"OK"}` {
				t.Fatalf("got %d %s", got.status, got.body)
			}
			if reply := s.turn.Reply(); reply.ErrorType != c.wantType || string(reply.Payload) != c.wantBody {
				t.Errorf("type %q body %s", reply.ErrorType, reply.Payload)
			}
			s.wait()
			<-s.turn.Done()
		})
	}
}

func TestInitError(t *testing.T) {
	s := newSession(t)
	got := s.call("POST", "/runtime/init/error", `{"errorMessage":"no"}`, errorTypeHeader, "Runtime.NoSuchModule")
	if got.status != 202 || got.body != `{"status":"OK"}` {
		t.Errorf("got %d %s", got.status, got.body)
	}
	if diff := cmp.Diff([]string{`Runtime.NoSuchModule {"errorMessage":"no"}`}, s.failed); diff != "" {
		t.Error(diff)
	}
}

// stream posts a streamed response, a write at a time, and the error trailers.
func (s *session) stream(body io.Reader, trailers http.Header) int {
	s.t.Helper()
	r, err := http.NewRequest("POST", s.server.URL+"/2018-06-01/runtime/invocation/r1/response", body)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Lambda-Runtime-Function-Response-Mode", "streaming")
	r.Header.Set("Content-Type", "text/event-stream")
	r.Trailer = trailers
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

func TestStreaming(t *testing.T) {
	s := newSession(t)
	chunks := make(chan string)
	s.wait()
	turn := s.api.Begin(Invocation{RequestID: "r1", Stream: func(contentType string) io.Writer {
		chunks <- contentType
		return writerFunc(func(b []byte) { chunks <- string(b) })
	}})
	<-s.waiting
	body, feed := io.Pipe()
	status := make(chan int, 1)
	go func() {
		status <- s.stream(body, http.Header{
			"Lambda-Runtime-Function-Error-Type": {"Function.UpstreamFailed"},
			"Lambda-Runtime-Function-Error-Body": {base64.StdEncoding.EncodeToString([]byte(`{"errorMessage":"up"}`))},
		})
	}()
	feed.Write([]byte("one"))
	if got := <-chunks; got != "text/event-stream" {
		t.Errorf("content type %q", got)
	}
	if got := <-chunks; got != "one" { // arrives while the response is still open
		t.Errorf("chunk %q", got)
	}
	go func() { feed.Write([]byte("two")); feed.Close() }()
	<-chunks
	if got := <-status; got != 202 {
		t.Errorf("status %d", got)
	}
	reply := turn.Reply()
	reply.Start, reply.End = time.Time{}, time.Time{}
	want := Reply{ContentType: "text/event-stream", Streamed: true, Bytes: 6,
		TrailerType: "Function.UpstreamFailed", TrailerBody: []byte(`{"errorMessage":"up"}`)}
	if diff := cmp.Diff(want, reply); diff != "" {
		t.Error(diff)
	}
}

type writerFunc func([]byte)

func (f writerFunc) Write(b []byte) (int, error) { f(b); return len(b), nil }

func TestStreamingToABufferedCaller(t *testing.T) {
	s := newSession(t)
	s.invoke()
	if got := s.stream(strings.NewReader("whole"), nil); got != 202 {
		t.Errorf("status %d", got)
	}
	if got := s.turn.Reply(); string(got.Payload) != "whole" || got.Streamed {
		t.Errorf("reply %+v", got)
	}
}
