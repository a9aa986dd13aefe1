package telemetryapi

import "hash/maphash"

// resentMemory is how many bodies are remembered. The platform sends in order,
// so only its last request can be in doubt; but for how long nobody can say: a
// freeze may lie between the answer that was lost and the next try.
const resentMemory = 4

// resent recognises a body that the platform sends again because it never saw
// our answer. Two different bodies may well be equal (a function that writes
// one line ten thousand times within a millisecond), so equality alone does not
// tell. But a client that sends its next request on the same connection has
// read the answer to the one before: only a body whose connection was never
// used again can be in doubt.
type resent struct {
	seed   maphash.Seed
	recent [resentMemory]taken
	next   int
}

// taken is a body that we answered and whose answer may have been lost.
type taken struct {
	connection any // nil: none, or its answer was seen
	sum        uint64
	length     int
}

// seen tells whether body is one that we took already. It is called once for
// each request, before took.
func (r *resent) seen(connection any, body []byte) bool {
	for k := range r.recent {
		if r.recent[k].connection == connection {
			r.recent[k] = taken{}
		}
	}
	sum := maphash.Bytes(r.seed, body)
	for k, t := range r.recent {
		if t.connection != nil && t.length == len(body) && t.sum == sum {
			r.recent[k].connection = connection
			return true
		}
	}
	return false
}

// took remembers a body that is in our buffer now.
func (r *resent) took(connection any, body []byte) {
	r.recent[r.next] = taken{connection, maphash.Bytes(r.seed, body), len(body)}
	r.next = (r.next + 1) % resentMemory
}
