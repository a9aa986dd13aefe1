package secret

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"slipstream/test/servers"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// references cuts what is in a text, which must be good.
func references(t *testing.T, text string) References {
	t.Helper()
	var l References
	if _, err := l.Cut(text); err != nil {
		t.Fatal(err)
	}
	return l
}

func TestCut(t *testing.T) {
	for text, want := range map[string]string{
		"":                                "",
		"plain ${env:X} $ } ${":           "plain ${env:X} $ } ${",
		"a${ssm:/p/q}b":                   "a<ssm /p/q >b",
		"${ssm:a}${ssm:a}${ssm:b}":        "<ssm a ><ssm a ><ssm b >",
		"${secretsmanager:arn:aws:x#k y}": "<secretsmanager arn:aws:x k y>",
		"${kms:AQ+/=}":                    "<kms AQ+/= >",
		"${kms:AQICAHhfTheRest+/=}":       "<kms AQICAHhfTheRest+/= >",
		"${ssm:}":                         "!",
		"${ssm:a":                         "!",
		"${ssm:a#}":                       "!",
		"${ssm:a${ssm:b}}":                "!",
		"${ssm}":                          "${ssm}",
		"${ssm:a}${env:${ssm:a}}":         "<ssm a >${env:<ssm a >}",
	} {
		var l References
		cut, err := l.Cut(text)
		got := l.Expand(cut, func(r Reference) string { return "<" + r.kind + " " + r.name + " " + r.Member + ">" })
		if err != nil {
			got = "!"
		}
		if got != want {
			t.Errorf("%q: %q, want %q (%v)", text, got, want, err)
		}
	}
	var l References
	cut, err := l.Cut("${kms:AQICAHhfTheRest+/=} ${ssm:/a#b}")
	if shown := l.Expand(cut, Reference.Shown); err != nil || shown != "${kms:AQICAHhfTheR…} ${ssm:/a#b}" {
		t.Errorf("shown %q %v", shown, err)
	}
	if !l.In(cut) || l.In("slipstream") || (References{}).In("x") {
		t.Error("In is wrong")
	}
}

// A text comes back as it was, unless it is refused.
func FuzzCut(f *testing.F) {
	for _, seed := range []string{"a${ssm:/p}b", "${secretsmanager:x#y}", "${kms:A+=}", "${ssm:", "${env:X}",
		"$${ssm:a}}"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var l References
		cut, err := l.Cut(text)
		if err != nil || strings.Contains(text, "slipstreamsecret") {
			return
		}
		if back := l.Expand(cut, Reference.String); back != text {
			t.Errorf("%q came back as %q", text, back)
		}
		var again References
		if once, err := again.Cut(cut); err != nil || once != cut {
			t.Errorf("%q was not cut to its end: %q %v", text, once, err)
		}
	})
}

func TestHide(t *testing.T) {
	l := references(t, "${ssm:a}${ssm:b}${ssm:c}")
	cover := newCover(Values{l[0]: "p@ss/word", l[1]: "p@ss/word-longer", l[2]: "abc"}, []string{"in two\nlines"})
	for text, want := range map[string]string{
		"p@ss/word-longer then p@ss/word": "${ssm:b} then ${ssm:a}",
		"p@ss%2Fword p%40ss%2Fword":       "${ssm:a} ${ssm:a}",
		"it is in two lines":              "it is ***",
		"abc is too short to be hidden":   "abc is too short to be hidden",
	} {
		if got := cover.hide(text); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
}

// The real resolution, of every kind, from a stand-in for AWS.
func TestResolve(t *testing.T) {
	server := servers.StartSecrets(t)
	env := map[string]string{"AWS_LAMBDA_FUNCTION_NAME": "shop"}
	for _, pair := range server.Env() {
		name, value, _ := strings.Cut(pair, "=")
		env[name] = value
	}
	arn := server.CreateSecret(t, "prod/token", `{"key":"v-1","port":5432,"deep":{"a":[1]}}`)
	server.CreateSecret(t, "plain", "text\r\n")
	server.PutParameter(t, "/app/key", "parameter value")
	free := server.Encrypt(t, "of kms", nil)
	bound := server.Encrypt(t, "of the console", map[string]string{"LambdaFunctionName": "shop"})
	other := server.Encrypt(t, "of another function", map[string]string{"LambdaFunctionName": "bank"})
	for text, want := range map[string]string{
		"${secretsmanager:prod/token#key}":    "v-1",
		"${secretsmanager:" + arn + "#port}":  "5432",
		"${secretsmanager:prod/token#deep}":   `{"a":[1]}`,
		"${secretsmanager:plain}":             "text",
		"${ssm:/app/key}":                     "parameter value",
		"${kms:" + free + "}":                 "of kms",
		"${kms:" + bound + "}":                "of the console",
		"${kms:" + other + "}":                "! decrypt in eu-west-1: status 400 InvalidCiphertextException",
		"${secretsmanager:prod/token#secret}": `! the secret has no member "secret"; it has: deep, key, port`,
		"${secretsmanager:plain#key}":         `! the secret is no JSON object`,
		"${secretsmanager:nowhere}":           "! get secret value in eu-west-1: status 404 ResourceNotFoundException",
		"${ssm:/nowhere}":                     "! get parameter in eu-west-1: status 400 ParameterNotFound",
		"${kms:bm9uc2Vuc2U=}":                 "! decrypt in eu-west-1: status 400",
		"${kms:*}":                            "! that is not base64",
	} {
		l := references(t, text)
		values, err := NewStore(func(name string) string { return env[name] }).Get(t.Context(), l)
		got := values[l[0]]
		if err != nil {
			got = "! " + strings.TrimPrefix(err.Error(), l[0].Shown()+": ")
		}
		if got != want && (err == nil || !strings.HasPrefix(got, want)) {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

// cloud is AWS's three services in memory: what they hold, what they were asked.
type cloud struct {
	*httptest.Server
	mu     sync.Mutex
	texts  map[string]string // by SecretId, Name or CiphertextBlob; "!status code" refuses
	asked  map[string]int
	judge  func(*http.Request, []byte) // of each request; may be nil
	answer func(http.ResponseWriter)   // instead of all others; may be nil
}

func newCloud(t *testing.T) *cloud {
	c := &cloud{texts: map[string]string{}, asked: map[string]int{}}
	c.Server = httptest.NewServer(c)
	t.Cleanup(c.Close)
	return c
}

func (c *cloud) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	var in struct{ SecretId, Name, CiphertextBlob string }
	_ = json.Unmarshal(body, &in)
	name := in.SecretId + in.Name + in.CiphertextBlob
	c.mu.Lock()
	text, judge, answer := c.texts[name], c.judge, c.answer
	c.asked[name]++
	c.mu.Unlock()
	if judge != nil {
		judge(r, body)
	}
	if answer != nil {
		answer(w)
		return
	}
	if refusal, refused := strings.CutPrefix(text, "!"); refused {
		var status int
		var code string
		fmt.Sscan(refusal, &status, &code)
		w.WriteHeader(status)
		json.NewEncoder(w).Encode(map[string]string{"__type": "com.amazon#" + code, "message": "no"})
		return
	}
	json.NewEncoder(w).Encode(map[string]any{
		"SecretString": text, "Parameter": map[string]string{"Value": text}, "Plaintext": []byte(text),
	})
}

// set gives a secret its value, or what is said of it.
func (c *cloud) set(name, text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.texts[name] = text
}

// count tells how often a secret was asked for.
func (c *cloud) count(name string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked[name]
}

var keys = aws.Credentials{AccessKeyID: "AKIDTEST", SecretAccessKey: "the-key", SessionToken: "the-session"}

// store is a Store before the cloud, at a time that the test moves.
func (c *cloud) store(at *time.Time) *Store {
	env := map[string]string{
		"AWS_ENDPOINT_URL": c.URL, "AWS_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": keys.AccessKeyID,
		"AWS_SECRET_ACCESS_KEY": keys.SecretAccessKey, "AWS_SESSION_TOKEN": keys.SessionToken,
	}
	s := NewStore(func(name string) string { return env[name] })
	if at != nil {
		s.now = func() time.Time { return *at }
	}
	return s
}

// Each service gets a request that AWS's own signer signs alike, for the region
// of the ARN.
func TestSignatures(t *testing.T) {
	c := newCloud(t)
	seen := map[string]string{}
	c.judge = func(r *http.Request, body []byte) {
		at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
		if err != nil {
			t.Error(err)
		}
		got := r.Header.Get("Authorization")
		scope := strings.Split(strings.TrimPrefix(got, "AWS4-HMAC-SHA256 Credential="+keys.AccessKeyID+"/"), "/")
		if len(scope) < 4 {
			t.Fatalf("authorization %q", got)
		}
		again, _ := http.NewRequest(r.Method, c.URL+r.RequestURI, strings.NewReader(string(body)))
		for _, name := range []string{"Content-Type", "X-Amz-Target", "X-Amz-Content-Sha256"} {
			again.Header.Set(name, r.Header.Get(name))
		}
		sum := sha256.Sum256(body)
		if err := v4.NewSigner().SignHTTP(context.Background(), keys, again, hex.EncodeToString(sum[:]), scope[2], scope[1],
			at); err != nil {
			t.Error(err)
		}
		if want := again.Header.Get("Authorization"); got != want {
			t.Errorf("signed\n%s\nthe SDK signs\n%s", got, want)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		seen[r.Header.Get("X-Amz-Target")] = scope[2] + " " + scope[1] + " " + string(body)
	}
	l := references(t, "${secretsmanager:arn:aws:secretsmanager:eu-north-1:1:secret:x-abc}${ssm:/p}${kms:QUFB}")
	for _, r := range l {
		c.set(r.name, "value")
	}
	if _, err := c.store(nil).Get(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"secretsmanager.GetSecretValue": `secretsmanager eu-north-1 ` +
			`{"SecretId":"arn:aws:secretsmanager:eu-north-1:1:secret:x-abc"}`,
		"AmazonSSM.GetParameter": `ssm eu-west-1 {"Name":"/p","WithDecryption":true}`,
		"TrentService.Decrypt":   `kms eu-west-1 {"CiphertextBlob":"QUFB"}`,
	}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Error(diff)
	}
}

// All at the same time, each once, however many want them: no answer comes
// before every secret has been asked for.
func TestParallelAndOnce(t *testing.T) {
	c := newCloud(t)
	const secrets = 5
	all := make(chan struct{})
	var there sync.WaitGroup
	there.Add(secrets)
	go func() { there.Wait(); close(all) }()
	c.judge = func(*http.Request, []byte) { there.Done(); <-all }
	text := ""
	for i := range secrets {
		c.set(fmt.Sprint("s", i), fmt.Sprintf(`{"a":"value %d","b":"other"}`, i))
		text += fmt.Sprintf("${secretsmanager:s%d#a}${secretsmanager:s%d#b}", i, i)
	}
	l, store := references(t, text), c.store(nil)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var users sync.WaitGroup
	for range 8 {
		users.Go(func() {
			values, err := store.Get(ctx, l)
			if err != nil || values[l[2]] != "value 1" || values[l[3]] != "other" {
				t.Errorf("%v %v", values, err)
			}
		})
	}
	users.Wait()
	want := map[string]int{"s0": 1, "s1": 1, "s2": 1, "s3": 1, "s4": 1}
	if diff := cmp.Diff(want, c.asked); diff != "" {
		t.Errorf("asked: %s", diff)
	}
}

// What AWS refuses is not asked for again at once; what may pass is. No answer
// goes into an error, however strange it is.
func TestFailures(t *testing.T) {
	c := newCloud(t)
	now := time.Unix(1e9, 0)
	for _, tt := range []struct {
		text, answer, want string
		again              int // questions for two Gets
	}{
		{"!400 ResourceNotFoundException", "", "ResourceNotFoundException: no (check the name and the region)", 1},
		{"!400 AccessDeniedException", "", "allow the function's role secretsmanager:GetSecretValue on it", 1},
		{"!400 ThrottlingException", "", "ThrottlingException", 2},
		{"!400 ExpiredTokenException", "", "ExpiredTokenException", 2},
		{"!500 InternalServiceError", "", "status 500", 2},
		{"!403 InvalidSignatureException", "", "clock", 1},
		{"", "", "the secret is empty", 1},
		{"", `{"SecretBinary":"czNjcmV0"}`, "the secret is binary", 1},
		{"", `<html>s3cret`, "that was no answer of the service", 2},
		{"", `{"SecretString":{"s3cret":1}}`, "that was no answer of the service", 2},
		{`["s3cret"]`, "", `is no JSON object, so it has no member "m"`, 1},
		{`{"n":"s3cret","o":1}`, "", `no member "m"; it has: n, o`, 1},
		{`{}`, "", `no member "m"; it has: none`, 1},
		{`{"m":""}`, "", "the secret is empty", 1},
	} {
		c.set("x", tt.text)
		c.answer, c.asked = nil, map[string]int{}
		if tt.answer != "" {
			c.answer = func(w http.ResponseWriter) { io.WriteString(w, tt.answer) }
		}
		store, l := c.store(&now), references(t, "${secretsmanager:x#m}")
		for range 2 {
			values, err := store.Get(t.Context(), l)
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), l[0].String()) ||
				strings.Contains(err.Error(), "s3cret") || values != nil {
				t.Errorf("%+v: %v %v", tt, values, err)
			}
		}
		if n := c.count("x"); n != tt.again {
			t.Errorf("%+v: asked %d times", tt, n)
		}
		now = now.Add(refusedFor)
		c.answer = nil
		c.set("x", `{"m":"good"}`)
		if values, err := store.Get(t.Context(), l); err != nil || values[l[0]] != "good" {
			t.Errorf("%+v: after a while %v %v", tt, values, err)
		}
	}
}

func TestExpand(t *testing.T) {
	c := newCloud(t)
	c.set("a", "one")
	store := c.store(nil)
	for text, want := range map[string]string{
		"": "", "plain": "plain", "<${ssm:a}${ssm:a}>": "<oneone>",
		"${ssm:b}": "! ${ssm:b}: the secret is empty", "${ssm:": "! ",
	} {
		got, err := store.Expand(t.Context(), text)
		if err != nil {
			got += "! " + err.Error()
		}
		if got != want && (err == nil || want != "! ") {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	if c.count("a") != 1 || c.count("") != 0 {
		t.Errorf("asked %v", c.asked)
	}
}

func TestUnreachable(t *testing.T) {
	c := newCloud(t)
	store, l := c.store(nil), references(t, "${ssm:a}${ssm:b}")
	hanging, release := context.WithCancel(t.Context())
	defer release()
	c.judge = func(r *http.Request, _ []byte) {
		select {
		case <-hanging.Done():
		case <-r.Context().Done():
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := store.Get(ctx, l); err == nil || strings.Count(err.Error(), "no answer in time") != 2 {
		t.Errorf("while it hangs: %v", err)
	}
	release()
	c.set("a", "one")
	c.set("b", "two")
	values, err := store.Get(t.Context(), l)
	if err != nil || !maps.Equal(values, Values{l[0]: "one", l[1]: "two"}) {
		t.Errorf("then: %v %v", values, err)
	}
}
