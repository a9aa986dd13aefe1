// Package sandbox runs the processes of one execution environment behind
// Lambda's walls: private /tmp, read-only /opt and /var/task, CPU share, memory
// limit, freeze and thaw. Use one Sandbox per environment; what this machine
// does not allow is said in Notices and left out.
//
// The walls make an environment behave like Lambda's. They do not protect the
// machine: a process that runs as root can tear them down.
//
// Each Sandbox has one operating system thread of its own that lives as long as
// the Sandbox. The thread has a mount namespace with a root folder that is put
// together from the machine's folders, and it is a member of the version 1
// control groups for CPU, memory and process numbers; every process is forked
// from it and inherits all that. So starting a process costs no more than a
// plain exec: moving a process into a control group afterwards takes several
// milliseconds, and would come too late for what it has forked by then.
package sandbox

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// mbPerCPU is the memory size that comes with one virtual CPU.
	mbPerCPU = 1769
	// maxProcesses and defaultFiles are Lambda's limits for an environment.
	maxProcesses = 1024
	defaultFiles = 1024
	// defaultTmpMB is Lambda's smallest /tmp.
	defaultTmpMB = 512
	// closePatience bounds how long Close waits for killed processes to go.
	closePatience = 5 * time.Second
)

// Config says what a sandbox is like.
type Config struct {
	// ID names the control groups. In the form "slipstream-<pid>-<n>" the groups
	// of an emulator that has crashed are removed by a later one.
	ID string
	// Dir is an existing private folder of the environment. The sandbox writes
	// etc/ into it.
	Dir string
	// Opt appears as /opt and Task as /var/task, read-only. "" leaves the
	// machine's /opt in place, and /var/task out.
	Opt, Task string
	// Address is what sandbox and sandbox.localdomain resolve to inside,
	// 127.0.0.1 if not valid.
	Address netip.Addr
	// MemoryMB limits the sum of the processes' memory in MiB and gives the CPU
	// share, MemoryMB/1769 of a CPU; 0 is no limit. Files in /tmp count as
	// memory here, unlike on Lambda.
	MemoryMB int
	// TmpMB is the size of /tmp in MiB, 512 if 0.
	TmpMB int
	// Files is how many descriptors a process may have open, 1,024 if 0.
	Files uint64
	// Binds are folders and files of the machine that stay reachable under the
	// same name although /tmp, /opt or /var/task cover them.
	Binds []string
}

// Sandbox is the walls around one environment. Its methods may be called from
// several goroutines.
type Sandbox struct {
	config   Config
	thread   *thread
	walls    *root   // nil without a private file system
	groups   cgroups // where the machine has them
	freezer  freezer
	stop     chan struct{} // ends the goroutine that watches memory
	watching sync.WaitGroup

	mu        sync.Mutex
	notices   []string
	frozen    bool
	closed    bool
	processes []*Process // that have not ended
	oomKills  int
	peak      int64 // highest sum of resident memory seen, bytes
}

// New puts the walls up. It fails only for a Config that cannot work: what the
// machine or the lack of rights forbids is left out and told by Notices.
func New(c Config) (*Sandbox, error) { return newSandbox(c, thisMachine()) }

func newSandbox(c Config, m machine) (*Sandbox, error) {
	if err := complete(&c); err != nil {
		return nil, fmt.Errorf("make sandbox %s: %w", c.ID, err)
	}
	s := &Sandbox{config: c, stop: make(chan struct{})}
	s.groups = m.makeGroups(c, s.notice)
	s.freezer = m.chooseFreezer(s)
	if err := s.startThread(m); err != nil {
		s.groups.remove()
		return nil, fmt.Errorf("make sandbox %s: %w", c.ID, err)
	}
	s.watching.Go(s.watchMemory)
	return s, nil
}

// complete fills in defaults and makes paths real.
func complete(c *Config) error {
	if c.ID == "" || strings.ContainsAny(c.ID, "/ ") {
		return fmt.Errorf("ID %q: use a name without slashes and spaces", c.ID)
	}
	if c.TmpMB == 0 {
		c.TmpMB = defaultTmpMB
	}
	if c.Files == 0 {
		c.Files = defaultFiles
	}
	if c.TmpMB < 0 || c.MemoryMB < 0 {
		return fmt.Errorf("TmpMB %d, MemoryMB %d: use sizes from 0", c.TmpMB, c.MemoryMB)
	}
	if !c.Address.IsValid() {
		c.Address = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	c.Binds = slices.Clone(c.Binds)
	paths := []*string{&c.Dir, &c.Opt, &c.Task}
	for i := range c.Binds {
		paths = append(paths, &c.Binds[i])
	}
	for _, p := range paths {
		if *p == "" {
			continue
		}
		real, err := realPath(*p)
		if err != nil {
			return fmt.Errorf("find %s: %w", *p, err)
		}
		*p = real
	}
	return nil
}

func realPath(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(abs)
}

// startThread starts the thread inside the walls, or without those that cannot
// be put up.
func (s *Sandbox) startThread(m machine) error {
	err := m.noMounts
	if err == nil {
		s.thread, err = startThread(func() (err error) {
			s.walls, err = buildRoot(s.config)
			return err
		})
	}
	if err != nil {
		s.notice("no private file system: /tmp is the machine's own and not limited, /opt, /var/task and the name "+
			"sandbox.localdomain are missing, paths stay the machine's (%v; root may do it)", err)
		if s.thread, err = startThread(func() error { return nil }); err != nil {
			return err
		}
	}
	s.thread.do(func() { s.groups.joinThread(s.notice) })
	return nil
}

// Notices lists what is left out on this machine, each once.
func (s *Sandbox) Notices() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.notices)
}

func (s *Sandbox) notice(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if text := fmt.Sprintf(format, args...); !slices.Contains(s.notices, text) {
		s.notices = append(s.notices, text)
	}
}

// Path tells how a file or folder under Opt or Task is called inside. Other
// paths stay as they are, as do all without a private file system.
func (s *Sandbox) Path(hostPath string) string {
	if s.walls == nil {
		return hostPath
	}
	candidates := []string{hostPath}
	if real, err := realPath(hostPath); err == nil && real != hostPath {
		candidates = append(candidates, real)
	}
	for _, path := range candidates {
		for _, m := range [][2]string{{s.config.Opt, "/opt"}, {s.config.Task, "/var/task"}} {
			if rest, ok := below(path, m[0]); ok && m[0] != "" {
				return filepath.Join(m[1], rest)
			}
		}
	}
	return hostPath
}

// below tells whether path is folder or lies in it, and the rest of it.
func below(path, folder string) (rest string, ok bool) {
	if path == folder {
		return "", true
	}
	return strings.CutPrefix(path, strings.TrimSuffix(folder, "/")+"/")
}

// Close kills all processes, waits until they are gone, and takes the walls
// down. Dir stays. A second call does nothing.
func (s *Sandbox) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	running := slices.Clone(s.processes)
	s.mu.Unlock()

	err := s.killAll()
	for _, p := range running {
		<-p.done
	}
	close(s.stop)
	s.watching.Wait()
	s.countOOM()
	s.thread.end()
	if s.walls != nil {
		s.walls.close()
	}
	if gone := s.groups.remove(); err == nil {
		err = gone
	}
	if err != nil {
		return fmt.Errorf("close sandbox %s: %w", s.config.ID, err)
	}
	return nil
}

// killAll kills whatever runs in the sandbox, frozen or not, and returns when
// nothing does.
func (s *Sandbox) killAll() error {
	for end := time.Now().Add(closePatience); ; time.Sleep(time.Millisecond) {
		pids := s.pids()
		if len(pids) == 0 {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("kill processes %v: still there after %v", pids, closePatience)
		}
		s.killPIDs(pids)
	}
}

// alive tells whether a process exists and is not just waiting to be reaped.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	// The state follows the name, which is in brackets and may hold any byte.
	at := strings.LastIndexByte(string(stat), ')')
	return at < 0 || at+2 >= len(stat) || (stat[at+2] != 'Z' && stat[at+2] != 'X')
}
