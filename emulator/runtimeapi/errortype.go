package runtimeapi

import (
	"encoding/json"
	"mime"
	"regexp"
	"strings"
)

const (
	errorTypeHeader = "Lambda-Runtime-Function-Error-Type"
	// causeMediaType marks a body that holds an error and its X-Ray cause together.
	causeMediaType = "application/vnd.aws.lambda.error.cause+json"
)

var knownErrorType = regexp.MustCompile(`(Runtime|Function)\.[A-Z][a-zA-Z]+`)

// errorType normalises what a runtime calls its error, as AWS does: a known
// form is kept, the rest becomes Function.Unknown or Runtime.Unknown.
func errorType(header string) string {
	if known := knownErrorType.FindString(header); known != "" {
		return known
	}
	if strings.HasPrefix(header, "Function.") {
		return "Function.Unknown"
	}
	return "Runtime.Unknown"
}

// errorAlone gives what the caller gets of an error's body: all of it, but not the
// X-Ray cause, which is for a service that is not emulated.
func errorAlone(contentType string, body []byte) []byte {
	if mediaType, _, _ := mime.ParseMediaType(contentType); mediaType != causeMediaType {
		return body
	}
	var alone struct {
		Message string   `json:"errorMessage"`
		Type    string   `json:"errorType"`
		Stack   []string `json:"stackTrace"`
	}
	if json.Unmarshal(body, &alone) != nil {
		return []byte(`"Invalid error body"`)
	}
	text, _ := json.Marshal(alone)
	return text
}
