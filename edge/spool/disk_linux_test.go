package spool

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// childVariable makes the test binary one of the processes that tests start.
const childVariable = "SLIPSTREAM_SPOOL_TEST_CHILD"

func TestMain(m *testing.M) {
	role, dir, _ := strings.Cut(os.Getenv(childVariable), " ")
	switch role {
	case "":
		os.Exit(m.Run())
	case "put":
		putForEver(dir)
	case "full":
		os.Exit(onBadDisks(dir))
	}
}

func child(role, dir string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"="+role+" "+dir)
	cmd.Stderr = os.Stderr
	return cmd
}

// putForEver puts batch after batch and says each that is kept.
func putForEver(dir string) {
	s, err := Open(dir, 1<<30)
	if err != nil {
		panic(err)
	}
	for n := uint64(1); ; n++ {
		if err := s.Put(lane, batch(first, n)); err != nil {
			panic(err)
		}
		fmt.Println(n)
	}
}

// What Put has kept is there after a kill, whole, and nothing half is.
func TestKeptBatchesSurviveKill(t *testing.T) {
	for range 30 {
		dir := t.TempDir()
		cmd := child("put", dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines, until, kept := bufio.NewScanner(out), rand.IntN(100), 0
		for i := 0; lines.Scan(); i++ {
			if kept, err = strconv.Atoi(lines.Text()); err != nil {
				t.Fatal(err)
			}
			if i == until {
				time.Sleep(time.Duration(rand.IntN(500_000))) // the moment, not a wait for anything
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
			t.Fatalf("the child ended by itself: %v", err)
		}
		s := open(t, dir, 1<<30)
		left := s.Left(lane)
		if len(left) < kept || len(left) > kept+1 {
			t.Errorf("%d batches, %d were said to be kept", len(left), kept)
		}
		for i, e := range left {
			if b, err := s.Load(e); err != nil || !cmp.Equal(b, batch(first, uint64(i+1))) {
				t.Errorf("batch %d: %v", i+1, err)
			}
		}
		if tmp, err := filepath.Glob(filepath.Join(dir, "*", "*"+unfinished)); len(tmp) > 0 || err != nil {
			t.Errorf("%v, %v", tmp, err)
		}
	}
}

// A disk that is full, or read-only, or not ours, is an error that says so and
// costs what is there nothing. A child does it in a mount namespace of its own.
func TestBadDisks(t *testing.T) {
	cmd := child("full", t.TempDir())
	cmd.Stderr = nil
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v (the test needs a mount namespace): %s", err, out)
	}
	if dir := filepath.Join(t.TempDir(), "spool"); os.Getuid() != 0 {
		if err := errors.Join(os.Mkdir(dir, 0), forbidden(dir)); err != nil {
			t.Error(err)
		}
	}
}

func onBadDisks(dir string) int {
	err := errors.Join(
		syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""),
		syscall.Mount("small", dir, "tmpfs", 0, "size=64k"),
	)
	if err == nil {
		err = onBadDisk(dir)
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

func onBadDisk(dir string) error {
	s, err := Open(filepath.Join(dir, "spool"), 1<<20)
	if err != nil {
		return err
	}
	kept := uint64(0)
	for ; err == nil; kept++ {
		err = s.Put(lane, batch(first, kept+1))
	}
	kept--
	err = errors.Join(expect(err, syscall.ENOSPC, "write", dir, first, "/tmp is full"), whole(s, kept))
	if tmp, _ := filepath.Glob(filepath.Join(dir, "*", "*", "*"+unfinished)); len(tmp) > 0 {
		err = errors.Join(err, fmt.Errorf("left on the full disk: %v", tmp))
	}
	if quarter, e := Open(filepath.Join(dir, "default"), 0); e != nil || quarter.Usage().MaxBytes != 16<<10 {
		err = errors.Join(err, e, fmt.Errorf("the default on 64 KiB is %d", quarter.Usage().MaxBytes))
	}
	if err := errors.Join(err, syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, "")); err != nil {
		return err
	}
	err = errors.Join(
		expect(s.Put(lane, batch(first, 99)), syscall.EROFS, "open", dir, "is writable"), whole(s, kept),
		expect(s.Remove(s.Left(lane)[0]), syscall.EROFS, "remove", dir, "is writable"), s.Close())
	again, e := Open(filepath.Join(dir, "spool"), 1<<20)
	err = errors.Join(err, e, whole(again, kept), again.Close())
	none, e := Open(filepath.Join(dir, "none"), 1<<20)
	err = errors.Join(err, e, expect(none.Put(lane, batch(first, 1)), syscall.EROFS, "mkdir", dir, "is writable"))
	return errors.Join(err, withoutRights(dir))
}

// withoutRights gives the rights of root up. A namespace of another user has no
// user without them: TestBadDisks judges that itself.
func withoutRights(dir string) error {
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT, "mode=0700"); err != nil {
		return err
	}
	err := syscall.Setuid(65534)
	if errors.Is(err, syscall.EINVAL) {
		return nil
	}
	return errors.Join(err, forbidden(filepath.Join(dir, "spool")))
}

// forbidden judges a folder that may not be opened.
func forbidden(dir string) error {
	s, err := Open(dir, 1<<20)
	return errors.Join(expect(err, fs.ErrPermission, "open", dir, "is writable"),
		expect(s.Put(lane, batch(first, 1)), fs.ErrPermission, dir, "is writable"))
}

func expect(err, cause error, parts ...string) error {
	for _, part := range parts {
		if err == nil || !errors.Is(err, cause) || !strings.Contains(err.Error(), part) {
			return fmt.Errorf("error %w, want %w with %q", err, cause, parts)
		}
	}
	return nil
}

// whole tells whether the first n batches are there.
func whole(s *Spool, n uint64) error {
	left := s.Left(lane)
	if uint64(len(left)) != n || n == 0 {
		return fmt.Errorf("%d batches, want %d", len(left), n)
	}
	for _, e := range left {
		if b, err := s.Load(e); err != nil || !cmp.Equal(b, batch(first, e.Sequence)) {
			return fmt.Errorf("batch %d: %w", e.Sequence, err)
		}
	}
	return nil
}
