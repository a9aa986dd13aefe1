package sandbox

import (
	"os"
	"testing"
)

// BenchmarkStart is what a start costs, from the call to the process's end and
// last output.
func BenchmarkStart(b *testing.B) {
	s, err := New(Config{ID: newID(), Dir: b.TempDir(), MemoryMB: 8 * mbPerCPU})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	for b.Loop() {
		p, err := s.Start(Command{Path: "/bin/true", Stdout: &text{}})
		if err != nil {
			b.Fatal(err)
		}
		<-p.Done()
	}
}

// BenchmarkPlainExec is what BenchmarkStart has to be compared with.
func BenchmarkPlainExec(b *testing.B) {
	for b.Loop() {
		p, err := os.StartProcess("/bin/true", []string{"true"}, &os.ProcAttr{})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := p.Wait(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkNewAndClose is what an environment's walls cost.
func BenchmarkNewAndClose(b *testing.B) {
	for b.Loop() {
		s, err := New(Config{ID: newID(), Dir: b.TempDir(), MemoryMB: 512})
		if err != nil {
			b.Fatal(err)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
