package edge

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"slipstream/destination"
	"slipstream/edge/buffer"
	"slipstream/telemetry"
	"slipstream/wire"
)

// edgeDeltaDefaults are what Edge Delta's variables amount to when only the
// endpoint is set.
func edgeDeltaDefaults(c *Config) {
	c.Destinations = []string{"${env:ED_ENDPOINT}?compression=none&format=edgedelta"}
	c.Strategy, c.LogLevel, c.RetryInterval = "end", slog.LevelWarn, 100*time.Millisecond
	c.BufferBytes, c.SendTimeout = 20_000_000, 5*time.Second
	c.TelemetryMaxItems, c.TelemetryMaxBytes, c.TelemetryTimeout = 1000, 256<<10, time.Second
}

func TestEdgeDeltaVariables(t *testing.T) {
	for name, tc := range map[string]struct {
		env    map[string]string
		change func(*Config)
		errs   []string
	}{
		"the endpoint alone": {nil, func(*Config) {}, nil},
		"every variable": {map[string]string{
			"PUSHER_MODE": "http", "KINESIS_ENDPOINT": "unused", "ED_FORWARD_LAMBDA_TAGS": "true",
			"ED_FLUSH_AT_NEXT_INVOKE": "true", "ED_PRINT_EXTENSION_LOGS": "true", "ED_BUFFER_SIZE_MB": "7",
			"ED_PUSH_TIMEOUT_SEC": "9", "ED_RETRY_INTERVAL_MS": "250", "ED_LAMBDA_MAX_ITEMS": "5000",
			"ED_LAMBDA_MAX_BYTES": "524288", "ED_LAMBDA_TIMEOUT_MS": "25", "ED_LAMBDA_LOG_TYPES": "function, extension",
			"ED_TAG_PREFIX": "aws_",
		}, func(c *Config) {
			c.ForwardTags, c.TagPrefix, c.Strategy, c.LogLevel = true, "aws_", "periodic", slog.LevelInfo
			c.BufferBytes, c.SendTimeout, c.RetryInterval = 7_000_000, 9*time.Second, 250*time.Millisecond
			c.TelemetryMaxItems, c.TelemetryMaxBytes, c.TelemetryTimeout = 5000, 512<<10, 25*time.Millisecond
			c.LogTypes = []string{"extension", "function"}
		}, nil},
		"kinesis": {map[string]string{"PUSHER_MODE": "kinesis", "KINESIS_ENDPOINT": "logs"}, func(c *Config) {
			c.Destinations = []string{"firehose://logs?format=edgedelta"}
		}, nil},
		"bad values take the default": {map[string]string{
			"PUSHER_MODE": "udp", "ED_FORWARD_LAMBDA_TAGS": "yes", "ED_FLUSH_AT_NEXT_INVOKE": "1", "ED_BUFFER_SIZE_MB": "x",
			"ED_PUSH_TIMEOUT_SEC": "0", "ED_RETRY_INTERVAL_MS": "-5", "ED_LAMBDA_MAX_ITEMS": "many",
			"ED_LAMBDA_LOG_TYPES": "metric",
		}, func(*Config) {}, []string{
			`PUSHER_MODE="udp": unknown (use http or kinesis); using http`, `ED_FORWARD_LAMBDA_TAGS="yes": not true or false`,
			`ED_FLUSH_AT_NEXT_INVOKE="1": not true or false`, `ED_RETRY_INTERVAL_MS="-5": out of range 1 to 60000; using 100`,
			`ED_BUFFER_SIZE_MB="x": not a whole number; using 20`, `ED_PUSH_TIMEOUT_SEC="0": out of range 1 to 60; using 5`,
			`ED_LAMBDA_MAX_ITEMS="many": not a whole number; using 1000`, `unknown type "metric" is left out`,
			`ED_LAMBDA_LOG_TYPES="metric": no type left; using platform,function`,
		}},
		"Lambda's limits": {map[string]string{
			"ED_LAMBDA_MAX_ITEMS": "10", "ED_LAMBDA_MAX_BYTES": "99999999", "ED_LAMBDA_TIMEOUT_MS": "60000",
		}, func(c *Config) {
			c.TelemetryMaxBytes, c.TelemetryTimeout = 1<<20, 30*time.Second
		}, []string{
			`ED_LAMBDA_MAX_ITEMS="10": Lambda takes 1000 to 10000; using 1000`, `using 1048576`,
			`ED_LAMBDA_TIMEOUT_MS="60000": Lambda takes 25 to 30000; using 30000`,
		}},
		"our own variables win": {map[string]string{
			"SLIPSTREAM_BUFFER_BYTES": "2097152", "SLIPSTREAM_SEND_TIMEOUT_MS": "700", "SLIPSTREAM_LOG_LEVEL": "debug",
			"SLIPSTREAM_TELEMETRY_MAX_ITEMS": "2000", "SLIPSTREAM_TELEMETRY_MAX_BYTES": "300000",
			"SLIPSTREAM_TELEMETRY_TIMEOUT_MS": "30", "SLIPSTREAM_LOG_TYPES": "function", "SLIPSTREAM_DESTINATIONS": "s3://b",
		}, func(c *Config) {
			c.Destinations = append([]string{"s3://b"}, c.Destinations...)
			c.BufferBytes, c.SendTimeout, c.LogLevel = 2<<20, 700*time.Millisecond, slog.LevelDebug
			c.TelemetryMaxItems, c.TelemetryMaxBytes, c.TelemetryTimeout = 2000, 300_000, 30*time.Millisecond
			c.LogTypes = []string{"function"}
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			env := map[string]string{"ED_ENDPOINT": "https://user:secret@in.example/secret?key=secret"}
			maps.Copy(env, tc.env)
			want := defaults()
			edgeDeltaDefaults(&want)
			tc.change(&want)
			got, errs := Load(environment(env))
			if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(Config{}, "Getenv", "secrets", "settings"),
				cmpopts.EquateComparable(listenAt{})); diff != "" {
				t.Errorf("config (-want +got):\n%s", diff)
			}
			compareErrors(t, tc.errs, errs)
			if err := errors.Join(errs...); err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("a secret is in %v", err)
			}
		})
	}
}

func TestEdgeDeltaNeedsAPlaceToSendTo(t *testing.T) {
	for name, want := range map[string]string{
		"ED_BUFFER_SIZE_MB=7": "ED_BUFFER_SIZE_MB: it has no effect without ED_ENDPOINT",
		"PUSHER_MODE=kinesis": "KINESIS_ENDPOINT is not set",
		"PUSHER_MODE=mine":    "", // the name is anybody's
		"KINESIS_ENDPOINT=x":  "",
	} {
		name, value, _ := strings.Cut(name, "=")
		c, errs := Load(environment(map[string]string{"SLIPSTREAM_DESTINATIONS": "s3://b", name: value}))
		if want == "" && len(errs) > 0 || want != "" && (len(errs) != 1 || !strings.Contains(errs[0].Error(), want)) {
			t.Errorf("%s: %v", name, errs)
		}
		if diff := cmp.Diff(defaults(), c, cmpopts.IgnoreFields(Config{}, "Getenv", "secrets", "settings"),
			cmpopts.EquateComparable(listenAt{})); diff != "" {
			t.Errorf("%s changes the configuration:\n%s", name, diff)
		}
	}
}

// The whole way with nothing set but the endpoint: the original's request.
func TestEdgeDeltaRequest(t *testing.T) {
	var got *http.Request
	var body []byte
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r
		body, _ = io.ReadAll(r.Body)
		if bytes.Contains(body, []byte("refuse")) {
			http.Error(w, "no "+r.RequestURI+" for "+r.Host, http.StatusServiceUnavailable)
		}
	}))
	defer server.Close()
	endpoint := strings.Replace(server.URL, "//", "//me:user-secret@", 1) + "/path-secret?key=query-secret"
	c, errs := Load(environment(map[string]string{"ED_ENDPOINT": endpoint}))
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	res := &telemetry.Resource{FunctionName: "shop", FunctionVersion: "3", AccountID: "1", Region: "eu-west-1"}
	lane, to, err := openDestination(&c, c.Destinations[0], "", res)
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	if lane.name != "${env:ED_ENDPOINT}" || lane.encoding != buffer.Plain || lane.retryInterval != 100*time.Millisecond {
		t.Errorf("lane %+v", lane)
	}
	for kind, want := range map[string]bool{
		"function": true, "platform.start": true, "platform.runtimeDone": true, "platform.report": true,
		"extension": false, "platform.initStart": false, "platform.end": false,
	} {
		if lane.wants(kind) != want {
			t.Errorf("wants %s: %v", kind, !want)
		}
	}
	send := func(text string) error {
		record := lane.encoder.AppendLog(nil, &telemetry.Log{Time: testNow, Type: "function", Body: []byte(text)})
		return to.Send(context.Background(),
			&destination.Batch{ID: "e-1", Body: record, ContentType: lane.encoder.ContentType()})
	}
	if err := send(`"hello\n"`); err != nil {
		t.Fatal(err)
	}
	const want = `{"cloud":{"resource_id":"arn:aws:lambda:eu-west-1:1:function:shop","account_id":"1",` +
		`"region":"eu-west-1"},"faas":{"name":"shop","version":"3","request_id":""},"timestamp":"2026-10-01T09:00:00.000Z",` +
		`"log_type":"function","message":"hello"}` + "\n"
	if diff := cmp.Diff(want, string(body)); diff != "" {
		t.Error(diff)
	}
	if user, password, _ := got.BasicAuth(); got.RequestURI != "/path-secret?key=query-secret" || user != "me" ||
		password != "user-secret" || got.Header.Get("Content-Type") != "application/json" ||
		got.Header.Get("Content-Encoding") != "" {
		t.Errorf("request %s with %v", got.RequestURI, got.Header)
	}
	if err := send(`"refuse"`); err == nil || strings.Contains(err.Error(), "secret") ||
		strings.Contains(err.Error(), "127.0.0.1") {
		t.Errorf("refused: %v", err)
	}
}

// detailsOf waits until they say more than the environment does.
func detailsOf(ask func(string) *wire.FunctionDetails, first *wire.FunctionDetails) *wire.FunctionDetails {
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if d := ask("r1"); d != first {
			return d
		}
	}
	return first
}

func TestFunctionDetails(t *testing.T) {
	var asked atomic.Int32
	var request atomic.Pointer[http.Request]
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		request.Store(r)
		io.WriteString(w, `{"Configuration":{"FunctionName":"shop","Runtime":"nodejs22.x","MemorySize":256,`+
			`"Architectures":["arm64"],"Environment":{"Variables":{"A":"b"}}},"Code":{"Location":"https://x"},`+
			`"Tags":{"team":"a","env":"prod"}}`)
	}))
	defer server.Close()
	c := &Config{ForwardTags: true, TagPrefix: "aws_", Function: Function{Name: "shop", Region: "eu-west-1"},
		Getenv: environment(map[string]string{"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "the-secret",
			"AWS_ENDPOINT_URL_LAMBDA": server.URL})}
	res := &telemetry.Resource{Architecture: "amd64", MemoryMB: 128}
	ask := functionDetails(c, res)
	first := ask("") // Init: nothing is asked yet
	if diff := cmp.Diff(&wire.FunctionDetails{Architecture: "x86_64", MemorySize: "128"}, first); diff != "" {
		t.Error(diff)
	}
	if asked.Load() != 0 {
		t.Error("Lambda was asked before the first invocation")
	}
	want := &wire.FunctionDetails{Architecture: "arm64", Runtime: "nodejs22.x", MemorySize: "256",
		Tags: []telemetry.Attribute{{Key: "aws_env", Value: "prod"}, {Key: "aws_team", Value: "a"}}}
	if diff := cmp.Diff(want, detailsOf(ask, first)); diff != "" {
		t.Fatal(diff)
	}
	ask("r2")
	r := request.Load()
	if asked.Load() != 1 || r.RequestURI != "/2015-03-31/functions/shop" ||
		!strings.Contains(r.Header.Get("Authorization"), "/eu-west-1/lambda/aws4_request") {
		t.Errorf("asked %d times, %s with %v", asked.Load(), r.RequestURI, r.Header)
	}
	if functionDetails(&Config{}, res) != nil {
		t.Error("details though nobody wants them")
	}
}

func TestAskLambdaFails(t *testing.T) {
	answer := ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if answer == "" {
			w.Header().Set("X-Amzn-Errortype", "AccessDeniedException:http://x")
			w.WriteHeader(http.StatusForbidden)
			answer = `{"Message":"not allowed"}`
		}
		io.WriteString(w, answer)
	}))
	defer server.Close()
	env := map[string]string{}
	c := &Config{ForwardTags: true, Function: Function{Name: "shop"}, Getenv: environment(env)}
	for _, want := range []string{
		"AWS_ACCESS_KEY_ID", "AccessDeniedException: not allowed (allow the function's role", "not Lambda's",
	} {
		_, err := askLambda(c, wire.FunctionDetails{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q in it", err, want)
		}
		if strings.HasPrefix(want, "Access") {
			answer = "<html>"
		}
		maps.Copy(env, map[string]string{"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "the-secret",
			"AWS_ENDPOINT_URL_LAMBDA": server.URL})
	}
}
