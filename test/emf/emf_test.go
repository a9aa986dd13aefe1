// Package emf_test has the libraries that functions write metrics with, Powertools
// for AWS Lambda in Python and TypeScript, write documents of the embedded metric
// format, and compares the points found in them with what they were asked for.
package emf_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipstream/process/logmetric"
	"slipstream/telemetry"
	"slipstream/test/install"
)

// want is what a library was asked for, in CloudWatch's words.
type want struct {
	Namespace, Name, Unit string
	Values                []float64
	Dimensions            map[string]string
}

// ucum are CloudWatch's units by the rules of UCUM, written down once more.
var ucum = map[string]string{
	"None": "", "Seconds": "s", "Microseconds": "us", "Milliseconds": "ms", "Percent": "%",
	"Count": "{count}", "Count/Second": "{count}/s",
}

func unit(t *testing.T, name string) string {
	t.Helper()
	if u, ok := ucum[name]; ok {
		return u
	}
	of, rate := strings.CutSuffix(name, "/Second")
	for prefix, short := range map[string]string{"": "", "Kilo": "k", "Mega": "M", "Giga": "G", "Tera": "T"} {
		for long, letter := range map[string]string{"bytes": "By", "bits": "bit"} {
			if strings.EqualFold(of, prefix+long) {
				if rate {
					letter += "/s"
				}
				return short + letter
			}
		}
	}
	t.Fatalf("unit %q is none of CloudWatch's", name)
	return ""
}

// text writes a point, however it was found.
func text(name, unit string, tags map[string]string, counts map[float64]float64) string {
	// Maps are written in the order of their keys.
	return fmt.Sprintf("%s %s %v %v", name, unit, tags, counts)
}

// produce runs a program that writes documents to stdout and what it was asked for
// to stderr.
func produce(t *testing.T, env []string, command ...string) (lines [][]byte, points []string) {
	t.Helper()
	var out, asked bytes.Buffer
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), env...), &out, &asked
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s", command, err, asked.Bytes())
	}
	for s := bufio.NewScanner(&asked); s.Scan(); {
		var w want
		if err := json.Unmarshal(s.Bytes(), &w); err != nil {
			t.Fatalf("%s: %v", s.Bytes(), err)
		}
		counts := map[float64]float64{}
		for _, v := range w.Values {
			counts[v]++
		}
		points = append(points, text(w.Namespace+"."+w.Name, unit(t, w.Unit), w.Dimensions, counts))
	}
	return bytes.SplitAfter(bytes.TrimSpace(out.Bytes()), []byte("\n")), points
}

// find gives the points of the lines, as bodies in the text or in the JSON log format.
func find(t *testing.T, lines [][]byte, asObjects bool) (points []string) {
	t.Helper()
	x := logmetric.New(logmetric.Config{EMF: logmetric.Consume, Lines: logmetric.Consume,
		Drop: func(r logmetric.Reason) { t.Errorf("a metric is dropped: %s", r) }})
	kept := 0
	for _, line := range lines {
		body, err := json.Marshal(string(line))
		if err != nil {
			t.Fatal(err)
		}
		if asObjects && json.Valid(line) {
			body = bytes.TrimSpace(line)
		}
		consumed := x.Take(&telemetry.Log{Type: "function", Body: body}, func(p *telemetry.Point) {
			if age := time.Since(p.Time); age < 0 || age > time.Hour {
				t.Errorf("%s is of %v", p.Name, p.Time)
			}
			tags, counts := map[string]string{}, map[float64]float64{}
			for _, tag := range p.Tags {
				tags[string(tag.Key)] = string(tag.Value)
			}
			for _, c := range p.Centroids {
				counts[c.Value] = c.Count
			}
			if p.Centroids == nil {
				counts[p.Value] = p.Count
			}
			points = append(points, text(string(p.Name), p.Unit, tags, counts))
		})
		if !consumed {
			kept++
		}
	}
	if kept != 1 {
		t.Errorf("%d lines are kept as records, want the one without metrics", kept)
	}
	return points
}

// compare has what was found in both log formats be what was asked for.
func compare(t *testing.T, lines [][]byte, asked []string) {
	t.Helper()
	if len(asked) < 30 {
		t.Errorf("the program asked for %d metrics only", len(asked))
	}
	slices.Sort(asked)
	for _, asObjects := range []bool{false, true} {
		found := find(t, lines, asObjects)
		slices.Sort(found)
		if diff := cmp.Diff(asked, found); diff != "" {
			t.Errorf("as objects %v: asked for (-), found (+):\n%s", asObjects, diff)
		}
	}
}

func TestPython(t *testing.T) {
	venv := install.Python(t, "emf", "python/requirements.txt")
	lines, asked := produce(t, nil, filepath.Join(venv, "bin", "python"), "python/producer.py")
	compare(t, lines, asked)
}

func TestNode(t *testing.T) {
	modules := install.Node(t, "emf", "node")
	env := []string{"NODE_PATH=" + filepath.Join(modules, "node_modules"), "AWS_LAMBDA_INITIALIZATION_TYPE=on-demand"}
	lines, asked := produce(t, env, "node", "node/producer.js")
	compare(t, lines, asked)
}
