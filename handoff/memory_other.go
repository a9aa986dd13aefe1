//go:build !linux

package handoff

import "errors"

var errNoMemory = errors.New("sealed memory needs Linux")

func mapMemory(int) (int, []byte, error) { return -1, nil, errNoMemory }
func sealedCopy([]byte) (int, error)     { return -1, errNoMemory }
func seal(int) error                     { return errNoMemory }
