// Package match tells which log records a rule is about. Use Parse for the
// condition that a user wrote, and a Record to ask several conditions about one
// record. Filters and rate limits speak it.
package match

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"slipstream/telemetry"
)

// written is a condition as it stands in JSON.
type written struct {
	Type     json.RawMessage `json:"type"`
	Level    *string         `json:"level"`
	Message  *string         `json:"message"`
	Field    *string         `json:"field"`
	Equals   json.RawMessage `json:"equals"`
	Contains *string         `json:"contains"`
	Matches  *string         `json:"matches"`
	Above    *float64        `json:"above"`
	AtLeast  *float64        `json:"atLeast"`
	Below    *float64        `json:"below"`
	AtMost   *float64        `json:"atMost"`
	Exists   *bool           `json:"exists"`
}

const names = "type, level, message, field with equals, contains, matches, above, atLeast, below, atMost or exists"

// Condition is what must hold of a record: everything that it names.
type Condition struct {
	types     []string // "platform.*" for all that begin so
	low, high telemetry.Level
	text      []byte // part of the message
	pattern   *regexp.Regexp
	field     Name // whose value the judges are about, if there are any
	judges    []judge
}

// Parse reads a condition: a JSON object of which every member must hold; an
// empty one holds always.
//
//   - "type": an event type, a list of them, "platform.*", or "start/end/report"
//     for the three that Lambda writes for each invocation; "logs", "traces" and
//     "metrics" for what the function exports itself.
//   - "level": "warn", ">=warn", "<info", …: one of trace, debug, info, warn,
//     error, fatal. A record without a level never matches.
//   - "message": a part of the message, or "~" and a pattern of RE2.
//   - "field": the name of a member, dots leading into nested ones, and one or more
//     of equals, contains, matches (RE2), above, atLeast, below, atMost, exists.
func Parse(raw []byte) (*Condition, error) {
	var w written
	if raw = bytes.TrimSpace(raw); len(raw) == 0 || raw[0] != '{' {
		return nil, fmt.Errorf("%s is no condition: write an object of %s", raw, names)
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&w); err != nil {
		return nil, fmt.Errorf("%w (a condition is an object of %s)", err, names)
	}
	c := &Condition{}
	return c, errors.Join(c.setTypes(w.Type), c.setLevel(w.Level), c.setMessage(w.Message), c.setField(&w))
}

func (c *Condition) setTypes(raw json.RawMessage) error {
	if raw == nil {
		return nil
	}
	var one string
	if json.Unmarshal(raw, &one) == nil {
		c.types = []string{one}
	} else if json.Unmarshal(raw, &c.types) != nil || len(c.types) == 0 {
		return fmt.Errorf(`type %s: write "platform.start" or a list of such`, raw)
	}
	for _, name := range c.types {
		if !slices.Contains(plainTypes, name) && !strings.HasPrefix(name, "platform.") {
			return fmt.Errorf("type %q is unknown: use platform.start, platform.* or one of %s",
				name, strings.Join(plainTypes, ", "))
		}
	}
	if slices.Contains(c.types, everyInvocation) {
		c.types = append(c.types, "platform.start", "platform.runtimeDone", "platform.end", "platform.report")
	}
	return nil
}

// plainTypes are the types that are no events of the platform; the last three are
// records of exports.
var plainTypes = []string{"function", "extension", everyInvocation, "logs", "traces", "metrics"}

// everyInvocation stands for the events that text logs call START, END and REPORT.
const everyInvocation = "start/end/report"

func (c *Condition) setLevel(text *string) error {
	if text == nil {
		return nil
	}
	name := strings.TrimLeft(*text, "<>= ")
	operator := strings.TrimSpace((*text)[:len(*text)-len(name)])
	first := telemetry.Level(0)
	for l := telemetry.LevelTrace; l <= telemetry.LevelFatal; l += 4 {
		if strings.EqualFold(l.String(), strings.TrimSpace(name)) {
			first = l
		}
	}
	const highest = telemetry.LevelFatal + 3
	switch last := first + 3; {
	case first == 0:
		return fmt.Errorf("level %q is unknown: use trace, debug, info, warn, error or fatal, as in \">=warn\"", *text)
	case operator == "" || operator == "=":
		c.low, c.high = first, last
	case operator == ">=":
		c.low, c.high = first, highest
	case operator == ">":
		c.low, c.high = last+1, highest+1 // above fatal there is nothing
	case operator == "<=":
		c.low, c.high = telemetry.LevelTrace, last
	case operator == "<":
		c.low, c.high = telemetry.LevelTrace, first-1
		if first == telemetry.LevelTrace {
			c.low, c.high = highest+1, highest+1
		}
	default:
		return fmt.Errorf("level %q: %q is no comparison: use >=, >, <=, < or =", *text, operator)
	}
	return nil
}

func (c *Condition) setMessage(text *string) (err error) {
	switch {
	case text == nil:
	case *text == "":
		err = errors.New("message is empty: write a part of it, or leave it out")
	case (*text)[0] == '~':
		c.pattern, err = pattern("message", (*text)[1:])
	default:
		c.text = []byte(*text)
	}
	return err
}

// pattern compiles one of RE2.
func pattern(of, text string) (*regexp.Regexp, error) {
	p, err := regexp.Compile(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w (patterns are RE2's: no look-around, no back-references)", of, err)
	}
	return p, nil
}

// Holds tells whether the record fulfils the condition.
func (c *Condition) Holds(r *Record) bool {
	if c.types != nil && !slices.ContainsFunc(c.types, func(name string) bool { return ofType(r.kind(), name) }) {
		return false
	}
	if c.low != 0 && (r.level() < c.low || r.level() > c.high) {
		return false
	}
	if c.text != nil && !bytes.Contains(r.Text(), c.text) || c.pattern != nil && !c.pattern.Match(r.Text()) {
		return false
	}
	if len(c.judges) == 0 {
		return true
	}
	value := r.Field(&c.field)
	for i := range c.judges {
		if !c.judges[i].holds(value, r) {
			return false
		}
	}
	return true
}

func ofType(of, name string) bool {
	prefix, any := strings.CutSuffix(name, "*")
	return of == name || any && strings.HasPrefix(of, prefix)
}
