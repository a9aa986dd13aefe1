package s3

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"slipstream/destination"
	"slipstream/destination/awsauth"
)

// Config says which bucket, where, and under what names.
type Config struct {
	Bucket       string
	Prefix       string // of every key, without slashes at its ends
	Region       string
	Endpoint     string // of another S3 server, "" for AWS
	PathStyle    bool   // bucket in the path, not in the host name
	CreateBucket bool   // make the bucket when it is missing
	Layout       destination.Layout
	// Getenv gives the credentials, as awsauth.New says.
	Getenv func(string) string
}

// Parse reads s3://bucket/prefix?region=&endpoint=&path_style=&create_bucket=
// &layout=native|sample. What the URL leaves open comes from AWS_REGION or
// AWS_DEFAULT_REGION, and AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL. With an
// endpoint, or a dot in the bucket's name, addresses are path-style. The caller
// takes its own parameters out first; unknown ones are an error. Layout's
// Function and Extension are left to the caller.
func Parse(rawURL string, getenv func(string) string) (Config, error) {
	c := Config{Getenv: getenv}
	u, err := url.Parse(rawURL)
	if err != nil {
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			err = wrapped.Err
		}
		return c, fmt.Errorf("read S3 destination: %w (write s3://bucket/prefix)", err)
	}
	c.Bucket, c.Prefix = u.Host, strings.Trim(u.Path, "/")
	switch {
	case u.Scheme != "s3":
		return c, fmt.Errorf("read S3 destination: scheme %q (write s3://bucket/prefix)", u.Scheme)
	case c.Bucket == "":
		return c, errors.New("read S3 destination: the bucket is missing (write s3://bucket/prefix)")
	case u.User != nil || strings.Trim(strings.ToLower(c.Bucket), "abcdefghijklmnopqrstuvwxyz0123456789.-_") != "":
		return c, errors.New("read S3 destination: that is no bucket's name (write s3://bucket/prefix)")
	case u.Fragment != "":
		return c, errors.New("read S3 destination: the URL holds a # (write it as %23)")
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return c, fmt.Errorf("read S3 destination s3://%s: %w", c.Bucket, err)
	}
	if err := c.options(query, getenv); err != nil {
		return c, fmt.Errorf("read S3 destination s3://%s: %w", c.Bucket, err)
	}
	return c, nil
}

// options reads the query and what the environment has for the rest.
func (c *Config) options(query url.Values, getenv func(string) string) error {
	pathStyle := ""
	for name, values := range query {
		value := values[len(values)-1]
		var err error
		switch name {
		case "region":
			c.Region = value
		case "endpoint":
			c.Endpoint = value
		case "path_style":
			pathStyle = value
		case "create_bucket":
			c.CreateBucket, err = strconv.ParseBool(value)
		case "layout":
			c.Layout.Style = value
			if value != "native" && value != "sample" {
				err = errors.New("not native or sample")
			}
		default:
			err = errors.New("unknown option (known: region, endpoint, path_style, create_bucket, layout)")
		}
		if err != nil {
			return fmt.Errorf("option %s=%q: %w", name, value, err)
		}
	}
	c.Region = awsauth.Region(c.Region, getenv)
	var err error
	if c.Endpoint, err = awsauth.Endpoint(c.Endpoint, "S3", getenv); err != nil {
		return err
	}
	c.PathStyle = c.Endpoint != "" || strings.Contains(c.Bucket, ".")
	if pathStyle != "" {
		if c.PathStyle, err = strconv.ParseBool(pathStyle); err != nil {
			return fmt.Errorf("option path_style=%q: %w", pathStyle, err)
		}
	}
	return nil
}

// address is the URL of the object key in the bucket, or of the bucket itself
// where key is "". The region is a parameter because the answer of S3 may
// correct the configured one.
func (c *Config) address(region, key string) *url.URL {
	u := awsauth.ServiceURL("s3", region, c.Endpoint)
	path := strings.TrimRight(u.Path, "/") + "/"
	if c.PathStyle {
		path += c.Bucket
		if key != "" {
			path += "/"
		}
	} else {
		u.Host = c.Bucket + "." + u.Host
	}
	u.Path = path + key
	u.RawPath = escape(u.Path)
	return u
}

// escape encodes a path as Signature Version 4 wants it signed: everything but
// letters, digits and "-._~/". Go would leave the "=" of partitions alone.
func escape(path string) string {
	const hex = "0123456789ABCDEF"
	b := make([]byte, 0, len(path)+16)
	for i := range len(path) {
		c := path[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("-._~/", c) >= 0:
			b = append(b, c)
		default:
			b = append(b, '%', hex[c>>4], hex[c&15])
		}
	}
	return string(b)
}
