package emulator

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"
	"unicode/utf8"
)

const (
	maxLine = 256 << 10 // a longer line is split, bytes without the newline
	maxTail = 4 << 10   // what X-Amz-Log-Result holds, bytes
)

// serialWriter lets several environments write to one writer.
type serialWriter struct {
	mu sync.Mutex
	to io.Writer
}

func (s *serialWriter) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.to.Write(b)
}

// functionLog is the log stream of one environment: what CloudWatch Logs would
// get. It keeps the end of the current invocation's part.
type functionLog struct {
	to   io.Writer
	json bool

	mu   sync.Mutex
	tail []byte
}

// Write takes whole lines.
func (l *functionLog) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tail = append(l.tail, line...)
	if extra := len(l.tail) - maxTail; extra > 0 {
		l.tail = append(l.tail[:0], l.tail[extra:]...)
	}
	_, _ = l.to.Write(line) // a reader of the log that is gone must not stop the function
	return len(line), nil
}

// begin forgets the invocation before.
func (l *functionLog) begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tail = l.tail[:0]
}

func (l *functionLog) end() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Clone(l.tail)
}

// system logs an event of the platform in JSON format, when its level is INFO or
// above.
func (l *functionLog) system(typ string, at time.Time, record any, debug bool) {
	if !l.json || debug {
		return
	}
	line, err := json.Marshal(struct {
		Time   string `json:"time"`
		Type   string `json:"type"`
		Record any    `json:"record"`
	}{at.UTC().Format(timeFormat), typ, record})
	if err == nil {
		_, _ = l.Write(append(line, '\n'))
	}
}

// text logs a line of the platform in Text format.
func (l *functionLog) text(format string, args ...any) {
	if !l.json {
		_, _ = fmt.Fprintf(l, format+"\n", args...)
	}
}

// statusText is the end of a REPORT or INIT_REPORT line after a failure.
func statusText(f *failure) string {
	switch {
	case f == nil:
		return ""
	case f.status() == statusTimeout:
		return "Status: timeout\t"
	}
	return "Status: " + f.status() + "\tError Type: " + f.errorType + "\t"
}

func (l *functionLog) start(requestID string) {
	l.text("START RequestId: %s Version: %s", requestID, version)
}

func (l *functionLog) runtimeDone(requestID string) {
	l.text("END RequestId: %s", requestID)
}

func (l *functionLog) report(r Report, memoryMB int, f *failure) {
	var init string
	if r.ColdStart && r.Init > 0 {
		init = fmt.Sprintf("Init Duration: %.2f ms\t", milliseconds(r.Init))
	}
	if r.Restore > 0 {
		init = fmt.Sprintf("Restore Duration: %.2f ms\tBilled Restore Duration: %d ms\t", milliseconds(r.Restore),
			r.BilledRestoreMs)
	}
	l.text("REPORT RequestId: %s\tDuration: %.2f ms\tBilled Duration: %d ms\t"+
		"Memory Size: %d MB\tMax Memory Used: %d MB\t%s%s",
		r.RequestID, milliseconds(r.Duration), r.BilledMs, memoryMB, r.MaxMemoryMB, init, statusText(f))
}

// restored logs a Restore; one that succeeded is in the REPORT too.
func (l *functionLog) restored(took time.Duration, f *failure) {
	l.text("RESTORE_REPORT Restore Duration: %.2f ms\t%s", milliseconds(took), statusText(f))
}

// initReport logs an Init that failed, or that was paid for ahead of time.
func (l *functionLog) initReport(took time.Duration, phase string, f *failure) {
	l.text("INIT_REPORT Init Duration: %.2f ms\tPhase: %s\t%s", milliseconds(took), phase, statusText(f))
}

// lineWriter passes a process's output on in whole lines.
type lineWriter struct {
	to      io.Writer
	partial []byte // without its newline
	line    []byte // the last one passed on: its memory is used again
}

func (w *lineWriter) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		end, ended := bytes.IndexByte(b, '\n'), true
		if end < 0 {
			end, ended = len(b), false
		}
		w.partial = append(w.partial, b[:end]...)
		b = b[end:]
		w.split()
		if ended {
			b = b[1:]
			w.flush(len(w.partial))
		}
	}
	return n, nil
}

// split passes on what is too long for one line; a character is not torn, unless
// it is none.
func (w *lineWriter) split() {
	for len(w.partial) > maxLine {
		n := maxLine
		for back := 1; back < utf8.UTFMax && !utf8.RuneStart(w.partial[n]); back++ {
			n--
		}
		w.flush(n)
	}
}

// flush passes n bytes on as a line.
func (w *lineWriter) flush(n int) {
	w.line = append(append(w.line[:0], w.partial[:n]...), '\n')
	_, _ = w.to.Write(w.line)
	w.partial = append(w.partial[:0], w.partial[n:]...)
}

// Close passes an unfinished line on.
func (w *lineWriter) Close() error {
	if len(w.partial) > 0 {
		w.flush(len(w.partial))
	}
	return nil
}

// output sends what a process writes to the telemetry and to the log.
type output struct{ telemetry, log io.WriteCloser }

func (o *output) Write(b []byte) (int, error) {
	_, _ = o.telemetry.Write(b)
	return o.log.Write(b)
}

func (o *output) Close() error {
	_ = o.telemetry.Close()
	return o.log.Close()
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// notices collects what the sandboxes say, each thing once.
type notices struct {
	mu   sync.Mutex
	seen []string
}

func (n *notices) add(texts ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, text := range texts {
		if !slices.Contains(n.seen, text) {
			n.seen = append(n.seen, text)
		}
	}
}

func (n *notices) list() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]string(nil), n.seen...)
}
