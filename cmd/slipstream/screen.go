package main

import (
	"io"
	"os"
	"strconv"
)

// The size of what is no screen, or does not tell.
const defaultColumns, defaultRows = 120, 40

// screenSize is how many columns and rows w has: the terminal's own, else what
// COLUMNS and LINES say.
func screenSize(w io.Writer) (columns, rows int) {
	if file, ok := w.(*os.File); ok {
		if columns, rows := windowSize(file); columns > 0 && rows > 0 {
			return columns, rows
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
