// Package spool keeps batches that cannot be delivered now in files, a file a
// batch, where the next process of the same environment finds them. Use it when
// a destination is down, and at the start for what earlier processes left.
//
// It has to survive the process, not the machine, whose /tmp ends with it. So a
// file is written under another name and renamed, and nothing is ever fsynced.
package spool

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"slipstream/destination"
)

const (
	// defaultBytes is the bound unless a quarter of the file system is less.
	defaultBytes = 64 << 20
	// blockBytes is what a file's size is rounded up to.
	blockBytes = 4 << 10
	// maxProcesses is how many may share a folder, as environments on a laptop do.
	maxProcesses = 64

	batchSuffix = ".batch"
	unfinished  = ".tmp" // ends the name of a file that is being written
)

// ErrFull is the cause of Put's error when the batch does not fit the bound.
var ErrFull = errors.New("the spool is full")

// ErrDamaged is the cause of Load's error when the batch is gone for ever: its
// file is not what Put wrote. It is removed and counted in Usage.
var ErrDamaged = errors.New("the batch is damaged")

// Spool is a folder of batches. It is safe for concurrent use.
type Spool struct {
	mu       sync.Mutex
	dir      string
	maxBytes int64
	lock     *os.File // the folder, open; nil until there is one
	entries  map[key]*Entry
	used     int64
	damaged  map[string]int
}

type key struct {
	lane        uint64
	environment string
	sequence    uint64
}

// Entry is a batch in the spool.
type Entry struct {
	Lane        uint64 // as given to Put
	Environment string
	Sequence    uint64
	Sealed      time.Time
	Records     int
	Bytes       int64 // of its file
}

func (e *Entry) key() key { return key{e.Lane, e.Environment, e.Sequence} }

// Usage says what the spool holds now.
type Usage struct {
	Batches, Records int
	Bytes, MaxBytes  int64          // in whole blocks; the bound
	Damaged          map[string]int // files removed since Open, by reason
}

// Open reads what is in the folder; it makes none. The spool is usable whatever
// the error, which names what could not be read and what was removed because it
// is damaged. maxBytes 0 is the default: 64 MiB, or a quarter of the file
// system. While another process uses the folder, one beside it is taken.
func Open(dir string, maxBytes int64) (*Spool, error) {
	if maxBytes <= 0 {
		maxBytes = defaultFor(dir)
	}
	s := &Spool{dir: dir, maxBytes: maxBytes, entries: map[key]*Entry{}, damaged: map[string]int{}}
	err := s.claim()
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, fmt.Errorf("open the spool: %w (%s)", err, hint(err))
	}
	return s, s.index()
}

// claim locks the folder, or one beside it that nobody uses.
func (s *Spool) claim() error {
	first := s.dir
	for n := 2; ; n++ {
		folder, err := os.OpenFile(s.dir, os.O_RDONLY|syscall.O_DIRECTORY, 0)
		if err != nil {
			return err
		}
		err = syscall.Flock(int(folder.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			s.lock = folder
			return nil
		}
		err = errors.Join(&fs.PathError{Op: "lock", Path: s.dir, Err: err}, folder.Close())
		if !errors.Is(err, syscall.EWOULDBLOCK) || n > maxProcesses {
			return err
		}
		s.dir = first + "." + strconv.Itoa(n)
	}
}

// Close lets other processes have the folder. Nothing else may follow.
func (s *Spool) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lock == nil {
		return nil
	}
	return s.lock.Close()
}

// defaultFor gives the default bound for a folder that may not be there yet.
func defaultFor(dir string) int64 {
	var stat syscall.Statfs_t
	for err := syscall.Statfs(dir, &stat); err != nil; err = syscall.Statfs(dir, &stat) {
		parent := filepath.Dir(dir)
		if !errors.Is(err, fs.ErrNotExist) || parent == dir {
			return defaultBytes
		}
		dir = parent
	}
	return min(defaultBytes, int64(stat.Blocks)*int64(stat.Bsize)/4)
}

// index notes every batch below the folder, and removes what is none.
func (s *Spool) index() error {
	lanes, err := os.ReadDir(s.dir)
	if err != nil {
		return fmt.Errorf("open the spool: %w (%s)", err, hint(err))
	}
	var errs []error
	for _, folder := range lanes {
		lane, err := strconv.ParseUint(folder.Name(), 16, 64)
		if err != nil || laneName(lane) != folder.Name() {
			continue // not ours
		}
		files, err := os.ReadDir(filepath.Join(s.dir, folder.Name()))
		if err != nil {
			errs = append(errs, fmt.Errorf("open the spool: %w (%s)", err, hint(err)))
		}
		for _, file := range files {
			errs = append(errs, s.note(lane, filepath.Join(s.dir, folder.Name(), file.Name())))
		}
	}
	return errors.Join(errs...)
}

// note puts one file into the index, judged by its head.
func (s *Spool) note(lane uint64, path string) error {
	name := filepath.Base(path)
	switch {
	case strings.HasSuffix(name, unfinished): // a process died writing it
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("remove what an earlier process did not finish: %w (%s)", err, hint(err))
		}
		return nil
	case !strings.HasSuffix(name, batchSuffix):
		return nil // not ours
	}
	entry, reason, err := readHead(path)
	if err != nil {
		return fmt.Errorf("open the spool: %w (%s)", err, hint(err))
	}
	if reason == "" && (entry.Lane != lane || entry.name() != name) {
		reason = "misnamed"
	}
	if reason != "" {
		return s.condemn(path, reason)
	}
	s.entries[entry.key()] = entry
	s.used += blocks(entry.Bytes)
	return nil
}

// readHead reads what a file says of itself. reason is why it is no batch.
func readHead(path string) (entry *Entry, reason string, err error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, syscall.ELOOP) {
		return nil, "not a file", nil
	}
	if err != nil {
		return nil, "", err
	}
	defer closeRead(file)
	info, err := file.Stat()
	if err != nil {
		return nil, "", err
	}
	if !info.Mode().IsRegular() {
		return nil, "not a file", nil
	}
	head := make([]byte, min(info.Size(), maxHeadBytes))
	if _, err := io.ReadFull(file, head); err != nil {
		return nil, "", &fs.PathError{Op: "read", Path: path, Err: err}
	}
	lane, batch, headBytes, reason := decodeHead(head)
	if reason != "" {
		return nil, reason, nil
	}
	switch body := uint64(info.Size()) - uint64(headBytes); {
	case body < bodyBytes(head):
		reason = "truncated"
	case body > bodyBytes(head):
		reason = "longer than it was"
	}
	return newEntry(lane, batch, info.Size()), reason, nil
}

// closeRead closes a file that was only read.
func closeRead(file *os.File) { _ = file.Close() }

func newEntry(lane uint64, b *destination.Batch, size int64) *Entry {
	return &Entry{Lane: lane, Environment: b.Environment, Sequence: b.Sequence, Sealed: b.Sealed, Records: b.Records,
		Bytes: size}
}

// condemn removes a file that is not a batch of ours, and counts it.
func (s *Spool) condemn(path, reason string) error {
	s.damaged[reason]++
	err := fmt.Errorf("%w: %s: %s (it is removed; its records are lost)", ErrDamaged, path, reason)
	if removed := os.Remove(path); removed != nil && !errors.Is(removed, fs.ErrNotExist) {
		return errors.Join(err, removed)
	}
	return err
}

// Put keeps the batch until Remove. A batch that is there already, by lane and
// id, is kept as it is. After an error nothing of it is left.
func (s *Spool) Put(lane uint64, b *destination.Batch) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := valid(b); err != nil {
		return fmt.Errorf("spool batch %q: %w", b.ID, err)
	}
	head := appendHead(nil, lane, b)
	entry := newEntry(lane, b, int64(len(head)+len(b.Body)))
	if s.entries[entry.key()] != nil {
		return nil
	}
	if s.used+blocks(entry.Bytes) > s.maxBytes {
		return fmt.Errorf("spool batch %s in %s: %w: %d of %d bytes are in use and it needs %d "+
			"(raise the function's ephemeral storage, or see why the destination is down)",
			b.ID, s.dir, ErrFull, s.used, s.maxBytes, entry.Bytes)
	}
	if err := s.write(entry, head, b.Body); err != nil {
		return fmt.Errorf("spool batch %s: %w (%s)", b.ID, err, hint(err))
	}
	s.entries[entry.key()] = entry
	s.used += blocks(entry.Bytes)
	return nil
}

// write makes the entry's file in one step.
func (s *Spool) write(e *Entry, head, body []byte) error {
	if s.lock == nil {
		if err := errors.Join(os.MkdirAll(s.dir, 0o700), s.claim()); err != nil {
			return err
		}
	}
	path := s.path(e)
	file, err := create(path + unfinished)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(filepath.Dir(path), 0o700); err == nil {
			file, err = create(path + unfinished)
		}
	}
	if err != nil {
		return err
	}
	_, err = file.Write(head)
	if err == nil {
		_, err = file.Write(body)
	}
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(path+unfinished, path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(path+unfinished))
	}
	return nil
}

func create(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|syscall.O_NOFOLLOW, 0o600)
}

// Load gives the batch as it was put, byte for byte. An error with ErrDamaged
// means that it is gone; after any other, another try may work.
func (s *Spool) Load(e Entry) (*destination.Batch, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.entries[e.key()]
	if known == nil {
		return nil, fmt.Errorf("load batch %d of %s from the spool: %w", e.Sequence, e.Environment, fs.ErrNotExist)
	}
	path := s.path(known)
	batch, reason, err := read(path, known)
	switch {
	case errors.Is(err, fs.ErrNotExist): // somebody cleaned /tmp
		reason = "gone"
	case err != nil:
		return nil, fmt.Errorf("load a batch from the spool: %w (%s)", err, hint(err))
	}
	if reason != "" {
		s.drop(known)
		return nil, s.condemn(path, reason)
	}
	return batch, nil
}

// read gives the batch in a file, or why it is not the one that is expected.
func read(path string, expected *Entry) (batch *destination.Batch, reason string, err error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, "", err
	}
	defer closeRead(file)
	info, err := file.Stat()
	switch {
	case err != nil:
		return nil, "", err
	case info.Size() < expected.Bytes:
		return nil, "truncated", nil
	case info.Size() > expected.Bytes:
		return nil, "longer than it was", nil
	}
	data := make([]byte, info.Size())
	if _, err := io.ReadFull(file, data); err != nil {
		return nil, "", &fs.PathError{Op: "read", Path: path, Err: err}
	}
	lane, batch, reason := decode(data)
	if reason == "" && newEntry(lane, batch, info.Size()).key() != expected.key() {
		reason = "misnamed"
	}
	return batch, reason, nil
}

// Remove ends the batch: it is delivered, or given up.
func (s *Spool) Remove(e Entry) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.entries[e.key()]
	if known == nil {
		return nil
	}
	if err := os.Remove(s.path(known)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		delete(s.entries, known.key()) // its room is not free
		return fmt.Errorf("remove a batch from the spool, which the next process will send again: %w (%s)", err, hint(err))
	}
	s.drop(known)
	return nil
}

// drop takes an entry whose file is gone out of the index.
func (s *Spool) drop(e *Entry) {
	delete(s.entries, e.key())
	s.used -= blocks(e.Bytes)
}

// Left lists the lane's batches, oldest first: environments by the first batch
// that is here, the batches of each in their order.
func (s *Spool) Left(lane uint64) []Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	var left []Entry
	first := map[string]time.Time{}
	for _, e := range s.entries {
		if e.Lane != lane {
			continue
		}
		left = append(left, *e)
		if at, known := first[e.Environment]; !known || e.Sealed.Before(at) {
			first[e.Environment] = e.Sealed
		}
	}
	slices.SortFunc(left, func(a, b Entry) int {
		return cmp.Or(first[a.Environment].Compare(first[b.Environment]), cmp.Compare(a.Environment, b.Environment),
			cmp.Compare(a.Sequence, b.Sequence))
	})
	return left
}

// Lanes lists the lanes that have batches here, in no useful order.
func (s *Spool) Lanes() []uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	lanes := map[uint64]bool{}
	for _, e := range s.entries {
		lanes[e.Lane] = true
	}
	return slices.Sorted(maps.Keys(lanes))
}

// Discard removes all batches of a lane that no destination claims, and gives
// how many batches and records that were.
func (s *Spool) Discard(lane uint64) (batches, records int, err error) {
	for _, e := range s.Left(lane) {
		batches++
		records += e.Records
		err = errors.Join(err, s.Remove(e))
	}
	return batches, records, err
}

// Usage tells what is here.
func (s *Spool) Usage() Usage {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := Usage{Batches: len(s.entries), Bytes: s.used, MaxBytes: s.maxBytes, Damaged: maps.Clone(s.damaged)}
	for _, e := range s.entries {
		u.Records += e.Records
	}
	return u
}

// path is the entry's file: a folder a lane, the names in the order of batches.
func (s *Spool) path(e *Entry) string { return filepath.Join(s.dir, laneName(e.Lane), e.name()) }

func (e *Entry) name() string {
	return fmt.Sprintf("%020d-%s%s", e.Sequence, e.Environment, batchSuffix)
}

func laneName(lane uint64) string { return fmt.Sprintf("%016x", lane) }

func blocks(size int64) int64 { return (size + blockBytes - 1) / blockBytes * blockBytes }

// valid tells whether a batch can be kept: its environment is part of a name.
func valid(b *destination.Batch) error {
	plain := func(r rune) bool {
		return r != '-' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}
	switch {
	case b.Environment == "" || len(b.Environment) > 64 || strings.ContainsFunc(b.Environment, plain):
		return fmt.Errorf("environment %q is no file name (expected a UUID)", b.Environment)
	case len(b.ID)+len(b.ContentType)+len(b.Encoding) > maxHeadBytes/2:
		return fmt.Errorf("its id, content type and encoding have more than %d bytes", maxHeadBytes/2)
	case b.Records < 0 || len(b.Body) > math.MaxInt32:
		return fmt.Errorf("%d records in %d bytes", b.Records, len(b.Body))
	}
	return nil
}

// hint says what the user may do about an error of the file system.
func hint(err error) string {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return "/tmp is full: raise the function's ephemeral storage, or clean up in the function"
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return "check that /tmp is writable for the extension"
	}
	return "check /tmp"
}
