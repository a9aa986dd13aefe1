package sdk_test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"slipstream/test/install"
)

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
	venv := install.Python(t, "sdk", "python/requirements.txt")
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
	modules := install.Node(t, "sdk", source)
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
