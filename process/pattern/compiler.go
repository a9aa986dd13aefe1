package pattern

import (
	"fmt"
	"strings"
)

// compiler reads the text of a pattern or a selector from left to right.
type compiler struct {
	text    string
	at      int
	pattern *Pattern
	regexps int
	// leaf reads one comparison, which stands at c.at.
	leaf func() (node, error)
}

func (c *compiler) fail(at int, format string, args ...any) error {
	return fmt.Errorf("filter pattern %q, column %d: %s", c.text, at+1, fmt.Sprintf(format, args...))
}

// space passes white space.
func (c *compiler) space() {
	for c.at < len(c.text) && isSpace(c.text[c.at]) {
		c.at++
	}
}

// skip passes white space and, if it comes next, the token.
func (c *compiler) skip(token string) bool {
	c.space()
	if !strings.HasPrefix(c.text[c.at:], token) {
		return false
	}
	c.at += len(token)
	return true
}

// next is the byte at c.at, 0 at the end.
func (c *compiler) next() byte {
	if c.at < len(c.text) {
		return c.text[c.at]
	}
	return 0
}

// while passes the bytes that are of a kind and gives them.
func (c *compiler) while(is func(byte) bool) string {
	start := c.at
	for c.at < len(c.text) && is(c.text[c.at]) {
		c.at++
	}
	return c.text[start:c.at]
}

func isSpace(b byte) bool { return b == ' ' || b == '\t' || b == '\n' || b == '\r' }

func isAlphanumeric(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9'
}

// isName tells what a field or a member is called without quotes.
func isName(b byte) bool { return isAlphanumeric(b) || b == '_' || b == '-' }

// logic is what && and || and parentheses make of comparisons.
type logic struct {
	nodes []node
	root  int
}

// node is a comparison, or two nodes and what joins them.
type node struct {
	join        byte // '&', '|' or 0
	left, right int
	test        test
	steps       []step // of a JSON pattern
	field       int    // of a space-delimited one
	operand     operand
}

// test is what a comparison asks.
type test uint8

const (
	equal test = iota
	notEqual
	less
	atMost
	greater
	atLeast
	isNull
	isTrue
	isFalse
	notExists
)

// comparisons are the operators, those that begin like another one first.
var comparisons = [...]struct {
	sign string
	test test
}{{"!=", notEqual}, {"<=", atMost}, {">=", atLeast}, {"=", equal}, {"<", less}, {">", greater}}

// comparison reads an operator and its operand.
func (c *compiler) comparison(n *node, ends string) error {
	c.space()
	at := c.at
	for _, o := range comparisons {
		if !c.skip(o.sign) {
			continue
		}
		if o.test == equal && c.next() == '=' {
			return c.fail(at, "== is not an operator here: write =")
		}
		n.test = o.test
		var err error
		c.space()
		operandAt := c.at
		if n.operand, err = c.operand(ends); err == nil && n.test >= less && !n.operand.isNumber {
			err = c.fail(operandAt, "%s compares numbers only: write one without quotes or wildcards", o.sign)
		}
		return err
	}
	return c.fail(at, "an operator is missing: =, !=, <, >, <= or >=")
}

// expression reads comparisons joined by || and &&, of which && binds more.
func (c *compiler) expression() (int, error) { return c.joined("||", '|', c.conjunction) }

func (c *compiler) conjunction() (int, error) { return c.joined("&&", '&', c.primary) }

func (c *compiler) joined(sign string, join byte, part func() (int, error)) (int, error) {
	left, err := part()
	for err == nil && c.skip(sign) {
		var right int
		if right, err = part(); err == nil {
			left = c.pattern.logic.add(node{join: join, left: left, right: right})
		}
	}
	return left, err
}

func (c *compiler) primary() (int, error) {
	c.space()
	at := c.at
	if !c.skip("(") {
		n, err := c.leaf()
		if err != nil {
			return 0, err
		}
		return c.pattern.logic.add(n), nil
	}
	n, err := c.expression()
	if err == nil && !c.skip(")") {
		err = c.fail(c.at, "a ) is missing for the ( at column %d", at+1)
	}
	return n, err
}

func (l *logic) add(n node) int {
	l.nodes = append(l.nodes, n)
	return len(l.nodes) - 1
}

// required is the longest text that a line needs for the node to be true.
func (l *logic) required(i int) string {
	switch n := &l.nodes[i]; {
	case n.join == '&':
		return longer(l.required(n.left), l.required(n.right))
	case n.join == '|' || n.test == notExists:
		return ""
	default:
		best := ""
		for _, s := range n.steps {
			best = longer(best, s.name)
		}
		if n.test == equal {
			best = longer(best, n.operand.required())
		}
		return best
	}
}
