package endtoend_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"slipstream/emulator"
	"slipstream/test/servers"
)

// mistakes are one of each kind in the policy, and what is said of it.
var mistakes = []struct{ name, value, told string }{
	{"SLIPSTREAM_REDACT", "emial", "there is no emial"},
	{"SLIPSTREAM_REDACT_RULES", `[{"name":"order","pattern":"("}]`, "NOT hidden"},
	{"SLIPSTREAM_REDACT_KEYS", "lines", "both secret and allowed"},
	{"SLIPSTREAM_REDACT_ALLOW_KEYS", "lines", "both secret and allowed"},
	{"SLIPSTREAM_FILTER", `[{"drop":{}`, "nothing is dropped"},
	{"SLIPSTREAM_RATE_LIMITS", `[{"records":-1}]`, "not limited"},
	{"SLIPSTREAM_REDACT_HASH_KEY", "short", "at least 16"},
}

// A policy full of mistakes: each is told, every line arrives, secrets are masked;
// in strict mode Init ends.
func TestPolicyFullOfMistakes(t *testing.T) {
	dir := t.TempDir()
	env := map[string]string{"SLIPSTREAM_DESTINATIONS": "file://" + dir}
	for _, m := range mistakes {
		env[m.name] = m.value
	}
	s := play{env: env, config: bind(dir)}.start(t)
	s.run(t, 0, 3, 20, 10)
	s.invoke(t, `{"id":3,"text":"password=planted-by-the-test"}`)
	s.shutdown(t)
	delivered := inFolder(t, dir)
	delivered.expect(t, 3, 20)
	text, _ := readFolder(t, dir)
	if strings.Contains(string(text), "planted-by-the-test") || !strings.Contains(string(text), "password=****") {
		t.Error("a secret was delivered")
	}
	for _, m := range mistakes {
		if !strings.Contains(s.log.String(), m.told) {
			t.Errorf("%s: the log does not say %q", m.name, m.told)
		}
	}
	env["SLIPSTREAM_STRICT"] = "true"
	strict := play{env: env, config: bind(dir)}.start(t)
	result := strict.invoke(t, `{"id":9,"lines":1}`)
	if !strings.Contains(string(result.Payload), "Extension.ConfigInvalid") {
		t.Errorf("strict: %s", result.Payload)
	}
	strict.shutdown(t)
}

// Who cannot get a secret gets nothing; the others do, and the policy holds.
func TestSecretsThatNobodyHas(t *testing.T) {
	dir := t.TempDir()
	s := play{
		env: map[string]string{
			"SLIPSTREAM_DESTINATIONS": "file://" + dir + " http://127.0.0.1:1/in?token=${secretsmanager:prod#token}",
			"AWS_ENDPOINT_URL":        "http://127.0.0.1:1", "AWS_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "AKID",
			"AWS_SECRET_ACCESS_KEY": "x", "SLIPSTREAM_REDACT_ACTION": "hash",
			"SLIPSTREAM_REDACT_HASH_KEY": "${secretsmanager:hash}",
		},
		config: bind(dir),
	}.start(t)
	s.run(t, 0, 3, 20, 10)
	s.invoke(t, `{"id":3,"text":"password=planted-by-the-test"}`)
	s.shutdown(t)
	text, _ := readFolder(t, dir)
	if strings.Contains(string(text), "planted-by-the-test") || !strings.Contains(string(text), "password=****") {
		t.Error("what cannot be hashed is not masked")
	}
	log := s.log.String()
	for _, want := range []string{"SLIPSTREAM_REDACT_HASH_KEY has no value yet", "undelivered_at_shutdown",
		"${secretsmanager:prod#token}"} {
		if !strings.Contains(log, want) {
			t.Errorf("the log does not say %s", want)
		}
	}
	if n := strings.Count(log, "has no value yet"); n != 1 {
		t.Errorf("it is said %d times", n)
	}
}

// The hash key comes from Secrets Manager: equal values have equal hashes in every
// environment, and the key is nowhere.
func TestHashes(t *testing.T) {
	secrets := servers.StartSecrets(t)
	secrets.CreateSecret(t, "hash", `{"key":"a-key-that-nobody-may-see"}`)
	env := map[string]string{
		"SLIPSTREAM_REDACT_ACTION": "email=hash", "SLIPSTREAM_REDACT_HASH_KEY": "${secretsmanager:hash#key}",
		"SLIPSTREAM_LOG_LEVEL": "debug", "SLIPSTREAM_FLUSH": "end",
	}
	for _, pair := range secrets.Env() {
		name, value, _ := strings.Cut(pair, "=")
		env[name] = value
	}
	hash := regexp.MustCompile(`(ann|bob) is (hash:[0-9a-f]{16}|\*\*\*\*)`)
	seen := map[string]map[string]bool{"ann": {}, "bob": {}}
	for _, initType := range []string{"on-demand", "snap-start"} {
		dir := t.TempDir()
		env["SLIPSTREAM_DESTINATIONS"] = "file://" + dir
		s := play{env: env, config: bind(dir), function: func(f *emulator.Function) { f.InitType = initType }}.start(t)
		for end := time.Now().Add(patience); ; {
			s.invoke(t, `{"id":1,"text":"ann is ann@example.com","sleep_ms":50}`)
			s.invoke(t, `{"id":2,"text":"bob is bob@example.com","sleep_ms":50}`)
			if text, _ := readFolder(t, dir); strings.Contains(string(text), "bob is hash:") || time.Now().After(end) {
				break
			}
		}
		s.shutdown(t)
		text, _ := readFolder(t, dir)
		for _, m := range hash.FindAllStringSubmatch(string(text), -1) {
			seen[m[1]][m[2]] = true
		}
		if strings.Contains(string(text)+s.log.String(), "nobody-may-see") || strings.Contains(string(text), "example.com") {
			t.Errorf("%s: the key, or an address, is there to be seen", initType)
		}
	}
	for who, hashes := range seen {
		delete(hashes, "****") // before the key was there
		if len(hashes) != 1 {
			t.Errorf("%s has the hashes %v", who, hashes)
		}
	}
}
