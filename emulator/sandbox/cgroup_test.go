package sandbox

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestHierarchies: where the groups are, on a machine with version 1, with
// version 2, with both, and in a container that sees only a part of the tree.
func TestHierarchies(t *testing.T) {
	const (
		cpu     = "30 25 0:26 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid - cgroup cgroup rw,cpu,cpuacct\n"
		frozen  = "31 25 0:27 / /sys/fs/cgroup/freezer rw shared:9 - cgroup cgroup rw,freezer\n"
		unified = "32 25 0:28 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n"
		part    = `33 25 0:29 /docker/ab /sys/fs/c\040group rw - cgroup2 cgroup2 rw` + "\n"
		other   = "34 25 0:30 / /proc rw - proc proc rw\nshort\n"
	)
	one := func(mount, base string, controllers ...string) hierarchy {
		return hierarchy{mount: mount, base: base, controllers: controllers}
	}
	const cpuFolder, freezerFolder = "/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup/freezer"
	two := func(mount, base string) hierarchy { return hierarchy{v2: true, mount: mount, base: base} }
	for _, c := range []struct {
		name, mounts, own string
		want              []hierarchy
	}{
		{"none", other, "", nil},
		{"version 1", cpu + other + frozen, "4:freezer:/\n3:cpu,cpuacct:/user\n",
			[]hierarchy{one(cpuFolder, cpuFolder+"/user", "rw", "cpu", "cpuacct"),
				one(freezerFolder, freezerFolder, "rw", "freezer")}},
		{"version 2", unified, "0::/user.slice\n", []hierarchy{two("/sys/fs/cgroup", "/sys/fs/cgroup/user.slice")}},
		{"both", cpu + unified, "3:cpu,cpuacct:/a\n0::/b\n",
			[]hierarchy{one(cpuFolder, cpuFolder+"/a", "rw", "cpu", "cpuacct"),
				two("/sys/fs/cgroup", "/sys/fs/cgroup/b")}},
		{"a container, its path from the whole tree", part, "0::/docker/ab/c\n",
			[]hierarchy{two("/sys/fs/c group", "/sys/fs/c group/c")}},
		{"a path that is not to be seen", unified, "0::/gone\n", []hierarchy{two("/sys/fs/cgroup", "/sys/fs/cgroup")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			exists := func(dir string) bool { return !strings.HasSuffix(dir, "/gone") }
			got := findHierarchies([]byte(c.mounts), []byte(c.own), exists)
			if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(hierarchy{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestLimitsAreWritten into the files of both versions. A plain folder takes the
// kernel's place: no machine has all of them.
func TestLimitsAreWritten(t *testing.T) {
	period := cpuPeriod.Microseconds()
	quota := cpuQuota(1024).Microseconds()
	for _, c := range []struct {
		v2   bool
		want map[string]string
	}{
		{false, map[string]string{"cpu.cfs_period_us": fmt.Sprint(period), "cpu.cfs_quota_us": fmt.Sprint(quota),
			"memory.limit_in_bytes": "1073741824", "memory.memsw.limit_in_bytes": "1073741824", "pids.max": "1025"}},
		{true, map[string]string{"cpu.max": fmt.Sprint(quota, " ", period), "memory.max": "1073741824",
			"memory.swap.max": "0", "pids.max": "1024"}},
	} {
		g := &group{dir: t.TempDir(), v2: c.v2}
		for name := range c.want {
			if err := g.write(name, "max"); err != nil {
				t.Fatal(err)
			}
		}
		for _, limit := range []func(*group, Config) error{limitCPU, limitMemory, limitPIDs} {
			if err := limit(g, Config{MemoryMB: 1024}); err != nil {
				t.Error(err)
			}
		}
		got := map[string]string{}
		for name := range c.want {
			got[name] = g.read(name)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("version 2 %v: %s", c.v2, diff)
		}
	}
}

func TestCPUQuota(t *testing.T) {
	for mb, want := range map[int]time.Duration{
		1769: cpuPeriod, 10240: cpuPeriod * 10240 / 1769, 128: cpuPeriod * 128 / 1769, 1: leastQuota,
	} {
		if got := cpuQuota(mb); got != want {
			t.Errorf("%d MB: %v, want %v", mb, got, want)
		}
	}
}

// TestMemoryIsRead from the files of both versions.
func TestMemoryIsRead(t *testing.T) {
	for v2, files := range map[bool]map[string]string{
		false: {"memory.max_usage_in_bytes": "7000\n", "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"},
		true:  {"memory.peak": "7000\n", "memory.events": "low 0\noom 4\noom_kill 3\n"},
	} {
		g := &group{dir: t.TempDir(), v2: v2}
		for name, text := range files {
			if err := g.write(name, text); err != nil {
				t.Fatal(err)
			}
		}
		s := cgroups{memory: g}
		if peak, kills := s.maxMemory(), s.oomKills(); peak != 7000 || kills != 3 {
			t.Errorf("version 2 %v: %d bytes, %d kills", v2, peak, kills)
		}
	}
}

// TestFreezerOfVersion2 waits for the kernel's word. A plain folder takes the
// kernel's place.
func TestFreezerOfVersion2(t *testing.T) {
	g := &group{dir: t.TempDir(), v2: true}
	if err := g.write("cgroup.events", "populated 1\nfrozen 0\n"); err != nil {
		t.Fatal(err)
	}
	frozen := make(chan error)
	go func() { frozen <- freezerV2{g}.freeze() }()
	eventually(t, "the order to freeze", func() bool { return g.read("cgroup.freeze") == "1" })
	select {
	case err := <-frozen:
		t.Fatalf("did not wait for the kernel: %v", err)
	default:
	}
	whole := filepath.Join(g.dir, "new")
	if err := os.WriteFile(whole, []byte("populated 1\nfrozen 1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(whole, filepath.Join(g.dir, "cgroup.events")); err != nil {
		t.Fatal(err)
	}
	if err := <-frozen; err != nil {
		t.Error(err)
	}
	if err := (freezerV2{g}).thaw(); err != nil || g.read("cgroup.freeze") != "0" {
		t.Errorf("thaw: %v, %q", err, g.read("cgroup.freeze"))
	}
}

// TestNoticesSayWhatIsMissing on a machine that allows nothing, each once.
func TestNoticesSayWhatIsMissing(t *testing.T) {
	nothing := variants()[len(variants())-1].machine
	s := makeSandbox(t, Config{MemoryMB: 512}, nothing)
	notices := s.Notices()
	for _, want := range []string{
		"no cpu group: the CPU share is not limited",
		"no memory group: memory is not limited",
		"no pids group: the number of processes is not limited",
		"no cgroup freezer: freezing by SIGSTOP",
		"no private file system: /tmp is the machine's own and not limited",
	} {
		n := 0
		for _, notice := range notices {
			if strings.HasPrefix(notice, want) {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%q is said %d times in %q", want, n, notices)
		}
	}
	if len(notices) != 5 {
		t.Errorf("%d notices: %q", len(notices), notices)
	}
}

// TestMemoryLimitIsForAllTogether: each process alone would fit.
func TestMemoryLimitIsForAllTogether(t *testing.T) {
	s := makeSandbox(t, Config{MemoryMB: 256}, thisMachine())
	if lacks(s, "no memory group") {
		return // nothing limits it
	}
	var a, b text
	first := startRole(t, s, &a, "eatAndWait", "160")
	eventually(t, "the first one's meal", func() bool { return a.String() != "" })
	second := startRole(t, s, &b, "eatAndWait", "160")
	eventually(t, "a kill", func() bool { return s.OOMKills() == 1 })
	first.Kill()
	second.Kill()
	waitDone(t, first)
	waitDone(t, second)
}

// TestProcessesAreLimited to 1,024 for the whole sandbox.
func TestProcessesAreLimited(t *testing.T) {
	s := makeSandbox(t, Config{}, thisMachine())
	if lacks(s, "no pids group") {
		return // nothing limits it
	}
	var out, problem text
	p, err := s.Start(Command{Path: "/bin/sh", Stdout: &out, Stderr: &problem, Dir: "/", Args: []string{"sh", "-c",
		"n=1; while [ $n -lt 1100 ]; do sleep 1000 & n=$((n+1)); echo $n; done"}})
	if err != nil {
		t.Fatal(err)
	}
	waitDone(t, p)
	counted := strings.Fields(out.String())
	n, err := strconv.Atoi(counted[len(counted)-1])
	if err != nil || n != maxProcesses {
		t.Errorf("%d processes, want %d: %v %s", n, maxProcesses, err, problem.String())
	}
}
