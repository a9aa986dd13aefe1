package buffer

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Leftover is a batch that a process which died has left in its arena: a Chunk
// that waits for Seal, or the Body that Seal has made of it.
type Leftover struct {
	Name
	Opened  time.Time
	Sealed  time.Time // zero: it was still open
	Records int
	// Missing is how many of its pages are not there or cannot be read: the
	// batch is only a part of what may have been sent under its id.
	Missing  int
	Chunk    *Chunk // nil if there is a Body
	Body     []byte
	Encoding string // of Body
}

// Recovery is what Recover found.
type Recovery struct {
	Files, Batches, Records int
	// Skipped counts units of 4 KiB that hold neither nothing nor a page, by
	// reason: garbage, version, checksum, length, duplicate, unreadable.
	Skipped map[string]int
}

// Recover hands what dead processes have left below dir to take, each
// environment's batches in their order, and removes the files. What take has
// returned nil for is not handed out again, not even after a kill; when it fails,
// the rest stays for another Recover. Arenas of processes that live, this one's
// too, are left alone. It may run beside everything else.
func Recover(dir string, take func(*Leftover) error) (Recovery, error) {
	r := Recovery{Skipped: map[string]int{}}
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return r, fmt.Errorf("look for telemetry of earlier processes: %w (check the rights on %s)", err, dir)
	}
	var left []*remains
	var files []*os.File
	var errs []error
	for _, entry := range entries {
		file, err := openLeft(filepath.Join(dir, entry.Name()))
		if err != nil {
			errs = append(errs, fmt.Errorf("recover telemetry of an earlier process: %w (check the rights on it)", err))
		}
		if file == nil {
			continue
		}
		defer closeLeft(file)
		files = append(files, file)
		left = append(left, scan(file, sizeOf(file), r.Skipped)...)
	}
	r.Files = len(files)
	for _, batch := range inOrder(left) {
		if err := batch.hand(take, &r); err != nil {
			return r, errors.Join(append(errs, err)...)
		}
	}
	for _, file := range files {
		errs = append(errs, os.Remove(file.Name()))
	}
	return r, errors.Join(errs...)
}

// openLeft opens and locks an arena whose process is dead; nil is none.
func openLeft(path string) (*os.File, error) {
	if !strings.HasPrefix(filepath.Base(path), arenaPrefix) {
		return nil, nil
	}
	file, err := os.OpenFile(path, os.O_RDWR|syscall.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	switch {
	case err != nil:
	case !info.Mode().IsRegular():
		err = &os.PathError{Op: "open", Path: path, Err: errors.New("not a file")}
	case info.Size() == 0 && time.Since(info.ModTime()) < time.Minute, lock(file) != nil:
		return nil, file.Close() // about to be locked, or alive
	default:
		return file, nil
	}
	return nil, errors.Join(err, file.Close())
}

// closeLeft gives the lock back. Everything is written by then.
func closeLeft(file *os.File) { _ = file.Close() }

func sizeOf(file *os.File) int64 {
	info, err := file.Stat()
	if err != nil {
		return 0
	}
	return info.Size()
}

// medium is a file with what a process left.
type medium interface {
	io.ReaderAt
	io.WriterAt
}

// remains are the pages of a chunk, or of a body, as found.
type remains struct {
	key
	in     medium
	opened int64
	pages  map[uint32]found
	twin   *remains // the records that the body was made of, if they are there too
}

type key struct {
	environment    [16]byte
	sequence, lane uint64
	body           bool
}

// found is one page.
type found struct {
	at              int64 // of its run
	kind            uint32
	length, records uint32
	closed          uint64 // pages of the chunk, 0: not known
	sealed          int64
	released        bool
}

// scan finds every page in a file of size bytes that may hold anything at all.
func scan(in medium, size int64, skipped map[string]int) []*remains {
	all := map[key]*remains{}
	head := make([]byte, headBytes)
	size = min(size, maxArenaBytes)
	for at := int64(0); at < size; {
		if _, err := in.ReadAt(head, at); err != nil {
			if skipped["unreadable"]++; !errors.Is(err, io.EOF) {
				at += unitBytes
				continue
			}
			break
		}
		units, reason := judge(head, size-at)
		if reason != "" {
			skipped[reason] += int(units)
		} else if !free(head) && !add(all, in, head, at) {
			skipped["duplicate"] += int(units)
		}
		at += units * unitBytes
	}
	return slices.Collect(maps.Values(all))
}

func free(head []byte) bool { return binary.NativeEndian.Uint64(head[headMagic:]) == 0 }

// judge tells how many units to go on, and why this is no page: "" if it is one,
// or free. The file goes on for left bytes.
func judge(head []byte, left int64) (units int64, reason string) {
	e := binary.NativeEndian
	word := e.Uint64(head[headMagic:])
	units = int64(e.Uint32(head[headUnits:]))
	committed := e.Uint64(head[headCommitted:])
	length, records := int64(committed>>32), int64(committed&(1<<32-1))
	switch {
	case word == 0:
		return 1, ""
	case word>>8 != magic>>8:
		return 1, "garbage"
	case word != magic:
		return 1, "version"
	case e.Uint64(head[headSum:]) != uint64(headChecksum(head)):
		return 1, "checksum"
	case units == 0 || e.Uint64(head[headKind:]) > lastKind:
		return 1, "length"
	case headBytes+length > min(units*unitBytes, left), records == 0 && length > 0,
		records > length && e.Uint64(head[headKind:]) == kindRecords:
		return min(units, (left+unitBytes-1)/unitBytes), "length"
	}
	return units, ""
}

// add puts a page where it belongs. It is false if that place is taken.
func add(all map[key]*remains, in medium, head []byte, at int64) bool {
	e := binary.NativeEndian
	kind := e.Uint32(head[headKind:])
	k := key{environment: [16]byte(head[headEnvironment:]), sequence: e.Uint64(head[headSequence:]),
		lane: e.Uint64(head[headLane:]), body: kind != kindRecords}
	r := all[k]
	if r == nil {
		r = &remains{key: k, in: in, opened: int64(e.Uint64(head[headOpened:])), pages: map[uint32]found{}}
		all[k] = r
	}
	index := e.Uint32(head[headIndex:])
	if _, taken := r.pages[index]; taken {
		return false
	}
	committed := e.Uint64(head[headCommitted:])
	r.pages[index] = found{
		at: at, kind: kind, length: uint32(committed >> 32), records: uint32(committed),
		closed: e.Uint64(head[headPages:]), sealed: int64(e.Uint64(head[headSealed:])),
		released: e.Uint64(head[headReleased:]) != 0,
	}
	return true
}

// inOrder gives what is worth taking: environments by their first batch, the
// batches of each by their number. Of records and the body made of them, the
// body counts.
func inOrder(all []*remains) []*remains {
	first := map[[16]byte]int64{}
	bodies := map[key]*remains{}
	for _, r := range all {
		if at, known := first[r.environment]; !known || r.opened < at {
			first[r.environment] = r.opened
		}
		if r.body && r.records() > 0 && !r.released() {
			bodies[r.key] = r
		}
	}
	all = slices.DeleteFunc(all, func(r *remains) bool {
		if r.records() == 0 || r.released() {
			return true
		}
		k := r.key
		k.body = true
		body := bodies[k]
		if r.body || body == nil || body.in != r.in {
			return false
		}
		body.twin = r
		return true
	})
	slices.SortFunc(all, func(a, b *remains) int {
		return cmp.Or(cmp.Compare(first[a.environment], first[b.environment]),
			slices.Compare(a.environment[:], b.environment[:]),
			cmp.Compare(a.sequence, b.sequence), cmp.Compare(a.lane, b.lane))
	})
	return all
}

func (r *remains) records() int {
	n := 0
	for _, page := range r.pages {
		n += int(page.records)
	}
	return n
}

func (r *remains) released() bool {
	for _, page := range r.pages {
		if page.released {
			return true
		}
	}
	return false
}

// hand gives the batch to take and notes in the file that it is done.
func (r *remains) hand(take func(*Leftover) error, sum *Recovery) error {
	l := r.read(sum.Skipped)
	if l.Records == 0 { // none of its pages could be read
		return nil
	}
	if err := take(l); err != nil {
		return err
	}
	sum.Batches++
	sum.Records += l.Records
	if r.twin != nil { // first, or it would be found alone
		if err := r.twin.release(); err != nil {
			return err
		}
	}
	return r.release()
}

// read copies the batch out of the file.
func (r *remains) read(skipped map[string]int) *Leftover {
	l := &Leftover{
		Name:   Name{Lane: r.lane, Environment: formatUUID(r.environment[:]), Sequence: r.sequence},
		Opened: time.Unix(0, r.opened).UTC(),
	}
	c := &Chunk{Opened: l.Opened, name: l.Name, pool: &Pool{}}
	expected := uint64(0)
	for _, index := range slices.Sorted(maps.Keys(r.pages)) {
		page := r.pages[index]
		expected = max(expected, page.closed, uint64(index)+1)
		bytes := make([]byte, page.length)
		if _, err := r.in.ReadAt(bytes, page.at+headBytes); err != nil {
			skipped["unreadable"]++
			continue
		}
		c.Records += int(page.records)
		c.Size += len(bytes)
		c.pages = append(c.pages, newPage(bytes, page.records))
		if index == 0 && page.sealed != 0 {
			l.Sealed = time.Unix(0, page.sealed).UTC()
			c.sealed = l.Sealed
		}
	}
	l.Records = c.Records
	l.Missing = int(min(expected-uint64(len(c.pages)), 1<<31-1))
	if r.body && len(c.pages) > 0 {
		l.Body, l.Encoding = c.pages[0].bytes, encodings[r.pages[0].kind]
	} else {
		l.Chunk = c
	}
	return l
}

func newPage(bytes []byte, records uint32) page { return page{bytes: bytes, records: int(records)} }

// release marks every page as done, the first one first.
func (r *remains) release() error {
	word := binary.NativeEndian.AppendUint64(nil, 1)
	for _, index := range slices.Sorted(maps.Keys(r.pages)) {
		if _, err := r.in.WriteAt(word, r.pages[index].at+headReleased); err != nil {
			return fmt.Errorf("note that a batch of an earlier process is taken: %w (it may be sent twice)", err)
		}
	}
	return nil
}
