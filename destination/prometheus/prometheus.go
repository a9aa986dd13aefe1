// Package prometheus delivers requests of remote write 2.0 to Prometheus, or to
// a backend that takes the same. Use it for prometheus+http:// and
// prometheus+https:// destinations.
package prometheus

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"slipstream/destination"
)

var _ destination.Destination = (*Client)(nil)

// Config says where to write and with which headers.
type Config struct {
	URL    *url.URL // http or https, with path and the request's own query, without user
	Header destination.Headers
}

// Parse reads prometheus+http://host:9090/api/v1/write or prometheus+https://….
// The path is /api/v1/write unless the URL has one. token=TEXT becomes
// "Authorization: Bearer TEXT", a user in the URL basic authorization, and
// header.NAME=value a header of each request. The caller takes its own
// parameters out first; unknown ones are an error. Errors hold no secret.
func Parse(rawURL string) (Config, error) {
	const usage = "(write prometheus+http://host:9090)"
	c := Config{Header: destination.Headers{}}
	u, err := url.Parse(rawURL)
	if err != nil {
		return c, errors.New("read Prometheus destination: that is no URL " + usage)
	}
	scheme, ok := strings.CutPrefix(u.Scheme, "prometheus+")
	if !ok || scheme != "http" && scheme != "https" {
		return c, fmt.Errorf("read Prometheus destination: scheme %q %s", u.Scheme, usage)
	}
	if u.Hostname() == "" {
		return c, errors.New("read Prometheus destination: the host is missing " + usage)
	}
	c.URL = &url.URL{Scheme: scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}
	if c.URL.Path == "" || c.URL.Path == "/" {
		c.URL.Path = "/api/v1/write"
	}
	c.Header.SetUser(u.User)
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return c, fmt.Errorf("read Prometheus destination %s: the query is malformed", u.Host)
	}
	for name, values := range query {
		if err := c.option(name, values[len(values)-1]); err != nil {
			return c, fmt.Errorf("read Prometheus destination %s: %w", u.Host, err)
		}
	}
	return c, c.Header.Set(versionHeader, "2.0.0")
}

const versionHeader = "X-Prometheus-Remote-Write-Version"

func (c *Config) option(name, value string) error {
	if known, err := c.Header.Option(name, value); known {
		return err
	}
	return fmt.Errorf("unknown option %s (known: token, header.NAME)", name)
}

// Client writes batches to one endpoint.
type Client struct {
	config  Config
	http    *destination.HTTPClient
	secrets []string
}

// New makes a client. It touches no network before the first Send.
func New(c Config) *Client {
	client := &Client{config: c, http: destination.NewHTTPClient()}
	for _, secret := range c.Header.Secrets() {
		if secret != http.Header(c.Header).Get(versionHeader) {
			client.secrets = append(client.secrets, secret)
		}
	}
	return client
}

// Close ends a Send under way and drops the connections.
func (c *Client) Close() error { return c.http.Close() }

// Send writes the batch. Of a request with samples that it refuses, out of order
// or too old, the server has the others. A batch that is sent again does no harm:
// it has no sample twice. But where Prometheus has no out_of_order_time_window
// it refuses, of such a batch, all but the newest sample of each series, and
// those count as rejected though they are there.
func (c *Client) Send(ctx context.Context, b *destination.Batch) error {
	resp, err := c.http.Post(ctx, c.config.URL, c.config.Header, b)
	if err != nil {
		return destination.NoAnswer("remote write", c.target(), err)
	}
	if resp.Status/100 == 2 && !resp.IsPage() {
		return c.taken(resp, b.Records)
	}
	if written(resp) > 0 && resp.Status == http.StatusBadRequest {
		return &destination.Partial{Target: c.target(), Rejected: max(b.Records-written(resp), 1),
			Message: "some samples are refused (" + destination.Excerpt(string(resp.Body), c.secrets...) + ")"}
	}
	return resp.Refused("remote write", c.target(), &advice, c.secrets)
}

// taken looks at what a success says of samples: a receiver of remote write 2.0
// must tell how many it has written.
func (c *Client) taken(resp *destination.Response, records int) error {
	if resp.Header.Get(samplesHeader) == "" && resp.Header.Get(histogramsHeader) == "" {
		return nil // most receivers in front of a Prometheus say nothing
	}
	if written(resp) == 0 {
		return &destination.Partial{Target: c.target(), Rejected: max(records, 1),
			Message: "it says that it has written no sample; does it know remote write 2.0?"}
	}
	return nil
}

const (
	samplesHeader    = "X-Prometheus-Remote-Write-Samples-Written"
	histogramsHeader = "X-Prometheus-Remote-Write-Histograms-Written"
)

// written is how many samples and histograms the server says to have now.
func written(resp *destination.Response) int {
	total := 0
	for _, name := range [...]string{samplesHeader, histogramsHeader} {
		n, err := strconv.Atoi(resp.Header.Get(name))
		if err == nil && n > 0 {
			total += n
		}
	}
	return total
}

// advice is for a server of remote write.
var advice = destination.Advice{
	Credential: "check token or header.NAME in the URL: the endpoint wants another credential",
	Path:       "start Prometheus with --web.enable-remote-write-receiver, and check the URL's path",
	Size:       "make batch_bytes smaller",
	Media:      "the endpoint does not know remote write 2.0: Prometheus does from version 3 on",
	Request:    "the samples are out of order, too old, or told twice: see out_of_order_time_window of Prometheus",
	Place:      "that was a web page, not an endpoint; check the URL",
}

// target names the endpoint in errors.
func (c *Client) target() string {
	return "prometheus+" + c.config.URL.Scheme + "://" + c.config.URL.Host
}
