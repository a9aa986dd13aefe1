package redact

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// nasty is what tempts a matcher to read the same bytes again and again.
var nasty = []string{"password=", "key=key:", "keykey", "{", "[", `{"a":`, `{"key":`, `{"a":[`, "@", "a@a.", "a@",
	"eyJ",
	"eyJ.", "eyJa ", "-----BEGIN PRIVATE KEY-----", "-----BEGIN ", "-----END PRIVATE KEY-----", "MIIEpAIBAAKCAQEA\n",
	"://",
	"a://a:", "a://@", "4111 ", "4111", "1", "Bearer ", "bearer=", "basic ", "Basic YWFh", `\`, `\\\"`, `"key `, `"key" `,
	"secret ", "secret a/", "key: (", "key={", "key=(\"", `password="`, `password=\"`, "password='", "<password>", "ghp_",
	"sk-", "bot ", "bot aaaaaaaaaaaaaaaaaaaaaaaa.", "key%3D", `\u0041`, `\\u0022`, "de00", "DE00 ", "cookie: ",
	"cookie: a,",
	`"password","value":`, "--key ", "arn:key:", "authorization: Digest ,", "passphrase: a ", "hooks.slack.com/services/",
	"sig=", "0:AA", "token=", "key=a,", "key=a&", "key=a)", "key=a\"", "000-00-", "+1 ", "0.0.0.0.", "::", `"a":"key`,
	"ord-", "%",
	`("key","`, "AKIA", "secretAKIA", `[{"a":"`, `{"a":"{\"key\":`, "\xff@\xff."}

// Eight times the text takes about eight times the time, and not 64 times.
func TestLinear(t *testing.T) {
	all := policy(t, Config{Detectors: allDetectors, Rules: []Rule{{Name: "order", Pattern: `ord-\d+`}}})
	blind := policy(t, Config{Keys: Keys{Patterns: []string{"^..$"}}})
	const small, times, most = 8 << 10, 8, 32
	for _, p := range []*Policy{all, blind} {
		for _, part := range nasty {
			text := []byte(strings.Repeat(part, small/len(part)*times))
			for name, call := range map[string]func([]byte){
				"Text": func(b []byte) { p.redactText(nil, nil, b, 0) },
				"JSON": func(b []byte) { p.JSON(nil, b) },
			} {
				one, many := time.Duration(1<<62), time.Duration(1<<62)
				for range 5 { // other work can only make one slower
					one = min(one, took(func() { call(text[:len(text)/times]) }))
					many = min(many, took(func() { call(text) }))
					if many < most*one {
						break
					}
				}
				if many >= most*one && many > 5*time.Millisecond {
					t.Errorf("%s of %q: %v for %d bytes, %v for %d times as many", name, part, one, small, many, times)
				}
			}
		}
	}
}

func took(call func()) time.Duration {
	start := cpu()
	call()
	return cpu() - start
}

func cpu() time.Duration {
	var usage syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &usage) != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// The automaton finds what a search for each literal finds, wherever it is.
func TestAutomaton(t *testing.T) {
	const seed = 3
	random := rand.New(rand.NewPCG(seed, 0))
	for round := range 200 {
		alphabet := []string{"ab", "a1B", "xyz-0", "\x00\xff é", string(allBytes())}[round%5]
		some := func(n int) string {
			b := make([]byte, n)
			for i := range b {
				b[i] = alphabet[random.IntN(len(alphabet))]
			}
			return string(b)
		}
		var literals []string
		for range 1 + random.IntN(30) {
			literals = append(literals, foldText(some(1+random.IntN(4))))
		}
		a, fitting := newAutomaton(literals)
		text := some(300)
		var got, want []string
		state := uint32(0)
		for i := range len(text) {
			state = uint32(a.next[state<<classShift|uint32(a.fold[text[i]])])
			for k, literal := range literals {
				if strings.HasSuffix(foldText(text[:i+1]), literal) {
					want = append(want, fmt.Sprint(i, " ", k))
				}
			}
			if state >= a.accepting {
				for _, k := range a.ends[state-a.accepting] {
					got = append(got, fmt.Sprint(i, " ", k))
				}
			}
		}
		for _, hit := range want {
			if !slices.Contains(got, hit) {
				t.Fatalf("seed %d, round %d: no hit %s of %q", seed, round, hit, literals)
			}
		}
		if few := len(alphabet) < 64; fitting != len(literals) || few && len(got) != len(want) {
			t.Fatalf("seed %d, round %d: %d hits, want %d", seed, round, len(got), len(want))
		}
	}
}

func allBytes() []byte {
	b := make([]byte, 256)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}

// plain are regexps, slow and simple, for what must be found in any case: without
// what stands around, which a matcher may refuse.
var plain = map[string]string{
	"aws_access_key": `\b(AKIA|ASIA)[A-Z2-7]{16}\b`,
	"key":            `(?i)\b(password|secret|x-api-key|authorization)["']?[ ]?[=:][ ]?["']?[a-z]{3}[0-9]{3}\b`,
	"email":          `\b[a-zA-Z0-9]{3,20}@[a-zA-Z0-9]{3,20}\.(com|org|DE)\b`,
	"us_ssn":         `\b12[0-9]-4[0-9]-[1-9][0-9]{3}\b`,
	"api_key":        `(?i)\b(ghp_[a-z0-9]{36}|xoxb-[0-9]{12}-[a-z]{12}|sk_live_[a-z]{24})\b`,
	"url_password":   `(?i)\b(postgres|https)://[a-z]{3}:[a-z]{3,8}@`,
	"bearer":         `(?i)\bbearer [a-z]{5}[0-9]{5}[a-z]{5}\b`,
}

// Whatever a plain regexp finds in random text, the policy finds as well, in any
// mixture of cases: a filter that is not folded would not.
func TestPlainRegexps(t *testing.T) {
	const seed = 5
	random := rand.New(rand.NewPCG(seed, 0))
	p := defaultPolicy(t)
	compiled := map[string]*regexp.Regexp{}
	for name, pattern := range plain {
		compiled[name] = regexp.MustCompile(pattern)
	}
	words := []string{"AKIAABCDEFGHIJKLMNOP", "ASIA234567ABCDEFGHIJ", "password", "secret", "x-api-key",
		"authorization", "=",
		": ", "\": \"", "abc123", "ann@example.com", "bob@mail1.DE", "123-45-6789", "ghp_" + strings.Repeat("a1B2c3", 6),
		"postgres",
		"https", "://usr:pwd@", "bearer abcde12345abcde", "xoxb-123456789012-abcdefghijkl", " ", "\n", ",", "(", "é", "x",
		"7", "_",
		"sk_live_abcdefghijklmnopqrstuvwx", "\\n", "{", "}", "credentials",
		"password=abc123", "\"secret\": \"xyz789", "authorization: key456"}
	found := map[string]int{}
	for range 30_000 {
		var b strings.Builder
		for range 1 + random.IntN(8) {
			word := words[random.IntN(len(words))]
			switch random.IntN(3) {
			case 0:
				word = strings.ToUpper(word)
			case 1:
				word = anyCase(random, word)
			}
			b.WriteString(word)
		}
		text := b.String()
		out, changed := p.Text(nil, []byte(text))
		if !changed {
			out = []byte(text)
		}
		for name, re := range compiled {
			if re.MatchString(text) {
				found[name]++
				if re.Match(out) {
					t.Errorf("seed %d: %s: %q is still in %q, of %q", seed, name, re.Find(out), out, text)
				}
			}
		}
	}
	for name := range plain {
		if found[name] < 50 {
			t.Errorf("seed %d: only %d texts with %s", seed, found[name], name)
		}
	}
}

func anyCase(random *rand.Rand, word string) string {
	return strings.Map(func(r rune) rune {
		if random.IntN(2) == 0 {
			return []rune(strings.ToUpper(string(r)))[0]
		}
		return r
	}, word)
}
