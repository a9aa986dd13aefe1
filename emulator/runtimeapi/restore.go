package runtimeapi

import "net/http"

// Snapshot is closed when the runtime's part of Init is over: it waits in
// restore/next or, if it has no hooks, in next.
func (a *API) Snapshot() <-chan struct{} { return a.snapshot }

// Restore lets a runtime that waits in restore/next go on. It is false if the
// runtime waits in next: then there is nothing to wait for.
func (a *API) Restore() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.state != restoreReady {
		return false
	}
	a.state = restoring
	close(a.restored)
	return true
}

// restoreNext says that the snapshot may be taken, and returns in a restored
// environment.
func (a *API) restoreNext(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	from := a.state
	err := a.move(restoreReady)
	a.mu.Unlock()
	if err != nil {
		refuse(w, &transitionError{from: from, to: ready}) // AWS's words name Ready
		return
	}
	close(a.snapshot)
	select {
	case <-a.restored:
		w.WriteHeader(http.StatusOK) // with an empty body
	case <-r.Context().Done():
	}
}

// restoreError takes the runtime's word that an after-restore hook has failed.
func (a *API) restoreError(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	err := a.move(restoreFailed)
	a.mu.Unlock()
	if err != nil {
		refuse(w, err)
		return
	}
	if a.cfg.RestoreError != nil {
		a.cfg.RestoreError(errorType(r.Header.Get(errorTypeHeader)))
	}
	accept(w)
}
