package pattern

import (
	"bytes"
	"strings"
)

// maxWords bounds the words of a line that are told apart.
const maxWords = 4096

// afterFieldValue are the bytes, beside white space, that end a bare value.
const afterFieldValue = `,]()&|`

// fields is a space-delimited pattern.
type fields struct {
	list     []field
	ellipsis int // index of the field that "..." stands before, -1 without one
	spans    []span
}

// field is one entry of the pattern.
type field struct {
	name string
	root int // the condition's node, -1 without one
}

// span is a part of the line.
type span struct{ start, end int }

func (f *fields) index(name string) int {
	for i := range f.list {
		if f.list[i].name == name {
			return i
		}
	}
	return -1
}

func (f *fields) names() string {
	var names []string
	for _, one := range f.list {
		if one.name != "" {
			names = append(names, one.name)
		}
	}
	return strings.Join(names, ", ")
}

// compileFields reads [ … ].
func (c *compiler) compileFields() error {
	f := &c.pattern.fields
	f.ellipsis = -1
	c.at++
	if c.skip("]") {
		f.ellipsis = 0 // any number of fields
		return c.end()
	}
	for {
		c.space()
		at := c.at
		if c.skip("...") {
			if f.ellipsis >= 0 {
				return c.fail(at, `two "..." leave open which words the fields between them are: use one`)
			}
			f.ellipsis = len(f.list)
		} else {
			one, err := c.field()
			if err != nil {
				return err
			}
			if one.name != "" && f.index(one.name) >= 0 {
				return c.fail(at, "two fields have the name %s", one.name)
			}
			f.list = append(f.list, one)
		}
		switch {
		case c.skip("]"):
			return c.end()
		case !c.skip(","):
			return c.fail(c.at, "a comma or the closing ] is expected here")
		}
	}
}

func (c *compiler) end() error {
	if c.space(); c.at < len(c.text) {
		return c.fail(c.at, "the pattern ends with ]: conditions stand inside, at their fields")
	}
	return nil
}

// field reads nothing, a name, or conditions on one name.
func (c *compiler) field() (field, error) {
	one := field{root: -1}
	if c.next() == ',' || c.next() == ']' {
		return one, nil
	}
	at := c.at
	name := c.while(isName)
	if c.space(); name != "" && (c.at == len(c.text) || c.next() == ',' || c.next() == ']') {
		one.name = name
		return one, nil
	}
	c.at = at
	index := len(c.pattern.fields.list)
	c.leaf = func() (node, error) {
		at := c.at
		name := c.while(isName)
		switch {
		case name == "":
			return node{}, c.fail(at, "a field's name is missing: letters, digits, _ and -")
		case one.name == "":
			one.name = name
		case one.name != name:
			return node{}, c.fail(at, "the conditions on field %s are about %s: write them at that field", one.name, name)
		}
		n := node{field: index}
		return n, c.comparison(&n, afterFieldValue)
	}
	var err error
	one.root, err = c.expression()
	return one, err
}

// split finds the words of the line, as far as the pattern has fields for them.
func (f *fields) split(line []byte) bool {
	f.spans = f.spans[:0]
	w := words{line: line}
	if f.ellipsis >= 0 {
		for {
			word, ok := w.next()
			switch {
			case !ok:
				return len(f.spans) >= len(f.list)
			case len(f.spans) == maxWords:
				return false
			}
			f.spans = append(f.spans, word)
		}
	}
	for len(f.spans) < len(f.list)-1 {
		word, ok := w.next()
		if !ok {
			return false
		}
		f.spans = append(f.spans, word)
	}
	// The last field takes the rest. If that is one word, it loses its quotes.
	start := w.space()
	last, ok := w.next()
	if !ok {
		return false
	}
	if w.space() < len(line) {
		last = span{start, len(bytes.TrimRight(line, " \t\r\n"))}
	}
	f.spans = append(f.spans, last)
	return true
}

// field gives the text of the pattern's field.
func (f *fields) field(line []byte, i int) []byte {
	if f.ellipsis >= 0 && i >= f.ellipsis {
		i += len(f.spans) - len(f.list)
	}
	return line[f.spans[i].start:f.spans[i].end]
}

// word gives the text of a word by its position.
func (f *fields) word(line []byte, i int) ([]byte, bool) {
	if i >= len(f.spans) {
		return nil, false
	}
	return line[f.spans[i].start:f.spans[i].end], true
}

// matchFields tells whether the conditions are true of the words that were split.
func (p *Pattern) matchFields() bool {
	for i := range p.fields.list {
		if root := p.fields.list[i].root; root >= 0 && !p.fieldHolds(root) {
			return false
		}
	}
	return true
}

func (p *Pattern) fieldHolds(i int) bool {
	switch n := &p.logic.nodes[i]; n.join {
	case '&':
		return p.fieldHolds(n.left) && p.fieldHolds(n.right)
	case '|':
		return p.fieldHolds(n.left) || p.fieldHolds(n.right)
	default:
		return n.operand.compare(n.test, p.fields.field(p.line, n.field))
	}
}

// words splits a line: what is in [ ] or in " " is one word, without them.
type words struct {
	line []byte
	i    int
	// No closing ] comes any more: none is searched for again, which would take time
	// in the square of the line's length. Of quotes without an end there is only one.
	noBracket bool
}

func (w *words) space() int {
	for w.i < len(w.line) && isSpace(w.line[w.i]) {
		w.i++
	}
	return w.i
}

func (w *words) next() (span, bool) {
	start := w.space()
	if start == len(w.line) {
		return span{}, false
	}
	switch {
	case w.line[start] == '[' && !w.noBracket:
		if n := bytes.IndexByte(w.line[start:], ']'); n > 0 {
			w.i = start + n + 1
			return span{start + 1, start + n}, true
		}
		w.noBracket = true
	case w.line[start] == '"':
		if end := closingQuote(w.line, start+1); end >= 0 {
			w.i = end + 1
			return span{start + 1, end}, true
		}
	}
	for w.i < len(w.line) && !isSpace(w.line[w.i]) {
		w.i++
	}
	return span{start, w.i}, true
}

// closingQuote gives the index of the next quote without a backslash before it, -1
// if there is none.
func closingQuote(line []byte, i int) int {
	for ; i < len(line); i++ {
		switch line[i] {
		case '"':
			return i
		case '\\':
			i++
		}
	}
	return -1
}
