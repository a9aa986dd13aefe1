package sim_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// failInit makes a life one whose Init fails: the function's own, which is told
// with a reset and runs again in the first invocation, or the extension's.
func (l *lifePlan) failInit(d dice, kind string) {
	if kind == "snap-start" { // there is no snapshot then
		return
	}
	l.invocations, l.deaf = nil, ""
	l.fails = pick(d, "error", "timeout", "refused", "strict")
	l.end = pick(d, "failure", "failure", "kill")
	if l.fails == "timeout" {
		l.end = pick(d, "timeout", "timeout", "kill")
	}
}

// ownFailure tells whether the edge itself has to end in Init: it is not
// registered, or reports an error of its configuration that it must not survive.
func (l *lifePlan) ownFailure() bool { return l.fails == "refused" || l.fails == "strict" }

// phase is where Init runs: in the first invocation when it has failed before.
func (l *life) phase() string {
	if l.number > 0 && l.w.plan.lives[l.number-1].fails != "" {
		return "invoke"
	}
	return "init"
}

// failedInit is the rest of an Init in which the function fails, or says nothing
// until its time is over. What it writes there is telemetry like any other.
func (l *life) failedInit(phase string) {
	for range l.plan.dice.IntN(5) {
		l.post.emit("function", "", func(token int) string { return fmt.Sprintf(`"~%d~ %s\n"`, token, padding(token, 80)) })
	}
	status := "error"
	if l.plan.fails == "timeout" {
		time.Sleep(10*time.Second - l.plan.initTime)
		status = "timeout"
	}
	l.platform("platform.initRuntimeDone", "", phase+fmt.Sprintf(`,"status":%q,"errorType":"Runtime.Unknown"`, status))
	l.last = l.platform("platform.initReport", "", phase+fmt.Sprintf(`,"status":%q,"metrics":{"durationMs":12.5}`, status))
}

// initError is the edge's call of that name.
func (l *life) initError(req *http.Request, text []byte) (int, string, string) {
	var body struct{ ErrorMessage, ErrorType string }
	kind := req.Header.Get("Lambda-Extension-Function-Error-Type")
	err := json.Unmarshal(text, &body)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil || l.gaveUp || l.plan.fails != "strict" || kind != "Extension.ConfigInvalid" || body.ErrorType != kind ||
		body.ErrorMessage == "" {
		l.w.problem("init/error %q with %s", kind, text)
	}
	l.gaveUp = true
	return http.StatusAccepted, "", `{"status":"OK"}`
}

// judgeOwnFailure checks that the edge ends in Init, at once, and says why.
func (l *life) judgeOwnFailure() {
	began := time.Now()
	select {
	case <-l.over:
	case <-l.nexts:
		l.w.problem("the edge called next in an Init that it had to fail")
		l.cancel()
		<-l.over
	case <-time.After(10 * time.Second):
		l.w.problem("the edge is still there ten seconds after its Init had to fail")
		l.cancel()
		<-l.over
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed == nil || l.gaveUp != (l.plan.fails == "strict") || l.returned.Sub(began) > time.Second {
		l.w.problem("life %d: Init had to fail (%s): the edge ended after %v with %v, init/error: %v", l.number, l.plan.fails,
			l.returned.Sub(began), l.failed, l.gaveUp)
	}
}

// schema is the version that the edge has to subscribe to.
func (w *world) schema() string {
	switch {
	case w.plan.kind == "lambda-managed-instances":
		return "2025-01-29"
	case w.plan.variables["SLIPSTREAM_TELEMETRY_API"] != "logs":
		return "2022-12-13"
	case w.plan.oldLogs && w.plan.variables["SLIPSTREAM_FLUSH"] != "end":
		return "2020-08-15"
	}
	return "2021-03-18"
}

// logs tells of the Logs API.
func (w *world) logsAPI() bool { return w.schema() < "2022" }

// receives tells whether the edge's subscription gets events of a type.
func (w *world) receives(kind string) bool {
	switch kind {
	case "platform.initStart", "platform.initRuntimeDone", "platform.initReport":
		return !w.logsAPI()
	case "platform.end", "platform.fault":
		return w.logsAPI()
	case "platform.runtimeDone":
		return w.schema() != "2020-08-15"
	}
	return true
}

// untold tells whether the edge cannot know when a runtime is done.
func (l *life) untold() bool { return l.plan.deaf != "" || !l.w.receives("platform.runtimeDone") }
