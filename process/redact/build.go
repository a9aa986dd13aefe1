package redact

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// builder makes a policy and notes what is wrong with its settings.
type builder struct {
	p          *Policy
	errs       []error
	separators bool
}

func (b *builder) fail(format string, args ...any) {
	b.errs = append(b.errs, fmt.Errorf("redaction: "+format, args...))
}

func (b *builder) hashKey(key []byte) {
	if len(key) > 0 && len(key) < 16 {
		b.fail("the hash key has %d bytes, at least 16 are needed: what should be hashed is masked", len(key))
		return
	}
	b.p.hashKey = key
}

// hashable gives the action, or mask where hash has no key.
func (b *builder) hashable(action Action, whose string) Action {
	if action == Hash && len(b.p.hashKey) == 0 {
		b.fail("%s: hash needs a hash key: it is masked instead", whose)
		return Mask
	}
	return action
}

func (b *builder) actions(of map[string]Action) {
	b.p.onKey = Mask
	for i := range b.p.actions {
		b.p.actions[i] = Mask
	}
	for name, action := range of {
		if action == Keep || action > Remove {
			b.fail("the action of %s: keep is none: it is masked; to keep its finds, take the detector out", name)
			continue
		}
		action = b.hashable(action, name)
		if at := slices.Index(detectorNames[:], name); at >= 0 {
			b.p.actions[at] = action
		} else if name == "key" {
			b.p.onKey = action
		} else {
			b.fail("an action for %q: there is no such detector, it is ignored; known are key, %s",
				name, strings.Join(detectorNames[:], ", "))
		}
	}
}

func (b *builder) exemptions(not []string) {
	b.p.exemptions = exemptions
	for _, text := range not {
		if text == "all" {
			b.p.exemptions = nil
			return
		}
		left := slices.DeleteFunc(slices.Clone(b.p.exemptions), func(e exemption) bool {
			return strings.EqualFold(strings.Replace(e.text, "|", "", 1), text)
		})
		if len(left) == len(b.p.exemptions) {
			b.fail("the exemption %q is none of ours, so that there is nothing to take back", text)
		}
		b.p.exemptions = left
	}
}

// compile makes a pattern for keys or hosts, whatever their case.
func compile(pattern string) (*regexp.Regexp, error) {
	re, err := regexp.Compile("(?i:" + pattern + ")")
	if err != nil {
		_, plain := regexp.Compile(pattern) // its message shows the pattern as it was written
		if err = plain; err == nil {
			err = errors.New("it is not complete in itself")
		}
	}
	return re, err
}

func (b *builder) keys(k Keys) {
	b.p.all = k.All
	b.p.exactPaths = map[string]bool{}
	for _, pattern := range k.Patterns {
		re, err := compile(pattern)
		if err != nil {
			b.fail("the key pattern %q: %w: its text is looked for in keys instead", pattern, err)
			re = regexp.MustCompile("(?i)" + regexp.QuoteMeta(pattern))
		}
		b.keyRule(&b.p.keyRules, re, b.p.onKey, b.p.byKey)
	}
	for _, path := range k.Exact {
		path = strings.ToLower(strings.ReplaceAll(path, "[]", ""))
		b.p.exactPaths[path] = true
		if last := path[strings.LastIndexByte(path, '.')+1:]; len(last) > 1 && plainLiteral(last, "") == last {
			b.p.literals = append(b.p.literals, literal{text: foldText(last), kind: keyWord, arg: userWord})
		} else {
			b.blindKeys()
		}
	}
	for _, pattern := range k.Allow {
		re, err := compile(pattern)
		switch {
		case err != nil:
			b.fail("the allowed keys %q: %w: they are not allowed", pattern, err)
		case slices.Contains(k.Patterns, pattern):
			b.fail("the keys %q are both secret and allowed: they are secret", pattern)
		default:
			b.p.allow = append(b.p.allow, re)
			for _, path := range k.Exact {
				if re.MatchString(path) {
					b.fail("the path %q is both secret and, by %q, allowed: it is secret", path, pattern)
				}
			}
		}
	}
	if b.p.all {
		b.blindKeys()
	}
}

// keyRule adds a pattern for keys, with its literals for text.
func (b *builder) keyRule(to *[]keyRule, re *regexp.Regexp, action Action, by uint16) {
	*to = append(*to, keyRule{pattern: re, action: action, by: by})
	needs := required(re.String(), ".") // a path may be nested: its members are apart
	if needs == nil {
		b.blindKeys()
	}
	for _, text := range needs {
		b.p.literals = append(b.p.literals, literal{text: foldText(text), kind: keyWord, arg: userWord})
	}
}

// blindKeys: no literal tells these keys, so every pair is looked at.
func (b *builder) blindKeys() {
	b.p.blind = true
	if !b.separators {
		b.separators = true
		for _, text := range []string{"=", ":", "%0d", "%0a"} {
			b.p.literals = append(b.p.literals, literal{text: text, kind: separator})
		}
	}
}

func (b *builder) domains(patterns []string, only bool) {
	for _, pattern := range patterns {
		re, err := compile(pattern)
		if err != nil {
			b.fail("the domain %q: %w: its text is looked for in hosts instead", pattern, err)
			re = regexp.MustCompile("(?i)" + regexp.QuoteMeta(pattern))
		}
		b.p.domains = append(b.p.domains, re)
	}
	b.p.ownDomains = only
}

// finish builds the automaton of all literals.
func (b *builder) finish() {
	texts := make([]string, len(b.p.literals))
	for i, l := range b.p.literals {
		texts[i] = l.text
	}
	var fitting int
	if b.p.automaton, fitting = newAutomaton(texts); fitting < len(texts) {
		b.fail("there are too many patterns: %d of %d are not looked for in text", len(texts)-fitting, len(texts))
		b.p.blind = true
	}
}
