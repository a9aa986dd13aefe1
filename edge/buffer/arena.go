package buffer

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"hash/fnv"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

const (
	// unitBytes is what a run in the arena is measured in. A run is a page of
	// pageBytes, one larger record's, or as many as a sealed body needs.
	unitBytes = 4 << 10
	// reserveBytes is how many blocks are asked of the file system at once.
	reserveBytes = 256 << 10
	// maxArenaBytes bounds what Recover reads of one file.
	maxArenaBytes = 2 << 30

	arenaPrefix = "arena-"
)

// A run's head, in the machine's byte order, at the start of its first unit. All
// before headSum never changes; the words after it are stored atomically, the
// magic last of all when a run is taken. The first word of a unit that starts no
// run and lies in none is 0.
const (
	headMagic       = 0
	headLane        = 8
	headEnvironment = 16
	headSequence    = 32
	headOpened      = 40 // Unix nanoseconds
	headIndex       = 48 // of the page in its chunk, 32 bits
	headUnits       = 52 // of the run, 32 bits
	headKind        = 56 // 32 bits, then 4 bytes of nothing
	headSum         = 64 // CRC-32C, then 4 bytes of nothing
	headCommitted   = 72 // bytes << 32 | records
	headPages       = 80 // how many pages the closed chunk has; in page 0
	headSealed      = 88 // Unix nanoseconds, 0: open; in page 0
	headReleased    = 96 // not 0: the whole chunk is done; in page 0
	headBytes       = 128

	magic        = 0x534c4950_41524500 + arenaVersion // "SLIPARE", version
	arenaVersion = 1
)

// What a run holds: records that wait for Seal, or a body that Seal made.
const (
	kindRecords = iota
	kindPlain
	kindGzip
	kindZstd
	kindSnappy
	lastKind = kindSnappy
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	kinds      = map[string]uint32{Plain: kindPlain, Gzip: kindGzip, Zstd: kindZstd, Snappy: kindSnappy}
	encodings  = map[uint32]string{kindPlain: Plain, kindGzip: Gzip, kindZstd: Zstd, kindSnappy: Snappy}
)

// Name says which batch a chunk will be, in its head in the arena.
type Name struct {
	Lane        uint64 // LaneHash of the destination
	Environment string // UUID
	Sequence    uint64 // of the lane's batches, known when the first record comes in
}

// LaneHash names a destination in the arena and the spool, the same in every
// process of one configuration.
func LaneHash(destination string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(destination)) // never fails
	return h.Sum64()
}

// arena is a file mapping that runs are taken from, lowest address first, so
// that few pages are ever touched. The Pool's mutex guards it.
type arena struct {
	file     *os.File
	memory   []byte
	reserved int      // bytes from the start that have blocks: others are SIGBUS on a full disk
	used     []uint64 // a bit a unit
	inUse    int      // units
	stored   func()   // for tests: called after every store
}

// newArena makes the file below dir and maps it. The lock on it ends with the
// process and tells Recover that nobody writes to it any more.
func newArena(dir string, maxBytes int) (*arena, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	file, err := os.CreateTemp(dir, arenaPrefix+"*") // Recover leaves it alone as long as it is empty
	if err != nil {
		return nil, err
	}
	if err := lock(file); err != nil {
		return nil, errors.Join(err, os.Remove(file.Name()), file.Close())
	}
	memory, err := syscall.Mmap(int(file.Fd()), 0, maxBytes, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return nil, errors.Join(&os.PathError{Op: "map", Path: file.Name(), Err: err}, os.Remove(file.Name()), file.Close())
	}
	units := maxBytes / unitBytes
	return &arena{file: file, memory: memory, used: make([]uint64, (units+63)/64)}, nil
}

// lock takes the file's lock, or fails at once if another process has it.
func lock(file *os.File) error {
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return &os.PathError{Op: "lock", Path: file.Name(), Err: err}
	}
	return nil
}

// errArenaFull is why a page comes from the heap while the file system has room.
var errArenaFull = errors.New("every page of it is in use")

// take gives a run of want bytes besides its head, with nothing in the head.
func (a *arena) take(want int) ([]byte, error) {
	n := (want + headBytes + unitBytes - 1) / unitBytes
	first := a.find(n)
	if first < 0 {
		return nil, &os.PathError{Op: "take a page of", Path: a.file.Name(), Err: errArenaFull}
	}
	start, end := first*unitBytes, (first+n)*unitBytes
	if end > a.reserved {
		upTo := min((end+reserveBytes-1)/reserveBytes*reserveBytes, len(a.memory))
		if err := reserve(a.file, int64(a.reserved), int64(upTo-a.reserved)); err != nil {
			return nil, &os.PathError{Op: "reserve blocks of", Path: a.file.Name(), Err: err}
		}
		a.reserved = upTo
	}
	a.mark(first, n, true)
	return a.memory[start:end:end], nil
}

// find gives the lowest n free units in a row, -1 for none.
func (a *arena) find(n int) int {
	free := 0
	for i := 0; i < len(a.memory)/unitBytes; i++ {
		if i%64 == 0 && a.used[i/64] == ^uint64(0) {
			free, i = 0, i+63
			continue
		}
		if free++; a.used[i/64]&(1<<(i%64)) != 0 {
			free = 0
		}
		if free == n {
			return i - n + 1
		}
	}
	return -1
}

func (a *arena) mark(first, n int, used bool) {
	for i := first; i < first+n; i++ {
		if used {
			a.used[i/64] |= 1 << (i % 64)
		} else {
			a.used[i/64] &^= 1 << (i % 64)
		}
	}
	if a.inUse += n; !used {
		a.inUse -= 2 * n
	}
}

// give takes a run back of which nothing beyond written was written. A kill at
// any point leaves either the run's head or units that start with 0.
func (a *arena) give(run []byte, written int) {
	for at := unitBytes; at < min(written, len(run)); at += unitBytes {
		a.store(run, at, 0)
	}
	a.store(run, headMagic, 0)
	first := int(uintptr(unsafe.Pointer(&run[0]))-uintptr(unsafe.Pointer(&a.memory[0]))) / unitBytes
	a.mark(first, len(run)/unitBytes, false)
}

// lost tells whether the file was removed, as by a function that cleans /tmp: its
// memory works, but no other process will find it.
func (a *arena) lost() bool {
	var stat syscall.Stat_t
	return syscall.Fstat(int(a.file.Fd()), &stat) == nil && stat.Nlink == 0
}

// unmap ends the arena, of which no run may be in use.
func (a *arena) unmap() error { return errors.Join(syscall.Munmap(a.memory), a.file.Close()) }

// nanoseconds is t in a head, 0 for no time.
func nanoseconds(t time.Time) uint64 {
	if t.IsZero() {
		return 0
	}
	return uint64(t.UnixNano())
}

// store puts a word where a kill leaves either all or nothing of it, after all
// that was written before.
func (a *arena) store(run []byte, at int, word uint64) {
	atomic.StoreUint64((*uint64)(unsafe.Pointer(&run[at])), word)
	if a.stored != nil {
		a.stored()
	}
}

// writeHead makes a run one page of a chunk. Nothing of it is committed.
func (a *arena) writeHead(run []byte, id [16]byte, name Name, opened time.Time, index int, kind uint32) {
	e := binary.NativeEndian
	for at := headCommitted; at < headBytes; at += 8 {
		e.PutUint64(run[at:], 0)
	}
	e.PutUint64(run[headLane:], name.Lane)
	copy(run[headEnvironment:], id[:])
	e.PutUint64(run[headSequence:], name.Sequence)
	e.PutUint64(run[headOpened:], nanoseconds(opened))
	e.PutUint32(run[headIndex:], uint32(index))
	e.PutUint32(run[headUnits:], uint32(len(run)/unitBytes))
	e.PutUint64(run[headKind:], uint64(kind))
	e.PutUint64(run[headSum:], uint64(headChecksum(run)))
	a.store(run, headMagic, magic)
}

// headChecksum covers the constant part of a head but for the magic.
func headChecksum(head []byte) uint32 { return crc32.Checksum(head[headLane:headSum], castagnoli) }

// parseUUID reads 8-4-4-4-12 lower-case hexadecimal digits.
func parseUUID(text string) ([16]byte, error) {
	var id [16]byte
	digits := strings.ReplaceAll(text, "-", "")
	if len(digits) == 2*len(id) {
		if _, err := hex.Decode(id[:], []byte(digits)); err == nil && formatUUID(id[:]) == text {
			return id, nil
		}
	}
	return id, fmt.Errorf("name a batch after environment %q: it is not a UUID", text)
}

func formatUUID(id []byte) string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:16])
}

// writeZeros gives a part of the file its blocks where the file system can not
// reserve them.
func writeZeros(file *os.File, from, size int64) error {
	zeros := make([]byte, unitBytes)
	for at := from; at < from+size; at += unitBytes {
		if _, err := file.WriteAt(zeros, at); err != nil {
			return err
		}
	}
	return nil
}
