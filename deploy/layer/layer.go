// Package layer builds the programs as they ship and packs the Lambda layer.
// Use Extension where the very binary of the layer has to run: it is found
// beside the running command, or built from the source tree.
package layer

import (
	"archive/zip"
	"compress/flate"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// Name is the file's name in the layer's extensions folder; the extension
// registers under it.
const Name = "slipstream"

// binary is the program's name beside the command, and its package in cmd.
const binary = "slipstream-extension"

// ErrNoSource says that a program has to be built and there is no source tree.
var ErrNoSource = errors.New("not inside Slipstream's source tree")

// Extension gives the path of the layer's binary for this machine: the file
// slipstream-extension beside the running command, else one built now from the
// source tree that the working directory is in.
func Extension(ctx context.Context) (string, error) {
	if self, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(self), binary)
		if info, err := os.Stat(beside); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return beside, nil
		}
	}
	path, err := Program(ctx, "./cmd/"+binary, runtime.GOARCH)
	if err != nil {
		return "", fmt.Errorf("find the extension: there is no %s beside the command, and it cannot be built: %w "+
			"(name one with --extension PATH)", binary, err)
	}
	return path, nil
}

// Program builds a package of the source tree as it ships, static and stripped
// for linux/arch, and gives the file's path in the tree's .cache/build. It is
// quick when nothing has changed.
func Program(ctx context.Context, pkg, arch string) (string, error) {
	root, err := root()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(root, ".cache", "build", "linux-"+arch)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	// Built under a name of its own and renamed: another process may be
	// running, or building, the same program.
	fresh, err := os.MkdirTemp(dir, "build-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(fresh) }()
	path := filepath.Join(dir, filepath.Base(pkg))
	out := filepath.Join(fresh, filepath.Base(pkg))
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", out, pkg)
	build.Dir = root
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch, "GOFLAGS=-buildvcs=false")
	if text, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", pkg, err, strings.TrimSpace(string(text)))
	}
	if err := os.Rename(out, path); err != nil {
		return "", err
	}
	return path, nil
}

// root finds the source tree from the working directory upwards.
func root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; ; dir = filepath.Dir(dir) {
		text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(text), "module slipstream\n") {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", ErrNoSource
		}
	}
}

// Write packs the extension at path as a layer: one file, extensions/slipstream,
// executable. The same binary gives the same bytes.
func Write(w io.Writer, path string) error {
	program, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("pack the layer: %w", err)
	}
	defer func() { _ = program.Close() }()
	z := zip.NewWriter(w)
	z.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) {
		return flate.NewWriter(w, flate.BestCompression)
	})
	header := &zip.FileHeader{Name: "extensions/" + Name, Method: zip.Deflate,
		Modified: time.Date(2020, time.January, 1, 0, 0, 0, 0, time.UTC)}
	header.SetMode(0o755)
	file, err := z.CreateHeader(header)
	if err == nil {
		_, err = io.Copy(file, program)
	}
	if err = errors.Join(err, z.Close()); err != nil {
		return fmt.Errorf("pack the layer: %w", err)
	}
	return nil
}
