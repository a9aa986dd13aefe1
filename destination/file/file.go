// Package file delivers batches to a folder, one file a batch. Use it for
// file:// destinations: demos, tests, and mounts such as EFS.
package file

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"

	"slipstream/destination"
)

var _ destination.Destination = (*Folder)(nil)

// Config says which folder and under what names.
type Config struct {
	Dir    string // absolute; made by Send if its parent exists
	Sync   bool   // a batch counts as taken only when the disk has it
	Layout destination.Layout
}

// Parse reads file:///folder?fsync=true&layout=native|sample. The caller takes
// its own parameters out first; unknown ones are an error. Layout's Function
// and Extension are left to the caller.
func Parse(rawURL string) (Config, error) {
	var c Config
	u, err := url.Parse(rawURL)
	if err != nil || u.Scheme != "file" || u.Host != "" && u.Host != "localhost" || !filepath.IsAbs(u.Path) ||
		u.Fragment != "" {
		return c, fmt.Errorf("read file destination %q: no absolute folder (write file:///folder, # as %%23)", rawURL)
	}
	c.Dir = filepath.Clean(u.Path)
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return c, fmt.Errorf("read file destination %q: %w", rawURL, err)
	}
	for name, values := range query {
		value := values[len(values)-1]
		var err error
		switch name {
		case "fsync":
			c.Sync, err = strconv.ParseBool(value)
		case "layout":
			c.Layout.Style = value
			if value != "native" && value != "sample" {
				err = errors.New("not native or sample")
			}
		default:
			err = errors.New("unknown option (known: fsync, layout)")
		}
		if err != nil {
			return c, fmt.Errorf("read file destination %q: option %s=%q: %w", rawURL, name, value, err)
		}
	}
	return c, nil
}

// Folder writes batches below one folder.
type Folder struct {
	config Config
	closed atomic.Bool
}

// New makes a destination; the folder is touched by the first Send.
func New(c Config) *Folder { return &Folder{config: c} }

// Close makes further Sends fail.
func (f *Folder) Close() error {
	f.closed.Store(true)
	return nil
}

// Send writes the batch to a temporary name beside its own and renames it, so
// a reader sees all of it or nothing. A batch that is there already is taken.
func (f *Folder) Send(ctx context.Context, b *destination.Batch) error {
	if f.closed.Load() {
		return f.fault(destination.ErrClosed, "")
	}
	if err := ctx.Err(); err != nil {
		return f.fault(err, "")
	}
	path := filepath.Join(f.config.Dir, filepath.FromSlash(f.config.Layout.Key(b)))
	switch info, err := os.Lstat(path); {
	case err == nil && info.Mode().IsRegular() && info.Size() == int64(len(b.Body)):
		return nil
	case err == nil:
		return f.fault(&fs.PathError{Op: "create", Path: path, Err: fs.ErrExist}, "something else has the batch's name")
	}
	if err := f.folders(filepath.Dir(path)); err != nil {
		return err
	}
	if err := f.write(path, b.Body); err != nil {
		return f.fault(err, "check that the folder is writable and has room")
	}
	return nil
}

// folders makes the destination's folder, but not its parent, which is more
// likely a mistake in the name; and what the layout needs below.
func (f *Folder) folders(dir string) error {
	if err := os.Mkdir(f.config.Dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		hint := "check the rights on " + filepath.Dir(f.config.Dir)
		if errors.Is(err, fs.ErrNotExist) {
			hint = "create " + filepath.Dir(f.config.Dir) + " first"
		}
		return f.fault(err, hint)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return f.fault(err, "check that "+f.config.Dir+" is a folder, and writable")
	}
	return nil
}

// write makes the file in one step. The temporary name is the same at every
// try, so one that broke off is overwritten and nothing piles up.
func (f *Folder) write(path string, body []byte) error {
	dir, name := filepath.Split(path)
	temporary := filepath.Join(dir, "."+name+".tmp")
	if err := writeFile(temporary, body, f.config.Sync); err != nil {
		return errors.Join(err, ignoreMissing(os.Remove(temporary)))
	}
	if err := os.Rename(temporary, path); err != nil {
		return errors.Join(err, os.Remove(temporary))
	}
	if !f.config.Sync {
		return nil
	}
	return syncPath(dir)
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func writeFile(path string, body []byte, sync bool) error {
	out, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	_, err = out.Write(body)
	if err == nil && sync {
		err = out.Sync()
	}
	return errors.Join(err, out.Close())
}

// syncPath makes the rename itself last.
func syncPath(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (f *Folder) fault(err error, hint string) error {
	return &destination.Error{Op: "write file", Target: "file://" + f.config.Dir, Err: err, Hint: hint}
}
