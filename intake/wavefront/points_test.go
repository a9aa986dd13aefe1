package wavefront

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"slipstream/telemetry"
)

// bins takes points, as a rollup does, until it refuses them.
type bins struct {
	mu               sync.Mutex
	answer           error
	added, committed []string
}

func (b *bins) Add(p *telemetry.Point) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.answer == nil {
		b.added = append(b.added, fmt.Sprintf("%s=%g", p.Name, p.Value))
	}
	return b.answer
}

func (b *bins) Commit() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.committed, b.added = append(b.committed, b.added...), nil
}

// Points go where they are rolled up, and are committed before a request is answered;
// what is refused there goes to Take, as spans do.
func TestPointsGoStraight(t *testing.T) {
	b := &bins{}
	s, k := serve(t, func(o *Options) { o.Points = b })
	if status := post(t, s, "/", "a 1 source=s\nb 2 source=s\n"); status != http.StatusAccepted {
		t.Errorf("status %d", status)
	}
	b.mu.Lock()
	committed := slices.Clone(b.committed)
	b.answer = telemetry.ErrNoRoom
	b.mu.Unlock()
	if want := []string{"a=1", "b=2"}; !slices.Equal(committed, want) || len(k.got()) != 0 {
		t.Errorf("committed %v, want %v; by Take %v", committed, want, k.got())
	}
	if status := post(t, s, "/", "c 3 source=s\n"); status != http.StatusAccepted || len(k.got()) != 1 {
		t.Errorf("status %d, by Take %v", status, k.got())
	}
	b.mu.Lock()
	b.answer = nil
	b.mu.Unlock()
	send(t, s, strings.Repeat("d 1 source=s\n", fullCommit+1))
	eventually(t, "the lines are committed", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return len(b.committed) == 2+fullCommit+1
	})
}
