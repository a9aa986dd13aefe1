package host

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipstream/telemetry/usage"
)

var at = time.Date(2026, 10, 1, 9, 0, 0, 0, time.UTC)

// The real /proc of this machine: what is used must be seen.
func TestRead(t *testing.T) {
	r := New(Config{Temp: t.TempDir(), Missing: func(source string) { t.Errorf("%s is missing", source) }})
	defer r.Close()
	first := r.Read(at)
	var files []*os.File
	for range 20 {
		f, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	for start := ownTime(t); ownTime(t)-start < 50*time.Millisecond; {
		runtime.Gosched()
	}
	u := r.Read(at.Add(time.Second))
	for _, f := range files {
		f.Close()
	}
	const counters = usage.CPU | usage.Network | usage.OwnCPU
	if u.Known != 0xff || first.Known != 0xff&^counters {
		t.Errorf("known %b, then %b", first.Known, u.Known)
	}
	if u.Since != time.Second || first.Since != 0 {
		t.Errorf("since %v, then %v", first.Since, u.Since)
	}
	if u.OwnCPU < 50*time.Millisecond || u.CPUUser+u.CPUSystem+u.CPUIdle <= 0 {
		t.Errorf("CPU time %v and %v, own %v", u.CPUUser, u.CPUSystem, u.OwnCPU)
	}
	if u.OwnMemory < 1<<20 || u.MemoryUsed <= 0 || u.MemoryTotal <= u.MemoryUsed || u.TempFree <= 0 {
		t.Errorf("memory %d of %d, own %d, free %d", u.MemoryUsed, u.MemoryTotal, u.OwnMemory, u.TempFree)
	}
	if u.Processes < 1 || u.Threads < u.Processes || u.Descriptors < 20 {
		t.Errorf("%d processes, %d threads, %d descriptors", u.Processes, u.Threads, u.Descriptors)
	}
}

func ownTime(t *testing.T) time.Duration {
	t.Helper()
	d, ok := ownCPU()
	if !ok {
		t.Fatal("no getrusage")
	}
	return d
}

// stand writes a /proc of two processes.
func stand(t *testing.T, stat, net string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"stat": stat, "net/dev": net, "meminfo": memoryText, "self/statm": statmText,
		"17/stat": pidText, "17/fd/0": "", "17/fd/1": "", "99/stat": pidText, "99/fd/12": "", "sys/x": ""} {
		if text == "-" {
			continue
		}
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestReadTexts(t *testing.T) {
	dir := stand(t, statText, netText)
	r := New(Config{Proc: dir, Temp: dir, Missing: func(source string) { t.Errorf("%s is missing", source) }})
	defer r.Close()
	r.Read(at)
	for name, text := range map[string]string{
		"stat":    "cpu  33 1 27 7102 21 2 3 9 0 0\n",
		"net/dev": "vinternal_1: 180424 1 0 0 0 0 0 0 64311 1 0 0 0 0 0 0\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	u := r.Read(at.Add(time.Second))
	want := usage.Reading{
		Known: 0xff, Since: time.Second, CPUUser: 100 * time.Millisecond, CPUSystem: 100 * time.Millisecond,
		CPUIdle: time.Second, Received: 100, Sent: 100, MemoryUsed: (183832 - 101372) << 10, MemoryTotal: 183832 << 10,
		Processes: 2, Threads: 22, Descriptors: 3, OwnMemory: 1200 * int64(os.Getpagesize()),
		TempUsed: u.TempUsed, TempFree: u.TempFree, OwnCPU: u.OwnCPU,
	}
	if diff := cmp.Diff(want, u); diff != "" {
		t.Error(diff)
	}
}

// What is missing or unreadable is told once; the rest goes on.
func TestMissing(t *testing.T) {
	dir := stand(t, "-", "no table\n")
	var told []string
	r := New(Config{Proc: dir, Temp: filepath.Join(dir, "none"), Missing: func(source string) {
		told = append(told,
			source)
	}})
	defer r.Close()
	for range 3 {
		u := r.Read(at)
		if u.Known&(usage.CPU|usage.Network|usage.Temp) != 0 || u.Known&usage.Memory == 0 {
			t.Errorf("known %b", u.Known)
		}
	}
	if diff := cmp.Diff([]string{"stat", "tmp", "net/dev"}, told); diff != "" {
		t.Error(diff)
	}
	told = nil
	empty := New(Config{Proc: filepath.Join(dir, "none"), Temp: dir, Missing: func(source string) {
		told = append(told,
			source)
	}})
	defer empty.Close()
	empty.Read(at)
	if len(told) != 5 {
		t.Errorf("without any /proc: %s are missing", told)
	}
}

func TestNoAllocation(t *testing.T) {
	dir := stand(t, statText, netText)
	for _, proc := range []string{dir, "/proc"} {
		r := New(Config{Proc: proc, Temp: dir})
		r.Read(at)
		if n := testing.AllocsPerRun(20, func() { r.Read(at) }); n != 0 {
			t.Errorf("%s: %v allocations a reading, want none", proc, n)
		}
		r.Close()
	}
}

func BenchmarkRead(b *testing.B) {
	r := New(Config{})
	defer r.Close()
	u := r.Read(at)
	b.ReportAllocs()
	for b.Loop() {
		u = r.Read(at)
	}
	b.ReportMetric(float64(u.Processes), "processes")
	b.ReportMetric(float64(u.Descriptors), "descriptors")
}
