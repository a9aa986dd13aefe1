package tail

import (
	"bufio"
	"bytes"
	"cmp"
	"context"

	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Bounds of a folder.
const (
	maxLine   = 32 << 20 // bytes: an export of 16 MiB in JSON
	maxFiles  = 1 << 20  // names that are remembered
	maxWindow = 64 << 20 // bytes that zstd may keep
)

// Folder gives the lines of the files that a file:// destination writes, each file
// once. A file that is being written has a name with a point in front, and is not
// read.
type Folder struct {
	root  string
	since time.Time
	seen  map[string]struct{}
}

// NewFolder is of a folder, or a single file, that is there. Files that were written
// before since are passed over.
func NewFolder(root string, since time.Time) (*Folder, error) {
	if _, err := os.Stat(root); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("read %s: there is no such folder: start what delivers to it first, or create it", root)
		}
		return nil, fmt.Errorf("read %s: %w", root, err)
	}
	return &Folder{root: root, since: since, seen: map[string]struct{}{}}, nil
}

// Poll gives the lines of the files that are new, the oldest file first, to take,
// borrowed for the call. What is wrong with one file, and the first error of take
// in each, is told to warn; the rest is read. An error ends it: the folder itself.
// It returns early, without one, when ctx ends.
func (f *Folder) Poll(ctx context.Context, take func(line []byte) error, warn func(error)) error {
	type found struct {
		path string
		at   time.Time
	}
	var list []found
	err := filepath.WalkDir(f.root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return f.unreadable(path, err, warn)
		}
		hidden := path != f.root && strings.HasPrefix(d.Name(), ".")
		if hidden && d.IsDir() {
			return filepath.SkipDir
		}
		if _, seen := f.seen[path]; seen || hidden || !d.Type().IsRegular() {
			return nil
		}
		if len(f.seen) == maxFiles {
			return fmt.Errorf("more than %d files: name a folder below", maxFiles)
		}
		f.seen[path] = struct{}{}
		if info, err := d.Info(); err == nil && !info.ModTime().Before(f.since) {
			list = append(list, found{path, info.ModTime()})
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read folder %s: %w", f.root, err)
	}
	slices.SortStableFunc(list, func(a, b found) int {
		return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.path, b.path))
	})
	for _, file := range list {
		if ctx.Err() != nil {
			return nil
		}
		if err := readFile(ctx, file.path, take, warn); err != nil {
			warn(fmt.Errorf("read %s: %w", file.path, err))
		}
	}
	return nil
}

// unreadable passes over what is gone meanwhile, and a folder within that cannot be
// read, which is told once.
func (f *Folder) unreadable(path string, err error, warn func(error)) error {
	if path == f.root {
		return err
	}
	if _, told := f.seen[path]; !told && len(f.seen) < maxFiles && !errors.Is(err, fs.ErrNotExist) {
		f.seen[path] = struct{}{}
		warn(fmt.Errorf("read folder: %w", err))
	}
	return nil
}

// readFile gives the whole lines of one file, decompressed by what its first bytes
// say, or its name.
func readFile(ctx context.Context, path string, take func([]byte) error, warn func(error)) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	source := &watched{from: bufio.NewReader(file)}
	if source.from, err = decompressed(path, source.from.(*bufio.Reader)); err != nil {
		return err
	}
	if z, ok := source.from.(*zstd.Decoder); ok {
		defer z.Close()
	}
	scanner := bufio.NewScanner(source)
	scanner.Buffer(make([]byte, 0, 64<<10), maxLine)
	scanner.Split(source.split)
	bad := 0
	for n := 1; ctx.Err() == nil && scanner.Scan(); n++ {
		if err := take(scanner.Bytes()); err != nil {
			if bad++; bad == 1 {
				warn(fmt.Errorf("read %s: line %d: %w", path, n, err))
			}
		}
	}
	if bad > 1 {
		warn(fmt.Errorf("read %s: %d lines in all are unknown", path, bad))
	}
	if err := scanner.Err(); err != nil {
		return fmt.Errorf("the file is broken, or cut short: %w", err)
	}
	return nil
}

func decompressed(path string, r *bufio.Reader) (io.Reader, error) {
	magic, err := r.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	switch {
	case len(magic) == 0:
		return r, nil
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}), strings.HasSuffix(path, ".gz"):
		z, err := gzip.NewReader(r)
		if err != nil {
			return nil, fmt.Errorf("the file is broken, or cut short: %w", err)
		}
		return z, nil
	case bytes.Equal(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}), strings.HasSuffix(path, ".zst"):
		return zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
	}
	return r, nil
}

// watched remembers why reading ended, so that a line which was cut by a fault is
// not taken for one.
type watched struct {
	from io.Reader
	err  error
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.from.Read(p)
	if err != nil {
		w.err = err
	}
	return n, err
}

func (w *watched) split(data []byte, atEOF bool) (int, []byte, error) {
	if atEOF && bytes.IndexByte(data, '\n') < 0 && w.err != nil && !errors.Is(w.err, io.EOF) {
		return len(data), nil, nil
	}
	return bufio.ScanLines(data, atEOF)
}
