// Package sim runs the whole edge in virtual time against an adversary: it
// chooses from a seed how the platform, the clocks, the network and the
// destinations behave, and checks after each run that nothing was lost, doubled,
// held or kept too long. Use it to look for faults that no test was written for;
// `go test ./test/sim -run Sim -seed N -v` tells the story of one seed.
package sim_test

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var (
	seeds = flag.Int("seeds", 2000, "how many seeds to run")
	first = flag.Uint64("first", 1, "the first of them")
	seed  = flag.Uint64("seed", 0, "run this one only, and tell what happens")
	step  = flag.Uint64("step", 0, "for the processes that TestSim starts: run every so manieth seed here")
)

// TestSim runs the seeds in as many processes as there are processors. Each has
// one processor to itself, so that the goroutines of a run take turns in the
// same order each time, as far as Go allows.
func TestSim(t *testing.T) {
	if *step > 0 {
		t.Fatal("-step is for TestSeeds")
	}
	if *seed > 0 {
		out, err := seedProcess(t.Context(), *seed, 1, 1, "-test.v").CombinedOutput()
		t.Logf("%s", out)
		if err != nil {
			t.Errorf("seed %d: %v", *seed, err)
		}
		return
	}
	began := time.Now()
	n := max(min(runtime.GOMAXPROCS(0), *seeds), 1)
	results := make([]result, 2*n)
	withPolicy := *seeds / 5
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			share := func(of int) int { return (of - i + n - 1) / n }
			results[i] = runSeeds(t.Context(), *first+uint64(i), uint64(n), share(*seeds))
			if withPolicy > 0 {
				results[n+i] = runSeeds(t.Context(), policySeeds+*first+uint64(i), uint64(n), share(withPolicy))
			}
		})
	}
	all.Wait()
	total, bad := 0, 0
	var failed []result
	told := ""
	for _, r := range results {
		total += r.passed
		bad += r.bad
		if r.failed > 0 {
			failed = append(failed, r)
			told += r.text
		}
	}
	slices.SortFunc(failed, func(a, b result) int { return int(a.failed) - int(b.failed) })
	if len(failed) > 0 {
		t.Fatalf("seed %d failed (of %d that did): go test ./test/sim -run Sim -seed %d -v\n%s",
			failed[0].failed, bad, failed[0].failed, told)
	}
	if total != *seeds+withPolicy {
		t.Errorf("%d of %d seeds ran", total, *seeds+withPolicy)
	}
	t.Logf("%d seeds, %d of them with a policy for volume, in %v", total, withPolicy,
		time.Since(began).Round(time.Millisecond))
}

// result is what one process tells.
type result struct {
	passed int
	bad    int
	failed uint64 // the first seed that did, 0 for none
	text   string
}

// seedProcess is this test again, for seeds from, from+step, … .
func seedProcess(ctx context.Context, from, step uint64, count int, more ...string) *exec.Cmd {
	args := append([]string{"-test.run=^TestSeeds$", "-test.timeout=0", "-first", strconv.FormatUint(from, 10), "-step",
		strconv.FormatUint(step, 10), "-seeds", strconv.Itoa(count)}, more...)
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1", "GOGC=400", "GODEBUG=asyncpreemptoff=1")
	return cmd
}

// runSeeds runs a process and reads what it says of each seed.
func runSeeds(ctx context.Context, from, step uint64, count int) result {
	cmd := seedProcess(ctx, from, step, count)
	var r result
	out, err := cmd.StdoutPipe()
	cmd.Stderr = cmd.Stdout
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return result{failed: from, text: err.Error()}
	}
	var running uint64
	var text strings.Builder
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		switch n := uint64(0); {
		case scan(lines.Text(), "seed %d begins", &n):
			running = n
		case scan(lines.Text(), "seed %d is good", &n):
			r.passed++
		case scan(lines.Text(), "seed %d is bad", &n):
			r.bad++
			if r.failed == 0 {
				r.failed = n
			}
		case text.Len() < 8<<10:
			text.WriteString(lines.Text() + "\n")
		}
	}
	if err := cmd.Wait(); err != nil && r.failed == 0 { // a crash
		r.failed, r.bad = max(running, 1), 1
		text.WriteString(err.Error())
	}
	r.text = text.String()
	return r
}

func scan(line, format string, n *uint64) bool {
	_, err := fmt.Sscanf(line, format, n)
	return err == nil && strings.HasPrefix(line, "seed ") && fmt.Sprintf(format, *n) == line
}

// TestSeeds runs the seeds of one process, one after the other. It is started by
// TestSim; alone, it checks that a seed can run.
func TestSeeds(t *testing.T) {
	by, count := max(*step, 1), *seeds
	if *step == 0 {
		count = 1
	}
	for i := range uint64(count) {
		n := *first + i*by
		if *step > 0 {
			fmt.Printf("seed %d begins\n", n)
		}
		stuck := time.AfterFunc(2*time.Minute, func() { panic(fmt.Sprintf("seed %d goes round in circles", n)) })
		problems := runSeed(t, n, testing.Verbose())
		stuck.Stop()
		if len(problems) > 0 {
			fmt.Printf("seed %d: %s\nseed %d is bad\n", n, strings.Join(problems[:min(len(problems), 5)], "\n  and "), n)
			t.Fail()
		} else if *step > 0 {
			fmt.Printf("seed %d is good\n", n)
		}
	}
}

// world is one seed's run.
type world struct {
	seed    uint64
	plan    plan
	begin   time.Time
	verbose bool

	mu      sync.Mutex
	records []*record
	lanes   []*lane
	stage   int
	life    int // number of the one that runs
	disk    *disk
	clock   *clocks
	running *life

	logs     sync.Mutex
	problems []string
	accounts map[string]*account    // of the life that ends
	heap     map[string]int         // by lane: records of earlier lives that the spool had no room for
	refused  int                    // records that the edge says the platform has dropped
	dropped  map[int]int            // by life: records that the edge says its policy has dropped
	exports  map[int]map[string]int // by life: what the edge says its policy has done to exports, by reason
	fates    map[string]*fate       // by invocation
	failing  map[string][]*record   // by invocation: exported records that tell of a failure
	lived    []*life
	crowds   []crowd     // by life
	unwanted map[int]int // by life: exported records that no destination takes, as the edge says
}

// runSeed runs one seed in a bubble of virtual time and gives what was wrong.
func runSeed(t *testing.T, n uint64, verbose bool) []string {
	d := newDice(n)
	w := &world{seed: n, plan: draw(d), verbose: verbose, accounts: map[string]*account{}, heap: map[string]int{},
		dropped: map[int]int{}, exports: map[int]map[string]int{}, fates: map[string]*fate{},
		failing: map[string][]*record{}, unwanted: map[int]int{}}
	if n >= policySeeds {
		w.plan = draw(newDice(n - policySeeds))
		w.plan.drawPolicy(newDice(n))
	}
	w.plan.drawExports(newDice(n % policySeeds << 20))
	disk, err := newDisk(w.plan.noDisk)
	if err != nil {
		return []string{err.Error()}
	}
	defer disk.remove()
	w.disk = disk
	before := slog.Default()
	defer slog.SetDefault(before)
	slog.SetDefault(slog.New(&listening{w: w}))
	synctest.Test(t, func(*testing.T) {
		w.begin = time.Now()
		w.clock = &clocks{wrong: w.plan.clock.wrong}
		w.clock.note()
		for i := range w.plan.lanes {
			w.lanes = append(w.lanes, &lane{plan: &w.plan.lanes[i], number: i, batches: map[string]*content{},
				taken: map[string]bool{}, where: map[int]string{}, copies: map[int]int{}, refused: map[int]bool{}})
		}
		w.logf("plan: %s, %v", w.plan.kind, w.plan.variables)
		for _, l := range w.plan.lanes {
			w.logf("plan: %s, weather %v", l.url(), l.weather)
		}
		for i := 0; i < len(w.plan.lives); i++ {
			w.live(i)
		}
		w.judgeDisk()
		w.judgePolicy()
		w.judgeExports()
		time.Sleep(time.Second) // net/http's server lets a connection that broke linger for half of that
	})
	return w.problems
}

// logf tells what happens, with the virtual time since the beginning.
func (w *world) logf(format string, args ...any) {
	if !w.verbose {
		return
	}
	w.logs.Lock()
	defer w.logs.Unlock()
	fmt.Printf("%14v  %s\n", time.Since(w.begin), fmt.Sprintf(format, args...))
}

// random is the edge's jitter: one of each instant, whoever asks first.
func (w *world) random() float64 { return newDice(w.seed ^ uint64(time.Since(w.begin))).Float64() }

// nextStage moves the weather on.
func (w *world) nextStage() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stage++
}

// count is how many records there are.
func (w *world) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.records)
}

// newRecord gives a record its number.
func (w *world) newRecord(life int, kind string, value func(token int) string) *record {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := &record{token: len(w.records), life: life, kind: kind, made: time.Now()}
	r.value = value(r.token)
	w.records = append(w.records, r)
	return r
}

// variable is the edge's environment.
func (w *world) variable(name string) string {
	if name == "SLIPSTREAM_DESTINATIONS" {
		var urls []string
		for i := range w.plan.lanes {
			urls = append(urls, w.plan.lanes[i].url())
		}
		return strings.Join(urls, " ")
	}
	return w.plan.variables[name]
}

// settings are those that the judges need.
type settings struct {
	strategy   string
	hold, wait time.Duration
	staleness  time.Duration // how old a record may become before it is sent
	buffer     int
}

func (w *world) settings() settings {
	s := settings{strategy: w.plan.variables["SLIPSTREAM_FLUSH"], hold: w.millis("MAX_HOLD_MS", 250),
		wait: w.millis("SHUTDOWN_WAIT_MS", 300), buffer: 8 << 20, staleness: 20 * time.Second}
	if w.plan.kind == "lambda-managed-instances" {
		s.strategy = "continuous"
	}
	if text := w.plan.variables["SLIPSTREAM_MAX_STALENESS"]; text != "" {
		s.staleness, _ = time.ParseDuration(text) // edge.Load has complained
	}
	if s.strategy == "continuous" {
		s.staleness = min(s.staleness, time.Second)
	}
	if n, err := strconv.Atoi(w.plan.variables["SLIPSTREAM_BUFFER_BYTES"]); err == nil {
		s.buffer = n
	}
	return s
}

func (w *world) millis(name string, otherwise int) time.Duration {
	if n, err := strconv.Atoi(w.plan.variables["SLIPSTREAM_"+name]); err == nil {
		otherwise = n
	}
	return time.Duration(otherwise) * time.Millisecond
}

// padding is a text of about size bytes, with what JSON has to escape in it.
func padding(token, size int) string {
	const text = `some \"text\" with \\ and \u00e9 and é; `
	return strconv.Itoa(token*7919) + " " + strings.Repeat(text, size/len(text)+1)
}

// listening is the edge's log: it knows the closing accounts.
type listening struct {
	w *world
	slog.Handler
}

func (h *listening) Enabled(_ context.Context, level slog.Level) bool {
	return level >= slog.LevelInfo || h.w.verbose
}

func (h *listening) Handle(_ context.Context, r slog.Record) error {
	var a account
	var lane string
	text := r.Message
	dropped, malformed, policy := 0, 0, 0
	foreign, heap, unwanted := false, 0, 0
	var exports map[string]int
	r.Attrs(func(attr slog.Attr) bool {
		text += " " + attr.String()
		n := func() int { return int(attr.Value.Int64()) }
		switch attr.Key {
		case "destination":
			lane = strings.TrimPrefix(attr.Value.String(), "sim://")
		case "received":
			a.received = n()
		case "recovered":
			a.recovered = n()
		case "delivered":
			a.delivered = n()
		case "fallback":
			a.fallback = n()
		case "spooled":
			a.spooled = n()
		case "dropped":
			a.dropped, _ = attr.Value.Any().(map[string]int)
		case "platform_dropped_records":
			dropped = n()
		case "malformed_events":
			malformed = n()
		case "logs":
			counts, _ := attr.Value.Any().(map[string]int)
			policy += counts["filtered"] + counts["not_sampled"] + counts["repeated"]
		case "exports":
			exports, _ = attr.Value.Any().(map[string]int)
			policy += exports["not_sampled"]
		case "records":
			heap = n()
		case "unwanted":
			unwanted = n()
		case "skipped":
			skipped, _ := attr.Value.Any().(map[string]int)
			foreign = len(skipped) > 0
		}
		return true
	})
	h.w.logf("edge: %v %s", r.Level, text)
	foreign = foreign || r.Level >= slog.LevelWarn && strings.Contains(r.Message, "earlier process") &&
		!h.w.plan.noDisk && !strings.Contains(text, "the spool is full")
	if malformed > 0 || foreign || strings.Contains(text, "BUG") || strings.Contains(text, "unread") {
		h.w.problem("the edge says: %s", text)
	}
	h.w.logs.Lock()
	defer h.w.logs.Unlock()
	switch r.Message {
	case "closing account":
		h.w.accounts[lane] = &a
	case "records of an earlier process go to memory":
		h.w.heap[lane] += heap
	case "what the policy has changed or kept back":
		h.w.dropped[h.w.life], h.w.exports[h.w.life] = policy, exports
	case "telemetry lost on the way in":
		h.w.refused = dropped
	case "data from the function lost on the way in":
		h.w.unwanted[h.w.life] = unwanted
		delete(a.dropped, "otlp.incomplete") // the adversary's
		if len(a.dropped) > 0 {
			h.w.problems = append(h.w.problems, fmt.Sprintf("the edge says that it dropped %v", a.dropped))
		}
	}
	return nil
}
