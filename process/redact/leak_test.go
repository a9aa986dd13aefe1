package redact

import (
	"encoding/json"
	"testing"

	"slipstream/test/secrets"
)

const leakSeed = 20261124

func defaultPolicy(t testing.TB) *Policy {
	t.Helper()
	return policy(t, Config{})
}

func policy(t testing.TB, c Config) *Policy {
	t.Helper()
	p, errs := New(c)
	for _, err := range errs {
		t.Error(err)
	}
	return p
}

// redacted is what the case's place makes of its body.
func redacted(p *Policy, c secrets.Case) ([]byte, bool) {
	switch c.Form {
	case secrets.JSON:
		return p.JSON(nil, c.Body)
	case secrets.Value:
		return p.Value(nil, []byte(c.Key), c.Body)
	}
	return p.Text(nil, c.Body)
}

// No secret of any kind survives at any place, the filter sees each of them, and
// what was JSON still is.
func TestNothingLeaks(t *testing.T) {
	p := defaultPolicy(t)
	cases := secrets.Cases(leakSeed, 13_000)
	leaks := map[string]int{}
	for _, c := range cases {
		out, changed := redacted(p, c)
		piece := c.Leaked(out)
		if !changed {
			piece = "all of it"
		}
		if piece != "" {
			if leaks[c.Kind+c.Place]++; leaks[c.Kind+c.Place] == 1 {
				t.Errorf("%s, %s: %q of %q is left\n of %s\n in %s", c.Kind, c.Place, piece, c.Secret, c.Body, out)
			}
		}
		if c.Form == secrets.JSON && json.Valid(c.Body) && !json.Valid(out) {
			t.Errorf("%s, %s: no JSON any more: %s\nof %s", c.Kind, c.Place, out, c.Body)
		}
		if again, changed := redacted(p, secrets.Case{Form: c.Form, Key: c.Key, Body: out}); changed &&
			c.Form != secrets.Text {
			t.Errorf("%s, %s: a second time it changes again:\n%s\n%s", c.Kind, c.Place, out, again)
		}
	}
	t.Logf("%d cases, seed %d, %d places with leaks", len(cases), leakSeed, len(leaks))
}
