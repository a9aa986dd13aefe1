package buffer

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"slipstream/wire"
)

// On a full disk, on one that fills up, and on a read-only one, pages come from
// the heap, which is counted and told once, and nothing crashes. A child does
// it in a mount namespace of its own, because a full disk needs a small one.
func TestFullDisk(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"=full "+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v (the test needs a mount namespace): %s", err, out)
	}
	if told := strings.Count(string(out), "does not survive"); told != 2 || !strings.Contains(string(out), "is full") ||
		!strings.Contains(string(out), "is writable") {
		t.Errorf("told %d times, want once each for the full and the read-only disk: %s", told, out)
	}
}

func runOnFullDisk(dir string) int {
	if err := errors.Join(
		syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""),
		syscall.Mount("small", dir, "tmpfs", 0, "size=1m"),
		fillsUp(dir),
		syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""),
		onHeap(NewPool(filepath.Join(dir, "slipstream"), 4<<20), syscall.EROFS),
	); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

// fillsUp appends 2 MiB to an arena on a disk of 1 MiB.
func fillsUp(dir string) error {
	pool := NewPool(filepath.Join(dir, "slipstream"), 4<<20)
	c := pool.Open(name(1), opened)
	want := fill(c, 2000, 1000)
	c.Close(opened)
	u := pool.Usage()
	if u.Mapped < 512<<10 || u.Heap < 10 || !errors.Is(u.Err, syscall.ENOSPC) {
		return fmt.Errorf("on a disk that fills up: %+v", u)
	}
	err := sealsTo(c, want)
	c.Release()
	return errors.Join(err, pool.Close())
}

// onHeap appends to a pool whose arena cannot be made.
func onHeap(pool *Pool, cause error) error {
	c := pool.Open(name(1), opened)
	want := fill(c, 200, 1000)
	c.Close(opened)
	if u := pool.Usage(); u.Mapped != 0 || u.Heap == 0 || !errors.Is(u.Err, cause) {
		return fmt.Errorf("without an arena: %+v, want %w", u, cause)
	}
	return errors.Join(sealsTo(c, want), pool.Close())
}

func sealsTo(c *Chunk, want []byte) error {
	var sealer Sealer
	body, err := sealer.Seal(c, wire.TelemetryEvents(), Plain)
	if err == nil && !bytes.Equal(body, want) {
		err = fmt.Errorf("sealed %d bytes that are not the %d appended", len(body), len(want))
	}
	return err
}

func TestArenaThatCannotBe(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := onHeap(NewPool(file, 4<<20), syscall.ENOTDIR); err != nil {
		t.Error(err)
	}
	if err := onHeap(&Pool{dir: t.TempDir(), maxBytes: unitBytes}, errArenaFull); err != nil {
		t.Error(err)
	}
	nameless := NewPool(t.TempDir(), 4<<20)
	c := nameless.Open(Name{Environment: "0b8f4a1e3c524d6a9e775f1d2c3b4a59"}, opened)
	fill(c, 1, 1)
	if u := nameless.Usage(); u.Heap != 1 || u.Err == nil || !strings.Contains(u.Err.Error(), "not a UUID") {
		t.Errorf("%+v", u)
	}
	if _, err := Recover(file, func(*Leftover) error { return io.EOF }); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("recover from a file: %v", err)
	}
}
