package sdk_test

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

// cache gives the folder of the tree where an installed thing is kept.
func cache(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("..", "..", ".cache", "sdk", name))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// install has fill make a new folder, unless one that was made from the same
// list is there. The list is written last: what has it is whole. A lock keeps two
// runs of the tests from doing it at once.
func install(t *testing.T, name, list string, fill func(folder string) error) string {
	t.Helper()
	folder := cache(t, name)
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

// interpreter tells where a language's program and its home really are.
func interpreter(t *testing.T, program string, ask ...string) (path, home string) {
	t.Helper()
	out, err := exec.Command(program, ask...).Output()
	if err != nil {
		t.Fatalf("run %s: %v (run `make packages`)", program, err)
	}
	path, home, _ = strings.Cut(strings.TrimSpace(string(out)), "\n")
	return path, home
}

// python is the function in Python.
func python(t *testing.T) function {
	t.Helper()
	_, home := interpreter(t, "python3", "-c", "import sys; print(sys.executable); print(sys.base_prefix)")
	list, err := filepath.Abs("python/requirements.txt")
	if err != nil {
		t.Fatal(err)
	}
	venv := install(t, "python", list, func(folder string) error {
		if err := do(folder, "python3", "-m", "venv", folder); err != nil {
			return err
		}
		pip := filepath.Join(folder, "bin", "pip")
		return do(folder, pip, "install", "--quiet", "--disable-pip-version-check", "-r", list)
	})
	script, err := filepath.Abs("python")
	if err != nil {
		t.Fatal(err)
	}
	return function{
		command: []string{filepath.Join(venv, "bin", "python"), filepath.Join(script, "function.py")},
		binds:   []string{venv, home, script}, protocols: []string{"http", "grpc"},
	}
}

// node is the function in JavaScript.
func node(t *testing.T) function {
	t.Helper()
	path, _ := interpreter(t, "node", "-p", "process.execPath")
	source, err := filepath.Abs("node")
	if err != nil {
		t.Fatal(err)
	}
	modules := install(t, "node", filepath.Join(source, "package-lock.json"), func(folder string) error {
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
	return function{
		command: []string{path, filepath.Join(source, "function.js")},
		env:     map[string]string{"NODE_PATH": filepath.Join(modules, "node_modules")},
		binds:   []string{modules, path, source}, protocols: []string{"http", "json", "grpc"},
	}
}

func TestPython(t *testing.T) {
	f := python(t)
	const rounds = 3
	f.deliver(t, f.events(rounds)).expect(t, rounds*len(f.protocols), content{3, 3, 4})
}

func TestNode(t *testing.T) {
	f := node(t)
	const rounds = 3
	f.deliver(t, f.events(rounds)).expect(t, rounds*len(f.protocols), content{3, 3, 4})
}
