package invocation

import (
	"sync"
	"time"
)

// lag is how much later than the function the extension may hear of an invocation:
// it lets the function have the processor first.
const lag = 200 * time.Millisecond

// History is when the environment's last invocations began, of which there is one
// at a time. It may be used by several goroutines; the zero value is an empty one.
type History struct {
	mu    sync.Mutex
	begun [64]begun
	count int
}

type begun struct {
	id string
	at int64 // ns since 1970
}

// Begin says that an invocation begins, by the clock that the function has.
func (h *History) Begin(requestID string, at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.begun[h.count%len(h.begun)] = begun{requestID, at.UnixNano()}
	h.count++
}

// Current is the invocation that began last, "" for none.
func (h *History) Current() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.last(0).id
}

// At is the invocation that was under way at a time in ns since 1970, 0 for now; ""
// for none, or one too long ago. Close to a beginning it may be the later one of two:
// then or is that.
func (h *History) At(time uint64) (requestID, or string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if time == 0 {
		return h.last(0).id, ""
	}
	for back := range min(h.count, len(h.begun)) {
		b := h.last(back)
		switch {
		case int64(time) >= b.at:
			return b.id, ""
		case int64(time) < b.at-int64(lag):
		case back+1 < min(h.count, len(h.begun)):
			return h.last(back + 1).id, b.id
		default:
			return b.id, ""
		}
	}
	return "", ""
}

// last is the invocation before so many others. The caller holds h.mu.
func (h *History) last(back int) begun {
	if back >= h.count {
		return begun{}
	}
	return h.begun[(h.count-1-back)%len(h.begun)]
}
