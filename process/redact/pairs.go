package redact

// A pair is a key and its value as logs have them: key=value, key: value, "key":
// "value" (escaped as often as one likes), 'key': 'value', key => value, --key
// value, <key>value</key>, key%3Dvalue, and "name": "key", "value": "…".

const longestKey = 256

// pair looks at the key around a word, b[start:end], that may demand something
// for its value; or, if weak, only for a value that looks like a token.
func (f *finder) pair(start, end int, weak bool) {
	if end <= f.pairsDone {
		return
	}
	b := f.b
	from := runBack(b, start, max(0, start-longestKey), ident)
	to := run(b, end, ident)
	f.pairsDone = to
	from = min(withoutEscape(b, from), start)
	value, closer, ok := f.valueOf(from, to)
	if !ok && !weak && f.spacedKey(&from, &to) {
		value, closer, ok = f.valueOf(from, to)
	}
	if !ok || f.covered(value, value) || closer == ':' && to < len(b) && b[to] == ':' && value == to+1 && inARN(b, from) {
		return
	}
	action, by := f.p.pairAction(b[from:to])
	if action == Keep && !(weak || f.p.weakKey(b[from:to])) {
		return
	}
	if f.raw {
		f.found = true // the value's end is not asked, and escapes may hide it
		return
	}
	if value, valueEnd := f.valueSpan(value, closer, b[from:to]); value < valueEnd {
		f.keep(value, valueEnd, action, by)
	}
}

// keep notes a value unless there is no reason to.
func (f *finder) keep(from, to int, action Action, by uint16) {
	text := f.b[from:to]
	if action == Keep {
		if action, by = f.p.actions[token], uint16(token); !f.p.detectors.has(token) || !opaque(text) {
			return
		}
	}
	if f.p.all || !harmless(text) {
		f.note(span{from: from, to: to, by: by, action: action})
	}
}

// pairBefore finds the key before a separator, for keys that no literal tells.
func (f *finder) pairBefore(i int) {
	end := i
	for end > 0 && i-end < 8 && (is(f.b[end-1], blank) || f.b[end-1] == '"' || f.b[end-1] == '\'' || f.b[end-1] == '\\') {
		end--
	}
	if f.raw {
		f.found = true
	} else if end > 0 && is(f.b[end-1], ident) {
		f.pair(end-1, end, false)
	}
}

// spacedKey widens a key to its quotes: "my secret": there are blanks or other
// signs in it.
func (f *finder) spacedKey(from, to *int) bool {
	b := f.b
	if *to < f.spaced {
		return false
	}
	if f.quote < *to {
		for f.quote = *to; f.quote < len(b) && b[f.quote] != '"' && b[f.quote] != '\n'; f.quote++ {
		}
	}
	end := f.quote
	if end >= len(b) || b[end] == '\n' {
		return false
	}
	if f.raw && b[end-1] == '\\' {
		f.found = true
		return false
	}
	after := skipBlanks(b, end+1, 8)
	if after >= len(b) || b[after] != ':' {
		return false
	}
	f.spaced = f.quote
	*to = end
	for b[*to-1] == '\\' {
		*to--
	}
	for limit := max(0, *from-longestKey); *from > limit && b[*from-1] != '"'; {
		*from--
	}
	return true
}

// valueOf gives where the value of the key b[from:to] begins, and the separator.
func (f *finder) valueOf(from, to int) (value int, sep byte, ok bool) {
	b := f.b
	i := to
	quoted := false
	for i < len(b) && i-to < f.reach(16) && (b[i] == '\\' || b[i] == '"' || b[i] == '\'' || b[i] == '`' ||
		b[i] == ']' || b[i] == ')') {
		quoted = quoted || b[i] == '"' || b[i] == '\''
		i++
	}
	if i == to && from > 0 && b[from-1] == '<' && i < len(b) && b[i] == '>' ||
		from > 5 && hasFold(b, from-6, `\u003c`) && hasFold(b, to, `\u003e`) {
		return i + 1, '<', true
	}
	i = skipBlanks(b, i, 8)
	switch {
	case i >= len(b):
		return 0, 0, false
	case b[i] == '=' && i+1 < len(b) && b[i+1] == '>', b[i] == ':' && i+1 < len(b) && b[i+1] == '=':
		i += 2
		sep = '='
	case b[i] == '=' || b[i] == ':':
		sep = b[i]
		if i++; i < len(b) && b[i] == '=' && sep == '=' {
			i++
		}
	case hasFold(b, i, "%3d"), hasFold(b, i, "%3a"):
		sep = '%'
		i += 3
	case b[i] == '\\' && (hasFold(b, i, `\u003d`) || hasFold(b, i, `\u003a`)):
		sep = '='
		i += 6
	case quoted && b[i] == ',':
		if i = f.namedValue(i + 1); i < 0 {
			return f.tuple(from, to)
		}
		sep = ':'
	case i > to && b[from] == '-' && from+1 < to && b[from+1] == '-' && !quoted:
		return i, ' ', b[i] != '-'
	default:
		return 0, 0, false
	}
	value = skipBlanks(b, i, 8)
	return value, sep, value == i || sep != '=' || b[to] != '=' || !f.pairAt(value)
}

// pairAt tells whether the next pair begins where a value should: a= b=1. What
// base64 ends with is none.
func (f *finder) pairAt(i int) bool {
	end := run(f.b[:min(len(f.b), i+64)], i, ident)
	return !f.raw && end > i && end+1 < len(f.b) && f.b[end] == '=' && !is(f.b[end+1], equals|blank|line)
}

// namedValue is the value of {"name": "key", "value": …}, from behind the comma;
// -1 if there is none.
func (f *finder) namedValue(i int) int {
	b := f.b
	quotes := func() {
		for limit := i + f.reach(16); i < len(b) && i < limit && (b[i] == '\\' || b[i] == '"' || b[i] == '\''); {
			i++
		}
	}
	i = skipBlanks(b, i, 8)
	quotes()
	if !hasFold(b, i, "value") {
		return -1
	}
	i += len("value")
	quotes()
	if i = skipBlanks(b, i, 8); i >= len(b) || b[i] != ':' {
		return -1
	}
	return i + 1
}

// tuple is ('key', 'value'), as Python prints headers; both quoted alike.
func (f *finder) tuple(from, to int) (value int, sep byte, ok bool) {
	b := f.b
	if f.raw {
		return from, ':', true // the quotes may be escaped
	}
	if from < 2 || to+1 >= len(b) || b[from-1] != b[to] || b[from-2] != '(' && (b[from-2] != 'b' || from < 3 ||
		b[from-3] != '(') {
		return 0, 0, false
	}
	i := to + 1
	if b[i] != ',' {
		return 0, 0, false
	}
	i = skipBlanks(b, i+1, 8)
	if i < len(b) && (b[i] == b[to] || b[i] == 'b' && i+1 < len(b) && b[i+1] == b[to]) {
		return i, ':', true
	}
	return 0, 0, false
}

// valueSpan gives the value that begins at i, without its quotes.
func (f *finder) valueSpan(i int, sep byte, key []byte) (from, to int) {
	b := f.b
	q := i
	if q+1 < len(b) && (b[q] == 'b' || b[q] == 'u' || b[q] == 'r') && (b[q+1] == '\'' || b[q+1] == '"') {
		q++ // a literal of Python
	}
	depth := 0
	for q < len(b) && b[q] == '\\' && depth < 64 {
		q, depth = q+1, depth+1
	}
	switch {
	case sep == '<':
		for to = i; to < len(b) && b[to] != '<'; to++ {
		}
		return i, to
	case sep == '%':
		for to = i; to < len(b) && is(b[to], ident|base64Rest|tokenRest|beyond) && !hasFold(b, to, "%26"); to++ {
		}
		return i, to
	case q < len(b) && (b[q] == '"' || b[q] == '\'' || b[q] == '`'):
		to, _ = closingQuote(b, q+1, b[q], depth)
		return q + 1, to
	}
	to = word(b, i)
	one, list := scheme(b[i:to], key)
	for more := one || list; more; more = list {
		next := to
		if list && hasFold(b, next, `", `) && next+3 < len(b) && b[next+3] != '"' {
			next++ // a="b", c="d"
		}
		if list && next < len(b) && (b[next] == ',' || b[next] == ';') {
			next++
		}
		if next = skipBlanks(b, next, 4); next == to || next >= len(b) || is(b[next], line) {
			break
		}
		to = max(word(b, next), next)
	}
	return i, to
}

// closingQuote finds what closes a string whose own quotes have depth backslashes
// before them: what is quoted inside has more. It gives where the content ends,
// and the quote; len(b) for both if the string is cut.
func closingQuote(b []byte, i int, quote byte, depth int) (content, at int) {
	slashes := 0
	for ; i < len(b); i++ {
		switch {
		case b[i] == '\\':
			slashes++
			continue
		case b[i] == quote && slashes < depth:
			return i - slashes, i // the string around it ends
		case b[i] == quote && (slashes-depth)%(2*(depth+1)) == 0:
			return i - depth, i
		}
		slashes = 0
	}
	return i, i
}

// word gives the end of a value without quotes: at a blank, at the sign before
// the next pair, at a bracket or quote that closes what is around it. Brackets
// that it opens, it also closes.
func word(b []byte, i int) int {
	depth, slashes := 0, 0
	equals := i > 0 && b[i-1] == '='
	for from := i; i < len(b); i++ {
		c := b[i]
		switch {
		case c == '{' || c == '[' || c == '(':
			depth++
		case (c == '}' || c == ']' || c == ')') && depth > 0:
			depth--
		case depth > 0:
			if c == '"' || c == '\'' && i > from && !is(b[i-1], alnum|beyond) {
				_, i = closingQuote(b, i+1, c, slashes)
			}
		case (c == '}' || c == ']' || c == ')') && closes(b, i+1), is(c, blank|line):
			return i
		case c == '<' && i > from && i+1 < len(b) && b[i+1] == '/':
			return i
		case (c == ',' || c == ';' || c == '&') && nextPair(b, i+1) && !(equals && onlyColon(b, i+1)):
			return i
		case c == '"' || c == '\'' || c == '`':
			if closes(b, i+1) {
				return i - slashes
			}
		}
		if slashes++; c != '\\' {
			slashes = 0
		}
	}
	return min(i, len(b))
}

// closes tells whether what ends at i ends a value: only other closing signs
// follow, and then a blank, the next pair or nothing.
func closes(b []byte, i int) bool {
	for limit := i + 16; i < len(b) && i < limit; i++ {
		switch c := b[i]; c {
		case '}', ']', ')', '>', '"', '\'', '\\':
		case ',', ';', '&':
			return nextPair(b, i+1)
		default:
			return is(c, blank|line) || c == '<' && i+1 < len(b) && b[i+1] == '/'
		}
	}
	return true
}

// nextPair tells whether another pair or item begins at i.
func nextPair(b []byte, i int) bool {
	if i >= len(b) || is(b[i], blank|line) || b[i] == '"' || b[i] == '\'' || b[i] == '\\' || b[i] == '{' {
		return true
	}
	end := run(b[:min(len(b), i+64)], i, ident)
	return end > i && end < len(b) && (b[end] == '=' || b[end] == ':' || hasFold(b, end, "%3d"))
}

// onlyColon tells whether what begins at i looks like a pair or item for a colon or
// a brace alone. Behind a pair with an equals sign it is none, but more of the value.
func onlyColon(b []byte, i int) bool {
	if i < len(b) && b[i] == '{' {
		return true
	}
	end := run(b[:min(len(b), i+64)], i, ident)
	return end > i && end < len(b) && b[end] == ':'
}

// scheme tells whether more words belong to a value than its first one: one, if
// that is the name of an authentication scheme; all up to the end of the line,
// if it is a list.
func scheme(first, key []byte) (one, list bool) {
	if hasFold(key, len(key)-len("cookie"), "cookie") || indexFold(key, 0, "passphrase") >= 0 {
		return false, true
	}
	for i, name := range []string{"digest", "aws4-hmac-sha256", "aws4-ecdsa-p256-sha256", "oauth", "hmac", "signature",
		"bearer", "basic", "negotiate", "token", "apikey", "bot", "ntlm", "jwt", "key", "sso-key", "aws"} {
		if len(first) == len(name) && hasFold(first, 0, name) {
			return i > 5, i <= 5
		}
	}
	return false, false
}

// harmless tells whether a value says that there is none, or is masked already.
func harmless(text []byte) bool {
	for _, word := range []string{"null", "none", "nil", "<nil>", "undefined", "true", "false", "-", "[redacted]"} {
		if len(text) == len(word) && hasFold(text, 0, word) {
			return true
		}
	}
	for _, c := range text {
		if c != '*' {
			return len(text) == hashLength && hasFold(text, 0, hashPrefix)
		}
	}
	return true
}

// inARN tells whether the word that ends at i is part of an ARN: there the words
// between the colons are no keys.
func inARN(b []byte, i int) bool {
	from := i
	for from > 0 && i-from < 256 && is(b[from-1], ident|tokenRest|base64Rest) {
		from--
	}
	return indexFold(b[:min(i, from+40)], from, "arn:") >= 0
}
