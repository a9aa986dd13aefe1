// Package awsauth is what the destinations on AWS share: region, endpoint,
// credentials, and signed requests. Use it for a destination that speaks to an
// AWS service. It signs with the AWS SDK's signer over plain net/http: against
// the SDK's clients that saves 2 MB of binary and 2 MB of memory a service, and
// every start loads them.
package awsauth

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"slipstream/destination"
)

// Client sends signed requests for one destination, from any number of
// goroutines.
type Client struct {
	target string
	getenv func(string) string
	http   *destination.HTTPClient

	mu     sync.Mutex
	lent   lentCredentials
	signer *v4.Signer // made by the first request
	s3     *v4.Signer // S3's paths are signed as they are
}

// New makes a client; target names the destination in errors. It touches
// neither network nor credentials before the first request. getenv gives the
// credentials, asked for each time: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and
// AWS_SESSION_TOKEN, or AWS_CONTAINER_CREDENTIALS_FULL_URI and
// AWS_CONTAINER_AUTHORIZATION_TOKEN.
func New(target string, getenv func(string) string) *Client {
	return &Client{target: target, getenv: getenv, http: destination.NewHTTPClient()}
}

// Close ends the requests under way and drops the connections.
func (c *Client) Close() error { return c.http.Close() }

// Request is one call of a service.
type Request struct {
	Op      string // for errors: "put object"
	Service string // its name in signatures: "s3", "firehose"
	Region  string
	Method  string
	URL     *url.URL
	Header  http.Header // signed too; changed by Do
	Body    []byte
	// Checksum sends the body's SHA-256 as S3's checksum too, summed up once.
	Checksum bool
}

// Do signs and sends a request. Its errors are *destination.Error.
func (c *Client) Do(ctx context.Context, r *Request, creds aws.Credentials) (*destination.Response, error) {
	req := &http.Request{
		Method: r.Method, URL: r.URL, Host: r.URL.Host, Header: r.Header, ContentLength: int64(len(r.Body)),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Body: http.NoBody,
	}
	if len(r.Body) > 0 {
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(r.Body)), nil }
		req.Body, _ = req.GetBody()
	}
	sum := sha256.Sum256(r.Body)
	hash := hex.EncodeToString(sum[:])
	r.Header.Set("X-Amz-Content-Sha256", hash)
	if r.Checksum {
		r.Header.Set("X-Amz-Checksum-Sha256", base64.StdEncoding.EncodeToString(sum[:]))
	}
	if err := c.signerOf(r.Service).SignHTTP(ctx, creds, req, hash, r.Service, r.Region, time.Now()); err != nil {
		return nil, c.fault(r.Op, err, "")
	}
	// Never sent: tells net/http that the request may be repeated when a kept
	// connection turns out dead, as after a freeze.
	r.Header["Idempotency-Key"] = nil
	resp, err := c.http.Do(ctx, req)
	if err != nil {
		return nil, destination.NoAnswer(r.Op, c.target, err)
	}
	return resp, nil
}

func (c *Client) signerOf(service string) *v4.Signer {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.signer == nil {
		c.signer = v4.NewSigner()
		c.s3 = v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	}
	if service == "s3" {
		return c.s3
	}
	return c.signer
}

func (c *Client) fault(op string, err error, hint string) *destination.Error {
	return &destination.Error{Op: op, Target: c.target, Err: err, Hint: hint}
}

// Region is the one given, or the environment's.
func Region(given string, getenv func(string) string) string {
	return first(given, getenv("AWS_REGION"), getenv("AWS_DEFAULT_REGION"), "us-east-1")
}

// Endpoint is the server given, or the environment's for the service ("S3"), or
// "" for AWS itself. It is checked: http or https, with a host.
func Endpoint(given, service string, getenv func(string) string) (string, error) {
	endpoint := first(given, getenv("AWS_ENDPOINT_URL_"+service), getenv("AWS_ENDPOINT_URL"))
	if endpoint == "" {
		return "", nil
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil {
		return "", errors.New("the endpoint is no URL (write http://host:port or https://host)")
	}
	return endpoint, nil
}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// Partition is the name that ARNs of the region begin with, and the domain its
// endpoints end in.
func Partition(region string) (arn, domain string) {
	switch {
	case strings.HasPrefix(region, "cn-"):
		return "aws-cn", "amazonaws.com.cn"
	case strings.HasPrefix(region, "us-gov-"):
		return "aws-us-gov", "amazonaws.com"
	case strings.HasPrefix(region, "eusc-"):
		return "aws-eusc", "amazonaws.eu"
	}
	return "aws", "amazonaws.com"
}

// ServiceURL is where a service answers: its endpoint if there is one, without
// query and fragment, else AWS's own for the region.
func ServiceURL(service, region, endpoint string) *url.URL {
	if endpoint != "" {
		u, _ := url.Parse(endpoint) // Endpoint has seen it
		u.RawQuery, u.Fragment = "", ""
		if u.Path == "" {
			u.Path = "/"
		}
		return u
	}
	_, domain := Partition(region)
	return &url.URL{Scheme: "https", Host: service + "." + region + "." + domain, Path: "/"}
}

// JSONError reads the refusal of a service that speaks JSON: its code without
// what stands around it, and its message, both fit for an error. Secrets of the
// credentials are taken out.
func JSONError(resp *destination.Response, creds aws.Credentials) (code, message string) {
	code, message = jsonError(resp)
	code = code[strings.LastIndexByte(code, '#')+1:]
	code, _, _ = strings.Cut(code, ":")
	return destination.Excerpt(code, creds.SecretAccessKey, creds.SessionToken),
		destination.Excerpt(message, creds.SecretAccessKey, creds.SessionToken)
}
