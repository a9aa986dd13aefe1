package handoff

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"
)

// Bounds of the directory, which matter when no extension takes the files.
const (
	maxFiles = 10_000
	maxTotal = 256 << 20 // bytes
	// The directory is looked through again after so many files or bytes of ours.
	checkFiles = 256
	checkBytes = 32 << 20
)

// fullness is what we have written since the directory was looked through.
type fullness struct {
	files, bytes atomic.Int64
	full         atomic.Bool
}

// writeFile writes the payload under a temporary name and renames it: the
// extension sees a whole file or none. The page cache takes it; that outlives
// every process of the environment.
func (c *Client) writeFile(id uint64, signal Signal, body []byte) error {
	if err := c.room(int64(len(body))); err != nil {
		return fmt.Errorf("hand over %s as a file: %w", signal, err)
	}
	folder := c.options.Directory
	name := fmt.Sprintf("%016x.%s", id, signal)
	temporary := filepath.Join(folder, name+".tmp")
	err := create(temporary, body)
	if errors.Is(err, fs.ErrNotExist) { // the first file, before the extension has made the directory
		if err = os.MkdirAll(folder, 0o700); err == nil {
			err = create(temporary, body)
		}
	}
	if err == nil {
		err = os.Rename(temporary, filepath.Join(folder, fmt.Sprintf("%019d-%s", time.Now().UnixNano(), name)))
	}
	if err != nil {
		_ = os.Remove(temporary) // or the extension does, in a minute
		return fmt.Errorf("hand over %s as a file: %w (is the disk full?)", signal, err)
	}
	return nil
}

func create(path string, body []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(body)
	return errors.Join(err, f.Close())
}

// room looks from time to time whether the directory still gets emptied.
func (c *Client) room(size int64) error {
	files, bytes := c.checks.files.Add(1), c.checks.bytes.Add(size)
	if files >= checkFiles || bytes >= checkBytes || c.checks.full.Load() {
		c.checks.files.Store(0)
		c.checks.bytes.Store(0)
		files, bytes := measure(c.options.Directory)
		c.checks.full.Store(files >= maxFiles || bytes >= maxTotal)
	}
	if c.checks.full.Load() {
		return fmt.Errorf("%s is full: %d files or %d bytes (is the extension there?)",
			c.options.Directory, maxFiles, maxTotal)
	}
	return nil
}

// measure counts the files of a directory and their bytes.
func measure(path string) (files, bytes int64) {
	entries, _ := os.ReadDir(path) // what cannot be read is not full
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			files++
			bytes += info.Size()
		}
	}
	return files, bytes
}
