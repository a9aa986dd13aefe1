package sim_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"slipstream/telemetry"
	"slipstream/wire"
)

// sdkPlan is how the function exports by itself: what each record and each request
// is like is drawn when it is made.
type sdkPlan struct {
	seed     uint64
	oneTrace bool // all invocations serve the same trace, so that it tells of none
}

// sdkWork is what the SDK does in an invocation. Each burst of records waits until
// somebody exports.
type sdkWork struct {
	early  bool // exports before the extension has heard of the invocation
	bursts []burst
	end    bool          // exports when the function responds
	after  time.Duration // exports so long after that, in the freeze's face; negative: never
}

// burst is some records of one instant.
type burst struct {
	at      time.Duration
	records int
	exports bool
	waits   bool // the function does, for the answer
}

// few and many records are made at once.
const few, many = 3, 40

// drawExports has the function of half of the plans export by itself.
func (p *plan) drawExports(d dice) {
	if !d.chance(50) {
		return
	}
	p.sdk = &sdkPlan{seed: d.Uint64(), oneTrace: d.chance(5)}
	p.variables["SLIPSTREAM_LISTEN"] = "otlp"
	for i := range p.lanes {
		if l := &p.lanes[i]; l.types != "" {
			l.types += pick(d, "", ",logs", ",traces", ",logs,traces")
		}
	}
	for i := range p.lives {
		l := &p.lives[i]
		l.sdkInit, l.sdkEnd = d.chance(20), -1
		if d.chance(20) {
			l.sdkEnd = d.between(0, l.left+time.Millisecond)
		}
		for k := range l.invocations {
			l.invocations[k].sdk = drawWork(d, l.invocations[k].duration, l.invocations[k].limit)
		}
	}
}

func drawWork(d dice, duration, limit time.Duration) sdkWork {
	s := sdkWork{early: d.chance(20), end: d.chance(40), after: -1}
	if d.chance(25) {
		s.after = d.between(0, pick(d, time.Microsecond, 3*time.Millisecond, 2*time.Second))
	}
	for range d.IntN(3) {
		b := burst{at: d.between(0, duration), records: 1 + d.IntN(few), exports: d.chance(60)}
		if d.chance(10) {
			b.at = duration - min(duration, d.between(0, 4*time.Millisecond))
		}
		b.waits = b.at+inTime < limit && d.chance(50)
		if d.chance(3) {
			b.records = many
		}
		s.bursts = append(s.bursts, b)
	}
	slices.SortFunc(s.bursts, func(a, b burst) int { return int(a.at - b.at) })
	return s
}

// exported is what is known of a record that the function exports, beside what is
// known of the platform's.
type exported struct {
	tells  string    // what of it tells whose it is: id, trace, or time
	sure   bool      // the extension knows the trace, so that it does
	failed bool      // it tells of a failure
	at     time.Time // as the function's clock has it
	trace  string    // hexadecimal, or empty
	last   time.Time // when the last of those was made that are exported together with it and name no invocation

	weighed bool // it arrived as one that stands for others
}

// sdk is the function's exporter in one life.
type sdk struct {
	l       *life
	plan    *sdkPlan
	all     sync.WaitGroup
	stop    chan struct{}
	mu      sync.Mutex
	made    uint64
	posts   uint64
	waiting []*record
	idle    *sdkConn
	known   map[string]bool // traces that the extension knows an invocation of
}

// sdkConn is a connection that is kept alive.
type sdkConn struct {
	*conn
	in *bufio.Reader
}

// otlpPort is where the listener is.
const otlpPort = 4318

func newSDK(l *life) *sdk {
	return &sdk{l: l, plan: l.w.plan.sdk, stop: make(chan struct{}), known: map[string]bool{}}
}

// draw gives the dice of the how manieth of something.
func (s *sdk) draw(count *uint64) dice {
	s.mu.Lock()
	defer s.mu.Unlock()
	*count++
	return newDice(s.plan.seed ^ uint64(s.l.number)<<40 ^ *count<<1)
}

// make makes records of an invocation, empty for none. They wait for an export.
func (s *sdk) make(id string, n int) {
	repeats := 8
	if s.draw(&s.made).chance(3) || n > few && s.draw(&s.made).chance(30) {
		repeats = 200
	}
	for range n {
		d := s.draw(&s.made)
		x := &exported{tells: pick(d, "id", "id", "id", "trace", "time", "time"), failed: d.chance(3),
			at: s.l.w.clock.wall(), trace: fmt.Sprintf("%032x", d.Uint64()|1)}
		if id == "" {
			x.tells = "time"
		}
		kind := pick(d, "logs", "traces")
		switch {
		case x.tells == "trace", x.tells == "id" && d.chance(60):
			x.trace = s.serves(id)
		case kind == "logs":
			x.trace = ""
		}
		r := s.l.w.newRecord(s.l.number, kind, func(token int) string {
			return fmt.Sprintf("~%d~ %s", token, strings.Repeat(`of "the" function, `, 1+d.IntN(repeats)))
		})
		s.l.w.mu.Lock()
		r.of, r.export = id, x
		if x.failed {
			s.l.w.failing[id] = append(s.l.w.failing[id], r)
		}
		s.l.w.mu.Unlock()
		s.l.w.logf("function: record %d (%s) of invocation %q tells its %s, failed: %v", r.token, kind, id, x.tells, x.failed)
		s.mu.Lock()
		s.waiting = append(s.waiting, r)
		s.mu.Unlock()
	}
}

// serves is the trace of an invocation.
func (s *sdk) serves(id string) string {
	if s.plan.oneTrace {
		id = "one"
	}
	text := fmt.Sprintf("%x", id)
	return text + strings.Repeat("0", 32-len(text))
}

// json is the record in OTLP/JSON.
func (r *record) json() string {
	x := r.export
	text, _ := json.Marshal(r.value) // never fails
	attributes := ""
	if x.tells == "id" {
		key := "faas.invocation_id"
		if r.token%4 == 0 {
			key = "faas.execution" // older SDKs
		}
		attributes = fmt.Sprintf(`,"attributes":[{"key":%q,"value":{"stringValue":%q}}]`, key, r.of)
	}
	at := x.at.UnixNano()
	if r.kind == "logs" {
		severity := 9
		if x.failed {
			severity = 17
		}
		return fmt.Sprintf(`{"timeUnixNano":"%d","severityNumber":%d,"body":{"stringValue":%s},"traceId":%q%s}`, at,
			severity, text, x.trace, attributes)
	}
	status := 0
	if x.failed {
		status = 2
	}
	return fmt.Sprintf(`{"traceId":%q,"spanId":"%016x","name":%s,"startTimeUnixNano":"%d","endTimeUnixNano":"%d",`+
		`"status":{"code":%d}%s}`, x.trace, r.token+1, text, at, at+1000, status, attributes)
}

// invocation runs an invocation's bursts; it returns when the function may respond.
func (s *sdk) invocation(p *invocation, began time.Time, id string) {
	for _, b := range p.sdk.bursts {
		time.Sleep(time.Until(began.Add(b.at)))
		s.make(id, b.records)
		switch {
		case b.exports && b.waits:
			s.export(1)
		case b.exports:
			s.all.Go(func() { s.export(tries) })
		}
	}
}

// responds is the end of an invocation.
func (s *sdk) responds(p *invocation, id string) {
	switch {
	case s == nil || !p.sdk.end:
	case p.duration+inTime < p.limit && p.outcome != "timeout":
		s.export(1)
	default:
		s.all.Go(func() { s.export(tries) })
	}
}

// tries is how often an export is sent at most, if nobody waits for it.
const tries = 3

// inTime is how long before its deadline the function waits for no answer.
const inTime = 100 * time.Millisecond

// early is the new invocation's first word, before the extension hears of it.
func (s *sdk) early(p *invocation, id string) {
	if s != nil && p.sdk.early {
		s.make(id, 1)
		s.export(1)
	}
}

// last exports in SHUTDOWN: another extension may.
func (s *sdk) last() {
	if s == nil {
		return
	}
	id := ""
	if n := len(s.l.begins); n > 0 {
		id = s.l.id(n - 1)
	}
	s.later(s.l.plan.sdkEnd, id)
}

// later exports after a time, with a record more.
func (s *sdk) later(wait time.Duration, id string) {
	if s == nil || wait < 0 {
		return
	}
	s.all.Go(func() {
		if s.sleep(wait) {
			s.make(id, 1)
			s.export(tries)
		}
	})
}

// export sends what waits: log records and spans, each in a request, at most so
// often.
func (s *sdk) export(tries int) {
	s.l.net.await() // the function is frozen too
	s.mu.Lock()
	waiting := s.waiting
	s.waiting = nil
	s.mu.Unlock()
	for _, kind := range []string{"logs", "traces"} {
		records := slices.DeleteFunc(slices.Clone(waiting), func(r *record) bool { return r.kind != kind })
		if len(records) > 0 {
			s.post(kind, records, tries)
		}
	}
}

// post sends a request until it has its 200, or not so often.
func (s *sdk) post(kind string, records []*record, tries int) {
	d := s.draw(&s.posts)
	p := &parcel{sdk: s, records: records, named: d.chance(15)}
	p.text = p.request(kind, d.chance(50), d.Uint64())
	s.tell(records)
	for range 1 + d.IntN(tries) {
		status := p.try(d)
		s.l.w.logf("function: export of %d %s from record %d on: status %d", len(records), kind, records[0].token, status)
		switch status {
		case http.StatusOK:
			p.acked()
			return
		case 0, http.StatusTooManyRequests, http.StatusServiceUnavailable:
		case http.StatusRequestTimeout, http.StatusBadRequest:
			if !p.parts { // the second came after a freeze
				s.l.w.problem("an export was answered with %d", status)
			}
		default:
			s.l.w.problem("an export was answered with %d", status)
		}
		if tries == 1 || !s.sleep(d.between(0, time.Second)) {
			return
		}
	}
}

// tell finds out which of the records that have only a trace tell their invocation
// by it: another one of the export does, or one that was answered with 200.
func (s *sdk) tell(records []*record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	here := map[string]bool{}
	var last time.Time
	for _, r := range records {
		here[r.export.trace] = here[r.export.trace] || r.export.tells == "id"
		if r.export.tells != "id" {
			last = later(last, r.made)
		}
	}
	s.l.w.mu.Lock()
	defer s.l.w.mu.Unlock()
	for _, r := range records {
		x := r.export
		x.last = last
		x.sure = x.tells == "id" || x.tells == "trace" && !s.plan.oneTrace && (here[x.trace] || s.known[x.trace])
	}
}

// parcel is one request, each time that it is sent.
type parcel struct {
	sdk     *sdk
	records []*record
	parts   bool // it was sent in two
	named   bool // the header Slipstream-Id says that it is the same again
	text    string
}

// request writes it.
func (p *parcel) request(kind string, plain bool, id uint64) string {
	var items []string
	for _, r := range p.records {
		items = append(items, r.json())
	}
	format := map[string]string{"logs": `{"resourceLogs":[{"scopeLogs":[{"logRecords":[%s]}]}]}`,
		"traces": `{"resourceSpans":[{"scopeSpans":[{"spans":[%s]}]}]}`}[kind]
	body, contentType := []byte(fmt.Sprintf(format, strings.Join(items, ","))), "application/json"
	if !plain {
		var err error
		contentType = "application/x-protobuf"
		if body, err = wire.ExportFromJSON(nil, telemetry.Signal(kind), body); err != nil {
			p.sdk.l.w.problem("an export in protobuf: %v", err)
		}
	}
	head := ""
	if p.named {
		head = fmt.Sprintf("Slipstream-Id: %016x\r\n", id|1)
	}
	return fmt.Sprintf("POST /v1/%s HTTP/1.1\r\nHost: localhost:%d\r\nContent-Type: %s\r\n%sContent-Length: %d\r\n\r\n%s",
		kind, otlpPort, contentType, head, len(body), body)
}

// patience is how long the SDK waits for an answer.
const sdkPatience = 10 * time.Second

// try sends the request once and gives the status of its answer, 0 for none. It may
// be sent in two parts, of which the second does not always come; and it may be that
// nobody waits for the answer.
func (p *parcel) try(d dice) int {
	s := p.sdk
	s.l.net.await()
	c, err := s.connect(d.chance(30))
	if err != nil {
		return 0
	}
	text := p.text
	torn, lost := d.chance(4), d.chance(6)
	if torn || d.chance(5) {
		n := d.IntN(len(text))
		p.parts = true
		_, _ = c.Write([]byte(text[:n])) // the second tells
		text = text[n:]
		awake := s.sleep(d.between(0, 5*time.Millisecond))
		if s.l.net.await(); torn || !awake {
			c.reset()
			return 0
		}
	}
	if _, err := c.Write([]byte(text)); err != nil {
		_ = c.Close()
		return 0
	}
	before := p.offered()
	if lost {
		_ = c.Close()
		return 0
	}
	_ = c.SetReadDeadline(time.Now().Add(sdkPatience)) // never fails
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		_ = c.Close()
		return 0
	}
	answer, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		_ = c.Close()
		return 0
	case resp.StatusCode != http.StatusOK:
		_ = c.Close()
		p.refused(before)
		s.l.w.logf("function: an export is refused: %s", answer)
		return resp.StatusCode
	}
	if len(answer) > len("{}") {
		s.l.w.problem("an export was taken with the words %q", answer)
	}
	_ = c.SetReadDeadline(time.Time{})
	s.mu.Lock()
	s.idle = c
	s.mu.Unlock()
	return resp.StatusCode
}

// connect gives the connection that is idle, or a new one.
func (s *sdk) connect(fresh bool) (*sdkConn, error) {
	s.mu.Lock()
	idle := s.idle
	s.idle = nil
	s.mu.Unlock()
	switch {
	case idle != nil && !fresh:
		return idle, nil
	case idle != nil:
		_ = idle.Close()
	}
	c, err := s.l.net.connect(otlpPort)
	if err != nil {
		return nil, err
	}
	return &sdkConn{c, bufio.NewReader(c)}, nil
}

// offered notes that the edge may take the records once more, and gives how often it
// may have before. What is named is taken once.
func (p *parcel) offered() (before int) {
	w := p.sdk.l.w
	w.mu.Lock()
	defer w.mu.Unlock()
	before = p.records[0].offered
	for _, r := range p.records {
		r.offered++
		if p.named {
			r.offered = 1
		}
		if r.first.IsZero() {
			r.first = time.Now()
		}
	}
	return before
}

// refused notes that it has not taken them.
func (p *parcel) refused(before int) {
	w := p.sdk.l.w
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range p.records {
		r.offered = before
	}
}

// acked notes the 200.
func (p *parcel) acked() {
	s := p.sdk
	s.l.w.mu.Lock()
	bounded := true
	for _, r := range p.records {
		r.whole, r.parts, r.acked = true, 1, 1
		bounded = s.l.w.settle(r) && bounded
	}
	s.l.w.mu.Unlock()
	if !bounded {
		s.l.w.problem("the edge has taken more exports than there is memory, and not delivered them")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range p.records {
		if r.export.tells == "id" {
			s.known[r.export.trace] = true
		}
	}
}

// sleep waits, and returns false when the life is over.
func (s *sdk) sleep(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-s.stop:
		return false
	}
}

// end ends it; the network is dead.
func (s *sdk) end() {
	if s == nil {
		return
	}
	close(s.stop)
	s.all.Wait()
	if s.idle != nil {
		_ = s.idle.Close()
	}
}

// entriesOf gives the records of a delivered line: itself, or those of the export
// that it is.
func entriesOf(line string) ([]string, error) {
	if !strings.HasPrefix(line, `{"resource`) {
		return []string{line}, nil
	}
	var request struct {
		ResourceLogs []struct {
			ScopeLogs []struct{ LogRecords []json.RawMessage }
		}
		ResourceSpans []struct {
			ScopeSpans []struct{ Spans []json.RawMessage }
		}
	}
	err := json.Unmarshal([]byte(line), &request)
	var all []string
	for _, resource := range request.ResourceLogs {
		for _, scope := range resource.ScopeLogs {
			for _, r := range scope.LogRecords {
				all = append(all, string(r))
			}
		}
	}
	for _, resource := range request.ResourceSpans {
		for _, scope := range resource.ScopeSpans {
			for _, r := range scope.Spans {
				all = append(all, string(r))
			}
		}
	}
	return all, err
}

// arrivedAs checks that an exported record is the one that was sent. Who stands for
// others is of an invocation that was chosen.
func (r *record) arrivedAs(text string, w *world) {
	var got struct {
		Name              string
		Body              struct{ StringValue string }
		TimeUnixNano      string
		StartTimeUnixNano string
		TraceID           string
	}
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		w.problem("record %d cannot be read: %v", r.token, err)
	}
	value, at := got.Name+got.Body.StringValue, got.TimeUnixNano+got.StartTimeUnixNano
	if value != r.value || at != strconv.FormatInt(r.export.at.UnixNano(), 10) || got.TraceID != r.export.trace ||
		r.of != "" && strings.Contains(text, strconv.Quote(r.of)) != (r.export.tells == "id") {
		w.problem("record %d (%s) arrived as %s, want %s", r.token, r.kind, text, r.json())
	}
	weighed := strings.Contains(text, "adjusted_count")
	w.mu.Lock()
	r.export.weighed = weighed
	w.mu.Unlock()
	if weighed && r.export.sure && !w.chosen(r.of) {
		w.problem("record %d (%s) stands for others, and invocation %s is not the one of many", r.token, r.kind, r.of)
	}
}
