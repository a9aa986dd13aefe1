package redact

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// flat gives the leaves of JSON by their paths; those of lists share theirs.
func flat(t *testing.T, text []byte) map[string]string {
	t.Helper()
	var value any
	if err := json.Unmarshal(text, &value); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	leaves := map[string]string{}
	var walk func(string, any)
	walk = func(path string, value any) {
		switch v := value.(type) {
		case map[string]any:
			for name, member := range v {
				walk(path+"."+name, member)
			}
		case []any:
			for _, item := range v {
				walk(path, item)
			}
		default:
			leaves[strings.TrimPrefix(path, ".")] += fmt.Sprint(v) + "\n"
		}
	}
	walk("", value)
	return leaves
}

// eventSecrets are what is masked in AWS's own events, beside e-mail addresses:
// each was looked at. What a customer named "key" may be one, and is masked.
var eventSecrets = strings.Fields(`accessKey accessKeyId apiKey artifactCredentials authorizationToken Postman-Token
	X-Amz-Security-Token ClientRequestToken RotationToken SecretId Signature DKIM-Signature password secret access_token
	idToken Set-cookie x-api-key usageIdentifierKey inputS3Url key key1 key2 key3 key4 Key1 Key2 keys.key testKey
	numberKey stringKey headerKey iamKey1 iamKey2 SampleKey1 attribute_key attribute_key2 exampleMetadataKey
	ruleParameters`)

// The events that functions log: redacted they are JSON of the same structure, and
// of AWS's own fields only those that are secret are masked.
func TestEventsOfAWS(t *testing.T) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/aws/aws-lambda-go").Output()
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(out)), "events", "testdata", "*.json"))
	if err != nil || len(files) < 90 {
		t.Fatalf("%d events, %v", len(files), err)
	}
	p := defaultPolicy(t)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var line bytes.Buffer
		if json.Compact(&line, text) != nil {
			continue // one that is no JSON on purpose
		}
		redacted, changed := p.JSON(nil, line.Bytes())
		if !changed {
			continue
		}
		before, after := flat(t, line.Bytes()), flat(t, redacted)
		for _, path := range slices.Sorted(maps.Keys(before)) {
			was, is := before[path], after[path]
			secret := slices.ContainsFunc(strings.Split(path, "."), func(name string) bool {
				return slices.Contains(eventSecrets, name)
			})
			mail := strings.Contains(was, "@") && strings.Contains(is, masked) || strings.Contains(path, "headers.value")
			if was != is && !secret && !mail {
				t.Errorf("%s: %s: %.100q became %.100q", filepath.Base(file), path, was, is)
			}
		}
	}
}

// What people look for in an event stays, and what nobody may see goes.
func TestEventsStayReadable(t *testing.T) {
	for _, tt := range []struct{ event, want string }{
		{`{"Records":[{"messageId":"059f36b4-87a3-44ab-83d2-661975830a7d","receiptHandle":"AQEBwJnKyrHigUMZj6rYigCgxl",` +
			`"body":"{\"order\":7,\"cardNumber\":\"4111111111111111\"}","md5OfBody":"e4e68fb7bd0e697a0ae8f1bb342846b3"}]}`,
			`{"Records":[{"messageId":"059f36b4-87a3-44ab-83d2-661975830a7d","receiptHandle":"AQEBwJnKyrHigUMZj6rYigCgxl",` +
				`"body":"{\"order\":7,\"cardNumber\":\"****\"}","md5OfBody":"e4e68fb7bd0e697a0ae8f1bb342846b3"}]}`},
		{`{"s3":{"bucket":{"name":"my-bucket","arn":"arn:aws:s3:::my-bucket"},"object":{"key":"a/b.jpg",` +
			`"eTag":"0123456789abcdef0123456789abcdef","sequencer":"0A1B2C3D4E5F678901","urlDecodedKey":"a/b.jpg"}}}`, "="},
		{`{"requestContext":{"routeKey":"GET /x","apiId":"r3pmxmplak","requestId":"c6af9ac6-7b61-11e6-9a41-93e8deadbeef"},` +
			`"headers":{"Authorization":"Bearer abc.DEF.123","cookie":"sid=1234","host":"a.example.com"}}`,
			`{"requestContext":{"routeKey":"GET /x","apiId":"r3pmxmplak","requestId":"c6af9ac6-7b61-11e6-9a41-93e8deadbeef"},` +
				`"headers":{"Authorization":"****","cookie":"****","host":"a.example.com"}}`},
		{`{"kinesis":{"partitionKey":"user-17","sequenceNumber":"49590338271490256608559692538361571095921575989136588898",` +
			`"data":"SGVsbG8sIHRoaXMgaXMgYSB0ZXN0Lg=="}}`, "="},
		{`{"dynamodb":{"Keys":{"Id":{"N":"101"}},"SequenceNumber":"4421584500000000017450439091","SizeBytes":26}}`, "="},
	} {
		if tt.want == "=" {
			tt.want = tt.event
		}
		got, changed := defaultPolicy(t).JSON(nil, []byte(tt.event))
		if !changed {
			got = []byte(tt.event)
		}
		if string(got) != tt.want {
			t.Errorf("%s\nbecame %s\nwant   %s", tt.event, got, tt.want)
		}
	}
}
