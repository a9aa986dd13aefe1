package sim_test

import (
	"fmt"
	"strings"
	"time"
)

// record is one event of the platform and what the platform knows of it, or one
// record that the function exports and what the function knows.
type record struct {
	token   int
	life    int
	kind    string    // event type
	value   string    // the record's JSON
	of      string    // its invocation
	request string    // the same, if that can be told for sure
	parts   int       // posts that it was spread over so far
	whole   bool      // its last part has been posted
	offered int       // parts that the edge may have taken; of an export: times
	acked   int       // parts that the platform has a 200 for
	first   time.Time // when the whole of it was first offered
	settled time.Time // when the last part had its 200
	shown   time.Time // what the environment's wall clock showed then
	made    time.Time
	export  *exported // nil: the platform's
}

// definite tells whether the edge owes the record: every part has its 200.
func (r *record) definite() bool { return r.whole && r.acked == r.parts }

// lane is what became of the records at one destination, its fallback included.
type lane struct {
	plan    *lanePlan
	number  int
	batches map[string]*content // by id, of every try
	taken   map[string]bool     // batch ids
	where   map[int]string      // token to batch id
	copies  map[int]int         // by token
	refused map[int]bool        // by token: never to be taken
	owed    int                 // bytes of values that this life's edge holds
	given   int                 // records that no destination will get: the edge said so, or they cannot outlive a kill
	left    [2]int              // at least and at most so many were left for the next life
	lives   []*laneLife
}

// content is what is in a batch.
type content struct {
	body  []byte
	lines []string
	tries uint64
	name  string // of the object, or file, that it is
}

// laneLife is a lane in one life of the edge.
type laneLife struct {
	told, rejected int           // records in answers that the edge saw
	answers        []answer      // the same, with their times
	notBefore      time.Time     // a Retry-After that the edge was told, in the platform's clock
	forward        time.Duration // what the environment's clock had been set forward by then
	health         health
	worked         time.Time // the last success, which ends it
	denied         bool      // since SHUTDOWN something was not taken at once
	lastReturn     time.Time
	busy           time.Duration // answers since SHUTDOWN took that long together
}

// answer is the end of one send.
type answer struct {
	at time.Time
	ok bool
}

// account is the edge's own closing line.
type account struct {
	received, recovered, delivered, fallback, spooled int
	dropped                                           map[string]int
}

func (a *account) lost() int {
	n := 0
	for _, k := range a.dropped {
		n += k
	}
	return n
}

// wants tells whether the lane takes a type of record.
func (l *lane) wants(kind string) bool {
	first, _, _ := strings.Cut(kind, ".")
	return l.plan.types == "" || strings.Contains(l.plan.types, first)
}

// problem notes that something is wrong. The first one is what is reported.
func (w *world) problem(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	w.logs.Lock()
	w.problems = append(w.problems, text)
	w.logs.Unlock()
	w.logf("PROBLEM: %s", text)
}

// take books a batch that a destination holds durably, from the edge's bytes.
func (w *world) take(l *lane, id string, lines []string) {
	w.mu.Lock()
	again := l.taken[id]
	l.taken[id] = true
	w.mu.Unlock()
	if again {
		return
	}
	for _, text := range lines {
		if strings.Contains(text, `"type":"slipstream.metrics"`) {
			continue
		}
		w.takeLine(l, id, text)
	}
}

// takeLine books one delivered line and compares it with what was sent.
func (w *world) takeLine(l *lane, id, text string) {
	token := tokenOf(text)
	w.mu.Lock()
	var r *record
	if token >= 0 && token < len(w.records) {
		r = w.records[token]
	}
	before, there := l.where[token]
	l.where[token] = id
	l.copies[token]++
	double := there && (r == nil || r.export == nil || l.copies[token] > r.offered)
	definite := r != nil && r.definite()
	if definite && !there && r.life == w.life {
		w.owes(l, -len(r.value))
		w.running.judgeAge(l, r)
	}
	w.mu.Unlock()
	switch {
	case r == nil:
		w.problem("%s: batch %s has a line that nobody sent: %.200s", l.plan.name, id, text)
		return
	case double:
		w.problem("%s: record %d (%s) is in batch %s and in batch %s", l.plan.name, token, r.kind, before, id)
	case !l.wants(r.kind):
		w.problem("%s: record %d (%s) is not of the types that it wants", l.plan.name, token, r.kind)
	case r.export != nil && r.offered == 0:
		w.problem("%s: record %d (%s) was refused, and is in batch %s", l.plan.name, token, r.kind, id)
	}
	if r.export != nil {
		r.arrivedAs(text, w)
		return
	}
	value, column := r.value, `,"record":`
	if value[0] == '"' {
		value, column = strings.Replace(value, `\n"`, `"`, 1), `,"message":`
	}
	want := column + value + "}"
	if w.plan.policy != nil {
		text = adjusted.ReplaceAllString(text, "}")
	}
	// A record that was cut and whose rest never came is handed on as a string.
	cut := !definite && len(value) > hugeRecord && !strings.HasSuffix(text, "}}")
	if !strings.HasSuffix(text, want) && !cut {
		w.problem("%s: record %d arrived as %.300s…, want an end like %.300s…", l.plan.name, token, text, want)
	}
	if r.request != "" && !strings.Contains(text, `"request_id":"`+r.request+`"`) {
		w.problem("%s: record %d (%s) is not of invocation %s: %.200s", l.plan.name, token, r.kind, r.request, text)
	}
}

// settle notes that the edge owes a record from now on, and tells whether that is
// within the bound. The caller holds w.mu.
func (w *world) settle(r *record) bool {
	bounded := true
	r.settled, r.shown = time.Now(), w.clock.wall()
	for _, lane := range w.lanes {
		if _, there := lane.where[r.token]; !there && !lane.refused[r.token] && lane.wants(r.kind) {
			bounded = w.owes(lane, len(r.value)) && bounded
		}
	}
	return bounded
}

// tokenOf finds the number between tildes that every record carries.
func tokenOf(text string) int {
	_, rest, _ := strings.Cut(text, "~")
	digits, _, ok := strings.Cut(rest, "~")
	if !ok {
		return -1
	}
	token := -1
	if _, err := fmt.Sscanf(digits, "%d", &token); err != nil {
		return -1
	}
	return token
}
