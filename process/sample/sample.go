// Package sample keeps whole invocations or drops them: those that failed, were
// slow or are one in N are kept with every line and span, the others go. Use a
// Sampler last before encoding. A record is held until its invocation's outcome is
// known; whatever is in doubt is kept.
package sample

import (
	"slices"
	"time"

	"slipstream/process/frame"
	"slipstream/telemetry"
)

// Config says what is kept. Zero bounds stand for defaults.
type Config struct {
	// OneIn keeps one in so many of the invocations that there is no other reason
	// to keep: 1 all of them, 0 none.
	OneIn int
	// Slow keeps invocations that took so long; 0 is off.
	Slow time.Duration
	// SamplePlatform drops an invocation's platform.* events with it, which are
	// kept otherwise.
	SamplePlatform bool
	// Concurrent tells of managed instances: an invocation's end says nothing of
	// the others.
	Concurrent bool

	// Next tells which invocation came after one, "" if nobody knows; it may be nil.
	Next func(requestID string) string

	MaxBytes       int           // that are held, in frames; 4 MiB
	MaxInvocations int           // that are remembered, decided or not; 64
	Wait           time.Duration // for late lines after the runtime is done, if no report comes; 5 s
}

// maxAge is how long an invocation may be without a word before it counts as
// one whose end was never told: more than Lambda's longest timeout.
const maxAge = 16 * time.Minute

// Store is where held records lie. One whose memory survives the process makes
// them survive it: a process that finds runs of a dead one keeps all of them.
type Store interface {
	Open(now time.Time) Run
}

// Run is the memory of one invocation's records.
type Run interface {
	// Append adds a record as frame.Encoder writes it and gives its size in bytes.
	Append(l *telemetry.Log) int
	// AppendExport does the same with an export.
	AppendExport(x *telemetry.Export, n frame.Note) int
	// Pages hands out all that was added, in order and never a frame in two.
	Pages(each func(frames []byte))
	// Release gives the memory back: the records are decided, and those that are
	// kept have been emitted. A Store that survives the process waits with it until
	// they are safe where they were emitted to.
	Release()
}

// Sampler is a state machine: it has no clock, and acts only when it is called.
// It is for one goroutine at a time.
type Sampler struct {
	config Config
	store  Store
	emit   Emit

	known  map[string]*invocation
	order  []*invocation // by first sight, or the first word of the platform
	last   *invocation   // the one that the last record was of
	past   [pastInvocations]past
	pastAt int // where past goes on
	held   int // bytes
	// orphans are dropped, and hold something still: it may be the next invocation's.
	orphans []*invocation
	tally   tally

	replayed telemetry.Log
	fields   []telemetry.Field
}

// Emit takes what is kept: at once where the decision is made, else in its order
// when it is. It must not call the Sampler.
type Emit struct {
	Log func(*telemetry.Log)
	// Export may be nil where AddExport is not called. If weighed, each record stands
	// for Config.OneIn.
	Export func(x *telemetry.Export, weighed bool)
}

// invocation is what is known of one.
type invocation struct {
	id     string
	told   bool      // by the platform; else only exports name it
	start  time.Time // of the platform's event, zero if that has not come
	done   time.Time // when the runtime's end was told, or the environment went on after that
	seen   time.Time // when it was last heard of
	run    Run       // nil: nothing is held
	bytes  int
	held   amount
	until  time.Time // when the platform says that the runtime was done; zero: unknown
	latest time.Time // of what is held that may be the next one's
	// of the exports that told of a failure, which may be the next one's
	firstError, lastError time.Time
	state                 state
	reason                reason
}

// pastInvocations is how many decisions outlive the room for their invocations,
// so that what still comes of those goes the same way.
const pastInvocations = 1024

// past is the decision on an invocation that had to make room for another.
type past struct {
	hash   uint64
	state  state
	reason reason
}

type state uint8

const (
	undecided state = iota
	kept
	dropped
)

// New gives a Sampler that hands kept records to emit. store may be nil: then held
// records lie on the heap.
func New(c Config, store Store, emit Emit) *Sampler {
	if c.MaxBytes <= 0 {
		c.MaxBytes = 4 << 20
	}
	if c.MaxInvocations <= 0 {
		c.MaxInvocations = 64
	}
	if c.Wait <= 0 {
		c.Wait = 5 * time.Second
	}
	if store == nil {
		store = &heap{}
	}
	return &Sampler{config: c, store: store, emit: emit, known: map[string]*invocation{}}
}

// Add takes a record that is to go on: it is emitted, held or dropped. A record
// of an invocation that was chosen by number gets AdjustedCount.
func (s *Sampler) Add(l *telemetry.Log, now time.Time) {
	if l.RequestID == "" {
		s.pass(l, noInvocation)
		return
	}
	i := s.note(l, now)
	if !s.config.SamplePlatform && isPlatform(l.Type) {
		s.pass(l, platform)
		return
	}
	switch s.place(i, sizeOf(l)) {
	case kept:
		s.weigh(l, i.reason)
		s.pass(l, i.reason)
	case dropped:
		s.tally.add(notSampled, amount{records: 1})
	default:
		s.hold(i, s.runOf(i, now).Append(l), amount{records: 1})
	}
}

// place tells what becomes of so many bytes of an invocation: there may be no
// room to hold them.
func (s *Sampler) place(i *invocation, size int) state {
	if i.state == undecided && !s.room(i, size) {
		s.keep(i, overflow)
	}
	return i.state
}

// runOf is where an invocation's records are held.
func (s *Sampler) runOf(i *invocation, now time.Time) Run {
	if i.run == nil {
		i.run = s.store.Open(now)
	}
	return i.run
}

// hold takes note of what was added to an invocation's run.
func (s *Sampler) hold(i *invocation, size int, n amount) {
	i.held = i.held.and(n)
	i.bytes += size
	s.held += size
}

// Note takes what a record says of its invocation. Add does it too: call it for
// records that do not get to Add, because a filter drops them.
func (s *Sampler) Note(l *telemetry.Log, now time.Time) {
	if l.RequestID != "" {
		s.note(l, now)
	}
}

func (s *Sampler) note(l *telemetry.Log, now time.Time) *invocation {
	i := s.of(l.RequestID, now)
	if !i.told {
		i.told = true
		at := slices.Index(s.order, i)
		s.order = append(slices.Delete(s.order, at, at+1), i)
	}
	switch l.Type {
	case "platform.start":
		i.start = l.Time
	case "platform.runtimeDone", "platform.report", "platform.end":
		s.ended(i, l, now)
	default:
		if l.Level >= telemetry.LevelError {
			s.fail(i)
		}
		s.slow(i, l.Time, 0)
	}
	s.bury(waiting)
	return i
}

// Invoked tells that the environment runs again: what came before a freeze has
// not had its time yet.
func (s *Sampler) Invoked(now time.Time) {
	for _, i := range s.order {
		i.seen = now
		if !i.done.IsZero() {
			i.done = now
		}
	}
	for _, i := range slices.Clone(s.order) { // others may make room
		s.blame(i, now) // the next one is known now
	}
	s.bury(waiting)
}

// Deadline is when Tick is due, zero for never.
func (s *Sampler) Deadline() (at time.Time) {
	for _, i := range s.order {
		if due := s.due(i); i.state == undecided && (at.IsZero() || due.Before(at)) {
			at = due
		}
	}
	return at
}

// due is when an undecided invocation has waited for long enough.
func (s *Sampler) due(i *invocation) time.Time {
	if i.done.IsZero() {
		return i.seen.Add(maxAge)
	}
	return i.done.Add(s.config.Wait)
}

// Tick decides what has waited for long enough.
func (s *Sampler) Tick(now time.Time) {
	for _, i := range s.order {
		if i.state == undecided && !now.Before(s.due(i)) {
			s.settle(i)
		}
	}
	s.bury(waiting)
}

// Finish keeps everything that is not decided: the environment ends.
func (s *Sampler) Finish() {
	for _, i := range s.order {
		if i.state == undecided {
			s.keep(i, shutdown)
		}
	}
	s.bury(shutdown)
}

// of finds an invocation or makes room for a new one.
func (s *Sampler) of(id string, now time.Time) *invocation {
	i := s.last
	if i == nil || i.id != id {
		i = s.known[id]
	}
	if i == nil {
		if len(s.order) >= s.config.MaxInvocations {
			s.forget()
		}
		i = &invocation{id: id}
		if p := s.pastOf(id); p != nil {
			i.state, i.reason = p.state, p.reason
			*p = past{}
		}
		s.known[id] = i
		s.order = append(s.order, i)
	}
	i.seen = now
	s.last = i
	return i
}

// pastOf is the decision on an invocation that had to make room, nil for none.
func (s *Sampler) pastOf(id string) *past {
	hash := hashOf(id)
	for at := range s.past {
		if p := &s.past[at]; p.hash == hash && p.state != undecided {
			return p
		}
	}
	return nil
}

// forget gives up the oldest invocation that is decided; if none is, the oldest.
func (s *Sampler) forget() {
	at := max(0, slices.IndexFunc(s.order, func(i *invocation) bool { return i.state != undecided }))
	i := s.order[at]
	if i.state == undecided {
		s.keep(i, overflow)
	}
	if i.run != nil {
		s.bury(overflow)
	}
	s.past[s.pastAt] = past{hashOf(i.id), i.state, i.reason}
	s.pastAt = (s.pastAt + 1) % pastInvocations
	delete(s.known, i.id)
	s.order = slices.Delete(s.order, at, at+1)
}

// ended reads one of the platform's words of an invocation's end.
func (s *Sampler) ended(i *invocation, l *telemetry.Log, now time.Time) {
	o := readOutcome(l.Body)
	if o.failed {
		s.fail(i)
	}
	s.slow(i, l.Time, o.duration)
	if i.until.IsZero() {
		i.until = l.Time
		s.blame(i, now)
	}
	if l.Type != "platform.runtimeDone" {
		if l.Type == "platform.report" { // nothing more will come
			i.done = now
			s.settle(i)
		}
		return
	}
	i.done = now
	if s.config.Concurrent {
		return
	}
	for _, earlier := range s.order {
		if earlier == i {
			break
		}
		if earlier.told {
			s.settle(earlier)
		}
	}
}

// fail keeps a failed invocation; of one that was dropped already, what is still
// to come.
func (s *Sampler) fail(i *invocation) {
	switch i.state {
	case undecided:
		s.keep(i, failed)
	case dropped:
		i.state, i.reason = kept, lateError
		s.tally.invocations[lateError]++
	case kept:
	}
}

// slow keeps an invocation that lasts for long, as a record's time or the
// platform tells.
func (s *Sampler) slow(i *invocation, at time.Time, duration time.Duration) {
	if s.config.Slow <= 0 || i.state != undecided {
		return
	}
	if duration == 0 && !i.start.IsZero() {
		duration = at.Sub(i.start)
	}
	if duration >= s.config.Slow {
		s.keep(i, slow)
	}
}

// settle decides an invocation without a reason to keep it.
func (s *Sampler) settle(i *invocation) {
	switch {
	case i.state != undecided:
	case i.done.IsZero(): // its end was never told
		s.keep(i, unknown)
	case Chosen(i.id, s.config.OneIn):
		s.keep(i, sampled)
	default:
		i.state = dropped
		s.tally.invocations[notSampled]++
		s.orphans = append(s.orphans, i)
	}
}

// keep emits what is held of an invocation; what comes later follows at once.
func (s *Sampler) keep(i *invocation, why reason) {
	i.state, i.reason = kept, why
	s.tally.invocations[why]++
	var read amount
	if i.run != nil {
		i.run.Pages(func(frames []byte) { read = read.and(s.replay(frames, why)) })
	}
	s.tally.add(unreadable, i.held.less(read))
	s.release(i)
}

// replay emits what is in some frames and gives how much it was. It stops at what
// is none.
func (s *Sampler) replay(frames []byte, why reason) (n amount) {
	var x telemetry.Export
	for l := &s.replayed; len(frames) > 0; {
		var err error
		if frame.Exported(frames) {
			var note frame.Note
			if note, frames, err = frame.DecodeExport(frames, &x); err != nil {
				return n
			}
			n.exported += x.Records
			s.keepExport(&x, note, why)
			continue
		}
		l.Fields = s.fields[:0]
		if frames, err = frame.Decode(frames, l); err != nil {
			return n
		}
		if l.Fields != nil {
			s.fields = l.Fields
		}
		n.records++
		s.weigh(l, why)
		s.pass(l, why)
	}
	return n
}

func (s *Sampler) release(i *invocation) {
	if i.run != nil {
		i.run.Release()
	}
	s.held -= i.bytes
	i.run, i.bytes, i.held, i.latest = nil, 0, amount{}, time.Time{}
}

// sizeOf is about how many bytes a record takes while it is held, or less.
func sizeOf(l *telemetry.Log) int {
	size := 128 + len(l.Type) + len(l.RequestID) + len(l.Body) + len(l.Message)
	for i := range l.Fields {
		size += 10 + len(l.Fields[i].Key) + len(l.Fields[i].Value)
	}
	return size
}

// room makes room for so many bytes by keeping the oldest undecided invocations;
// false if they may not be held themselves.
func (s *Sampler) room(of *invocation, size int) bool {
	if s.held+size > s.config.MaxBytes {
		s.bury(overflow)
	}
	for _, i := range s.order {
		if s.held+size <= s.config.MaxBytes {
			return true
		}
		if i.state == undecided && i.run != nil {
			s.keep(i, overflow)
		}
	}
	return of.state == undecided && s.held+size <= s.config.MaxBytes
}

// weigh notes what a record stands for: only an invocation that is there by
// number stands for others.
func (s *Sampler) weigh(l *telemetry.Log, why reason) {
	if why == sampled {
		l.AdjustedCount = uint32(s.config.OneIn)
	}
}

func (s *Sampler) pass(l *telemetry.Log, why reason) {
	s.tally.add(why, amount{records: 1})
	s.emit.Log(l)
}
