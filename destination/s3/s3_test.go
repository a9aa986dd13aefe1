package s3

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"slipstream/destination"
	"slipstream/destination/conformance"
	"slipstream/test/servers"
)

var keys = []string{"AWS_ACCESS_KEY_ID=AKIDTEST", "AWS_SECRET_ACCESS_KEY=the-secret", "AWS_SESSION_TOKEN=the-token"}

func testBatch() *destination.Batch {
	sealed := time.Date(2026, 10, 1, 9, 59, 58, 0, time.FixedZone("", 2*3600))
	return &destination.Batch{
		ID: "0d4e3a52-5a1f-4d7c-9d5e-3f6f9e6c1c11-7", Environment: "0d4e3a52-5a1f-4d7c-9d5e-3f6f9e6c1c11", Sequence: 7,
		Opened: sealed.Add(-10 * time.Second), Sealed: sealed, Records: 2,
		Body: []byte("not really gzip"), ContentType: "application/x-ndjson", Encoding: "gzip",
	}
}

func TestParse(t *testing.T) {
	native := destination.Layout{}
	for _, tt := range []struct {
		url  string
		env  []string
		want Config
	}{
		{"s3://logs", nil, Config{Bucket: "logs", Region: "us-east-1", Layout: native}},
		{"s3://logs/a/b/", []string{"AWS_DEFAULT_REGION=eu-west-1"},
			Config{Bucket: "logs", Prefix: "a/b", Region: "eu-west-1"}},
		{"s3://logs", []string{"AWS_REGION=eu-west-2", "AWS_DEFAULT_REGION=eu-west-1"},
			Config{Bucket: "logs", Region: "eu-west-2"}},
		{"s3://logs?region=cn-north-1&create_bucket=true&layout=sample", []string{"AWS_REGION=eu-west-2"}, Config{
			Bucket: "logs", Region: "cn-north-1", CreateBucket: true, Layout: destination.Layout{Style: "sample"}}},
		{"s3://my.logs", nil, Config{Bucket: "my.logs", Region: "us-east-1", PathStyle: true}},
		{"s3://my.logs?path_style=false", nil, Config{Bucket: "my.logs", Region: "us-east-1"}},
		{"s3://logs", []string{"AWS_ENDPOINT_URL=http://b", "AWS_ENDPOINT_URL_S3=http://a:1"},
			Config{Bucket: "logs", Region: "us-east-1", Endpoint: "http://a:1", PathStyle: true}},
		{"s3://logs?endpoint=https%3A%2F%2Fc%2Fbase", []string{"AWS_ENDPOINT_URL=http://b"},
			Config{Bucket: "logs", Region: "us-east-1", Endpoint: "https://c/base", PathStyle: true}},
		{"s3://logs?path_style=0", []string{"AWS_ENDPOINT_URL=http://b"},
			Config{Bucket: "logs", Region: "us-east-1", Endpoint: "http://b"}},
	} {
		got, err := Parse(tt.url, conformance.Environment(tt.env...))
		if diff := cmp.Diff(tt.want, got, cmpopts.IgnoreFields(Config{}, "Getenv")); diff != "" || err != nil {
			t.Errorf("%s: %v\n%s", tt.url, err, diff)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for url, want := range map[string]string{
		"s3://":                          "bucket is missing",
		"s3:///prefix":                   "bucket is missing",
		"logs":                           "scheme",
		"http://logs":                    "scheme",
		"s3://logs:80":                   "no bucket's name",
		"s3://user:secret@logs":          "no bucket's name",
		"s3://lo gs":                     "s3://bucket/prefix",
		"s3://logs?regoin=x":             "option regoin=\"x\": unknown option",
		"s3://logs?create_bucket=maybe":  "create_bucket",
		"s3://logs?path_style=2":         "path_style",
		"s3://logs?layout=mine":          "layout=\"mine\": not native or sample",
		"s3://logs?endpoint=localhost:1": "endpoint is no URL",
		"s3://logs?%zz":                  "invalid URL escape",
		"s3://logs/a#b":                  "%23",
	} {
		_, err := Parse(url, conformance.Environment())
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want %q in it", url, err, want)
		}
	}
}

func TestAddresses(t *testing.T) {
	for _, tt := range []struct{ url, region, want string }{
		{"s3://logs", "eu-west-1", "https://logs.s3.eu-west-1.amazonaws.com/year%3D2026/a%20b%2B%C3%BC"},
		{"s3://logs", "us-east-1", "https://logs.s3.us-east-1.amazonaws.com/year%3D2026/a%20b%2B%C3%BC"},
		{"s3://logs", "cn-north-1", "https://logs.s3.cn-north-1.amazonaws.com.cn/year%3D2026/a%20b%2B%C3%BC"},
		{"s3://logs", "eusc-de-east-1", "https://logs.s3.eusc-de-east-1.amazonaws.eu/year%3D2026/a%20b%2B%C3%BC"},
		{"s3://my.logs", "eu-west-1", "https://s3.eu-west-1.amazonaws.com/my.logs/year%3D2026/a%20b%2B%C3%BC"},
		{"s3://logs?endpoint=http://h:1/base/", "x", "http://h:1/base/logs/year%3D2026/a%20b%2B%C3%BC"},
		{"s3://logs?endpoint=http://h:1&path_style=false", "x", "http://logs.h:1/year%3D2026/a%20b%2B%C3%BC"},
	} {
		c, err := Parse(tt.url, conformance.Environment())
		if err != nil {
			t.Fatal(err)
		}
		if got := c.address(tt.region, "year=2026/a b+ü").String(); got != tt.want {
			t.Errorf("%s: %s, not %s", tt.url, got, tt.want)
		}
	}
}

// backend answers from a list, the last answer for ever, and keeps the requests.
type backend struct {
	*httptest.Server
	mu       sync.Mutex
	requests []*http.Request
	bodies   []string
}

type reply struct {
	status int
	body   string
	header string // "Name: value"
}

var success = reply{200, "", `ETag: "x"`}

func newBackend(t *testing.T, replies ...reply) *backend {
	b := &backend{}
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.mu.Lock()
		defer b.mu.Unlock()
		body, _ := io.ReadAll(r.Body)
		next := replies[min(len(b.requests), len(replies)-1)]
		b.requests, b.bodies = append(b.requests, r), append(b.bodies, string(body))
		if name, value, ok := strings.Cut(next.header, ": "); ok {
			w.Header().Set(name, value)
		}
		w.WriteHeader(next.status)
		io.WriteString(w, next.body)
	}))
	t.Cleanup(b.Close)
	return b
}

func xml(code, message, more string) string {
	return `<?xml version="1.0"?><Error><Code>` + code + `</Code><Message>` + message + `</Message>` + more + `</Error>`
}

// lines are the requests so far as "METHOD path region".
func (b *backend) lines() (lines []string) {
	for _, r := range b.requests {
		scope := strings.Split(r.Header.Get("Authorization"), "/")
		lines = append(lines, fmt.Sprintf("%s %s %s", r.Method, r.URL.EscapedPath(), scope[min(2, len(scope)-1)]))
	}
	return lines
}

func TestOneRequest(t *testing.T) {
	b := newBackend(t, success)
	batch := testBatch()
	if err := dial(t, "s3://logs/p?endpoint="+b.URL, keys...).Send(context.Background(), batch); err != nil {
		t.Fatal(err)
	}
	want := "PUT /logs/p/year%3D2026/month%3D10/day%3D01/hour%3D07/shop-" + batch.ID + ".ndjson.gz us-east-1"
	if diff := cmp.Diff([]string{want}, b.lines()); diff != "" {
		t.Error(diff)
	}
	sum := sha256.Sum256(batch.Body)
	got := b.requests[0].Header
	for name, want := range map[string]string{
		"Content-Type": "application/gzip", "Content-Encoding": "", "Idempotency-Key": "",
		"X-Amz-Security-Token":  "the-token",
		"X-Amz-Content-Sha256":  fmt.Sprintf("%x", sum),
		"X-Amz-Checksum-Sha256": base64.StdEncoding.EncodeToString(sum[:]),
	} {
		if got.Get(name) != want {
			t.Errorf("%s is %q, not %q", name, got.Get(name), want)
		}
	}
}

func TestRegionIsCorrectedOnceAndKept(t *testing.T) {
	for name, wrong := range map[string]reply{
		"redirect by header": {301, xml("PermanentRedirect", "elsewhere", ""), "X-Amz-Bucket-Region: eu-central-1"},
		"redirect, new bucket": {307, xml("TemporaryRedirect", "elsewhere", ""),
			"X-Amz-Bucket-Region: eu-central-1"},
		"malformed by body": {400, xml("AuthorizationHeaderMalformed", "wrong region", "<Region>eu-central-1</Region>"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBackend(t, wrong, success)
			c := dial(t, "s3://logs?layout=sample&endpoint="+b.URL, keys...)
			for range 2 {
				if err := c.Send(context.Background(), testBatch()); err != nil {
					t.Fatal(err)
				}
			}
			var regions []string
			for _, line := range b.lines() {
				regions = append(regions, line[strings.LastIndex(line, " ")+1:])
			}
			if diff := cmp.Diff([]string{"us-east-1", "eu-central-1", "eu-central-1"}, regions); diff != "" {
				t.Error(diff)
			}
		})
	}
	t.Run("never twice", func(t *testing.T) {
		b := newBackend(t, reply{301, "", "X-Amz-Bucket-Region: eu-north-1"},
			reply{301, "", "X-Amz-Bucket-Region: eu-south-1"})
		err := dial(t, "s3://logs?endpoint="+b.URL, keys...).Send(context.Background(), testBatch())
		if err == nil || destination.Permanent(err) || len(b.requests) != 2 {
			t.Errorf("%d requests, %v", len(b.requests), err)
		}
	})
	t.Run("no region that could be an address", func(t *testing.T) {
		b := newBackend(t, reply{301, "", "X-Amz-Bucket-Region: evil.example/"})
		err := dial(t, "s3://logs?endpoint="+b.URL, keys...).Send(context.Background(), testBatch())
		if err == nil || len(b.requests) != 1 {
			t.Errorf("%d requests, %v", len(b.requests), err)
		}
	})
}

func TestMissingBucketIsMade(t *testing.T) {
	missing := reply{404, xml("NoSuchBucket", "The specified bucket does not exist", ""), ""}
	key := "/logs/year%3D2026/month%3D10/day%3D01/hour%3D07/shop-" + testBatch().ID + ".ndjson.gz"
	for _, answer := range []reply{{200, "", ""}, {409, xml("BucketAlreadyOwnedByYou", "", ""), ""},
		{409, xml("BucketAlreadyExists", "", ""), ""}} {
		b := newBackend(t, missing, answer, success)
		url := "s3://logs?create_bucket=true&region=eu-west-1&endpoint=" + b.URL
		if err := dial(t, url, keys...).Send(context.Background(), testBatch()); err != nil {
			t.Fatal(err)
		}
		want := []string{"PUT " + key + " eu-west-1", "PUT /logs eu-west-1", "PUT " + key + " eu-west-1"}
		if diff := cmp.Diff(want, b.lines()); diff != "" {
			t.Error(diff)
		}
		if !strings.Contains(b.bodies[1], "<LocationConstraint>eu-west-1</LocationConstraint>") {
			t.Errorf("bucket made with %q", b.bodies[1])
		}
	}
	b := newBackend(t, missing, reply{403, xml("AccessDenied", "", ""), ""})
	err := dial(t, "s3://logs?create_bucket=true&endpoint="+b.URL, keys...).Send(context.Background(), testBatch())
	if err == nil || !strings.Contains(err.Error(), "s3:CreateBucket on arn:aws:s3:::logs") || b.bodies[1] != "" {
		t.Errorf("%v after %q", err, b.bodies)
	}
	b = newBackend(t, missing)
	err = dial(t, "s3://logs?endpoint="+b.URL, keys...).Send(context.Background(), testBatch())
	if err == nil || !strings.Contains(err.Error(), "create_bucket=true") || len(b.requests) != 1 {
		t.Errorf("%v after %d requests", err, len(b.requests))
	}
}

func TestRefusals(t *testing.T) {
	for _, tt := range []struct {
		reply     reply
		permanent bool
		want      string
	}{
		{reply{403, xml("AccessDenied", "Access &lt;Denied&gt;", ""), ""}, false,
			"status 403 AccessDenied: Access <Denied> (check s3:PutObject on arn:aws-cn:s3:::logs/*"},
		{reply{403, xml("RequestTimeTooSkewed", "", ""), ""}, false, "clock"},
		{reply{403, xml("SignatureDoesNotMatch", "", ""), ""}, false, "check AWS_ACCESS_KEY_ID"},
		{reply{400, xml("ExpiredToken", "", ""), ""}, false, "expired"},
		{reply{400, xml("EntityTooLarge", "", ""), ""}, true, "EntityTooLarge"},
		{reply{400, xml("KeyTooLongError", "", ""), ""}, true, "KeyTooLongError"},
		{reply{400, "<html>", ""}, false, "status 400"},
		{reply{503, xml("SlowDown", "Please reduce your request rate", ""), "Retry-After: 3"}, false, "SlowDown"},
		{reply{200, "", ""}, false, "no ETag"},
		{reply{500, xml("Echo", "the-secret the-token "+strings.Repeat("long ", 1000), ""), ""}, false, "Echo: *** *** long"},
		{reply{500, "<Code>\xff\n\x00</Code><Message>", ""}, false, "status 500"},
	} {
		b := newBackend(t, tt.reply)
		err := dial(t, "s3://logs?region=cn-north-1&endpoint="+b.URL, keys...).Send(context.Background(), testBatch())
		var e *destination.Error
		if !errors.As(err, &e) || e.Status != tt.reply.status || e.Permanent != tt.permanent ||
			!strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want %q in it", tt.reply, err, tt.want)
			continue
		}
		if text := err.Error(); strings.Contains(text, "the-secret") || strings.Contains(text, "the-token") ||
			len(text) > 600 {
			t.Errorf("secret or endless: %s", text)
		}
		if (e.RetryAfter == 3*time.Second) != (tt.reply.header != "") {
			t.Errorf("retry after %v", e.RetryAfter)
		}
	}
}

// What the real server has to say: the names, the bucket it makes, an outage.
func TestAgainstTheRealServer(t *testing.T) {
	server := servers.StartS3(t)
	batch := testBatch()
	c := dial(t, "s3://made-on-demand/p?create_bucket=true", server.Env()...)
	server.Stop(t)
	if err := c.Send(context.Background(), batch); err == nil || destination.Permanent(err) {
		t.Fatalf("during an outage: %v", err)
	}
	server.Start(t)
	if err := c.Send(context.Background(), batch); err != nil {
		t.Fatal(err)
	}
	const bucket = "made-on-demand"
	want := []string{"p/year=2026/month=10/day=01/hour=07/shop-" + batch.ID + ".ndjson.gz"}
	if diff := cmp.Diff(want, server.List(t, bucket, "")); diff != "" {
		t.Fatal(diff)
	}
	object := servers.Object{Body: batch.Body, ContentType: "application/gzip"}
	if diff := cmp.Diff(object, server.Get(t, bucket, want[0])); diff != "" {
		t.Error(diff)
	}
	wrong := dial(t, "s3://"+bucket, append([]string{"AWS_SECRET_ACCESS_KEY=wrong"}, server.Env()...)...)
	err := wrong.Send(context.Background(), batch)
	if err == nil || !strings.Contains(err.Error(), "SignatureDoesNotMatch") {
		t.Errorf("with a wrong key: %v", err)
	}
	region := dial(t, "s3://"+bucket+"?region=us-west-2&layout=sample", server.Env()...)
	if err := region.Send(context.Background(), batch); err != nil {
		t.Errorf("with a wrong region: %v", err)
	}
}
