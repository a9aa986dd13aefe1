package emulator

import (
	"math"
	"net/http"
	"time"

	"slipstream/emulator/invokeapi"
)

const (
	defaultRestoreLimit = 10 * time.Second
	// snapshotLife is how long a snapshot is kept that nobody uses.
	snapshotLife = 14 * 24 * time.Hour
)

// snapshot is what SnapStart needs in an environment. There is none on disk: the
// processes are held from the end of Init to the restore.
type snapshot struct {
	held        bool   // from the begin of Init to the restore
	instance    string // the log stream of the environment that made the snapshot
	credentials *credentialStore
}

func newSnapshot() snapshot {
	return snapshot{instance: newLogStream(time.Now()), credentials: newCredentials()}
}

// prepareSnapshot is called before Init. Telemetry is held back from here on: it
// reaches the extensions when they are restored, with the times of Init.
func (e *environment) prepareSnapshot() {
	if e.function.InitType == snapStart {
		e.snapshot.held = true
		e.hub.Freeze()
	}
}

// takeSnapshot is called after a successful Init.
func (e *environment) takeSnapshot() {
	if e.function.InitType == snapStart {
		e.initTook = 0 // it is in INIT_REPORT, not in a REPORT
		e.hold()
	}
}

// initInstance is the instance that runs Init: with SnapStart it is not the one
// that is invoked.
func (e *environment) initInstance() string {
	if e.function.InitType == snapStart {
		return e.snapshot.instance
	}
	return e.logStream
}

// restore is the Restore phase, before the first invocation of an environment. Its
// time does not count for the function's timeout.
func (e *environment) restore(inv *invocation) error {
	began := time.Now()
	limit := e.lambda.cfg.restoreLimit
	e.event("platform.restoreStart", restoreStartRecord{FunctionName: e.function.Name, FunctionVersion: version,
		InstanceID: e.logStream, InstanceMaxMemory: int64(e.function.MemoryMB) << 20}, false)
	e.thaw()
	l, released := e.life.Load(), time.Now()
	var f *failure
	if l.runtimeAPI.Restore() {
		f = l.await(l.runtimeAPI.Arrived(), began.Add(limit), limit)
	}
	took := time.Since(began)
	inv.report.ColdStart, inv.report.Restore = true, took
	inv.report.BilledRestoreMs = int64(math.Ceil(milliseconds(time.Since(released))))
	done := restoreDoneRecord{Status: f.restoreStatus(), ErrorType: f.reported()}
	e.event("platform.restoreRuntimeDone", done, f == nil)
	done.Metrics = &initMetrics{milliseconds(took)}
	e.event("platform.restoreReport", done, false)
	e.log.restored(took, f)
	if f == nil {
		return nil
	}
	e.reset(f)
	return restoreException(f)
}

// restoreStatus is the word in the restore events, where there is no "error".
func (f *failure) restoreStatus() string {
	if status := f.status(); status != statusError {
		return status
	}
	return statusFailure
}

// restoreException is what the caller gets: there was no invocation.
func restoreException(f *failure) *invokeapi.Exception {
	if f.timeout {
		return &invokeapi.Exception{Status: http.StatusRequestTimeout, Type: "SnapStartTimeoutException",
			Message: "Lambda couldn't restore the snapshot within the timeout limit."}
	}
	return &invokeapi.Exception{Status: http.StatusBadRequest, Type: "SnapStartException",
		Message: "The afterRestore() runtime hook encountered an error: " + f.errorType + ": " + f.explanation()}
}

// discard ends a snapshot that was never restored: nothing runs that could be told.
func (e *environment) discard() {
	if l := e.life.Load(); l != nil {
		l.ending.Store(true)
		l.killAll()
	}
}
