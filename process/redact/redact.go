// Package redact is the one policy for what must not leave a function's
// environment: secrets and personal data in log text, JSON, headers, query
// strings, attributes and tags, found by their key or by their form. Use it on
// everything, before anything is buffered. It is pure: bytes in, bytes out.
package redact

import (
	"fmt"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
)

// Action is what happens to a secret; the greater is the stricter.
type Action uint8

// The actions.
const (
	Keep   Action = iota
	Hash          // hash: and 16 characters of a keyed HMAC-SHA256: equal values stay equal
	Mask          // ****
	Remove        // nothing stays: the member of a JSON object, the text
)

// actionNames are the words in settings.
var actionNames = [...]string{Keep: "keep", Hash: "hash", Mask: "mask", Remove: "remove"}

// String gives the word in settings.
func (a Action) String() string { return actionNames[a] }

// Config is a policy's settings. The zero value is the default policy.
type Config struct {
	// Detectors find secrets by their form: see ParseDetectors.
	Detectors Detectors
	// Actions says by a detector's name what happens to its finds, Mask if nothing;
	// "key" is for all that keys demand. Keep is no action: take the detector out.
	Actions map[string]Action
	// HashKey makes hashes that nobody else can make: at least 16 bytes.
	HashKey []byte

	Keys
	// NoDefaultKeys: only Keys, and no words of ours, tell secret keys.
	NoDefaultKeys bool
	// NotExempt takes exemptions back, by their text; "all" takes all.
	NotExempt []string

	// Domains are regexps for hosts whose bodies are never kept, beside the default
	// ones (Secrets Manager, Systems Manager, KMS, STS) or, with OnlyDomains, in
	// their place.
	Domains     []string
	OnlyDomains bool

	// Rules are the user's own.
	Rules []Rule

	// Parts are more keys for one part of what a tracer captures, as Lumigo has
	// them: see Policy.Part.
	Parts map[Part]Keys
}

// Keys are the user's words about keys. Patterns are regexps that match anywhere
// in a key or its path, whatever the case.
type Keys struct {
	Patterns []string // their values are secrets
	All      bool     // all values are secrets
	Exact    []string // paths with dots, as user.password; also users[].password
	Allow    []string // no secrets, whatever the default words and Patterns say
}

// Part is a part of what a tracer captures.
type Part string

// The parts, by the ends of Lumigo's variables.
const (
	HTTPRequestBodies   Part = "HTTP_REQUEST_BODIES"
	HTTPRequestHeaders  Part = "HTTP_REQUEST_HEADERS"
	HTTPResponseBodies  Part = "HTTP_RESPONSE_BODIES"
	HTTPResponseHeaders Part = "HTTP_RESPONSE_HEADERS"
	HTTPQueryParams     Part = "HTTP_QUERY_PARAMS"
	Environment         Part = "ENVIRONMENT"
)

// Policy is a Config made ready. It may be used by several goroutines at once.
type Policy struct {
	automaton  automaton
	literals   []literal
	detectors  Detectors
	actions    [detectors]Action
	onKey      Action
	byKey      uint16
	all        bool // every key demands
	blind      bool // something can be secret that no literal tells
	hashKey    []byte
	keyRules   []keyRule
	firmRules  []keyRule
	allow      []*regexp.Regexp
	exactPaths map[string]bool
	exemptions []exemption
	rules      []rule
	domains    []*regexp.Regexp
	ownDomains bool // without the default ones
	parts      map[Part]*Policy
	names      []string
	hits       []atomic.Uint64
	work       *sync.Pool
}

// New makes a policy. Each error says what is wrong with a setting and what is
// done instead; the policy can be used all the same, and is not less strict than
// was asked for.
func New(c Config) (*Policy, []error) {
	b := builder{p: &Policy{detectors: c.Detectors, work: &sync.Pool{New: func() any { return new(work) }}}}
	b.p.names = append(append(b.p.names, detectorNames[:]...), "key")
	b.p.byKey = uint16(detectors)
	b.p.literals = literals(c.Detectors)
	b.hashKey(c.HashKey)
	b.actions(c.Actions)
	b.exemptions(c.NotExempt)
	if !c.NoDefaultKeys {
		for i, word := range keyWords {
			b.p.literals = append(b.p.literals, literal{text: word.text, kind: keyWord, arg: uint16(i)})
		}
	}
	b.keys(c.Keys)
	b.rules(c.Rules)
	b.domains(c.Domains, c.OnlyDomains)
	b.finish()
	b.p.hits = make([]atomic.Uint64, len(b.p.names))
	for part, keys := range c.Parts {
		b.part(part, keys, c)
	}
	return b.p, b.errs
}

// part makes the policy of a part: all that holds for the whole, and its keys.
func (b *builder) part(part Part, keys Keys, c Config) {
	c.Parts = nil
	c.Patterns = append(append([]string(nil), c.Patterns...), keys.Patterns...)
	c.Exact = append(append([]string(nil), c.Exact...), keys.Exact...)
	c.Allow = append(append([]string(nil), c.Allow...), keys.Allow...)
	c.All = c.All || keys.All
	p, errs := New(c)
	for _, err := range errs {
		// What the whole has said already is not said again.
		if !b.said(err) {
			b.errs = append(b.errs, fmt.Errorf("%s: %w", part, err))
		}
	}
	p.hits = b.p.hits
	if b.p.parts == nil {
		b.p.parts = map[Part]*Policy{}
	}
	b.p.parts[part] = p
}

func (b *builder) said(err error) bool {
	for _, other := range b.errs {
		if other.Error() == err.Error() {
			return true
		}
	}
	return false
}

// Part gives the policy for a part: p itself unless the part has keys of its own.
// Their counters are the same.
func (p *Policy) Part(part Part) *Policy {
	if own := p.parts[part]; own != nil {
		return own
	}
	return p
}

// Suspect is the filter before all else, for a text, or JSON with its escapes.
// False is certain: there is nothing to redact, by form or by a key in one of the
// shapes that Text knows. It allocates nothing. It is not for protobuf, where no
// sign stands between a text and what follows it.
func (p *Policy) Suspect(b []byte) bool {
	if p.blind {
		return len(b) > 0
	}
	f := finder{p: p, b: b, raw: true}
	f.scan()
	return f.found
}

// Value redacts the value of one header, attribute or tag: all of it if the key
// demands that, else what is secret in it. False: nothing has changed, and dst is
// returned as it was.
func (p *Policy) Value(dst, key, text []byte) ([]byte, bool) {
	action, by := p.keyAction(key, 0)
	if action == Keep && p.weakKey(key) && opaque(text) {
		action, by = p.actions[token], uint16(token)
	}
	if action == Keep {
		return p.keyedText(dst, key, text)
	}
	if len(text) == 0 || action == Mask && string(text) == masked {
		return dst, false
	}
	p.hits[by].Add(1)
	return p.replaced(dst, text, action), true
}

// Domain tells whether bodies to and from this host are never kept.
func (p *Policy) Domain(host []byte) bool {
	for _, service := range []string{"secretsmanager", "ssm", "kms", "sts"} {
		for from := 0; !p.ownDomains; {
			at := indexFold(host, from, service)
			if at < 0 {
				break
			}
			from = at + len(service)
			rest := host[from:]
			if hasFold(rest, 0, "-fips.") || hasFold(rest, 0, ".") {
				if indexFold(rest, 0, "amazonaws.com") >= 0 || indexFold(rest, 0, ".api.aws") >= 0 {
					return true
				}
			}
		}
	}
	for _, domain := range p.domains {
		if domain.Match(host) {
			return true
		}
	}
	return false
}

// Count is how often a detector, a rule, or the keys ("key") have hit.
type Count struct {
	Name string
	Hits uint64
}

// Counts gives the counters since New, all of them, in the same order always.
func (p *Policy) Counts() []Count {
	counts := make([]Count, len(p.names))
	for i, name := range p.names {
		counts[i] = Count{name, p.hits[i].Load()}
	}
	return counts
}

// DefaultKeys describes, for the documentation, the words that make a key's value
// a secret, and the exemptions by the text that Config.NotExempt takes.
func DefaultKeys() (words, exempt [][2]string) {
	for _, word := range keyWords {
		words = append(words, [2]string{word.text, word.why})
	}
	for _, e := range exemptions {
		exempt = append(exempt, [2]string{strings.Replace(e.text, "|", "", 1), e.why})
	}
	return words, exempt
}
