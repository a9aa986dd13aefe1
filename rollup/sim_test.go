package rollup

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"slipstream/telemetry"
	"slipstream/wire"
)

// The simulation: environments take points, freeze, are killed at any moment and
// begin again with what their journals hold; bins are emitted into two lanes by
// the protocol that package edge keeps. In the end each lane has got, in each
// environment, minute and series, exactly what survived: once, to the bucket.

const lanes = 2

// journal is one of an arena: what was appended, and how much of that is committed.
type journal struct {
	sequence  int
	bytes     []byte
	frames    []frame
	committed int
	released  bool
}

// frame is where a frame ends, and the points it holds.
type frame struct {
	end    int
	points []placed
}

type placed struct {
	point sample
	bin   time.Time
	at    time.Time
}

// environment is one, with what outlives its process: the arena and the lanes.
type environment struct {
	s        *simulation
	id       string
	complete *wire.Completion
	arena    []*journal
	lanes    [lanes]map[int]telemetry.Export // by the reserved sequence

	// The process.
	rollup   *Rollup
	open     map[*Bin]*journal
	added    map[time.Time][]placed // since the last Flush
	sequence int
	held     map[int]bool // in the lanes, but not to be sent yet
}

type simulation struct {
	random       *rand.Rand
	now          time.Time
	environments []*environment
	want         truth
	got          [lanes]truth
	kills        int
	replayed     int
}

// killed is how a process ends in the middle of something.
type killed struct{}

// mayDie is a moment at which the process may be killed.
func (s *simulation) mayDie() {
	if s.random.IntN(40) == 0 {
		panic(killed{})
	}
}

// run lets an environment's process do something, and begins it again if it was
// killed meanwhile; it may be killed then, too.
func (e *environment) run(do func()) {
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(killed); !ok {
				panic(r)
			}
			e.s.kills++
			e.die()
			e.run(e.recover)
		}
	}()
	do()
}

func (e *environment) start() {
	e.rollup = New(Config{Journal: true, Sketches: true, MaxBuckets: 20})
	e.open, e.held, e.added = map[*Bin]*journal{}, map[int]bool{}, map[time.Time][]placed{}
}

// take is a request: everything is in the journal before it is answered.
func (e *environment) take() {
	for range e.s.random.IntN(12) + 1 {
		p := anySample(e.s.random, e.s.now)
		at := p.Time
		if at.IsZero() {
			at = e.s.now
		}
		bin := floor(at, time.Minute)
		e.added[bin] = append(e.added[bin], placed{p, bin, at})
		p.add(e.rollup, e.s.now)
		e.s.mayDie()
	}
	var touched []*journal
	e.rollup.Flush(func(b *Bin, bytes []byte, _ int) {
		j := e.open[b]
		if j == nil {
			e.sequence++
			j = &journal{sequence: e.sequence}
			j.bytes = AppendNote(nil, strconv.AppendInt(nil, int64(j.sequence), 10))
			e.arena, e.open[b] = append(e.arena, j), j
		}
		e.s.mayDie()
		j.bytes = append(j.bytes, bytes...)
		j.frames = append(j.frames, frame{len(j.bytes), e.added[b.start]})
		delete(e.added, b.start)
		touched = append(touched, j)
	})
	for _, j := range touched {
		e.s.mayDie()
		j.committed = len(j.bytes)
	}
}

// emit puts bins that are over into the lanes, and lets their journals go.
func (e *environment) emit(all bool) {
	for _, b := range e.rollup.Close(e.s.now, all) {
		j := e.open[b]
		e.put(b, j)
		e.s.mayDie()
		j.released = true
		delete(e.held, j.sequence)
		e.s.mayDie()
	}
}

// put makes both lanes' batches of a bin, which nobody may send yet.
func (e *environment) put(b *Bin, j *journal) {
	x := b.AppendExport(nil)
	x.Body = e.complete.Complete(nil, x.Signal, x.Body)
	e.held[j.sequence] = true
	for _, lane := range e.lanes {
		e.deliver() // a lane sends whenever it may
		e.s.mayDie()
		if _, there := lane[j.sequence]; !there { // as the spool does
			lane[j.sequence] = x
		}
	}
	e.deliver()
}

// deliver sends what may be sent, which is gone then.
func (e *environment) deliver() {
	for i, lane := range e.lanes {
		for sequence, x := range lane {
			if !e.held[sequence] {
				e.s.got[i].receive(x)
				delete(lane, sequence)
			}
		}
	}
}

// die cuts each journal somewhere behind what is committed. What is left of it
// is what counts from now on.
func (e *environment) die() {
	for _, j := range e.arena {
		j.bytes = j.bytes[:j.committed+e.s.random.IntN(len(j.bytes)-j.committed+1)]
		j.frames = slices.DeleteFunc(j.frames, func(f frame) bool { return f.end > len(j.bytes) })
		j.committed = len(j.bytes)
	}
	e.held = map[int]bool{}
	for _, j := range e.arena {
		if !j.released {
			e.held[j.sequence] = true
		}
	}
}

// recover emits what the journals of the process before hold.
func (e *environment) recover() {
	held := e.held
	e.start()
	e.held = held
	for _, j := range e.arena {
		if j.released {
			continue
		}
		var note []byte
		b, _ := e.rollup.Replay(j.bytes, e.s.now, func(n []byte) { note = n })
		if b != nil {
			if string(note) != strconv.Itoa(j.sequence) {
				panic("the note is " + string(note))
			}
			e.s.replayed++
			e.put(b, j)
		}
		e.s.mayDie()
		j.released = true
		delete(e.held, j.sequence)
	}
}

// settle adds what the journals hold to what is wanted.
func (e *environment) settle() {
	for _, j := range e.arena {
		for _, f := range j.frames {
			for _, p := range f.points {
				e.s.want.add(e.id, p)
			}
		}
	}
}

func simulate(seed uint64) (*simulation, string) {
	s := &simulation{random: rand.New(rand.NewPCG(seed, 0)), now: minute, want: truth{}}
	for i := range s.got {
		s.got[i] = truth{}
	}
	for i := range s.random.IntN(3) + 1 {
		e := &environment{s: s, id: fmt.Sprintf("environment-%d", i), lanes: [lanes]map[int]telemetry.Export{{}, {}}}
		e.complete = wire.NewCompletion(&telemetry.Resource{ServiceName: "shop", EnvironmentID: e.id})
		e.start()
		s.environments = append(s.environments, e)
	}
	for range s.random.IntN(60) {
		e := s.environments[s.random.IntN(len(s.environments))]
		switch s.random.IntN(12) {
		case 0:
			e.run(func() { panic(killed{}) })
		case 1:
			s.now = s.now.Add(time.Duration(s.random.Int64N(int64(10 * time.Minute)))) // a freeze
		case 2:
			s.now = s.now.Add(-time.Duration(s.random.Int64N(int64(5 * time.Second)))) // the clock was set
		case 3:
			e.run(func() { e.emit(true) }) // MAX_STALENESS
		case 4, 5:
			e.deliver()
		default:
			e.run(e.take)
			s.now = s.now.Add(time.Duration(s.random.Int64N(int64(20 * time.Second))))
			e.run(func() { e.emit(false) })
		}
	}
	for _, e := range s.environments { // SHUTDOWN
		e.run(func() { e.emit(true) })
		e.deliver()
		e.settle()
	}
	for i := range s.got {
		if problem := s.want.differs(s.got[i]); problem != "" {
			return s, fmt.Sprintf("lane %d: %s", i, problem)
		}
	}
	return s, ""
}

func TestSimulation(t *testing.T) {
	seeds, first := uint64(2000), uint64(time.Now().UnixNano())
	if text := os.Getenv("SLIPSTREAM_TEST_SEED"); text != "" {
		var err error
		if first, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
		seeds = 1
	}
	kills, replayed, series := 0, 0, 0
	for seed := first; seed < first+seeds; seed++ {
		s, problem := simulate(seed)
		if problem != "" {
			t.Fatalf("SLIPSTREAM_TEST_SEED=%d: %s", seed, problem)
		}
		kills, replayed, series = kills+s.kills, replayed+s.replayed, series+len(s.want)
	}
	t.Logf("%d seeds from %d: %d kills, %d bins replayed, %d series compared", seeds, first, kills, replayed, series)
	if seeds > 1 && (kills < 1000 || replayed < 1000 || series < 10_000) {
		t.Error("too little has happened to judge by")
	}
}
