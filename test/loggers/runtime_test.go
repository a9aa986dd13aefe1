package loggers_test

import (
	"bytes"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"slipstream/process/parse"
	"slipstream/telemetry"
	"slipstream/test/install"
)

const requestID = "3b0e4c1d-0a53-4a0e-9f5f-2f1f7a6f6a01"

// invoke has a runtime's client serve one invocation, and gives what it wrote.
// The Runtime API here is as little as it takes: the client is what is looked at.
func invoke(t *testing.T, folder string, env []string, command ...string) [][]byte {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	over := make(chan struct{})
	var asked atomic.Bool
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case !strings.HasSuffix(r.URL.Path, "/invocation/next"):
			w.WriteHeader(http.StatusAccepted)
		case asked.CompareAndSwap(false, true):
			w.Header().Set("Lambda-Runtime-Aws-Request-Id", requestID)
			w.Header().Set("Lambda-Runtime-Deadline-Ms", "4102444800000")
			w.Header().Set("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:eu-west-1:123456789012:function:f")
			_, _ = w.Write([]byte("{}")) // the test fails without it
		default: // all has been written
			close(over)
			<-r.Context().Done()
		}
	})}
	go func() { _ = server.Serve(listener) }()
	defer server.Close()
	var out bytes.Buffer
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = folder, &out, &out
	cmd.Env = append(os.Environ(), append(env, "AWS_LAMBDA_RUNTIME_API="+listener.Addr().String(),
		"AWS_LAMBDA_FUNCTION_NAME=f", "AWS_LAMBDA_FUNCTION_VERSION=1", "AWS_REGION=eu-west-1",
		"AWS_LAMBDA_NODEJS_USE_ALTERNATIVE_CLIENT_1=true")...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case <-over:
		_ = cmd.Process.Kill() // it waits for another invocation
		<-ended
	case err := <-ended:
		t.Fatalf("%v ended: %v\n%s", command, err, out.Bytes())
	case <-time.After(time.Minute):
		_ = cmd.Process.Kill()
		<-ended
		t.Fatalf("%v does not ask for another invocation\n%s", command, out.Bytes())
	}
	return lines(out.Bytes())
}

// found is what is wanted of a line.
type found struct {
	level   telemetry.Level
	message string // the beginning of it, "-" for none
	field   string
}

// expect compares the lines that have a level with what is wanted.
func expect(t *testing.T, lines [][]byte, want []found) {
	t.Helper()
	at := 0
	for _, line := range lines {
		body, err := json.Marshal(string(line))
		if err != nil {
			t.Fatal(err)
		}
		l := telemetry.Log{Type: "function", Body: body}
		new(parse.Parser).Parse(&l)
		if l.Level == 0 {
			continue // the further lines of a stack trace, which Lambda sends along with the first
		}
		if at == len(want) {
			t.Fatalf("one line more: %s", line)
		}
		w := want[at]
		at++
		message := "-"
		if l.Message != nil {
			if err := json.Unmarshal(l.Message, &message); err != nil { // an object
				message = string(l.Message)
			}
		}
		field := ""
		for _, f := range l.Fields {
			if string(f.Key) == "requestId" || string(f.Key) == "errorType" || string(f.Key) == "order" {
				field += string(f.Key) + "=" + string(f.Value) + " "
			}
		}
		if l.Level != w.level || !strings.HasPrefix(message, w.message) || strings.TrimSpace(field) != w.field {
			t.Errorf("%s: level %d, message %q, fields %q, want %+v", line, l.Level, message, field, w)
		}
	}
	if at != len(want) {
		t.Errorf("%d lines have a level, want %d:\n%s", at, len(want), bytes.Join(lines, nil))
	}
}

func TestPythonRuntime(t *testing.T) {
	venv := install.Python(t, "loggers", filepath.Join("python", "requirements.txt"))
	folder, err := filepath.Abs("python")
	if err != nil {
		t.Fatal(err)
	}
	env := []string{"PYTHONPATH=" + folder, "LAMBDA_TASK_ROOT=" + folder}
	command := []string{filepath.Join(venv, "bin", "python"), "-m", "awslambdaric", "function.handler"}
	const id = `requestId="` + requestID + `"`
	expect(t, invoke(t, folder, append(env, "AWS_LAMBDA_LOG_FORMAT=Text"), command...), []found{
		{5, `a debug "line"`, ""}, {9, `a info "line"`, ""}, {13, `a warning "line"`, ""}, {17, `a error "line"`, ""},
		{21, `a critical "line"`, ""}, {17, "-", ""}, // [ERROR] ValueError: no stock
	})
	expect(t, invoke(t, folder, append(env, "AWS_LAMBDA_LOG_FORMAT=JSON"), command...), []found{
		{5, `a debug "line"`, id + " order=42"}, {9, `a info "line"`, id + " order=42"},
		{13, `a warning "line"`, id + " order=42"}, {17, `a error "line"`, id + " order=42"},
		{21, `a critical "line"`, id + " order=42"}, {17, "no stock", `errorType="ValueError" ` + id},
	})
}

func TestNodeRuntime(t *testing.T) {
	modules := install.Node(t, "loggers", "node")
	folder, err := filepath.Abs("node")
	if err != nil {
		t.Fatal(err)
	}
	env := []string{"LAMBDA_TASK_ROOT=" + folder, "_HANDLER=function.handler"}
	command := []string{"node", "--require", filepath.Join(folder, "preload.js"),
		filepath.Join(modules, "node_modules", "aws-lambda-ric", "bin", "index.mjs"), "function.handler"}
	expect(t, invoke(t, folder, append(env, "AWS_LAMBDA_LOG_FORMAT=Text"), command...), []found{
		{5, `a debug "line"`, ""}, {9, `a info "line"`, ""}, {13, `a warn "line"`, ""}, {17, `a error "line"`, ""},
		{13, "a warn in JSON", "order=42"}, {17, "Invoke Error \t{", ""},
	})
	const id = `requestId="` + requestID + `"`
	expect(t, invoke(t, folder, append(env, "AWS_LAMBDA_LOG_FORMAT=JSON"), command...), []found{
		{5, `a debug "line"`, id}, {9, `a info "line"`, id}, {13, `a warn "line"`, id}, {17, `a error "line"`, id},
		{9, `{"level":"warn"`, id}, {17, `{"errorType":"RangeError"`, id},
	})
}
