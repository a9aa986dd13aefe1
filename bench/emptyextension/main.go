// Command emptyextension is the yardstick of bench/start: a Go extension that
// registers, listens, subscribes and loops, and does nothing with what it gets.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "emptyextension:", err)
		os.Exit(1)
	}
}

func run() error {
	api := "http://" + os.Getenv("AWS_LAMBDA_RUNTIME_API")
	head := http.Header{"Lambda-Extension-Name": {filepath.Base(os.Args[0])}}
	answer, _, err := call("POST", api+"/2020-01-01/extension/register", head, `{"events":["INVOKE","SHUTDOWN"]}`)
	if err != nil {
		return err
	}
	head = http.Header{"Lambda-Extension-Identifier": {answer.Get("Lambda-Extension-Identifier")}}

	listener, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		return err
	}
	go func() {
		_ = http.Serve(listener, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
		}))
	}()
	port := listener.Addr().(*net.TCPAddr).Port
	_, _, err = call("PUT", api+"/2022-07-01/telemetry", head, fmt.Sprintf(`{"schemaVersion":"2022-12-13",`+
		`"types":["platform","function"],"buffering":{"maxItems":1000,"maxBytes":262144,"timeoutMs":100},`+
		`"destination":{"protocol":"HTTP","URI":"http://sandbox.localdomain:%d/"}}`, port))
	if err != nil {
		return err
	}
	for {
		_, body, err := call("GET", api+"/2020-01-01/extension/event/next", head, "")
		if err != nil {
			return err
		}
		var event struct{ EventType string }
		if err := json.Unmarshal(body, &event); err != nil {
			return err
		}
		if event.EventType == "SHUTDOWN" {
			return nil
		}
	}
}

func call(method, url string, head http.Header, body string) (http.Header, []byte, error) {
	request, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	request.Header = head
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %s: %s", method, url, response.Status, bytes.TrimSpace(answer))
	}
	return response.Header, answer, err
}
