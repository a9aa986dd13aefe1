package runtimeapi

import (
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"regexp"
	"strings"
)

const (
	errorTypeHeader = "Lambda-Runtime-Function-Error-Type"
	causeHeader     = "Lambda-Runtime-Function-XRay-Error-Cause"
	// causeMediaType marks a body that holds the error and its cause together.
	causeMediaType = "application/vnd.aws.lambda.error.cause+json"
	maxCause       = 64 * 1024
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

// readError reads the body of an error and its X-Ray cause, wherever that is.
func readError(r *http.Request) (body []byte, cause json.RawMessage, p *problem) {
	body, err := io.ReadAll(io.LimitReader(r.Body, MaxPayload+1))
	switch {
	case err != nil:
		return nil, nil, &truncated
	case len(body) > MaxPayload:
		return nil, nil, &tooLarge
	}
	mediaType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if mediaType != causeMediaType {
		return body, crop([]byte(r.Header.Get(causeHeader))), nil
	}
	var both struct {
		Message string          `json:"errorMessage"`
		Type    string          `json:"errorType"`
		Stack   []string        `json:"stackTrace"`
		Cause   json.RawMessage `json:"errorCause"`
	}
	if json.Unmarshal(body, &both) != nil {
		return []byte(`"Invalid error body"`), nil, nil
	}
	alone, _ := json.Marshal(struct {
		Message string   `json:"errorMessage"`
		Type    string   `json:"errorType"`
		Stack   []string `json:"stackTrace"`
	}{both.Message, both.Type, both.Stack})
	return alone, crop(both.Cause), nil
}

type xrayCause struct {
	Exceptions []xrayException `json:"exceptions"`
	WorkingDir string          `json:"working_directory"`
	Paths      []string        `json:"paths"`
	Message    string          `json:"message,omitempty"`
}

type xrayException struct {
	Message string            `json:"message,omitempty"`
	Type    string            `json:"type,omitempty"`
	Stack   []json.RawMessage `json:"stack,omitempty"`
}

// crop checks a cause and makes it fit into 64 KiB by halving its lists and
// texts; a cause that says nothing, or is no JSON, is nil.
func crop(raw []byte) json.RawMessage {
	var c xrayCause
	if json.Unmarshal(raw, &c) != nil {
		return nil
	}
	if c.WorkingDir == "" && c.Message == "" && len(c.Paths) == 0 && len(c.Exceptions) == 0 {
		return nil
	}
	for {
		text, err := json.Marshal(c)
		if err != nil {
			return nil
		}
		if len(text) <= maxCause {
			return text
		}
		c.halve()
	}
}

func (c *xrayCause) halve() {
	c.Paths = c.Paths[:len(c.Paths)/2]
	c.WorkingDir = half(c.WorkingDir)
	c.Message = half(c.Message)
	c.Exceptions = c.Exceptions[:(len(c.Exceptions)+1)/2]
	for i := range c.Exceptions {
		e := &c.Exceptions[i]
		e.Stack = e.Stack[:len(e.Stack)/2]
		e.Message = half(e.Message)
		e.Type = half(e.Type)
	}
}

func half(s string) string {
	return strings.ToValidUTF8(s[:len(s)/2], "")
}
