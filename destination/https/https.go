// Package https delivers batches to any HTTP endpoint that takes a POST: lines
// of JSON, compressed or not, with headers of the user's own. Use it for
// https:// and http:// destinations.
package https

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"slipstream/destination"
)

var _ destination.Destination = (*Client)(nil)

// Config says where to post and with which headers.
type Config struct {
	URL    *url.URL // http or https, with path and the request's own query; both may be secret
	Header destination.Headers
	// Name stands for the URL in messages: what of host, path and query is not
	// in it is a secret. Parse makes it of scheme and host.
	Name string
}

// Parse reads https://host/path or http://host/path. token=TEXT becomes
// "Authorization: Bearer TEXT", a user in the URL basic authorization,
// header.NAME=value a header of each request, and query=TEXT, itself escaped,
// the request's own query. The caller takes its own parameters out first;
// unknown ones are an error. Errors hold no secret.
func Parse(rawURL string) (Config, error) {
	const usage = "(write https://host/path)"
	c := Config{Header: destination.Headers{}}
	u, err := url.Parse(rawURL)
	if err != nil {
		return c, errors.New("read HTTPS destination: that is no URL " + usage)
	}
	switch {
	case u.Scheme != "https" && u.Scheme != "http":
		return c, fmt.Errorf("read HTTPS destination: scheme %q %s", u.Scheme, usage)
	case u.Hostname() == "":
		return c, errors.New("read HTTPS destination: the host is missing " + usage)
	case u.Fragment != "":
		return c, errors.New("read HTTPS destination: the URL holds a # (write it as %23)")
	}
	c.URL = &url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}
	if c.URL.Path == "" {
		c.URL.Path = "/"
	}
	c.Name = u.Scheme + "://" + u.Host
	c.Header.SetUser(u.User)
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return c, fmt.Errorf("read HTTPS destination %s: the query is malformed", c.Name)
	}
	for name, values := range query {
		if err := c.option(name, values[len(values)-1]); err != nil {
			return c, fmt.Errorf("read HTTPS destination %s: %w", c.Name, err)
		}
	}
	if query.Has("token") {
		if http.Header(c.Header).Get("Authorization") != "" {
			return c, fmt.Errorf("read HTTPS destination %s: token and another authorization (use one)", c.Name)
		}
		if err := c.Header.Set("Authorization", "Bearer "+strings.TrimSpace(query.Get("token"))); err != nil {
			return c, fmt.Errorf("read HTTPS destination %s: option token: %w", c.Name, err)
		}
	}
	return c, nil
}

func (c *Config) option(name, value string) error {
	switch header, isHeader := strings.CutPrefix(name, "header."); {
	case isHeader:
		return c.Header.Set(header, value)
	case name == "token":
		if strings.TrimSpace(value) == "" {
			return errors.New("option token is empty")
		}
	case name == "query":
		if strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
			return errors.New("option query is not escaped as in a URL")
		}
		c.URL.RawQuery = value
	default:
		return fmt.Errorf("unknown option %s (known: token, query, header.NAME)", name)
	}
	return nil
}

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

// Send posts the batch; any 2xx says that it is taken. After an answer that was
// lost on the way the endpoint may hold the batch twice, unless it looks at the
// Idempotency-Key header, which is the batch's id.
func (c *Client) Send(ctx context.Context, b *destination.Batch) error {
	resp, err := c.http.Post(ctx, c.config.URL, c.config.Header, b)
	if err != nil {
		return destination.NoAnswer("post batch", c.config.Name, err)
	}
	if resp.Status/100 == 2 && !resp.IsPage() {
		return nil
	}
	return resp.Refused("post batch", c.config.Name, &advice, c.secrets)
}

// advice is for an endpoint of the user's own.
var advice = destination.Advice{
	Credential: "check token or header.NAME in the URL: the endpoint wants another credential",
	Path:       "check the URL's path: the endpoint takes no POST there",
	Size:       "make batch_bytes smaller",
	Media:      "try another format, or compression=none",
	Request:    "the endpoint says that the request is wrong; check format, compression and headers",
	Place:      "that was a web page, not an endpoint; check the URL",
}
