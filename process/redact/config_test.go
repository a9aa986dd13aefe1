package redact

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseDetectors(t *testing.T) {
	def := defaultDetectors.String()
	tests := []struct{ text, want, err string }{
		{"", def, ""}, {"default", def, ""}, {"none", "none", ""}, {"all", allDetectors.String(), ""},
		{"email,jwt", "jwt,email", ""}, {"default,+ip,-email", (defaultDetectors | 1<<ipAddress&^(1<<email)).String(), ""},
		{"+ip", (defaultDetectors | 1<<ipAddress).String(), ""}, {" none , +JWT ", "jwt", ""}, {"-all", "none", ""},
		{"none,emial", def, "there is no emial"},
		{"ip,-nothing", (defaultDetectors | 1<<ipAddress).String(), "Known are default, all, none, aws_access_key"},
	}
	tests[5].want = strings.Replace((defaultDetectors | 1<<ipAddress).String(), "email,", "", 1)
	for _, tt := range tests {
		got, err := ParseDetectors(tt.text)
		if got.String() != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%q: %s, %v\nwant %s, %s", tt.text, got, err, tt.want, tt.err)
		}
	}
	var zero Detectors
	if zero.String() != def || !zero.has(email) || zero.has(ipAddress) {
		t.Errorf("the zero set is %s", zero)
	}
}

// Each detector can be switched by itself, and finds its kind.
func TestDetectors(t *testing.T) {
	finds := map[string]string{
		"aws_access_key": "AKIAIOSFODNN7EXAMPLE", "aws_secret_key": "secret wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
		"bearer": "bearer abc123def456", "basic": "basic dXNlcjpwYXNzd29yZA==", "credit_card": "4111111111111111",
		"jwt":         "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc-DEF_123",
		"private_key": "-----BEGIN PRIVATE KEY-----", "iban": "GB82 WEST 1234 5698 7654 32", "email": "ann@example.com",
		"ip": "at 10.1.2.3:80 or", "phone": "+49 (30) 123-4567", "us_ssn": "123-45-6789", "url_password": "a://b:c@d",
		"api_key": "ghp_0123456789abcdefghijABCDEFGHIJ012345", "token": "token=abcdef0123456789",
		"high_entropy": "a kJ8fQ2vLxT9pWm4ZrN7cYb1D z",
	}
	more := map[string][]string{
		"ip": {"[2001:db8::1]", "::1", "fe80::1%eth0 x"}, "phone": {"212-555-0123", "(212) 555-0123", "1 212.555.0123"},
	}
	not := map[string][]string{
		"ip":    {"1.2.3", "1.2.3.4.5", "12:34:56", "std::map", "256.1.1.1", "2024-11-24T10:11:12"},
		"phone": {"2024-11-24", "+1", "1555-0123", "12:00-555-01234"},
		"high_entropy": {"0123456789abcdef0123456789abcdef", "aVeryLongIdentifierWithWords",
			"8c5a1b2e-1111-2222-3333-444455556666"},
	}
	for _, name := range detectorNames {
		set, err := ParseDetectors(name)
		if err != nil {
			t.Fatal(err)
		}
		p := policy(t, Config{Detectors: set, NoDefaultKeys: true})
		rest, _ := ParseDetectors("all,-" + name)
		without := policy(t, Config{Detectors: rest &^ (1 << highEntropy), NoDefaultKeys: true})
		for _, text := range append(more[name], finds[name]) {
			if _, changed := p.Text(nil, []byte(text)); !changed || !p.Suspect([]byte(text)) {
				t.Errorf("%s does not find %s", name, text)
			}
			if out, changed := without.Text(nil, []byte(text)); changed && name != "high_entropy" {
				t.Errorf("without %s, %s becomes %s", name, text, out)
			}
		}
		for _, text := range not[name] {
			if out, changed := p.Text(nil, []byte(text)); changed {
				t.Errorf("%s: %s becomes %s", name, text, out)
			}
		}
	}
}

// What is wrong with a setting is said, and what is done instead is on the safe
// side.
func TestErrors(t *testing.T) {
	tests := []struct {
		name string
		c    Config
		err  string
		text string // becomes
		want string
	}{
		{"hash without a key", Config{Actions: map[string]Action{"email": Hash}}, "email: hash needs a hash key",
			"ann@example.com", "****"},
		{"a short key", Config{HashKey: []byte("short")}, "at least 16 are needed", "ann@example.com", "****"},
		{"keep", Config{Actions: map[string]Action{"email": Keep}}, "take the detector out", "ann@example.com", "****"},
		{"unknown detector", Config{Actions: map[string]Action{"mail": Mask}}, `no such detector`, "password=x",
			"password=****"},
		{"key pattern", Config{Keys: Keys{Patterns: []string{"na(me"}}}, "its text is looked for in keys",
			"na(me=x name=x", "na(me=**** name=x"},
		{"allowed", Config{Keys: Keys{Allow: []string{"("}}}, "they are not allowed", "password=x", "password=****"},
		{"both", Config{Keys: Keys{Patterns: []string{"name"}, Allow: []string{"name"}}}, "both secret and allowed",
			"name=x", "name=****"},
		{"exact and allowed", Config{Keys: Keys{Exact: []string{"a.name"}, Allow: []string{"name"}}}, "it is secret",
			"a.name=x name=x", "a.name=**** name=x"},
		{"rule", Config{Rules: []Rule{{Name: "r", Pattern: "("}}}, "NOT hidden", "( password=x", "( password=****"},
		{"rule with keys", Config{Rules: []Rule{{Name: "r", Pattern: "(", Keys: "name"}}}, "whole values of its keys",
			"name=x", "name=****"},
		{"keys of a rule", Config{Rules: []Rule{{Name: "r", Pattern: "xx", Keys: "("}}}, "it holds everywhere", "a xx",
			"a ****"},
		{"no pattern", Config{Rules: []Rule{{Name: "r"}}}, "it has no pattern", "a xx", ""},
		{"same name", Config{Rules: []Rule{{Name: "r", Pattern: "xx"}, {Name: "r", Pattern: "xx", Action: Remove}}},
			"two rules have the name", "a xx.", "a ."},
		{"domain", Config{Domains: []string{"a(b"}}, "its text is looked for in hosts", "password=x", "password=****"},
		{"exemption", Config{NotExempt: []string{"monky"}}, "none of ours", "password=x", "password=****"},
		{"part", Config{Parts: map[Part]Keys{Environment: {Patterns: []string{"("}}}}, "ENVIRONMENT: ", "password=x",
			"password=****"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, errs := New(tt.c)
			if len(errs) != 1 || !strings.Contains(errs[0].Error(), tt.err) {
				t.Errorf("errors %v, want one with %q", errs, tt.err)
			}
			if got, _ := p.Text(nil, []byte(tt.text)); string(got) != tt.want {
				t.Errorf("%s becomes %q, want %q", tt.text, got, tt.want)
			}
		})
	}
}

func TestParseRules(t *testing.T) {
	got, errs := ParseRules(`[{"name":"order","pattern":"ord-\\d+","action":"hash","replacement":"x","keys":"k"},
		{"name":"b","pattern":"b","action":"kill"}, {"pattern":"c","patern":1}, 7, {"name":"d","pattern":"d"}]`)
	want := []Rule{{"order", `ord-\d+`, Hash, "x", "k"}, {"b", "b", Keep, "", ""}, {"", "c", Keep, "", ""}, {"d", "d",
		Keep, "", ""}}
	if diff := cmp.Diff(want, got); diff != "" || len(errs) != 3 {
		t.Errorf("%s\nerrors %v, want 3", diff, errs)
	}
	if _, errs := ParseRules("ord-1"); len(errs) != 1 || !strings.Contains(errs[0].Error(), "write a JSON list") {
		t.Errorf("errors %v", errs)
	}
}

func TestRequired(t *testing.T) {
	for pattern, want := range map[string]string{
		`ord-\d+`: "[ord-]", `(?i)ord-\d+`: "[ord-]", `(?i)kiss`: "[i]", `\d+`: "[]", `a|bcd`: "[]", `abx|bcd`: "[abx bcd]",
		`x(abc)+y`: "[abc]", `(abc)*`: "[]", `(abc){2,3}z`: "[abc]", `say "hello"`: "[hello]", `a.bcd.e`: "[bcd]", `(`: "[]",
		`^user:\s*(\w+)$`: "[user:]", `ünï`: "[]", `(?i)task-id`: "[-id]",
	} {
		got := fmt.Sprint(required(pattern, ""))
		if pattern == `(?i)kiss` {
			want = "[]"
		}
		if strings.EqualFold(got, want) == false {
			t.Errorf("%s: %s, want %s", pattern, got, want)
		}
	}
}

func TestLumigo(t *testing.T) {
	env := map[string]string{
		"LUMIGO_SECRET_MASKING_REGEX":                      `[".*card.*"]`,
		"LUMIGO_BLACKLIST_REGEX":                           `[".*old.*"]`,
		"LUMIGO_SECRET_MASKING_EXACT_PATH":                 `["user.name"]`,
		"LUMIGO_WHITELIST_KEYS_REGEXES":                    `["^passport$"]`,
		"LUMIGO_DOMAINS_SCRUBBER":                          `["vault"]`,
		"LUMIGO_SECRET_MASKING_REGEX_HTTP_REQUEST_HEADERS": "all",
		"LUMIGO_SECRET_MASKING_REGEX_ENVIRONMENT":          `["home"]`,
		"LUMIGO_SECRET_MASKING_REGEX_HTTP_QUERY_PARAMS":    `nojson`,
	}
	c, errs := Lumigo(func(name string) string { return env[name] })
	want := Config{
		Keys:    Keys{Patterns: []string{".*card.*", ".*old.*"}, Exact: []string{"user.name"}, Allow: []string{"^passport$"}},
		Domains: []string{"vault"},
		Parts: map[Part]Keys{HTTPRequestHeaders: {All: true}, Environment: {Patterns: []string{"home"}},
			HTTPQueryParams: {Patterns: []string{"nojson"}}},
	}
	if diff := cmp.Diff(want, c); diff != "" || len(errs) != 1 || !strings.Contains(errs[0].Error(),
		"taken for one pattern") {
		t.Errorf("%s\nerrors %v", diff, errs)
	}
	p := policy(t, c)
	for _, tt := range []struct {
		p    *Policy
		key  string
		want Action
	}{
		{p, "creditcard", Mask}, {p, "passport", Keep}, {p, "password", Mask}, {p, "user.name", Mask}, {p, "name", Keep},
		{p.Part(HTTPRequestHeaders), "accept", Mask}, {p.Part(Environment), "HOME", Mask}, {p, "HOME", Keep},
		{p.Part(HTTPRequestBodies), "HOME", Keep}, {p.Part(HTTPRequestHeaders), "passport", Keep},
	} {
		if got := tt.p.Key([]byte(tt.key)); got != tt.want {
			t.Errorf("%s demands %s, want %s", tt.key, got, tt.want)
		}
	}
}

// Every exemption exempts, and none is for nothing.
func TestExemptions(t *testing.T) {
	p := defaultPolicy(t)
	without := policy(t, Config{NotExempt: []string{"all"}})
	for _, e := range exemptions {
		key := strings.Replace(e.text, "|", "", 1)
		if e.form == aBranch {
			key += ".key"
		}
		if got := p.Key([]byte(key)); got != Keep {
			t.Errorf("%s demands %s", key, got)
		}
		if got := without.Key([]byte(key)); got != Mask {
			t.Errorf("%s needs no exemption", key)
		}
		if e.why == "" {
			t.Errorf("%s has no reason", key)
		}
	}
	for _, word := range keyWords {
		if got := p.Key([]byte(strings.ToUpper(word.text))); got != Mask && word.text != "pwd" {
			t.Errorf("%s demands %s", word.text, got)
		}
	}
}
