package parse

import (
	"bytes"

	"slipstream/telemetry"
)

// front is what stands before the words of a line.
type front struct {
	level telemetry.Level
	// runtime tells that what stands before end came from a runtime, or is but a
	// time: the rest is the message.
	runtime bool
	end     int
}

// failures are how a line begins that reports one: of Lambda itself, its
// runtimes, or of those of the languages.
var failures = [...]struct {
	text  string
	level telemetry.Level
}{
	{"Task timed out after ", telemetry.LevelFatal},
	{"Invoke Error", telemetry.LevelError},
	{"Uncaught Exception", telemetry.LevelError},
	{"Unhandled Promise Rejection", telemetry.LevelError},
	{"Unhandled exception", telemetry.LevelError},
	{"Unhandled Exception", telemetry.LevelError},
	{"Traceback (most recent call last)", telemetry.LevelError},
	{"Exception in thread ", telemetry.LevelError},
	{"panic: ", telemetry.LevelFatal},
	{"fatal error: ", telemetry.LevelFatal},
}

// readFront reads the beginning of a line, as it stands in a JSON string: a tab
// is a backslash and a letter there.
func readFront(text []byte) front {
	i := skipEscapedSpace(text, 0)
	if i == len(text) {
		return front{}
	}
	switch c := text[i]; {
	case isDigit(c):
		return readTimed(text, i)
	case c == '[':
		return readBracket(text, i)
	case c|0x20 < 'a' || c|0x20 > 'z':
		return front{}
	}
	if text[i] == 'R' {
		if rest, ok := bytes.CutPrefix(text[i:], []byte("RequestId: ")); ok {
			return readExit(rest)
		}
	}
	return readWord(text, i)
}

// readTimed reads a line that begins with a time: Node's runtime, Lambda's own
// word of a timeout, and many formats of loggers.
func readTimed(text []byte, i int) front {
	end := skipTime(text, i)
	at := skipEscapedSpace(text, end)
	if end == i || at == end || at == len(text) {
		return front{}
	}
	if text[at] == '{' {
		return front{runtime: true, end: at}
	}
	behind := skipID(text, at)
	named := behind > at
	tabbed := named && behind < len(text) && text[behind] == '\\'
	if named {
		at = skipEscapedSpace(text, behind)
	}
	if at == len(text) {
		return front{}
	}
	if text[at] == '[' {
		return readBracket(text, at)
	}
	if size := bytes.Index(text[at:], []byte(`\t`)); tabbed && size > 0 {
		if level := levelRuntime(text[at : at+size]); level != 0 {
			return front{level: level, runtime: true, end: at + size + 2}
		}
	}
	return readWord(text, at)
}

// levelRuntime is the level that a runtime puts between tabs: Node's in capitals,
// .NET's as its console logger shortens them.
func levelRuntime(word []byte) telemetry.Level {
	switch string(word) {
	case "trce":
		return telemetry.LevelTrace
	case "dbug":
		return telemetry.LevelDebug
	case "fail":
		return telemetry.LevelError
	}
	return levelPlain(word)
}

// readRuby reads what Ruby's Logger puts before a line: "W, [2026-10-01T09:00:00.33 #8]  WARN -- : ".
func readRuby(text []byte, i int) front {
	bracket := bytes.IndexByte(text[i:min(len(text), i+60)], ']')
	if bracket < 0 || !bytes.HasPrefix(text[i+1:], []byte(", [")) || skipTime(text, i+4) == i+4 {
		return front{}
	}
	at := skipEscapedSpace(text, i+bracket+1)
	end := at
	for end < len(text) && text[end] >= 'A' && text[end] <= 'Z' {
		end++
	}
	return front{level: levelPlain(text[at:end])}
}

// readBracket reads "[LEVEL] …", and behind it what Python's runtime puts there.
func readBracket(text []byte, i int) front {
	size := bytes.IndexByte(text[i:min(len(text), i+longestName+2)], ']')
	if size < 0 {
		return front{}
	}
	f := front{level: levelPlain(text[i+1 : i+size]), end: i + size + 1}
	if f.level == 0 {
		return front{}
	}
	at, ok := bytes.CutPrefix(text[f.end:], []byte(`\t`))
	if !ok {
		return f
	}
	end := skipTime(at, 0)
	id, ok := bytes.CutPrefix(at[end:], []byte(`\t`))
	if end == 0 || !ok {
		return f
	}
	rest, ok := bytes.CutPrefix(id[skipID(id, 0):], []byte(`\t`)) // without an id during Init
	if ok {
		f.runtime, f.end = true, len(text)-len(rest)
	}
	return f
}

// readExit reads "RequestId: … Error: …", which Lambda writes when the runtime
// has ended; without its first word.
func readExit(rest []byte) front {
	if end := skipID(rest, 0); end > 0 && (bytes.HasPrefix(rest[end:], []byte(" Error: ")) ||
		bytes.HasPrefix(rest[end:], []byte(" Process exited"))) {
		return front{level: telemetry.LevelFatal}
	}
	return front{}
}

// readWord reads a line that begins with a word: a level in capitals; a level
// and a colon; a failure; or logfmt's first key.
func readWord(text []byte, i int) front {
	end := i
	for end < len(text) && end-i <= longestName && text[end]|0x20 >= 'a' && text[end]|0x20 <= 'z' {
		end++
	}
	word := text[i:end]
	if end < len(text) && (text[end] == '=' || text[end] == '.' || text[end] == '_') {
		return front{level: logfmtLevel(text[i:])}
	}
	if len(word) == 1 {
		return readRuby(text, i)
	}
	upper := isUpper(word) && (end == len(text) || endsLevel(text[end]))
	if upper || isLower(word) && bytes.HasPrefix(text[end:], []byte(": ")) {
		if level := levelPlain(word); level != 0 {
			return front{level: level}
		}
	}
	for k := range failures {
		if f := &failures[k]; f.text[0] == text[i] && bytes.HasPrefix(text[i:], []byte(f.text)) {
			return front{level: f.level}
		}
	}
	return front{}
}

// levelPlain is the level of a word in a line: only of names that mean nothing
// else.
func levelPlain(word []byte) telemetry.Level {
	level, exact := levelNamed(word)
	if !exact {
		return 0
	}
	return level
}

// endsLevel tells whether c may stand behind a level in capitals.
func endsLevel(c byte) bool {
	switch c {
	case ' ', '\\', ':', '|', '-', ']':
		return true
	}
	return false
}

// isUpper tells whether a word of ASCII's letters is in capitals.
func isUpper(word []byte) bool {
	for _, c := range word {
		if c >= 'a' {
			return false
		}
	}
	return true
}

// isLower tells whether a word of ASCII's letters has none.
func isLower(word []byte) bool {
	for _, c := range word {
		if c < 'a' {
			return false
		}
	}
	return true
}

// logfmtLevel looks for the level among the first pairs of key=value.
func logfmtLevel(text []byte) telemetry.Level {
	for range 16 {
		eq := bytes.IndexByte(text, '=')
		if eq <= 0 || bytes.IndexByte(text[:eq], ' ') >= 0 {
			return 0
		}
		value := text[eq+1:]
		size, quotes := logfmtValue(value)
		if size < 0 {
			return 0
		}
		switch string(text[:eq]) {
		case "level", "lvl", "severity":
			level, _ := levelText(value[quotes : size-quotes])
			return level
		}
		if size == len(value) || value[size] != ' ' {
			return 0
		}
		text = value[size+1:]
	}
	return 0
}

// logfmtValue gives the size of the value that text begins with, and that of a
// quote around it; -1 for one that is cut. Quotes are escaped in a JSON string,
// and those within the value twice.
func logfmtValue(text []byte) (size, quotes int) {
	if !bytes.HasPrefix(text, []byte(`\"`)) {
		for size < len(text) && text[size] != ' ' && text[size] != '\\' {
			size++
		}
		return size, 0
	}
	for i := 2; i+1 < len(text); i++ {
		if text[i] != '\\' {
			continue
		}
		if i++; text[i] == '"' {
			return i + 1, 2
		}
		if text[i] == '\\' && i+1 < len(text) && text[i+1] == '\\' { // one escaped character behind it
			i += 2
		}
	}
	return -1, 0
}

// skipTime gives the place behind a time of ISO 8601 or of Go's log, i if there
// is none: 2006-01-02T15:04:05.000Z, 2006-01-02 15:04:05,000, 2006/01/02 15:04:05.
func skipTime(b []byte, i int) int {
	const form = "0000-00-00T00:00:00"
	if len(b)-i < len(form) {
		return i
	}
	for k, want := range []byte(form) {
		c := b[i+k]
		switch {
		case want == '0' && isDigit(c), want == c, want == '-' && c == '/', want == 'T' && c == ' ':
		default:
			return i
		}
	}
	i += len(form)
	if i < len(b) && (b[i] == '.' || b[i] == ',') {
		for i++; i < len(b) && isDigit(b[i]); i++ {
		}
	}
	switch {
	case i < len(b) && b[i] == 'Z':
		i++
	case i+5 <= len(b) && (b[i] == '+' || b[i] == '-'):
		for i++; i < len(b) && (isDigit(b[i]) || b[i] == ':'); i++ {
		}
	}
	return i
}

// skipID gives the place behind a request id, i if there is none. Node's runtime
// writes undefined outside an invocation.
func skipID(b []byte, i int) int {
	const form = "00000000-0000-0000-0000-000000000000"
	if bytes.HasPrefix(b[i:], []byte("undefined")) {
		return i + len("undefined")
	}
	if len(b)-i < len(form) {
		return i
	}
	for k, want := range []byte(form) {
		c := b[i+k]
		if hex := isDigit(c) || c|0x20 >= 'a' && c|0x20 <= 'f'; want == '-' && c != '-' || want == '0' && !hex {
			return i
		}
	}
	return i + len(form)
}
