package servers

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// Secrets is moto's server as a stand-in for Secrets Manager, Systems Manager's
// parameters and KMS. What it does not judge: signatures, policies, and whether
// a parameter was really encrypted.
type Secrets struct {
	Endpoint string // http://127.0.0.1:port
	process  *process
}

// StartSecrets runs a server until the test ends; see StartFirehose.
func StartSecrets(t testing.TB) *Secrets {
	t.Helper()
	s := &Secrets{process: newMoto(t)}
	s.Endpoint = s.process.ready
	s.process.start(t)
	return s
}

// Env is the environment that leads clients here, as NAME=value.
func (s *Secrets) Env() []string {
	return []string{
		"AWS_ACCESS_KEY_ID=" + accessKey, "AWS_SECRET_ACCESS_KEY=" + secretKey, "AWS_REGION=" + region,
		"AWS_ENDPOINT_URL_SECRETS_MANAGER=" + s.Endpoint, "AWS_ENDPOINT_URL_SSM=" + s.Endpoint,
		"AWS_ENDPOINT_URL_KMS=" + s.Endpoint,
	}
}

// CreateSecret makes a secret of Secrets Manager and gives its ARN.
func (s *Secrets) CreateSecret(t testing.TB, name, text string) (arn string) {
	t.Helper()
	answer := struct{ ARN *string }{&arn}
	s.call(t, "secretsmanager", "secretsmanager.CreateSecret", map[string]any{"Name": name, "SecretString": text}, &answer)
	return arn
}

// ChangeSecret gives a secret another value, as a rotation does.
func (s *Secrets) ChangeSecret(t testing.TB, name, text string) {
	t.Helper()
	input := map[string]any{"SecretId": name, "SecretString": text}
	s.call(t, "secretsmanager", "secretsmanager.PutSecretValue", input, &struct{}{})
}

// PutParameter makes an encrypted parameter.
func (s *Secrets) PutParameter(t testing.TB, name, text string) {
	t.Helper()
	input := map[string]any{"Name": name, "Value": text, "Type": "SecureString", "Overwrite": true}
	s.call(t, "ssm", "AmazonSSM.PutParameter", input, &struct{}{})
}

// Encrypt gives a text in KMS's form, base64, encrypted with a new key under a
// context, which may be nil.
func (s *Secrets) Encrypt(t testing.TB, text string, context map[string]string) string {
	t.Helper()
	var key struct{ KeyMetadata struct{ KeyId string } }
	s.call(t, "kms", "TrentService.CreateKey", map[string]any{}, &key)
	var answer struct{ CiphertextBlob string }
	input := map[string]any{"KeyId": key.KeyMetadata.KeyId, "Plaintext": []byte(text)}
	if context != nil {
		input["EncryptionContext"] = context
	}
	s.call(t, "kms", "TrentService.Encrypt", input, &answer)
	return answer.CiphertextBlob
}

// call makes one request of a service that speaks JSON. The three clients of the
// SDK would be three more modules, for five requests of a stand-in.
func (s *Secrets) call(t testing.TB, service, target string, input, output any) {
	t.Helper()
	body, err := json.Marshal(input)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequest(http.MethodPost, s.Endpoint+"/", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Target", target)
	sum := sha256.Sum256(body)
	keys := aws.Credentials{AccessKeyID: accessKey, SecretAccessKey: secretKey}
	hash := hex.EncodeToString(sum[:])
	signed := v4.NewSigner().SignHTTP(context.Background(), keys, r, hash, service, region, time.Now())
	alone := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := alone.Do(r)
	if err := errors.Join(signed, err); err != nil {
		t.Fatalf("servers: %s: %v", target, err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("servers: %s: status %d %s %v", target, resp.StatusCode, answer, err)
	}
	if err := json.Unmarshal(answer, output); err != nil {
		t.Fatalf("servers: %s: %v", target, err)
	}
}
