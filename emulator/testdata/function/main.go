// Command function is the function under test: it speaks the Runtime API with
// nothing but net/http and does what each event says.
package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// event says what to do, in the order of the fields.
type event struct {
	Print    []string // lines
	PrintMB  int      // lines of 1 KiB
	Write    string   // NAME=TEXT, a file
	Gate     string   // a URL to fetch: its server decides when to go on
	AllocMB  int      // memory to touch
	SleepMs  int
	Exit     *int   // exit code
	Error    string // post .../error with this type
	Size     int    // of the response, or of the error, bytes
	Stream   []string
	Opened   string // a URL fetched when the stream is open and empty
	Breaks   string // the stream's trailers say this error type
	Read     string // answer with this file's text
	Call     string // answer with what the function of this name answers
	Env      bool   // answer with the variables
	GateNext string // fetched after the response, before next
	ExitNext *int   // exit code, after the response
}

var base = "http://" + os.Getenv("AWS_LAMBDA_RUNTIME_API")

func main() {
	initialise()
	for range workers() - 1 {
		go work()
	}
	work()
}

// workers is how many invocations may run at once.
func workers() int {
	for _, name := range []string{"WORKERS", "AWS_LAMBDA_MAX_CONCURRENCY"} {
		if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
			return n
		}
	}
	return 1
}

func work() {
	for {
		resp, err := http.Get(base + "/2018-06-01/runtime/invocation/next")
		check(err)
		body, err := io.ReadAll(resp.Body)
		check(err)
		var e event
		_ = json.Unmarshal(body, &e)
		handle(e, resp.Header, body)
	}
}

// initialise does what INIT says, a comma separated list.
func initialise() {
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM)
	stubborn := strings.Contains(os.Getenv("INIT"), "stubborn")
	go func() {
		<-terminated
		fmt.Println("function: SIGTERM")
		if !stubborn {
			os.Exit(0)
		}
	}()
	for _, step := range strings.Split(os.Getenv("INIT"), ",") {
		name, value, _ := strings.Cut(step, "=")
		switch name {
		case "sleep":
			d, err := time.ParseDuration(value)
			check(err)
			time.Sleep(d)
		case "exit":
			os.Exit(len(value))
		case "error":
			post("/runtime/init/error", `{"errorMessage":"no","errorType":"Nope"}`, "Lambda-Runtime-Function-Error-Type", value)
			os.Exit(1)
		case "count": // in the background, for ever, in this file
			go count(value)
		case "internal":
			go internal(value)
		case "unless": // this file exists
			if _, err := os.Stat(value); err == nil {
				fmt.Println("function: broken")
				os.Exit(1)
			}
		case "restore":
			restore(value)
		case "once": // hangs in the first life of the environment
			if _, err := os.Stat("/tmp/" + value); err != nil {
				check(os.WriteFile("/tmp/"+value, nil, 0o644))
				time.Sleep(time.Hour)
			}
		}
	}
	if strings.Contains(os.Getenv("INIT"), "internal") {
		<-registered
	}
}

// restore lets the platform take its snapshot, and runs an after-restore hook that
// fails as kind says.
func restore(kind string) {
	fmt.Println("function: before the snapshot")
	resp, err := http.Get(base + "/2018-06-01/runtime/restore/next")
	check(err)
	text, _ := io.ReadAll(resp.Body)
	fmt.Printf("function: restored %d %q\n", resp.StatusCode, text)
	switch kind {
	case "error", "initerror":
		post("/runtime/"+map[string]string{"error": "restore", "initerror": "init"}[kind]+"/error",
			`{"errorMessage":"no","errorType":"Nope"}`, "Lambda-Runtime-Function-Error-Type", "Function.HookFailed")
		os.Exit(1)
	case "exit":
		os.Exit(3)
	case "hang":
		time.Sleep(time.Hour)
	case "once": // fails the first time in this environment
		if _, err := os.Stat("/tmp/restored"); err != nil {
			check(os.WriteFile("/tmp/restored", nil, 0o644))
			os.Exit(3)
		}
	}
}

func count(path string) {
	for n := 1; ; n++ {
		check(os.WriteFile(path+".new", fmt.Appendf(nil, "%020d", n), 0o644))
		check(os.Rename(path+".new", path))
		time.Sleep(2 * time.Millisecond)
	}
}

var registered = make(chan struct{})

// internal is an extension inside the function's process.
func internal(name string) {
	register := func(name, events string) *http.Response {
		r, err := http.NewRequest("POST", base+"/2020-01-01/extension/register", strings.NewReader(events))
		check(err)
		r.Header.Set("Lambda-Extension-Name", name)
		resp, err := http.DefaultClient.Do(r)
		check(err)
		return resp
	}
	events := os.Getenv("INTERNAL_EVENTS")
	if events == "" {
		events = `["INVOKE"]`
	}
	resp := register(name, `{"events":`+events+`}`)
	fmt.Println("internal: registered", resp.StatusCode)
	close(registered)
	for resp.StatusCode == http.StatusOK {
		r, err := http.NewRequest("GET", base+"/2020-01-01/extension/event/next", nil)
		check(err)
		r.Header.Set("Lambda-Extension-Identifier", resp.Header.Get("Lambda-Extension-Identifier"))
		next, err := http.DefaultClient.Do(r)
		check(err)
		var e struct{ EventType, RequestID string }
		check(json.NewDecoder(next.Body).Decode(&e))
		late, _ := io.ReadAll(register("late", `{}`).Body)
		fmt.Println("internal:", e.EventType, string(late))
	}
}

func handle(e event, header http.Header, body []byte) {
	id := header.Get("Lambda-Runtime-Aws-Request-Id")
	for _, line := range e.Print {
		fmt.Println(line)
	}
	for range e.PrintMB {
		fmt.Print(strings.Repeat(strings.Repeat("x", 1023)+"\n", 1024))
	}
	if name, text, ok := strings.Cut(e.Write, "="); ok {
		check(os.WriteFile(name, []byte(text), 0o644))
	}
	gate(e.Gate)
	if e.AllocMB > 0 {
		hog := bytes.Repeat([]byte{1}, e.AllocMB<<20)
		defer func() { _ = hog[0] }()
	}
	time.Sleep(time.Duration(e.SleepMs) * time.Millisecond)
	if e.Exit != nil {
		os.Exit(*e.Exit)
	}
	switch {
	case e.Error != "":
		post("/runtime/invocation/"+id+"/error",
			`{"errorMessage":"handler`+strings.Repeat("x", e.Size)+`","errorType":"`+e.Error+`"}`,
			"Lambda-Runtime-Function-Error-Type", e.Error)
	case len(e.Stream) > 0:
		stream(id, e)
	default:
		post("/runtime/invocation/"+id+"/response", answer(e, header, body), "Content-Type", "application/json")
	}
	gate(e.GateNext)
	if e.ExitNext != nil {
		os.Exit(*e.ExitNext)
	}
}

func answer(e event, header http.Header, body []byte) string {
	var value any = map[string]any{"event": string(body), "trace": header.Get("Lambda-Runtime-Trace-Id"),
		"arn": header.Get("Lambda-Runtime-Invoked-Function-Arn"), "context": header.Get("Lambda-Runtime-Client-Context")}
	switch {
	case e.Size > 0:
		return strings.Repeat("x", e.Size)
	case e.Read != "":
		text, err := os.ReadFile(e.Read)
		value = fmt.Sprint(string(text), err)
	case e.Call != "":
		return call(e.Call)
	case e.Env:
		value = os.Environ()
	}
	text, err := json.Marshal(value)
	check(err)
	return string(text)
}

// call invokes another function of the same emulator.
func call(name string) string {
	resp, err := http.Post(os.Getenv("AWS_ENDPOINT_URL_LAMBDA")+"/2015-03-31/functions/"+name+"/invocations",
		"application/json", strings.NewReader(`{"Env":true}`))
	check(err)
	text, err := io.ReadAll(resp.Body)
	check(err)
	return string(text)
}

func stream(id string, e event) {
	body, feed := io.Pipe()
	go func() {
		gate(e.Opened)
		for _, part := range e.Stream {
			_, _ = feed.Write([]byte(part))
		}
		_ = feed.Close()
	}()
	r, err := http.NewRequest("POST", base+"/2018-06-01/runtime/invocation/"+id+"/response", body)
	check(err)
	r.Header.Set("Lambda-Runtime-Function-Response-Mode", "streaming")
	if e.Breaks != "" {
		r.Trailer = http.Header{"Lambda-Runtime-Function-Error-Type": {e.Breaks},
			"Lambda-Runtime-Function-Error-Body": {base64.StdEncoding.EncodeToString([]byte(`{"errorMessage":"broken"}`))}}
	}
	resp, err := http.DefaultClient.Do(r)
	check(err)
	_ = resp.Body.Close()
}

func gate(url string) {
	if url == "" {
		return
	}
	resp, err := http.Get(url)
	check(err)
	_ = resp.Body.Close()
}

func post(path, body string, header, value string) {
	r, err := http.NewRequest("POST", base+"/2018-06-01"+path, strings.NewReader(body))
	check(err)
	r.Header.Set(header, value)
	resp, err := http.DefaultClient.Do(r)
	check(err)
	if text, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusAccepted {
		fmt.Printf("function: %s answered %d %s\n", path, resp.StatusCode, text)
	}
	_ = resp.Body.Close()
}

func check(err error) {
	if err != nil {
		fmt.Println("function:", err)
		os.Exit(3)
	}
}
