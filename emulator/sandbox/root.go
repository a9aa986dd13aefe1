package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// execDir is where executables appear that lie under the machine's /tmp, which
// the sandbox's own covers.
const execDir = "/.exec"

// newRoot is the machine's folder on which the sandbox's root is mounted, in the
// sandbox's namespace only. Every machine has it, and it is not part of the new
// root in any other way.
const newRoot = "/tmp"

// root is a root folder in a mount namespace of its own. Its methods but close
// must be called on the thread that built it.
type root struct {
	host, tmp int               // the machine's / and /tmp, as O_PATH descriptors
	execs     map[string]string // where executables of /tmp are bound, by host path
}

// buildRoot gives the calling thread a mount namespace with a root made for c.
// If it fails the thread must not be used any more.
func buildRoot(c Config) (r *root, err error) {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return nil, fmt.Errorf("unshare mount namespace: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return nil, fmt.Errorf("make mounts private: %w", err)
	}
	r = &root{host: -1, tmp: -1, execs: map[string]string{}}
	defer func() {
		if err != nil {
			r.close()
			r = nil
		}
	}()
	if r.host, err = unix.Open("/", unix.O_PATH|unix.O_CLOEXEC, 0); err != nil {
		return r, fmt.Errorf("open /: %w", err)
	}
	if r.tmp, err = unix.Open(newRoot, unix.O_PATH|unix.O_CLOEXEC, 0); err != nil {
		return r, fmt.Errorf("open %s: %w", newRoot, err)
	}
	if err := mountTmpfs(newRoot, "mode=0755"); err != nil {
		return r, err
	}
	for _, step := range []func(Config) error{r.topFolders, r.varFolder, r.ownFolders, r.names, r.binds} {
		if err := step(c); err != nil {
			return r, err
		}
	}
	// Only the root itself: what is mounted in it keeps its own flags.
	flags := uintptr(unix.MS_BIND | unix.MS_REMOUNT | unix.MS_RDONLY)
	if err := unix.Mount("", newRoot, "", flags, ""); err != nil {
		return r, fmt.Errorf("make the root read-only: %w", err)
	}
	if err := unix.Chroot(newRoot); err != nil {
		return r, fmt.Errorf("change root: %w", err)
	}
	if err := unix.Chdir("/"); err != nil {
		return r, fmt.Errorf("change to /: %w", err)
	}
	return r, nil
}

func (r *root) close() {
	for _, fd := range []*int{&r.host, &r.tmp} {
		if *fd >= 0 {
			_ = unix.Close(*fd) // O_PATH: nothing to lose
			*fd = -1
		}
	}
}

// open opens a path of the machine, also one under its covered /tmp.
func (r *root) open(path string) (int, error) {
	dir, rest := r.host, strings.TrimPrefix(path, "/")
	if below, ok := below(path, newRoot); ok {
		dir, rest = r.tmp, below
	}
	if rest == "" {
		rest = "."
	}
	fd, err := unix.Openat(dir, rest, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open %s: %w", path, err)
	}
	return fd, nil
}

// bind makes a path of the machine appear at target, a name below the new root,
// and makes the mount point first if it is not there.
func (r *root) bind(path, target string, readOnly bool) error {
	fd, err := r.open(path)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("stat %s: %w", path, err)
	}
	if err := mountPoint(target, st.Mode&unix.S_IFMT == unix.S_IFDIR); err != nil {
		return err
	}
	source := "/proc/self/fd/" + strconv.Itoa(fd)
	if err := unix.Mount(source, target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("bind %s to %s: %w", path, target, err)
	}
	if !readOnly {
		return nil
	}
	return makeReadOnly(target)
}

func mountPoint(target string, dir bool) error {
	if _, err := os.Stat(target); err == nil {
		return nil
	}
	if dir {
		return os.MkdirAll(target, 0o755)
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	return os.WriteFile(target, nil, 0o644)
}

// makeReadOnly remounts target read-only and keeps its other flags.
func makeReadOnly(target string) error {
	var st unix.Statfs_t
	if err := unix.Statfs(target, &st); err != nil {
		return fmt.Errorf("look at mount %s: %w", target, err)
	}
	keep := uintptr(st.Flags) & (unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC)
	if err := unix.Mount("", target, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY|keep, ""); err != nil {
		return fmt.Errorf("make %s read-only: %w", target, err)
	}
	return nil
}

func mountTmpfs(target, options string) error {
	if err := unix.Mount("tmpfs", target, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		return fmt.Errorf("mount tmpfs on %s: %w", target, err)
	}
	return nil
}

// topFolders shows the machine's top folders but those that are made anew.
func (r *root) topFolders(c Config) error {
	entries, err := r.entries("/")
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := "/" + e.Name()
		if name == newRoot || name == "/opt" && c.Opt != "" || name == "/var" && c.Task != "" {
			continue
		}
		if err := r.show(name, e); err != nil {
			return err
		}
	}
	return nil
}

// entries lists a folder of the machine.
func (r *root) entries(path string) ([]fs.DirEntry, error) {
	fd, err := r.open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(fd) }()
	return os.ReadDir("/proc/self/fd/" + strconv.Itoa(fd))
}

// show makes an entry of the machine appear under the same name.
func (r *root) show(path string, e fs.DirEntry) error {
	target := newRoot + path
	switch {
	case e.Type()&fs.ModeSymlink != 0:
		to, err := os.Readlink(path)
		if err != nil {
			return err
		}
		return os.Symlink(to, target)
	case e.IsDir() || e.Type().IsRegular():
		err := r.bind(path, target, false)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // gone since it was listed
		}
		return err
	}
	return nil
}

// varFolder shows the machine's /var with Task as its folder task.
func (r *root) varFolder(c Config) error {
	if c.Task == "" {
		return nil
	}
	entries, err := r.entries("/var")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		if e.Name() == "task" {
			continue
		}
		if err := mountPoint(newRoot+"/var", true); err != nil {
			return err
		}
		if err := r.show("/var/"+e.Name(), e); err != nil {
			return err
		}
	}
	return r.bind(c.Task, newRoot+"/var/task", true)
}

// ownFolders makes /tmp and the folder of executables, shows Opt, and covers
// /dev/shm.
func (r *root) ownFolders(c Config) error {
	for _, m := range []struct{ target, options string }{
		{"/tmp", fmt.Sprintf("mode=1777,size=%dm", c.TmpMB)},
		{execDir, "mode=0755"},
	} {
		if err := mountPoint(newRoot+m.target, true); err != nil {
			return err
		}
		if err := mountTmpfs(newRoot+m.target, m.options); err != nil {
			return err
		}
	}
	if c.Opt != "" {
		if err := r.bind(c.Opt, newRoot+"/opt", true); err != nil {
			return err
		}
	}
	const shm = newRoot + "/dev/shm"
	if _, err := os.Stat(shm); err != nil {
		return nil
	}
	return unixMountReadOnly(shm)
}

func unixMountReadOnly(target string) error {
	if err := unix.Mount("none", target, "tmpfs", unix.MS_RDONLY, "mode=0000,size=4k"); err != nil {
		return fmt.Errorf("cover %s: %w", target, err)
	}
	return nil
}

// names adds sandbox and sandbox.localdomain to the machine's host names.
func (r *root) names(c Config) error {
	text, err := os.ReadFile("/etc/hosts")
	if err != nil {
		return fmt.Errorf("read host names: %w", err)
	}
	line := fmt.Sprintf("%s sandbox.localdomain sandbox\n", c.Address)
	etc := filepath.Join(c.Dir, "etc")
	fd, err := r.open(c.Dir)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	// Dir may lie under the machine's /tmp, which is covered by now.
	reach := "/proc/self/fd/" + strconv.Itoa(fd) + "/etc"
	if err := os.MkdirAll(reach, 0o755); err != nil {
		return fmt.Errorf("make %s: %w", etc, err)
	}
	if err := os.WriteFile(reach+"/hosts", append([]byte(line), text...), 0o644); err != nil {
		return fmt.Errorf("write %s/hosts: %w", etc, err)
	}
	return r.bind(etc+"/hosts", newRoot+"/etc/hosts", true)
}

// binds shows the paths that stay reachable although something covers them.
func (r *root) binds(c Config) error {
	for _, path := range c.Binds {
		_, inTmp := below(path, "/tmp")
		_, inOpt := below(path, "/opt")
		_, inTask := below(path, "/var/task")
		if !inTmp && !inOpt && !inTask {
			continue
		}
		if err := r.bind(path, newRoot+path, false); err != nil {
			return err
		}
	}
	return nil
}

// executable gives the name under which an executable of the machine can be
// started inside, and makes one if /tmp covers it.
func (r *root) executable(path string) (string, error) {
	if _, ok := below(path, newRoot); !ok {
		return path, nil
	}
	if err := unix.Access(path, unix.F_OK); err == nil {
		return path, nil // in the private /tmp, or bound there
	}
	if target, ok := r.execs[path]; ok {
		return target, nil
	}
	target := filepath.Join(execDir, strconv.Itoa(len(r.execs)), filepath.Base(path))
	if err := r.bind(path, target, true); err != nil {
		return "", err
	}
	r.execs[path] = target
	return target, nil
}
