// Package servers runs the real servers that tests deliver to: versitygw for
// S3, the OpenTelemetry Collector's receiver for OTLP, and moto for
// Firehose; Prometheus and StatsD are in metrics. Use it in any test that must not
// trust a hand-written stand-in. It needs Go and the
// module proxy only, moto python3 and PyPI; the first use on a machine builds the
// server, one to three minutes.
//
// The same by hand, from the top of the tree:
//
//	CGO_ENABLED=0 go build -C tools/versitygw -trimpath -ldflags "-s -w" -o ../../.cache/bin/versitygw \
//		github.com/versity/versitygw/cmd/versitygw
//	CGO_ENABLED=0 go build -C tools/otelsink -trimpath -ldflags "-s -w" -o ../../.cache/bin/otelsink .
//	CGO_ENABLED=0 go build -C tools/telemetrygen -trimpath -ldflags "-s -w" -o ../../.cache/bin/telemetrygen \
//		github.com/open-telemetry/opentelemetry-collector-contrib/cmd/telemetrygen
//	CGO_ENABLED=0 go build -C tools/prometheus -tags remove_all_sd -trimpath -ldflags "-s -w" \
//		-o ../../.cache/bin/prometheus github.com/prometheus/prometheus/cmd/prometheus
//	python3 -m venv .cache/venv && .cache/venv/bin/pip install -r tools/moto/requirements.txt
package servers

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// build gives the path of a tool's binary in the tree's .cache/bin. The go
// command finds out whether it is up to date, which takes a quarter of a
// second; the lock keeps test packages that run at once from building twice.
func build(t testing.TB, tool, pkg string, flags ...string) string {
	t.Helper()
	root := treeRoot(t)
	bin := filepath.Join(root, ".cache", "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		t.Fatalf("servers: %v", err)
	}
	lock, err := os.OpenFile(filepath.Join(bin, "."+tool+".lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		t.Fatalf("servers: %v", err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatalf("servers: lock %s: %v", lock.Name(), err)
	}
	path := filepath.Join(bin, tool)
	args := append([]string{"build", "-trimpath", "-ldflags", "-s -w", "-o", path}, flags...)
	cmd := exec.Command("go", append(args, pkg)...)
	cmd.Dir = filepath.Join(root, "tools", tool)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOOS=", "GOARCH=", "PWD="+cmd.Dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("servers: build %s: %v\n%s", tool, err, out)
	}
	return path
}

// treeRoot is the folder of the project's go.mod, above the test's own.
func treeRoot(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatalf("servers: %v", err)
	}
	for {
		mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && bytes.HasPrefix(mod, []byte("module slipstream\n")) {
			return dir
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) || filepath.Dir(dir) == dir {
			t.Fatalf("servers: no go.mod of slipstream above the test's folder: %v", err)
		}
		dir = filepath.Dir(dir)
	}
}
