package sim_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// post is the platform's side of one subscription: it collects events by items,
// bytes and time, and posts them one body after the other, each until it has
// its 200. What goes wrong on the way is the adversary's choice.
type post struct {
	w     *world
	l     *life
	plan  trouble
	dice  dice   // of run alone
	seed  uint64 // of the choices for each event, by its token
	conn  *conn
	read  *bufio.Reader
	kick  chan struct{}
	stop  chan struct{}
	ended chan struct{}

	mu       sync.Mutex
	port     int // 0: not subscribed yet
	path     string
	maxItems int
	maxBytes int
	timeout  time.Duration
	waiting  []event
	bytes    int
	rest     *event // the rest of a record that was cut
	since    time.Time
	lost     int // records given up since the last platform.logsDropped
	drops    []drop
	refusals []time.Time // 503s
}

// event is a record on its way.
type event struct {
	r        *record
	envelope string
	value    string
}

func (e event) text() string { return e.envelope + e.value + "}" }

// drop is what one platform.logsDropped says.
type drop struct {
	r *record
	n int
}

// body is one request.
type body struct {
	text  string
	holds []*record // a part of each is in it
}

// heap is how many bytes the platform keeps for a subscriber that takes nothing.
const heap = 3 << 20

func newPost(w *world, l *life, plan trouble, d dice) *post {
	return &post{
		w: w, l: l, plan: plan, seed: d.Uint64(), dice: d, kick: make(chan struct{}, 1), stop: make(chan struct{}),
		ended: make(chan struct{}),
	}
}

// subscribe begins the deliveries.
func (p *post) subscribe(port int, path string, maxItems, maxBytes int, timeout time.Duration) {
	p.mu.Lock()
	p.port, p.path, p.maxItems, p.maxBytes, p.timeout = port, path, maxItems, maxBytes, timeout
	p.mu.Unlock()
	p.signal()
}

func (p *post) signal() {
	select {
	case p.kick <- struct{}{}:
	default:
	}
}

// emit adds an event made at a time of the platform's clock.
func (p *post) emit(kind, request string, value func(token int) string) *record {
	r := p.w.newRecord(p.l.number, kind, value)
	r.of = request
	if p.plan.shuffled == 0 && p.plan.skew == 0 || kind != "function" {
		r.request = request
	}
	if !p.w.receives(kind) {
		return r
	}
	at := p.w.clock.platform(time.Now()).Add(p.plan.skew).UTC().Format("2006-01-02T15:04:05.000Z")
	e := event{r, fmt.Sprintf(`{"time":%q,"type":%q,"record":`, at, kind), r.value}
	d := newDice(p.seed ^ uint64(r.token))
	p.mu.Lock()
	defer p.mu.Unlock()
	if kind == "function" && (p.bytes > heap || d.chance(p.plan.lossy)) ||
		kind == "platform.runtimeDone" && d.chance(p.plan.lossy) {
		p.lost++
		return r
	}
	if p.since.IsZero() {
		p.since = time.Now()
	}
	i := len(p.waiting)
	if i > 0 && kind == "function" && d.chance(p.plan.shuffled) {
		i = d.IntN(i)
	}
	p.waiting = append(p.waiting, event{})
	copy(p.waiting[i+1:], p.waiting[i:])
	p.waiting[i] = e
	p.bytes += len(e.text())
	p.signal()
	return r
}

// run posts until stop.
func (p *post) run() {
	defer close(p.ended)
	for {
		b, wait := p.collect()
		if b != nil {
			if !p.deliver(b) {
				return
			}
			continue
		}
		timer := time.NewTimer(wait)
		select {
		case <-p.kick:
			timer.Stop()
		case <-timer.C:
		case <-p.stop:
			timer.Stop()
			return
		}
	}
}

// collect gives a body that is due, or how long to wait for one.
func (p *post) collect() (*body, time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.port == 0 || len(p.waiting) == 0 && p.rest == nil {
		return nil, time.Hour
	}
	due := len(p.waiting) >= p.maxItems || p.bytes >= p.maxBytes || p.rest != nil
	if wait := p.timeout - time.Since(p.since); wait > 0 && !due {
		return nil, wait
	}
	return p.pack(), 0
}

// pack makes a body; the caller holds p.mu. A record that is larger than
// maxBytes is cut in the middle of its value, and the next body repeats its
// envelope and goes on: neither is valid JSON.
func (p *post) pack() *body {
	var text strings.Builder
	text.WriteString("[")
	b := &body{}
	if p.rest != nil {
		e := *p.rest
		p.rest = nil
		if p.dice.chance(50) {
			text.Reset()
		}
		p.add(&text, b, e)
	}
	for n := 0; p.rest == nil && len(p.waiting) > 0 && n < p.maxItems && text.Len() < p.maxBytes; n++ {
		e := p.waiting[0]
		if len(e.text()) <= p.maxBytes && text.Len()+len(e.text()) > p.maxBytes && len(b.holds) > 0 {
			break
		}
		p.waiting = p.waiting[1:]
		p.bytes -= len(e.text())
		if len(b.holds) > 0 {
			text.WriteString(",")
		}
		p.add(&text, b, e)
	}
	if p.rest == nil {
		text.WriteString("]")
	}
	p.since = time.Time{}
	if len(p.waiting) > 0 {
		p.since = time.Now()
	}
	b.text = text.String()
	return b
}

// add puts an event, or what of it there is room for, into a body.
func (p *post) add(text *strings.Builder, b *body, e event) {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	e.r.parts++
	b.holds = append(b.holds, e.r)
	if len(e.text()) <= p.maxBytes {
		e.r.whole = true
		text.WriteString(e.text())
		return
	}
	room := max(p.maxBytes-text.Len()-len(e.envelope), 1+p.dice.IntN(len(e.value)-1))
	room = min(room, len(e.value)-1)
	text.WriteString(e.envelope)
	text.WriteString(e.value[:room])
	e.value = e.value[room:]
	p.rest = &e
}

// deliver posts one body until it has its 200. It returns false at stop.
func (p *post) deliver(b *body) bool {
	backoff := 50 * time.Millisecond
	if p.dice.chance(p.plan.late) && !p.sleep(p.dice.between(0, 800*time.Millisecond)) {
		return false
	}
	for {
		status, err := p.try(b)
		if status == http.StatusOK && err == nil {
			p.acked(b)
			return true
		}
		p.w.logf("platform: post of %d records: status %d, %v", len(b.holds), status, err)
		if err != nil || p.dice.chance(50) {
			p.drop()
		}
		if !p.sleep(backoff) {
			return false
		}
		backoff = min(2*backoff, time.Second)
	}
}

var errLost = errors.New("the connection was lost")

// try posts a body once. An error means that the platform does not know.
func (p *post) try(b *body) (status int, err error) {
	p.l.net.await()
	if p.conn == nil || p.dice.chance(p.plan.again) {
		p.drop()
		if p.conn, err = p.l.net.connect(p.port); err != nil {
			p.conn = nil
			return 0, err
		}
		p.read = bufio.NewReader(p.conn)
	}
	request := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: sandbox.localdomain:%d\r\nContent-Type: application/json\r\n"+
		"Content-Length: %d\r\n\r\n%s", p.path, p.port, len(b.text), b.text)
	lost, torn := p.dice.chance(p.plan.lost), p.dice.chance(p.plan.torn)
	if torn {
		_, _ = p.conn.Write([]byte(request[:p.dice.IntN(len(request))]))
		if p.dice.chance(50) {
			p.sleep(10 * time.Millisecond)
		}
		p.conn.reset()
		return 0, errLost
	}
	if _, err := p.conn.Write([]byte(request)); err != nil {
		return 0, err
	}
	p.offered(b)
	if lost && p.dice.chance(50) { // the platform goes away at once
		return 0, errLost
	}
	resp, err := http.ReadResponse(p.read, nil)
	if err != nil {
		return 0, err
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return 0, err
	}
	if lost {
		return resp.StatusCode, errLost
	}
	if resp.StatusCode == http.StatusServiceUnavailable {
		p.mu.Lock()
		p.refusals = append(p.refusals, time.Now())
		p.mu.Unlock()
	} else if resp.StatusCode != http.StatusOK {
		p.w.problem("the edge answered a post with %d", resp.StatusCode)
	}
	return resp.StatusCode, nil
}

// drop gives the connection up.
func (p *post) drop() {
	if p.conn != nil {
		_ = p.conn.Close()
		p.conn = nil
	}
}

// offered notes that the edge may have a body.
func (p *post) offered(b *body) {
	p.posted()
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	for _, r := range b.holds {
		r.offered++
		if r.first.IsZero() && r.whole {
			r.first = time.Now()
		}
	}
}

// posted notes that the edge heard of the platform.
func (p *post) posted() {
	p.l.mu.Lock()
	defer p.l.mu.Unlock()
	p.l.posted = time.Now()
}

// acked notes the 200 of a body.
func (p *post) acked(b *body) {
	p.posted()
	p.w.mu.Lock()
	bounded := true
	for _, r := range b.holds {
		r.acked++
		if !r.definite() {
			continue
		}
		bounded = p.w.settle(r) && bounded
	}
	p.w.mu.Unlock()
	if !bounded {
		p.w.problem("the edge has taken more than SLIPSTREAM_BUFFER_BYTES and %d bytes, and not delivered it", memorySlack)
	}
	p.w.logf("platform: post of %d records, %d bytes, taken", len(b.holds), len(b.text))
	p.mu.Lock()
	lost := p.lost
	p.lost = 0
	p.mu.Unlock()
	if lost > 0 {
		r := p.emit("platform.logsDropped", "", func(token int) string {
			return fmt.Sprintf(`{"droppedBytes":1,"droppedRecords":%d,"reason":"slow","sim":"~%d~"}`, lost, token)
		})
		p.drops = append(p.drops, drop{r, lost})
	}
}

// sleep waits, and returns false at stop.
func (p *post) sleep(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-p.stop:
		return false
	}
}
