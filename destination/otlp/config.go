package otlp

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"slipstream/destination"
)

// Config says where to post and with which headers.
type Config struct {
	Signal string   // logs, traces or metrics
	URL    *url.URL // http or https, with the path, without user and query
	Header destination.Headers
	// Name stands for the URL in messages, in which host and path may come from a
	// reference. Parse makes it of the whole URL.
	Name string
}

// Parse reads otlp+http://host:4318 or otlp+https://… for one signal. The path
// is /v1/logs unless the URL has one, and where it ends in /v1/logs the other
// signals' paths stand in its place; any other path is the base to which
// /v1/traces and /v1/metrics are added. Headers come from
// OTEL_EXPORTER_OTLP_HEADERS, then OTEL_EXPORTER_OTLP_LOGS_HEADERS (or _TRACES_,
// _METRICS_), then header.NAME=value in the query, the
// later winning; a user in the URL becomes basic authorization. The caller
// takes its own parameters out first; unknown ones are an error. Errors never
// hold a header's value.
func Parse(rawURL string, signal string, getenv func(string) string) (Config, error) {
	const usage = "(write otlp+http://host:4318 or otlp+https://host)"
	c := Config{Signal: signal, Header: destination.Headers{}}
	u, err := url.Parse(rawURL)
	if err != nil {
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			err = wrapped.Err
		}
		return c, fmt.Errorf("read OTLP destination: %w %s", err, usage)
	}
	scheme, ok := strings.CutPrefix(u.Scheme, "otlp+")
	if !ok || scheme != "http" && scheme != "https" {
		return c, fmt.Errorf("read OTLP destination: scheme %q %s", u.Scheme, usage)
	}
	if u.Hostname() == "" {
		return c, fmt.Errorf("read OTLP destination: the host is missing %s", usage)
	}
	c.URL = &url.URL{Scheme: scheme, Host: u.Host, Path: pathOf(u.Path, signal)}
	c.Name = "otlp+" + c.URL.String()
	if err := c.headers(u, getenv); err != nil {
		return c, fmt.Errorf("read OTLP destination %s: %w", c.URL.Host, err)
	}
	return c, nil
}

// pathOf is the signal's path where the logs' one, or the base, is given.
func pathOf(given string, signal string) string {
	const logs = "/v1/logs"
	base, standard := strings.CutSuffix(strings.TrimSuffix(given, "/"), logs)
	switch {
	case signal != "logs":
		return base + "/v1/" + signal
	case standard || base == "":
		return base + logs
	}
	return given
}

func (c *Config) headers(u *url.URL, getenv func(string) string) error {
	for _, variable := range []string{"OTEL_EXPORTER_OTLP_HEADERS",
		"OTEL_EXPORTER_OTLP_" + strings.ToUpper(c.Signal) + "_HEADERS"} {
		if err := c.list(getenv(variable)); err != nil {
			return fmt.Errorf("%s: %w", variable, err)
		}
	}
	c.Header.SetUser(u.User)
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return errors.New("the query is malformed")
	}
	for name, values := range query {
		header, ok := strings.CutPrefix(name, "header.")
		if !ok {
			return fmt.Errorf("unknown option %s (known: header.NAME)", name)
		}
		if err := c.Header.Set(header, values[len(values)-1]); err != nil {
			return err
		}
	}
	return nil
}

// list reads name=value,name=value as in W3C Baggage, values percent-encoded.
func (c *Config) list(text string) error {
	for i, pair := range strings.Split(text, ",") {
		if strings.TrimSpace(pair) == "" {
			continue
		}
		name, value, ok := strings.Cut(pair, "=")
		decoded, err := url.PathUnescape(strings.TrimSpace(value))
		if !ok || err != nil {
			return fmt.Errorf("entry %d is not name=value with a percent-encoded value", i+1)
		}
		if err := c.Header.Set(strings.TrimSpace(name), decoded); err != nil {
			return fmt.Errorf("entry %d: %w", i+1, err)
		}
	}
	return nil
}
