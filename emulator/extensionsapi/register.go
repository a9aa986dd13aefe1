package extensionsapi

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
)

const (
	invoke   = "INVOKE"
	shutdown = "SHUTDOWN"

	nameHeader       = "Lambda-Extension-Name"
	featureHeader    = "Lambda-Extension-Accept-Feature"
	identifierHeader = "Lambda-Extension-Identifier"

	// maxBody bounds what is read of a register request, in bytes.
	maxBody = 1 << 20
)

type registration struct {
	Events            []string `json:"events"`
	ConfigurationKeys []string `json:"configurationKeys"`
}

// register makes the checks in AWS's order. Whether the extension is external
// is decided by its name alone: the name of a file in /opt/extensions, or not.
func (a *API) register(w http.ResponseWriter, r *http.Request) {
	name := r.Header.Get(nameHeader)
	if name == "" {
		refuse(w, "Extension.InvalidExtensionName", "Empty extension name")
		return
	}
	wanted, err := readRegistration(r)
	if err != nil {
		refuse(w, "InvalidRequestFormat", err.Error())
		return
	}
	e, problem := a.admit(name, wanted.Events)
	if problem != nil {
		problem.write(w)
		return
	}
	answer := struct {
		FunctionName    string `json:"functionName"`
		FunctionVersion string `json:"functionVersion"`
		Handler         string `json:"handler"`
		AccountID       string `json:"accountId,omitempty"`
	}{a.cfg.FunctionName, a.cfg.FunctionVersion, a.cfg.Handler, ""}
	if wantsAccountID(r.Header.Get(featureHeader)) {
		answer.AccountID = a.cfg.AccountID
	}
	body, _ := json.Marshal(answer)
	w.Header().Set(identifierHeader, e.id)
	writeJSON(w, http.StatusOK, body)
}

func readRegistration(r *http.Request) (registration, error) {
	var wanted registration
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	switch {
	case err != nil:
		return wanted, err
	case len(body) > maxBody:
		return wanted, errors.New("request body is larger than 1 MiB")
	}
	if err := json.Unmarshal(bytes.TrimSpace(body), &wanted); err != nil {
		return wanted, err
	}
	if len(wanted.ConfigurationKeys) > 0 {
		return wanted, errors.New("configurationKeys are deprecated; use environment variables instead")
	}
	return wanted, nil
}

func wantsAccountID(features string) bool {
	for feature := range strings.SplitSeq(features, ",") {
		if strings.TrimSpace(feature) == "accountId" {
			return true
		}
	}
	return false
}

// admit registers an awaited external extension or a new internal one.
func (a *API) admit(name string, events []string) (*extension, *problem) {
	a.mu.Lock()
	defer a.mu.Unlock()
	e := a.external(name)
	if e == nil && a.cfg.Managed && len(events) > 0 {
		return nil, &problem{"No events allowed for internal extensions", "Extension.InvalidEventType"}
	}
	for _, event := range events {
		if event != shutdown && (event != invoke || a.cfg.Managed) {
			return nil, &problem{event + ": ErrorInvalidEventType", "Extension.InvalidEventType"}
		}
		if event == shutdown && e == nil {
			return nil, &problem{event + ": ShutdownEventNotSupportedForInternalExtension", "Extension.InvalidEventType"}
		}
	}
	if e == nil {
		return a.admitInternal(name, events)
	}
	if e.state != Started {
		return nil, transition(e.state, Registered, name)
	}
	a.accept(e, events)
	return e, nil
}

func (a *API) admitInternal(name string, events []string) (*extension, *problem) {
	sameName := func(e *extension) bool { return e.name == name }
	switch {
	case a.closed:
		return nil, &problem{"Extension registration closed already", "Extension.RegistrationClosed"}
	case slices.ContainsFunc(a.extensions, sameName):
		return nil, &problem{"Extension with this name already registered", "Extension.InvalidExtensionState"}
	case len(a.extensions) >= Limit:
		return nil, &problem{fmt.Sprintf("Extension limit (%d) reached", Limit), "Extension.TooManyExtensions"}
	}
	e := &extension{name: name, internal: true, state: Started, wake: make(chan struct{}, 1)}
	a.extensions = append(a.extensions, e)
	a.accept(e, events)
	return e, nil
}

func (a *API) accept(e *extension, events []string) {
	e.id, e.events = newUUID(), slices.Clone(events)
	a.enter(e, Registered)
}

func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
