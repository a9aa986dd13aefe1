// Package wavefront delivers Wavefront's lines to a proxy over TCP, or to a
// proxy or a tenant over HTTP. Use it for wavefront+tcp://, wavefront+http:// and
// wavefront+https:// destinations.
//
// Over TCP there is no answer. A batch has a connection of its own: it is
// written, our side of the connection is closed, and the batch counts as
// delivered when the proxy closes its side, which it does when it has read
// everything; or, for what does not close, when two seconds have passed without
// an error. So no connection dies in a freeze. What a proxy refuses of the lines
// only its own log tells. A batch whose connection breaks is sent again, and a
// proxy that had read some of it has those lines twice: points of the same
// second replace each other, delta counters and distributions count double.
package wavefront

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"slipstream/destination"
)

// Config says where to send lines of one signal.
type Config struct {
	Signal string   // metrics or traces
	URL    *url.URL // http or https with path; tcp with host and port
	Header destination.Headers
}

// The ports of a proxy: for metrics, and for spans of which it makes metrics.
const (
	metricsPort = "2878"
	tracesPort  = "30001"
)

// Parse reads wavefront+tcp://proxy:2878, wavefront+http://proxy:2878 or
// wavefront+https://tenant.wavefront.com, for one signal. Over HTTP the path is
// /report unless the URL has one, and token=TEXT becomes "Authorization: Bearer
// TEXT", header.NAME=value a header of each request. Spans go to the port
// trace_port=NUMBER of a TCP proxy, 30001 unless it is given. The caller takes
// its own parameters out first; unknown ones are an error. Errors hold no
// secret.
func Parse(rawURL, signal string) (Config, error) {
	const usage = "(write wavefront+tcp://proxy:2878 or wavefront+https://tenant.wavefront.com)"
	c := Config{Signal: signal, Header: destination.Headers{}}
	u, err := url.Parse(rawURL)
	if err != nil {
		return c, errors.New("read Wavefront destination: that is no URL " + usage)
	}
	scheme, ok := strings.CutPrefix(u.Scheme, "wavefront+")
	switch {
	case !ok || scheme != "tcp" && scheme != "http" && scheme != "https":
		return c, fmt.Errorf("read Wavefront destination: scheme %q %s", u.Scheme, usage)
	case u.Hostname() == "":
		return c, errors.New("read Wavefront destination: the host is missing " + usage)
	case scheme == "tcp" && strings.Trim(u.Path, "/") != "":
		return c, errors.New("read Wavefront destination: a proxy's TCP port has no path " + usage)
	}
	c.URL = &url.URL{Scheme: scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return c, fmt.Errorf("read Wavefront destination %s: the query is malformed", u.Host)
	}
	if scheme == "tcp" {
		return c, c.tcp(query)
	}
	if c.URL.Path == "" || c.URL.Path == "/" {
		c.URL.Path = "/report"
	}
	c.Header.SetUser(u.User)
	for name, values := range query {
		if err := c.option(name, values[len(values)-1]); err != nil {
			return c, fmt.Errorf("read Wavefront destination %s: %w", u.Host, err)
		}
	}
	return c, nil
}

// tcp finds the port.
func (c *Config) tcp(query url.Values) error {
	port := c.URL.Port()
	if port == "" {
		port = metricsPort
	}
	traces := tracesPort
	for name, values := range query {
		n, err := strconv.ParseUint(values[len(values)-1], 10, 16)
		switch {
		case name != "trace_port":
			return fmt.Errorf("read Wavefront destination %s: unknown option %s (known over TCP: trace_port)", c.URL.Host, name)
		case err != nil || n == 0:
			return fmt.Errorf("read Wavefront destination %s: option trace_port is no port", c.URL.Host)
		}
		traces = values[len(values)-1]
	}
	if c.Signal == "traces" {
		port = traces
	}
	c.URL.Host, c.URL.Path = net.JoinHostPort(c.URL.Hostname(), port), ""
	return nil
}

func (c *Config) option(name, value string) error {
	if known, err := c.Header.Option(name, value); known {
		return err
	}
	return fmt.Errorf("unknown option %s (known over HTTP: token, header.NAME)", name)
}

// New makes a client. It touches no network before the first Send.
func New(c Config) destination.Destination {
	if c.URL.Scheme == "tcp" {
		return newProxy(c)
	}
	return &direct{config: c, http: destination.NewHTTPClient(), secrets: c.Header.Secrets(), taken: map[string]int{}}
}

// target names the endpoint in errors.
func (c *Config) target() string { return "wavefront+" + c.URL.Scheme + "://" + c.URL.Host }

// advice is for direct ingestion.
var advice = destination.Advice{
	Credential: "check token in the URL: it needs the permission Direct Data Ingestion",
	Path:       "check the URL: a tenant's address has no path",
	Size:       "make batch_bytes smaller",
	Request:    "Wavefront says that the request is wrong",
	Place:      "that was a web page, not Wavefront; check the URL",
	Passing:    []int{http.StatusNotAcceptable}, // its word for too many points
}

var _ destination.Destination = (*direct)(nil)
var _ destination.Destination = (*proxy)(nil)
