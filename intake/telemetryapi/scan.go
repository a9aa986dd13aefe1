package telemetryapi

// outcome is how a scan of one JSON value ended. The middle one is why this
// scanner is ours: a body may be cut inside a value, and a cut is not an error.
type outcome int

const (
	complete  outcome = iota // the value ended inside the body
	truncated                // the body ended inside the value
	invalid                  // no JSON value can start or go on like this
)

// maxDepth bounds how deep arrays and objects may nest in a record.
const maxDepth = 512

// skipSpace returns the index of the first byte at or after i that is not JSON
// white space.
func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}

// skipValue checks the JSON value that starts at b[i] and returns the index
// after it. It validates the grammar of RFC 8259 but not UTF-8.
func skipValue(b []byte, i int) (int, outcome) { return skipNested(b, i, 0) }

func skipNested(b []byte, i, depth int) (int, outcome) {
	if i >= len(b) {
		return i, truncated
	}
	switch c := b[i]; {
	case c == '"':
		return skipString(b, i)
	case c == '{' || c == '[':
		if depth == maxDepth {
			return i, invalid
		}
		return skipContainer(b, i, depth+1)
	case c == '-' || c >= '0' && c <= '9':
		return skipNumber(b, i)
	case c == 't':
		return skipWord(b, i, "true")
	case c == 'f':
		return skipWord(b, i, "false")
	case c == 'n':
		return skipWord(b, i, "null")
	}
	return i, invalid
}

// skipContainer walks an object or an array, whose opening byte is b[i].
func skipContainer(b []byte, i, depth int) (int, outcome) {
	object := b[i] == '{'
	closing := byte(']')
	if object {
		closing = '}'
	}
	i = skipSpace(b, i+1)
	if i < len(b) && b[i] == closing {
		return i + 1, complete
	}
	for {
		var out outcome
		if object {
			if i, out = skipKey(b, i); out != complete {
				return i, out
			}
		}
		if i, out = skipNested(b, i, depth); out != complete {
			return i, out
		}
		i = skipSpace(b, i)
		if i >= len(b) {
			return i, truncated
		}
		switch b[i] {
		case ',':
			i = skipSpace(b, i+1)
		case closing:
			return i + 1, complete
		default:
			return i, invalid
		}
	}
}

// skipKey passes an object's key, its colon and the white space around them.
func skipKey(b []byte, i int) (int, outcome) {
	if i >= len(b) {
		return i, truncated
	}
	if b[i] != '"' {
		return i, invalid
	}
	i, out := skipString(b, i)
	if out != complete {
		return i, out
	}
	i = skipSpace(b, i)
	if i >= len(b) {
		return i, truncated
	}
	if b[i] != ':' {
		return i, invalid
	}
	return skipSpace(b, i+1), complete
}

// plain tells the bytes that stand for themselves inside a JSON string.
var plain = func() (t [256]bool) {
	for c := range t {
		t[c] = c >= 0x20 && c != '"' && c != '\\'
	}
	return t
}()

// skipString passes the string whose opening quote is b[i].
func skipString(b []byte, i int) (int, outcome) {
	i++
	for {
		for i < len(b) && plain[b[i]] {
			i++
		}
		if i >= len(b) {
			return i, truncated
		}
		switch b[i] {
		case '"':
			return i + 1, complete
		case '\\':
			var out outcome
			if i, out = skipEscape(b, i); out != complete {
				return i, out
			}
		default: // a control character has to be escaped
			return i, invalid
		}
	}
}

// skipEscape passes the escape sequence whose backslash is b[i].
func skipEscape(b []byte, i int) (int, outcome) {
	if i+1 >= len(b) {
		return i, truncated
	}
	switch b[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 2, complete
	case 'u':
		for k := i + 2; k < i+6; k++ {
			if k >= len(b) {
				return i, truncated
			}
			if !isHex(b[k]) {
				return i, invalid
			}
		}
		return i + 6, complete
	}
	return i, invalid
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

// skipNumber passes a number. At the body's end a number may go on in the next
// body, so it counts as truncated there.
func skipNumber(b []byte, i int) (int, outcome) {
	if b[i] == '-' {
		i++
	}
	var out outcome
	switch {
	case i >= len(b):
		return i, truncated
	case b[i] == '0':
		i++
	default:
		if i, out = skipDigits(b, i); out != complete {
			return i, out
		}
	}
	if i < len(b) && b[i] == '.' {
		if i, out = skipDigits(b, i+1); out != complete {
			return i, out
		}
	}
	if i < len(b) && (b[i] == 'e' || b[i] == 'E') {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		if i, out = skipDigits(b, i); out != complete {
			return i, out
		}
	}
	if i >= len(b) {
		return i, truncated
	}
	return i, complete
}

// skipDigits passes one digit or more.
func skipDigits(b []byte, i int) (int, outcome) {
	start := i
	for i < len(b) && b[i] >= '0' && b[i] <= '9' {
		i++
	}
	switch {
	case i > start:
		return i, complete
	case i >= len(b):
		return i, truncated
	}
	return i, invalid
}

// skipWord passes true, false or null.
func skipWord(b []byte, i int, word string) (int, outcome) {
	for k := range len(word) {
		if i+k >= len(b) {
			return i, truncated
		}
		if b[i+k] != word[k] {
			return i, invalid
		}
	}
	return i + len(word), complete
}

// Member returns the raw value of the object's member with the given key, or
// nil. It reads the top level only; the first of two equal keys counts.
func Member(object []byte, key string) []byte {
	i := skipSpace(object, 0)
	if i >= len(object) || object[i] != '{' {
		return nil
	}
	i = skipSpace(object, i+1)
	for i < len(object) && object[i] == '"' {
		end, out := skipString(object, i)
		if out != complete {
			return nil
		}
		name := object[i+1 : end-1]
		value, out := skipKey(object, i)
		if out != complete {
			return nil
		}
		after, out := skipValue(object, value)
		if out == invalid || out == truncated {
			return nil
		}
		if string(name) == key {
			return object[value:after]
		}
		i = skipSpace(object, after)
		if i >= len(object) || object[i] != ',' {
			return nil
		}
		i = skipSpace(object, i+1)
	}
	return nil
}
