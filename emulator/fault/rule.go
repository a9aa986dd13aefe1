package fault

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	pointTelemetry = "telemetry"
	pointRecord    = "record"
	pointKill      = "kill"
	pointNext      = "next"
	pointInit      = "init"

	actionDelay     = "delay"
	actionDrop      = "drop"
	actionDuplicate = "duplicate"
	actionCut       = "cut"
	actionWhole     = "whole"
	actionFunction  = "function"
	actionExtension = "extension"
)

// maxDelay bounds every duration in a rule: longer than Lambda's longest
// invocation is a slip of the pen.
const maxDelay = 15 * time.Minute

// Rule is one parsed rule; make it with Parse.
type Rule struct {
	// Seed drives p. Print it (String does) so that a run can be repeated.
	Seed uint64

	point, action string
	delay         time.Duration
	extension     string
	invoke        int
	after         time.Duration
	every, times  int
	p             float64
}

// actions lists what each point can do, and whether the action takes a value.
var actions = map[string]map[string]bool{
	pointTelemetry: {actionDelay: true, actionDrop: false, actionDuplicate: false, actionCut: false},
	pointRecord:    {actionWhole: false},
	pointKill:      {actionFunction: false, actionExtension: true},
	pointNext:      {actionDelay: true},
	pointInit:      {actionDelay: true},
}

// selectors lists which points a selector makes sense for.
var selectors = map[string][]string{
	"invoke": {pointTelemetry, pointRecord, pointKill, pointNext},
	"after":  {pointTelemetry, pointKill},
	"every":  {pointTelemetry, pointRecord, pointKill, pointNext, pointInit},
	"times":  {pointTelemetry, pointRecord, pointKill, pointNext, pointInit},
	"p":      {pointTelemetry, pointRecord, pointKill, pointNext, pointInit},
	"seed":   {pointTelemetry, pointRecord, pointKill, pointNext, pointInit},
}

// Parse reads a rule in the grammar of the package's description. A rule with p
// but no seed gets a random one.
func Parse(text string) (Rule, error) {
	r, err := parse(text)
	if err != nil {
		return Rule{}, fmt.Errorf("parse fault rule %q: %w", text, err)
	}
	return r, nil
}

func parse(text string) (Rule, error) {
	parts := strings.Split(text, ",")
	point, action, found := strings.Cut(strings.TrimSpace(parts[0]), ":")
	if !found {
		return Rule{}, fmt.Errorf("no colon: write POINT:ACTION, for example telemetry:drop")
	}
	r := Rule{point: point}
	if actions[point] == nil {
		return r, fmt.Errorf("unknown point %q: use one of %s", point, names(actions))
	}
	if err := r.setAction(action); err != nil {
		return r, err
	}
	seen := map[string]bool{}
	for _, part := range parts[1:] {
		key, value, found := strings.Cut(strings.TrimSpace(part), "=")
		if !found {
			return r, fmt.Errorf("selector %q has no value: write NAME=VALUE, for example every=3", key)
		}
		if seen[key] {
			return r, fmt.Errorf("selector %s is given twice: leave one", key)
		}
		seen[key] = true
		if err := r.setSelector(key, value); err != nil {
			return r, err
		}
	}
	if seen["seed"] && !seen["p"] {
		return r, fmt.Errorf("seed without p: nothing is left to chance, leave it out")
	}
	if seen["p"] && !seen["seed"] {
		r.Seed = rand.Uint64() >> 1
	}
	return r, nil
}

func (r *Rule) setAction(text string) (err error) {
	name, value, hasValue := strings.Cut(text, "=")
	takesValue, known := actions[r.point][name]
	switch {
	case !known:
		return fmt.Errorf("unknown action %q of %s: use one of %s", name, r.point, names(actions[r.point]))
	case takesValue && value == "":
		return fmt.Errorf("action %s needs a value: write %s:%s=VALUE", name, r.point, name)
	case !takesValue && hasValue:
		return fmt.Errorf("action %s takes no value: write %s:%s", name, r.point, name)
	}
	r.action = name
	switch name {
	case actionDelay:
		r.delay, err = duration(name, value)
	case actionExtension:
		r.extension = value
	}
	return err
}

func (r *Rule) setSelector(key, value string) (err error) {
	points, known := selectors[key]
	if !known {
		return fmt.Errorf("unknown selector %q: use one of %s", key, names(selectors))
	}
	if !slices.Contains(points, r.point) {
		return fmt.Errorf("selector %s does not go with %s: it goes with %s", key, r.point, strings.Join(points, ", "))
	}
	switch key {
	case "invoke":
		r.invoke, err = count(key, value)
	case "every":
		r.every, err = count(key, value)
	case "times":
		r.times, err = count(key, value)
	case "after":
		r.after, err = duration(key, value)
	case "p":
		r.p, err = strconv.ParseFloat(value, 64)
		if err != nil || !(r.p > 0 && r.p <= 1) {
			return fmt.Errorf("p=%s is no chance: use a number above 0, at most 1", value)
		}
	case "seed":
		r.Seed, err = strconv.ParseUint(value, 10, 64)
		if err != nil {
			return fmt.Errorf("seed=%s: use a whole number from 0", value)
		}
	}
	return err
}

func count(key, value string) (int, error) {
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("%s=%s: use a whole number from 1", key, value)
	}
	return n, nil
}

func duration(key, value string) (time.Duration, error) {
	d, err := time.ParseDuration(value)
	if err != nil || d <= 0 || d > maxDelay {
		return 0, fmt.Errorf("%s=%s: use a duration such as 200ms or 2s, above 0, at most %v", key, value, maxDelay)
	}
	return d, nil
}

// String gives the rule as Parse reads it, the seed included.
func (r Rule) String() string {
	s := r.point + ":" + r.action
	switch r.action {
	case actionDelay:
		s += "=" + r.delay.String()
	case actionExtension:
		s += "=" + r.extension
	}
	for _, n := range []struct {
		key   string
		value int
	}{{"invoke", r.invoke}, {"every", r.every}, {"times", r.times}} {
		if n.value != 0 {
			s += fmt.Sprintf(",%s=%d", n.key, n.value)
		}
	}
	if r.after != 0 {
		s += ",after=" + r.after.String()
	}
	if r.p != 0 {
		s += fmt.Sprintf(",p=%s,seed=%d", strconv.FormatFloat(r.p, 'g', -1, 64), r.Seed)
	}
	return s
}

func names[V any](m map[string]V) string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return strings.Join(keys, ", ")
}
