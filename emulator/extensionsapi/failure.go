package extensionsapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
)

// problem is a refusal in AWS's words; every one is a 403.
type problem struct {
	Message string `json:"errorMessage"`
	Type    string `json:"errorType"`
}

func (p *problem) write(w http.ResponseWriter) {
	body, _ := json.Marshal(p)
	writeJSON(w, http.StatusForbidden, body)
}

func refuse(w http.ResponseWriter, errorType, message string) {
	(&problem{message, errorType}).write(w)
}

func writeJSON(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

func transition(from, to State, who string) *problem {
	return &problem{fmt.Sprintf("State transition from %s to %s failed for extension %s. "+
		"Error: State transition is not allowed", from, to, who), "Extension.InvalidExtensionState"}
}

var uuid = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// identifier reads the extension's identifier, or answers what is wrong with it.
func identifier(w http.ResponseWriter, r *http.Request) (string, bool) {
	id := r.Header.Get(identifierHeader)
	switch {
	case id == "":
		refuse(w, "Extension.MissingExtensionIdentifier", "Missing Lambda-Extension-Identifier header")
		return "", false
	case !uuid.MatchString(id):
		refuse(w, "Extension.InvalidExtensionIdentifier", "Invalid Lambda-Extension-Identifier")
		return "", false
	}
	return id, true
}

// identified finds an extension by its identifier; the lock is held.
func (a *API) identified(id string) *extension {
	for _, e := range a.extensions {
		if e.id == id {
			return e
		}
	}
	return nil
}

// Identify says which extension makes the request. If none does it is false, and
// the request has been answered with 403: the telemetry APIs share this check.
func (a *API) Identify(w http.ResponseWriter, r *http.Request) (name string, ok bool) {
	id, ok := identifier(w, r)
	if !ok {
		return "", false
	}
	a.mu.Lock()
	e := a.identified(id)
	a.mu.Unlock()
	if e == nil {
		refuse(w, "Extension.UnknownExtensionIdentifier", "Unknown extension "+id)
		return "", false
	}
	return e.name, true
}

func (a *API) initError(w http.ResponseWriter, r *http.Request) {
	a.reportError(w, r, InitError, Registered)
}

func (a *API) exitError(w http.ResponseWriter, r *http.Request) {
	a.reportError(w, r, ExitError, Registered, Ready, Running)
}

// reportError takes an extension's word that it cannot go on. AWS does not read
// the body, and accepts a repetition.
func (a *API) reportError(w http.ResponseWriter, r *http.Request, to State, from ...State) {
	id, ok := identifier(w, r)
	if !ok {
		return
	}
	cause := r.Header.Get("Lambda-Extension-Function-Error-Type")
	e, first, problem := a.fail(id, cause, to, from)
	if problem != nil {
		problem.write(w)
		return
	}
	if first && a.cfg.Failed != nil {
		a.cfg.Failed(e.name, "Extension."+string(to), cause)
	}
	writeJSON(w, http.StatusAccepted, []byte(`{"status":"OK"}`))
}

func (a *API) fail(id, cause string, to State, from []State) (e *extension, first bool, _ *problem) {
	a.mu.Lock()
	defer a.mu.Unlock()
	e = a.identified(id)
	switch {
	case e == nil:
		return nil, false, &problem{"Unknown Lambda-Extension-Identifier", "Extension.UnknownExtensionIdentifier"}
	case cause == "":
		return nil, false, &problem{"Lambda-Extension-Function-Error-Type not found", "Extension.MissingHeader"}
	case e.state == to:
		return e, false, nil
	}
	for _, s := range from {
		if e.state == s {
			a.enter(e, to)
			return e, true, nil
		}
	}
	return nil, false, transition(e.state, to, id)
}
