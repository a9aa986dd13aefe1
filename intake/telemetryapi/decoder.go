package telemetryapi

import (
	"bytes"
	"encoding/json"
	"time"
	"unicode/utf8"

	"slipstream/telemetry"
)

// maxPending bounds how much of a cut record waits for its rest, in bytes.
const maxPending = 4 << 20

// maxType bounds the length of an event type that we do not know, in bytes.
const maxType = 128

// Tally is what became of one body.
type Tally struct {
	Records        int // handed on
	Malformed      int // events given up because they are not valid events
	MalformedBytes int // what those and unreadable rests amount to
	Truncated      int // records handed on whose rest never came
}

// Decoder turns the bodies of one subscription, in the order of their arrival,
// into logs. It keeps what outlives a body: the invocation that is going on and
// a record that was cut at maxBytes. It is not safe for concurrent use.
type Decoder struct {
	// Concurrent says that invocations go on at the same time: a line then
	// belongs to the one that it names itself, if any.
	Concurrent bool

	log     telemetry.Log
	current request
	before  string // the invocation before current
	pending pending
	joined  []byte
}

// request is the invocation that platform.start announced last.
type request struct {
	id    string
	start time.Time
}

// pending is a record whose body was cut: the event up to its value, which the
// next body repeats, and as much of the value as there was.
type pending struct {
	envelope []byte
	value    []byte
}

// event is one element of a body, as positions in it.
type event struct {
	start, end int
	time, kind []byte // without quotes
	record     []byte
	broken     int // where the value begins, -1 unless the body ends in it
}

// Decode hands every record of body to emit, in order. The Log and its Body are
// valid during the call only. now stands in for a time that is missing or
// unreadable. Nothing in body makes it fail: what cannot be read is tallied.
func (d *Decoder) Decode(body []byte, now time.Time, emit func(*telemetry.Log)) Tally {
	var t Tally
	if d.pending.envelope != nil {
		body = d.resume(body, now, emit, &t)
	}
	i := skipSpace(body, 0)
	if i >= len(body) || body[i] != '[' {
		t.lose(len(body))
		return t
	}
	d.decodeEvents(body, i+1, now, emit, &t)
	return t
}

// Flush hands on a cut record whose rest can no longer come.
func (d *Decoder) Flush(now time.Time, emit func(*telemetry.Log)) Tally {
	var t Tally
	d.giveUp(now, emit, &t)
	return t
}

func (t *Tally) lose(n int) {
	t.Malformed++
	t.MalformedBytes += n
}

// decodeEvents reads the elements from body[i] on to the array's end. After an
// element that is not an event it goes on with the next thing that looks like
// one, so that one bad record costs no other.
func (d *Decoder) decodeEvents(body []byte, i int, now time.Time, emit func(*telemetry.Log), t *Tally) {
	for {
		i = skipSpace(body, i)
		if i < len(body) && body[i] == ',' {
			i = skipSpace(body, i+1)
		}
		if i < len(body) && body[i] == ']' {
			if rest := skipSpace(body, i+1); rest < len(body) {
				t.lose(len(body) - rest)
			}
			return
		}
		if i >= len(body) { // cut between two events: nothing of a record is missing
			return
		}
		ev, out := readEvent(body, i)
		switch {
		case out == complete && ev.kind != nil:
			d.emit(&ev, now, emit)
			t.Records++
			i = ev.end
			continue
		case out == complete:
			t.lose(ev.end - i)
			i = ev.end
			continue
		case out == truncated && ev.broken >= 0:
			d.hold(body, &ev)
			if len(d.pending.value) > maxPending {
				d.giveUp(now, emit, t)
			}
			return
		}
		next := bytes.Index(body[i+1:], []byte(`{"time":`))
		if next < 0 {
			t.lose(len(body) - i)
			return
		}
		t.lose(next + 1)
		i += 1 + next
	}
}

// readEvent reads the object at body[i].
func readEvent(body []byte, i int) (event, outcome) {
	ev := event{start: i, broken: -1}
	if body[i] != '{' {
		return ev, invalid
	}
	i = skipSpace(body, i+1)
	if i < len(body) && body[i] == '}' {
		ev.end = i + 1
		return ev, complete
	}
	for {
		key := i
		value, out := skipKey(body, i)
		if out != complete {
			return ev, out
		}
		end, out := skipValue(body, value)
		name := keyName(body, key)
		if out == truncated && name == "record" && ev.kind != nil {
			ev.broken = value
		}
		if out != complete {
			return ev, out
		}
		ev.set(name, body[value:end])
		i = skipSpace(body, end)
		if i >= len(body) {
			return ev, truncated
		}
		switch body[i] {
		case '}':
			ev.end = i + 1
			return ev, complete
		case ',':
			i = skipSpace(body, i+1)
		default:
			return ev, invalid
		}
	}
}

// keyName names the key whose opening quote is body[i], if it is one of ours.
func keyName(body []byte, i int) string {
	for _, name := range [...]string{"time", "type", "record"} {
		if k := i + 1 + len(name); k < len(body) && body[k] == '"' && string(body[i+1:k]) == name {
			return name
		}
	}
	return ""
}

func (ev *event) set(name string, value []byte) {
	switch {
	case name == "record":
		ev.record = value
	case len(value) < 2 || value[0] != '"':
	case name == "time":
		ev.time = value[1 : len(value)-1]
	case name == "type" && len(value) <= maxType && len(value) > 2:
		ev.kind = value[1 : len(value)-1]
	}
}

// emit hands on one event with the invocation that it belongs to.
func (d *Decoder) emit(ev *event, now time.Time, emit func(*telemetry.Log)) {
	if ev.record == nil {
		ev.record = []byte("null")
	}
	d.log = telemetry.Log{Time: parseTime(ev.time, now), Type: typeName(ev.kind), Body: ev.record}
	d.log.RequestID = d.requestOf(&d.log)
	emit(&d.log)
}

// requestOf finds the invocation of a record: a platform event names it; any
// other belongs to the invocation that platform.start announced before, or,
// where the streams overtook each other, to the one before that.
func (d *Decoder) requestOf(l *telemetry.Log) string {
	switch l.Type {
	case "function", "extension":
		if d.Concurrent {
			return named(l.Body)
		}
		if l.Time.Before(d.current.start) {
			return d.before
		}
		return d.current.id
	case "platform.start", "platform.runtimeDone", "platform.report", "platform.end":
	default:
		return ""
	}
	raw := Member(l.Body, "requestId")
	if len(raw) < 2 || raw[0] != '"' {
		return ""
	}
	id := raw[1 : len(raw)-1]
	switch {
	case string(id) == d.current.id:
		return d.current.id
	case string(id) == d.before:
		return d.before
	}
	name := string(id)
	if l.Type == "platform.start" {
		d.before, d.current = d.current.id, request{id: name, start: l.Time}
	}
	return name
}

// named is the request id that a line of Lambda's JSON log format carries.
func named(body []byte) string {
	if len(body) == 0 || body[0] != '{' {
		return ""
	}
	raw := Member(body, "requestId")
	if len(raw) < 2 || raw[0] != '"' {
		return ""
	}
	return string(raw[1 : len(raw)-1])
}

// known are the event types of the Telemetry and the Logs API, so that none of
// them costs an allocation.
var known = [...]string{
	"function", "extension", "platform.start", "platform.runtimeDone", "platform.report", "platform.end",
	"platform.initStart", "platform.initRuntimeDone", "platform.initReport", "platform.extension",
	"platform.telemetrySubscription", "platform.logsSubscription", "platform.logsDropped", "platform.fault",
	"platform.restoreStart", "platform.restoreRuntimeDone", "platform.restoreReport",
}

// typeName is the event type as a string.
func typeName(kind []byte) string {
	for _, name := range known {
		if string(kind) == name {
			return name
		}
	}
	return string(kind)
}

// hold keeps a cut record until the next body.
func (d *Decoder) hold(body []byte, ev *event) {
	d.pending.envelope = append(d.pending.envelope[:0], body[ev.start:ev.broken]...)
	d.pending.value = append(d.pending.value[:0], body[ev.broken:]...)
}

// resume joins a cut record with body, which repeats its envelope and then goes
// on with the raw bytes (seen on the service; it gives no sequence number). A
// body that is no such continuation is left as it is and the cut record is
// handed on without its rest.
func (d *Decoder) resume(body []byte, now time.Time, emit func(*telemetry.Log), t *Tally) []byte {
	i := skipSpace(body, 0)
	if i < len(body) && body[i] == '[' {
		i = skipSpace(body, i+1)
	}
	if bytes.HasPrefix(body[i:], d.pending.envelope) {
		d.joined = append(d.joined[:0], '[')
		d.joined = append(d.joined, d.pending.envelope...)
		d.joined = append(d.joined, d.pending.value...)
		d.joined = append(d.joined, body[i+len(d.pending.envelope):]...)
		if _, out := readEvent(d.joined, 1); out != invalid {
			d.pending.envelope = nil
			joined := d.joined
			d.joined, d.pending.value = nil, nil // large and rare: not worth keeping
			return joined
		}
	}
	d.giveUp(now, emit, t)
	return body
}

// giveUp hands on what there is of a cut record, as a string.
func (d *Decoder) giveUp(now time.Time, emit func(*telemetry.Log), t *Tally) {
	if d.pending.envelope == nil {
		return
	}
	event := append(d.pending.envelope, closedString(d.pending.value)...)
	event = append(event, '}')
	d.pending = pending{}
	if ev, out := readEvent(event, 0); out == complete && ev.kind != nil {
		d.emit(&ev, now, emit)
		t.Records++
		t.Truncated++
		return
	}
	t.lose(len(event))
}

// closedString makes a JSON string of the beginning of a JSON value: of a
// string what is there of it, of anything else its JSON text.
func closedString(value []byte) []byte {
	if len(value) > 0 && value[0] == '"' {
		for k := 0; k < utf8.UTFMax && len(value) > 1; k++ { // a character may be cut in two
			if r, n := utf8.DecodeLastRune(value); r != utf8.RuneError || n != 1 {
				break
			}
			value = value[:len(value)-1]
		}
		closed := append(append([]byte{}, value...), '"')
		for cut := len(value); cut > 0 && cut > len(value)-6; cut-- { // an escape may be cut in two
			closed[cut] = '"'
			if end, out := skipString(closed[:cut+1], 0); out == complete && end == cut+1 {
				return closed[:cut+1]
			}
		}
	}
	text, err := json.Marshal(string(value))
	if err != nil { // a string always marshals
		return []byte(`""`)
	}
	return text
}

// parseTime reads RFC 3339 in UTC with milliseconds, the platform's own form,
// by hand, and leaves other forms to the library. now stands in for the rest.
func parseTime(b []byte, now time.Time) time.Time {
	const form = "2006-01-02T15:04:05.000Z"
	if len(b) == len(form) && b[4] == '-' && b[7] == '-' && b[10] == 'T' && b[13] == ':' && b[16] == ':' &&
		b[19] == '.' && b[23] == 'Z' {
		year, ok1 := digits(b[0:4])
		month, ok2 := digits(b[5:7])
		day, ok3 := digits(b[8:10])
		hour, ok4 := digits(b[11:13])
		minute, ok5 := digits(b[14:16])
		second, ok6 := digits(b[17:19])
		millis, ok7 := digits(b[20:23])
		ok := ok1 && ok2 && ok3 && ok4 && ok5 && ok6 && ok7
		if ok && month >= 1 && month <= 12 && day >= 1 && day <= 31 && hour < 24 && minute < 60 && second < 60 {
			return time.Date(year, time.Month(month), day, hour, minute, second, millis*int(time.Millisecond), time.UTC)
		}
	}
	t, err := time.Parse(time.RFC3339Nano, string(b))
	if err != nil {
		return now.UTC()
	}
	return t.UTC()
}

func digits(b []byte) (int, bool) {
	n := 0
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, true
}
