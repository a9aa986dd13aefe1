// Package otlp delivers batches of OTLP logs over HTTP, as the OpenTelemetry
// Protocol's specification 1.x has it. Use it for otlp+http:// and
// otlp+https:// destinations: an OpenTelemetry Collector, or a backend that
// takes OTLP itself.
package otlp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
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
	client := &Client{config: c, http: destination.NewHTTPClient()}
	for _, values := range c.Header {
		for _, v := range values {
			client.secrets = append(client.secrets, v)
			if _, token, ok := strings.Cut(v, " "); ok { // "Bearer …": the second half alone is the secret
				client.secrets = append(client.secrets, token)
			}
		}
	}
	return client
}

// Close ends a Send under way and drops the connections.
func (c *Client) Close() error { return c.http.Close() }

// Send posts the batch. OTLP has no way to recognise a resend: after an answer
// that was lost on the way the backend may hold the batch twice, unless it
// looks at the Idempotency-Key header, which is the batch's id.
func (c *Client) Send(ctx context.Context, b *destination.Batch) error {
	req := &http.Request{
		Method: http.MethodPost, URL: c.config.URL, Host: c.config.URL.Host, Header: c.config.Header.Clone(),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, ContentLength: int64(len(b.Body)),
		GetBody: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Body)), nil },
	}
	req.Body, _ = req.GetBody()
	req.Header.Set("Content-Type", b.ContentType)
	req.Header.Set("Idempotency-Key", b.ID)
	req.Header.Set("User-Agent", "slipstream")
	if b.Encoding != "" {
		req.Header.Set("Content-Encoding", b.Encoding)
	}
	resp, err := c.http.Do(ctx, req)
	if err != nil {
		return destination.NoAnswer("post logs", c.target(), err)
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
		Target: c.target(), Message: destination.Excerpt(message, c.secrets...),
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
	e := &destination.Error{Op: "post logs", Target: c.target(), Status: resp.Status, Err: errors.New(text)}
	e.RetryAfter = resp.RetryAfter(time.Now())
	switch resp.Status {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
	case http.StatusUnauthorized, http.StatusForbidden:
		e.Hint = "check OTEL_EXPORTER_OTLP_HEADERS or header.NAME in the URL: the endpoint wants another credential"
	case http.StatusProxyAuthRequired:
		e.Hint = "check HTTPS_PROXY: the proxy wants a credential"
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		e.Hint = "check the URL's path: the endpoint has no OTLP logs there"
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

// target names the endpoint in errors.
func (c *Client) target() string { return "otlp+" + c.config.URL.String() }

func isHTML(resp *destination.Response) bool { return mediaType(resp) == "text/html" }

func mediaType(resp *destination.Response) string {
	media, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";")
	return strings.ToLower(strings.TrimSpace(media))
}

// isProtobuf tells whether the answer is in the encoding of our requests.
func isProtobuf(resp *destination.Response) bool {
	return slices.Contains([]string{"application/x-protobuf", "application/protobuf"}, mediaType(resp))
}
