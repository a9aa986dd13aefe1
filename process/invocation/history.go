package invocation

import (
	"sync"
	"time"
)

// History is when the environment's last invocations began, of which there is one
// at a time. It may be used by several goroutines; the zero value is an empty one.
type History struct {
	mu    sync.Mutex
	begun [64]begun
	count int
}

// begun is an invocation, and when the extension has heard of it.
type begun struct {
	id string
	at time.Time
}

// Begin says that an invocation begins, by the clock that the function has.
func (h *History) Begin(requestID string, at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.begun[h.count%len(h.begun)] = begun{requestID, at}
	h.count++
}

// Current is the invocation that began last, "" for none.
func (h *History) Current() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.last(0).id
}

// At is the last invocation that had begun by then, as far as the extension had
// heard: the function may be ahead of it by one. "" is for none, or one that is not
// remembered.
func (h *History) At(then time.Time) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	for back := range min(h.count, len(h.begun)) {
		if b := h.last(back); !then.Before(b.at) {
			return b.id
		}
	}
	return ""
}

// Next is the invocation that came after one, "" for none or none that is known.
func (h *History) Next(requestID string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	for back := 1; back < min(h.count, len(h.begun)); back++ {
		if h.last(back).id == requestID {
			return h.last(back - 1).id
		}
	}
	return ""
}

// last is the invocation before so many others. The caller holds h.mu.
func (h *History) last(back int) begun {
	if back >= h.count {
		return begun{}
	}
	return h.begun[(h.count-1-back)%len(h.begun)]
}
