package parse

import (
	"bytes"

	"slipstream/telemetry"
)

// Failure tells whether a record that Parse has read is a runtime's report that its
// invocation has failed, and gives the error's class, nil if it does not say. What a
// function logs of an error that it has dealt with is none: reports have no words of
// the function's own. They are an object with errorType and a stack but no message
// (or Node's "Invoke Error"), Node's "Invoke Error" and its kin behind time and
// request id, and Python's "[ERROR] Class: …" with its traceback.
func Failure(l *telemetry.Log) (class []byte, ok bool) {
	if l.Level < telemetry.LevelError {
		return nil, false
	}
	if l.Fields != nil {
		return failedObject(l)
	}
	text := l.Message
	if text == nil {
		text = l.Body
	}
	if text = bytes.TrimPrefix(bytes.TrimSpace(text), []byte{'"'}); l.Message == nil {
		return failedPython(text)
	}
	if !isReport(text) {
		return nil, false
	}
	if _, behind, found := bytes.Cut(text, []byte(`\"errorType\":\"`)); found {
		class, _, _ = bytes.Cut(behind, []byte{'\\'})
	}
	return class, true
}

func failedObject(l *telemetry.Log) (class []byte, ok bool) {
	stack, own := false, l.Message
	for _, f := range l.Fields {
		switch string(f.Key) {
		case "errorType":
			class = bytes.Trim(f.Value, `"`)
		case "stack", "stackTrace", "trace":
			stack = true
		case "errorMessage": // then another member is the message
			if own != nil && !isReport(bytes.Trim(own, `"`)) {
				return nil, false
			}
		}
	}
	return class, class != nil && stack && bytes.Contains(l.Body, []byte("errorMessage"))
}

// isReport tells whether a runtime's words are there, not a language's: that a
// thread has died says nothing of the invocation.
func isReport(text []byte) bool {
	for _, f := range failures[:4] {
		if bytes.HasPrefix(text, []byte(f.text)) {
			return true
		}
	}
	return false
}

// failedPython reads "[ERROR] ValueError: boom\nTraceback …", as a JSON string has
// it. The logger's own lines have tabs.
func failedPython(text []byte) (class []byte, ok bool) {
	rest, ok := bytes.CutPrefix(text, []byte("[ERROR] "))
	if !ok {
		return nil, false
	}
	line, trace, _ := bytes.Cut(rest, []byte(`\n`))
	if !bytes.HasPrefix(trace, []byte("Traceback (most recent call last)")) {
		return nil, false
	}
	class, _, _ = bytes.Cut(line, []byte{':'})
	return class, len(class) > 0 && !bytes.ContainsAny(class, ` \`)
}
