// Command extension is the extension under test: it prints what it gets and
// misbehaves as the variable EXT_<its name> says.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// plan is what EXT_<name> holds, as JSON.
type plan struct {
	Name         string   // to register under, instead of the file's
	Events       []string // INVOKE and SHUTDOWN unless given
	NoRegister   bool
	NoNext       bool   // never calls next
	NoNextAfter  string // type of the event after which it never calls next
	InitError    string // posted after register, then exit 1
	ExitError    string // posted on INVOKE, then exit 1
	ExitInit     *int   // exit code, after register
	ExitInvoke   *int   // exit code, on INVOKE
	ExitShutdown int    // exit code, on SHUTDOWN
	Gate         string // a URL fetched on INVOKE: its server decides when to go on
	Telemetry    bool   // subscribe, all types
	Late         bool   // subscribe on INVOKE, which is too late
	Logs         bool   // subscribe with the Logs API instead
	Env          bool   // print the variables
	Schema       string // of the Telemetry subscription, 2022-12-13 unless given
	BufferMs     int    // of the Telemetry subscription, 25 unless given
	Holds        string // text that must have been received when SHUTDOWN comes
	ExitGate     string // a URL fetched in the background: then exit 7
}

var (
	name = filepath.Base(os.Args[0])
	base = "http://" + os.Getenv("AWS_LAMBDA_RUNTIME_API")
	id   string
)

func main() {
	p := plan{Events: []string{"INVOKE", "SHUTDOWN"}, Schema: "2022-12-13", BufferMs: 25}
	if text := os.Getenv("EXT_" + name); text != "" {
		check(json.Unmarshal([]byte(text), &p))
	}
	if p.Env {
		say("env " + strings.Join(os.Environ(), " "))
	}
	if p.NoRegister {
		time.Sleep(time.Hour)
	}
	register(p)
	if p.Telemetry || p.Logs {
		subscribe(p)
	}
	if p.ExitGate != "" {
		go func() {
			_, err := http.Get(p.ExitGate)
			check(err)
			os.Exit(7)
		}()
	}
	if p.InitError != "" {
		call("POST", "/extension/init/error", "", "Lambda-Extension-Function-Error-Type", p.InitError)
		os.Exit(1)
	}
	if p.ExitInit != nil {
		os.Exit(*p.ExitInit)
	}
	for last := ""; !p.NoNext; {
		e := next()
		if e.EventType == "SHUTDOWN" && p.Holds != "" {
			telemetry.mu.Lock()
			say(fmt.Sprintf("holds %s=%v", p.Holds, strings.Contains(telemetry.text, p.Holds)))
			telemetry.mu.Unlock()
		}
		if e.EventType == "SHUTDOWN" && (p.Telemetry || p.Logs) {
			awaitLast(last)
		}
		react(p, e)
		last = e.RequestID
	}
	time.Sleep(time.Hour)
}

type event struct {
	EventType, RequestID, ShutdownReason string
	DeadlineMs                           int64
}

func react(p plan, e event) {
	if e.EventType == "SHUTDOWN" {
		left := time.Until(time.UnixMilli(e.DeadlineMs))
		say(fmt.Sprintf("SHUTDOWN %s within-2s=%v", e.ShutdownReason, left > 0 && left <= 2*time.Second))
		if p.NoNextAfter != "SHUTDOWN" {
			os.Exit(p.ExitShutdown)
		}
	} else {
		say("INVOKE " + e.RequestID)
	}
	if p.Late {
		p.Logs = false
		subscribe(p)
	}
	switch {
	case p.NoNextAfter == e.EventType:
		time.Sleep(time.Hour)
	case p.ExitError != "":
		call("POST", "/extension/exit/error", "", "Lambda-Extension-Function-Error-Type", p.ExitError)
		os.Exit(1)
	case p.ExitInvoke != nil:
		os.Exit(*p.ExitInvoke)
	case p.Gate != "":
		resp, err := http.Get(p.Gate)
		check(err)
		_ = resp.Body.Close()
	}
}

func register(p plan) {
	registered := name
	if p.Name != "" {
		registered = p.Name
	}
	events, _ := json.Marshal(map[string][]string{"events": p.Events})
	status, header, body := call("POST", "/extension/register", string(events), "Lambda-Extension-Name", registered,
		"Lambda-Extension-Accept-Feature", "accountId")
	id = header.Get("Lambda-Extension-Identifier")
	say(fmt.Sprintf("registered %d %s %s", status, body, id))
	if status != http.StatusOK {
		os.Exit(3)
	}
}

func next() event {
	status, _, body := call("GET", "/extension/event/next", "")
	var e event
	if status != http.StatusOK {
		say(fmt.Sprintf("next %d %s", status, body))
		time.Sleep(time.Hour)
	}
	check(json.Unmarshal(body, &e))
	return e
}

// telemetry is all that has been received.
var telemetry struct {
	mu     sync.Mutex
	text   string
	server http.Server
}

// awaitLast waits for the report of the last invocation, which comes in Shutdown
// at the latest; without an invocation for a while. It returns when what has been
// received is also answered: the platform counts the rest as not delivered.
func awaitLast(requestID string) {
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
		defer cancel()
		_ = telemetry.server.Shutdown(ctx)
	}()
	patience := 1500 * time.Millisecond
	if requestID == "" {
		patience /= 4
	}
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		telemetry.mu.Lock()
		_, after, _ := strings.Cut(telemetry.text, `"type":"platform.report","record":{"requestId":"`+requestID)
		telemetry.mu.Unlock()
		if after != "" && requestID != "" {
			return
		}
	}
}

// subscribe receives telemetry on a port of its own; the emulator's observers
// see what is delivered.
func subscribe(p plan) {
	listener, err := net.Listen("tcp", "sandbox.localdomain:0")
	check(err)
	telemetry.server.Handler = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		telemetry.mu.Lock()
		defer telemetry.mu.Unlock()
		telemetry.text += string(body)
	})
	go func() { _ = telemetry.server.Serve(listener) }()
	path, version := "/2022-07-01/telemetry", p.Schema
	if p.Logs {
		path, version = "/2020-08-15/logs", "2021-03-18"
	}
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	body := fmt.Sprintf(`{"schemaVersion":%q,"types":["platform","function"],"buffering":{"timeoutMs":%d,"maxItems":1000,`+
		`"maxBytes":262144},"destination":{"protocol":"HTTP","URI":"http://sandbox.localdomain:%s/"}}`,
		version, p.BufferMs, port)
	r, err := http.NewRequest("PUT", base+path, strings.NewReader(body))
	check(err)
	r.Header.Set("Lambda-Extension-Identifier", id)
	resp, err := http.DefaultClient.Do(r)
	check(err)
	text, _ := io.ReadAll(resp.Body)
	say(fmt.Sprintf("subscribed %d %s", resp.StatusCode, text))
}

func call(method, path, body string, headers ...string) (int, http.Header, []byte) {
	r, err := http.NewRequest(method, base+"/2020-01-01"+path, strings.NewReader(body))
	check(err)
	if !slices.Contains(headers, "Lambda-Extension-Name") {
		r.Header.Set("Lambda-Extension-Identifier", id)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	check(err)
	text, err := io.ReadAll(resp.Body)
	check(err)
	_ = resp.Body.Close()
	return resp.StatusCode, resp.Header, text
}

func say(text string) { fmt.Println("[" + name + "] " + text) }

func check(err error) {
	if err != nil {
		say(err.Error())
		os.Exit(3)
	}
}
