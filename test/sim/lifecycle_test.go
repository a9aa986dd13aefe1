package sim_test

import (
	"fmt"
	"net/url"
	"sync"
	"testing/synctest"
	"time"

	"slipstream/destination"
)

// live runs one process of the edge from Init to its end.
func (w *world) live(number int) {
	l := w.startLife(number)
	if l.init() {
		on := l.plan.end
		switch w.plan.kind {
		case "lambda-managed-instances":
			l.several()
		default:
			for i := range l.plan.invocations {
				if on = l.invoke(&l.plan.invocations[i], i); on != "" {
					break
				}
			}
			if on == "" {
				on = l.plan.end
			}
		}
		l.end(on)
	}
	close(l.post.stop)
	<-l.post.ended
	l.post.drop()
	l.net.kill()
	l.sdk.end()
	l.leaveFolder()
	l.judge()
	for _, lane := range w.lanes {
		lane.owed = 0
	}
}

// init runs Init. It returns false when the edge has ended in it.
func (l *life) init() bool {
	phase := fmt.Sprintf(`"initializationType":%q,"phase":%q`, l.w.plan.kind, l.phase())
	l.platform("platform.initStart", "", phase+`,"functionName":"shop"`)
	time.Sleep(l.plan.initTime)
	if l.plan.ownFailure() {
		l.judgeOwnFailure()
		return false
	}
	if l.sdk != nil && l.plan.sdkInit {
		l.sdk.make("", 2)
		l.sdk.export(1)
	}
	select {
	case <-l.nexts:
	case <-l.over:
		l.w.problem("the edge ended in Init")
		return false
	case <-time.After(10 * time.Second):
		l.w.problem("the edge did not call next in Init")
		l.cancel()
		<-l.over
		return false
	}
	if l.plan.fails != "" {
		l.failedInit(phase)
		return true
	}
	l.platform("platform.initRuntimeDone", "", phase+`,"status":"success"`)
	l.platform("platform.extension", "", `"name":"slipstream-extension","state":"Ready","events":["INVOKE","SHUTDOWN"]`)
	l.last = l.platform("platform.initReport", "", phase+`,"metrics":{"durationMs":12.5}`)
	if l.w.plan.kind == "snap-start" {
		l.restore()
	}
	return true
}

// platform emits a platform event.
func (l *life) platform(kind, request, members string) *record {
	if request != "" {
		members = fmt.Sprintf(`"requestId":%q,%s`, request, members)
	}
	return l.post.emit(kind, request, func(token int) string { return fmt.Sprintf(`{%s,"sim":"~%d~"}`, members, token) })
}

// restore freezes the environment as a snapshot and wakes it up.
func (l *life) restore() {
	time.Sleep(300 * time.Millisecond)
	l.freeze(l.plan.idle, true)
	if !l.plan.restore {
		return
	}
	l.mu.Lock()
	l.restored, l.restoredAt = true, time.Now()
	l.mu.Unlock()
	l.early = l.w.count()
	l.platform("platform.restoreStart", "", `"functionName":"shop"`)
	l.platform("platform.restoreRuntimeDone", "", `"status":"success"`)
	l.platform("platform.restoreReport", "", `"status":"success","metrics":{"durationMs":20.5}`)
}

// freeze stops the environment for a time.
func (l *life) freeze(d time.Duration, cut bool) {
	if d <= 0 {
		return
	}
	l.w.logf("platform: frozen")
	l.net.freeze()
	from := time.Now()
	if c := l.w.plan.clock; c.still {
		time.Sleep(time.Microsecond) // everybody has come to a stop
		l.w.clock.leap(d, c.lag > 0)
		time.AfterFunc(c.lag, func() {
			if c.lag > 0 {
				l.w.clock.set(d)
			}
		})
	} else {
		time.Sleep(d)
	}
	l.mu.Lock()
	l.frozen = append(l.frozen, span{from, time.Now()})
	l.mu.Unlock()
	l.net.thaw(cut)
	l.w.logf("platform: thawed after %v, connections cut: %v", d, cut)
}

// invoke runs one invocation. It returns how the life has to end, if it has to.
func (l *life) invoke(p *invocation, i int) string {
	l.freeze(p.gap, p.cut)
	if i > 0 && !l.plan.invocations[i-1].early {
		l.report(i - 1)
	}
	id, woke := l.id(i), time.Now()
	l.sdk.early(p, id)
	began := time.Now()
	deadline := began.Add(p.limit)
	fate := l.begin(id, i, woke)
	l.w.nextStage()
	l.mu.Lock()
	if !l.restored {
		l.restored, l.restoredAt = true, began
	}
	l.mu.Unlock()
	l.begins = append(l.begins, began)
	if p.step != 0 {
		time.AfterFunc(p.stepAt, func() {
			l.w.clock.set(p.step)
			l.w.logf("platform: the wall clock is set by %v", p.step)
		})
	}
	l.platform("platform.start", id, `"version":"$LATEST"`)
	l.w.logf("platform: INVOKE %s, %v left", id, p.limit)
	l.events <- api{fmt.Sprintf(`{"eventType":"INVOKE","deadlineMs":%d,"requestId":%q,"invokedFunctionArn":"arn:x",`+
		`"tracing":{"type":"X-Amzn-Trace-Id","value":"Root=1"}}`,
		l.w.clock.platform(deadline).UnixMilli(), id), p.wakeup, false}
	wait, status := p.duration, "success"
	switch p.outcome {
	case "timeout":
		wait, status = p.limit, "timeout"
	case "crash":
		status = "error"
	}
	l.function(p, began, id)
	time.Sleep(time.Until(began.Add(wait)))
	l.sdk.responds(p, id)
	if p.outcome == "kill" {
		fate.fails()
		return "kill"
	}
	done := l.platform("platform.runtimeDone", id,
		fmt.Sprintf(`"status":%q,"metrics":{"durationMs":%d}`, status, wait.Milliseconds()))
	fate.ends(done, wait, status)
	l.dones = append(l.dones, done)
	l.sdk.later(p.sdk.after, id)
	l.platform("platform.end", id, `"sim":"Logs API"`)
	if p.outcome == "crash" {
		l.post.emit("platform.fault", "", func(token int) string {
			return fmt.Sprintf(`"~%d~ RequestId: %s Status: error\tErrorType: Runtime.ExitError\n"`, token, id)
		})
	}
	l.w.logf("platform: runtime done, %s", status)
	if p.outcome == "timeout" || p.outcome == "crash" {
		l.report(i)
		return map[string]string{"timeout": "timeout", "crash": "failure"}[p.outcome]
	}
	if !l.awaitNext(i, began, deadline, done) {
		l.goOn()
		return "cutoff" // it may not even read SHUTDOWN: by its clock there is time
	}
	if p.early {
		l.report(i)
	}
	return ""
}

// goOn adds a life for what the last one leaves behind when it is reset against
// the plan.
func (l *life) goOn() {
	if !l.goesOn() {
		l.w.plan.lives = append(l.w.plan.lives, lifePlan{end: "spindown", left: 2 * time.Second, dice: l.plan.dice.split()})
	}
}

// function writes an invocation's lines, each at its time, and exports.
func (l *life) function(p *invocation, began time.Time, id string) {
	if l.sdk != nil {
		var bursts sync.WaitGroup
		defer bursts.Wait()
		bursts.Go(func() { l.sdk.invocation(p, began, id) })
	}
	for _, line := range p.lines {
		if at := time.Until(began.Add(line.at)); at > 0 && p.outcome != "timeout" {
			time.Sleep(at)
		}
		l.post.emit("function", id, func(token int) string {
			text := padding(token, line.size)
			if line.json && !l.w.logsAPI() || l.w.plan.kind == "lambda-managed-instances" {
				return fmt.Sprintf(`{"level":"INFO","requestId":%q,"sim":"~%d~","message":"%s"}`, id, token, text)
			}
			return fmt.Sprintf(`"~%d~ %s\n"`, token, text)
		})
	}
}

func (l *life) id(i int) string { return fmt.Sprintf("r-%d-%d", l.number, i) }

// report makes the platform.report of an invocation.
func (l *life) report(i int) {
	l.last = l.platform("platform.report", l.id(i), `"status":"success","metrics":{"durationMs":1.5,"billedDurationMs":2}`)
	l.w.fates[l.id(i)].report = l.last
}

// awaitNext waits until the edge has called next and judges when it did. It
// returns false when it has not by the invocation's deadline.
func (l *life) awaitNext(i int, began, deadline time.Time, done *record) bool {
	p := &l.plan.invocations[i]
	runtimeDone := time.Now()
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	select {
	case at := <-l.nexts:
		l.judgeHold(i, at, began.Add(p.wakeup), runtimeDone, deadline, done)
		return true
	case <-l.over:
		l.w.problem("the edge ended during an invocation")
	case <-timer.C:
		// A clock that is behind all the time makes the deadline seem later.
		read := began.Add(p.wakeup)
		if l.w.clock.wasRight(read, later(read.Add(1), deadline.Add(-1200*time.Millisecond))) {
			l.w.problem("next was not called before the invocation's deadline")
		}
	}
	return false
}

// judgeHold checks how long an invocation was held.
func (l *life) judgeHold(i int, at, read, runtimeDone, deadline time.Time, done *record) {
	const slack = 2 * time.Millisecond
	set := l.w.settings()
	if set.strategy == "periodic" || set.strategy == "continuous" {
		if at.After(read.Add(slack)) {
			l.w.problem("with %s, next was called %v after INVOKE", set.strategy, at.Sub(read))
		}
		return
	}
	if l.untold() {
		if at.After(read.Add(slack)) {
			l.w.problem("next was called %v after INVOKE, and nothing can tell when the runtime is done", at.Sub(read))
		}
		return
	}
	told := l.toldOf(done, later(runtimeDone, read))
	if told.IsZero() || at.Before(told) {
		return
	}
	told = later(told, read)
	held := at.Sub(told)
	l.w.logf("platform: next was called %v after the runtime was done, %v after the edge was told",
		at.Sub(runtimeDone), held)
	if held > set.hold+slack {
		l.w.problem("next was called %v after the edge heard that the runtime is done; it may hold for %v", held, set.hold)
	}
	full := set.hold - slack // the edge keeps some of the hold for the call itself
	patient := at.Sub(runtimeDone) < full-slack && l.plan.trouble.skew == 0 || held < set.hold/4-slack
	if patient && at.Before(deadline.Add(-110*time.Millisecond)) {
		l.judgeLeft(i, told)
	}
	if held < full || set.hold == 0 {
		return
	}
	if l.answeredSince(l.longHold) {
		l.holds = 0
	}
	l.holds++
	l.longHold = at
	if l.holds > len(l.w.lanes) { // each destination is waited for once
		l.w.problem("invocation number %d was held for %v, and no destination has answered in between", l.holds, set.hold)
	}
}

// toldOf is when the edge could know that the runtime is done: when the event
// was first offered to it, or when it refused what went before.
func (l *life) toldOf(done *record, after time.Time) time.Time {
	l.w.mu.Lock()
	told := done.first
	l.w.mu.Unlock()
	l.post.mu.Lock()
	defer l.post.mu.Unlock()
	for _, at := range l.post.refusals {
		if !at.Before(after) && (told.IsZero() || at.Before(told)) {
			told = at
		}
	}
	return told
}

func (l *life) answeredSince(t time.Time) bool {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	for _, lane := range l.lanes {
		for _, a := range lane.answers {
			if a.ok && !a.at.Before(t) {
				return true
			}
		}
	}
	return false
}

// several runs the invocations of managed instances, many at the same time.
func (l *life) several() {
	var all sync.WaitGroup
	for i := range l.plan.invocations {
		p := &l.plan.invocations[i]
		time.Sleep(min(p.gap, time.Minute))
		l.w.nextStage()
		began, id := time.Now(), l.id(i)
		l.sdk.early(p, id)
		l.platform("platform.start", id, `"version":"1"`)
		fate := l.begin(id, i, began)
		all.Go(func() {
			l.function(p, began, id)
			time.Sleep(time.Until(began.Add(p.duration)))
			l.sdk.responds(p, id)
			r := l.platform("platform.report", id, `"status":"success","metrics":{"durationMs":1.5}`)
			l.mu.Lock()
			l.last, fate.report = r, r
			l.mu.Unlock()
		})
	}
	all.Wait()
}

// end ends the life in one of the ways that there are.
func (l *life) end(how string) {
	l.judgeWaiting()
	l.w.nextStage()
	switch how {
	case "kill":
		l.kill()
		return
	case "cutoff": // SHUTDOWN, and SIGKILL before its time is over
		l.shutDown("failure")
		l.withoutReport()
		select {
		case <-time.After(l.plan.dice.between(0, l.plan.left+time.Millisecond)):
			l.kill()
		case <-l.over:
		}
		return
	case "sigterm":
		l.mu.Lock()
		l.shutdown, l.deadline = time.Now(), time.Now().Add(2*time.Second)
		l.mu.Unlock()
		l.w.logf("platform: SIGTERM")
		l.sdk.last()
		l.cancel()
		l.lastReport()
		l.awaitEnd()
		return
	case "spindown":
		if l.w.plan.kind != "lambda-managed-instances" {
			l.freeze(l.plan.idle, l.plan.dice.chance(50))
		}
	}
	l.shutDown(how)
	l.lastReport()
	l.awaitEnd()
}

// shutDown sends the event SHUTDOWN.
func (l *life) shutDown(reason string) {
	now := time.Now()
	deadline := now.Add(l.plan.left)
	l.w.logf("platform: SHUTDOWN, %s, %v left", reason, l.plan.left)
	l.mu.Lock()
	l.shutdown, l.deadline = now, deadline
	l.mu.Unlock()
	l.sdk.last()
	l.events <- api{shutdown: true, text: fmt.Sprintf(`{"eventType":"SHUTDOWN","deadlineMs":%d,"shutdownReason":%q}`,
		l.w.clock.platform(deadline).UnixMilli(), reason)}
}

// lastReport makes the last invocation's platform.report, in SHUTDOWN.
func (l *life) lastReport() {
	if !l.withoutReport() || l.plan.report < 0 {
		return
	}
	timer := time.NewTimer(l.plan.report)
	defer timer.Stop()
	select {
	case <-timer.C:
		l.report(len(l.begins) - 1)
	case <-l.over:
	}
}

// withoutReport tells whether the last invocation's platform.report is still to
// come, and notes it.
func (l *life) withoutReport() bool {
	n := len(l.begins)
	if n == 0 || l.w.plan.kind == "lambda-managed-instances" || l.last.request == l.id(n-1) {
		return false
	}
	l.last = nil
	return true
}

// awaitEnd waits until the edge is gone, which has to be before the deadline.
func (l *life) awaitEnd() {
	select {
	case <-l.over:
	case <-time.After(10 * time.Minute):
		l.w.problem("the edge is still there ten minutes after SHUTDOWN")
		l.net.kill()
		l.cancel()
		<-l.over
	}
	if late := l.returned.Sub(later(l.deadline, l.began())); late > 0 {
		l.w.problem("the edge ended %v after SHUTDOWN's deadline, and after it had read it", late)
	}
}

// kill is SIGKILL: from this instant on nothing of the process counts.
func (l *life) kill() {
	synctest.Wait() // nobody is in the middle of anything: what is there is of one instant
	select {
	case <-l.over: // it was faster
		return
	default:
	}
	l.w.logf("platform: SIGKILL")
	l.leaveFolder()
	l.mu.Lock()
	l.killed = true
	l.mu.Unlock()
	l.net.kill()
	l.cancel()
	<-l.over
}

// open makes a destination for the edge.
func (l *life) open(u *url.URL) (destination.Destination, error) {
	if l.plan.fails == "strict" {
		return nil, fmt.Errorf("%s: this option is unknown", u.Host)
	}
	for i, lane := range l.w.lanes {
		b := &backend{w: l.w, l: l, lane: lane, mine: l.lanes[i], name: u.Host}
		switch u.Host {
		case lane.plan.name:
			b.mood = func() mood { return lane.plan.moodAt(l.w.stage) }
			return b, nil
		case lane.plan.name + "-fallback":
			b.mood = func() mood { return fine }
			return b, nil
		}
	}
	return nil, fmt.Errorf("no destination has the name %q", u.Host)
}
