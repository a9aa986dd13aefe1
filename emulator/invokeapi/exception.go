package invokeapi

import (
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"time"
)

// Exception is an error of the service itself, not of the function, as AWS
// defines it.
type Exception struct {
	Status     int    // HTTP status
	Type       string // for example ResourceNotFoundException
	Message    string
	Reason     string        // of TooManyRequestsException
	RetryAfter time.Duration // of TooManyRequestsException, sent in whole seconds
}

func (e *Exception) Error() string { return e.Type + ": " + e.Message }

// NotFound is the answer to a name that no function has.
func NotFound(arn string) *Exception {
	return &Exception{Status: http.StatusNotFound, Type: "ResourceNotFoundException",
		Message: "Function not found: " + arn}
}

// Throttled is the answer when every environment is busy and no more may start.
func Throttled() *Exception {
	return &Exception{Status: http.StatusTooManyRequests, Type: "TooManyRequestsException", Message: "Rate Exceeded.",
		Reason: "ReservedFunctionConcurrentInvocationLimitExceeded", RetryAfter: time.Second}
}

func invalid(typ, message string) *Exception {
	return &Exception{Status: http.StatusBadRequest, Type: typ, Message: message}
}

func fail(w http.ResponseWriter, err error) {
	e, ok := errors.AsType[*Exception](err)
	if !ok {
		e = &Exception{Status: http.StatusInternalServerError, Type: "ServiceException", Message: err.Error()}
	}
	e.write(w)
}

func (e *Exception) write(w http.ResponseWriter) {
	body := map[string]string{"Type": "User"}
	switch e.Type { // AWS is not of one mind about the member's case
	case "ResourceNotFoundException", "ServiceException", "SnapStartException", "SnapStartTimeoutException":
		body["Message"] = e.Message
	default:
		body["message"] = e.Message
	}
	if e.Status >= http.StatusInternalServerError {
		body["Type"] = "Service"
	}
	if e.Reason != "" {
		body["Reason"] = e.Reason
	}
	if e.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(e.RetryAfter.Seconds()))))
	}
	text, _ := json.Marshal(body)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Amzn-ErrorType", e.Type)
	w.WriteHeader(e.Status)
	_, _ = w.Write(text)
}
