// Package pattern is the filter pattern syntax of CloudWatch Logs, for its metric
// and subscription filters: terms, JSON and space-delimited patterns. Use Compile
// to tell which lines someone means who has written such filters before, and to
// take values out of them.
//
// What AWS's reference leaves open is decided here as follows. Terms are found
// inside words. Words are separated by any number of spaces, tabs and line ends. A
// number in a string counts as a number, and a number compares with a quoted text
// by how it is written; true, false and null are only found by IS. A comparison
// with something that is not there is false, != too. Of several members with one
// name the first counts. With a wildcard in a selector one value that fits is
// enough. A line of more than 4,096 words does not match a pattern with "...".
package pattern

import (
	"fmt"
	"strconv"
	"strings"

	"slipstream/process/jsonview"
)

// Limits of a pattern, AWS's own.
const (
	maxPattern   = 1024 // characters
	maxRegexps   = 2
	maxWildcards = 3 // selectors with one, in a JSON pattern
)

// Pattern is a compiled pattern. It remembers where the last line's values are, so
// it is for one goroutine at a time.
type Pattern struct {
	text    string
	kind    kind
	literal string
	terms   terms
	logic   logic
	fields  fields
	line    []byte // that Match was given last
	buf     []byte // values without escapes
}

type kind uint8

const (
	ofTerms kind = iota
	ofJSON
	ofFields
)

// Compile reads a pattern. An error tells the column, counted from 1, and what to
// write instead.
func Compile(text string) (*Pattern, error) {
	p := &Pattern{text: text}
	c := &compiler{text: text, pattern: p}
	var err error
	switch c.space(); {
	case len(text) > maxPattern:
		err = c.fail(maxPattern, "a pattern has at most %d characters", maxPattern)
	case c.at == len(text): // everything
	case text[c.at] == '{':
		p.kind = ofJSON
		err = c.compileJSON()
	case text[c.at] == '[':
		p.kind = ofFields
		err = c.compileFields()
	default:
		err = c.compileTerms()
	}
	if err != nil {
		return nil, err
	}
	p.literal = p.required()
	return p, nil
}

// String is the pattern as it was written.
func (p *Pattern) String() string { return p.text }

// Literal is a text that every line has which matches, "" if none is known. In a
// JSON line it may be written with escapes.
func (p *Pattern) Literal() string { return p.literal }

// Match tells whether line, one log event without its line end, matches. It takes
// time linear in the line's length. The line must stay as it is until the last
// call of Value.
func (p *Pattern) Match(line []byte) bool {
	p.line, p.buf = line, p.buf[:0]
	switch p.kind {
	case ofTerms:
		return p.terms.match(line)
	case ofFields:
		return p.fields.split(line) && p.matchFields()
	}
	i := jsonview.Space(line, 0)
	if i == len(line) || line[i] != '{' && line[i] != '[' || !jsonview.Valid(line) {
		return false
	}
	return p.evaluate(p.logic.root)
}

// Selector says which value of a line is meant: make one with Pattern.Selector.
type Selector struct {
	steps []step // of JSON
	field int    // index of a field, or
	word  int    // number of a word from 1 on
}

// Selector reads $name or $7 of a space-delimited pattern, $.a.b of a JSON one.
func (p *Pattern) Selector(text string) (*Selector, error) {
	c := &compiler{text: text, pattern: p}
	switch {
	case p.kind == ofTerms:
		return nil, fmt.Errorf("selector %q: a pattern of terms has no values: "+
			"use a pattern as [a, b] or { $.a = * }", text)
	case p.kind == ofJSON:
		steps, err := c.selector()
		switch {
		case err != nil:
			return nil, err
		case c.at < len(text):
			return nil, c.fail(c.at, "the selector ends here: a name with other characters is written ['like this']")
		case wildcards(steps) > 0:
			return nil, c.fail(0, "a value has no wildcard: name one member or element")
		}
		return &Selector{steps: steps}, nil
	}
	name, ok := strings.CutPrefix(text, "$")
	if !ok || name == "" {
		return nil, c.fail(0, "a field is $name or, by its position, $7")
	}
	if i := p.fields.index(name); i >= 0 {
		return &Selector{field: i}, nil
	}
	n, err := strconv.Atoi(name)
	if err != nil || n < 1 || n > maxWords {
		return nil, c.fail(1, "the pattern %s has no field %s: its fields are %s", p.text, name, p.fields.names())
	}
	if p.fields.ellipsis < 0 {
		if n > len(p.fields.list) {
			return nil, c.fail(1, "the pattern %s has %d fields", p.text, len(p.fields.list))
		}
		return &Selector{field: n - 1}, nil
	}
	return &Selector{field: -1, word: n}, nil
}

// Value gives the selected value of the line that matched last, as text without
// quotes and escapes. There is none if the line does not have it, nor for an
// object, an array or null. It is valid until the next Match.
func (p *Pattern) Value(s *Selector) (text []byte, ok bool) {
	if p.kind == ofFields {
		if s.word > 0 {
			return p.fields.word(p.line, s.word-1)
		}
		return p.fields.field(p.line, s.field), true
	}
	value := lookUp(p.line, s.steps)
	if len(value) == 0 {
		return nil, false
	}
	switch value[0] {
	case '"':
		text, p.buf, ok = jsonview.Text(value, p.buf)
		return text, ok
	case '{', '[', 'n':
		return nil, false
	}
	return value, true
}

// required is a text that a line needs to match, the longest one known.
func (p *Pattern) required() string {
	switch p.kind {
	case ofTerms:
		return p.terms.required()
	case ofJSON:
		return p.logic.required(p.logic.root)
	}
	best := ""
	for i := range p.fields.list {
		if root := p.fields.list[i].root; root >= 0 {
			best = longer(best, p.logic.required(root))
		}
	}
	return best
}

func longer(a, b string) string {
	if len(b) > len(a) {
		return b
	}
	return a
}
