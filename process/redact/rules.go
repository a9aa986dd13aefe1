package redact

import (
	"encoding/json"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"unicode/utf8"
)

// Rule is the user's own: what the pattern (RE2's syntax) matches is replaced.
type Rule struct {
	Name    string
	Pattern string
	// Action is Mask if Keep.
	Action Action
	// Replacement is for Mask, **** if empty; $1 and ${name} are the groups.
	Replacement string
	// Keys is a regexp: the rule holds only in the values of these keys.
	Keys string
}

// maxRules is how many rules there may be: each costs time on each text that it
// may match.
const maxRules = 64

// ParseRules reads rules from a JSON list of objects: name, pattern, action
// (mask, remove, hash), replacement, keys. What cannot be read is left out, with
// an error each; a rule with an unknown action masks.
func ParseRules(text string) ([]Rule, []error) {
	var list []json.RawMessage
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		return nil, []error{fmt.Errorf("parse the redaction rules: %w: write a JSON list of objects as "+
			`[{"name":"order","pattern":"ord-\\d+"}]; none of them holds`, err)}
	}
	var rules []Rule
	var errs []error
	for i, item := range list {
		var r struct{ Name, Pattern, Action, Replacement, Keys string }
		decoder := json.NewDecoder(strings.NewReader(string(item)))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&r); err != nil {
			errs = append(errs, fmt.Errorf("parse redaction rule %d: %w: what was read of it holds", i+1, err))
		}
		action := Action(max(0, slices.Index(actionNames[:], r.Action)))
		if action == Keep && r.Action != "" {
			errs = append(errs, fmt.Errorf("parse redaction rule %d (%s): its action is %q: it masks; known are mask, "+
				"remove, hash", i+1, r.Name, r.Action))
		}
		if r.Pattern != "" || r.Keys != "" {
			rules = append(rules, Rule{r.Name, r.Pattern, action, r.Replacement, r.Keys})
		}
	}
	return rules, errs
}

// rule is a Rule made ready.
type rule struct {
	pattern     *regexp.Regexp
	keys        *regexp.Regexp
	action      Action
	replacement []byte
	by          uint16
	always      bool // no literal tells where it may match
}

func (b *builder) rules(rules []Rule) {
	if len(rules) > maxRules {
		b.fail("there are %d rules, at most %d hold: those from %q on do not", len(rules), maxRules, rules[maxRules].Name)
		rules = rules[:maxRules]
	}
	for i, r := range rules {
		if r.Name == "" {
			r.Name = fmt.Sprintf("rule %d", i+1)
		}
		if same := slices.IndexFunc(rules[:i], func(other Rule) bool { return other.Name == r.Name }); same >= 0 {
			b.fail("two rules have the name %q: both hold, and the stricter action where both match", r.Name)
		}
		b.rule(r)
	}
}

func (b *builder) rule(r Rule) {
	made := rule{action: r.Action, replacement: []byte(r.Replacement), by: uint16(len(b.p.names))}
	if made.action == Keep {
		made.action = Mask
	}
	made.action = b.hashable(made.action, "the rule "+r.Name)
	b.p.names = append(b.p.names, r.Name)
	var err error
	if r.Keys != "" {
		if made.keys, err = compile(r.Keys); err != nil {
			b.fail("the keys of the rule %q: %w: it holds everywhere", r.Name, err)
			made.keys = nil
		}
	}
	if made.pattern, err = regexp.Compile(r.Pattern); err != nil || r.Pattern == "" {
		if err == nil {
			err = fmt.Errorf("it has no pattern")
		}
		if made.keys != nil {
			b.fail("the rule %q: %w: the whole values of its keys are masked instead", r.Name, err)
			b.keyRule(&b.p.firmRules, made.keys, max(made.action, Mask), made.by)
			return
		}
		b.fail("the rule %q: %w: nothing can be done in its place, so that what it means to hide is NOT hidden; "+
			"correct the pattern", r.Name, err)
		return
	}
	needs := required(r.Pattern, "")
	if needs == nil {
		made.always, b.p.blind = true, true
	}
	for _, text := range needs {
		b.p.literals = append(b.p.literals, literal{text: foldText(text), kind: ownRule, arg: uint16(len(b.p.rules))})
	}
	b.p.rules = append(b.p.rules, made)
}

// own applies the user's rules of which a literal was seen. key is the one whose
// value the text is, nil if it is not known.
func (f *finder) own(key []byte) {
	for i := range f.p.rules {
		r := &f.p.rules[i]
		if !r.always && f.rules>>i&1 == 0 || r.keys != nil && key != nil && !r.keys.Match(key) {
			continue
		}
		for _, at := range r.pattern.FindAllSubmatchIndex(f.b, -1) {
			if at[0] == at[1] || r.keys != nil && key == nil && !r.keys.Match(keyBefore(f.b, at[0])) {
				continue
			}
			s := span{from: at[0], to: at[1], action: r.action, by: r.by}
			if r.action == Mask && len(r.replacement) > 0 {
				s.own, s.textFrom = true, len(f.texts)
				f.texts = r.pattern.Expand(f.texts, r.replacement, f.b, at)
				s.textTo = len(f.texts)
			}
			f.note(s)
		}
	}
}

// keyBefore gives the key of the pair in whose value i is, as far as that can be
// seen: the word before the last separator.
func keyBefore(b []byte, i int) []byte {
	floor := max(0, i-longestKey)
	for i > floor && b[i-1] != '=' && b[i-1] != ':' {
		i--
	}
	for i > floor && !is(b[i-1], ident) {
		i--
	}
	return b[runBack(b, i, floor, ident):i]
}

// foldText is a literal as the automaton wants it.
func foldText(text string) string {
	folded := []byte(text)
	for i, c := range folded {
		folded[i] = foldByte(c)
	}
	return string(folded)
}

// maxNeeds is how many literals one pattern may give.
const maxNeeds = 16

// required gives literals of which at least one is in every text that a pattern
// matches, also while the text is escaped; nil if there are none.
// They have no byte that is in not.
func required(pattern, not string) []string {
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return nil
	}
	return needsOf(re.Simplify(), not)
}

func needsOf(re *syntax.Regexp, not string) []string {
	switch re.Op {
	case syntax.OpLiteral:
		return literalNeeds(re, not)
	case syntax.OpCapture, syntax.OpPlus:
		return needsOf(re.Sub[0], not)
	case syntax.OpRepeat:
		if re.Min > 0 {
			return needsOf(re.Sub[0], not)
		}
	case syntax.OpConcat:
		var best []string
		for _, sub := range re.Sub {
			if needs := needsOf(sub, not); needs != nil && (best == nil || shortest(needs) > shortest(best)) {
				best = needs
			}
		}
		return best
	case syntax.OpAlternate:
		var all []string
		for _, sub := range re.Sub {
			needs := needsOf(sub, not)
			if needs == nil || len(all)+len(needs) > maxNeeds {
				return nil
			}
			all = append(all, needs...)
		}
		return all
	}
	return nil
}

func shortest(texts []string) int {
	least := len(texts[0])
	for _, text := range texts {
		least = min(least, len(text))
	}
	return least
}

// literalNeeds is the longest part of a literal that is the same in every form of
// a text: without what JSON may escape, and, if case does not count, without the
// letters that have forms outside of ASCII (K and the Kelvin sign, s and ſ).
func literalNeeds(re *syntax.Regexp, not string) []string {
	text := string(re.Rune)
	if re.Flags&syntax.FoldCase != 0 {
		text = strings.Map(func(r rune) rune {
			if r == 'k' || r == 'K' || r == 's' || r == 'S' || r == 0x212a || r == 0x17f {
				return '"'
			}
			return r
		}, text)
	}
	if part := plainLiteral(text, not); len(part) >= 2 {
		return []string{part}
	}
	return nil
}

// plainLiteral is the longest part of text that JSON never escapes, but as \u00,
// without any of the bytes in not.
func plainLiteral(text, not string) string {
	best := ""
	for _, part := range strings.FieldsFunc(text, func(r rune) bool {
		return r < ' ' || r >= utf8.RuneSelf-1 || strings.ContainsRune(`"\/<>&`+not, r)
	}) {
		if len(part) > len(best) {
			best = part
		}
	}
	return best
}
