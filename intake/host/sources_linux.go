package host

import (
	"bytes"
	"os"
	"syscall"
	"time"
	"unsafe"

	"slipstream/telemetry/usage"
)

// maxProcesses bounds how many processes are looked at, maxOpen how many files of one.
const (
	maxProcesses = 256
	maxOpen      = 1 << 16
)

// sources are the open files. They stay open: opening one costs more than reading it.
type sources struct {
	opened, rusageMissing   bool
	stat, net, memory, self file
	temp, processes         file
	path                    [64]byte // of a file below /proc, ended by a zero
	entries                 []byte
}

// file is a descriptor, or -1 if it could not be opened or read.
type file struct {
	fd   int
	name string
}

// open opens what there is.
func (r *Reader) open() {
	s := &r.files
	s.opened, s.entries = true, make([]byte, bufferSize)
	for _, one := range []struct {
		file *file
		name string
		path string
	}{
		{&s.stat, "stat", r.config.Proc + "/stat"},
		{&s.net, "net/dev", r.config.Proc + "/net/dev"},
		{&s.memory, "meminfo", r.config.Proc + "/meminfo"},
		{&s.self, "self/statm", r.config.Proc + "/self/statm"},
		{&s.temp, "tmp", r.config.Temp},
		{&s.processes, "processes", r.config.Proc},
	} {
		fd, err := syscall.Open(one.path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
		*one.file = file{fd, one.name}
		if err != nil {
			r.missing(one.file)
		}
	}
}

// missing gives a source up.
func (r *Reader) missing(f *file) {
	f.close()
	if r.config.Missing != nil {
		r.config.Missing(f.name)
	}
}

func (f *file) close() {
	if f.fd >= 0 {
		_ = syscall.Close(f.fd) // it was only read
	}
	f.fd = -1
}

// Close closes the files.
func (r *Reader) Close() {
	s := &r.files
	if !s.opened {
		return
	}
	for _, f := range []*file{&s.stat, &s.net, &s.memory, &s.self, &s.temp, &s.processes} {
		f.close()
	}
}

// text reads the file from its beginning, as much as the buffer holds.
func (r *Reader) text(f *file) []byte {
	n := 0
	for f.fd >= 0 && n < len(r.buf) {
		some, err := syscall.Pread(f.fd, r.buf[n:], int64(n))
		if err == syscall.EINTR {
			continue
		}
		if err != nil || some <= 0 {
			break
		}
		n += some
	}
	return r.buf[:n]
}

// read takes a reading of everything.
func (r *Reader) read() (t totals) {
	s := &r.files
	if !s.opened {
		r.open()
	}
	have := func(f *file, kind usage.Kind, ok bool) {
		switch {
		case ok:
			t.known |= kind
		case f.fd >= 0:
			r.missing(f)
		}
	}
	var ok bool
	t.cpu, ok = parseStat(r.text(&s.stat))
	have(&s.stat, usage.CPU, ok)
	t.received, t.sent, ok = parseNetDev(r.text(&s.net))
	have(&s.net, usage.Network, ok)
	total, available, ok := parseMeminfo(r.text(&s.memory))
	t.memory, t.total = total-available, total
	have(&s.memory, usage.Memory, ok)
	pages, ok := parseStatm(r.text(&s.self))
	t.ownMemory = pages * int64(os.Getpagesize())
	have(&s.self, usage.OwnMemory, ok)
	t.tempUsed, t.free, ok = space(&s.temp)
	have(&s.temp, usage.Temp, ok)
	have(&s.processes, usage.Threads|usage.Descriptors, r.readProcesses(&t))
	if t.ownCPU, ok = ownCPU(); ok {
		t.known |= usage.OwnCPU
	} else if !s.rusageMissing {
		s.rusageMissing = true
		r.missing(&file{-1, "rusage"})
	}
	return t
}

// space gives the bytes of a file system that are used, and that a user may still use.
func space(f *file) (used, free int64, ok bool) {
	var fs syscall.Statfs_t
	if f.fd < 0 || syscall.Fstatfs(f.fd, &fs) != nil {
		return 0, 0, false
	}
	size := int64(fs.Bsize)
	return int64(fs.Blocks-fs.Bfree) * size, int64(fs.Bavail) * size, true
}

// ownCPU is the CPU time of this process.
func ownCPU() (time.Duration, bool) {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0, false
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), true
}

// readProcesses counts processes, their threads and their open files. What ends
// meanwhile is not counted.
func (r *Reader) readProcesses(t *totals) bool {
	s := &r.files
	if s.processes.fd < 0 {
		return false
	}
	if _, err := syscall.Seek(s.processes.fd, 0, 0); err != nil {
		return false
	}
	for t.processes < maxProcesses {
		n, err := syscall.ReadDirent(s.processes.fd, s.entries)
		if err != nil || n <= 0 {
			break
		}
		for list := s.entries[:n]; len(list) > 0 && t.processes < maxProcesses; {
			var name []byte
			if name, list = entry(list); isNumber(name) {
				r.readProcess(name, t)
			}
		}
	}
	return t.processes > 0
}

func (r *Reader) readProcess(pid []byte, t *totals) {
	s := &r.files
	f := file{fd: s.openBelow(pid, "/stat")}
	threads, ok := parseThreads(r.text(&f))
	f.close()
	if !ok {
		return
	}
	t.processes++
	t.threads += int(threads)
	if f.fd = s.openBelow(pid, "/fd"); f.fd < 0 { // another user's
		return
	}
	defer f.close()
	for t.open < maxOpen {
		n, err := syscall.ReadDirent(f.fd, r.buf)
		if err != nil || n <= 0 {
			break
		}
		for list := r.buf[:n]; len(list) > 0; {
			var name []byte
			if name, list = entry(list); isNumber(name) {
				t.open++
			}
		}
	}
}

// openBelow opens a process's file, without allocating its path.
func (s *sources) openBelow(pid []byte, name string) int {
	if len(pid)+len(name) >= len(s.path) {
		return -1
	}
	n := copy(s.path[:], pid)
	n += copy(s.path[n:], name)
	s.path[n] = 0
	fd, _, errno := syscall.Syscall6(syscall.SYS_OPENAT, uintptr(s.processes.fd), uintptr(unsafe.Pointer(&s.path[0])),
		syscall.O_RDONLY|syscall.O_CLOEXEC, 0, 0, 0)
	if errno != 0 {
		return -1
	}
	return int(fd)
}

// entry takes the first name off what getdents64 gives: number and offset of 8 bytes
// each, the entry's length of 2, a type of 1, the name, a zero.
func entry(list []byte) (name, rest []byte) {
	const head = 19
	if len(list) < head {
		return nil, nil
	}
	length := int(list[16]) | int(list[17])<<8
	if length < head || length > len(list) {
		return nil, nil
	}
	name, _, _ = bytes.Cut(list[head:length], []byte{0})
	return name, list[length:]
}

func isNumber(name []byte) bool {
	for _, c := range name {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(name) > 0
}
