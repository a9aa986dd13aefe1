// Package s3 delivers batches to Amazon S3 or a server that speaks its
// protocol, one object a batch. Use it for s3:// destinations. It signs with
// the AWS SDK's signer over plain net/http: against service/s3 that saves 2 MB
// of binary and 2 MB of memory, and every start loads them.
package s3

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"slipstream/destination"
)

var _ destination.Destination = (*Client)(nil)

// Client puts batches into one bucket. Send is for one goroutine at a time.
type Client struct {
	config Config
	region string // what S3 says when it differs from the configured one
	http   *destination.HTTPClient
	signer *v4.Signer
	lent   lentCredentials
}

// New makes a client. It touches neither network nor credentials before the
// first Send.
func New(c Config) *Client {
	return &Client{config: c, region: c.Region, http: destination.NewHTTPClient()}
}

// Close ends a Send under way and drops the connections.
func (c *Client) Close() error { return c.http.Close() }

// Send puts the batch under its key. A resend writes the same bytes under the
// same key, so it never doubles. A bucket in another region is found by what S3
// answers; a missing one is made if the configuration says so.
func (c *Client) Send(ctx context.Context, b *destination.Batch) error {
	creds, err := c.credentials(ctx)
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
		switch region := resp.otherRegion(c.region); {
		case region != "" && !moved:
			c.region, moved = region, true
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
	if c.region != "us-east-1" { // the only region that is named by not naming one
		body = []byte(`<CreateBucketConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><LocationConstraint>` +
			c.region + `</LocationConstraint></CreateBucketConfiguration>`)
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

// do signs and sends one request.
func (c *Client) do(ctx context.Context, op, method, key string, body []byte, h http.Header,
	creds aws.Credentials) (*answer, error) {
	req := &http.Request{
		Method: method, URL: c.config.address(c.region, key), Header: h, ContentLength: int64(len(body)),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Body: http.NoBody,
	}
	req.Host = req.URL.Host
	if len(body) > 0 {
		setBody(req, body)
	}
	sum := sha256.Sum256(body)
	hash := hex.EncodeToString(sum[:])
	h.Set("X-Amz-Content-Sha256", hash)
	// Buckets with a default retention take nothing without a checksum.
	h.Set("X-Amz-Checksum-Sha256", base64.StdEncoding.EncodeToString(sum[:]))
	if c.signer == nil {
		c.signer = v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	}
	if err := c.signer.SignHTTP(ctx, creds, req, hash, "s3", c.region, time.Now()); err != nil {
		return nil, c.fault(op, err, "")
	}
	// Never sent: tells net/http that the request may be repeated when a kept
	// connection turns out dead, as after a freeze.
	h["Idempotency-Key"] = nil
	resp, err := c.http.Do(ctx, req)
	if err != nil {
		return nil, destination.NoAnswer(op, c.target(), err)
	}
	return newAnswer(resp, creds.SecretAccessKey, creds.SessionToken), nil
}

func setBody(req *http.Request, body []byte) {
	req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	req.Body, _ = req.GetBody()
}

// target names the destination in errors.
func (c *Client) target() string {
	return strings.TrimSuffix("s3://"+c.config.Bucket+"/"+c.config.Prefix, "/")
}
