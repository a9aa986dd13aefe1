package servers

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awsfirehose "github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// Firehose is moto's server, a stand-in for AWS that many projects test with:
// Amazon Data Firehose, and the S3 that its streams write to. It writes each
// request at once, as an object of its own. What it holds is read through AWS's
// own client. What it does not judge: signatures, quotas, sizes.
type Firehose struct {
	Endpoint string // http://127.0.0.1:port
	process  *process
	client   *awsfirehose.Client
	store    *S3
}

// StartFirehose runs a server until the test ends. The first use on a machine
// installs it, a quarter of a minute: it needs python3 with venv, and PyPI.
func StartFirehose(t testing.TB) *Firehose {
	t.Helper()
	f := &Firehose{process: newMoto(t)}
	f.Endpoint = f.process.ready
	provider := credentials.NewStaticCredentialsProvider(accessKey, secretKey, "")
	// No connection stays: tests look for goroutines that were left behind.
	alone := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	f.client = awsfirehose.New(awsfirehose.Options{
		BaseEndpoint: aws.String(f.Endpoint), Region: region, Credentials: provider, HTTPClient: alone,
	})
	f.store = &S3{Endpoint: f.Endpoint, client: awss3.New(awss3.Options{
		BaseEndpoint: aws.String(f.Endpoint), Region: region, Credentials: provider, HTTPClient: alone, UsePathStyle: true,
	})}
	f.process.start(t)
	return f
}

// newMoto is moto's server at an address of its own, not yet started.
func newMoto(t testing.TB) *process {
	t.Helper()
	address := freeAddress(t)
	host, port, _ := strings.Cut(address, ":")
	return &process{path: motoPython(t), args: []string{"-m", "moto.server", "-H", host, "-p", port},
		ready: "http://" + address}
}

// Env is the environment that leads a Firehose client here, as NAME=value.
func (f *Firehose) Env() []string {
	return []string{
		"AWS_ACCESS_KEY_ID=" + accessKey, "AWS_SECRET_ACCESS_KEY=" + secretKey, "AWS_REGION=" + region,
		"AWS_ENDPOINT_URL_FIREHOSE=" + f.Endpoint,
	}
}

// CreateStream makes an empty stream.
func (f *Firehose) CreateStream(t testing.TB, stream string) {
	t.Helper()
	bucket := bucketOf(stream)
	if _, err := f.store.client.CreateBucket(context.Background(), &awss3.CreateBucketInput{
		Bucket:                    aws.String(bucket),
		CreateBucketConfiguration: &s3types.CreateBucketConfiguration{LocationConstraint: region},
	}); err != nil {
		t.Fatalf("servers: create bucket %s: %v", bucket, err)
	}
	if _, err := f.client.CreateDeliveryStream(context.Background(), &awsfirehose.CreateDeliveryStreamInput{
		DeliveryStreamName: aws.String(stream),
		ExtendedS3DestinationConfiguration: &types.ExtendedS3DestinationConfiguration{
			BucketARN: aws.String("arn:aws:s3:::" + bucket),
			RoleARN:   aws.String("arn:aws:iam::123456789012:role/firehose"),
		},
	}); err != nil {
		t.Fatalf("servers: create stream %s: %v", stream, err)
	}
}

// Delivered gives what the stream has written, a body for each request, in no
// particular order.
func (f *Firehose) Delivered(t testing.TB, stream string) (bodies [][]byte) {
	t.Helper()
	bucket := bucketOf(stream)
	for _, key := range f.store.List(t, bucket, "") {
		bodies = append(bodies, f.store.Get(t, bucket, key).Body)
	}
	return bodies
}

// bucketOf is where a stream writes.
func bucketOf(stream string) string { return stream + "-bucket" }

// motoPython gives the Python that has moto, in the tree's .cache/venv, installed
// anew when tools/moto/requirements.txt has changed. The venv's other programs name
// the folder that they were installed in, which may have moved since.
func motoPython(t testing.TB) string {
	t.Helper()
	root := treeRoot(t)
	requirements := filepath.Join(root, "tools", "moto", "requirements.txt")
	cache := filepath.Join(root, ".cache")
	if err := os.MkdirAll(cache, 0o755); err != nil {
		t.Fatalf("servers: %v", err)
	}
	lock, err := os.OpenFile(filepath.Join(cache, ".venv.lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		t.Fatalf("servers: %v", err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatalf("servers: lock %s: %v", lock.Name(), err)
	}
	venv := filepath.Join(cache, "venv")
	python := filepath.Join(venv, "bin", "python3")
	want, err := os.ReadFile(requirements)
	if err != nil {
		t.Fatalf("servers: %v", err)
	}
	installed := filepath.Join(venv, "requirements.txt") // written last: what is there is whole
	if have, err := os.ReadFile(installed); err == nil && string(have) == string(want) {
		return python
	}
	for _, args := range [][]string{
		{"python3", "-m", "venv", "--clear", venv},
		{python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", requirements},
	} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("servers: install moto, which needs python3 with venv (make packages): %v: %v\n%s", args, err, out)
		}
	}
	if err := os.WriteFile(installed, want, 0o644); err != nil {
		t.Fatalf("servers: %v", err)
	}
	return python
}
