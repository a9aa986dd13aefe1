package awsauth

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"slipstream/destination"
)

var keys = map[string]string{
	"AWS_ACCESS_KEY_ID": "AKIDTEST", "AWS_SECRET_ACCESS_KEY": "the-secret", "AWS_SESSION_TOKEN": "the-token",
}

func environment(values map[string]string) func(string) string {
	return func(name string) string { return values[name] }
}

// dial makes a client that is closed with the test.
func dial(t *testing.T, getenv func(string) string) *Client {
	t.Helper()
	c := New("test://target", getenv)
	t.Cleanup(func() { c.Close() })
	return c
}

func TestNoCredentialsIsAFaultThatMayPass(t *testing.T) {
	var env map[string]string
	c := dial(t, func(name string) string { return env[name] })
	_, err := c.Credentials(context.Background())
	if err == nil || destination.Permanent(err) || !strings.Contains(err.Error(), "AWS_ACCESS_KEY_ID") {
		t.Fatalf("without credentials: %v", err)
	}
	env = keys // read anew each time
	if creds, err := c.Credentials(context.Background()); err != nil || creds.SessionToken != "the-token" {
		t.Fatal(creds.AccessKeyID, err)
	}
}

// lender is a container credentials endpoint.
func lender(t *testing.T, asked *int, document func() (int, string)) *httptest.Server {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*asked++
		if r.Header.Get("Authorization") != "container-token" || r.Method != http.MethodGet {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		status, body := document()
		w.WriteHeader(status)
		io.WriteString(w, body)
	}))
	t.Cleanup(server.Close)
	return server
}

func TestContainerCredentials(t *testing.T) {
	for _, tt := range []struct {
		name    string
		expires string
		asked   int // for three sends
	}{
		{"kept while good", time.Now().Add(time.Hour).UTC().Format(time.RFC3339), 1},
		{"asked for again shortly before the end", time.Now().Add(time.Minute).UTC().Format(time.RFC3339), 3},
		{"asked for each time without an end", "", 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			asked := 0
			from := lender(t, &asked, func() (int, string) {
				return 200, fmt.Sprintf(`{"RoleArn":"x","AccessKeyId":"AKIDLENT","SecretAccessKey":"lent","Token":"lent-token",`+
					`"Expiration":%q}`, tt.expires)
			})
			c := dial(t, environment(map[string]string{
				"AWS_CONTAINER_CREDENTIALS_FULL_URI": from.URL + "/2021-04-23/credentials",
				"AWS_CONTAINER_AUTHORIZATION_TOKEN":  "container-token",
			}))
			for range 3 {
				creds, err := c.Credentials(context.Background())
				if err != nil || creds.SessionToken != "lent-token" {
					t.Fatal(creds.AccessKeyID, err)
				}
			}
			if asked != tt.asked {
				t.Errorf("asked %d times", asked)
			}
		})
	}
}

func TestContainerCredentialsFail(t *testing.T) {
	for name, tt := range map[string]struct {
		status int
		body   string
		token  string
	}{
		"refused":    {200, "{}", "wrong-token"},
		"broken":     {500, "secret stuff", "container-token"},
		"not JSON":   {200, "secret stuff", "container-token"},
		"incomplete": {200, `{"AccessKeyId":"AKID"}`, "container-token"},
	} {
		t.Run(name, func(t *testing.T) {
			asked := 0
			from := lender(t, &asked, func() (int, string) { return tt.status, tt.body })
			c := dial(t, environment(map[string]string{
				"AWS_CONTAINER_CREDENTIALS_FULL_URI": from.URL, "AWS_CONTAINER_AUTHORIZATION_TOKEN": tt.token,
			}))
			_, err := c.Credentials(context.Background())
			if err == nil || destination.Permanent(err) || asked != 1 ||
				strings.Contains(err.Error(), "secret stuff") || strings.Contains(err.Error(), tt.token) {
				t.Errorf("asked %d times: %v", asked, err)
			}
		})
	}
}

// The token goes over plain HTTP only to this host.
func TestContainerEndpointIsTrusted(t *testing.T) {
	for address, want := range map[string]bool{
		"http://127.0.0.1:1/x": true, "http://[::1]:1": true, "http://localhost": true, "http://169.254.100.1:9001/c": true,
		"http://169.254.170.23/v1": true, "https://example.com/c": true, "http://example.com/c": false,
		"http://10.0.0.1/c": false, "ftp://127.0.0.1/": false, "127.0.0.1": false,
	} {
		c := dial(t, environment(map[string]string{"AWS_CONTAINER_CREDENTIALS_FULL_URI": address}))
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // nothing is to be sent
		_, err := c.Credentials(ctx)
		if refused := strings.Contains(err.Error(), "not https"); refused == want {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestDoSignsAndSends(t *testing.T) {
	var got *http.Request
	var body []byte
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		got = r
		body, _ = io.ReadAll(r.Body)
	}))
	defer server.Close()
	c := dial(t, environment(keys))
	creds, err := c.Credentials(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(context.Background(), &Request{
		Op: "put records", Service: "firehose", Region: "eu-west-1", Method: http.MethodPost,
		URL: ServiceURL("firehose", "eu-west-1", server.URL+"/base?x#y"), Header: http.Header{}, Body: []byte("{}"),
	}, creds)
	if err != nil || resp.Status != http.StatusOK || string(body) != "{}" || got.RequestURI != "/base" {
		t.Fatalf("%+v, %v, %q to %s", resp, err, body, got.RequestURI)
	}
	authorization := got.Header.Get("Authorization")
	if !strings.HasPrefix(authorization, "AWS4-HMAC-SHA256 Credential=AKIDTEST/") ||
		!strings.Contains(authorization, "/eu-west-1/firehose/aws4_request") ||
		got.Header.Get("X-Amz-Security-Token") != "the-token" {
		t.Errorf("signed %v", got.Header)
	}
}

func TestServiceURL(t *testing.T) {
	for region, want := range map[string]string{
		"eu-west-1":     "https://firehose.eu-west-1.amazonaws.com/",
		"cn-north-1":    "https://firehose.cn-north-1.amazonaws.com.cn/",
		"us-gov-west-1": "https://firehose.us-gov-west-1.amazonaws.com/",
	} {
		if got := ServiceURL("firehose", region, "").String(); got != want {
			t.Errorf("%s: %s", region, got)
		}
	}
	for _, bad := range []string{"localhost:1", "ftp://h", "http://u:p@h", "http://", ":"} {
		if _, err := Endpoint(bad, "S3", environment(nil)); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}

func TestJSONError(t *testing.T) {
	for _, tt := range []struct{ header, body, code, message string }{
		{"", `{"__type":"ResourceNotFoundException","message":"no the-secret\nhere"}`, "ResourceNotFoundException",
			"no *** here"},
		{"", `{"__type":"com.amazonaws#AccessDeniedException","Message":"no"}`, "AccessDeniedException", "no"},
		{"ServiceException:http://internal", `{"Message":"m"}`, "ServiceException", "m"},
		{"", `{"__type":7,"message":null}`, "", ""},
		{"", "<html>", "", ""},
	} {
		resp := &destination.Response{Header: http.Header{"X-Amzn-Errortype": {tt.header}}, Body: []byte(tt.body)}
		creds, _ := dial(t, environment(keys)).Credentials(context.Background())
		if code, message := JSONError(resp, creds); code != tt.code || message != tt.message {
			t.Errorf("%s: %q, %q", tt.body, code, message)
		}
	}
}
