package sample

import (
	"math"
	"strings"
	"time"

	"github.com/go-faster/jx"
)

// Chosen tells whether an invocation is the one in so many that is kept. It is
// decided by its request id alone, 64-bit FNV-1a with MurmurHash3's finalizer, so
// that everyone who sees the invocation decides the same.
func Chosen(requestID string, oneIn int) bool {
	if oneIn <= 1 {
		return oneIn == 1
	}
	return hashOf(requestID) <= math.MaxUint64/uint64(oneIn)
}

func hashOf(requestID string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(requestID) {
		h = (h ^ uint64(requestID[i])) * 1099511628211
	}
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

func isPlatform(kind string) bool { return strings.HasPrefix(kind, "platform.") }

// outcome is what the platform says of an invocation's end.
type outcome struct {
	failed   bool // a status that is not success: failure, error, timeout
	duration time.Duration
}

// readOutcome reads a record of platform.runtimeDone or platform.report; what is
// broken ends it.
func readOutcome(body []byte) (o outcome) {
	d := jx.GetDecoder()
	defer jx.PutDecoder(d)
	d.ResetBytes(body)
	if d.Next() != jx.Object {
		return o
	}
	it, err := d.ObjIter()
	for err == nil && it.Next() {
		switch {
		case string(it.Key()) == "status" && d.Next() == jx.String:
			var status []byte
			status, err = d.StrBytes()
			o.failed = string(status) != "success"
		case string(it.Key()) == "metrics" && d.Next() == jx.Object:
			o.duration, err = readDuration(d)
		default:
			err = d.Skip()
		}
	}
	return o
}

// readDuration reads metrics.durationMs.
func readDuration(d *jx.Decoder) (duration time.Duration, err error) {
	it, err := d.ObjIter()
	for err == nil && it.Next() {
		if string(it.Key()) != "durationMs" || d.Next() != jx.Number {
			err = d.Skip()
			continue
		}
		var ms float64
		if ms, err = d.Float64(); ms > 0 && ms < 1e9 {
			duration = time.Duration(ms * float64(time.Millisecond))
		}
	}
	return duration, err
}
