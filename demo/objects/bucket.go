package objects

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// gateway is the S3 server that the tests use; `make tools` builds it.
const gateway = "versitygw"

// bucketName is the bucket; the extension creates it.
const bucketName = "slipstream-demo"

// gatewayPatience bounds the start of the S3 server.
const gatewayPatience = 10 * time.Second

// Bucket is a place for objects in S3: a bucket and a prefix in it.
type Bucket struct {
	name, prefix string
	endpoint     string
	key, secret  string
	token        string
	region       string
	server       string
	stop         func()
}

// FindBucket takes the S3 server of AWS_ENDPOINT_URL_S3, else starts versitygw
// if there is one, else gives nil. The
// server keeps its files below scratch; Stop ends it.
func FindBucket(ctx context.Context, scratch, prefix string) (*Bucket, error) {
	b := &Bucket{name: bucketName, prefix: prefix, region: "us-east-1", stop: func() {}}
	if endpoint := os.Getenv("AWS_ENDPOINT_URL_S3"); endpoint != "" {
		b.endpoint, b.server = endpoint, endpoint+" (AWS_ENDPOINT_URL_S3)"
		b.key, b.secret = os.Getenv("AWS_ACCESS_KEY_ID"), os.Getenv("AWS_SECRET_ACCESS_KEY")
		b.token = os.Getenv("AWS_SESSION_TOKEN")
		if region := os.Getenv("AWS_REGION"); region != "" {
			b.region = region
		}
		return b, nil
	}
	program := findGateway()
	if program == "" {
		return nil, nil
	}
	b.key, b.secret = "demo", "demosecret"
	if err := b.serve(ctx, program, scratch); err != nil {
		return nil, fmt.Errorf("start %s: %w", program, err)
	}
	return b, nil
}

// findGateway looks in the source tree's cache, then in PATH.
func findGateway() string {
	for _, path := range []string{filepath.Join(".cache", "bin", gateway), gateway} {
		if found, err := exec.LookPath(path); err == nil {
			if found, err = filepath.Abs(found); err == nil {
				return found
			}
		}
	}
	return ""
}

// serve starts versitygw over a folder on a free port and waits until it
// answers.
func (b *Bucket) serve(ctx context.Context, program, scratch string) error {
	port, err := freePort()
	if err != nil {
		return err
	}
	objects := filepath.Join(scratch, "objects")
	if err := os.Mkdir(objects, 0o755); err != nil {
		return err
	}
	address := fmt.Sprintf("127.0.0.1:%d", port)
	command := exec.Command(program, "--port", address, "--access", b.key, "--secret", b.secret, "--quiet",
		"posix", objects)
	command.Stdout, command.Stderr = io.Discard, io.Discard
	// A group of its own: Ctrl-C is for the demo, which still needs the server.
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := command.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	b.stop = func() {
		_ = command.Process.Kill() // it holds nothing that is still needed
		<-ended
	}
	b.endpoint, b.server = "http://"+address, gateway+" on http://"+address
	return b.answers(ctx, ended)
}

func (b *Bucket) answers(ctx context.Context, ended chan error) error {
	ctx, cancel := context.WithTimeout(ctx, gatewayPatience)
	defer cancel()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, b.endpoint, nil)
		if err != nil {
			return err
		}
		if response, err := http.DefaultClient.Do(request); err == nil {
			return response.Body.Close()
		}
		select {
		case err := <-ended:
			ended <- err
			return fmt.Errorf("it ended at once: %w", err)
		case <-ctx.Done():
			b.stop()
			return errors.New("it does not answer")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// freePort gives a port that nobody listens on, below those that the system
// hands out by itself: else somebody may have it before the server does.
func freePort() (int, error) {
	const lowest, ports, tries = 10_000, 20_000, 100
	for range tries {
		port := lowest + rand.IntN(ports)
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			return port, listener.Close()
		}
	}
	return 0, fmt.Errorf("find a free port: %d tries between %d and %d", tries, lowest, lowest+ports)
}

// Server says what server it is, for a person.
func (b *Bucket) Server() string { return b.server }

// Stop ends a server that FindBucket has started.
func (b *Bucket) Stop() { b.stop() }

// URL is the destination, with the bucket made on first use.
func (b *Bucket) URL() string {
	return fmt.Sprintf("s3://%s/%s?create_bucket=true", b.name, b.prefix)
}

// Variables are the extension's way to the server.
func (b *Bucket) Variables() map[string]string {
	return map[string]string{"AWS_ENDPOINT_URL_S3": b.endpoint, "AWS_ACCESS_KEY_ID": b.key,
		"AWS_SECRET_ACCESS_KEY": b.secret, "AWS_SESSION_TOKEN": b.token}
}

// client reads what was delivered.
func (b *Bucket) client() *s3.Client {
	return s3.New(s3.Options{BaseEndpoint: aws.String(b.endpoint), Region: b.region, UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(b.key, b.secret, b.token)})
}
