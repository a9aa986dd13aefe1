package otlp

import (
	"net/http"
	"sync"
	"time"
)

// timeSlices is into how many parts the time of a patience is cut. The environment
// may be frozen for an hour in the middle of a request: then one slice is over,
// not all of them.
const timeSlices = 10

// patience ends a sender that is too slow, or is not there any more.
type patience struct {
	slice time.Duration

	mu      sync.Mutex
	timer   *time.Timer
	w       http.ResponseWriter // nil when nothing is watched
	writing bool
	left    int
}

func newPatience(whole time.Duration) *patience {
	p := &patience{slice: max(whole/timeSlices, time.Nanosecond)}
	p.timer = time.AfterFunc(time.Hour, p.tick)
	p.timer.Stop()
	return p
}

func (p *patience) watchRead(w http.ResponseWriter)  { p.watch(w, false) }
func (p *patience) watchWrite(w http.ResponseWriter) { p.watch(w, true) }

func (p *patience) watch(w http.ResponseWriter, writing bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.w, p.writing, p.left = w, writing, timeSlices
	p.timer.Reset(p.slice)
}

func (p *patience) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.w = nil
	p.timer.Stop()
}

// tick ends what is watched when its last slice is over.
func (p *patience) tick() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.w == nil {
		return
	}
	if p.left--; p.left > 0 {
		p.timer.Reset(p.slice)
		return
	}
	control := http.NewResponseController(p.w)
	if p.writing {
		_ = control.SetWriteDeadline(time.Now()) // it can, or it is over already
	} else {
		_ = control.SetReadDeadline(time.Now())
	}
	p.w = nil
}
