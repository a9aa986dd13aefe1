package handoff

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"slipstream/telemetry"
)

// Bounds of a directory.
const (
	maxFiles     = 10_000
	maxTotal     = 256 << 20     // bytes, half of Lambda's smallest /tmp
	maxNames     = 4 * maxFiles  // looked at in one scan
	tmpAge       = time.Minute   // of a temporary file that nobody is going to finish
	badFolder    = "bad"         // where malformed files go
	maxBad       = 16            // files there; the oldest make room
	tmpExtension = ".tmp"        // of files that are being written
	openFlags    = os.O_RDONLY | // never follow a link, never wait for a pipe's writer
		syscall.O_NOFOLLOW | syscall.O_NONBLOCK
)

// Dir takes payloads from a directory. A client writes UNIQUE.SIGNAL.tmp there
// and renames it to TIME-UNIQUE.SIGNAL: TIME is in nanoseconds since 1970,
// UNIQUE the payload's id in 16 hexadecimal digits, SIGNAL logs, traces or
// metrics. Nothing watches the directory, for that would cost the function
// processor time while it runs: whoever owns the Dir calls Scan when there is
// time. A Dir is used by one goroutine at a time.
type Dir struct {
	path     string
	options  Options
	body     []byte
	prepared []byte
	maxFiles int   // smaller in tests
	maxTotal int64 // smaller in tests
}

// NewDir makes the directory, for this user only, or takes over the one that an
// earlier process of the environment has left, with the files in it.
func NewDir(path string, o Options) (*Dir, error) {
	if err := private(path); err != nil {
		return nil, fmt.Errorf("open the hand-off directory %s: %w (is something else called that?)", path, err)
	}
	return &Dir{path: path, options: o.complete(), maxFiles: maxFiles, maxTotal: maxTotal}, nil
}

// private makes a directory that only this user can enter.
func private(path string) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	info, err := os.Lstat(path)
	switch {
	case err != nil:
		return err
	case !info.IsDir():
		return errors.New("not a directory")
	case info.Mode()&os.ModeSticky != 0:
		return errors.New("everybody's directory")
	case info.Mode().Perm() != 0o700:
		return os.Chmod(path, 0o700) // fails if it is another user's
	}
	return nil
}

// entry is a file that is to be taken.
type entry struct {
	name   string
	time   int64
	id     uint64
	signal telemetry.Signal
}

// Scan takes what lies in the directory, the oldest first, and gives the number
// of payloads taken. It ends early when ctx does, and when there is no room:
// then the rest stays for the next scan, within the directory's bounds. An
// error says that the directory itself cannot be used.
func (d *Dir) Scan(ctx context.Context, now time.Time) (n int, err error) {
	defer release(&d.body)
	defer release(&d.prepared)
	names, err := d.names()
	if err != nil {
		return 0, fmt.Errorf("scan the hand-off directory: %w", err)
	}
	var entries []entry
	for _, name := range names {
		switch e, ok := parseName(name); {
		case ok:
			entries = append(entries, e)
		case strings.HasSuffix(name, tmpExtension):
			err = errors.Join(err, d.removeOld(name, now))
		case name != badFolder:
			err = errors.Join(err, d.putAway(name, malformed))
		}
	}
	slices.SortFunc(entries, func(a, b entry) int {
		if a.time != b.time {
			return int(max(-1, min(1, a.time-b.time)))
		}
		return strings.Compare(a.name, b.name)
	})
	for i, e := range entries {
		if ctx.Err() != nil {
			return n, err
		}
		taken, failed := d.take(e)
		switch {
		case errors.Is(failed, errBusy):
			continue
		case errors.Is(failed, telemetry.ErrOver):
			return n, err
		case errors.Is(failed, telemetry.ErrNoRoom):
			return n, errors.Join(err, d.bound(entries[i:]))
		}
		err = errors.Join(err, failed)
		if taken {
			n++
		}
	}
	return n, err
}

// names lists the directory, as far as one scan looks.
func (d *Dir) names() (names []string, err error) {
	f, err := os.Open(d.path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // a directory: nothing to lose
	for len(names) < maxNames {
		more, err := f.Readdirnames(1024)
		names = append(names, more...)
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
	}
	return names, nil
}

// parseName reads TIME-UNIQUE.SIGNAL. A UNIQUE that is no id is as good: then
// the id is the name's hash.
func parseName(name string) (e entry, ok bool) {
	stem, signal, found := strings.Cut(name, ".")
	stamp, unique, cut := strings.Cut(stem, "-")
	e = entry{name: name, signal: telemetry.Signal(signal)}
	if !found || !cut || unique == "" || signalCode(e.signal) == 0 {
		return e, false
	}
	var err error
	if e.time, err = strconv.ParseInt(stamp, 10, 64); err != nil || e.time < 0 {
		return e, false
	}
	if e.id, err = strconv.ParseUint(unique, 16, 64); err != nil || len(unique) != 16 {
		h := fnv.New64a()
		_, _ = h.Write([]byte(name)) // a hash takes everything
		e.id = h.Sum64()
	}
	return e, true
}

// take hands one file over and removes it. The error is telemetry's when the
// file has to stay.
func (d *Dir) take(e entry) (taken bool, err error) {
	path := filepath.Join(d.path, e.name)
	if d.options.IDs.has(e.id) { // on another way, or we could not remove it
		return false, remove(path)
	}
	switch body, err := d.read(path); {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case errors.Is(err, errTooLarge):
		d.options.Drop(tooLarge, 1)
		return false, remove(path)
	case err != nil:
		return false, d.putAway(e.name, malformed)
	default:
		err = d.options.deliver(e.id, e.signal, body, &d.prepared)
		if errors.Is(err, errMalformed) {
			return false, d.putAway(e.name, malformed)
		} else if err != nil {
			return false, stay(err)
		}
	}
	return true, remove(path)
}

// stay makes one of telemetry's answers of what Take says.
func stay(err error) error {
	if errors.Is(err, telemetry.ErrOver) || errors.Is(err, errBusy) {
		return err
	}
	return telemetry.ErrNoRoom
}

var errTooLarge = fmt.Errorf("larger than %d bytes", MaxBody)

// read reads a whole file into the Dir's buffer. It is read, not mapped: a
// writer that cuts the file meanwhile would kill us.
func (d *Dir) read(path string) ([]byte, error) {
	f, err := os.OpenFile(path, openFlags, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errors.New("not a file")
	case info.Size() > MaxBody:
		return nil, errTooLarge
	}
	d.body = slices.Grow(d.body[:0], int(info.Size()))[:info.Size()]
	_, err = io.ReadFull(f, d.body)
	return d.body, err
}

// remove removes a file; that it is gone already is as well.
func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// putAway moves what nobody can take to a folder where a human finds the
// latest, and counts it.
func (d *Dir) putAway(name, reason string) error {
	d.options.Drop(reason, 1)
	from, folder := filepath.Join(d.path, name), filepath.Join(d.path, badFolder)
	info, err := os.Lstat(from)
	if err != nil {
		return remove(from)
	}
	if !info.Mode().IsRegular() || info.Size() > MaxBody {
		return os.RemoveAll(from)
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return errors.Join(err, remove(from)) // else it is met again and again
	}
	old, err := os.ReadDir(folder)
	for i := 0; i <= len(old)-maxBad; i++ {
		err = errors.Join(err, os.RemoveAll(filepath.Join(folder, old[i].Name())))
	}
	if failed := os.Rename(from, filepath.Join(folder, name)); failed != nil {
		return errors.Join(err, failed, remove(from))
	}
	return err
}

// removeOld removes a temporary file whose writer has been gone for a minute.
func (d *Dir) removeOld(name string, now time.Time) error {
	path := filepath.Join(d.path, name)
	info, err := os.Lstat(path)
	if err != nil || now.Sub(info.ModTime()) < tmpAge {
		return nil // renamed meanwhile, or still being written
	}
	d.options.Drop(leftOver, 1)
	return os.RemoveAll(path)
}

// bound removes the oldest files when more of them wait than the directory may
// hold: the function's disk is not ours to fill.
func (d *Dir) bound(waiting []entry) error {
	var err error
	var total int64
	for i, e := range slices.Backward(waiting) {
		info, failed := os.Lstat(filepath.Join(d.path, e.name))
		if failed != nil {
			continue // gone
		}
		total += info.Size()
		if total > d.maxTotal || len(waiting)-i > d.maxFiles {
			d.options.Drop(dirFull, 1)
			err = errors.Join(err, remove(filepath.Join(d.path, e.name)))
		}
	}
	return err
}
