package sample

// reason is why a record is kept, or not.
type reason uint8

const (
	failed       reason = iota
	slow                // it took as long as Config.Slow
	sampled             // it is one in N
	overflow            // there was no room to wait for its end
	unknown             // its end was never told
	shutdown            // the environment ended before
	lateError           // an error after it was dropped: the error and what followed
	noInvocation        // a record of none, as during Init
	platform            // an event that is always kept
	notSampled          // dropped: nothing was wrong with it
	unreadable          // dropped: what was held could not be read again
	reasons
)

var reasonNames = [reasons]string{"failed", "slow", "sampled", "overflow", "unknown", "shutdown", "late_error",
	"no_invocation", "platform", "not_sampled", "unreadable"}

// Count is what was decided for one reason.
type Count struct {
	Reason      string
	Dropped     bool
	Invocations int
	Records     int // of the platform
	Exported    int // records of exports
}

// amount is a number of records, by the way that they came.
type amount struct{ records, exported int }

func (a amount) and(b amount) amount { return amount{a.records + b.records, a.exported + b.exported} }

func (a amount) less(b amount) amount { return amount{a.records - b.records, a.exported - b.exported} }

type tally struct {
	invocations [reasons]int
	amounts     [reasons]amount
}

func (t *tally) add(why reason, n amount) { t.amounts[why] = t.amounts[why].and(n) }

// Counts tells, for each reason that there was, how many invocations and
// records were decided by it. The records that were added are those and the held
// ones.
func (s *Sampler) Counts() (counts []Count) {
	for why := range reasons {
		if n, a := s.tally.invocations[why], s.tally.amounts[why]; n > 0 || a != (amount{}) {
			counts = append(counts, Count{reasonNames[why], why >= notSampled, n, a.records, a.exported})
		}
	}
	return counts
}

// Held is how many records, of the platform and of exports, wait for their
// invocation's end, and their bytes.
func (s *Sampler) Held() (records, bytes int) {
	for _, i := range s.order {
		records += i.held.records + i.held.exported
	}
	return records, s.held
}
