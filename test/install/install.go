// Package install puts programs of other languages where tests run them: into
// .cache of the tree, from pinned lists, once for each list. Use it for real
// clients and loggers; it needs python3 with venv, Node with npm, and the package
// registries.
package install

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Python makes a venv with what the list of requirements names, and gives its
// folder.
func Python(t testing.TB, name, list string) string {
	t.Helper()
	list, err := filepath.Abs(list)
	if err != nil {
		t.Fatal(err)
	}
	return once(t, filepath.Join(name, "python"), list, func(folder string) error {
		if err := do(folder, "python3", "-m", "venv", folder); err != nil {
			return err
		}
		pip := filepath.Join(folder, "bin", "pip")
		return do(folder, pip, "install", "--quiet", "--disable-pip-version-check", "-r", list)
	})
}

// Node makes a folder with what the package-lock.json in source names, and gives
// it; the packages are in its node_modules. No package's own script runs.
func Node(t testing.TB, name, source string) string {
	t.Helper()
	return once(t, filepath.Join(name, "node"), filepath.Join(source, "package-lock.json"), func(folder string) error {
		for _, name := range []string{"package.json", "package-lock.json"} {
			text, err := os.ReadFile(filepath.Join(source, name))
			if err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(folder, name), text, 0o644); err != nil {
				return err
			}
		}
		return do(folder, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	})
}

// once has fill make a new folder, unless one that was made from the same list is
// there. The list is written last: what has it is whole. A lock keeps two runs of
// the tests from doing it at once.
func once(t testing.TB, name, list string, fill func(folder string) error) string {
	t.Helper()
	folder := filepath.Join(root(t), ".cache", name)
	if err := os.MkdirAll(filepath.Dir(folder), 0o755); err != nil {
		t.Fatal(err)
	}
	lock, err := os.OpenFile(folder+".lock", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(list)
	if err != nil {
		t.Fatal(err)
	}
	installed := filepath.Join(folder, "installed")
	have, err := os.ReadFile(installed)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	if err == nil && bytes.Equal(have, want) {
		return folder
	}
	if err := errors.Join(os.RemoveAll(folder), os.Mkdir(folder, 0o755)); err != nil {
		t.Fatal(err)
	}
	if err := fill(folder); err != nil {
		t.Fatalf("install what %s lists: %v (it needs the package registries; the programs come with `make packages`)",
			list, err)
	}
	if err := os.WriteFile(installed, want, 0o644); err != nil {
		t.Fatal(err)
	}
	return folder
}

// do runs a command in a folder.
func do(folder, program string, args ...string) error {
	cmd := exec.Command(program, args...)
	cmd.Dir = folder
	if out, err := cmd.CombinedOutput(); err != nil {
		return errors.Join(err, errors.New(string(out)))
	}
	return nil
}

// root is the folder of the project's go.mod, above the test's own.
func root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	for err == nil {
		mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(mod), "module slipstream\n") {
			return dir
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) || filepath.Dir(dir) == dir {
			t.Fatalf("no go.mod of slipstream above the test's folder: %v", err)
		}
		dir = filepath.Dir(dir)
	}
	t.Fatal(err)
	return ""
}
