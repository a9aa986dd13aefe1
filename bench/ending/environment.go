package ending

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"slipstream/bench/memory"
	"slipstream/bench/pipeline"
	"slipstream/demo/objects"
	"slipstream/emulator"
	"slipstream/emulator/client"
	"slipstream/emulator/fault"
	"slipstream/test/servers"
)

// What an invocation looks like: its lines come in parts, so that the platform
// posts some of them while it goes on.
const (
	linesEach = 200
	parts     = 5
	pauseMs   = 15
	// longest is how late into an invocation a process is killed, or memory runs
	// out: mostly before its end, sometimes never.
	longest = 100 * time.Millisecond
	// newborn is how old a process may be that is killed for being new.
	newborn = 10 * time.Millisecond
	// triesEach bounds the invocations that an environment needs for one end.
	triesEach = 20
	// idsEach keeps the environments' invocation numbers apart.
	idsEach = 10_000
	// clock is how the log writes a time, without the day.
	clock = "15:04:05.000"
	// keptLog bounds what is kept of an environment's log.
	keptLog = 64 << 10
)

// circumstance is how an environment's lines are delivered.
type circumstance struct {
	name    string
	options string // of the destination
	trouble func(*rand.Rand) servers.Trouble
	outage  bool // nothing listens during the first half of the ends
}

// often closes a batch two or three times in an invocation.
const often = "&batch_bytes=16384"

var circumstances = []circumstance{
	{name: "all is held until SHUTDOWN", trouble: slow},
	{name: "something is always being sent", options: often, trouble: slow},
	{name: "sends fail", options: often, trouble: failing},
	{name: "an outage", options: often, trouble: slow, outage: true},
}

func slow(*rand.Rand) servers.Trouble { return servers.Trouble{Wait: 5 * time.Millisecond} }

func failing(random *rand.Rand) servers.Trouble {
	troubles := []servers.Trouble{{}, {}, {}, {Wait: 50 * time.Millisecond}, {Reset: true}, {Status: 503}, {Forget: true},
		{Truncate: true}}
	return troubles[random.IntN(len(troubles))]
}

// size is what a function is given.
type size struct {
	memoryMB int // which is its share of the CPU too
	timeout  time.Duration
	deck     []string // the ends of its invocations, shuffled each time that all have been
}

// common are kills of the extension, the function or both, and what the function
// does to itself; "" is an end as it should be.
var common = []string{"extension", "extension", "function", "both", "hang", "exit", "", ""}

// sizes take turns. What has to fill its memory gets little of it, and more time:
// a whole core's memory, in all environments at once, is more than some machines
// have.
var sizes = []size{
	{memoryMB: 1769, timeout: 400 * time.Millisecond, deck: common},
	{memoryMB: 512, timeout: 3 * time.Second, deck: append([]string{"memory", "memory"}, common...)},
}

// environment is one execution environment, from its first Init to its spindown.
type environment struct {
	circumstance
	size
	number    int
	programs  pipeline.Programs
	extension string // ours, under a name of the environment's own
	bucket    *objects.Bucket
	random    *rand.Rand
	log       log
	reported  chan bool // of each invocation, whether it was a success

	mu    sync.Mutex
	taken map[line]time.Time // when the platform had the extension's 200
	ends  map[string]int
	story []string // each end, in order

	notices []string // of the emulator
}

// play lets the environment's processes end so many times, and spins it down.
func (e *environment) play(ctx context.Context, ends int) error {
	variables := maps.Clone(e.bucket.Variables())
	proxy, err := servers.NewProxy(variables["AWS_ENDPOINT_URL_S3"])
	if err != nil {
		return err
	}
	defer proxy.Close()
	variables["AWS_ENDPOINT_URL_S3"] = proxy.Endpoint
	variables["SLIPSTREAM_DESTINATIONS"] = e.bucket.URL() + e.options
	variables["SLIPSTREAM_TELEMETRY_TIMEOUT_MS"] = "25"
	troubles := rand.New(rand.NewPCG(e.random.Uint64(), 0))
	proxy.Make(func(int) servers.Trouble { return e.trouble(troubles) })
	if e.outage {
		proxy.Close()
	}
	folder, err := os.MkdirTemp("", "slipstream-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(folder) }()
	e.extension = filepath.Join(folder, fmt.Sprintf("ending-%d", e.number))
	if err := os.Symlink(e.programs.Extension, e.extension); err != nil {
		return err
	}
	rules, events, err := e.invocations(ends * triesEach)
	if err != nil {
		return err
	}
	lambda, err := emulator.Start(ctx, emulator.Config{
		Freeze: true, Faults: rules, LogWriter: &e.log,
		Observe: emulator.Observe{Delivery: e.delivery, Report: e.report,
			ProcessEnd: e.ended},
		Functions: []emulator.Function{{Name: "bench", Command: []string{e.programs.Function},
			Extensions: []string{e.extension}, Env: variables, MemoryMB: e.memoryMB,
			Timeout: e.timeout}},
	})
	if err != nil {
		return err
	}
	err = e.invoke(ctx, lambda, proxy, events, ends)
	e.notices = lambda.Notices()
	if problem := lambda.Shutdown(ctx); err == nil {
		err = problem
	}
	return err
}

// invoke goes through the events until the processes have ended often enough,
// and on until an invocation is a success in which nobody is after them: a process
// must be there to deliver what the last end has left. An outage is over after half of the ends.
func (e *environment) invoke(ctx context.Context, lambda *emulator.Lambda, proxy *servers.Proxy, events []event,
	ends int) error {
	down, ended, well := e.outage, 0, true
	for _, event := range events {
		stop, calm := func() {}, event.end == ""
		if !well && e.random.IntN(3) == 0 && event.end != "memory" { // which the kill would come before
			stop, calm = e.hunt(), false
		}
		_, err := client.Invoke(ctx, lambda, "bench", event.payload)
		stop()
		if err != nil {
			return err
		}
		select {
		case well = <-e.reported:
		case <-ctx.Done():
			return ctx.Err()
		}
		if !well {
			ended++
		}
		if down && ended >= ends/2 {
			if err := proxy.Open(); err != nil {
				return err
			}
			down = false
		}
		if ended >= ends && well && calm {
			return nil
		}
	}
	return fmt.Errorf("in %d invocations the processes ended %d times only, not %d", len(events), ended, ends)
}

// hunt kills the next process of the extension in its first milliseconds, while
// it finds out what the one before it has left; stop ends the hunt.
func (e *environment) hunt() (stop func()) {
	over := make(chan struct{})
	var hunting sync.WaitGroup
	moment := time.Duration(e.random.Int64N(int64(newborn)))
	hunting.Go(func() {
		for pid := 0; pid == 0; pid = memory.Child(filepath.Base(e.extension)) {
			select {
			case <-over:
				return
			case <-time.After(time.Millisecond):
			}
		}
		select {
		case <-over: // nobody may be killed who has nobody to follow
			return
		case <-time.After(moment):
		}
		if pid := memory.Child(filepath.Base(e.extension)); pid != 0 {
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may be gone
		}
	})
	return func() { close(over); hunting.Wait() }
}

// event is what the function gets.
type event struct {
	payload []byte
	end     string // one of the size's
}

// invocations are the events, and the faults that hit some of them.
func (e *environment) invocations(n int) (rules []fault.Rule, events []event, err error) {
	var order []int
	for i := range n {
		if len(order) == 0 {
			order = e.random.Perm(len(e.deck))
		}
		end := e.deck[order[0]]
		order = order[1:]
		after := time.Duration(1 + e.random.Int64N(int64(longest)))
		for _, kill := range e.kills(end) {
			rule, err := fault.Parse(fmt.Sprintf("kill:%s,invoke=%d,after=%v", kill, i+1, after))
			if err != nil {
				return nil, nil, err
			}
			rules = append(rules, rule)
		}
		payload := fmt.Appendf(nil, `{"id":%d,"lines":%d,"parts":%d,"pause_ms":%d,"end":%q,"after_ms":%d}`,
			(e.number+1)*idsEach+i, linesEach, parts, pauseMs, end, after.Milliseconds())
		events = append(events, event{payload: payload, end: end})
	}
	return rules, events, nil
}

// kills are the processes that somebody else has to end.
func (e *environment) kills(end string) []string {
	extension := "extension=" + filepath.Base(e.extension)
	switch end {
	case "extension":
		return []string{extension}
	case "function":
		return []string{"function"}
	case "both":
		return []string{extension, "function"}
	}
	return nil
}

// delivery notes the lines that the extension has taken.
func (e *environment) delivery(d emulator.Delivery) {
	if d.Status != 200 {
		return
	}
	lines := map[line]int{}
	count(lines, d.Body)
	e.mu.Lock()
	defer e.mu.Unlock()
	for l := range lines {
		e.taken[l] = d.At
	}
}

// report notes how an invocation ended.
func (e *environment) report(r emulator.Report) {
	if r.Status != "success" {
		kind := r.Status
		if r.ErrorType != "" {
			kind = r.ErrorType
		}
		e.mu.Lock()
		e.ends[kind]++
		e.story = append(e.story, fmt.Sprintf("%s at %s", kind, r.Start.Add(r.RuntimeDuration).UTC().Format(clock)))
		e.mu.Unlock()
	}
	e.reported <- r.Status == "success"
}

// ended puts the end of a process into the log.
func (e *environment) ended(end emulator.ProcessEnd) {
	if end.Extension != "" {
		_, _ = fmt.Fprintf(&e.log, "%s the extension ended: exit code %d, signal %d\n", end.At.UTC().Format(clock),
			end.ExitCode, end.Signal) // it never fails
	}
}

// splitRecords gives the records of a post, which is a JSON array, or of an
// object, which has one in each line.
func splitRecords(body []byte) [][]byte {
	var records []json.RawMessage
	if len(body) == 0 || body[0] != '[' || json.Unmarshal(body, &records) != nil {
		return bytes.SplitAfter(body, []byte("\n"))
	}
	texts := make([][]byte, len(records))
	for i, r := range records {
		texts[i] = r
	}
	return texts
}

// log keeps what the platform and the extension say, without the function's
// lines.
type log struct {
	mu   sync.Mutex
	said bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !bytes.Contains(p, []byte(" line ")) && l.said.Len() < keptLog {
		l.said.Write(p)
	}
	return len(p), nil
}

func (l *log) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.TrimSpace(l.said.String())
}
