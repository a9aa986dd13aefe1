package pattern

import (
	"bytes"
	"regexp"
	"regexp/syntax"
	"strings"

	"slipstream/process/jsonview"
)

// operand is the right side of a comparison: one of these.
type operand struct {
	text     []byte
	pieces   [][]byte // between wildcards, nil without one
	regexp   *regexp.Regexp
	number   float64
	isNumber bool
}

// compare tells whether the comparison is true of text.
func (o *operand) compare(t test, text []byte) bool {
	switch {
	case t == equal:
		return o.equals(text)
	case t == notEqual:
		return !o.equals(text)
	}
	v, ok := jsonview.Number(text)
	if !ok {
		return false
	}
	switch t {
	case less:
		return v < o.number
	case atMost:
		return v <= o.number
	case greater:
		return v > o.number
	}
	return v >= o.number
}

func (o *operand) equals(text []byte) bool {
	switch {
	case o.regexp != nil:
		return o.regexp.Match(text)
	case o.pieces != nil:
		return glob(o.pieces, text)
	case o.isNumber:
		v, ok := jsonview.Number(text)
		return ok && v == o.number
	}
	return bytes.Equal(o.text, text)
}

// glob tells whether text is the pieces with anything between them.
func glob(pieces [][]byte, text []byte) bool {
	first, last := pieces[0], pieces[len(pieces)-1]
	if len(text) < len(first)+len(last) || !bytes.HasPrefix(text, first) || !bytes.HasSuffix(text, last) {
		return false
	}
	text = text[len(first) : len(text)-len(last)]
	for _, piece := range pieces[1 : len(pieces)-1] {
		i := bytes.Index(text, piece)
		if i < 0 {
			return false
		}
		text = text[i+len(piece):]
	}
	return true
}

// required is the longest text that everything equal to the operand has.
func (o *operand) required() string {
	switch {
	case o.regexp != nil:
		prefix, _ := o.regexp.LiteralPrefix()
		return prefix
	case o.isNumber:
		return ""
	}
	best := string(o.text)
	for _, piece := range o.pieces {
		best = longer(best, string(piece))
	}
	return best
}

// operand reads a quoted or a bare text, a number or a regular expression. A bare
// one goes up to white space or one of the bytes of ends.
func (c *compiler) operand(ends string) (operand, error) {
	switch c.next() {
	case '%':
		re, err := c.regexp()
		return operand{regexp: re}, err
	case '"':
		return c.quoted()
	}
	at := c.at
	bare := c.while(func(b byte) bool { return !isSpace(b) && strings.IndexByte(ends, b) < 0 })
	if bare == "" {
		return operand{}, c.fail(at, "a value is missing: a number, a text in quotes, or %%a regular expression%%")
	}
	if i := strings.IndexAny(bare, `"%`); i >= 0 {
		return operand{}, c.fail(at+i, "%c belongs around the whole value: put a text with it in quotes", bare[i])
	}
	o := operand{text: []byte(bare)}
	if strings.Contains(bare, "*") {
		o.pieces, o.text = bytes.Split(o.text, []byte("*")), nil
	} else if v, ok := jsonview.Number(o.text); ok {
		o.number, o.isNumber = v, true
	}
	return o, nil
}

// quoted reads a text in double quotes. \" and \\ and \* stand for the character
// alone, a bare * for any text.
func (c *compiler) quoted() (operand, error) {
	at := c.at
	piece, pieces := []byte{}, [][]byte(nil)
	for c.at++; c.at < len(c.text); c.at++ {
		switch b := c.text[c.at]; {
		case b == '"':
			c.at++
			if pieces == nil {
				return operand{text: piece}, nil
			}
			return operand{pieces: append(pieces, piece)}, nil
		case b == '*':
			pieces, piece = append(pieces, piece), []byte{}
		case b == '\\' && c.at+1 < len(c.text) && strings.IndexByte(`"\*`, c.text[c.at+1]) >= 0:
			c.at++
			piece = append(piece, c.text[c.at])
		default:
			piece = append(piece, b)
		}
	}
	return operand{}, c.fail(at, "the closing quote is missing")
}

// What CloudWatch Logs takes in a regular expression beside letters and digits.
const (
	regexpSymbols   = ":_#=@/;,-"
	regexpOperators = `^$?[]{}|\*+.`
)

// regexp reads %…%. What is checked here is what the service refuses, the rest is
// the matter of the engine, whose time is linear.
func (c *compiler) regexp() (*regexp.Regexp, error) {
	start := c.at + 1
	length := strings.IndexByte(c.text[start:], '%')
	if length < 0 {
		return nil, c.fail(c.at, "the closing %% of the regular expression is missing")
	}
	source := c.text[start : start+length]
	if source == "" {
		return nil, c.fail(c.at, "the regular expression is empty")
	}
	if c.regexps++; c.regexps > maxRegexps {
		return nil, c.fail(c.at, "a pattern has at most %d regular expressions", maxRegexps)
	}
	for i := 0; i < len(source); i++ {
		switch b := source[i]; {
		case b == '\\':
			if !isEscape(source[i+1:]) {
				return nil, c.fail(start+i, `this escape is not supported: there are \d \D \s \S \w \W, \x and two `+
					`hexadecimal digits, and \ before an operator or symbol`)
			}
			i++
		case b == '(' || b == ')':
			return nil, c.fail(start+i, "parentheses are not supported in a regular expression: repeat what they hold")
		case !isAlphanumeric(b) && strings.IndexByte(regexpSymbols+regexpOperators, b) < 0:
			return nil, c.fail(start+i, `a regular expression has letters, digits, the symbols %s and the operators %s: `+
				`write \x and two hexadecimal digits, or \s for white space`, regexpSymbols, regexpOperators)
		}
	}
	re, err := regexp.Compile(source)
	switch {
	case err != nil:
		return nil, c.fail(start, "%v", err)
	case instructions(source) > maxInstructions:
		return nil, c.fail(start, "the regular expression is too large when its {repetitions} are written out: repeat less")
	}
	c.at = start + length + 1
	return re, nil
}

// maxInstructions bounds a regular expression: each byte of a line may cost a step of each.
const maxInstructions = 4096

func instructions(source string) int {
	parsed, err := syntax.Parse(source, syntax.Perl)
	if err != nil {
		return 0
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return 0
	}
	return len(program.Inst)
}

// isEscape tells whether rest goes on well after a backslash.
func isEscape(rest string) bool {
	switch {
	case rest == "":
		return false
	case strings.IndexByte("dDsSwW", rest[0]) >= 0:
		return true
	case rest[0] == 'x':
		return len(rest) >= 3 && isHex(rest[1]) && isHex(rest[2])
	}
	return strings.IndexByte(regexpSymbols+regexpOperators, rest[0]) >= 0
}

func isHex(b byte) bool { return b >= '0' && b <= '9' || b >= 'a' && b <= 'f' || b >= 'A' && b <= 'F' }
