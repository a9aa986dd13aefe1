package emulator

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// layOut makes the folder that appears as /opt: the layer's files, and the
// extensions in its extensions folder under their base names. It returns the
// names of the external extensions in the order in which they are started.
func layOut(opt, layer string, extensions []string) ([]string, error) {
	folder := filepath.Join(opt, "extensions")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, fmt.Errorf("lay out /opt: %w", err)
	}
	if layer != "" {
		if err := linkTree(layer, opt); err != nil {
			return nil, fmt.Errorf("lay out /opt: layer %s: %w", layer, err)
		}
	}
	for _, path := range extensions {
		info, err := os.Stat(path)
		if err != nil {
			return nil, fmt.Errorf("extension: %w", err)
		}
		if !info.Mode().IsRegular() {
			return nil, fmt.Errorf("extension %s: not a plain file: give the path of the executable", path)
		}
		target := filepath.Join(folder, filepath.Base(path))
		if err := linkFile(path, target, info.Mode()|0o555); err != nil {
			return nil, fmt.Errorf("extension %s: %w", path, err)
		}
	}
	if switchedOff(opt) {
		return nil, nil
	}
	return externalNames(folder)
}

func switchedOff(opt string) bool {
	_, err := os.Stat(filepath.Join(opt, extensionsOff))
	return err == nil
}

// extensionsOff is the file in a layer that switches the Extensions API off, as
// AWS's own code has it.
const extensionsOff = "disable-extensions-jwigqn8j"

// externalNames lists the plain entries in name order; folders are skipped.
func externalNames(folder string) ([]string, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, fmt.Errorf("list extensions: %w", err)
	}
	var names []string
	for _, entry := range entries {
		if !entry.IsDir() {
			names = append(names, entry.Name())
		}
	}
	return names, nil
}

func linkTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, relative)
		info, err := entry.Info()
		if err != nil {
			return err
		}
		switch {
		case entry.IsDir():
			return os.MkdirAll(target, 0o755)
		case info.Mode()&fs.ModeSymlink != 0:
			destination, err := os.Readlink(path)
			if err != nil {
				return err
			}
			return os.Symlink(destination, target)
		case info.Mode().IsRegular():
			return linkFile(path, target, info.Mode())
		}
		return fmt.Errorf("%s is neither file, folder nor link", path)
	})
}

// linkFile makes a hard link, or a copy where that is not possible or where the
// file needs another mode: a link would change the original's.
func linkFile(from, to string, mode fs.FileMode) error {
	from, err := filepath.EvalSymlinks(from)
	if err != nil {
		return err
	}
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	if info.Mode().Perm() == mode.Perm() {
		switch err := os.Link(from, to); {
		case err == nil:
			return nil
		case errors.Is(err, fs.ErrExist):
			return fmt.Errorf("two files are called %s: rename one", filepath.Base(to))
		}
	}
	return copyFile(from, to, mode)
}

func copyFile(from, to string, mode fs.FileMode) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode.Perm())
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
