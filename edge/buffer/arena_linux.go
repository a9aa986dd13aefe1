package buffer

import (
	"errors"
	"os"
	"syscall"
)

// reserve makes the file system promise blocks for a part of the file, which
// grows to its end.
func reserve(file *os.File, from, size int64) error {
	err := syscall.Fallocate(int(file.Fd()), 0, from, size)
	for errors.Is(err, syscall.EINTR) {
		err = syscall.Fallocate(int(file.Fd()), 0, from, size)
	}
	if errors.Is(err, syscall.EOPNOTSUPP) {
		return writeZeros(file, from, size)
	}
	return err
}
