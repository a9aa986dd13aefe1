package runtimeapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
)

// problem is an answer that refuses a request, in AWS's words.
type problem struct {
	status  int
	Message string `json:"errorMessage"`
	Type    string `json:"errorType"`
}

var (
	invalidID   = problem{http.StatusBadRequest, "Invalid request ID", "InvalidRequestID"}
	invalidMode = problem{http.StatusBadRequest, "Invalid function response mode", "InvalidFunctionResponseMode"}
	truncated   = problem{http.StatusBadRequest, "HTTP request detected as truncated", "TruncatedHTTPRequest"}
	tooLarge    = problem{http.StatusRequestEntityTooLarge,
		"Exceeded maximum allowed payload size (6291556 bytes).", "RequestEntityTooLarge"}
	// Managed instances only.
	tooLate       = problem{http.StatusGone, "Invoke timeout", "InvokeTimeout"}
	tooLargeError = problem{http.StatusRequestEntityTooLarge,
		"Exceeded maximum allowed payload size (1048576 bytes).", "RequestEntityTooLarge"}
	internal = problem{http.StatusInternalServerError, "Internal Server Error", "InternalServerError"}
)

func (p *problem) write(w http.ResponseWriter) {
	body, _ := json.Marshal(p)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(p.status)
	_, _ = w.Write(body)
}

func refuse(w http.ResponseWriter, err error) {
	if errors.Is(err, errRequestID) {
		invalidID.write(w)
		return
	}
	(&problem{http.StatusForbidden, err.Error(), "InvalidStateTransition"}).write(w)
}

func accept(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusAccepted)
	_, _ = w.Write([]byte(`{"status":"OK"}`))
}

// tooLargeBody is what the caller gets instead of a response above the limit.
func tooLargeBody(size, limit int64) []byte {
	message := fmt.Sprintf("Response payload size (%d bytes) exceeded maximum allowed payload size (%d bytes).",
		size, limit)
	body, _ := json.Marshal(problem{Message: message, Type: "Function.ResponseSizeTooLarge"})
	return body
}

// FailureBody is what the caller of a function gets when the environment and
// not the handler failed.
func FailureBody(requestID, errorType, cause string) []byte {
	body, _ := json.Marshal(struct {
		Type    string `json:"errorType"`
		Message string `json:"errorMessage"`
	}{errorType, "RequestId: " + requestID + " Error: " + cause})
	return body
}
