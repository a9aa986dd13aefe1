package pattern

import (
	"strconv"
	"strings"

	"slipstream/process/jsonview"
)

// step is one part of a selector.
type step struct {
	kind  stepKind
	name  string
	index int
}

type stepKind uint8

const (
	member stepKind = iota
	element
	anyMember
	anyElement
)

// afterJSONValue are the bytes, beside white space, that end a bare value.
const afterJSONValue = `(){}&|`

// compileJSON reads { … }.
func (c *compiler) compileJSON() error {
	c.at++
	selectors := 0
	c.leaf = func() (node, error) {
		n, err := c.jsonComparison()
		if wildcards(n.steps) > 0 {
			selectors++
		}
		return n, err
	}
	if c.skip("}") {
		return c.fail(c.at-1, "a JSON pattern needs a condition, as { $.level = \"ERROR\" }")
	}
	root, err := c.expression()
	switch {
	case err != nil:
		return err
	case !c.skip("}"):
		return c.fail(c.at, "&&, || or the closing } is expected here")
	case selectors > maxWildcards:
		return c.fail(0, "a pattern has at most %d selectors with a wildcard", maxWildcards)
	}
	c.pattern.logic.root = root
	if c.space(); c.at < len(c.text) {
		return c.fail(c.at, "the pattern ends with }: join conditions inside by && or ||")
	}
	return nil
}

func (c *compiler) jsonComparison() (node, error) {
	steps, err := c.selector()
	if err != nil {
		return node{}, err
	}
	n := node{steps: steps}
	c.space()
	at := c.at
	word := c.while(isAlphanumeric)
	c.space()
	switch second := c.at; {
	case word == "":
		return n, c.comparison(&n, afterJSONValue)
	case word == "IS":
		keyword := c.while(isAlphanumeric)
		for _, k := range [...]struct {
			word string
			test test
		}{{"NULL", isNull}, {"TRUE", isTrue}, {"FALSE", isFalse}} {
			if keyword == k.word {
				n.test = k.test
				return n, nil
			}
		}
		return n, c.fail(second, "IS goes with NULL, TRUE or FALSE: there is no IS NOT, only != and NOT EXISTS")
	case word == "NOT" && c.while(isAlphanumeric) == "EXISTS":
		n.test = notExists
		return n, nil
	}
	return n, c.fail(at, "an operator is missing: =, !=, <, >, <=, >=, IS NULL, IS TRUE, IS FALSE or NOT EXISTS; "+
		"that something exists is written = *")
}

// selector reads $.a[0].*['b.c'].
func (c *compiler) selector() (steps []step, err error) {
	at := c.at
	if c.next() != '$' {
		return nil, c.fail(at, "a selector begins with $, as in $.level")
	}
	c.at++
	for {
		begin := c.at
		var s step
		switch {
		case strings.HasPrefix(c.text[c.at:], "['") || strings.HasPrefix(c.text[c.at:], ".['"):
			c.at = strings.IndexByte(c.text[c.at:], '\'') + c.at + 1
			end := strings.Index(c.text[c.at:], "']")
			if end < 0 {
				return nil, c.fail(begin, "the name's closing '] is missing")
			}
			s.name = c.text[c.at : c.at+end]
			c.at += end + 2
		case strings.HasPrefix(c.text[c.at:], "[*]"):
			c.at += 3
			s.kind = anyElement
		case c.next() == '[':
			c.at++
			digits := c.while(func(b byte) bool { return b >= '0' && b <= '9' })
			n, convErr := strconv.ParseInt(digits, 10, 32)
			if convErr != nil || c.next() != ']' {
				return nil, c.fail(begin, "an element is [0], [1], …, any of them [*], a name ['like this']")
			}
			c.at++
			s.kind, s.index = element, int(n)
		case strings.HasPrefix(c.text[c.at:], ".*"):
			c.at += 2
			s.kind = anyMember
		case c.next() == '.':
			c.at++
			if s.name = c.while(isName); s.name == "" {
				return nil, c.fail(c.at, "a name is missing: letters, digits, _ and -, or ['any other name']")
			}
		case len(steps) == 0:
			return nil, c.fail(at, "the selector names nothing: write $.name")
		case wildcards(steps) > 1:
			return nil, c.fail(at, "a selector has at most one wildcard")
		default:
			return steps, nil
		}
		steps = append(steps, s)
	}
}

func wildcards(steps []step) (n int) {
	for _, s := range steps {
		if s.kind >= anyMember {
			n++
		}
	}
	return n
}

// evaluate tells whether the node is true of the line, which is JSON.
func (p *Pattern) evaluate(i int) bool {
	switch n := &p.logic.nodes[i]; {
	case n.join == '&':
		return p.evaluate(n.left) && p.evaluate(n.right)
	case n.join == '|':
		return p.evaluate(n.left) || p.evaluate(n.right)
	case n.test == notExists:
		return !p.holds(p.line, n.steps, n)
	default:
		return p.holds(p.line, n.steps, n)
	}
}

// holds tells whether what steps lead to passes the node's test; for notExists,
// whether it is there.
func (p *Pattern) holds(value []byte, steps []step, n *node) bool {
	for i := range steps {
		if steps[i].kind < anyMember {
			if value = advance(value, &steps[i]); value == nil {
				return false
			}
			continue
		}
		if opens(value, '{') != (steps[i].kind == anyMember) {
			return false
		}
		for it := jsonview.Each(value); it.Next(); {
			if p.holds(it.Value, steps[i+1:], n) {
				return true
			}
		}
		return false
	}
	return p.passes(value, n)
}

func (p *Pattern) passes(value []byte, n *node) bool {
	switch n.test {
	case notExists:
		return true
	case isNull:
		return value[0] == 'n'
	case isTrue:
		return value[0] == 't'
	case isFalse:
		return value[0] == 'f'
	}
	switch value[0] {
	case '{', '[', 'n', 't', 'f':
		return false
	case '"':
		text, buf, _ := jsonview.Text(value, p.buf[:0])
		p.buf = buf[:0]
		return n.operand.compare(n.test, text)
	}
	return n.operand.compare(n.test, value)
}

// lookUp gives what the steps lead to, which have no wildcard, nil if it is not there.
func lookUp(value []byte, steps []step) []byte {
	for i := range steps {
		if value = advance(value, &steps[i]); value == nil {
			return nil
		}
	}
	return value
}

func advance(value []byte, s *step) []byte {
	if s.kind == member {
		return jsonview.Member(value, s.name)
	}
	if !opens(value, '[') {
		return nil
	}
	it := jsonview.Each(value)
	for i := 0; it.Next(); i++ {
		if i == s.index {
			return it.Value
		}
	}
	return nil
}

// opens tells whether the value begins with b.
func opens(value []byte, b byte) bool {
	i := jsonview.Space(value, 0)
	return i < len(value) && value[i] == b
}
