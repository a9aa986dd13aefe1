package sim_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"slipstream/edge"
)

// apiAddress is where the simulated platform has its Runtime API.
const apiAddress = "169.254.100.1:9001"

// extensionID is the identifier that every registration gets.
const extensionID = "7d2f9c1e-7a55-4b0d-8d3c-0f9a6d1f1c11"

// life is one process of the edge in the environment, from its start to its end.
type life struct {
	w      *world
	plan   *lifePlan
	number int
	net    *network
	post   *post
	sdk    *sdk // nil: the function exports nothing
	lanes  []*laneLife

	nexts  chan time.Time // next was called
	events chan api       // what it is answered with
	over   chan struct{}  // closed when Run has returned
	cancel context.CancelFunc

	mu         sync.Mutex
	registered bool
	asking     bool // next is under way
	shutdown   time.Time
	read       time.Time // when the last event was
	deadline   time.Time // of SHUTDOWN, as the edge has it
	restored   bool
	restoredAt time.Time
	frozen     []span
	reads      []reading // of INVOKE
	dones      []*record // platform.runtimeDone of each invocation
	begins     []time.Time
	returned   time.Time
	last       *record // the last platform.report or initReport
	longHold   time.Time
	holds      int // long ones without an answer in between
	killed     bool
	left       bool      // the folder is a copy already
	posted     time.Time // when the last body was there, or its 200
	earlier    int       // records of lives before, which may come in again
	early      int       // number of the first record after the restore
	gaveUp     bool      // init/error was called
	failed     error     // of edge.Run, where that has to fail
}

// api is one event of the Extensions API.
type api struct {
	text     string
	after    time.Duration // until the edge gets to read it
	shutdown bool
}

// startLife starts the edge.
func (w *world) startLife(number int) *life {
	w.mu.Lock()
	w.life = number
	l := &life{w: w, plan: &w.plan.lives[number], number: number, nexts: make(chan time.Time, 1),
		events: make(chan api, 1), over: make(chan struct{})}
	w.running = l
	w.lived = append(w.lived, l)
	w.mu.Unlock()
	l.net = newNetwork(l.serve)
	if w.plan.portTaken {
		l.net.taken = 8080
	}
	l.net.deaf = l.plan.deaf == "listen"
	for _, lane := range w.lanes {
		mine := &laneLife{}
		lane.lives = append(lane.lives, mine)
		l.lanes = append(l.lanes, mine)
	}
	l.post = newPost(w, l, l.plan.trouble, l.plan.dice.split())
	go l.post.run()
	if w.plan.sdk != nil {
		l.sdk = newSDK(l)
	}
	config, errs := edge.Load(w.variable)
	config.SpoolDir = w.disk.folder()
	config.Name = "slipstream-extension"
	config.OldLogs = w.plan.oldLogs
	config.Strict = l.plan.fails == "strict"
	config.Outside = edge.Outside{Dial: l.net.dial, Listen: l.net.listen, Open: l.open, Random: w.random,
		Wall: w.clock.wall}
	if len(errs) > 0 {
		w.problem("the configuration is refused: %v", errs)
	}
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	go func() {
		err := edge.Run(ctx, config, nil)
		if err != nil && !l.isKilled() && !l.plan.ownFailure() {
			w.problem("edge.Run failed: %v", err)
		}
		l.mu.Lock()
		l.returned, l.failed = time.Now(), err
		l.mu.Unlock()
		close(l.over)
	}()
	return l
}

// serve is the Extensions API on one connection.
func (l *life) serve(c net.Conn) {
	defer func() { _ = c.Close() }()
	in := bufio.NewReader(c)
	for {
		req, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		text, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		status, head, answer := l.handle(req, text)
		if status == 0 {
			return
		}
		reply := fmt.Sprintf("HTTP/1.1 %d X\r\n%sContent-Length: %d\r\n\r\n%s", status, head, len(answer), answer)
		if _, err := c.Write([]byte(reply)); err != nil {
			return
		}
	}
}

// handle answers one call; status 0 closes the connection.
func (l *life) handle(req *http.Request, text []byte) (status int, head, answer string) {
	l.mu.Lock()
	registered := l.registered
	l.mu.Unlock()
	call := req.Method + " " + req.URL.Path
	if call == "POST /2020-01-01/extension/register" {
		return l.register(req, text)
	}
	if !registered || req.Header.Get("Lambda-Extension-Identifier") != extensionID {
		l.w.problem("%s without its identifier", call)
		return http.StatusForbidden, "", `{"errorType":"Extension.UnknownExtensionIdentifier"}`
	}
	api := "PUT /2022-07-01/telemetry"
	if l.w.logsAPI() {
		api = "PUT /2020-08-15/logs"
	}
	switch call {
	case api:
		return l.subscribe(text)
	case "POST /2020-01-01/extension/init/error":
		return l.initError(req, text)
	case "GET /2020-01-01/extension/event/next":
		return l.next()
	}
	l.w.problem("an unexpected call: %s", call)
	return http.StatusNotFound, "", ""
}

func (l *life) register(req *http.Request, text []byte) (int, string, string) {
	want := `{"events":["INVOKE","SHUTDOWN"]}`
	if l.w.plan.kind == "lambda-managed-instances" {
		want = `{"events":["SHUTDOWN"]}`
	}
	l.mu.Lock()
	again := l.registered
	l.registered = l.plan.fails != "refused"
	l.mu.Unlock()
	if again || req.Header.Get("Lambda-Extension-Name") != "slipstream-extension" || string(text) != want {
		l.w.problem("register as %q with %s", req.Header.Get("Lambda-Extension-Name"), text)
	}
	if l.plan.fails == "refused" {
		return http.StatusForbidden, "", `{"errorType":"Extension.AlreadyRegistered","errorMessage":"no"}`
	}
	return http.StatusOK, "Lambda-Extension-Identifier: " + extensionID + "\r\n",
		`{"functionName":"shop","functionVersion":"$LATEST","handler":"index.handler","accountId":"123456789012"}`
}

func (l *life) subscribe(text []byte) (int, string, string) {
	var s struct {
		SchemaVersion string
		Types         []string
		Buffering     struct{ MaxItems, MaxBytes, TimeoutMs int }
		Destination   struct{ Protocol, URI string }
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	err := d.Decode(&s)
	u, uriErr := url.Parse(s.Destination.URI)
	if err != nil || uriErr != nil || s.SchemaVersion != l.w.schema() || s.Destination.Protocol != "HTTP" ||
		s.Buffering.MaxItems < 1000 || s.Buffering.MaxItems > 10_000 || s.Buffering.MaxBytes < 1<<18 ||
		s.Buffering.MaxBytes > 1<<20 || s.Buffering.TimeoutMs < 25 || s.Buffering.TimeoutMs > 30_000 || len(s.Types) == 0 {
		l.w.problem("a subscription that the API refuses: %s", text)
		return http.StatusBadRequest, "", `{"errorType":"ValidationError"}`
	}
	switch l.plan.deaf {
	case "202":
		return http.StatusAccepted, "", `{"errorMessage":"not supported","errorType":"Telemetry.NotSupported"}`
	case "403", "500":
		status, _ := strconv.Atoi(l.plan.deaf)
		return status, "", `{"errorType":"Telemetry.SubscriptionClosed"}`
	case "closed":
		return 0, "", ""
	}
	port, _ := strconv.Atoi(u.Port()) // 0 is refused by connect
	l.post.subscribe(port, u.Path, s.Buffering.MaxItems, s.Buffering.MaxBytes,
		time.Duration(s.Buffering.TimeoutMs)*time.Millisecond)
	return http.StatusOK, "", `"OK"`
}

// next waits for an event.
func (l *life) next() (int, string, string) {
	l.mu.Lock()
	asking := l.asking
	l.asking = true
	l.mu.Unlock()
	if asking {
		l.w.problem("two calls of next at once")
		return http.StatusForbidden, "", `{"errorType":"Extension.InvalidExtensionState"}`
	}
	l.w.logf("edge: next")
	l.nexts <- time.Now()
	select {
	case e := <-l.events:
		if e.after > 0 {
			time.Sleep(e.after)
		}
		l.mu.Lock()
		l.asking, l.read = false, time.Now()
		if e.shutdown {
			l.deadline = l.w.clock.believed(l.deadline)
		} else {
			l.reads = append(l.reads, reading{l.read, l.w.clock.wall()})
		}
		l.mu.Unlock()
		return http.StatusOK, "Lambda-Extension-Event-Identifier: " + extensionID + "\r\n", e.text
	case <-l.over:
		return 0, "", ""
	}
}

// ending tells whether SHUTDOWN (or SIGTERM) has come.
func (l *life) ending() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.shutdown.IsZero()
}

// unrestored tells whether the environment is still a snapshot's.
func (l *life) unrestored() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.plan.kind == "snap-start" && !l.restored && l.shutdown.IsZero()
}

func (l *life) isKilled() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.killed
}
