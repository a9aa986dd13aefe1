package servers

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// Install has fill make a new folder of the tree's .cache, unless one that was made
// from the same list is there. The list is written last: what has it is whole. A
// lock keeps two runs of the tests from doing it at once.
func Install(t testing.TB, name, list string, fill func(folder string) error) (folder string) {
	t.Helper()
	folder = filepath.Join(treeRoot(t), ".cache", name)
	if err := os.MkdirAll(filepath.Dir(folder), 0o755); err != nil {
		t.Fatalf("servers: %v", err)
	}
	lock, err := os.OpenFile(folder+".lock", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		t.Fatalf("servers: %v", err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatalf("servers: lock %s: %v", lock.Name(), err)
	}
	want, err := os.ReadFile(list)
	if err != nil {
		t.Fatalf("servers: %v", err)
	}
	installed := filepath.Join(folder, "installed")
	have, err := os.ReadFile(installed)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("servers: %v", err)
	}
	if err == nil && bytes.Equal(have, want) {
		return folder
	}
	if err := errors.Join(os.RemoveAll(folder), os.Mkdir(folder, 0o755)); err != nil {
		t.Fatalf("servers: %v", err)
	}
	if err := fill(folder); err != nil {
		t.Fatalf("servers: install what %s lists: %v (it needs the package registries; the programs come with "+
			"`make packages`)", list, err)
	}
	if err := os.WriteFile(installed, want, 0o644); err != nil {
		t.Fatalf("servers: %v", err)
	}
	return folder
}
