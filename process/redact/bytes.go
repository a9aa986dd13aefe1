package redact

// Sets of bytes that matchers ask for.
type set uint16

const (
	digit set = 1 << iota
	upper
	lower
	hexLetter  // a-f A-F
	dashes     // - _
	base64Rest // + /
	dot
	equals
	blank // space and tab
	line  // \r \n
	beyond
	tokenRest // ~ | % : beyond what base64 has, in bearer tokens

	letter = upper | lower
	alnum  = letter | digit
	b64url = alnum | dashes
	ident  = alnum | dashes | dot
)

var sets = func() (of [256]set) {
	for c := range 256 {
		switch b := byte(c); {
		case b >= '0' && b <= '9':
			of[c] = digit
		case b >= 'A' && b <= 'Z':
			of[c] = upper
		case b >= 'a' && b <= 'z':
			of[c] = lower
		case b == '-' || b == '_':
			of[c] = dashes
		case b == '+' || b == '/':
			of[c] = base64Rest
		case b == '.':
			of[c] = dot
		case b == '=':
			of[c] = equals
		case b == ' ' || b == '\t':
			of[c] = blank
		case b == '\r' || b == '\n':
			of[c] = line
		case b >= 0x80:
			of[c] = beyond
		case b == '~' || b == '|' || b == '%' || b == ':':
			of[c] = tokenRest
		}
		if lowered := byte(c) | 0x20; lowered >= 'a' && lowered <= 'f' && c >= 'A' {
			of[c] |= hexLetter
		}
	}
	return of
}()

func is(c byte, s set) bool { return sets[c]&s != 0 }

// run gives the end of the bytes of a set that begin at i.
func run(b []byte, i int, s set) int {
	for i < len(b) && sets[b[i]]&s != 0 {
		i++
	}
	return i
}

// runBack gives where the bytes of a set that end at i begin, at least floor.
func runBack(b []byte, i, floor int, s set) int {
	for i > floor && sets[b[i-1]]&s != 0 {
		i--
	}
	return i
}

// startsWord tells whether no word reaches into i from the left. What an escape
// of JSON ends with, as the n of \n, is no part of a word: matchers also read
// text that is still escaped.
func startsWord(b []byte, i int) bool {
	if i == 0 || !is(b[i-1], alnum) && b[i-1] != '_' {
		return true
	}
	return escapedBefore(b, i)
}

func escapedBefore(b []byte, i int) bool {
	if i >= 2 && b[i-2] == '\\' {
		switch b[i-1] {
		case 'n', 't', 'r', 'b', 'f':
			return true
		}
	}
	if i >= 6 && b[i-6] == '\\' && b[i-5] == 'u' {
		return run(b[i-4:i], 0, digit|hexLetter) == 4
	}
	return i >= 3 && b[i-3] == '%' && run(b[i-2:i], 0, digit|hexLetter) == 2
}

// endsWord tells whether no word goes on at i.
func endsWord(b []byte, i int) bool {
	return i >= len(b) || !is(b[i], alnum) && b[i] != '_'
}

// hasFold tells whether b has the text, which is in lower case, at i.
func hasFold(b []byte, i int, text string) bool {
	if i < 0 || len(b)-i < len(text) {
		return false
	}
	for k := range len(text) {
		c := b[i+k]
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != text[k] {
			return false
		}
	}
	return true
}

// indexFold finds the text, which is in lower case, from i on; -1 if it is not
// there. It is for short haystacks and rare calls.
func indexFold(b []byte, i int, text string) int {
	for ; i+len(text) <= len(b); i++ {
		if hasFold(b, i, text) {
			return i
		}
	}
	return -1
}

// skipBlanks steps over at most limit blanks, plain, of a query (+, %20) or
// still escaped (\t).
func skipBlanks(b []byte, i, limit int) int {
	for ; limit > 0 && i < len(b); limit-- {
		switch {
		case is(b[i], blank):
			i++
		case b[i] == '\\' && i+1 < len(b) && (b[i+1] == 't' || b[i+1] == 'n' || b[i+1] == 'r'):
			i += 2
		case hasFold(b, i, "%20"):
			i += 3
		default:
			return i
		}
	}
	return i
}
