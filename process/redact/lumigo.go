package redact

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Lumigo reads the variables of Lumigo's tracers and gives a Config with what
// they add: copy its Keys, Domains and Parts into yours. Unlike there, the
// default words and domains stay when a variable names others: write them into
// LUMIGO_WHITELIST_KEYS_REGEXES to take some out. A variable that cannot be read
// is an error, and what it says is taken for one pattern.
func Lumigo(getenv func(string) string) (Config, []error) {
	var c Config
	var errs []error
	const general, legacy = "LUMIGO_SECRET_MASKING_REGEX", "LUMIGO_BLACKLIST_REGEX"
	list := func(name string) []string {
		patterns, err := jsonList(name, getenv(name))
		if err != nil {
			errs = append(errs, err)
		}
		return patterns
	}
	masking := func(name string) (k Keys) {
		if strings.EqualFold(strings.Trim(strings.TrimSpace(getenv(name)), `"`), "all") {
			return Keys{All: true}
		}
		for _, pattern := range list(name) {
			if pattern == "all" {
				k.All = true
				continue
			}
			k.Patterns = append(k.Patterns, pattern)
		}
		return k
	}
	c.Keys = masking(general)
	old := masking(legacy)
	c.Patterns, c.All = append(c.Patterns, old.Patterns...), c.All || old.All
	c.Exact = list("LUMIGO_SECRET_MASKING_EXACT_PATH")
	c.Allow = list("LUMIGO_WHITELIST_KEYS_REGEXES")
	c.Domains = list("LUMIGO_DOMAINS_SCRUBBER")
	for _, part := range []Part{HTTPRequestBodies, HTTPRequestHeaders, HTTPResponseBodies, HTTPResponseHeaders,
		HTTPQueryParams, Environment} {
		if k := masking(general + "_" + string(part)); k.All || k.Patterns != nil {
			if c.Parts == nil {
				c.Parts = map[Part]Keys{}
			}
			c.Parts[part] = k
		}
	}
	return c, errs
}

// jsonList reads a JSON list of strings.
func jsonList(name, text string) ([]string, error) {
	if text = strings.TrimSpace(text); text == "" {
		return nil, nil
	}
	var list []string
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		if strings.Contains(name, "WHITELIST") {
			return nil, fmt.Errorf("%s: %w: nothing is allowed by it; write a JSON list as [\".*id.*\"]", name, err)
		}
		return []string{text}, fmt.Errorf("%s: %w: it is taken for one pattern; write a JSON list as [\".*pass.*\"]",
			name, err)
	}
	return list, nil
}
