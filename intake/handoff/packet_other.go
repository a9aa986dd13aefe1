//go:build !linux

package handoff

import (
	"errors"
	"syscall"
)

// nextPacket cannot be: sealed memory is Linux's.
func (c *connection) nextPacket() error {
	return errors.New("hand-offs in sealed memory need Linux")
}

// readable says no: what has not been read at the end is lost there.
func readable(syscall.Conn) bool { return false }
