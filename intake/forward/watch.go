package forward

import (
	"net/http"
	"sync"
	"time"
)

const (
	tick      = time.Second
	idleTicks = 10 // without a byte
	allTicks  = 60 // for a whole body
)

// watch ends the reading of a body that does not come. It counts ticks instead
// of setting a deadline: the environment may be frozen in the middle of a
// request for any time, and of that one tick counts at most.
type watch struct {
	mu      sync.Mutex
	timer   *time.Timer
	reader  http.ResponseWriter // whose connection it is; nil when nothing is watched
	idle    int
	all     int
	expired bool
}

// start watches. A body that takes too long gets a read deadline that is over,
// but never after stop: the connection may be with its next request then.
func (w *watch) start(reader http.ResponseWriter) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reader, w.idle, w.all, w.expired = reader, 0, 0, false
	if w.timer == nil {
		w.timer = time.AfterFunc(tick, w.tick)
		return
	}
	w.timer.Reset(tick)
}

// progress says that n bytes have come.
func (w *watch) progress(n int) {
	if n > 0 {
		w.mu.Lock()
		w.idle = 0
		w.mu.Unlock()
	}
}

// tick may come late, when another body is watched already: that body's time
// is one tick shorter then, no more.
func (w *watch) tick() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.idle++
	w.all++
	switch {
	case w.reader == nil:
	case w.idle < idleTicks && w.all < allTicks:
		w.timer.Reset(tick)
	default:
		w.expired = true
		_ = http.NewResponseController(w.reader).SetReadDeadline(time.Now())
	}
}

// stop tells whether the body's time was over.
func (w *watch) stop() (expired bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reader = nil
	w.timer.Stop()
	return w.expired
}
