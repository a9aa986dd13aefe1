package s3

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

func TestNoCredentialsIsAFaultThatMayPass(t *testing.T) {
	b := newBackend(t, success)
	var env []string
	c := dial(t, "s3://logs?endpoint="+b.URL)
	c.config.Getenv = func(name string) string { return environment(env...)(name) }
	err := c.Send(context.Background(), testBatch())
	if err == nil || destination.Permanent(err) || !strings.Contains(err.Error(), "AWS_ACCESS_KEY_ID") {
		t.Fatalf("without credentials: %v", err)
	}
	env = keys // read anew at each Send
	if err := c.Send(context.Background(), testBatch()); err != nil {
		t.Fatal(err)
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
			b := newBackend(t, success)
			c := dial(t, "s3://logs?endpoint="+b.URL, "AWS_CONTAINER_CREDENTIALS_FULL_URI="+from.URL+"/2021-04-23/credentials",
				"AWS_CONTAINER_AUTHORIZATION_TOKEN=container-token")
			for range 3 {
				if err := c.Send(context.Background(), testBatch()); err != nil {
					t.Fatal(err)
				}
			}
			if asked != tt.asked || b.requests[2].Header.Get("X-Amz-Security-Token") != "lent-token" {
				t.Errorf("asked %d times, sent %v", asked, b.requests[2].Header)
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
			c := dial(t, "s3://logs", "AWS_CONTAINER_CREDENTIALS_FULL_URI="+from.URL,
				"AWS_CONTAINER_AUTHORIZATION_TOKEN="+tt.token)
			err := c.Send(context.Background(), testBatch())
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
		c := dial(t, "s3://logs", "AWS_CONTAINER_CREDENTIALS_FULL_URI="+address)
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // nothing is to be sent
		_, err := c.credentials(ctx)
		if refused := strings.Contains(err.Error(), "not https"); refused == want {
			t.Errorf("%s: %v", address, err)
		}
	}
}
