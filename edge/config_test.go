package edge

import (
	"flag"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"slipstream/edge/buffer"
	"slipstream/edge/flush"
	"slipstream/process/redact"
	"slipstream/telemetry"
)

var update = flag.Bool("update", false, "rewrite docs/configuration.md")

func environment(pairs map[string]string) func(string) string {
	return func(name string) string { return pairs[name] }
}

// defaults is the Config of an environment that sets one destination only.
func defaults() Config {
	return Config{
		Destinations: []string{"s3://b"}, LogTypes: []string{"function", "platform"}, LogLevel: slog.LevelInfo,
		MaxStaleness: 20 * time.Second, BufferBytes: 8 << 20, SendTimeout: 5 * time.Second,
		Policy: PolicyConfig{
			Redact: "default", Actions: "mask", Parse: true, RecordBytes: 1 << 20, AttributeBytes: 32 << 10, BodyBytes: 2 << 10,
			Spans: 10_000, SpanBytes: 4 << 20, OnError: 2, SampleOneIn: 1, SampleExports: true, SampleBytes: 4 << 20,
		},
		Metrics: MetricsConfig{
			Rollup: true, Width: time.Minute, Lateness: 5 * time.Second, Series: 2000, Bytes: 4 << 20,
			EMF: "auto", Lines: "auto", Platform: "auto", Host: "auto",
		},
		Listen:      []listenAt{{name: "otlp"}, {name: "handoff"}},
		SelfMetrics: true, SpoolDir: "/tmp/slipstream",
		Strategy: flush.Adaptive, MaxHold: 250 * time.Millisecond, ShutdownWait: 300 * time.Millisecond,
		TelemetryAPI: "telemetry", TelemetryMaxItems: 10_000,
		TelemetryMaxBytes: 256 << 10, TelemetryTimeout: 25 * time.Millisecond,
	}
}

func TestLoad(t *testing.T) {
	type test struct {
		env    map[string]string
		change func(*Config)
		errs   []string // a part of each
	}
	with := func(pairs ...string) map[string]string {
		m := map[string]string{"SLIPSTREAM_DESTINATIONS": "s3://b"}
		for i := 0; i < len(pairs); i += 2 {
			m[pairs[i]] = pairs[i+1]
		}
		return m
	}
	tests := map[string]test{
		"defaults": {with(), func(*Config) {}, nil},
		"nothing set": {nil, func(c *Config) { c.Destinations = nil }, []string{
			"SLIPSTREAM_DESTINATIONS: it is empty, so nothing is collected",
		}},
		"everything set": {with(
			"SLIPSTREAM_DESTINATIONS", "s3://a/p, file:///d\totlp+http://h:4318", "SLIPSTREAM_LOG_TYPES", "extension,function",
			"SLIPSTREAM_MAX_STALENESS", "1m", "SLIPSTREAM_BATCH_BYTES", "2048", "SLIPSTREAM_BATCH_INVOKES", "3",
			"SLIPSTREAM_BUFFER_BYTES", "2097152", "SLIPSTREAM_SEND_TIMEOUT_MS", "250", "SLIPSTREAM_SHUTDOWN_WAIT_MS", "0",
			"SLIPSTREAM_TELEMETRY_API", "logs", "SLIPSTREAM_TELEMETRY_PORT", "1234", "SLIPSTREAM_STRICT", "true",
			"SLIPSTREAM_LOG_LEVEL", "debug", "AWS_DEFAULT_REGION", "eu-west-1", "AWS_REGION", "eu-central-1",
			"AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128", "OTEL_RESOURCE_ATTRIBUTES", "team=a%20b,service.name=s",
		), func(c *Config) {
			c.Destinations = []string{"s3://a/p", "file:///d", "otlp+http://h:4318"}
			c.LogTypes = []string{"extension", "function"}
			c.MaxStaleness, c.BatchBytes, c.BatchInvokes = time.Minute, 2048, 3
			c.BufferBytes, c.SendTimeout, c.ShutdownWait = 2<<20, 250*time.Millisecond, 0
			c.TelemetryAPI, c.TelemetryPort, c.Strict, c.LogLevel = "logs", 1234, true, slog.LevelDebug
			c.Function = Function{Region: "eu-central-1", MemoryMB: 128,
				Attributes: map[string]string{"team": "a b", "service.name": "s"}}
		}, nil},
		"values out of range take the default": {with(
			"SLIPSTREAM_MAX_STALENESS", "1ms", "SLIPSTREAM_BATCH_BYTES", "12", "SLIPSTREAM_BUFFER_BYTES", "lots",
			"SLIPSTREAM_LOG_TYPES", "function,metric", "SLIPSTREAM_TELEMETRY_PORT", "9001", "SLIPSTREAM_LOG_LEVEL", "loud",
			"SLIPSTREAM_STRICT", "perhaps", "SLIPSTREAM_TELEMETRY_API", "x", "OTEL_RESOURCE_ATTRIBUTES", "a",
		), func(*Config) {}, []string{
			`SLIPSTREAM_LOG_TYPES="function,metric": unknown type "metric"`,
			`SLIPSTREAM_MAX_STALENESS="1ms": out of range 100ms to 15m0s; using 20s`,
			`SLIPSTREAM_BATCH_BYTES="12": out of range 1024 to 8388608; using 0`,
			`SLIPSTREAM_BUFFER_BYTES="lots": not a whole number; using 8388608`,
			`SLIPSTREAM_TELEMETRY_API="x": unknown`, `SLIPSTREAM_TELEMETRY_PORT="9001": the port belongs to the platform`,
			`SLIPSTREAM_STRICT="perhaps": not true or false; using false`, `SLIPSTREAM_LOG_LEVEL="loud": unknown level`,
			`OTEL_RESOURCE_ATTRIBUTES="a": "a" is not key=value; using none`,
		}},
		"the sample's bucket alone": {
			map[string]string{samplePrefix + "S3_BUCKET": "logs"}, func(c *Config) {
				c.TelemetryAPI, c.OldLogs = "logs", true
				c.Destinations = []string{sampleURL("logs", 4096, 10, 10000)}
			}, nil,
		},
		"the sample's five": {
			map[string]string{
				samplePrefix + "S3_BUCKET": "logs", samplePrefix + "SHIP_RATE_BYTES": "1024",
				samplePrefix + "SHIP_RATE_INVOKES": "5", samplePrefix + "SHIP_RATE_MILLISECONDS": "60000",
				samplePrefix + "LOG_TYPES": `["function","nonsense"]`,
			}, func(c *Config) {
				c.OldLogs = true
				c.TelemetryAPI, c.LogTypes = "logs", []string{"function"}
				c.Destinations = []string{sampleURL("logs", 1024, 5, 60000)}
			}, []string{`unknown type "nonsense" is left out`},
		},
		"the sample's clamp and its bad values": {
			map[string]string{
				samplePrefix + "S3_BUCKET": "logs", samplePrefix + "SHIP_RATE_BYTES": "99999999",
				samplePrefix + "SHIP_RATE_INVOKES": "x", samplePrefix + "SHIP_RATE_MILLISECONDS": "-1",
				samplePrefix + "LOG_TYPES": `["nonsense"]`,
			}, func(c *Config) {
				c.OldLogs = true
				c.TelemetryAPI, c.BufferBytes = "logs", 100<<20
				c.Destinations = []string{sampleURL("logs", 50<<20, 1, 0)}
			}, []string{`SHIP_RATE_INVOKES="x": not a whole number; using 10`, "more than 50 MiB; using 52428800",
				`unknown type "nonsense"`, "no type left"},
		},
		"the sample's variables without its bucket": {
			with(samplePrefix+"SHIP_RATE_BYTES", "1"), func(*Config) {}, []string{"no effect without"},
		},
		"sample and own destination": {
			with(samplePrefix+"S3_BUCKET", "logs"), func(c *Config) {
				c.Destinations = []string{"s3://b", sampleURL("logs", 4096, 10, 10000)}
			}, nil,
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			want := defaults()
			tc.change(&want)
			got, errs := Load(environment(tc.env))
			if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(Config{}, "Getenv", "Outside", "secrets", "settings"),
				cmpopts.EquateComparable(listenAt{})); diff != "" {
				t.Errorf("config (-want +got):\n%s", diff)
			}
			compareErrors(t, tc.errs, errs)
		})
	}
}

func compareErrors(t *testing.T, want []string, got []error) {
	t.Helper()
	for i, part := range want {
		if i >= len(got) || !strings.Contains(got[i].Error(), part) {
			t.Errorf("errors %q: number %d should say %q", got, i, part)
		}
	}
	if len(got) > len(want) {
		t.Errorf("unexpected errors: %v", got[len(want):])
	}
}

// sampleURL is what the drop-in mode amounts to.
func sampleURL(bucket string, bytes, invokes, milliseconds int) string {
	return "s3://" + bucket + "?batch_age_ms=" + strconv.Itoa(milliseconds) + "&batch_bytes=" + strconv.Itoa(bytes) +
		"&batch_invokes=" + strconv.Itoa(invokes) + "&compression=none&create_bucket=true&format=telemetry&layout=sample"
}

func TestOpenDestinationRefusesWithAReason(t *testing.T) {
	tests := map[string]string{
		"gopher://x":                                "unknown scheme",
		"bucket":                                    "unknown scheme",
		"s3://":                                     "bucket",
		"s3:// b":                                   "not a URL",
		"s3://user:secret@b":                        "user or password",
		"s3://b?colour=red":                         `unknown option "colour"`,
		"s3://b?compression=rar":                    "unknown (use gzip, zstd or none)",
		"s3://b?batch_bytes=-1":                     "not a whole number",
		"s3://b?types=profiles":                     "unknown type",
		"s3://b?format=xml":                         "unknown (use ndjson, telemetry or edgedelta)",
		"${env:WHOLE}":                              "holds a query",
		"https://":                                  "host",
		"https://h?format=xml":                      "unknown (use ndjson, telemetry or edgedelta)",
		"https://h?token=${env:MISSING}":            "${env:MISSING}: the variable is empty",
		"https://h?colour=secret":                   `unknown option "colour"`,
		"https://h?region=secret":                   "unknown option region",
		"https://u:secret@h?token=secret":           "token and another authorization",
		"${env:POST}?query=a":                       "holds a query",
		"firehose://":                               "stream is missing",
		"firehose://s?compression=gzip":             "option compression",
		"firehose://s?layout=native":                "unknown option layout",
		"s3://b?region=a&region=b":                  "given twice",
		"s3://b?%zz":                                "its options are not like",
		"s3://${env:MISSING}":                       "${env:MISSING}: the variable is empty",
		"s3://${vault:name}":                        "not like ${env:NAME}",
		"${ssm:/url}":                               "its scheme must be known",
		"${ssm:/kind}://h":                          "its scheme must be known",
		"s3://b?layout=${ssm:/x}":                   "option layout: it must be known before",
		"s3://b?batch_bytes=%24%7Bssm:x%7D":         "option batch_bytes: it must be known before",
		"https://h:${ssm:/port}/":                   "it is not a URL",
		"https://h?token=${ssm:}":                   "not like ${ssm:NAME}",
		"https://h?region=${ssm:/x}":                "unknown option region",
		"firehose://${ssm:/stream}?x=1":             `unknown option "x"`,
		"file://relative/x":                         "file",
		"otlp+http://":                              "host",
		"otlp+http://h:1?header.x=${env:":           "not like ${env:NAME}",
		"s3://b?fallback=gopher%3A%2F%2Fx":          "option fallback=gopher://x: unknown scheme",
		"otlp+http://h?fallback=s3%3A%2F%2Fb":       "of the same format",
		"s3://b?fallback=s3%3A%2F%2Fc%3Ffallback=x": "cannot have a fallback itself",
	}
	for raw, want := range tests {
		c, errs := Load(environment(map[string]string{"SLIPSTREAM_DESTINATIONS": "x", "AWS_REGION": "eu-west-1",
			"WHOLE": "s3://b?region=secret", "POST": "https://h?secret"}))
		if len(errs) > 0 {
			t.Fatal(errs)
		}
		_, _, err := openDestination(&c, raw, "", &telemetry.Resource{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", raw, err, want)
		}
		if err != nil && strings.Contains(strings.ReplaceAll(err.Error(), " secret is", ""), "secret") {
			t.Errorf("%s: the error tells the secret: %v", raw, err)
		}
	}
}

func TestOpenDestination(t *testing.T) {
	c, errs := Load(environment(map[string]string{"SLIPSTREAM_DESTINATIONS": "x", "NAME": "logs"}))
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	tests := map[string]laneConfig{
		"s3://${env:NAME}/p?region=eu-west-1": {
			name: "s3://${env:NAME}/p", encoding: "gzip", limits: flush.Limits{Bytes: 1 << 20, Age: 20 * time.Second},
		},
		"otlp+http://h:4318?types=function&compression=none&batch_age_ms=7&batch_invokes=2": {
			name: "otlp+http://h:4318", types: []string{"function"},
			limits: flush.Limits{Bytes: 256 << 10, Invokes: 2, Age: 7 * time.Millisecond},
		},
		"https://h/p?token=${env:NAME}&compression=zstd": {
			name: "https://h/p", encoding: "zstd", limits: flush.Limits{Bytes: 256 << 10, Age: 20 * time.Second},
		},
		"http://u:p@h:80/${env:NAME}?header.a=b": {
			name: "http://h:80/${env:NAME}", encoding: "gzip", limits: flush.Limits{Bytes: 256 << 10, Age: 20 * time.Second},
		},
		"firehose://${env:NAME}?region=eu-west-1": {
			name: "firehose://${env:NAME}", limits: flush.Limits{Bytes: 1 << 20, Age: 20 * time.Second},
		},
		"file:///tmp?compression=zstd&batch_bytes=9&fallback=s3%3A%2F%2Fb%2Fc%3Fregion%3Dx": {
			name: "file:///tmp", encoding: "zstd", limits: flush.Limits{Bytes: 9, Age: 20 * time.Second},
		},
	}
	for raw, want := range tests {
		lane, to, err := openDestination(&c, raw, "", &telemetry.Resource{EnvironmentID: "e"})
		if err != nil || to == nil {
			t.Fatalf("%s: %v", raw, err)
		}
		want.hash = buffer.LaneHash(raw)
		want.environment, want.sendTimeout, want.pushers, want.native = "e", 5*time.Second, 1, true
		want.hold = 250 * time.Millisecond
		if diff := cmp.Diff(want, lane, cmp.AllowUnexported(laneConfig{}), cmpopts.EquateEmpty(),
			cmpopts.IgnoreFields(laneConfig{}, "encoder", "reencode", "fallback")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", raw, diff)
		}
		if fallback := strings.Contains(raw, "fallback"); fallback != (lane.fallback != nil) {
			t.Errorf("%s: fallback %v", raw, lane.fallback)
		}
		if lane.wants("platform.start") != (len(want.types) == 0) || !lane.wants("function") {
			t.Errorf("%s: wants the wrong types", raw)
		}
	}
}

func TestPublicName(t *testing.T) {
	for raw, want := range map[string]string{
		"s3://b/p?x=secret":        "s3://b/p",
		"https://me:pw@host/p#pw":  "https://host/p",
		"nonsense":                 "nonsense",
		"otlp+http://h:4318/a?b=c": "otlp+http://h:4318/a",
	} {
		if got := publicName(raw); got != want {
			t.Errorf("publicName(%q) = %q, want %q", raw, got, want)
		}
	}
}

// The guide's tables of keys are those of the code, and every detector has its
// words.
func TestReferenceOfRedaction(t *testing.T) {
	all, err := redact.ParseDetectors("all")
	var documented []string
	for _, d := range detectorDocs {
		documented = append(documented, d[0])
	}
	if err != nil || all.String() != strings.Join(documented, ",") {
		t.Errorf("documented are %v, there are %s", documented, all)
	}
	const page, from, to = "../docs/guides/redaction.md", "<!-- from edge/reference.go -->\n", "<!-- to here -->"
	have, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(have), from)
	tables, after, closed := strings.Cut(rest, to)
	if !found || !closed {
		t.Fatalf("%s has no marks for its tables", page)
	}
	if want := "\n" + keyTables() + "\n"; *update {
		if err := os.WriteFile(page, []byte(before+from+want+to+after), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if diff := cmp.Diff(want, tables); diff != "" {
		t.Errorf("%s is not what the code says; run `go test ./edge -run Reference -update`:\n%s", page, diff)
	}
}

func TestReferencePageIsUpToDate(t *testing.T) {
	const page = "../docs/configuration.md"
	if *update {
		if err := os.WriteFile(page, []byte(Reference()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Reference(), string(have)); diff != "" {
		t.Errorf("docs/configuration.md is not what the code says; run `go test ./edge -run Reference -update`:\n%s", diff)
	}
}

// An invocation that is held waits for the word of the runtime's end, so that
// must not take all of the hold.
func TestTheHoldLimitsHowLongThePlatformCollects(t *testing.T) {
	for name, tt := range map[string]struct {
		strategy            flush.Strategy
		timeout, hold, want time.Duration
	}{
		"short enough":     {flush.End, 100 * time.Millisecond, 250 * time.Millisecond, 100 * time.Millisecond},
		"too long":         {flush.End, time.Second, 250 * time.Millisecond, 125 * time.Millisecond},
		"it may hold":      {flush.Adaptive, time.Second, 250 * time.Millisecond, 125 * time.Millisecond},
		"Lambda's least":   {flush.End, time.Second, 10 * time.Millisecond, 25 * time.Millisecond},
		"it holds nothing": {flush.Periodic, time.Second, 250 * time.Millisecond, time.Second},
	} {
		c := Config{Strategy: tt.strategy, TelemetryTimeout: tt.timeout, MaxHold: tt.hold}
		if got := c.collect(); got != tt.want {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}
