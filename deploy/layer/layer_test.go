package layer

import (
	"archive/zip"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func TestTheLayerHoldsOneExecutable(t *testing.T) {
	program := filepath.Join(t.TempDir(), "any-name")
	if err := os.WriteFile(program, []byte("the program"), 0o700); err != nil {
		t.Fatal(err)
	}
	var first, second bytes.Buffer
	for _, w := range []*bytes.Buffer{&first, &second} {
		if err := Write(w, program); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("the same program gives another layer")
	}
	z, err := zip.NewReader(bytes.NewReader(first.Bytes()), int64(first.Len()))
	if err != nil {
		t.Fatal(err)
	}
	if len(z.File) != 1 || z.File[0].Name != "extensions/slipstream" || z.File[0].Mode().Perm() != 0o755 {
		t.Fatalf("entries %+v, want extensions/slipstream with mode 0755", z.File)
	}
	file, err := z.File[0].Open()
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(file); err != nil || string(text) != "the program" {
		t.Errorf("content %q, %v", text, err)
	}
}

func TestAMissingProgramIsNamed(t *testing.T) {
	if err := Write(io.Discard, "no-such-file"); err == nil || !strings.Contains(err.Error(), "no-such-file") {
		t.Errorf("error %v, want one that names the file", err)
	}
}

func TestWithoutSourceTheErrorSaysWhatToDo(t *testing.T) {
	t.Chdir(t.TempDir())
	_, err := Extension(t.Context())
	if !errors.Is(err, ErrNoSource) || !strings.Contains(err.Error(), "--extension PATH") {
		t.Errorf("error %v, want ErrNoSource with a hint", err)
	}
}

func TestAProgramThatDoesNotBuildShowsTheCompilersWords(t *testing.T) {
	_, err := Program(t.Context(), "./cmd/nothing-of-this-name", runtime.GOARCH)
	if err == nil || !strings.Contains(err.Error(), "nothing-of-this-name") {
		t.Errorf("error %v, want the go command's", err)
	}
}
