package behind

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Each thread says in its status what it is; the field is the 41st of stat.
func TestEveryThreadStepsBack(t *testing.T) {
	if err := Step(); err != nil {
		t.Fatal(err)
	}
	paths, err := filepath.Glob("/proc/self/task/*/stat")
	if err != nil || len(paths) == 0 {
		t.Fatal(paths, err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		_, after, _ := strings.Cut(string(text), ") ") // the name before may hold anything
		if policy := strings.Fields(after)[38]; policy != "3" {
			t.Errorf("%s: policy %s", path, policy)
		}
	}
}
