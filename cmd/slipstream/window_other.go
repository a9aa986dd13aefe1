//go:build !unix

package main

import "os"

// windowSize is zero: it is not known here.
func windowSize(*os.File) (columns, rows int) { return 0, 0 }
