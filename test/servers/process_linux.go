package servers

import (
	"os/exec"
	"syscall"
)

// dieWithParent has the kernel end the server when the test's process is
// killed, which runs no cleanup.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
