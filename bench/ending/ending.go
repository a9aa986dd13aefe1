// Package ending ends execution environments in every way that gives a process no
// time: kill -9 of the extension, of the function and of both, exits, timeouts and
// a lack of memory, at random moments, again and again in the same environment. Use Run to learn
// whether every line that the extension had taken is delivered once.
package ending

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"slipstream/bench/lines"
	"slipstream/bench/pipeline"
	"slipstream/demo/objects"
)

// Plan is what Run does.
type Plan struct {
	Seed         uint64 // of all that is left to chance, but for the machine's own timing
	Environments int    // their circumstances and sizes take turns
	Ends         int    // of each environment's processes, before it is spun down
}

// Outcome is what became of the lines.
type Outcome struct {
	Ends    map[string]int // how many of each kind
	Taken   int            // lines that the extension had answered with 200
	Unasked int            // lines that it delivered, although the platform never got its 200
	Lost    int            // taken and not delivered
	Doubled int            // delivered more than once
	Details []string       // what was said in each environment that lost or doubled a line
	Notices []string       // what the machine does not let the emulator do, its memory limit for one
}

// atOnce is how many environments live at the same time.
const atOnce = 4

// Run plays the plan. The extensions deliver to the bucket, which nobody else
// uses.
func Run(ctx context.Context, plan Plan, programs pipeline.Programs, bucket *objects.Bucket) (Outcome, error) {
	environments := make([]*environment, plan.Environments)
	problems := make([]error, plan.Environments)
	free := make(chan struct{}, atOnce)
	var playing sync.WaitGroup
	for i := range environments {
		e := &environment{number: i, circumstance: circumstances[i%len(circumstances)],
			size: sizes[(i+i/len(circumstances))%len(sizes)], programs: programs, bucket: bucket,
			random: rand.New(rand.NewPCG(plan.Seed, uint64(i))), taken: map[line]time.Time{}, ends: map[string]int{},
			reported: make(chan bool, 1)}
		environments[i] = e
		free <- struct{}{}
		playing.Go(func() {
			defer func() { <-free }()
			if err := e.play(ctx, plan.Ends); err != nil {
				problems[i] = fmt.Errorf("environment %d: %w", i, err)
			}
		})
	}
	playing.Wait()
	if err := errors.Join(problems...); err != nil {
		return Outcome{}, err
	}
	delivered := map[line]int{}
	err := bucket.Each(ctx, func(_ string, _ int64, body []byte) error { count(delivered, body); return nil })
	return judge(environments, delivered), err
}

// line is one line by its numbers.
type line struct{ invocation, place int }

// count counts the lines of an object, or of a post of the platform with each
// record in a line of its own.
func count(into map[line]int, body []byte) {
	for _, text := range splitRecords(body) {
		if invocation, place, ok := lines.Number(text); ok {
			into[line{invocation, place}]++
		}
	}
}

// judge compares what was taken with what was delivered.
func judge(environments []*environment, delivered map[line]int) Outcome {
	o := Outcome{Ends: map[string]int{}}
	for _, e := range environments {
		lost, doubled := 0, 0
		when := map[string]int{}
		for l, at := range e.taken {
			if delivered[l] == 0 {
				lost++
				when[fmt.Sprintf("%s of invocation %d", at.UTC().Format(clock), l.invocation)]++
			}
		}
		for l, n := range delivered {
			if l.invocation/idsEach != e.number+1 {
				continue
			}
			if n > 1 {
				doubled++
			}
			if e.taken[l].IsZero() {
				o.Unasked++
			}
		}
		for kind, n := range e.ends {
			o.Ends[kind] += n
		}
		for _, notice := range e.notices {
			if !slices.Contains(o.Notices, notice) {
				o.Notices = append(o.Notices, notice)
			}
		}
		o.Taken, o.Lost, o.Doubled = o.Taken+len(e.taken), o.Lost+lost, o.Doubled+doubled
		if lost+doubled > 0 {
			o.Details = append(o.Details, fmt.Sprintf("environment %d (%s): of %d lines %d lost, taken at %v, %d doubled; "+
				"its ends: %v\n%s", e.number, e.circumstance.name, len(e.taken), lost, when, doubled, e.story, e.log.text()))
		}
	}
	return o
}
