package match

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
)

// judge is one comparison of a field's value. All but missing are false of a
// field that is not there.
type judge struct {
	missing  bool
	exists   bool
	text     []byte // equals a string
	raw      []byte // equals true, false or null
	number   float64
	compare  byte // '=', '>', '<', 'g' for at least, 'l' for at most
	contains []byte
	pattern  *regexp.Regexp
}

func (c *Condition) setField(w *written) error {
	judges, err := w.judges()
	switch {
	case err != nil:
		return err
	case w.Field == nil && len(judges) > 0:
		return errors.New(`a comparison without "field": name the field that it is about`)
	case w.Field == nil:
		return nil
	case *w.Field == "":
		return errors.New("field is empty: name one")
	case len(judges) == 0:
		return fmt.Errorf("field %q without a comparison: add equals, contains, matches, above, atLeast, below, "+
			"atMost or exists", *w.Field)
	}
	c.field, c.judges = ParseName(*w.Field), judges
	return nil
}

func (w *written) judges() (judges []judge, err error) {
	if w.Equals != nil {
		j := judge{}
		var number json.Number
		switch w.Equals[0] {
		case '"':
			var text string
			err = json.Unmarshal(w.Equals, &text)
			j.text = []byte(text)
		case '{', '[':
			err = errors.New("equals: an object or list cannot be compared: use a string, number, true, false or null")
		case 't', 'f', 'n':
			j.raw = w.Equals
		default:
			if err = json.Unmarshal(w.Equals, &number); err == nil {
				j.compare = '='
				j.number, err = number.Float64()
			}
		}
		judges = append(judges, j)
	}
	if err == nil && w.Matches != nil {
		j := judge{}
		j.pattern, err = pattern("matches", *w.Matches)
		judges = append(judges, j)
	}
	if w.Contains != nil {
		judges = append(judges, judge{contains: []byte(*w.Contains)})
	}
	if w.Exists != nil {
		judges = append(judges, judge{exists: *w.Exists, missing: !*w.Exists})
	}
	for _, n := range []struct {
		compare byte
		number  *float64
	}{{'>', w.Above}, {'g', w.AtLeast}, {'<', w.Below}, {'l', w.AtMost}} {
		if n.number != nil {
			judges = append(judges, judge{compare: n.compare, number: *n.number})
		}
	}
	return judges, err
}

// holds judges a JSON value, nil for none.
func (j *judge) holds(value []byte, r *Record) bool {
	switch {
	case j.missing || j.exists || value == nil:
		return j.missing == (value == nil) && (j.missing || j.exists)
	case j.compare != 0:
		return j.compares(value)
	case j.text != nil:
		return r.isText(value) && bytes.Equal(r.plain(value), j.text)
	case j.raw != nil:
		return bytes.Equal(value, j.raw)
	case j.pattern != nil:
		return j.pattern.Match(r.plain(value))
	}
	return bytes.Contains(r.plain(value), j.contains)
}

// compares reads a number; a string that holds one is none.
func (j *judge) compares(value []byte) bool {
	if len(value) == 0 || value[0] != '-' && (value[0] < '0' || value[0] > '9') {
		return false
	}
	n, err := strconv.ParseFloat(string(value), 64)
	if err != nil {
		return false
	}
	switch j.compare {
	case '=':
		return n == j.number
	case '>':
		return n > j.number
	case 'g':
		return n >= j.number
	case '<':
		return n < j.number
	}
	return n <= j.number
}
