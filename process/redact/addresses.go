package redact

import "net/netip"

// mailbox is an e-mail address around its @: b[start:end], or %40.
func mailbox(b []byte, start, end int) (from, to int, ok bool) {
	if b[start] == '%' && string(b[start:end]) != "%40" {
		return 0, 0, false
	}
	const longestName = 64
	from = start
	for floor := max(0, start-longestName); from > floor && isMailboxByte(b[from-1]); from-- {
	}
	from = min(withoutEscape(b, from), start)
	to = domain(b, end)
	return from, to, from < start && to > end
}

// domain gives the end of the host's name that begins at i, with a dot and a top
// level at its end; i if there is none.
func domain(b []byte, i int) int {
	const longest = 255
	to, label := i, i
	for limit := min(len(b), i+longest); to < limit && is(b[to], alnum|beyond|dot|dashes); to++ {
		if b[to] == '.' {
			if to == label {
				break
			}
			label = to + 1
		}
	}
	for {
		last := runBack(b, to, i, alnum|beyond|dashes)
		if last == i {
			return i
		}
		// Letters, and then nothing or another script; or all of another script.
		top := run(b[:to], last, letter)
		switch {
		case top-last >= 2 && (top == to || is(b[top], beyond)) && !isFile(b[last:top]):
			return top
		case run(b[:to], last, letter|beyond) == to && to-last >= 4, hasFold(b, last, "xn--"):
			return to
		}
		to = last - 1
	}
}

// isMailboxByte tells whether c may stand before the @. RFC 5322 allows more, but
// of it only these are in use; bytes of other scripts are.
func isMailboxByte(c byte) bool {
	return is(c, alnum|dot|dashes|beyond) || c == '+' || c == '%' || c == '\'' || c == '!' || c == '#' || c == '$' ||
		c == '*' || c == '^' || c == '~'
}

// withoutEscape gives i, or, if b[i] is the second byte of an escape as \n or
// \u00e9, what is behind it.
func withoutEscape(b []byte, i int) int {
	if i > 0 && i < len(b) && b[i-1] == '\\' {
		switch b[i] {
		case 'n', 't', 'r', 'b', 'f':
			return i + 1
		case 'u':
			if i+5 <= len(b) && run(b[:i+5], i+1, digit|hexLetter) == i+5 {
				return i + 5
			}
		}
	}
	return i
}

// isFile tells the endings of files with an @ in their name from domains.
func isFile(label []byte) bool {
	switch string(label) {
	case "png", "jpg", "jpeg", "gif", "svg", "webp", "css", "js", "mjs", "ts", "json", "so", "service", "socket", "timer":
		return true
	}
	return false
}

// internetAddress is an IPv4 or IPv6 address around a hit of 0.0 or of a colon.
func internetAddress(b []byte, start, end int) (from, to int, ok bool) {
	const longest = 45
	set := digit | dot
	if b[start] == ':' {
		set = digit | hexLetter | dot
	}
	colon := func(c byte) bool { return c == ':' && set&hexLetter != 0 }
	from, to = start, end
	for from > 0 && start-from <= longest && (is(b[from-1], set) || colon(b[from-1])) {
		if from--; colon(b[from]) && start-from > 1 {
			return 0, 0, false // its first colon was asked already
		}
	}
	for to < len(b) && to-end <= longest && (is(b[to], set) || colon(b[to])) {
		to++
	}
	for to > end && (b[to-1] == '.' || b[to-1] == ':' && b[to-2] != ':') {
		to--
	}
	from = min(withoutEscape(b, from), start)
	if to-from < 3 || to-from > longest || !startsWord(b, from) || !endsWord(b, to) ||
		from > 0 && (b[from-1] == '.' || b[from-1] == '-') {
		return 0, 0, false
	}
	if set&hexLetter == 0 { // only the first dot of four numbers asks
		if dot := run(b, from, digit); dot != start+1 && dot != start {
			return 0, 0, false
		}
	}
	address, err := netip.ParseAddr(string(b[from:to]))
	return from, to, err == nil && !address.IsUnspecified()
}
