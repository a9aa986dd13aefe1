//go:build unix

package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// windowSize is zero for what is no terminal.
func windowSize(file *os.File) (columns, rows int) {
	size, err := unix.IoctlGetWinsize(int(file.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0, 0
	}
	return int(size.Col), int(size.Row)
}
