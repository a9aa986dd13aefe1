package telemetryapi

import (
	"bytes"
	"time"
	"unicode/utf8"
)

// maxLine is the longest piece of a line that becomes one record, its newline
// not counted.
const maxLine = 256 << 10

// output splits what a process writes into lines.
type output struct {
	hub     *Hub
	typ     string
	kind    kind
	partial []byte // the begin of a line whose end is still to come
}

// Write takes the next bytes. It never fails.
func (o *output) Write(p []byte) (int, error) {
	o.hub.mu.Lock()
	defer o.hub.mu.Unlock()
	at := stamp(time.Now())
	n := len(p)
	for len(p) > 0 {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			o.partial = o.split(append(o.partial, p...), at)
			break
		}
		line := p[:i+1]
		if len(o.partial) > 0 {
			line = append(o.partial, line...)
			o.partial = line[:0]
		}
		o.emit(o.split(line, at), at)
		p = p[i+1:]
	}
	return n, nil
}

// Close makes a record of a line that was begun and not ended.
func (o *output) Close() error {
	o.hub.mu.Lock()
	defer o.hub.mu.Unlock()
	if len(o.partial) > 0 {
		o.emit(o.partial, stamp(time.Now()))
	}
	o.partial = nil
	return nil
}

// split emits the full pieces of a line that is too long and gives the rest.
func (o *output) split(line []byte, at string) []byte {
	for len(bytes.TrimSuffix(line, []byte{'\n'})) > maxLine {
		n := maxLine
		// A character is not torn, unless it is none.
		for back := 1; back < utf8.UTFMax && !utf8.RuneStart(line[n]); back++ {
			n--
		}
		o.emit(line[:n], at)
		line = line[n:]
	}
	return line
}

func (o *output) emit(line []byte, at string) {
	o.hub.publish(&event{at: at, typ: o.typ, kind: o.kind, record: line, object: o.hub.json && isObject(line)})
}
