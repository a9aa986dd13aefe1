package pattern

import "bytes"

// terms are the words, phrases and regular expressions of an unstructured pattern.
type terms struct {
	all, any, none []operand
}

func (t *terms) match(line []byte) bool {
	for i := range t.none {
		if t.none[i].within(line) {
			return false
		}
	}
	for i := range t.all {
		if !t.all[i].within(line) {
			return false
		}
	}
	for i := range t.any {
		if t.any[i].within(line) {
			return true
		}
	}
	return len(t.any) == 0
}

// within tells whether the line has the term.
func (o *operand) within(line []byte) bool {
	if o.regexp != nil {
		return o.regexp.Match(line)
	}
	return bytes.Contains(line, o.text)
}

func (t *terms) required() string {
	best := ""
	for i := range t.all {
		best = longer(best, t.all[i].required())
	}
	if len(t.any) == 1 {
		best = t.any[0].required()
	}
	return best
}

// compileTerms reads terms, each with ? or - before it or not.
func (c *compiler) compileTerms() error {
	t := &c.pattern.terms
	for ; c.at < len(c.text); c.space() {
		at, list := c.at, &t.all
		switch c.next() {
		case '?':
			c.at++
			list = &t.any
		case '-':
			c.at++
			list = &t.none
		}
		o, everywhere, err := c.term()
		switch {
		case err != nil:
			return err
		case c.at < len(c.text) && !isSpace(c.next()):
			return c.fail(c.at, "a space is missing between two terms")
		case everywhere && list != &t.all:
			return c.fail(at, "a phrase of spaces only is for matching everything: it goes with no other sign")
		case !everywhere:
			*list = append(*list, o)
		}
	}
	if len(t.all)+len(t.none) > 0 { // as the service does it
		t.any = nil
	}
	return nil
}

// term reads one; everywhere is the quoted space, which every line has.
func (c *compiler) term() (o operand, everywhere bool, err error) {
	at := c.at
	switch c.next() {
	case '%':
		o.regexp, err = c.regexp()
		return o, false, err
	case '"':
		if o, err = c.quoted(); err != nil {
			return o, false, err
		}
		if o.pieces != nil { // no wildcards here
			o = operand{text: bytes.Join(o.pieces, []byte("*"))}
		}
		return o, len(bytes.TrimSpace(o.text)) == 0, nil
	}
	o.text = []byte(c.while(func(b byte) bool { return isAlphanumeric(b) || b == '_' || b >= 0x80 }))
	if len(o.text) == 0 || c.at < len(c.text) && !isSpace(c.next()) {
		return o, false, c.fail(max(c.at, at), "a term of anything but letters, digits and _ is written in double quotes")
	}
	return o, false, nil
}
