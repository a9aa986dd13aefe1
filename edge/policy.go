package edge

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"slipstream/destination/secret"
	"slipstream/process/filter"
	"slipstream/process/limit"
	"slipstream/process/rate"
	"slipstream/process/redact"
	"slipstream/process/sample"
)

// PolicyConfig is what may leave: redaction, limits, filter, volume, as written.
type PolicyConfig struct {
	Redact      string // detectors; off for no redaction at all
	Actions     string // what becomes of what is found
	Keys, Allow string // further secret keys, and keys that are none
	Rules       string // the user's own, JSON
	Domains     string
	HashKey     string // a secret, or a reference to one
	Parse       bool

	RecordBytes, AttributeBytes, BodyBytes, Spans, SpanBytes int
	OnError                                                  float64 // factor for what failed

	Filter, RateLimits string // JSON
	Repeats            time.Duration
	SampleOneIn        int
	SampleSlow         time.Duration
	SamplePlatform     bool
	SampleExports      bool
	SampleBytes        int
}

// cutWindow is how often it is told, at most, what a rate limit has cut.
const cutWindow = 10 * time.Second

// redaction makes the redaction policy; nil for none. While late, the hash key is
// not known yet and what would be hashed is masked.
func (c *Config) redaction(hashKey []byte, late bool) (*redact.Policy, []error) {
	p := &c.Policy
	if p.Redact == "off" {
		return nil, nil
	}
	settings, errs := redact.Lumigo(c.Getenv)
	add := func(name string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("read %s: %w", name, err))
		}
	}
	var err error
	settings.Detectors, err = redact.ParseDetectors(p.Redact)
	add("SLIPSTREAM_REDACT", err)
	settings.Actions, err = readActions(p.Actions, settings.Detectors)
	add("SLIPSTREAM_REDACT_ACTION", err)
	for _, list := range []struct {
		name, text string
		into       *[]string
	}{
		{"SLIPSTREAM_REDACT_KEYS", p.Keys, &settings.Patterns},
		{"SLIPSTREAM_REDACT_ALLOW_KEYS", p.Allow, &settings.Allow},
		{"SLIPSTREAM_REDACT_DOMAINS", p.Domains, &settings.Domains},
	} {
		items, err := readList(list.text)
		add(list.name, err)
		*list.into = append(*list.into, items...)
	}
	var more []error
	if p.Rules != "" {
		settings.Rules, more = redact.ParseRules(p.Rules)
	}
	for _, err := range more {
		add("SLIPSTREAM_REDACT_RULES", err)
	}
	if settings.HashKey = hashKey; late {
		maskInstead(&settings)
	}
	policy, more := redact.New(settings)
	return policy, append(errs, more...)
}

// maskInstead masks what would be hashed.
func maskInstead(c *redact.Config) {
	for what, action := range c.Actions {
		if action == redact.Hash {
			c.Actions[what] = redact.Mask
		}
	}
	for i := range c.Rules {
		if c.Rules[i].Action == redact.Hash {
			c.Rules[i].Action = redact.Mask
		}
	}
}

// readList reads a JSON list of texts, or texts separated by commas. What cannot
// be read is one text: too much is taken for a secret rather than too little.
func readList(text string) ([]string, error) {
	text = strings.TrimSpace(text)
	if !strings.HasPrefix(text, "[") {
		return fields(text), nil
	}
	var items []string
	if err := json.Unmarshal([]byte(text), &items); err != nil {
		return []string{text}, fmt.Errorf("not a JSON list of texts: %w (it is taken for one pattern)", err)
	}
	return items, nil
}

// readActions reads one action for everything, or what=action pairs.
func readActions(text string, detectors redact.Detectors) (map[string]redact.Action, error) {
	actions := map[string]redact.Action{}
	var errs []error
	for _, item := range fields(text) {
		what, word, pair := strings.Cut(item, "=")
		if !pair {
			word = what
		}
		action, ok := map[string]redact.Action{"mask": redact.Mask, "hash": redact.Hash, "remove": redact.Remove}[word]
		if !ok {
			errs = append(errs, fmt.Errorf("%q: use mask, hash or remove, or detector=action; it masks until then", item))
			continue
		}
		if pair {
			actions[what] = action
			continue
		}
		for name := range strings.SplitSeq(detectors.String()+",key", ",") {
			actions[name] = cmp.Or(actions[name], action)
		}
	}
	return actions, errors.Join(errs...)
}

// limits gives the limits on what the function exports, with those of Lumigo's
// variables where they are set.
func (c *Config) limits() (limit.Limits, []error) {
	p := &c.Policy
	l := limit.Limits{
		Attribute: p.AttributeBytes, Record: p.RecordBytes, Body: p.BodyBytes, Spans: p.Spans, Bytes: p.SpanBytes,
	}
	more := func(n int) int { return int(float64(n) * p.OnError) }
	l.BodyOnError, l.SpansOnError, l.BytesOnError = more(l.Body), more(l.Spans), more(l.Bytes)
	factor := map[string]int{"LUMIGO_MAX_ENTRY_SIZE": 2} // as there, on error
	var errs []error
	for _, v := range []struct {
		name string
		into []*int
	}{
		{"LUMIGO_MAX_ENTRY_SIZE", []*int{&l.Body, &l.BodyOnError}},
		{"LUMIGO_MAX_ENTRY_SIZE_ON_ERROR", []*int{&l.BodyOnError}},
		{"LUMIGO_MAX_SIZE_FOR_REQUEST", []*int{&l.Bytes, &l.BytesOnError}},
		{"LUMIGO_MAX_SIZE_FOR_REQUEST_ON_ERROR", []*int{&l.BytesOnError}},
		{"LUMIGO_MAX_NUMBER_OF_SPANS", []*int{&l.Spans, &l.SpansOnError}},
	} {
		text := c.Getenv(v.name)
		if text == "" {
			continue
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			errs = append(errs, fmt.Errorf("read %s=%q: not a whole number above 0; it is left out", v.name, text))
			continue
		}
		for i, field := range v.into {
			if *field = n; i > 0 {
				*field = max(factor[v.name], 1) * n
			}
		}
	}
	return l, errs
}

// sampling is nil where every invocation is kept.
func (c *Config) sampling() *sample.Config {
	if c.Policy.SampleOneIn == 1 {
		return nil
	}
	return &sample.Config{
		OneIn: c.Policy.SampleOneIn, Slow: c.Policy.SampleSlow, SamplePlatform: c.Policy.SamplePlatform,
		Concurrent: c.managed(), MaxBytes: c.Policy.SampleBytes,
	}
}

// heldBytes is how much memory the records take that sampling has not decided.
func (c *Config) heldBytes() int {
	if c.sampling() == nil {
		return 0
	}
	return 2 * c.Policy.SampleBytes // pages are not always full
}

// operators are the parts of the policy that hold state: one set for the
// platform's records, one for exports.
type operators struct {
	redactor *redact.Policy // nil: off
	limits   limit.Limits
	records  *filter.Filter // of the platform; nil: none
	exported *filter.Filter
	limiter  *rate.Limiter // nil: none
}

// operators makes them. Each error is a part of a setting that cannot be used, and
// what is done instead: more is kept, and more is masked.
func (c *Config) operators() (o operators, errs []error) {
	key, late, keyErrs := c.plainHashKey()
	o.redactor, errs = c.redaction(key, late)
	errs = append(errs, keyErrs...)
	var more []error
	o.limits, more = c.limits()
	errs = append(errs, more...)
	if c.Policy.Filter != "" {
		o.records, more = filter.New(c.Policy.Filter)
		o.exported, _ = filter.New(c.Policy.Filter)
		errs = append(errs, more...)
	}
	if c.Policy.RateLimits != "" {
		o.limiter, more = rate.NewLimiter(c.Policy.RateLimits, cutWindow)
		errs = append(errs, more...)
	}
	return o, errs
}

// plainHashKey is the key where no reference to AWS is in it: that comes late.
func (c *Config) plainHashKey() (key []byte, late bool, errs []error) {
	_, refs, err := c.hashKey()
	if err == nil && len(refs) > 0 {
		return nil, true, nil
	}
	text := ""
	if err == nil {
		text, err = resolve(c.Policy.HashKey, c.Getenv)
	}
	if err != nil {
		errs = append(errs, fmt.Errorf("read SLIPSTREAM_REDACT_HASH_KEY: %w; what would be hashed is masked", err))
	}
	return []byte(text), err != nil, errs
}

// hashKey gives the key's text with its references to AWS cut out.
func (c *Config) hashKey() (cut string, refs secret.References, err error) {
	cut, err = refs.Cut(c.Policy.HashKey)
	return cut, refs, err
}

// lateHashKey asks AWS for the key until it is there, and gives the policy that
// has it; nil where there is nothing to ask for. What is wrong with the key itself
// is known only now.
func (c *Config) lateHashKey(ctx context.Context) *redact.Policy {
	cut, refs, err := c.hashKey()
	if err != nil || len(refs) == 0 || c.Policy.Redact == "off" {
		return nil
	}
	_, told := c.redaction(nil, true)
	said := ""
	for wait := time.Second; ; wait = min(2*wait, time.Minute) {
		values, err := c.secrets.Get(ctx, refs)
		if err == nil {
			key := refs.Expand(cut, func(r secret.Reference) string { return values[r] })
			policy, errs := c.redaction([]byte(key), false)
			for _, err := range errs {
				if !slices.ContainsFunc(told, func(before error) bool { return before.Error() == err.Error() }) {
					slog.Error("configuration", "error", err)
				}
			}
			return policy
		}
		if ctx.Err() != nil {
			return nil
		}
		if said != err.Error() {
			said = err.Error()
			slog.Warn("what would be hashed is masked: SLIPSTREAM_REDACT_HASH_KEY has no value yet", "error", err)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil
		}
	}
}
