package redact

import (
	"bytes"
	"math"
)

// Each matcher gets the literal that was hit, b[start:end], and gives the
// secret around it. What it reads is bounded, or it succeeds and what it read is
// not read again: so all of them together are linear.

// accessKey is an access key id of AWS: four letters and sixteen more.
func accessKey(b []byte, start, end int) (from, to int, ok bool) {
	if !startsWord(b, start) {
		return 0, 0, false
	}
	to = run(b[:min(len(b), end+17)], end, alnum)
	if to-end != 16 || !endsWord(b, to) {
		return 0, 0, false
	}
	// In small letters it is one only with a digit: asia begins words.
	capital := run(b, start, upper|digit) >= to
	return start, to, capital || run(b, end, letter) < to
}

// secretKeyReach is how far behind the word or the id a secret key is looked for.
const secretKeyReach = 100

// secretKey is a secret access key of AWS, forty of base64, soon after b[end].
func secretKey(b []byte, end int) (from, to int, ok bool) {
	const length = 40
	for from = end; from < len(b) && from < end+secretKeyReach; from = max(to, from+1) {
		if b[from] == '%' && !hasFold(b, from, "%2f") && !hasFold(b, from, "%2b") { // not the key's own / and +
			to = min(from+3, len(b))
			continue
		}
		n := 0
		for to = from; to < len(b) && n <= length; n++ {
			switch {
			case is(b[to], alnum|base64Rest):
				to++
				continue
			case b[to] == '\\' && to+1 < len(b) && b[to+1] == '/':
				to += 2
				continue
			case hasFold(b, to, "%2f") || hasFold(b, to, "%2b"):
				to += 3
				continue
			}
			break
		}
		if n == length && hasMixed(b[from:to]) && (to >= len(b) || b[to] != '=') {
			return from, to, true
		}
	}
	return 0, 0, false
}

// afterScheme steps over what stands between a scheme's name and its token.
func afterScheme(b []byte, i int) int {
	from := i
	for i < len(b) && i < from+12 {
		next := skipBlanks(b, i, 4)
		if next == i && (b[i] == '+' || b[i] == ':' || b[i] == '=' || b[i] == '"' || b[i] == '\'' || b[i] == '\\') {
			next++
		}
		if next == i {
			break
		}
		i = next
	}
	return i
}

// bearerToken is the token at from, unless it reads like prose.
func bearerToken(b []byte, start, from int) (_, to int, ok bool) {
	if from == start+len("bearer") || !startsWord(b, start) {
		return 0, 0, false
	}
	to = run(b, from, b64url|dot|base64Rest|equals|tokenRest)
	text := bytes.TrimRight(b[from:to], "=")
	switch {
	case len(text) < 6:
		return 0, 0, false
	case len(text) >= 32:
		return from, to, true
	}
	// Letters of one case are a word, as the realm of realm="…".
	capitals := run(text, 1, lower) < len(text) && run(text, 0, upper) < len(text)
	return from, to, capitals && !prose(text)
}

// prose tells whether text is words only: letters, with dashes, dots and colons.
func prose(text []byte) bool {
	for i, c := range text {
		switch {
		case is(c, lower), i == 0 && is(c, upper), c == '.' && i == len(text)-1, c == '-', c == '_', c == ':', c == ',':
		default:
			return false
		}
	}
	return true
}

// basicToken is base64 of user:password at from.
func basicToken(b []byte, start, from int) (_, to int, ok bool) {
	if from == start+len("basic") || !startsWord(b, start) {
		return 0, 0, false
	}
	to = run(b, from, alnum|base64Rest|dashes)
	if to-from < 4 || !decodesToPair(b[from:min(to, from+400)]) {
		return 0, 0, false
	}
	return from, run(b, to, equals), true
}

// decodesToPair tells whether base64 text begins with readable bytes and a colon.
func decodesToPair(text []byte) bool {
	bits, have := 0, 0
	for _, c := range text {
		bits, have = bits<<6|base64Value(c), have+6
		if have < 8 {
			continue
		}
		have -= 8
		switch char := byte(bits >> have); {
		case char == ':':
			return true
		case char < ' ' || char == 0x7f:
			return false
		}
	}
	return false
}

func base64Value(c byte) int {
	switch {
	case is(c, upper):
		return int(c - 'A')
	case is(c, lower):
		return int(c-'a') + 26
	case is(c, digit):
		return int(c-'0') + 52
	case c == '+' || c == '-':
		return 62
	}
	return 63
}

// jsonWebToken is two or three parts of base64url with dots between, the first of
// which begins with {". What precedes it may not be base64: else it is another's
// middle.
func jsonWebToken(b []byte, start, end int) (from, to int, ok bool) {
	if start > 0 && is(b[start-1], b64url) && !escapedBefore(b, start) {
		return 0, 0, false
	}
	to = run(b, end, b64url)
	if to-start < 12 || to >= len(b) || b[to] != '.' {
		// A cut one still holds the claims' beginning only when there is a dot.
		return start, to, to-start >= 60
	}
	payload := run(b, to+1, b64url)
	if payload-to < 8 {
		return start, to, to-start >= 36
	}
	if to = payload; to < len(b) && b[to] == '.' {
		to = run(b, to+1, b64url|dot)
	}
	return start, to, true
}

// pemKey is a private key in PEM from its first line to its last, whether its
// line ends are escaped or not; a cut one has no last line, or no first.
func (f *finder) pemKey(start, end int) (from, to int, ok bool) {
	b := f.b
	title := b[end:min(len(b), end+60)]
	word := indexFold(title, 0, "private")
	if word >= 0 && indexFold(title[:min(len(title), word+14)], word, "key") < 0 {
		word = -1
	}
	if dash := bytes.Index(title, []byte("-----")); word < 0 || dash >= 0 && dash < word {
		return 0, 0, false
	}
	if foldByte(b[start+5]) == 'e' { // -----END: only if no -----BEGIN covers it
		close := indexFold(title, word, "-----")
		if close < 0 {
			return bodyBefore(b, start, f.pemDone), end + len(title), true
		}
		return bodyBefore(b, start, f.pemDone), end + close + 5, true
	}
	for to = end + word; to < len(b); to++ {
		next := bytes.Index(b[to:], []byte("-----"))
		if next < 0 {
			break
		}
		if to += next; hasFold(b, to, "-----end") {
			last := bytes.Index(b[to+8:min(len(b), to+70)], []byte("-----"))
			if last < 0 {
				break
			}
			return start, to + 8 + last + 5, true
		}
	}
	return start, len(b), true
}

// bodyBefore gives where the lines of base64 that end at i begin. Blanks are
// line ends too, behind what is as long as a line.
func bodyBefore(b []byte, i, floor int) int {
	const length = 48
	for i > floor {
		word := runBack(b, i, floor, alnum|base64Rest|equals|tokenRest)
		begin := word
		for begin > floor && (is(b[begin-1], line) || b[begin-1] == '\\') {
			begin--
		}
		if begin == word && word > floor && is(b[word-1], blank) {
			if before := runBack(b, word-1, floor, alnum|base64Rest|equals|tokenRest); word-1-before >= length {
				begin = before
			}
		}
		if begin == i || begin == word {
			return word
		}
		i = begin
	}
	return i
}

// userInfo is the password of scheme://user:password@host, or the only word
// before the @, which is a token then.
func userInfo(b []byte, start, end, longest int) (from, to int, ok bool) {
	if start == 0 || !is(b[start-1], alnum) {
		return 0, 0, false
	}
	limit := min(len(b), end+longest)
	colon, slash, at := -1, false, -1
	for i := end; i < limit && at < 0; i++ {
		switch c := b[i]; {
		case c == ':' && colon < 0 && !slash:
			colon = i
		case hasFold(b, i, "%3a") && colon < 0 && !slash:
			colon = i + 2
		case c == '@' || hasFold(b, i, "%40"):
			if colon >= 0 && slash && isPort(b[colon+1:i]) {
				return 0, 0, false // host:port/…@…
			}
			at = i
		case c == '/' || c == '?' || c == '#':
			if slash = true; colon < 0 {
				return 0, 0, false
			}
		case c <= ' ' || c == '"' || c == '<' || c == '>' || c == '`':
			return 0, 0, false
		}
	}
	switch {
	case at < 0 || at == end:
		return 0, 0, false
	case colon >= 0:
		// The last @ before the host's end is the one: passwords have some.
		for i := at + 1; i < limit && !is(b[i], blank|line) && b[i] != '/' && b[i] != '"' && b[i] != '\\'; i++ {
			if b[i] == '@' {
				at = i
			}
		}
		return colon + 1, at, at > colon+1
	}
	return end, at, at-end >= 16 && run(b[end:at], 0, letter|dashes|dot) < at-end
}

// isPort tells whether text begins with a port and a path.
func isPort(text []byte) bool {
	n := run(text, 0, digit)
	return n > 0 && n <= 5 && n < len(text) && (text[n] == '/' || text[n] == '?' || text[n] == '#')
}

// opaque tells whether a value looks made by a machine: what follows token= or
// the like, when the key alone says too little.
func opaque(value []byte) bool {
	n := run(value, 0, b64url|dot|base64Rest|equals|tokenRest)
	return n == len(value) && n >= 16 && run(value, 0, letter|dashes|dot|tokenRest) < n &&
		run(value, 0, digit|dot|dashes|tokenRest) < n
}

// entropic tells whether a word has the entropy of a key: digits and letters of
// both cases, and at least 4 bits a character for the usual lengths.
func entropic(word []byte) bool {
	if len(word) < 20 || !hasMixed(word) {
		return false
	}
	var counts [256]uint16
	word = word[:min(len(word), 256)]
	for _, c := range word {
		counts[c]++
	}
	bits, n := 0.0, float64(len(word))
	for _, count := range counts {
		if count > 0 {
			p := float64(count) / n
			bits -= p * math.Log2(p)
		}
	}
	return bits >= min(4, 0.92*math.Log2(n))
}
