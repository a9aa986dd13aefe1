// Package script drives the real commands with scripts: each file in testdata
// is a tale of what a user types and sees.
package script

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/rogpeppe/go-internal/testscript"

	"slipstream/deploy/layer"
)

// TestScripts builds the commands as they ship, puts them side by side into
// PATH and runs the scripts.
func TestScripts(t *testing.T) {
	bin := t.TempDir()
	for _, pkg := range []string{"./cmd/slipstream", "./cmd/slipstream-extension", "./test/endtoend/writer"} {
		path, err := layer.Program(context.Background(), pkg, runtime.GOARCH)
		if err != nil {
			t.Fatal(err)
		}
		if err := copyFile(path, filepath.Join(bin, filepath.Base(path))); err != nil {
			t.Fatal(err)
		}
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", bin+string(os.PathListSeparator)+e.Getenv("PATH"))
			e.Setenv("BIN", bin)
			address, err := freeAddress()
			e.Setenv("ADDRESS", address)
			return err
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"gunzip": gunzip, "reach": reach},
	})
}

// freeAddress is one of the loopback that nobody listens on, below those that the
// system hands out by itself: else somebody may have it before a script does.
func freeAddress() (address string, err error) {
	for range 100 {
		var l net.Listener
		if l, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10_000+rand.IntN(20_000))); err == nil {
			return l.Addr().String(), l.Close()
		}
	}
	return "", err
}

// reach ADDRESS waits until somebody listens there.
func reach(ts *testscript.TestScript, negative bool, args []string) {
	if negative || len(args) != 1 {
		ts.Fatalf("usage: reach ADDRESS")
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		conn, err := net.Dial("tcp", args[0])
		if err == nil {
			ts.Check(conn.Close())
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("nobody listens: %v", err)
		}
	}
}

// copyFile copies a program; a link would be found elsewhere by os.Executable.
func copyFile(from, to string) error {
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, content, 0o755)
}

// gunzip DIR FILE writes the decoded content of every *.gz below DIR, in the
// order of their names, to FILE.
func gunzip(ts *testscript.TestScript, negative bool, args []string) {
	if negative || len(args) != 2 {
		ts.Fatalf("usage: gunzip DIR FILE")
	}
	var text strings.Builder
	err := filepath.WalkDir(ts.MkAbs(args[0]), func(path string, d os.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".gz") {
			return err
		}
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		defer func() { _ = file.Close() }()
		z, err := gzip.NewReader(file)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		_, err = z.WriteTo(&text)
		return err
	})
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(text.String()), 0o600))
}
