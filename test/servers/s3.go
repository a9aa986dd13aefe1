package servers

import (
	"context"
	"io"
	"net/http"
	"path/filepath"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
)

// S3 is a versitygw with a bucket store of the test's own. What it holds is
// read through AWS's own client.
type S3 struct {
	Endpoint string // http://127.0.0.1:port
	process  *process
	client   *awss3.Client
}

// The server's root user.
const (
	accessKey = "AKIDSLIPSTREAMTEST"
	secretKey = "slipstream-test-secret-key"
	region    = "eu-west-1"
)

// StartS3 runs an S3 server until the test ends.
func StartS3(t testing.TB) *S3 {
	t.Helper()
	address := freeAddress(t)
	dir := t.TempDir()
	s := &S3{Endpoint: "http://" + address}
	s.process = &process{
		path: build(t, "versitygw", "github.com/versity/versitygw/cmd/versitygw"),
		args: []string{"--access", accessKey, "--secret", secretKey, "--region", region, "--port", address, "--quiet",
			// Metadata beside the files: not every file system has attributes.
			"posix", "--sidecar", folder(t, filepath.Join(dir, "meta")), folder(t, filepath.Join(dir, "data"))},
		ready: s.Endpoint,
	}
	s.client = awss3.New(awss3.Options{
		BaseEndpoint: aws.String(s.Endpoint), Region: region, UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(accessKey, secretKey, ""),
		// No connection stays: tests look for goroutines that were left behind.
		HTTPClient: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}},
	})
	s.process.start(t)
	return s
}

// Env is the environment that leads an S3 client here, as NAME=value.
func (s *S3) Env() []string {
	return []string{
		"AWS_ACCESS_KEY_ID=" + accessKey, "AWS_SECRET_ACCESS_KEY=" + secretKey, "AWS_REGION=" + region,
		"AWS_ENDPOINT_URL_S3=" + s.Endpoint,
	}
}

// Stop makes an outage; what the server holds stays.
func (s *S3) Stop(t testing.TB) {
	t.Helper()
	s.process.stop()
}

// Start ends an outage: same address, same data.
func (s *S3) Start(t testing.TB) {
	t.Helper()
	s.process.start(t)
}

// CreateBucket makes an empty bucket.
func (s *S3) CreateBucket(t testing.TB, bucket string) {
	t.Helper()
	if _, err := s.client.CreateBucket(context.Background(),
		&awss3.CreateBucketInput{Bucket: aws.String(bucket)}); err != nil {
		t.Fatalf("servers: create bucket %s: %v", bucket, err)
	}
}

// List gives the keys in a bucket that begin with prefix, in order.
func (s *S3) List(t testing.TB, bucket, prefix string) []string {
	t.Helper()
	var keys []string
	pages := awss3.NewListObjectsV2Paginator(s.client,
		&awss3.ListObjectsV2Input{Bucket: aws.String(bucket), Prefix: aws.String(prefix)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(context.Background())
		if err != nil {
			t.Fatalf("servers: list bucket %s: %v", bucket, err)
		}
		for _, object := range page.Contents {
			keys = append(keys, aws.ToString(object.Key))
		}
	}
	return keys
}

// Object is what a bucket holds under one key.
type Object struct {
	Body                         []byte
	ContentType, ContentEncoding string
}

// Get reads one object, byte for byte.
func (s *S3) Get(t testing.TB, bucket, key string) Object {
	t.Helper()
	out, err := s.client.GetObject(context.Background(),
		&awss3.GetObjectInput{Bucket: aws.String(bucket), Key: aws.String(key)})
	if err != nil {
		t.Fatalf("servers: get %s from bucket %s: %v", key, bucket, err)
	}
	defer out.Body.Close()
	body, err := io.ReadAll(out.Body)
	if err != nil {
		t.Fatalf("servers: get %s from bucket %s: %v", key, bucket, err)
	}
	return Object{
		Body: body, ContentType: aws.ToString(out.ContentType), ContentEncoding: aws.ToString(out.ContentEncoding),
	}
}
