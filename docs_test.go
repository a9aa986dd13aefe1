package slipstream_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	links  = regexp.MustCompile(`\]\(([^)#]+)[^)]*\)`)
	quoted = regexp.MustCompile("`([^`\n]+)`")
	goFile = regexp.MustCompile(`^[a-z]+(/[a-z]+)*/?([a-z_]+\.go)?$`)
)

// Every link between the documents leads somewhere, and every folder or file
// that ARCHITECTURE.md names is there.
func TestDocumentsPointAtWhatExists(t *testing.T) {
	listed, err := exec.Command("git", "ls-files", "-co", "--exclude-standard", "*.md").Output()
	if err != nil {
		t.Fatalf("list the documents: %v (the tests need git)", err)
	}
	for _, name := range strings.Fields(string(listed)) {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, link := range links.FindAllStringSubmatch(string(text), -1) {
			if strings.Contains(link[1], "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(name), link[1])); err != nil {
				t.Errorf("%s links to %s, which is not there", name, link[1])
			}
		}
	}
	text, err := os.ReadFile("ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	roots := map[string]bool{}
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		roots[e.Name()] = true
	}
	found := 0
	for _, q := range quoted.FindAllStringSubmatch(string(text), -1) {
		first, _, isPath := strings.Cut(q[1], "/")
		if !isPath || !roots[first] || !goFile.MatchString(q[1]) {
			continue
		}
		found++
		if _, err := os.Stat(q[1]); err != nil {
			t.Errorf("ARCHITECTURE.md names %s, which is not there", q[1])
		}
	}
	if found < 20 {
		t.Errorf("only %d paths found in ARCHITECTURE.md: the test does not see them any more", found)
	}
}
