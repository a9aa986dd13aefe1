package redact

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"slipstream/test/secrets"
)

// What Text makes of a line; the same means that it stays.
func TestText(t *testing.T) {
	p := defaultPolicy(t)
	const same = "same"
	tests := []struct{ text, want string }{
		{"", same},
		{"connection from 10.1.2.3 port 51123 took 31 ms", same},
		{"user logged in password=hunter2 ok", "user logged in password=**** ok"},
		{"PassWord = hunter2", "PassWord = ****"},
		{`{"password":"a\"b","n":1}`, `{"password":"****","n":1}`},
		{`got {"password":"a\"b","n":1} ok`, `got {"password":"****","n":1} ok`},
		{`got {"password":"a\"b","n`, `got {"password":"****","n`},
		{`got "{\"password\":\"a\\\"b\",\"n\":1}" ok`, `got "{\"password\":\"****\",\"n\":1}" ok`},
		{"Authorization: Bearer abc123def456", "Authorization: ****"},
		{"sent Bearer abc123def456 twice", "sent Bearer **** twice"},
		{"Bearer authentication is used", same},
		{"Basic authentication is used", same},
		{"Failed password for invalid user bob", same},
		{"password=null secret: true key=", same},
		{"passed=12 bypass=1 keyword: shoes compass: north", same},
		{"postgres://app:s3cr3t@db:5432/shop", "postgres://app:****@db:5432/shop"},
		{"https://a.example:8443/@ann/x", same},
		{"card 4111 1111 1111 1111 and 4111 1111 1111 1112", "card **** and 4111 1111 1111 1112"},
		{"order 4111111111111111 2 items", "order **** 2 items"},
		{"blk_4111111111111111 0.4111111111111111 a4111111111111111", same},
		{"DE89 3704 0044 0532 0130 00, de89370400440532013001", "****, de89370400440532013001"},
		{"mail bob@example.com!", "mail ****!"},
		{"icon@2x.png user@host pkg@1.2.3", same},
		{"123-45-6789 000-45-6789 2024-11-24", "**** 000-45-6789 2024-11-24"},
		{"arn:aws:secretsmanager:eu-west-1:123456789012:secret:db-x1", same},
		{"AKIAIOSFODNN7EXAMPLE wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "**** ****"},
		{"a -----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY----- b", "a **** b"},
		{`a -----BEGIN PRIVATE KEY-----\nMIIE`, "a ****"},
		{"-----BEGIN CERTIFICATE-----\nMIIE\n-----END CERTIFICATE-----", same},
		{"user=ann password= status=ok", same},
		{"password= dGVzdA==", "password= ****"},
		{"KeyError: 'user_id'", same},
		{"1,4111111111111111,2", "1,****,2"},
		{"Server=db;Password=hunter2;Encrypt=True", "Server=db;Password=****;Encrypt=True"},
		{"bob@mail1.DEé", "****é"},
		{"a key é secret=x1 \"b", "a key é secret=**** \"b"},
		{"--password hunter2 --verbose", "--password **** --verbose"},
		{"<apiKey>x1</apiKey>", "<apiKey>****</apiKey>"},
		{"Authorization: Digest username=\"a\", response=\"b\"\nHost: x", "Authorization: ****\"\nHost: x"},
		{"token=abcdef", same},
		{"token=abcdef0123456789", "token=****"},
		{"GET /x?user=1&api_key=k%2F1&b=2", "GET /x?user=1&api_key=****&b=2"},
		{"map[password:a b:2]", "map[password:**** b:2]"},
		{"{'password': 'it\\'s', 'b': 2}", "{'password': '****', 'b': 2}"},
		{"cookie: a=1; b=2", "cookie: ****"},
	}
	for _, tt := range tests {
		got, changed := p.Text([]byte("> "), []byte(tt.text))
		want := "> " + tt.want
		if tt.want == same {
			want = "> "
		}
		if string(got) != want || changed != (tt.want != same) {
			t.Errorf("%s\nbecomes %q, %t\nwant    %q", tt.text, got, changed, want)
		}
	}
}

func TestJSON(t *testing.T) {
	key := []byte("0123456789abcdef")
	tests := []struct {
		name, value, want string
		c                 Config
	}{
		{"clean", `{"a":[1,"x",null]}`, "", Config{}},
		{"by key", `{"a":1,"password":"x"}`, `{"a":1,"password":"****"}`, Config{}},
		{"whatever it is", `{"secret":{"a":[1]},"key":12,"b":2}`, `{"secret":"****","key":"****","b":2}`, Config{}},
		{"removed", `{ "secret":1, "a":2, "key":3 }`, `{ "a":2 }`, Config{Actions: map[string]Action{"key": Remove}}},
		{"all removed", `{"secret":1, "key":{"a":1}}`, `{}`, Config{Actions: map[string]Action{"key": Remove}}},
		{"hashed", `{"password":"x"}`, `{"password":"hash:68f4d9c04881bab7"}`,
			Config{HashKey: key, Actions: map[string]Action{"key": Hash}}},
		{"by form", `["a ann@example.com b"]`, `["a **** b"]`, Config{}},
		{"a number", `{"n":4111111111111111}`, `{"n":"****"}`, Config{}},
		{"inside", `{"body":"{\"password\":\"x\"}"}`, `{"body":"{\"password\":\"****\"}"}`, Config{}},
		{"exempt", `{"Key":{"id":{"S":"7"}},"s3":{"object":{"key":"a/b"}}}`, "", Config{}},
		{"not exempt", `{"object":{"key":"a"}}`, `{"object":{"key":"****"}}`, Config{NotExempt: []string{"object.key"}}},
		{"form in an exempt one", `{"Key":"ann@example.com"}`, `{"Key":"****"}`, Config{}},
		{"no scrub", `{"lumigo_execution_tags_no_scrub":[{"key":"a","value":"b"}]}`, "", Config{}},
		{"exact path", `{"a":{"b":[{"c":1,"d":2}]},"c":3}`, `{"a":{"b":[{"c":"****","d":2}]},"c":3}`,
			Config{Keys: Keys{Exact: []string{"a.b[].c"}}}},
		{"pattern", `{"user":{"name":"x","age":3}}`, `{"user":{"name":"****","age":3}}`,
			Config{Keys: Keys{Patterns: []string{`user\.name`}}}},
		{"allowed", `{"password":"x","secret":"y"}`, `{"password":"x","secret":"****"}`,
			Config{Keys: Keys{Allow: []string{"^password$"}}}},
		{"all", `{"a":1,"b":{"c":2}}`, `{"a":"****","b":"****"}`, Config{Keys: Keys{All: true}}},
		{"no default keys", `{"password":"x"}`, "", Config{NoDefaultKeys: true}},
		{"name and value", `{"name":"db_password","value":"x"}`, `{"name":"db_password","value":"****"}`, Config{}},
		{"own rule", `{"a":"ord-12","b":"ord-"}`, `{"a":"<\"12\">","b":"ord-"}`,
			Config{Rules: []Rule{{Name: "order", Pattern: `ord-(\d+)`, Replacement: `<"$1">`}}}},
		{"own rule for keys", `{"a":"ord-12","b":"ord-12"}`, `{"a":"ord-12","b":"****"}`,
			Config{Rules: []Rule{{Name: "order", Pattern: `ord-\d+`, Keys: "^b$"}}}},
		{"broken rule for keys", `{"a":1,"b":2}`, `{"a":1,"b":"****"}`,
			Config{Rules: []Rule{{Name: "order", Pattern: `ord-(`, Keys: "^b$"}}}},
		{"cut", `{"a":{"password":"x`, `{"a":{"password":"****`, Config{}},
		{"spaces", " \n{\"password\" : 1 }\n", " \n{\"password\" : \"****\" }\n", Config{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, _ := New(tt.c)
			got, changed := p.JSON(nil, []byte(tt.value))
			if string(got) != tt.want || changed != (tt.want != "") {
				t.Errorf("%s\nbecomes %s, %t\nwant    %s", tt.value, got, changed, tt.want)
			}
		})
	}
}

func TestValueAndKey(t *testing.T) {
	p := defaultPolicy(t)
	tests := []struct {
		key, value, want string
		action           Action
	}{
		{"http.request.header.authorization", "x", "****", Mask},
		{"user.password", "x", "****", Mask},
		{"APIKEY", "x", "****", Mask},
		{"aws.s3.key", "a/b", "", Keep},
		{"messaging.kafka.message.key", "7", "", Keep},
		{"messaging.rabbitmq.destination.routing_key", "7", "", Keep},
		{"PartitionKey", "7", "", Keep},
		{"my_partition_key", "7", "", Keep},
		{"publicKey", "7", "", Keep},
		{"notpublickey", "7", "****", Mask},
		{"com_pass", "7", "****", Mask},
		{"monkey", "7", "", Keep},
		{"monkey_key", "7", "****", Mask},
		{"keyword", "shoes", "", Keep},
		{"keyword_secret", "shoes", "****", Mask},
		{"Key.secret", "x", "****", Mask},
		{"set-cookie", "a=1", "****", Mask},
		{"cookies_eaten", "3", "", Keep},
		{"X-Note", "mail ann@example.com", "mail ****", Keep},
		{"next_token", "abcdef0123456789abcdef", "****", Keep},
		{"max_tokens", "4096", "", Keep},
		{"url.full", "https://u:pw@h/?password=x&a=1", "https://u:****@h/?password=****&a=1", Keep},
	}
	for _, tt := range tests {
		if got := p.Key([]byte(tt.key)); got != tt.action {
			t.Errorf("%s demands %s, want %s", tt.key, got, tt.action)
		}
		if got, changed := p.Value(nil, []byte(tt.key), []byte(tt.value)); string(got) != tt.want ||
			changed != (tt.want != "") {
			t.Errorf("%s: %s becomes %q, %t, want %q", tt.key, tt.value, got, changed, tt.want)
		}
	}
}

func TestDomain(t *testing.T) {
	p := policy(t, Config{Domains: []string{`vault\.`}})
	for host, want := range map[string]bool{
		"secretsmanager.eu-west-1.amazonaws.com": true, "SSM.eu-west-1.amazonaws.com:443": true, "vault.corp": true,
		"kms-fips.us-east-1.amazonaws.com": true, "sts.amazonaws.com": true, "sts.eu-west-1.api.aws": true,
		"s3.eu-west-1.amazonaws.com": false, "secretsmanager.example.com": false, "": false,
	} {
		if got := p.Domain([]byte(host)); got != want {
			t.Errorf("%s: %t, want %t", host, got, want)
		}
	}
}

func TestCounts(t *testing.T) {
	p := policy(t, Config{Rules: []Rule{{Name: "order", Pattern: "ord-1"}}})
	p.Text(nil, []byte("ord-1 ann@example.com password=x bob@example.com"))
	p.JSON(nil, []byte(`{"secret":1,"a":"x ord-1"}`))
	got := map[string]uint64{}
	for _, count := range p.Counts() {
		if count.Hits > 0 {
			got[count.Name] = count.Hits
		}
	}
	if want := (map[string]uint64{"order": 2, "email": 2, "key": 2}); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("counts %v, want %v", got, want)
	}
}

// The filter sees everything that would be redacted, in whatever way it is
// escaped; that it sees little else is measured by bench/process.
func TestSuspectMissesNothing(t *testing.T) {
	const seed = 7
	random := rand.New(rand.NewPCG(seed, 0))
	p := defaultPolicy(t)
	for _, c := range secrets.Cases(seed, 6000) {
		texts := [][]byte{c.Body}
		if c.Form != secrets.JSON {
			quoted, _ := json.Marshal(string(c.Body))
			texts = append(texts, quoted, escapedSomewhere(random, c.Body))
		}
		for _, text := range texts {
			if c.Form != secrets.Value && !p.Suspect(text) {
				t.Errorf("seed %d: %s, %s: nothing suspect in %s", seed, c.Kind, c.Place, text)
			}
		}
	}
	for _, clean := range []string{"", "took 31.5 ms",
		`{"level":"INFO","message":"a\n\tb\u003cb\u003e","n":1795500000000}`} {
		if p.Suspect([]byte(clean)) {
			t.Errorf("suspect: %s", clean)
		}
	}
}

// escapedSomewhere is a string of JSON in which any character may be escaped.
func escapedSomewhere(random *rand.Rand, text []byte) []byte {
	out := []byte{'"'}
	for _, r := range string(text) {
		quoted, _ := json.Marshal(string(r))
		switch {
		case r == '/' && random.IntN(2) == 0:
			out = append(out, `\/`...)
		case r < 0x10000 && random.IntN(10) == 0:
			out = fmt.Appendf(out, `\u%04x`, r)
		default:
			out = append(out, quoted[1:len(quoted)-1]...)
		}
	}
	return append(out, '"')
}

// Clean lines cost no allocation, nor do secrets once the memory is there.
func TestAllocations(t *testing.T) {
	p := defaultPolicy(t)
	dst := make([]byte, 0, 4096)
	clean, object := []byte("order 12 took 31.5 ms, 200, from 10.1.2.3 at 1795500000000"),
		[]byte(`{"level":"INFO","message":"order 12 took 31 ms","items":[1,2]}`)
	key, value := []byte("http.request.route"), []byte("/orders/{id}")
	secret, member := []byte("order by ann@example.com password=x"),
		[]byte(`{"level":"INFO","password":"x","a":"ann@example.com"}`)
	for name, call := range map[string]func(){
		"clean text": func() { p.Text(dst, clean) },
		"clean JSON": func() { p.JSON(dst, object) },
		"attribute":  func() { p.Value(dst, key, value) },
		"key":        func() { p.Key(key) },
		"a secret":   func() { p.Text(dst, secret) },
		"a member":   func() { p.JSON(dst, member) },
	} {
		call()
		if n := testing.AllocsPerRun(200, call); n >= 1 {
			t.Errorf("%s: %.1f allocations", name, n)
		}
	}
}

func TestSecretsAnywhere(t *testing.T) {
	p := defaultPolicy(t)
	line := strings.Repeat("x ", 1<<19)
	for _, text := range []string{line + "ann@example.com", "ann@example.com " + line,
		line + "password=hunter2 " + line} {
		if got, changed := p.Text(nil, []byte(text)); !changed || strings.Contains(string(got), "ann@") ||
			strings.Contains(string(got), "hunter2") || len(got) < 1<<20 {
			t.Errorf("%d bytes: %t, %d bytes", len(text), changed, len(got))
		}
	}
}

// Several goroutines may use one policy: each gets what one alone would get.
func TestConcurrent(t *testing.T) {
	p := defaultPolicy(t)
	cases := secrets.Cases(9, 800)
	var want [][]byte
	for _, c := range cases {
		out, _ := redacted(p, c)
		want = append(want, out)
	}
	done := make(chan string)
	for range 4 {
		go func() {
			for i, c := range cases {
				if out, _ := redacted(p, c); !bytes.Equal(out, want[i]) {
					done <- fmt.Sprintf("%s becomes %s, and alone %s", c.Body, out, want[i])
					return
				}
			}
			done <- ""
		}()
	}
	for range 4 {
		if problem := <-done; problem != "" {
			t.Error(problem)
		}
	}
}
