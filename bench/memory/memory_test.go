package memory

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// ballast is far more than a small program has.
const ballast = 128 << 20

// childVariable makes this program the small child of its own test.
const childVariable = "BENCH_MEMORY_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		_, _ = io.Copy(io.Discard, os.Stdin) // lives until its input ends
		return
	}
	os.Exit(m.Run())
}

// TestPeakIsTheChildsOwn holds a lot of memory here: a small child's mark must
// not know of it.
func TestPeakIsTheChildsOwn(t *testing.T) {
	held := make([]byte, ballast)
	for i := 0; i < len(held); i += 4096 {
		held[i] = 1
	}
	own, err := Peak(os.Getpid())
	if err != nil || own < ballast {
		t.Fatalf("our own mark is %d bytes, %v; want at least %d", own, err, ballast)
	}
	program := filepath.Join(t.TempDir(), "a-small-child-of-ours")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, program); err != nil {
		t.Fatal(err)
	}
	w := Watch(filepath.Base(program))
	command := exec.Command(program)
	command.Env = append(os.Environ(), childVariable+"=1")
	in, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	for giveUp := time.Now().Add(30 * time.Second); w.peak.Load() == 0; time.Sleep(every) {
		if time.Now().After(giveUp) {
			t.Fatal("the watcher never sees the child")
		}
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	if err := command.Wait(); err != nil {
		t.Fatal(err)
	}
	if peak := w.Stop(); peak >= ballast/2 {
		t.Errorf("the child's mark is %d bytes, want its own: ours is %d", peak, own)
	}
	held[0]++ // alive until here
	if _, err := Peak(command.Process.Pid); err == nil {
		t.Error("a process that has ended has a mark")
	}
}
