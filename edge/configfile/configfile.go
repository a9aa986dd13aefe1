// Package configfile reads a file of settings in YAML: a map whose keys are
// settings. Use it for the extension's configuration file. What is wrong in the
// file costs its own entry only, and every complaint has a line. Of the library
// it links the scanner alone: its parser would be 0.3 MB more for each cold
// start, and settings need little of it.
package configfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

const (
	// MaxBytes is the most that a file may hold.
	MaxBytes = 64 << 10
	// maxDepth bounds how deep a value may be nested.
	maxDepth = 32
)

// Entry is one setting of the file, or what is wrong in its place.
type Entry struct {
	Key  string
	Line int // from 1
	// Text is a single value as it stands there. A list or map is JSON instead,
	// and a list of single values List, too.
	Text string
	List []string
	JSON string
	Err  error // it cannot be used; Key may be missing. It holds no value
}

// Read reads a file. Its error says why there is none to be read.
func Read(path string) ([]Entry, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, MaxBytes+1))
	if err != nil {
		return nil, err
	}
	if len(content) > MaxBytes {
		return nil, fmt.Errorf("it is larger than %d bytes", MaxBytes)
	}
	return Parse(content), nil
}

// Parse reads the content of a file, of which it looks at the first document.
// Where YAML's own rules are broken it reads each top-level key by itself, so
// that the others can be used.
func Parse(content []byte) []Entry {
	content = bytes.TrimPrefix(content, []byte("\uFEFF"))
	entries, broken := parse(content, 0)
	if broken == nil {
		return entries
	}
	seen := map[string]bool{}
	entries = nil
	for _, s := range sections(content) {
		some, broken := parse(s.content, s.line-1)
		if broken != nil {
			some = []Entry{*broken}
		}
		for _, e := range some {
			if e.Err == nil && seen[e.Key] {
				e = Entry{Key: e.Key, Line: e.Line, Err: errors.New("it is there twice; the first one counts")}
			}
			seen[e.Key] = seen[e.Key] || e.Err == nil
			entries = append(entries, e)
		}
	}
	return entries
}

// section is a top-level key with what belongs to it.
type section struct {
	content []byte
	line    int
}

// sections cuts the content before each line that may begin with a key.
func sections(content []byte) []section {
	var all []section
	line := 0
	for text := range bytes.Lines(content) {
		line++
		if len(all) == 0 || strings.IndexByte(" \t\r\n#-]}%.", text[0]) < 0 {
			all = append(all, section{line: line})
		}
		last := &all[len(all)-1]
		last.content = append(last.content, text...)
	}
	return all
}

// parse reads content that stands behind so many lines of the file. Where it is
// not YAML, it gives the entry that says so instead.
func parse(content []byte, linesBefore int) (entries []Entry, broken *Entry) {
	defer func() {
		if recover() != nil { // no input that does it is known
			entries, broken = nil, &Entry{Line: linesBefore + 1, Err: errors.New("it cannot be read as YAML")}
		}
	}()
	doc, rest, err := document(string(content))
	if err != nil {
		return nil, &Entry{Line: linesBefore + err.line, Err: fmt.Errorf("it is not YAML: %s", err.text)}
	}
	switch {
	case doc == nil || doc.kind == nothing:
	case doc.kind != object:
		entries = append(entries, Entry{Line: linesBefore + doc.line,
			Err: errors.New("there is no setting; write lines like max_staleness: 20s")})
	default:
		for i, key := range doc.keys {
			e := Entry{Line: linesBefore + key.line}
			if e.Key, e.Err = key.text(); e.Err == nil {
				e.Err = e.read(doc.items[i])
			}
			entries = append(entries, e)
		}
	}
	if rest > 0 {
		entries = append(entries, Entry{Line: linesBefore + rest, Err: errors.New("a second document is not read")})
	}
	return entries, nil
}

// read puts the value into the entry.
func (e *Entry) read(value *node) (err error) {
	switch value.kind {
	case nothing:
		return errors.New("it has no value; leave it out, or give it one")
	case list, object:
		text, err := value.appendJSON(nil)
		if err != nil {
			return err
		}
		e.JSON = string(text)
		e.List = value.texts()
		return nil
	}
	e.Text, err = value.text()
	return err
}
