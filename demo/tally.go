package demo

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// lineID is the number that shop.Shop gives each line: function, process, count.
var lineID = regexp.MustCompile(`\b((?:checkout|inventory|payment)-[0-9a-f]{8})-([0-9]+)\b`)

// perInvocation are the platform's records that each invocation has once.
var perInvocation = []string{"platform.start", "platform.runtimeDone", "platform.report"}

// ledger is how many lines each process of a function has written.
type ledger map[string]int

// readLedger reads what the functions noted in dir.
func readLedger(dir string) (ledger, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read the ledger: %w", err)
	}
	l := ledger{}
	for _, entry := range entries {
		text, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			return nil, fmt.Errorf("read the ledger: %w", err)
		}
		if len(text) == 0 { // started, and nothing written yet
			continue
		}
		if l[entry.Name()], err = strconv.Atoi(string(text)); err != nil {
			return nil, fmt.Errorf("read the ledger of %s: %w", entry.Name(), err)
		}
	}
	return l, nil
}

// total is the number of lines written.
func (l ledger) total() int {
	sum := 0
	for _, n := range l {
		sum += n
	}
	return sum
}

// arrivals counts what one destination holds.
type arrivals struct {
	lines    map[string]map[int]int    // by instance and number
	platform map[string]map[string]int // by event type and request id
	objects  int
	bytes    int64
	bad      int // lines that are not what our format promises
}

func newArrivals() *arrivals {
	a := &arrivals{lines: map[string]map[int]int{}, platform: map[string]map[string]int{}}
	for _, event := range perInvocation {
		a.platform[event] = map[string]int{}
	}
	return a
}

// column is what the count reads of a delivered line.
type column struct {
	Type       string          `json:"type"`
	RequestID  string          `json:"request_id"`
	Message    json.RawMessage `json:"message"`
	Attributes struct {
		Line string `json:"line"`
	} `json:"attributes"`
	Record json.RawMessage `json:"record"`
}

// object counts the lines of one object; body is its decoded content.
func (a *arrivals) object(size int64, body []byte) {
	a.objects++
	a.bytes += size
	for line := range bytes.Lines(body) {
		var c column
		if err := json.Unmarshal(line, &c); err != nil || c.Type == "" {
			a.bad++
			continue
		}
		if byID := a.platform[c.Type]; byID != nil {
			byID[c.RequestID]++
		}
		if c.Type != "function" {
			continue
		}
		text := c.Attributes.Line // of a JSON line that was taken apart
		if text == "" {
			text = string(c.Record) + string(c.Message)
		}
		// A line may quote another one, as an error does; the number is its last.
		ids := lineID.FindAllStringSubmatch(text, -1)
		if len(ids) == 0 { // the runtime's own words, for an error
			continue
		}
		id := ids[len(ids)-1]
		number, _ := strconv.Atoi(id[2]) // the pattern has only digits
		if a.lines[id[1]] == nil {
			a.lines[id[1]] = map[int]int{}
		}
		a.lines[id[1]][number]++
	}
}

// Tally is what became of the lines at one destination.
type Tally struct {
	Destination string
	Produced    int // lines that the functions wrote
	Delivered   int // of those, how many are there
	Lost        int
	Duplicated  int // copies beyond the first
	Unreadable  int // delivered lines that are not what the format promises
	// Platform is how many invocations have each platform record there, and
	// PlatformDuplicated the copies beyond the first.
	Platform           map[string]int
	PlatformDuplicated int
	Objects            int
	Bytes              int64
	Sample             Sample
}

// tally compares what arrived with what was written.
func (a *arrivals) tally(l ledger) Tally {
	t := Tally{Produced: l.total(), Objects: a.objects, Bytes: a.bytes, Unreadable: a.bad, Platform: map[string]int{}}
	for instance, last := range l {
		for number := 1; number <= last; number++ {
			if a.lines[instance][number] > 0 {
				t.Delivered++
			} else {
				t.Lost++
			}
		}
	}
	for instance, numbers := range a.lines {
		for number, count := range numbers {
			t.Duplicated += count - 1
			if number > l[instance] { // killed between the line and the ledger
				t.Produced++
				t.Delivered++
			}
		}
	}
	for event, byID := range a.platform {
		t.Platform[event] = len(byID)
		for _, count := range byID {
			t.PlatformDuplicated += count - 1
		}
	}
	return t
}

// exact tells whether everything is there exactly once.
func (t Tally) exact(invocations int) bool {
	for _, event := range perInvocation {
		if t.Platform[event] != invocations {
			return false
		}
	}
	return t.Lost == 0 && t.Duplicated == 0 && t.PlatformDuplicated == 0 && t.Unreadable == 0
}

// Sample is what one object looks like.
type Sample struct {
	Name  string
	Bytes int64
	Lines []string
}

const sampleLines = 3

// sample keeps the first function lines of an object, else its first lines.
func sample(name string, size int64, body []byte) Sample {
	s := Sample{Name: name, Bytes: size}
	for _, wanted := range []string{`"type":"function"`, ""} {
		for line := range bytes.Lines(body) {
			text := strings.TrimSpace(string(line))
			if len(s.Lines) < sampleLines && strings.Contains(text, wanted) {
				s.Lines = append(s.Lines, text)
			}
		}
		if len(s.Lines) > 0 {
			break
		}
	}
	return s
}
