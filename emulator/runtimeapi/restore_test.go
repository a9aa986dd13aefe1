package runtimeapi

import (
	"net/http/httptest"
	"testing"
)

// snapshotSession is a session whose function has SnapStart.
func snapshotSession(t *testing.T) *session {
	s := newSession(t)
	s.api = New(Config{Snapshot: true,
		InitError:    func(typ string, _ []byte) { s.failed = append(s.failed, "init "+typ) },
		RestoreError: func(typ string) { s.failed = append(s.failed, "restore "+typ) }})
	s.server.Config.Handler = s.api
	return s
}

// restoreNext calls restore/next in the background and returns when the API has
// seen it.
func (s *session) restoreNext() {
	s.t.Helper()
	go func() {
		if got, err := s.try("GET", "/runtime/restore/next", ""); err == nil {
			s.waiting <- got
		}
	}()
	s.await(func() bool { return s.api.state == restoreReady })
}

func TestRestore(t *testing.T) {
	s := snapshotSession(t)
	if s.api.Restore() {
		t.Error("nobody waits for a restore")
	}
	s.restoreNext()
	<-s.api.Snapshot()
	select {
	case <-s.api.Arrived():
		t.Error("Init is over, Restore is not")
	default:
	}
	if got := s.call("GET", "/runtime/invocation/next", ""); got.status != 403 || got.body !=
		`{"errorMessage":"State transition from RestoreReady to Ready failed for runtime. `+
			`Error: State transition is not allowed","errorType":"InvalidStateTransition"}` {
		t.Errorf("next before the restore: %d %s", got.status, got.body)
	}
	if !s.api.Restore() {
		t.Error("the runtime waits for a restore")
	}
	if got := <-s.waiting; got.status != 200 || got.body != "" {
		t.Errorf("restore/next: %d %q", got.status, got.body)
	}
	s.wait()
	<-s.api.Arrived()
	if got := s.call("GET", "/runtime/restore/next", ""); got.status != 403 || got.body !=
		`{"errorMessage":"State transition from Ready to Ready failed for runtime. `+
			`Error: State transition is not allowed","errorType":"InvalidStateTransition"}` {
		t.Errorf("a second restore/next: %d %s", got.status, got.body)
	}
	if got := s.call("POST", "/runtime/restore/error", "{}"); got.status != 403 {
		t.Errorf("restore/error after Restore: %d %s", got.status, got.body)
	}
	if len(s.failed) > 0 || s.api.Restore() {
		t.Errorf("failed: %q", s.failed)
	}
}

// TestRestoreWithoutHooks: a runtime that calls next at once waits for no restore.
func TestRestoreWithoutHooks(t *testing.T) {
	s := snapshotSession(t)
	s.wait()
	<-s.api.Snapshot()
	<-s.api.Arrived()
	if s.api.Restore() {
		t.Error("nobody waits for a restore")
	}
}

func TestRestoreErrors(t *testing.T) {
	for _, path := range []string{"/runtime/restore/error", "/runtime/init/error"} {
		s := snapshotSession(t)
		if got := s.call("POST", "/runtime/restore/error", "{}"); got.status != 403 {
			t.Errorf("restore/error in Init: %d %s", got.status, got.body)
		}
		s.restoreNext()
		s.api.Restore()
		<-s.waiting
		got := s.call("POST", path, "{}", "Lambda-Runtime-Function-Error-Type", "Function.Hook")
		if got.status != 202 || len(s.failed) != 1 || s.failed[0] != "restore Function.Hook" {
			t.Errorf("%s: %d %s, %q", path, got.status, got.body, s.failed)
		}
		if got := s.call("GET", "/runtime/invocation/next", ""); got.status != 403 {
			t.Errorf("next after %s: %d", path, got.status)
		}
	}
}

// TestNoRestoreElsewhere: the routes exist with SnapStart only.
func TestNoRestoreElsewhere(t *testing.T) {
	s := newSession(t)
	for _, call := range [][2]string{{"GET", "/runtime/restore/next"}, {"POST", "/runtime/restore/error"}} {
		if got := s.call(call[0], call[1], ""); got.status != 404 {
			t.Errorf("%s: %d", call[1], got.status)
		}
	}
	c := NewConcurrent(Config{Snapshot: true}, 1)
	w := httptest.NewRecorder()
	c.ServeHTTP(w, httptest.NewRequest("GET", "/2018-06-01/runtime/restore/next", nil))
	if w.Code != 404 {
		t.Errorf("on managed instances: %d", w.Code)
	}
}
