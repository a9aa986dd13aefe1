package statsd

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"slipstream/telemetry"
)

// bins takes points, as a rollup does, until it refuses them.
type bins struct {
	answer           error
	added, committed []string
}

func (b *bins) Add(p *telemetry.Point) error {
	if b.answer == nil {
		b.added = append(b.added, fmt.Sprintf("%s=%g", p.Name, p.Value))
	}
	return b.answer
}

func (b *bins) Commit() { b.committed, b.added = append(b.committed, b.added...), nil }

// Points go where they are rolled up, and are committed when the socket is empty or
// there are many of them; what is refused there goes to Take.
func TestPointsGoStraight(t *testing.T) {
	k, b := newTaker(), &bins{}
	c := k.config()
	c.Points = b
	s := idle(c)
	s.datagram([]byte("a:1|c\nb:2:3|c\n_e{1,1}:t|x"), time.Now())
	if len(b.added) != 3 || len(b.committed) != 0 || s.points.Size() != 0 {
		t.Errorf("added %v, committed %v", b.added, b.committed)
	}
	s.offer()
	if want := []string{"a=1", "b=2", "b=3"}; !slices.Equal(b.committed, want) || k.records != 1 {
		t.Errorf("committed %v, want %v; %d records of events", b.committed, want, k.records)
	}
	for range fullCommit {
		s.datagram([]byte("c:1|c"), time.Now())
	}
	if len(b.committed) != 3+fullCommit {
		t.Errorf("%d points are committed while the socket is not empty", len(b.committed))
	}
	for _, answer := range []error{telemetry.ErrNoRoom, telemetry.ErrOver} {
		b.answer = answer
		s.datagram([]byte("d:1|c"), time.Now())
	}
	s.offer()
	if k.records != 3 {
		t.Errorf("%d records, want those that were refused", k.records)
	}
}
