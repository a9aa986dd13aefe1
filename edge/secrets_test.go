package edge

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipstream/destination"
	"slipstream/telemetry"
)

// cloud is AWS's services for secrets: each name has its value.
type cloud struct {
	*httptest.Server
	mu     sync.Mutex
	values map[string]string
	asked  int
}

func newCloud(t *testing.T, values map[string]string) *cloud {
	c := &cloud{values: values}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in struct{ SecretId, Name string }
		_ = json.NewDecoder(r.Body).Decode(&in)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.asked++
		value, ok := c.values[in.SecretId+in.Name]
		if !ok {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, `{"__type":"ResourceNotFoundException"}`)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"SecretString": value, "Parameter": map[string]string{"Value": value}})
	}))
	t.Cleanup(c.Close)
	return c
}

// env is an environment before the cloud.
func (c *cloud) env(more map[string]string) map[string]string {
	env := map[string]string{"AWS_ENDPOINT_URL": c.URL, "AWS_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "AKID",
		"AWS_SECRET_ACCESS_KEY": "aws-key", "SLIPSTREAM_DESTINATIONS": "x"}
	for name, value := range more {
		env[name] = value
	}
	return env
}

// What a reference stands for gets where it belongs, and is not asked for before
// the first batch.
func TestDestinationsWithSecrets(t *testing.T) {
	var got *http.Request
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r }))
	defer server.Close()
	at, host := server.URL, strings.TrimPrefix(server.URL, "http://")
	c := newCloud(t, map[string]string{
		"/token": "t/o+k&n=%41", "both": `{"user":"us@er","password":"p/a:ss?#"}`, "/path": "in/b c?key=v%2F1",
		"/address": host + "/whole?q=1", "/host": host, "/url": server.URL, "/query": "k=%40",
	})
	for _, tt := range [][2]string{ // request line, user or authorization, header X, content type
		{at + "/p?token=${ssm:/token}&header.x=a${ssm:/host}b", "/p Bearer t/o+k&n=%41 a" + host + "b"},
		{at + "/p?token=%24%7Bssm:/token%7D", "/p Bearer t/o+k&n=%41 "},
		{"http://${secretsmanager:both#user}:${secretsmanager:both#password}@" + host + "/p", "/p us@er:p/a:ss?# "},
		{at + "/a/${ssm:/path}", "/a/in/b%20c?key=v%2F1  "},
		{"http://${ssm:/address}", "/whole?q=1  "},
		{"http://${ssm:/host}/x?query=${ssm:/query}", "/x?k=%40  "},
		{"http://${ssm:/host}/${env:SUB}", "/of-env  "},
		{"otlp+http://${ssm:/host}/base", "/base  otel t/o+k&n=%41"},
		{"otlp+" + at + "?header.authorization=${ssm:/token}", "/v1/logs t/o+k&n=%41 otel t/o+k&n=%41"},
		{"http://${ssm:/url}/x", "!the secret holds a scheme, too"},
		{"http://${ssm:/query}/x", "!what the secret holds makes no URL"},
		{at + "?token=${ssm:/nowhere}", "!${ssm:/nowhere}: get parameter in eu-west-1: status 400"},
	} {
		raw, want := tt[0], tt[1]
		config, errs := Load(environment(c.env(map[string]string{"SUB": "of-env",
			"OTEL_EXPORTER_OTLP_HEADERS": "X=otel%20${ssm:/token}", "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "X=${ssm:/nowhere}"})))
		if len(errs) > 0 {
			t.Fatal(errs)
		}
		before := c.asked
		lane, to, err := openDestination(&config, raw, "", &telemetry.Resource{})
		if err != nil || c.asked != before {
			t.Errorf("%s: %v, asked %d times", raw, err, c.asked-before)
			continue
		}
		got = nil
		err = to.Send(t.Context(), &destination.Batch{ID: "e-1", Body: []byte("x"), ContentType: lane.encoder.ContentType()})
		text := ""
		switch {
		case err != nil:
			text = "!" + err.Error()
		default:
			user, password, ok := got.BasicAuth()
			authorization := got.Header.Get("Authorization")
			if ok {
				authorization = user + ":" + password
			}
			text = got.RequestURI + " " + authorization + " " + got.Header.Get("X")
		}
		if text != want && (want[0] != '!' || !strings.Contains(text, want[1:]) || destination.Permanent(err)) {
			t.Errorf("%s:\n%q, want\n%q", raw, text, want)
		}
		if scheme, _, _ := strings.Cut(raw, ":"); !strings.HasPrefix(lane.name, scheme) ||
			strings.Contains(lane.name, "slipstream") {
			t.Errorf("%s is called %s", raw, lane.name)
		}
		if err := to.Close(); err != nil {
			t.Error(err)
		}
	}
}

// Edge Delta's endpoint may hold references, and its own query.
func TestEdgeDeltaEndpointWithSecrets(t *testing.T) {
	var got *http.Request
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r }))
	defer server.Close()
	c := newCloud(t, map[string]string{"/key": "a&b", "/path": "in"})
	env := c.env(map[string]string{"ED_ENDPOINT": server.URL + "/${ssm:/path}?key=${ssm:/key}"})
	delete(env, "SLIPSTREAM_DESTINATIONS")
	config, errs := Load(environment(env))
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	_, to, err := openDestination(&config, config.Destinations[0], "", &telemetry.Resource{})
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	if err := to.Send(t.Context(), &destination.Batch{ID: "e-1"}); err != nil || got.RequestURI != "/in?key=a&b" {
		t.Errorf("%v %v", got, err)
	}
}

// The fallback's references are its own.
func TestFallbackWithSecrets(t *testing.T) {
	taken := ""
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		taken = r.Header.Get("Authorization")
	}))
	defer server.Close()
	c := newCloud(t, map[string]string{"/token": "to&ken"})
	config, _ := Load(environment(c.env(nil)))
	raw := "http://h/x?fallback=" + url.QueryEscape(server.URL+"?token=${ssm:/token}")
	for _, raw := range []string{raw, strings.ReplaceAll(raw, "%24%7Bssm%3A%2Ftoken%7D", "${ssm:/token}")} {
		lane, to, err := openDestination(&config, raw, "", &telemetry.Resource{})
		if err != nil {
			t.Fatal(err)
		}
		if err := lane.fallback.Send(t.Context(), &destination.Batch{ID: "e-1"}); err != nil || taken != "Bearer to&ken" {
			t.Errorf("%s: %q %v", raw, taken, err)
		}
		_, _ = to.Close(), lane.fallback.Close()
	}
}

// Whatever a value holds and wherever it stands, no message has it: the endpoint
// echoes all that it gets, and some values are no good at their place.
func TestNoSecretInAnyMessage(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	var logs bytes.Buffer
	old := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&logs, &slog.HandlerOptions{Level: slog.LevelDebug})))
	defer slog.SetDefault(old)
	status := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(status)
		user, password, _ := r.BasicAuth()
		fmt.Fprintln(w, "no", r.Header, r.RequestURI, r.URL.Path, r.Host, user, password)
	}))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	letters := []rune("abcXYZ0189 %/?#&=+:@\"\\'ä€\n\r\x01{}$<>")
	for range 300 {
		value := []rune("s3cr")
		for range 4 + random.IntN(20) {
			value = append(value, letters[random.IntN(len(letters))])
		}
		secretValue := strings.TrimSpace(string(value) + "3t")
		c := newCloud(t, map[string]string{"x": secretValue})
		status = []int{400, 401, 403, 413, 500, 503}[random.IntN(6)]
		for _, raw := range []string{
			"http://" + host + "/p?token=${ssm:x}", "http://" + host + "/${ssm:x}/more", "http://${ssm:x}/p",
			"http://me:${ssm:x}@" + host, "http://" + host + "?header.a=${ssm:x}&query=${ssm:x}",
			"otlp+http://" + host + "/${ssm:x}?header.b=${ssm:x}", "otlp+http://${ssm:x}/v1/logs",
			"s3://bucket/${ssm:x}?endpoint=" + url.QueryEscape(server.URL), "s3://b?region=${ssm:x}&endpoint=http://" + host,
		} {
			config, _ := Load(environment(c.env(nil)))
			_, to, err := openDestination(&config, raw, "", &telemetry.Resource{})
			if err != nil {
				t.Fatalf("%s: %v", raw, err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			err = to.Send(ctx, &destination.Batch{ID: "e-1", Body: []byte("x"), ContentType: "application/x-ndjson"})
			cancel()
			slog.Warn("delivery", "error", err)
			if text := logs.String(); strings.Contains(text, "s3cr") {
				t.Errorf("%s with %q: %s", raw, secretValue, text)
			}
			logs.Reset()
			_ = to.Close()
		}
		c.Close()
	}
}

func TestShownSettings(t *testing.T) {
	for value, want := range map[string]string{
		"s3://b/p?region=eu-west-1":                                    "s3://b/p?region=eu-west-1",
		"https://u:pw@h/p?token=s3cret&header.x=s3cret":                "https://***@h/p?token=***&header.x=***",
		"https://${ssm:u}:${env:P}@h?token=${ssm:a#b}":                 "https://${ssm:u}***${env:P}@h?token=${ssm:a#b}",
		"https://h?header.a=Bearer%20${ssm:/x}":                        "https://h?header.a=***${ssm:/x}",
		"https://h?fallback=https%3A%2F%2Fu:s3cret@i%3Ftoken%3Ds3cret": "https://h?fallback=https://i?…",
		"https://h#s3cret?x=${kms:QUJDREVGR0hJSktM+/=}":                "https://h?x=${kms:QUJDREVGR0hJSktM+/=}",
		"a,b": "a,b",
	} {
		if got := shownValue("SLIPSTREAM_DESTINATIONS", value); got != want {
			t.Errorf("%s\nis shown as %s,\nnot %s", value, got, want)
		}
	}
	for name, value := range map[string]string{"ED_ENDPOINT": "https://s3cret", "OTEL_EXPORTER_OTLP_HEADERS": "a=s3cret",
		"SLIPSTREAM_FORWARD": "/x=https://u:s3cret@h/y?z=s3cret"} {
		if got := shownValue(name, value); strings.Contains(got, "s3cret") {
			t.Errorf("%s is shown as %s", name, got)
		}
	}
	if diff := cmp.Diff("***${ssm:a}***", masked("x${ssm:a}y${open")); diff != "" {
		t.Error(diff)
	}
}
