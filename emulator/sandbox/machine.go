package sandbox

import (
	"bufio"
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// machine is what a Sandbox may use here. Tests take parts away.
type machine struct {
	hierarchies []hierarchy
	noMounts    error // why there is no private file system; nil means try
}

// hierarchy is a mounted control group tree.
type hierarchy struct {
	v2          bool
	mount       string   // where it is mounted
	base        string   // the folder of this process's own group
	controllers []string // of version 1
}

// thisMachine looks at what is mounted here.
func thisMachine() machine {
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	own, _ := os.ReadFile("/proc/self/cgroup")
	return machine{hierarchies: findHierarchies(mounts, own, func(dir string) bool {
		info, err := os.Stat(dir)
		return err == nil && info.IsDir()
	})}
}

// findHierarchies reads the kernel's lists of mounts and of this process's
// groups (proc(5), cgroups(7)).
func findHierarchies(mountinfo, own []byte, exists func(dir string) bool) []hierarchy {
	var all []hierarchy
	for line := range lines(mountinfo) {
		before, after, found := strings.Cut(line, " - ")
		where, what := strings.Fields(before), strings.Fields(after)
		if !found || len(where) < 6 || len(what) < 3 {
			continue
		}
		h := hierarchy{v2: what[0] == "cgroup2", mount: unescape(where[4])}
		switch what[0] {
		case "cgroup":
			h.controllers = strings.Split(what[2], ",")
		case "cgroup2":
		default:
			continue
		}
		path := ownGroup(own, h)
		// A container may see only a part of the tree, and its own path from that
		// part's root or from the whole tree's.
		rest := strings.TrimPrefix(path, strings.TrimSuffix(unescape(where[3]), "/"))
		h.base = filepath.Join(h.mount, rest)
		if !exists(h.base) {
			h.base = h.mount
		}
		all = append(all, h)
	}
	return all
}

// ownGroup finds this process's path in a hierarchy.
func ownGroup(own []byte, h hierarchy) string {
	for line := range lines(own) {
		fields := strings.SplitN(line, ":", 3)
		if len(fields) != 3 {
			continue
		}
		if h.v2 && fields[0] == "0" && fields[1] == "" {
			return fields[2]
		}
		for _, name := range strings.Split(fields[1], ",") {
			if !h.v2 && name != "" && slices.Contains(h.controllers, name) {
				return fields[2]
			}
		}
	}
	return "/"
}

func lines(text []byte) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for s := bufio.NewScanner(bytes.NewReader(text)); s.Scan(); {
			if !yield(s.Text()) {
				return
			}
		}
	}
}

// unescape undoes mountinfo's octal escapes of space, tab, newline and
// backslash.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// find gives the first hierarchy with a version 1 controller.
func (m machine) find(controller string) (hierarchy, bool) {
	for _, h := range m.hierarchies {
		if !h.v2 && slices.Contains(h.controllers, controller) {
			return h, true
		}
	}
	return hierarchy{}, false
}

// unified gives the version 2 hierarchy.
func (m machine) unified() (hierarchy, bool) {
	for _, h := range m.hierarchies {
		if h.v2 {
			return h, true
		}
	}
	return hierarchy{}, false
}
