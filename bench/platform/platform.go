// Package platform is as much of Lambda's APIs as an extension needs to start,
// and nothing that costs time. Use it where the extension alone is measured;
// the emulator is the faithful one.
package platform

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"time"
)

// API serves one extension.
type API struct {
	// Asked gets the time of the first request for an event.
	Asked <-chan time.Time
	// Destination gets the URI that the extension subscribed with.
	Destination <-chan string
	// Events are what next answers, each once, as JSON.
	Events chan<- string

	server *httptest.Server
}

// Serve starts an API for the extension of that name.
func Serve(name string) *API {
	asked, destination, events := make(chan time.Time, 1), make(chan string, 1), make(chan string, 2)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /2020-01-01/extension/register", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Lambda-Extension-Name") != name {
			http.Error(w, "registered under another name than the file's", http.StatusForbidden)
			return
		}
		w.Header().Set("Lambda-Extension-Identifier", "7d2f9c1e-7a55-4b0d-8d3c-0f9a6d1f1c11")
		_, _ = io.WriteString(w, `{"functionName":"bench","functionVersion":"$LATEST","handler":"index.handler"}`)
	})
	mux.HandleFunc("PUT /2022-07-01/telemetry", func(w http.ResponseWriter, r *http.Request) {
		var subscription struct{ Destination struct{ URI string } }
		if err := json.NewDecoder(r.Body).Decode(&subscription); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		offer(destination, subscription.Destination.URI)
		_, _ = io.WriteString(w, `"OK"`)
	})
	mux.HandleFunc("GET /2020-01-01/extension/event/next", func(w http.ResponseWriter, r *http.Request) {
		offer(asked, time.Now())
		select {
		case event := <-events:
			_, _ = io.WriteString(w, event)
		case <-r.Context().Done():
		}
	})
	return &API{Asked: asked, Destination: destination, Events: events, server: httptest.NewServer(mux)}
}

// offer sends what nobody has to take.
func offer[T any](to chan<- T, value T) {
	select {
	case to <- value:
	default:
	}
}

// Address is what AWS_LAMBDA_RUNTIME_API has to be.
func (a *API) Address() string { return a.server.Listener.Addr().String() }

// Close ends it, and cuts a next that waits.
func (a *API) Close() {
	a.server.CloseClientConnections()
	a.server.Close()
}
