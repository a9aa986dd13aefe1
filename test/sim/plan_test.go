package sim_test

import (
	"fmt"
	"net/url"
	"strconv"
	"time"
)

// plan is everything that the adversary decides before a run. What depends on
// the run's course (the how manieth post, the how manieth send) is drawn then,
// from dice that belong to one post office or one backend alone.
type plan struct {
	variables map[string]string
	kind      string // AWS_LAMBDA_INITIALIZATION_TYPE
	portTaken bool
	noDisk    bool // /tmp cannot be used
	oldLogs   bool // the Logs API's first schema, without platform.runtimeDone
	clock     clockPlan
	lanes     []lanePlan
	lives     []lifePlan
	policy    *policy  // nil: every record is to be delivered
	sdk       *sdkPlan // nil: the function exports nothing by itself
}

// lanePlan is a destination and its weather.
type lanePlan struct {
	name     string
	types    string // as in the URL, empty for all
	encoding string
	fallback bool
	weather  []weather // by stage
	dice     uint64    // the seed of its verdicts
}

// weather is how a destination behaves for a number of stages: a stage is an
// invocation, or the end of a life.
type weather struct {
	stages int
	mood   mood
}

// mood is what a destination does with a batch.
type mood int

const (
	fine     mood = iota // answers within milliseconds
	slow                 // answers within seconds
	refusing             // fails at once
	busy                 // 503 with Retry-After
	hanging              // says nothing until the edge gives up
	flaky                // any of these, and worse: loses answers, takes a part, takes nothing for ever
)

func (m mood) String() string {
	return [...]string{"fine", "slow", "refusing", "busy", "hanging", "flaky"}[m]
}

// lifePlan is one process of the edge.
type lifePlan struct {
	initTime    time.Duration
	invocations []invocation
	end         string        // spindown, timeout, failure, sigterm, kill, cutoff
	idle        time.Duration // before an orderly end
	left        time.Duration // between SHUTDOWN and its deadline
	report      time.Duration // when in SHUTDOWN the last platform.report is made; negative: never
	restore     bool          // of a snapshot
	trouble     trouble
	deaf        string        // how the subscription fails, if it does: listen, 202, 403, 500, closed
	fails       string        // how Init fails, if it does: error, timeout, refused, strict
	sdkInit     bool          // the function exports in Init
	sdkEnd      time.Duration // when in SHUTDOWN something exports once more; negative: never
	dice        dice          // the post office's
}

// invocation is one run of the function.
type invocation struct {
	gap      time.Duration // since the one before was over; 0: no freeze
	duration time.Duration
	limit    time.Duration // the function's timeout
	wakeup   time.Duration // how late the edge gets to read INVOKE
	lines    []line
	sdk      sdkWork
	outcome  string        // success, error (a handler's), crash, timeout, kill
	early    bool          // platform.report is posted before the freeze
	cut      bool          // connections to the receiver are found dead after the thaw
	step     time.Duration // of the environment's wall clock
	stepAt   time.Duration // since INVOKE
}

// line is one record of the function.
type line struct {
	at   time.Duration
	size int
	json bool
}

// trouble is how often, in percent, the platform's posts go wrong.
type trouble struct {
	late, lost, torn, again, shuffled, lossy int
	skew                                     time.Duration // of the platform's clock
}

// sizes of what the adversary asks for.
const (
	fewLines, manyLines = 8, 120
	hugeRecord          = 300 << 10
)

func draw(d dice) plan {
	p := plan{variables: map[string]string{}, kind: "on-demand"}
	switch {
	case d.chance(5):
		p.kind = "lambda-managed-instances"
	case d.chance(5):
		p.kind = "snap-start"
	}
	p.noDisk = d.chance(8)
	p.clock = drawClocks(d)
	pressure := d.chance(4)
	p.drawVariables(d, pressure)
	lanes := 1
	if d.chance(15) {
		lanes = 2
	}
	calm := d.chance(35)
	for i := range lanes {
		p.lanes = append(p.lanes, drawLane(d, i, calm, pressure))
	}
	lives := 1
	for lives < 4 && d.chance(30) {
		lives++
	}
	var t trouble
	if !d.chance(30) {
		t = trouble{late: pick(d, 0, 10, 50), lost: pick(d, 0, 5, 30), torn: pick(d, 0, 5, 20),
			again: pick(d, 0, 10, 100), shuffled: pick(d, 0, 0, 20)}
		t.lossy = pick(d, 0, 0, 0, 5)
		t.skew = pick(d, 0, 0, 0, -time.Hour, -3*time.Millisecond, 3*time.Millisecond, time.Hour)
	}
	scale := pick(d, 20*time.Millisecond, time.Second, time.Minute, time.Hour)
	for i := range lives {
		end := pick(d, "timeout", "timeout", "crash", "crash", "failure", "sigterm", "kill", "kill", "cutoff")
		if i == lives-1 {
			end = pick(d, "spindown", "spindown", "spindown", "failure", "sigterm", "kill", "cutoff")
		}
		p.lives = append(p.lives, p.drawLife(d, end, t, scale, pressure))
		if i < lives-1 && d.chance(15) {
			p.lives[i].failInit(d, p.kind)
		}
	}
	if p.lives[lives-1].end != "spindown" { // one more, for what is left
		p.lives = append(p.lives, p.drawLife(d, "spindown", t, scale, pressure))
	}
	return p
}

// drawVariables chooses how the edge is set.
func (p *plan) drawVariables(d dice, pressure bool) {
	set := func(percent int, name string, values ...int) {
		if d.chance(percent) {
			p.variables["SLIPSTREAM_"+name] = strconv.Itoa(pick(d, values...))
		}
	}
	set(30, "BATCH_BYTES", 1024, 4096, 65536)
	set(20, "BATCH_INVOKES", 1, 2, 5)
	set(30, "SEND_TIMEOUT_MS", 100, 1000, 20_000)
	set(30, "MAX_HOLD_MS", 0, 50, 1000)
	set(20, "SHUTDOWN_WAIT_MS", 0, 50, 1000)
	set(20, "TELEMETRY_TIMEOUT_MS", 25, 1000)
	set(20, "TELEMETRY_MAX_ITEMS", 1000)
	set(10, "TELEMETRY_PORT", 8080)
	p.portTaken = d.chance(50)
	if pressure {
		p.variables["SLIPSTREAM_BUFFER_BYTES"] = "1048576"
		set(50, "SPOOL_BYTES", 1<<20)
	}
	if d.chance(50) {
		p.variables["SLIPSTREAM_MAX_STALENESS"] = pick(d, "100ms", "1s", "60s", "15m")
	}
	p.variables["SLIPSTREAM_FLUSH"] = pick(d, "adaptive", "adaptive", "end", "periodic", "continuous")
	if d.chance(12) {
		p.variables["SLIPSTREAM_TELEMETRY_API"] = "logs"
		p.oldLogs = d.chance(40)
	}
	p.variables["SLIPSTREAM_SELF_METRICS"] = pick(d, "true", "false")
	p.variables["SLIPSTREAM_LOG_TYPES"] = "platform,function,extension"
	p.variables["SLIPSTREAM_LISTEN"] = "none" // see drawExports; real sockets and folders are not of virtual time
	p.variables["SLIPSTREAM_PARSE"] = "false" // each record is to arrive as it came
	p.variables["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] = pick(d, "128", "1769", "10240")
	p.variables["AWS_LAMBDA_INITIALIZATION_TYPE"] = p.kind
	p.variables["AWS_LAMBDA_RUNTIME_API"] = apiAddress
}

func drawLane(d dice, i int, calm, pressure bool) lanePlan {
	l := lanePlan{name: fmt.Sprintf("lane%d", i), encoding: "none", dice: d.Uint64()}
	if d.chance(4) {
		l.encoding = "gzip"
	}
	if d.chance(10) {
		l.types = pick(d, "function", "platform", "platform,function")
	}
	l.fallback = d.chance(10)
	if calm && !pressure {
		return l
	}
	for range 1 + d.IntN(4) {
		l.weather = append(l.weather, weather{1 + d.IntN(12), pick(d, fine, slow, refusing, busy, hanging, flaky)})
	}
	if d.chance(60) { // what comes after the last is fine
		l.weather[len(l.weather)-1].stages = 1000
	}
	return l
}

// url is the destination as the edge is told.
func (l *lanePlan) url() string {
	q := url.Values{"compression": {l.encoding}}
	if l.types != "" {
		q.Set("types", l.types)
	}
	if l.fallback {
		q.Set("fallback", "sim://"+l.name+"-fallback?compression="+l.encoding)
	}
	// The list of destinations ends a URL at a comma.
	return "sim://" + l.name + "?" + q.Encode()
}

// moodAt is the mood of a stage.
func (l *lanePlan) moodAt(stage int) mood {
	for _, w := range l.weather {
		if stage -= w.stages; stage < 0 {
			return w.mood
		}
	}
	return fine
}

func (p *plan) drawLife(d dice, end string, t trouble, scale time.Duration, pressure bool) lifePlan {
	l := lifePlan{end: end, initTime: d.between(0, 300*time.Millisecond), trouble: t, dice: d.split(),
		left: 2 * time.Second, idle: d.between(0, 20*time.Minute), restore: d.chance(80),
		report: d.between(0, 200*time.Millisecond)}
	if d.chance(15) {
		l.left = pick(d, 1400*time.Millisecond, 300*time.Millisecond, 0)
	}
	if d.chance(10) {
		l.report = pick(d, -1, time.Second)
	}
	if d.chance(3) {
		l.deaf = pick(d, "listen", "202", "403", "500", "closed")
	}
	count := d.IntN(12)
	if d.chance(10) {
		count = d.IntN(60)
	}
	for range count {
		l.invocations = append(l.invocations, drawInvocation(d, scale, pressure))
	}
	killed := l.end == "kill" && d.chance(75) // in an invocation
	if (l.end == "timeout" || l.end == "crash" || killed) && p.kind != "lambda-managed-instances" {
		inv := drawInvocation(d, scale, pressure)
		inv.outcome = l.end
		l.invocations = append(l.invocations, inv)
	}
	if l.end == "crash" || l.end == "timeout" && p.kind == "lambda-managed-instances" {
		l.end = "failure"
	}
	return l
}

func drawInvocation(d dice, scale time.Duration, pressure bool) invocation {
	i := invocation{limit: pick(d, time.Second, 3*time.Second, 30*time.Second),
		outcome: pick(d, "success", "success", "error"), early: d.chance(15), cut: d.chance(10)}
	switch {
	case d.chance(20):
	case d.chance(10):
		i.gap = d.between(0, 2*time.Hour)
	default:
		i.gap = d.between(scale/4, scale)
	}
	i.duration = d.between(time.Millisecond, i.limit/pick(d, time.Duration(1), 4, 100))
	if d.chance(5) {
		i.wakeup = d.between(0, 150*time.Millisecond)
	}
	i.drawStep(d)
	lines := d.IntN(fewLines)
	if d.chance(5) {
		lines = d.IntN(manyLines)
	}
	for range lines {
		i.lines = append(i.lines, line{d.between(0, i.duration), 20 + d.IntN(200), d.chance(30)})
	}
	if d.chance(1) {
		i.lines = append(i.lines, line{d.between(0, i.duration), hugeRecord + d.IntN(hugeRecord), d.chance(50)})
	}
	if pressure {
		for range d.IntN(80) {
			i.lines = append(i.lines, line{d.between(0, i.duration), 4000 + d.IntN(4000), false})
		}
	}
	return i
}
