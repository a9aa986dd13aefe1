package process

import (
	"bytes"
	"time"

	"slipstream/process/filter"
	"slipstream/process/invocation"
	"slipstream/process/limit"
	"slipstream/process/parse"
	"slipstream/process/rate"
	"slipstream/process/sample"
	"slipstream/telemetry"
	"slipstream/wire"
)

// LogPolicy is what a Logs applies. The zero value changes nothing.
type LogPolicy struct {
	Redactor Redactor // nil: nothing is redacted
	// Record is how many bytes of a record's body are kept, 0 for all.
	Record int
	// Parse finds each record's level, message and fields.
	Parse bool
	// Metrics sees each record first, as it came: a mask would hide a number. What it
	// keeps of one has to be redacted by itself. True: the record was a metric's only,
	// and goes no further.
	Metrics func(l *telemetry.Log) (consumed bool)
	// Read sees each record that goes further when it is taken apart, before anything
	// is dropped for its volume.
	Read    func(l *telemetry.Log)
	Filter  *filter.Filter
	Limiter *rate.Limiter
	// Repeats is how long equal lines are counted instead of repeated; 0 is off.
	Repeats time.Duration
	Sample  *sample.Config // nil: every invocation is kept
	Held    sample.Store   // of the invocations that Sample has not decided
	// Exports takes what is kept of what was exported, where there is Sample.
	Exports func(x *telemetry.Export)
}

// Logs applies the policy to the platform's records, one after the other, in one
// goroutine at a time: measure, redact, cut, take apart, filter, limit, count
// repetitions, sample. It has no clock: call Tick when Deadline has come.
type Logs struct {
	policy  LogPolicy
	emit    func(*telemetry.Log)
	parser  parse.Parser
	repeats *rate.Repeats
	sampler *sample.Sampler
	weigh   wire.ExportEdit
	weighed []byte
	on      func(*telemetry.Log) // what is behind the limiter
	now     time.Time

	keyLines               int    // lines that may still be of a private key
	redacted, cut          []byte // the body, once it is changed
	redactions, cuts       int
	consumed, filteredLogs int
}

// NewLogs makes one that hands to emit what goes on.
func NewLogs(p LogPolicy, emit func(*telemetry.Log)) *Logs {
	l := &Logs{policy: p, emit: emit, on: emit}
	if p.Sample != nil {
		l.weigh.Record = func() bool {
			l.weigh.Weigh(uint32(p.Sample.OneIn))
			return true
		}
		l.sampler = sample.New(*p.Sample, p.Held, sample.Emit{Log: emit, Export: l.Pass})
		l.on = func(log *telemetry.Log) { l.sampler.Add(log, l.now) }
	}
	if p.Repeats > 0 {
		l.repeats = rate.NewRepeats(p.Repeats, l.on)
	}
	return l
}

// Take applies the policy to one record. What it emits is valid until emit
// returns; log's body may be replaced by one that is borrowed from l.
func (l *Logs) Take(log *telemetry.Log, now time.Time) {
	l.now = now
	if l.policy.Metrics != nil && l.policy.Metrics(log) {
		l.consumed++
		return
	}
	l.redact(log)
	l.shorten(log)
	if l.policy.Parse {
		l.parser.Parse(log)
	}
	if l.policy.Read != nil {
		l.policy.Read(log)
	}
	switch {
	case l.policy.Filter != nil && !l.policy.Filter.Keep(log):
		l.filteredLogs++
		l.note(log)
	case l.policy.Limiter != nil && !l.policy.Limiter.Allow(log, now):
		l.note(log)
	case l.repeats != nil:
		l.note(log)
		l.repeats.Add(log, now)
	default:
		l.on(log)
	}
}

// note has the sampler see a record that may not get to it: it may be the error.
func (l *Logs) note(log *telemetry.Log) {
	if l.sampler != nil {
		l.sampler.Note(log, l.now)
	}
}

// redact replaces what must not leave.
func (l *Logs) redact(log *telemetry.Log) {
	if l.policy.Redactor == nil || l.keyLines > 0 && l.redactKeyLine(log) || !l.policy.Redactor.Suspect(log.Body) {
		return
	}
	body, changed := l.policy.Redactor.JSON(kept(l.redacted), log.Body)
	if l.redacted = body; changed {
		if opensKey(log.Body) {
			l.keyLines = maxKeyLines
		}
		log.Body = body
		l.redactions++
	}
}

// maxKeyLines is how many lines a private key has at most: RSA's with 16,384 bits.
const maxKeyLines = 200

// opensKey tells whether a private key begins in a line, and does not end there.
func opensKey(line []byte) bool {
	begin := max(bytes.LastIndex(line, []byte("-----BEGIN ")), 0)
	return bytes.Contains(line[begin:], []byte("PRIVATE KEY-----")) && !bytes.Contains(line[begin:], []byte("-----END "))
}

// redactKeyLine masks a line that is of a private key whose first line was in a
// record before: who prints one, prints a record a line.
func (l *Logs) redactKeyLine(log *telemetry.Log) bool {
	if log.Type != "function" {
		return false
	}
	l.keyLines--
	line := bytes.Trim(log.Body, `"`)
	for _, end := range []string{`\n`, `\r`} {
		line = bytes.TrimSuffix(line, []byte(end))
	}
	if bytes.Contains(line, []byte("-----END ")) { // it is known by itself
		l.keyLines = 0
		return false
	}
	for _, c := range line {
		if c != '+' && c != '/' && c != '=' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	log.Body = append(kept(l.redacted), `"`+mask+`"`...)
	l.redacted = log.Body
	l.redactions++
	return true
}

// shorten cuts a body that is too long.
func (l *Logs) shorten(log *telemetry.Log) {
	if most := l.policy.Record; most == 0 || len(log.Body) <= most {
		return
	}
	body, changed := limit.JSON(kept(l.cut), log.Body, l.policy.Record)
	if l.cut = body; changed {
		log.Body = body
		l.cuts++
	}
}

// kept is a buffer for the next record, unless it has become too large.
func kept(b []byte) []byte {
	if cap(b) > keptBuffer {
		return nil
	}
	return b[:0]
}

// Redact takes another Redactor from now on.
func (l *Logs) Redact(by Redactor) { l.policy.Redactor = by }

// Deadline is when Tick is due, zero for never.
func (l *Logs) Deadline() time.Time {
	var first time.Time
	earlier := func(at time.Time) {
		if !at.IsZero() && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	if l.policy.Limiter != nil {
		earlier(l.policy.Limiter.Deadline())
	}
	if l.repeats != nil {
		earlier(l.repeats.Deadline())
	}
	if l.sampler != nil {
		earlier(l.sampler.Deadline())
	}
	return first
}

// Tick does what is due by now.
func (l *Logs) Tick(now time.Time) {
	l.now = now
	if l.policy.Limiter != nil {
		l.policy.Limiter.Tick(now, l.emit)
	}
	if l.repeats != nil {
		l.repeats.Tick(now)
	}
	if l.sampler != nil {
		l.sampler.Tick(now)
	}
}

// Invoked says that an invocation begins: what came before a freeze has not had
// its time yet.
func (l *Logs) Invoked(now time.Time) {
	if l.sampler != nil {
		l.sampler.Invoked(now)
	}
}

// Told takes note of what a part of an export says of its invocation. Use it, and the
// three below, where there is sampling: LogPolicy.Sample.
func (l *Logs) Told(p *invocation.Part, now time.Time) {
	if !p.Failed {
		return
	}
	l.sampler.FailedAt(p.RequestID, p.FirstError, now)
	if p.LastError.After(p.FirstError) {
		l.sampler.FailedAt(p.RequestID, p.LastError, now)
	}
}

// Verdict is the sampler's on a part of an export.
func (l *Logs) Verdict(p *invocation.Part) sample.Verdict {
	return l.sampler.Verdict(p.RequestID, p.At, p.Records)
}

// Hold takes an export of a part whose verdict was Hold.
func (l *Logs) Hold(x *telemetry.Export, p *invocation.Part, now time.Time) {
	l.sampler.AddExport(x, p.RequestID, p.At, now)
}

// Pass hands on an export of parts whose verdict was Keep, or, weighed, Weigh.
func (l *Logs) Pass(x *telemetry.Export, weighed bool) {
	if !weighed {
		l.policy.Exports(x)
		return
	}
	all := *x
	all.Body, _ = l.weigh.Edit(kept(l.weighed), x.Signal, x.Body)
	l.policy.Exports(&all)
	if len(x.Body) > 0 && &all.Body[0] != &x.Body[0] { // else it says so already
		l.weighed = all.Body
	}
}

// Finish lets go of everything that is held: the environment ends.
func (l *Logs) Finish(now time.Time) {
	l.now = now
	if l.policy.Limiter != nil {
		l.policy.Limiter.Finish(l.emit)
	}
	if l.repeats != nil {
		l.repeats.Finish(now)
	}
	if l.sampler != nil {
		l.sampler.Finish()
	}
}

// Counts tells how many records did not go on, or not as they came, by reason.
func (l *Logs) Counts() map[string]int {
	counts := map[string]int{}
	add := func(reason string, n int) {
		if n > 0 {
			counts[reason] += n
		}
	}
	add("redacted", l.redactions)
	add("record_too_long", l.cuts)
	add("metric_only", l.consumed)
	add("filtered", l.filteredLogs)
	if l.policy.Limiter != nil {
		for _, n := range l.policy.Limiter.Cut() {
			add("over_rate", n)
		}
	}
	if l.repeats != nil {
		held, _ := l.repeats.Held()
		add("repeated", held)
	}
	records, _ := l.notSampled()
	add("not_sampled", records)
	return counts
}

// ExportCounts tells how many exported records did not go on, by reason.
func (l *Logs) ExportCounts() map[string]int {
	if _, exported := l.notSampled(); exported > 0 {
		return map[string]int{"not_sampled": exported}
	}
	return nil
}

// notSampled is how many records the sampler has dropped.
func (l *Logs) notSampled() (records, exported int) {
	if l.sampler == nil {
		return 0, 0
	}
	for _, c := range l.sampler.Counts() {
		if c.Dropped {
			records, exported = records+c.Records, exported+c.Exported
		}
	}
	return records, exported
}

// Held is how many records wait for their invocation's end, and their bytes.
func (l *Logs) Held() (records, bytes int) {
	if l.sampler == nil {
		return 0, 0
	}
	return l.sampler.Held()
}
