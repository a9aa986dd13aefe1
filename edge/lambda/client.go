// Package lambda speaks to the platform: the Extensions API, and the
// subscription calls of the Telemetry and Logs API. Use one Client for the life
// of the process.
package lambda

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// maxAnswer bounds what is read of any answer, in bytes.
const maxAnswer = 1 << 20

// dialTimeout bounds the connection to an address inside the environment.
const dialTimeout = 2 * time.Second

// Client is one registered (or not yet registered) extension. It is for one
// goroutine: the API takes one call after the other.
//
// The calls go over one kept connection, written by hand and read by net/http's
// parser. http.Transport, with its pool and its goroutines, would cost a third
// of a millisecond at each cold start for what one connection does not need.
type Client struct {
	address string
	dial    Dial
	id      string
	conn    net.Conn // nil: none yet
	in      *bufio.Reader
}

// Dial opens a connection as net.Dialer.DialContext does.
type Dial func(ctx context.Context, network, address string) (net.Conn, error)

// New makes a client for the API at address, the host:port that the platform
// gives in AWS_LAMBDA_RUNTIME_API. dial is nil but in simulations.
func New(address string, dial Dial) *Client {
	if dial == nil {
		dial = (&net.Dialer{Timeout: dialTimeout}).DialContext
	}
	return &Client{address: address, dial: dial}
}

// Close drops the connection.
func (c *Client) Close() {
	if c.conn != nil {
		_ = c.conn.Close() // nothing is in flight
		c.conn = nil
	}
}

// Registration is what register tells about the function.
type Registration struct {
	FunctionName    string `json:"functionName"`
	FunctionVersion string `json:"functionVersion"`
	AccountID       string `json:"accountId"`
}

// Event is one lifecycle event.
type Event struct {
	Type           string // EventInvoke or EventShutdown
	RequestID      string // of an INVOKE
	Deadline       time.Time
	ShutdownReason string // in lower case: spindown, timeout or failure
}

// The two event types of the Extensions API.
const (
	EventInvoke   = "INVOKE"
	EventShutdown = "SHUTDOWN"
)

// Subscription is what to send where.
type Subscription struct {
	Logs          bool // the Logs API instead of the Telemetry API
	SchemaVersion string
	Types         []string
	MaxItems      int
	MaxBytes      int
	Timeout       time.Duration
	URI           string
}

// NotSupportedError says that this platform accepts a subscription but will
// never deliver anything, as AWS's runtime interface emulator does.
type NotSupportedError struct{ Answer string }

func (e *NotSupportedError) Error() string {
	return "this platform has no telemetry (" + e.Answer + ")"
}

// Register makes the extension known. name has to be the base name of the
// executable in /opt/extensions; any other is taken for an internal extension.
func (c *Client) Register(ctx context.Context, name string, events []string) (Registration, error) {
	var r Registration
	body, err := json.Marshal(map[string][]string{"events": events})
	if err != nil {
		return r, fmt.Errorf("register: %w", err)
	}
	head := http.Header{"Lambda-Extension-Name": {name}, "Lambda-Extension-Accept-Feature": {"accountId"}}
	answer, err := c.call(ctx, http.MethodPost, "/2020-01-01/extension/register", head, body)
	if err != nil {
		return r, fmt.Errorf("register as %q: %w", name, err)
	}
	c.id = answer.head.Get("Lambda-Extension-Identifier")
	if c.id == "" {
		return r, fmt.Errorf("register as %q: the answer has no identifier", name)
	}
	if err := json.Unmarshal(answer.body, &r); err != nil {
		return r, fmt.Errorf("register as %q: read the answer: %w", name, err)
	}
	return r, nil
}

// Next says that the extension is done with Init or the last event and waits
// for the next one.
func (c *Client) Next(ctx context.Context) (Event, error) {
	answer, err := c.call(ctx, http.MethodGet, "/2020-01-01/extension/event/next", c.identified(), nil)
	if err != nil {
		return Event{}, fmt.Errorf("wait for the next event: %w", err)
	}
	var raw struct {
		EventType      string `json:"eventType"`
		DeadlineMs     int64  `json:"deadlineMs"`
		RequestID      string `json:"requestId"`
		ShutdownReason string `json:"shutdownReason"`
	}
	if err := json.Unmarshal(answer.body, &raw); err != nil {
		return Event{}, fmt.Errorf("read the next event: %w", err)
	}
	return Event{
		Type: raw.EventType, RequestID: raw.RequestID, Deadline: time.UnixMilli(raw.DeadlineMs),
		ShutdownReason: strings.ToLower(raw.ShutdownReason),
	}, nil
}

// Subscribe asks for telemetry. It has to come between Register and the first
// Next, with the listener already open.
func (c *Client) Subscribe(ctx context.Context, s Subscription) error {
	path, api := "/2022-07-01/telemetry", "Telemetry API"
	if s.Logs {
		path, api = "/2020-08-15/logs", "Logs API"
	}
	body, err := json.Marshal(map[string]any{
		"schemaVersion": s.SchemaVersion,
		"types":         s.Types,
		"buffering": map[string]int{
			"maxItems": s.MaxItems, "maxBytes": s.MaxBytes, "timeoutMs": int(s.Timeout.Milliseconds()),
		},
		"destination": map[string]string{"protocol": "HTTP", "URI": s.URI},
	})
	if err != nil {
		return fmt.Errorf("subscribe to the %s: %w", api, err)
	}
	answer, err := c.call(ctx, http.MethodPut, path, c.identified(), body)
	if err != nil {
		return fmt.Errorf("subscribe to the %s: %w", api, err)
	}
	if answer.status != http.StatusOK { // 202 means that nothing will be delivered
		return fmt.Errorf("subscribe to the %s: %w", api, &NotSupportedError{brief(answer.body)})
	}
	return nil
}

// InitError reports that the extension cannot start. The process has to exit.
func (c *Client) InitError(ctx context.Context, kind string, cause error) error {
	head := c.identified()
	head.Set("Lambda-Extension-Function-Error-Type", kind)
	body, err := json.Marshal(map[string]string{"errorMessage": cause.Error(), "errorType": kind})
	if err != nil {
		return fmt.Errorf("report the init error: %w", err)
	}
	if _, err := c.call(ctx, http.MethodPost, "/2020-01-01/extension/init/error", head, body); err != nil {
		return fmt.Errorf("report the init error: %w", err)
	}
	return nil
}

func (c *Client) identified() http.Header {
	return http.Header{"Lambda-Extension-Identifier": {c.id}}
}

// answer is an HTTP answer, read to its end.
type answer struct {
	status int
	head   http.Header
	body   []byte
}

// call makes one request; any status but 2xx is an error that names AWS's own
// error type. There is no time limit but ctx: next waits, perhaps frozen, for
// any time.
func (c *Client) call(ctx context.Context, method, path string, head http.Header, body []byte) (answer, error) {
	a, err := c.exchange(ctx, method, path, head, body)
	if err != nil {
		c.Close()
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return answer{}, err
	}
	if a.status/100 != 2 {
		return answer{}, fmt.Errorf("status %d: %s", a.status, brief(a.body))
	}
	return a, nil
}

// exchange writes a request and reads its answer.
func (c *Client) exchange(ctx context.Context, method, path string, head http.Header, body []byte) (answer, error) {
	if c.conn == nil {
		conn, err := c.dial(ctx, "tcp", c.address)
		if err != nil {
			return answer{}, err
		}
		c.conn, c.in = conn, bufio.NewReader(conn)
	}
	conn := c.conn
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	if _, err := conn.Write(request(c.address, method, path, head, body)); err != nil {
		return answer{}, fmt.Errorf("send the request: %w", err)
	}
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return answer{}, fmt.Errorf("read the answer: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return answer{}, fmt.Errorf("read the answer: %w", err)
	}
	if resp.Close {
		c.Close()
	}
	return answer{resp.StatusCode, resp.Header, text}, nil
}

// request is an HTTP/1.1 request as bytes.
func request(host, method, path string, head http.Header, body []byte) []byte {
	b := make([]byte, 0, 512+len(body))
	b = fmt.Appendf(b, "%s %s HTTP/1.1\r\nHost: %s\r\n", method, path, host)
	for name, values := range head {
		b = fmt.Appendf(b, "%s: %s\r\n", name, values[0])
	}
	if body != nil {
		b = fmt.Appendf(b, "Content-Type: application/json\r\nContent-Length: %d\r\n", len(body))
	}
	return append(append(b, "\r\n"...), body...)
}

// brief is an answer's text for an error message.
func brief(text []byte) string {
	const most = 300
	return strings.TrimSpace(string(text[:min(len(text), most)]))
}
