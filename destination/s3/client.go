// Package s3 delivers batches to Amazon S3 or a server that speaks its
// protocol, one object a batch. Use it for s3:// destinations.
package s3

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/aws"

	"slipstream/destination"
	"slipstream/destination/awsauth"
)

var _ destination.Destination = (*Client)(nil)

// Client puts batches into one bucket.
type Client struct {
	config Config
	region atomic.Pointer[string] // what S3 says when it differs from the configured one
	aws    *awsauth.Client
}

// New makes a client. It touches neither network nor credentials before the
// first Send.
func New(c Config) *Client {
	client := &Client{config: c, aws: awsauth.New(target(&c), c.Getenv)}
	client.region.Store(&c.Region)
	return client
}

// Close ends a Send under way and drops the connections.
func (c *Client) Close() error { return c.aws.Close() }

// Send puts the batch under its key. A resend writes the same bytes under the
// same key, so it never doubles. A bucket in another region is found by what S3
// answers; a missing one is made if the configuration says so.
func (c *Client) Send(ctx context.Context, b *destination.Batch) error {
	creds, err := c.aws.Credentials(ctx)
	if err != nil {
		return err
	}
	key := c.config.Layout.Key(b)
	if c.config.Prefix != "" {
		key = c.config.Prefix + "/" + key
	}
	moved, created := false, false
	for {
		resp, err := c.do(ctx, "put object", http.MethodPut, key, b.Body, headersOf(b), creds)
		if err != nil {
			return err
		}
		if resp.taken() {
			return nil
		}
		switch region := resp.otherRegion(resp.asked); {
		case region != "" && !moved:
			c.region.Store(&region)
			moved = true
		case resp.code == "NoSuchBucket" && c.config.CreateBucket && !created:
			created = true
			if err := c.createBucket(ctx, creds); err != nil {
				return err
			}
		default:
			return c.refused("put object", resp)
		}
	}
}

// headersOf describes the object. A compressed object is what its name says, a
// gzip or zstd file, and has no Content-Encoding: Athena goes by the name's
// ending, and with the header browsers and some SDKs would hand out other bytes
// than the name promises.
func headersOf(b *destination.Batch) http.Header {
	h := http.Header{}
	switch b.Encoding {
	case "":
		h.Set("Content-Type", b.ContentType)
	case "gzip", "zstd":
		h.Set("Content-Type", "application/"+b.Encoding)
	default:
		h.Set("Content-Type", "application/octet-stream")
	}
	return h
}

// createBucket makes the bucket in the client's region. That another
// environment was faster is as good.
func (c *Client) createBucket(ctx context.Context, creds aws.Credentials) error {
	var body []byte
	region := *c.region.Load()
	if region != "us-east-1" { // the only region that is named by not naming one
		body = []byte(`<CreateBucketConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><LocationConstraint>` +
			region + `</LocationConstraint></CreateBucketConfiguration>`)
	}
	resp, err := c.do(ctx, "create bucket", http.MethodPut, "", body, http.Header{}, creds)
	if err != nil {
		return err
	}
	if resp.Status/100 == 2 || resp.code == "BucketAlreadyOwnedByYou" || resp.code == "BucketAlreadyExists" {
		return nil
	}
	return c.refused("create bucket", resp)
}

// do sends one request to the region that is known by now.
func (c *Client) do(ctx context.Context, op, method, key string, body []byte, h http.Header,
	creds aws.Credentials) (*answer, error) {
	region := *c.region.Load()
	resp, err := c.aws.Do(ctx, &awsauth.Request{
		Op: op, Service: "s3", Region: region, Method: method, URL: c.config.address(region, key), Header: h, Body: body,
		Checksum: true, // buckets with a default retention take nothing without one
	}, creds)
	if err != nil {
		return nil, err
	}
	a := newAnswer(resp, creds.SecretAccessKey, creds.SessionToken)
	a.asked = region
	return a, nil
}

// target names the destination in errors.
func target(c *Config) string { return strings.TrimSuffix("s3://"+c.Bucket+"/"+c.Prefix, "/") }
