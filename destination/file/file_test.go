package file

import (
	"context"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipstream/destination"
	"slipstream/destination/conformance"
)

// files are the paths below dir of all files, temporary ones too.
func files(t *testing.T, dir string) (paths []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			relative, _ := filepath.Rel(dir, path)
			paths = append(paths, relative)
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return paths
}

func TestConformance(t *testing.T) {
	for _, options := range []string{"", "?fsync=true&layout=sample"} {
		conformance.Run(t, func(t *testing.T) conformance.Case {
			dir := filepath.Join(t.TempDir(), "made on demand")
			return conformance.Case{
				New: func(t *testing.T, _ string) destination.Destination {
					return open(t, (&url.URL{Scheme: "file", Path: dir}).String()+options)
				},
				Delivered: func(t *testing.T) (bodies [][]byte) {
					for _, path := range files(t, dir) {
						body, err := os.ReadFile(filepath.Join(dir, path))
						if err != nil {
							t.Fatal(err)
						}
						bodies = append(bodies, body)
					}
					return bodies
				},
			}
		})
	}
}

func open(t *testing.T, rawURL string) *Folder {
	t.Helper()
	c, err := Parse(rawURL)
	if err != nil {
		t.Fatal(err)
	}
	c.Layout.Function, c.Layout.Extension = "shop", ".ndjson"
	return New(c)
}

func testBatch() *destination.Batch {
	return &destination.Batch{ID: "env-1", Environment: "env", Body: []byte("line\n"),
		Opened: time.Unix(1_790_000_000, 0), Sealed: time.Unix(1_790_000_001, 0)}
}

func TestParse(t *testing.T) {
	sample := destination.Layout{Style: "sample"}
	for address, want := range map[string]Config{
		"file:///a/b":                            {Dir: "/a/b"},
		"file:/a/../b/":                          {Dir: "/b"},
		"file://localhost/a%20b":                 {Dir: "/a b"},
		"file:///a?fsync=true&layout=sample":     {Dir: "/a", Sync: true, Layout: sample},
		"file:///a?fsync=1&layout=native&fsync=": {},
	} {
		got, err := Parse(address)
		if want.Dir == "" {
			if err == nil {
				t.Errorf("%s: no error", address)
			}
			continue
		}
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v\n%s", address, err, diff)
		}
	}
	for _, address := range []string{"", "file://", "file://dir", "file:dir", "/dir", "s3://b", "file:///a?x=1",
		"file:///a?%zz", "file:///a#b",
		"file:///a?layout=mine", "file:///a\x00", "file:///%zz"} {
		if got, err := Parse(address); err == nil {
			t.Errorf("%s: %+v", address, got)
		}
	}
}

func TestFaultsSayWhatToDo(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "missing", "folder"): "create " + filepath.Join(dir, "missing") + " first",
		plain:                                   "check that " + plain + " is a folder",
		filepath.Join(plain, "below"):           "check the rights on " + plain,
	} {
		err := open(t, "file://"+path).Send(context.Background(), testBatch())
		var e *destination.Error
		if !errors.As(err, &e) || e.Permanent || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q in it", path, err, want)
		}
	}
}

// A try that broke off is overwritten; what readers see is whole.
func TestLeftoversDoNotPileUp(t *testing.T) {
	dir := t.TempDir()
	b := testBatch()
	f := open(t, "file://"+dir+"?fsync=true")
	path := filepath.Join(dir, filepath.FromSlash(f.config.Layout.Key(b)))
	temporary := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".tmp")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(temporary, []byte("half a line that is longer"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := f.Send(context.Background(), b); err != nil {
		t.Fatal(err)
	}
	if got := files(t, dir); len(got) != 1 || !strings.HasSuffix(got[0], "shop-env-1.ndjson") {
		t.Errorf("the folder holds %v", got)
	}
	if err := os.WriteFile(path, []byte("something else"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := f.Send(context.Background(), b); !errors.Is(err, fs.ErrExist) {
		t.Errorf("something else has the name: %v", err)
	}
}
