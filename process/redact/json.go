package redact

import "slipstream/process/jsonview"

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
	start := jsonview.Space(value, 0)
	if end, ok := jsonview.Skip(value, start, maxNesting); !ok || jsonview.Space(value, end) < len(value) {
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
	w.value(jsonview.Space(value, 0))
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
			end, _ := jsonview.Skip(w.b, i, maxNesting)
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
		end, _ := jsonview.Skip(w.b, i, maxNesting)
		return end
	}
	return w.number(i)
}

func (w *walker) array(i int) int {
	for i = jsonview.Space(w.b, i+1); w.b[i] != ']'; {
		if i = jsonview.Space(w.b, w.value(i)); w.b[i] == ',' {
			i = jsonview.Space(w.b, i+1)
		}
	}
	return i + 1
}

// number masks a number that is a secret as text would be: of a card.
func (w *walker) number(i int) int {
	end, _ := jsonview.Skip(w.b, i, maxNesting)
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
		scratch.decoded = jsonview.AppendText(scratch.decoded[:0], text)
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
	for i = jsonview.Space(w.b, i+1); w.b[i] != '}'; {
		m := member{comma: before.end, key: i}
		m.keyEnd, _ = stringEnd(w.b, i)
		m.value = jsonview.Space(w.b, jsonview.Space(w.b, m.keyEnd)+1)
		removed := w.member(&m, before)
		i = jsonview.Space(w.b, m.end)
		comma := w.b[i] == ','
		if comma {
			i = jsonview.Space(w.b, i+1)
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
	w.path = jsonview.AppendText(w.path, w.b[m.key+1:m.keyEnd-1])
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
		m.end, _ = jsonview.Skip(w.b, m.value, maxNesting)
		w.p.hits[by].Add(1)
		removed = true
	default:
		w.text(m.key)
		m.end, _ = jsonview.Skip(w.b, m.value, maxNesting)
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
	key := jsonview.AppendText(nil, w.b[before.value+1:before.end-1])
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
		text = jsonview.AppendText(nil, text)
	}
	w.dst = append(w.p.replaced(w.dst, text, action), '"')
	if by != nobody {
		w.p.hits[by].Add(1)
	}
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
