// Package otlp delivers batches of OTLP logs, traces or metrics over HTTP, as the OpenTelemetry
// Protocol's specification 1.x has it. Use it for otlp+http:// and
// otlp+https:// destinations: an OpenTelemetry Collector, or a backend that
// takes OTLP itself.
package otlp

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"slipstream/destination"
)

var _ destination.Destination = (*Client)(nil)

// Client posts batches to one endpoint.
type Client struct {
	config  Config
	http    *destination.HTTPClient
	secrets []string
}

// New makes a client. It touches no network before the first Send.
func New(c Config) *Client {
	return &Client{config: c, http: destination.NewHTTPClient(), secrets: c.Header.SecretsAt(c.URL, c.Name)}
}

// Close ends a Send under way and drops the connections.
func (c *Client) Close() error { return c.http.Close() }

// Send posts the batch. OTLP has no way to recognise a resend: after an answer
// that was lost on the way the backend may hold the batch twice, unless it
// looks at the Idempotency-Key header, which is the batch's id.
func (c *Client) Send(ctx context.Context, b *destination.Batch) error {
	resp, err := c.http.Post(ctx, c.config.URL, c.config.Header, b)
	if err != nil {
		return destination.NoAnswer("post "+c.config.Signal, c.config.Name, err)
	}
	if resp.Status/100 == 2 && !isHTML(resp) {
		return c.taken(resp, b.Records)
	}
	return c.refused(resp)
}

// taken reads what a success says of single records. Rejected ones are not
// sent again, as the specification demands.
func (c *Client) taken(resp *destination.Response, records int) error {
	rejected, message := partialSuccess(resp)
	if rejected <= 0 {
		return nil
	}
	return &destination.Partial{
		Target: c.config.Name, Message: destination.Excerpt(message, c.secrets...),
		Rejected: int(min(rejected, int64(max(records, 1)))),
	}
}

// refused is the Error for any other answer. The specification names four
// statuses to try again; all others would be dropped for good, but where the
// configuration is at fault, not the batch, it may yet be put right.
func (c *Client) refused(resp *destination.Response) error {
	text := fmt.Sprintf("status %d", resp.Status)
	if message := destination.Excerpt(errorMessage(resp), c.secrets...); message != "" {
		text += ": " + message
	}
	e := &destination.Error{
		Op: "post " + c.config.Signal, Target: c.config.Name, Status: resp.Status, Err: errors.New(text),
	}
	e.RetryAfter = resp.RetryAfter(time.Now())
	switch resp.Status {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
	case http.StatusUnauthorized, http.StatusForbidden:
		e.Hint = "check OTEL_EXPORTER_OTLP_HEADERS or header.NAME in the URL: the endpoint wants another credential"
	case http.StatusProxyAuthRequired:
		e.Hint = "check HTTPS_PROXY: the proxy wants a credential"
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		e.Hint = "check the URL's path: the endpoint has no OTLP " + c.config.Signal + " there"
	default:
		switch {
		case resp.Status/100 == 3:
			e.Hint = "the endpoint redirects; give the address where it really is"
		case resp.Status/100 == 2:
			e.Hint = "that was a web page, not an OTLP endpoint; check the URL"
		default:
			e.Permanent = true
		}
	}
	return e
}

func isHTML(resp *destination.Response) bool { return mediaType(resp) == "text/html" }

func mediaType(resp *destination.Response) string {
	media, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";")
	return strings.ToLower(strings.TrimSpace(media))
}

// isProtobuf tells whether the answer is in the encoding of our requests.
func isProtobuf(resp *destination.Response) bool {
	return slices.Contains([]string{"application/x-protobuf", "application/protobuf"}, mediaType(resp))
}
