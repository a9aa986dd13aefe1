//go:build !linux

package behind

// Step does nothing: Lambda is Linux.
func Step() error { return nil }
