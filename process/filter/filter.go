// Package filter drops the log records that a user does not want, by an ordered
// list of rules. Use it before anything that costs by the record.
package filter

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"slipstream/process/match"
	"slipstream/telemetry"
)

// maxRules bounds a list.
const maxRules = 100

// Filter judges records one after the other, in one goroutine at a time.
type Filter struct {
	rules  []rule
	record match.Record
}

type rule struct {
	text    string
	drops   bool
	about   *match.Condition // nil: any record
	records int
}

// Count is how many records one rule has decided.
type Count struct {
	Rule    string // its place in the list, from 1, and its text
	Drops   bool
	Records int
}

// New reads a JSON list of rules: {"drop":CONDITION} or {"keep":CONDITION}, with
// the conditions of match.Parse. The first rule that matches a record decides,
// without one it is kept. An empty text is an empty list.
//
// Each error is one rule that cannot be used, and nothing is dropped because of
// it: a drop is left out, and any other rule keeps whatever gets to it, since the
// rules behind it were not meant for all of that. The Filter is good in any case.
func New(text string) (*Filter, []error) {
	f := &Filter{}
	if len(bytes.TrimSpace([]byte(text))) == 0 {
		return f, nil
	}
	var list []json.RawMessage
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		return f, []error{fmt.Errorf("read the filter's rules: %w; nothing is dropped "+
			`(write a list as [{"drop":{"level":"<info"}}])`, err)}
	}
	var errs []error
	if len(list) > maxRules {
		errs = append(errs, fmt.Errorf("read the filter's rules: %d of them, at most %d: what gets to the others is kept",
			len(list), maxRules))
		list = list[:maxRules]
	}
	for i, raw := range list {
		r := rule{text: fmt.Sprintf("%d %s", i+1, raw)}
		if err := r.read(raw); err != nil {
			consequence := "it is left out"
			if !r.drops {
				consequence = "it keeps whatever gets to it"
			}
			errs = append(errs, fmt.Errorf("read rule %d of the filter, %s: %w; until then %s", i+1, raw, err, consequence))
			if r.drops {
				continue
			}
			r.about = nil
		}
		f.rules = append(f.rules, r)
	}
	return f, errs
}

// read fills the rule; drops is right even with an error, where that can be told.
func (r *rule) read(raw json.RawMessage) error {
	var members map[string]json.RawMessage
	err := json.Unmarshal(raw, &members)
	drop, drops := members["drop"]
	keep, keeps := members["keep"]
	if err != nil || len(members) != 1 || drops == keeps {
		r.drops = drops && !keeps
		return errors.New(`a rule is {"drop":{…}} or {"keep":{…}}, nothing else`)
	}
	r.drops = drops
	if keeps {
		drop = keep
	}
	r.about, err = match.Parse(drop)
	return err
}

// Keep tells whether the record goes on.
func (f *Filter) Keep(l *telemetry.Log) bool {
	if len(f.rules) == 0 {
		return true
	}
	f.record.Reset(l)
	return f.decide()
}

// KeepExported tells whether a record of an export goes on.
func (f *Filter) KeepExported(x match.Exported) bool {
	if len(f.rules) == 0 {
		return true
	}
	f.record.ResetExported(x)
	return f.decide()
}

func (f *Filter) decide() bool {
	for i := range f.rules {
		r := &f.rules[i]
		if r.about == nil || r.about.Holds(&f.record) {
			r.records++
			return !r.drops
		}
	}
	return true
}

// Counts tells what each rule has decided since the start.
func (f *Filter) Counts() []Count {
	counts := make([]Count, len(f.rules))
	for i, r := range f.rules {
		counts[i] = Count{r.text, r.drops, r.records}
	}
	return counts
}
