package main

import (
	"io"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// The size of what is no screen, or does not tell.
const defaultColumns, defaultRows = 120, 40

// screenSize is how many columns and rows w has: the terminal's own, else what
// COLUMNS and LINES say.
func screenSize(w io.Writer) (columns, rows int) {
	if file, ok := w.(*os.File); ok {
		size, err := unix.IoctlGetWinsize(int(file.Fd()), unix.TIOCGWINSZ)
		if err == nil && size.Col > 0 && size.Row > 0 {
			return int(size.Col), int(size.Row)
		}
	}
	return numberIn("COLUMNS", defaultColumns), numberIn("LINES", defaultRows)
}

func numberIn(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil && n > 0 {
		return n
	}
	return otherwise
}
