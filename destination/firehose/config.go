package firehose

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"slipstream/destination/awsauth"
)

// Config says which stream, and where.
type Config struct {
	Stream   string
	Region   string
	Endpoint string // of another server, "" for AWS
	// Getenv gives the credentials, as awsauth.New says.
	Getenv func(string) string
}

// Parse reads firehose://stream?region=&endpoint=. What the URL leaves open
// comes from AWS_REGION or AWS_DEFAULT_REGION, and AWS_ENDPOINT_URL_FIREHOSE or
// AWS_ENDPOINT_URL. The caller takes its own parameters out first; unknown ones
// are an error.
func Parse(rawURL string, getenv func(string) string) (Config, error) {
	const usage = "(write firehose://stream)"
	c := Config{Getenv: getenv}
	u, err := url.Parse(rawURL)
	if err != nil {
		return c, errors.New("read Firehose destination: that is no URL " + usage)
	}
	c.Stream = u.Host
	const most = 64
	letters := "abcdefghijklmnopqrstuvwxyz0123456789_.-"
	switch {
	case u.Scheme != "firehose":
		return c, fmt.Errorf("read Firehose destination: scheme %q %s", u.Scheme, usage)
	case c.Stream == "":
		return c, errors.New("read Firehose destination: the stream is missing " + usage)
	case u.User != nil || len(c.Stream) > most || strings.Trim(strings.ToLower(c.Stream), letters) != "":
		return c, errors.New("read Firehose destination: that is no stream's name " + usage)
	case u.Path != "" && u.Path != "/" || u.Fragment != "":
		return c, fmt.Errorf("read Firehose destination firehose://%s: a stream has no path %s", c.Stream, usage)
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return c, fmt.Errorf("read Firehose destination firehose://%s: the query is malformed", c.Stream)
	}
	for name, values := range query {
		switch value := values[len(values)-1]; name {
		case "region":
			c.Region = value
		case "endpoint":
			c.Endpoint = value
		default:
			return c, fmt.Errorf("read Firehose destination firehose://%s: unknown option %s (known: region, endpoint)",
				c.Stream, name)
		}
	}
	c.Region = awsauth.Region(c.Region, getenv)
	if c.Endpoint, err = awsauth.Endpoint(c.Endpoint, "FIREHOSE", getenv); err != nil {
		return c, fmt.Errorf("read Firehose destination firehose://%s: %w", c.Stream, err)
	}
	return c, nil
}
