// Command collisions prints what becomes of the values of a function that sends one
// random value an invocation, 25 times a second in several environments: on each way
// to the extension, in a real Prometheus and in Wavefront's lines; and beside it the
// naive way, where points of one second overwrite each other.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"slipstream/bench/figure"
)

var (
	seconds  = flag.Int("seconds", 60, "how long the function is invoked")
	seed     = flag.Uint64("seed", 0, "of the values; 0 takes one by chance, which is printed")
	endpoint = flag.String("prometheus", "", "a Prometheus with a remote write receiver, as http://host:port; else "+
		"one is built and started")
)

func main() { figure.Main("collisions", measure) }

func measure(ctx context.Context) (figures []figure.Figure, err error) {
	for *seed == 0 {
		*seed = rand.Uint64()
	}
	fmt.Fprintf(os.Stderr, "bench/collisions: seed %d\n", *seed)
	p := plan{seconds: *seconds, seed: *seed, prometheus: *endpoint}
	if p.prometheus == "" {
		folder, err := os.MkdirTemp("", "slipstream-bench-")
		if err != nil {
			return nil, err
		}
		defer func() { _ = os.RemoveAll(folder) }()
		running, stop := context.WithCancel(ctx)
		defer stop()
		if p.prometheus, err = start(running, folder); err != nil {
			return nil, err
		}
	}
	return p.run(ctx)
}

// start builds Prometheus from the source tree, which takes minutes the first time,
// and runs it until ctx ends.
func start(ctx context.Context, folder string) (endpoint string, err error) {
	program, err := filepath.Abs(filepath.Join(".cache", "bin", "prometheus"))
	if err != nil {
		return "", err
	}
	build := exec.CommandContext(ctx, "go", "build", "-C", "tools/prometheus", "-tags", "remove_all_sd", "-trimpath",
		"-ldflags", "-s -w", "-o", program, "github.com/prometheus/prometheus/cmd/prometheus")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build Prometheus (run this in the source tree): %w: %s", err, out)
	}
	config := filepath.Join(folder, "prometheus.yml")
	if err := os.WriteFile(config, []byte("storage: {tsdb: {out_of_order_time_window: 1h}}\n"), 0o600); err != nil {
		return "", err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		return "", err
	}
	server := exec.CommandContext(ctx, program, "--config.file", config, "--storage.tsdb.path",
		filepath.Join(folder, "data"), "--web.listen-address", address, "--web.enable-remote-write-receiver",
		"--log.level=error")
	server.Stderr = os.Stderr
	if err := server.Start(); err != nil {
		return "", err
	}
	go func() { _ = server.Wait() }()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		response, err := http.Get("http://" + address + "/-/ready")
		if err != nil {
			continue
		}
		_ = response.Body.Close()
		if response.StatusCode == http.StatusOK {
			return "http://" + address, nil
		}
	}
	return "", errors.New("start Prometheus: it does not get ready")
}
