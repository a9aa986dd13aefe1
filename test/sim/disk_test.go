package sim_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// disk is the /tmp of the simulated environment: real files. Each life has a
// folder of its own, made of what was in the one before when that life ended, so
// that a process which was killed, and here goes on for a while, can do nothing
// to what it left, and so that its locks are gone.
type disk struct {
	base   string
	life   int
	broken bool // it cannot be used: the folder is below a file
}

func newDisk(broken bool) (*disk, error) {
	base, err := os.MkdirTemp("/dev/shm", "slipstream-sim-") // memory: thousands of small files
	if err != nil {
		base, err = os.MkdirTemp("", "slipstream-sim-")
	}
	if err != nil {
		return nil, fmt.Errorf("make a folder for the simulated /tmp: %w", err)
	}
	if broken {
		err = os.WriteFile(filepath.Join(base, "file"), nil, 0o600)
	}
	return &disk{base: base, broken: broken}, err
}

// folder is where the life that runs keeps what is not delivered.
func (d *disk) folder() string {
	if d.broken {
		return filepath.Join(d.base, "file", "slipstream")
	}
	return filepath.Join(d.base, strconv.Itoa(d.life))
}

// next gives the next life a copy of everything.
func (d *disk) next() error {
	if d.broken {
		return nil
	}
	old := d.folder()
	d.life++
	err := os.CopyFS(d.folder(), os.DirFS(old))
	if errors.Is(err, fs.ErrNotExist) { // it has not written anything
		return nil
	}
	return err
}

// files walks over what is there now.
func (d *disk) files(do func(path string, size int64)) {
	_ = filepath.WalkDir(d.folder(), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return nil
		}
		if info, err := entry.Info(); err == nil {
			do(path, info.Size())
		}
		return nil
	})
}

// spooled is how many bytes the spool takes.
func (d *disk) spooled() int {
	total := 0
	d.files(func(path string, size int64) {
		if strings.HasSuffix(path, ".batch") {
			total += int(size)
		}
	})
	return total
}

// remove ends it. Processes that were killed have left their mappings behind,
// and those would keep the blocks.
func (d *disk) remove() {
	for life := range d.life + 1 {
		d.life = life
		d.files(func(path string, _ int64) { _ = os.Truncate(path, 0) })
	}
	_ = os.RemoveAll(d.base)
}

// leaveFolder makes what is on the disk now what the next life finds.
func (l *life) leaveFolder() {
	if l.left {
		return
	}
	l.left = true
	if err := l.w.disk.next(); err != nil {
		l.w.problem("copy the folder of life %d: %v", l.number, err)
	}
}

// judgeDisk checks that nothing is left after spindown: an empty environment
// leaves no batch and no memory file.
func (w *world) judgeDisk() {
	w.disk.files(func(path string, size int64) {
		w.problem("%s with %d bytes is left after the environment's end", filepath.Base(path), size)
	})
}
