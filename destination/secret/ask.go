package secret

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"

	"slipstream/destination"
	"slipstream/destination/awsauth"
)

// service is how a kind of secret is asked for.
type service struct {
	name     string // in signatures and host names
	endpoint string // of AWS_ENDPOINT_URL_…
	target   string // of the operation
	op       string // for messages
	action   string // for policies
}

// serviceOf gives the service of a kind.
func serviceOf(kind string) service {
	switch kind {
	case secretsManager:
		return service{"secretsmanager", "SECRETS_MANAGER", "secretsmanager.GetSecretValue", "get secret value",
			"secretsmanager:GetSecretValue"}
	case parameterStore:
		return service{"ssm", "SSM", "AmazonSSM.GetParameter", "get parameter", "ssm:GetParameter"}
	default:
		return service{"kms", "KMS", "TrentService.Decrypt", "decrypt", "kms:Decrypt"}
	}
}

// refusal is an answer that says no: asking again at once is useless.
type refusal struct {
	error
	code string // the service's, "" if it is our own
}

// ask gets one secret. Its errors hold nothing of it.
func ask(ctx context.Context, client *awsauth.Client, from source, getenv func(string) string) (string, error) {
	switch from.kind {
	case secretsManager:
		var answer struct{ SecretString *string }
		if err := call(ctx, client, from, getenv, map[string]any{"SecretId": from.name}, &answer); err != nil {
			return "", err
		}
		if answer.SecretString == nil {
			return "", refusal{error: errors.New("the secret is binary (store it as text)")}
		}
		return found(*answer.SecretString)
	case parameterStore:
		var answer struct{ Parameter struct{ Value string } }
		input := map[string]any{"Name": from.name, "WithDecryption": true}
		if err := call(ctx, client, from, getenv, input, &answer); err != nil {
			return "", err
		}
		return found(answer.Parameter.Value)
	}
	if _, err := base64.StdEncoding.DecodeString(from.name); err != nil {
		return "", refusal{error: errors.New("that is not base64 (write the ciphertext as `aws kms encrypt` prints it)")}
	}
	var answer struct{ Plaintext []byte }
	input := map[string]any{"CiphertextBlob": from.name}
	err := call(ctx, client, from, getenv, input, &answer)
	var no refusal
	function := getenv("AWS_LAMBDA_FUNCTION_NAME")
	if errors.As(err, &no) && no.code == invalidCiphertext && function != "" {
		// Lambda's console encrypts variables for their function.
		input["EncryptionContext"] = map[string]string{"LambdaFunctionName": function}
		if call(ctx, client, from, getenv, input, &answer) == nil {
			err = nil
		}
	}
	if err != nil {
		return "", err
	}
	return found(string(answer.Plaintext))
}

// invalidCiphertext is KMS's code for a ciphertext that another context, or
// another key, belongs to.
const invalidCiphertext = "InvalidCiphertextException"

func found(text string) (string, error) {
	if text == "" {
		return "", refusal{error: errors.New("the secret is empty")}
	}
	return text, nil
}

// call makes one request of a service that speaks JSON and reads its answer.
func call(ctx context.Context, client *awsauth.Client, from source, getenv func(string) string,
	input, answer any) error {
	s, region := serviceOf(from.kind), regionOf(from, getenv)
	endpoint, err := awsauth.Endpoint("", s.endpoint, getenv)
	if err != nil {
		return fmt.Errorf("read AWS_ENDPOINT_URL_%s: %w", s.endpoint, err)
	}
	body, err := json.Marshal(input)
	if err != nil {
		return err
	}
	creds, err := client.Credentials(ctx)
	if err != nil {
		return plain(err)
	}
	resp, err := client.Do(ctx, &awsauth.Request{
		Op: s.op, Service: s.name, Region: region, Method: http.MethodPost,
		URL:    awsauth.ServiceURL(s.name, region, endpoint),
		Header: http.Header{"Content-Type": {"application/x-amz-json-1.1"}, "X-Amz-Target": {s.target}},
		Body:   body,
	}, creds)
	if err != nil {
		return plain(err)
	}
	if resp.Status != http.StatusOK {
		return refused(resp, creds, s, region)
	}
	if json.Unmarshal(resp.Body, answer) != nil { // the cause might quote the secret
		return fmt.Errorf("%s: that was no answer of the service (check AWS_ENDPOINT_URL_%s)", s.op, s.endpoint)
	}
	return nil
}

// plain is an error of awsauth without its target: the reference stands there.
func plain(err error) error {
	var e *destination.Error
	if !errors.As(err, &e) {
		return err
	}
	if e.Hint == "" {
		return fmt.Errorf("%s: %w", e.Op, e.Err)
	}
	return fmt.Errorf("%s: %w (%s)", e.Op, e.Err, e.Hint)
}

// regionOf is the region that an ARN names, or the function's.
func regionOf(from source, getenv func(string) string) string {
	const fields = 6
	given := ""
	if parts := strings.SplitN(from.name, ":", fields); len(parts) == fields && parts[0] == "arn" {
		given = parts[3]
	}
	return awsauth.Region(given, getenv)
}

// passing are the codes of answers that another try may turn into a secret.
var passing = []string{"ThrottlingException", "TooManyRequestsException", "RequestLimitExceeded",
	"ExpiredTokenException", "ExpiredToken", "InternalServiceError", "KMSInternalException", "DependencyTimeoutException"}

// refused is the error of an answer that holds no secret.
func refused(resp *destination.Response, creds aws.Credentials, s service, region string) error {
	code, message := awsauth.JSONError(resp, creds)
	text := fmt.Sprintf("%s in %s: status %d", s.op, region, resp.Status)
	if code != "" {
		text += " " + code
	}
	if message != "" {
		text += ": " + message
	}
	if hint := hint(code, resp.Status, s); hint != "" {
		text += " (" + hint + ")"
	}
	if resp.Status/100 == 4 && resp.Status != http.StatusTooManyRequests && !slices.Contains(passing, code) {
		return refusal{errors.New(text), code}
	}
	return errors.New(text)
}

// hint says what the user may do.
func hint(code string, status int, s service) string {
	switch code {
	case "ResourceNotFoundException", "ParameterNotFound", "NotFoundException":
		return "check the name and the region"
	case invalidCiphertext:
		return "check that the ciphertext is whole and of a key in that region, encrypted without a context or for " +
			"this function"
	case "UnrecognizedClientException", "InvalidSignatureException", "IncompleteSignatureException":
		return "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, and this machine's clock"
	case "AccessDeniedException":
		if s.name == keyManagement {
			return "allow the function's role " + s.action + " on the key"
		}
		return "allow the function's role " + s.action + " on it, and kms:Decrypt if it has a key of its own"
	}
	if status/100 == 3 || status == http.StatusNotFound {
		return "check AWS_ENDPOINT_URL_" + s.endpoint
	}
	return ""
}
