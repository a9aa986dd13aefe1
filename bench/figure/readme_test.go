package figure

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

//go:generate go test . -run TestReadmeFigures -update

var update = flag.Bool("update", false, "write the table of figures into the README")

const (
	readme  = "../../README.md"
	results = "../results.json"
	begin   = "<!-- figures -->\n"
	end     = "<!-- /figures -->"
)

func TestReadmeFigures(t *testing.T) {
	reports, err := Read(results)
	if err != nil {
		t.Fatal(err)
	}
	table, err := Table(reports)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, opened := strings.Cut(string(text), begin)
	shown, after, closed := strings.Cut(rest, end)
	if !opened || !closed {
		t.Fatalf("README.md has no lines %q and %q: put them where the table of figures belongs, then run "+
			"go generate ./bench/figure", strings.TrimSpace(begin), end)
	}
	if *update {
		if err := os.WriteFile(readme, []byte(before+begin+table+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(table, shown); diff != "" {
		t.Errorf("README.md does not show what bench/results.json holds: run go generate ./bench/figure\n%s", diff)
	}
}

// What is kept and claimed keeps the goals.
func TestKeptResultsMeetTheGoals(t *testing.T) {
	reports, err := Read(results)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range reports {
		for _, f := range r.Figures {
			if goal, ok := GoalOf(f.Name); ok && !goal.Met(f.Value) {
				t.Errorf("%s is %v %s, the goal is at most %v", f.Name, f.Value, f.Unit, goal.AtMost)
			}
		}
	}
}
