package handoff

import (
	"errors"
	"runtime"
	"syscall"
	"unsafe"
)

// What the standard library does not name (memfd_create(2), fcntl(2)).
const (
	closeOnExec  = 0x1
	allowSealing = 0x2
	addSeals     = 1033
	allSeals     = 0x1 | 0x2 | 0x4 | 0x8 // no more seals, no shrinking, no growing, no writing
)

// memory makes an empty file that is nothing but memory.
func memory() (int, error) {
	number := uintptr(319)
	if runtime.GOARCH == "arm64" {
		number = 279
	} else if runtime.GOARCH != "amd64" {
		return -1, errors.New("not on this processor")
	}
	name := [...]byte{'s', 'l', 'i', 'p', 's', 't', 'r', 'e', 'a', 'm', 0}
	fd, _, failed := syscall.Syscall(number, uintptr(unsafe.Pointer(&name)), closeOnExec|allowSealing, 0)
	if failed != 0 {
		return -1, failed
	}
	return int(fd), nil
}

// mapMemory makes memory to write to. Its pages are there at once, which costs
// less than one by one.
func mapMemory(size int) (int, []byte, error) {
	fd, err := memory()
	if err != nil {
		return -1, nil, err
	}
	var bytes []byte
	if err = syscall.Ftruncate(fd, int64(size)); err == nil {
		bytes, err = syscall.Mmap(fd, 0, size, syscall.PROT_READ|syscall.PROT_WRITE,
			syscall.MAP_SHARED|syscall.MAP_POPULATE)
	}
	if err == nil {
		// The kernel then keeps no account of what is used, and Send, which has to
		// unmap, takes half the time.
		_ = syscall.Madvise(bytes, syscall.MADV_RANDOM) // slower without, no worse
	}
	if err != nil {
		return -1, nil, errors.Join(err, syscall.Close(fd))
	}
	return fd, bytes, nil
}

// sealedCopy makes memory with a copy of body.
func sealedCopy(body []byte) (int, error) {
	fd, err := memory()
	if err != nil {
		return -1, err
	}
	for rest := body; len(rest) > 0 && err == nil; {
		var n int
		if n, err = syscall.Write(fd, rest); err == nil {
			rest = rest[n:]
		}
	}
	if err == nil {
		err = seal(fd)
	}
	if err != nil {
		return -1, errors.Join(err, syscall.Close(fd))
	}
	return fd, nil
}

// seal makes sure that nobody ever changes the memory again: that is what lets
// the extension use it where it is.
func seal(fd int) error {
	if _, _, failed := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), addSeals, allSeals); failed != 0 {
		return failed
	}
	return nil
}
