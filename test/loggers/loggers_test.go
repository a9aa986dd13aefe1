// Package loggers_test has the loggers that functions use, and Lambda's own
// runtimes, write lines, and compares what package parse finds in them with what
// was logged.
package loggers_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"slipstream/process/parse"
	"slipstream/telemetry"
	"slipstream/test/install"
)

// logged is a level as the program names it in its message, and what it means.
type logged struct {
	name  string
	level telemetry.Level
}

// common are the levels that nearly all have.
var common = []logged{{"debug", 5}, {"info", 9}, {"warn", 13}, {"error", 17}}

var python = []logged{{"debug", 5}, {"info", 9}, {"warning", 13}, {"error", 17}, {"critical", 21}}

// with gives levels between one before and some behind.
func with(before logged, levels []logged, behind ...logged) []logged {
	return append(append([]logged{before}, levels...), behind...)
}

// program is one way of logging.
type program struct {
	name   string
	levels []logged
	text   bool // no JSON: only the level is found
}

// written are the lines of a program's both outputs, in order.
func written(t *testing.T, env []string, command ...string) [][]byte {
	t.Helper()
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", command, err, out)
	}
	return lines(out)
}

func lines(out []byte) [][]byte {
	return bytes.SplitAfter(bytes.TrimSuffix(out, []byte("\n")), []byte("\n"))
}

// check compares lines with what was logged: as strings, which is how the
// platform sends them in the Text format, and JSON as objects too.
func (p program) check(t *testing.T, lines [][]byte) {
	t.Helper()
	if len(lines) != len(p.levels) {
		t.Fatalf("%d lines, %d were logged:\n%s", len(lines), len(p.levels), bytes.Join(lines, nil))
	}
	for _, want := range p.levels {
		words := []byte("a " + want.name + ` `)
		// By what they say: the first of pino's may be its last.
		at := slices.IndexFunc(lines, func(line []byte) bool { return bytes.Contains(line, words) })
		if at < 0 {
			t.Errorf("no line of level %s:\n%s", want.name, bytes.Join(lines, nil))
			continue
		}
		line := lines[at]
		quoted, err := json.Marshal(string(line))
		if err != nil {
			t.Fatal(err)
		}
		bodies := [][]byte{quoted}
		if !p.text {
			bodies = append(bodies, line)
		}
		for _, body := range bodies {
			l := telemetry.Log{Type: "function", Body: body}
			new(parse.Parser).Parse(&l)
			if l.Level != want.level {
				t.Errorf("%s: level %d, not %d", line, l.Level, want.level)
			}
			if p.text {
				continue
			}
			var message string
			if err := json.Unmarshal(l.Message, &message); err != nil || !strings.HasPrefix(message, string(words)+`"line"`) {
				t.Errorf("%s: message %s", line, l.Message)
			}
			checkFields(t, line, &l)
		}
	}
}

// checkFields looks for every member of the object in the record, once.
func checkFields(t *testing.T, line []byte, l *telemetry.Log) {
	t.Helper()
	var object map[string]json.RawMessage
	if err := json.Unmarshal(line, &object); err != nil {
		t.Fatal(err)
	}
	for _, f := range l.Fields {
		if !bytes.Equal(object[string(f.Key)], f.Value) {
			t.Errorf("%s: field %s is %s", line, f.Key, f.Value)
		}
		delete(object, string(f.Key))
	}
	for name, value := range object {
		switch {
		case bytes.Equal(value, l.Message):
		case l.Level != 0 && (name == "level" || name == "severity" || name == "levelname" || name == "log.level"):
		default:
			t.Errorf("%s: %s is lost", line, name)
		}
	}
	if !bytes.Contains(line, []byte("42")) {
		t.Errorf("%s: the logger lost the field itself", line)
	}
}

func TestNode(t *testing.T) {
	modules := install.Node(t, "loggers", "node")
	trace, fatal := logged{"trace", 1}, logged{"fatal", 21}
	for _, p := range []program{
		{name: "pino", levels: with(trace, common, logged{"notice", 11}, fatal)},
		{name: "winston", levels: []logged{{"silly", 1}, {"debug", 5}, {"verbose", 7}, {"http", 8}, {"info", 9},
			{"warn", 13}, {"error", 17}}},
		{name: "winston-simple", levels: common, text: true},
		{name: "bunyan", levels: with(trace, common, fatal)},
		{name: "powertools", levels: with(trace, common, logged{"critical", 21})},
	} {
		t.Run(p.name, func(t *testing.T) {
			env := []string{"NODE_PATH=" + filepath.Join(modules, "node_modules")}
			p.check(t, written(t, env, "node", filepath.Join("node", "loggers.js"), p.name))
		})
	}
}

func TestPython(t *testing.T) {
	venv := install.Python(t, "loggers", filepath.Join("python", "requirements.txt"))
	for _, p := range []program{
		{name: "json", levels: python},
		{name: "json-renamed", levels: python},
		{name: "powertools", levels: python},
		{name: "basic", levels: python, text: true},
	} {
		t.Run(p.name, func(t *testing.T) {
			p.check(t, written(t, nil, filepath.Join(venv, "bin", "python"), filepath.Join("python", "loggers.py"), p.name))
		})
	}
}

func TestGo(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "loggers")
	build := exec.Command("go", "build", "-o", binary, ".")
	build.Dir = filepath.Join("..", "..", "tools", "loggers")
	build.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0", "PWD="+build.Dir)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build tools/loggers: %v\n%s", err, out)
	}
	trace, fatal := logged{"trace", 1}, logged{"fatal", 21}
	slog := []logged{trace, {"debug", 5}, {"info", 9}, {"notice", 11}, {"warn", 13}, {"error", 17}}
	for _, p := range []program{
		{name: "zap", levels: append(common[:4:4], logged{"dpanic", 21})},
		{name: "logrus", levels: with(trace, common, fatal)},
		{name: "logrus-text", levels: with(trace, common, fatal), text: true},
		{name: "slog", levels: slog},
		{name: "slog-text", levels: slog, text: true},
		{name: "zerolog", levels: with(trace, common)},
	} {
		t.Run(p.name, func(t *testing.T) { p.check(t, written(t, nil, binary, p.name)) })
	}
}

// The lines are log4j's own, kept: see java/README.md.
func TestJava(t *testing.T) {
	trace, fatal := logged{"trace", 1}, logged{"fatal", 21}
	for _, p := range []program{
		{name: "ecs", levels: with(trace, common, fatal)},
		{name: "logstash", levels: with(trace, common, fatal)},
		{name: "jsonlayout", levels: with(trace, common, fatal)},
		{name: "jsonlayouttemplate", levels: with(trace, common, fatal)},
		{name: "gcp", levels: with(logged{"trace", 5}, common, logged{"fatal", 23})}, // as Google's names go
	} {
		t.Run(p.name, func(t *testing.T) {
			out, err := os.ReadFile(fmt.Sprintf("java/%s.ndjson", p.name))
			if err != nil {
				t.Fatal(err)
			}
			p.check(t, lines(out))
		})
	}
}
