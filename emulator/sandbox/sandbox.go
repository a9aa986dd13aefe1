// Package sandbox runs the processes of one execution environment behind
// Lambda's walls: private /tmp, read-only /opt and /var/task, CPU share, memory
// limit, freeze and thaw. Use one Sandbox per environment; what this machine
// does not allow is said in Notices and left out.
package sandbox

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"syscall"
	"time"
)

// Config says what a sandbox is like.
type Config struct {
	// ID names the cgroups, for example "slipstream-<pid>-<n>".
	ID string
	// Dir is the private folder of the environment.
	Dir string
	// Opt appears as /opt and Task as /var/task, read-only; "" leaves it out.
	Opt, Task string
	// Address is what sandbox and sandbox.localdomain resolve to inside.
	Address netip.Addr
	// MemoryMB limits the sum of the processes and gives the CPU share.
	MemoryMB int
	// TmpMB is the size of /tmp, 512 if 0.
	TmpMB int
	// Binds are host paths that stay reachable under the same name.
	Binds []string
}

// Sandbox is the walls around one environment.
type Sandbox struct{}

// Command is a process to start.
type Command struct {
	Path           string
	Args, Env      []string
	Dir            string
	Stdout, Stderr io.Writer
}

// Process is a started Command with all that it starts itself.
type Process struct{}

// Exit is how a process ended.
type Exit struct {
	Code   int
	Signal syscall.Signal
	MaxRSS int64
	CPU    time.Duration
}

func New(Config) (*Sandbox, error)               { return &Sandbox{}, nil }
func (*Sandbox) Notices() []string               { return nil }
func (*Sandbox) Start(Command) (*Process, error) { return nil, errors.New("not yet") }
func (*Sandbox) Path(hostPath string) string     { return hostPath }
func (*Sandbox) Freeze() error                   { return nil }
func (*Sandbox) Thaw() error                     { return nil }
func (*Sandbox) MaxMemory() int64                { return 0 }
func (*Sandbox) OOMKills() int                   { return 0 }
func (*Sandbox) Close() error                    { return nil }

func (*Process) PID() int                         { return 0 }
func (*Process) Done() <-chan struct{}            { return nil }
func (*Process) Exit() Exit                       { return Exit{} }
func (*Process) Signal(syscall.Signal) error      { return nil }
func (*Process) Kill()                            {}
func (*Process) SyncOutput(context.Context) error { return nil }
