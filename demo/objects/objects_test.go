package objects

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

func TestEachDecompresses(t *testing.T) {
	dir := t.TempDir()
	var gz, zst bytes.Buffer
	g := gzip.NewWriter(&gz)
	z, err := zstd.NewWriter(&zst)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range []interface {
		Write([]byte) (int, error)
		Close() error
	}{g, z} {
		if _, err := w.Write([]byte("hello\n")); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for name, content := range map[string][]byte{"a/1.ndjson": []byte("hello\n"), "a/2.ndjson.gz": gz.Bytes(),
		"b/3.ndjson.zst": zst.Bytes()} {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var names []string
	err = Folder(dir).Each(t.Context(), func(name string, size int64, body []byte) error {
		if string(body) != "hello\n" || size == 0 {
			t.Errorf("%s: %q of %d bytes", name, body, size)
		}
		names = append(names, name)
		return nil
	})
	if want := []string{"a/1.ndjson", "a/2.ndjson.gz", "b/3.ndjson.zst"}; err != nil || !cmp.Equal(names, want) {
		t.Errorf("files %v, %v; want %v", names, err, want)
	}
}
