package redact

import (
	"unicode/utf16"
	"unicode/utf8"
)

const (
	// maxNesting is how deep JSON is read at all; deeper it is text.
	maxNesting = 10_000
	// maxWalked is how deep it is walked: what is deeper is masked as a whole.
	maxWalked = 500
)

// JSON appends one complete JSON value with every secret in it replaced, by key
// and by form, as valid JSON of the same structure. What is no JSON is redacted as
// text. False: nothing has changed, and dst is returned as it was.
func (p *Policy) JSON(dst, value []byte) ([]byte, bool) {
	if !p.Suspect(value) {
		return dst, false
	}
	start := skipSpace(value, 0)
	if end, ok := skipJSON(value, start, 0); !ok || skipSpace(value, end) < len(value) {
		return p.redactText(dst, nil, value, 0)
	}
	return p.walk(dst, value, 0)
}

// walker goes over valid JSON and copies it with what it changes.
type walker struct {
	p       *Policy
	b       []byte
	dst     []byte
	copied  int // up to where b is in dst
	changed bool
	path    []byte
	depth   int // how many strings of JSON it is in
	nesting int
}

// walk appends valid JSON, redacted; dst as it was if nothing has changed.
func (p *Policy) walk(dst, value []byte, depth int) ([]byte, bool) {
	scratch := p.work.Get().(*work)
	defer p.work.Put(scratch)
	w := walker{p: p, b: value, dst: dst, depth: depth, path: scratch.path[:0]}
	w.value(skipSpace(value, 0))
	scratch.path = w.path
	if !w.changed {
		return dst, false
	}
	return append(w.dst, value[w.copied:]...), true
}

// cut copies up to from, and leaves out the rest up to to.
func (w *walker) cut(from, to int) {
	w.dst = append(w.dst, w.b[w.copied:from]...)
	w.copied, w.changed = to, true
}

// value redacts the value that begins at i, by what it is, and gives its end.
func (w *walker) value(i int) int {
	switch c := w.b[i]; c {
	case '{', '[':
		if w.nesting == maxWalked {
			end, _ := skipJSON(w.b, i, 0)
			w.put(i, end, Mask, nobody)
			return end
		}
		w.nesting++
		defer func() { w.nesting-- }()
		if c == '{' {
			return w.object(i)
		}
		return w.array(i)
	case '"':
		return w.text(i)
	case 't', 'f', 'n':
		end, _ := skipJSON(w.b, i, 0)
		return end
	}
	return w.number(i)
}

func (w *walker) array(i int) int {
	for i = skipSpace(w.b, i+1); w.b[i] != ']'; {
		if i = skipSpace(w.b, w.value(i)); w.b[i] == ',' {
			i = skipSpace(w.b, i+1)
		}
	}
	return i + 1
}

// number masks a number that is a secret as text would be: of a card.
func (w *walker) number(i int) int {
	end, _ := skipJSON(w.b, i, 0)
	if end-i < 8 {
		return end
	}
	f := finder{p: w.p, b: w.b[i:end]}
	f.scan()
	f.own(w.path)
	if f.merge(); len(f.spans) > 0 {
		w.put(i, end, f.spans[0].action, f.spans[0].by)
	}
	return end
}

// text redacts the string that begins at i.
func (w *walker) text(i int) int {
	end, plain := stringEnd(w.b, i)
	scratch := w.p.work.Get().(*work)
	defer w.p.work.Put(scratch)
	text := w.b[i+1 : end-1]
	if !plain {
		scratch.decoded = unquote(scratch.decoded[:0], text)
		text = scratch.decoded
	}
	var changed bool
	if scratch.out, changed = w.p.redactText(scratch.out[:0], w.path, text, w.depth); changed {
		w.cut(i+1, end-1)
		w.dst = appendEscaped(w.dst, scratch.out)
	}
	return end
}

// member is where the parts of an object's member are.
type member struct{ comma, key, keyEnd, value, end int }

func (w *walker) object(i int) int {
	open := i
	kept, before := 0, member{}
	for i = skipSpace(w.b, i+1); w.b[i] != '}'; {
		m := member{comma: before.end, key: i}
		m.keyEnd, _ = stringEnd(w.b, i)
		m.value = skipSpace(w.b, skipSpace(w.b, m.keyEnd)+1)
		removed := w.member(&m, before)
		i = skipSpace(w.b, m.end)
		comma := w.b[i] == ','
		if comma {
			i = skipSpace(w.b, i+1)
		}
		switch {
		case !removed:
			kept++
		case kept > 0:
			w.cut(m.comma, m.end)
		default:
			w.cut(max(open+1, m.key), i)
		}
		before = m
		if removed {
			before.value = 0
		}
	}
	return i + 1
}

// member redacts a key and its value, and tells whether both are to be removed.
func (w *walker) member(m *member, before member) (removed bool) {
	outer := len(w.path)
	if outer > 0 {
		w.path = append(w.path, '.')
	}
	from := len(w.path)
	w.path = unquote(w.path, w.b[m.key+1:m.keyEnd-1])
	name := w.path[from:]
	action, by := w.p.keyAction(w.path, from)
	if named, who := w.named(name, before); named > action {
		action, by = named, who
	}
	isText := w.b[m.value] == '"'
	if action == Keep && isText && w.p.weakKey(name) {
		if end, plain := stringEnd(w.b, m.value); plain && opaque(w.b[m.value+1:end-1]) {
			action, by = w.p.actions[token], uint16(token)
		}
	}
	switch {
	case action == Keep:
		w.text(m.key)
		m.end = w.value(m.value)
	case action == Remove:
		m.end, _ = skipJSON(w.b, m.value, 0)
		w.p.hits[by].Add(1)
		removed = true
	default:
		w.text(m.key)
		m.end, _ = skipJSON(w.b, m.value, 0)
		w.put(m.value, m.end, action, by)
	}
	w.path = w.path[:outer]
	return removed
}

// named is what the name demands in {"name": "password", "value": "…"}: the
// member before is a key by its text.
func (w *walker) named(name []byte, before member) (Action, uint16) {
	if !hasFold(name, 0, "value") || before.value == 0 || w.b[before.value] != '"' ||
		before.end-before.value > longestKey {
		return Keep, 0
	}
	key := unquote(nil, w.b[before.value+1:before.end-1])
	return w.p.keyAction(key, 0)
}

// put replaces a whole value by a string; words that hold nothing stay.
func (w *walker) put(from, to int, action Action, by uint16) {
	value := w.b[from:to]
	text := value
	if text[0] == '"' {
		text = text[1 : len(text)-1]
	}
	if !w.p.all && action == Mask && (len(text) == 0 || harmless(text)) || string(text) == masked {
		return
	}
	w.cut(from, to)
	w.dst = append(w.dst, '"')
	if action == Hash && len(text) < len(value) {
		text = unquote(nil, text)
	}
	w.dst = append(w.p.replaced(w.dst, text, action), '"')
	if by != nobody {
		w.p.hits[by].Add(1)
	}
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\n' || b[i] == '\r') {
		i++
	}
	return i
}

// stringEnd gives the end of the string that begins at i, and whether it has no
// escapes. The string is valid.
func stringEnd(b []byte, i int) (end int, plain bool) {
	plain = true
	for i++; b[i] != '"'; i++ {
		if b[i] == '\\' {
			plain = false
			i++
		}
	}
	return i + 1, plain
}

// skipJSON gives where the value that begins at i ends; if it is none, where that
// was seen.
func skipJSON(b []byte, i, nesting int) (end int, ok bool) {
	if i >= len(b) {
		return i, false
	}
	switch b[i] {
	case '{', '[':
		if nesting == maxNesting {
			return i, false
		}
		return skipContainer(b, i, nesting+1)
	case '"':
		return skipString(b, i)
	case 't':
		return skipWord(b, i, "true")
	case 'f':
		return skipWord(b, i, "false")
	case 'n':
		return skipWord(b, i, "null")
	}
	return skipNumber(b, i)
}

func skipContainer(b []byte, i, nesting int) (end int, ok bool) {
	object, closing := b[i] == '{', b[i]+2
	if i = skipSpace(b, i+1); i < len(b) && b[i] == closing {
		return i + 1, true
	}
	for {
		if object {
			if i >= len(b) || b[i] != '"' {
				return i, false
			}
			if i, ok = skipString(b, i); !ok {
				return i, false
			}
			if i = skipSpace(b, i); i >= len(b) || b[i] != ':' {
				return i, false
			}
			i = skipSpace(b, i+1)
		}
		if i, ok = skipJSON(b, i, nesting); !ok {
			return i, false
		}
		i = skipSpace(b, i)
		switch {
		case i >= len(b):
			return i, false
		case b[i] == closing:
			return i + 1, true
		case b[i] != ',':
			return i, false
		}
		i = skipSpace(b, i+1)
	}
}

func skipWord(b []byte, i int, word string) (end int, ok bool) {
	if len(b)-i < len(word) || string(b[i:i+len(word)]) != word {
		return i, false
	}
	return i + len(word), true
}

func skipString(b []byte, i int) (end int, ok bool) {
	for i++; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"':
			return i + 1, true
		case c < ' ':
			return i, false
		case c == '\\':
			if i++; i >= len(b) {
				return i, false
			}
			switch b[i] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			case 'u':
				if i+4 >= len(b) || run(b[:i+5], i+1, digit|hexLetter) != i+5 {
					return i, false
				}
				i += 4
			default:
				return i, false
			}
		}
	}
	return i, false
}

func skipNumber(b []byte, i int) (end int, ok bool) {
	if b[i] == '-' {
		i++
	}
	from := i
	if i = run(b, i, digit); i == from || b[from] == '0' && i > from+1 {
		return i, false
	}
	if i < len(b) && b[i] == '.' {
		from = i + 1
		if i = run(b, from, digit); i == from {
			return i, false
		}
	}
	if i < len(b) && (b[i] == 'e' || b[i] == 'E') {
		if i++; i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		from = i
		if i = run(b, i, digit); i == from {
			return i, false
		}
	}
	return i, true
}

// unquote appends the text of a string's inside, which is valid.
func unquote(dst, inside []byte) []byte {
	for i := 0; i < len(inside); i++ {
		c := inside[i]
		if c != '\\' {
			dst = append(dst, c)
			continue
		}
		i++
		switch c = inside[i]; c {
		case 'b':
			c = '\b'
		case 'f':
			c = '\f'
		case 'n':
			c = '\n'
		case 'r':
			c = '\r'
		case 't':
			c = '\t'
		case 'u':
			r := hex4(inside[i+1:])
			i += 4
			if utf16.IsSurrogate(r) && i+6 < len(inside) && inside[i+1] == '\\' && inside[i+2] == 'u' {
				if both := utf16.DecodeRune(r, hex4(inside[i+3:])); both != utf8.RuneError {
					r = both
					i += 6
				}
			}
			dst = utf8.AppendRune(dst, r)
			continue
		}
		dst = append(dst, c)
	}
	return dst
}

func hex4(digits []byte) (r rune) {
	for _, c := range digits[:4] {
		switch {
		case is(c, digit):
			r = r<<4 | rune(c-'0')
		default:
			r = r<<4 | rune(c&^0x20-'A'+10)
		}
	}
	return r
}

// appendEscaped appends text as the inside of a string of JSON.
func appendEscaped(dst, text []byte) []byte {
	const digits = "0123456789abcdef"
	for _, c := range text {
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c == '\n':
			dst = append(dst, '\\', 'n')
		case c == '\r':
			dst = append(dst, '\\', 'r')
		case c == '\t':
			dst = append(dst, '\\', 't')
		case c < ' ':
			dst = append(dst, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return dst
}
