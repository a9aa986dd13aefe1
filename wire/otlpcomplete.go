package wire

import (
	"encoding/binary"

	"slipstream/telemetry"
)

// maxCompletion is how many attributes a Completion adds at most: those that
// are known of a function, and 64 of the user's own.
const maxCompletion = 128

// marks has a bit for each attribute of a Completion.
type marks [maxCompletion / 64]uint64

func (m *marks) set(i int)      { m[i/64] |= 1 << (i % 64) }
func (m *marks) has(i int) bool { return m[i/64]>>(i%64)&1 == 1 }

// Completion is a function's resource attributes, ready to be added to what
// the function exports. It serves concurrent calls.
type Completion struct {
	fields []byte         // each attribute as a field of a Resource
	ends   []int          // of each one in fields
	index  map[string]int // the place of a key
}

// NewCompletion prepares the attributes that OTLPLogs writes for the resource.
// Of two with one key the last counts: the user's own.
func NewCompletion(res *telemetry.Resource) *Completion {
	c := &Completion{index: map[string]int{}}
	encoded := appendResource(nil, res)
	_, size, end := readField(encoded, 0)
	encoded = encoded[end-int(size):]
	last := map[string]int{}
	eachAttribute(encoded, func(key, _ []byte, at int) { last[string(key)] = at })
	eachAttribute(encoded, func(key, whole []byte, at int) {
		if last[string(key)] == at && len(c.ends) < maxCompletion {
			c.index[string(key)] = len(c.ends)
			c.fields = append(c.fields, whole...)
			c.ends = append(c.ends, len(c.fields))
		}
	})
	return c
}

// eachAttribute calls f with the key of each attribute of a Resource, the whole
// field and its place.
func eachAttribute(resource []byte, f func(key, whole []byte, at int)) {
	for at := 0; at < len(resource); {
		tag, size, end := readField(resource, at)
		if end < 0 {
			return
		}
		if tag == fieldResourceAttributes<<3|wireBytes {
			f(attributeKey(resource[end-int(size):end]), resource[at:end], at)
		}
		at = end
	}
}

// attributeKey is the key of a KeyValue.
func attributeKey(kv []byte) (key []byte) {
	for at := 0; at < len(kv); {
		tag, size, end := readField(kv, at)
		if end < 0 {
			return key
		}
		if tag == fieldKey<<3|wireBytes {
			key = kv[end-int(size) : end]
		}
		at = end
	}
	return key
}

// Complete appends body, a request that CheckExport found right, to dst
// with the attributes of c added to each resource that lacks them. What the
// sender says is never overwritten, even where it is empty; data without a
// resource gets one. All else is copied as it is, unknown fields too.
func (c *Completion) Complete(dst []byte, signal telemetry.Signal, body []byte) []byte {
	if _, flaw := requestOf(signal); flaw != nil {
		return append(dst, body...)
	}
	for at := 0; at < len(body); {
		tag, size, end := readField(body, at)
		if end < 0 {
			return append(dst, body[at:]...)
		}
		if tag == fieldResourceLogs<<3|wireBytes { // the same number for all signals
			dst = c.appendData(dst, body[end-int(size):end])
		} else {
			dst = append(dst, body[at:end]...)
		}
		at = end
	}
	return dst
}

// resourcePlace is where in a Resource{Logs,Spans,Metrics} its resource is.
type resourcePlace struct{ from, content, to int }

// appendData appends a Resource{Logs,Spans,Metrics} with its resource complete.
func (c *Completion) appendData(dst, data []byte) []byte {
	var seen marks
	var last resourcePlace // protobuf joins several to one
	for at := 0; at < len(data); {
		tag, size, end := readField(data, at)
		if end < 0 {
			break
		}
		if tag == fieldResource<<3|wireBytes {
			last = resourcePlace{from: at, content: end - int(size), to: end}
			c.note(data[last.content:last.to], &seen)
		}
		at = end
	}
	missing := c.missing(&seen)
	content := last.to - last.content + missing
	whole := len(data) - (last.to - last.from) + 1 + varintSize(content) + content
	dst = appendTag(dst, fieldResourceLogs, wireBytes)
	dst = binary.AppendUvarint(dst, uint64(whole))
	dst = append(dst, data[:last.from]...)
	dst = appendTag(dst, fieldResource, wireBytes)
	dst = binary.AppendUvarint(dst, uint64(content))
	dst = append(dst, data[last.content:last.to]...)
	if missing > 0 {
		dst = c.appendMissing(dst, &seen)
	}
	return append(dst, data[last.to:]...)
}

// note marks the attributes that a Resource has.
func (c *Completion) note(resource []byte, seen *marks) {
	for at := 0; at < len(resource); {
		tag, size, end := readField(resource, at)
		if end < 0 {
			return
		}
		if tag == fieldResourceAttributes<<3|wireBytes {
			if i, ok := c.index[string(attributeKey(resource[end-int(size):end]))]; ok {
				seen.set(i)
			}
		}
		at = end
	}
}

// missing is the size of the attributes that are not marked.
func (c *Completion) missing(seen *marks) (size int) {
	start := 0
	for i, end := range c.ends {
		if !seen.has(i) {
			size += end - start
		}
		start = end
	}
	return size
}

func (c *Completion) appendMissing(dst []byte, seen *marks) []byte {
	start := 0
	for i, end := range c.ends {
		if !seen.has(i) {
			dst = append(dst, c.fields[start:end]...)
		}
		start = end
	}
	return dst
}
