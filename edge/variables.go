package edge

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"slipstream/edge/flush"
	"slipstream/process/platform"
)

// variable is one setting: its name, default and meaning for the reference, and
// how its text gets into the Config.
type variable struct {
	name  string
	value string // the default, empty for none
	doc   string
	set   func(*Config, string) error
}

func (v variable) fallback() string {
	if v.value == "" {
		return "none"
	}
	return v.value
}

// The two APIs that deliver telemetry.
const (
	apiTelemetry = "telemetry"
	apiLogs      = "logs"
)

// variables is every variable that the extension reads, in the order of the
// reference. Entries without set are read where they are used.
var variables = []variable{
	{"SLIPSTREAM_DESTINATIONS", "", "Where records go: URLs, separated by commas or spaces. Each gets everything " +
		"unless its own `types` says otherwise. See [Destinations](#destinations).", setDestinations},
	{"SLIPSTREAM_LOG_TYPES", "platform,function", "What to collect: `platform`, `function`, `extension`, " +
		"separated by commas.", setLogTypes},
	{"SLIPSTREAM_MAX_STALENESS", "20s", "How old a record may become before it is sent, while invocations go on: " +
		"a Go duration, 100ms to 15m.", durationVar(100*time.Millisecond, 15*time.Minute,
		func(c *Config) *time.Duration { return &c.MaxStaleness })},
	{"SLIPSTREAM_BATCH_BYTES", "0", "Encoded bytes that close a batch, 1024 to 8388608. 0 takes the destination's " +
		"own: 1048576 for `s3`, `file` and `firehose`, 262144 for `otlp` and `https`.", numberVar(1<<10, 8<<20, true,
		func(c *Config) *int { return &c.BatchBytes })},
	{"SLIPSTREAM_BATCH_INVOKES", "0", "Invocations that close a batch, 1 to 100000. 0 turns this trigger off.",
		numberVar(1, 100_000, true, func(c *Config) *int { return &c.BatchInvokes })},
	{"SLIPSTREAM_BUFFER_BYTES", "8388608", "Memory for records that are not delivered yet, all destinations " +
		"together, 1048576 to 1073741824. When it is full, the platform is asked to hold on to what it has.",
		numberVar(1<<20, 1<<30, false, func(c *Config) *int { return &c.BufferBytes })},
	{"SLIPSTREAM_SEND_TIMEOUT_MS", "5000", "Time for one try to send a batch, 100 to 60000.",
		millisVar(100, 60_000, func(c *Config) *time.Duration { return &c.SendTimeout })},
	{"SLIPSTREAM_FLUSH", string(flush.Adaptive), "When records are sent: `end` of each invocation, which is held " +
		"until they are; `periodic`, when a batch is full or old enough, holding nothing; `continuous`, whatever is " +
		"there, holding nothing; `adaptive` is `end` while invocations are further apart than " +
		"SLIPSTREAM_MAX_STALENESS, else `periodic`.", setStrategy},
	{"SLIPSTREAM_MAX_HOLD_MS", "250", "The longest that an invocation is held after the runtime is done, 0 to 5000. " +
		"The response is never held. A destination that takes longer is not waited for again until it answers.",
		millisVar(0, 5000, func(c *Config) *time.Duration { return &c.MaxHold })},
	{"SLIPSTREAM_SHUTDOWN_WAIT_MS", "300", "How long to wait at SHUTDOWN for the records that the platform still " +
		"owes, 0 to 1000. The wait ends as soon as the last one is there.",
		millisVar(0, 1000, func(c *Config) *time.Duration { return &c.ShutdownWait })},
	{"SLIPSTREAM_TELEMETRY_API", apiTelemetry, "`telemetry` (schema 2022-12-13) or `logs`, the older Logs API " +
		"(schema 2021-03-18).", setTelemetryAPI},
	{"SLIPSTREAM_TELEMETRY_PORT", "0", "Port of the receiver, 1024 to 65535 but not 9001; 0 takes a free one. A " +
		"port that is taken is a warning.", setTelemetryPort},
	{"SLIPSTREAM_TELEMETRY_MAX_ITEMS", "10000", "Records that the platform collects before it posts, 1000 to 10000.",
		numberVar(1000, 10_000, false, func(c *Config) *int { return &c.TelemetryMaxItems })},
	{"SLIPSTREAM_TELEMETRY_MAX_BYTES", "262144", "Bytes that the platform collects before it posts, 262144 to " +
		"1048576.", numberVar(256<<10, 1<<20, false, func(c *Config) *int { return &c.TelemetryMaxBytes })},
	{"SLIPSTREAM_TELEMETRY_TIMEOUT_MS", "25", "Time that the platform collects before it posts, 25 to 30000; with " +
		"SLIPSTREAM_FLUSH `end` and `adaptive` at most half of SLIPSTREAM_MAX_HOLD_MS, because an invocation that is " +
		"held waits for it.",
		millisVar(25, 30_000, func(c *Config) *time.Duration { return &c.TelemetryTimeout })},
	{"SLIPSTREAM_LISTEN", standardListen, "What to take from the function itself, separated by commas: " +
		listenersDoc() + ". `all` are all of them, `none` is none; `name=address` moves one to another loopback " +
		"address. A port that is taken is a warning.", setListen},
	{"SLIPSTREAM_FORWARD", "", "Requests of vendors' agents that are taken on the port of `otlp`, answered at once " +
		"and sent later, unread and so not redacted: `/path=https://collector.{region}.example.com`, separated " +
		"by commas. `{region}` is the function's.", textVar(func(c *Config) *string { return &c.Forward })},
	{"SLIPSTREAM_REDACT", "default", "What is found and masked by its form before anything is buffered: names of " +
		"[detectors](#redaction), `default`, `all` or `none`; `+name` adds one, `-name` takes one out. Values of " +
		"secret keys are " +
		"masked besides. `off` is no redaction at all.", textVar(func(c *Config) *string { return &c.Policy.Redact })},
	{"SLIPSTREAM_REDACT_ACTION", "mask", "What becomes of what is found: `mask` (`****`), `remove`, or `hash`, the " +
		"same for " +
		"the same value. For one detector, or for keys, `email=hash,key=remove`.",
		textVar(func(c *Config) *string { return &c.Policy.Actions })},
	{"SLIPSTREAM_REDACT_HASH_KEY", "", "The key of `hash`, at least 16 bytes, by reference: " +
		"`${secretsmanager:name#key}`. " +
		"Until it is there, and without one, `hash` masks.",
		textVar(func(c *Config) *string { return &c.Policy.HashKey })},
	{"SLIPSTREAM_REDACT_KEYS", "", "Further keys whose values are secret, by RE2's patterns, whatever the case: " +
		"separated by " +
		"commas, or a JSON list.", textVar(func(c *Config) *string { return &c.Policy.Keys })},
	{"SLIPSTREAM_REDACT_ALLOW_KEYS", "", "Keys whose values are no secrets, in the same form.",
		textVar(func(c *Config) *string { return &c.Policy.Allow })},
	{"SLIPSTREAM_REDACT_DOMAINS", "", "Further hosts of whose calls neither body nor headers are kept, in the same " +
		"form. " +
		"Those of Secrets Manager, Systems Manager, KMS and STS never are.",
		textVar(func(c *Config) *string { return &c.Policy.Domains })},
	{"SLIPSTREAM_REDACT_RULES", "", "Your own rules, a JSON list: `[{\"name\":\"order\",\"pattern\":\"ord-\\\\d+\"," +
		"\"action\":\"mask\",\"replacement\":\"ord-***\",\"keys\":\"note\"}]`; all but `pattern` may be left out.",
		textVar(func(c *Config) *string { return &c.Policy.Rules })},
	{"SLIPSTREAM_PARSE", "true", "`true` finds each record's level, message and fields, as loggers and runtimes " +
		"write them.",
		boolVar(func(c *Config) *bool { return &c.Policy.Parse })},
	{"SLIPSTREAM_LIMIT_RECORD_BYTES", "1048576", "The most that is kept of one log record, 1024 to 16777216; the " +
		"rest is cut, " +
		"marked and counted.", numberVar(1<<10, 16<<20, false, func(c *Config) *int { return &c.Policy.RecordBytes })},
	{"SLIPSTREAM_LIMIT_ATTRIBUTE_BYTES", "32768", "The most that is kept of one attribute of a span or log record " +
		"that the " +
		"function exports, 64 to 16777216; 0 for all.",
		numberVar(64, 16<<20, true, func(c *Config) *int { return &c.Policy.AttributeBytes })},
	{"SLIPSTREAM_LIMIT_BODY_BYTES", "2048", "The most that is kept of a captured body, header or query, 64 to " +
		"16777216; 0 for " +
		"all. LUMIGO_MAX_ENTRY_SIZE is understood.",
		numberVar(64, 16<<20, true, func(c *Config) *int { return &c.Policy.BodyBytes })},
	{"SLIPSTREAM_LIMIT_SPANS", "10000", "Spans of one invocation, 1 to 1000000; 0 for all. In the last quarter of " +
		"it spans " +
		"lose what was captured; beyond it ordinary ones are dropped. LUMIGO_MAX_NUMBER_OF_SPANS is understood.",
		numberVar(1, 1_000_000, true, func(c *Config) *int { return &c.Policy.Spans })},
	{"SLIPSTREAM_LIMIT_SPAN_BYTES", "4194304", "Bytes of one invocation's spans, 1024 to 1073741824; 0 for all. " +
		"LUMIGO_MAX_SIZE_FOR_REQUEST is understood.",
		numberVar(1<<10, 1<<30, true, func(c *Config) *int { return &c.Policy.SpanBytes })},
	{"SLIPSTREAM_LIMIT_ON_ERROR", "2", "How many times as much is kept of what failed, and of the function's own " +
		"span, 1 to 100.",
		setOnError},
	{"SLIPSTREAM_FILTER", "", "Which records are dropped, a JSON list of rules of which the first that fits decides: " +
		"`[{\"drop\":{\"type\":\"start/end/report\"}},{\"keep\":{\"level\":\">=warn\"}}," +
		"{\"drop\":{\"message\":\"~^GET /health\"}}," +
		"{\"drop\":{\"field\":\"path\",\"equals\":\"/health\"}}]`.",
		textVar(func(c *Config) *string { return &c.Policy.Filter })},
	{"SLIPSTREAM_RATE_LIMITS", "", "How many records go on, a JSON list: " +
		"`[{\"limit\":{\"level\":\"debug\"},\"records\":100," +
		"\"every\":\"1s\",\"burst\":200,\"per\":\"message\"}]`; `per` is `message`, `request` or a field. A record of type " +
		"`slipstream.cut` says how many were cut.", textVar(func(c *Config) *string { return &c.Policy.RateLimits })},
	{"SLIPSTREAM_REPEATS_MS", "0", "For how long equal lines of an invocation are counted instead of repeated, 100 " +
		"to 600000; 0 " +
		"is off.", offOrMillis(100, 600_000, func(c *Config) *time.Duration { return &c.Policy.Repeats })},
	{"SLIPSTREAM_SAMPLE", "1", "Keeps one in so many invocations with every record, 1 to 1000000, and each that " +
		"failed or was " +
		"slow; `0` those alone. Records wait until their invocation's end is known. Metrics are always kept.",
		numberVar(0, 1_000_000, true, func(c *Config) *int { return &c.Policy.SampleOneIn })},
	{"SLIPSTREAM_SAMPLE_SLOW_MS", "0", "From which duration on an invocation is kept, 1 to 900000; 0 is off.",
		offOrMillis(1, 900_000, func(c *Config) *time.Duration { return &c.Policy.SampleSlow })},
	{"SLIPSTREAM_SAMPLE_PLATFORM", "false", "`true` drops the platform's events with their invocation.",
		boolVar(func(c *Config) *bool { return &c.Policy.SamplePlatform })},
	{"SLIPSTREAM_SAMPLE_EXPORTS", "true", "`false` keeps the spans and log records that the function exports itself, of " +
		"every invocation.", boolVar(func(c *Config) *bool { return &c.Policy.SampleExports })},
	{"SLIPSTREAM_SAMPLE_BYTES", "4194304", "How much may wait, 65536 to 268435456. What is more is kept.",
		numberVar(64<<10, 256<<20, false, func(c *Config) *int { return &c.Policy.SampleBytes })},
	{"SLIPSTREAM_ROLLUP", "true", "`true` makes one data point of what a metric's series was within a while, so that " +
		"none overwrites another. What cannot be put together without loss (running totals, histograms with bounds, " +
		"exemplars) passes unchanged. `false` sends each point as it came.",
		boolVar(func(c *Config) *bool { return &c.Metrics.Rollup })},
	{"SLIPSTREAM_ROLLUP_WIDTH", "1m", "The while: 10s, 1m, 1h or 24h. It is sent in parts if it is longer than " +
		"SLIPSTREAM_MAX_STALENESS.", setWidth},
	{"SLIPSTREAM_ROLLUP_LATENESS", "5s", "How long it waits for points that come late, 0s to 1h. Later ones are a " +
		"part of their own.", durationVar(0, time.Hour, func(c *Config) *time.Duration { return &c.Metrics.Lateness })},
	{"SLIPSTREAM_ROLLUP_SERIES", "2000", "Series within it, 10 to 100000. The points of more go to one series of their " +
		"name with `otel.metric.overflow`.",
		numberVar(10, 100_000, false, func(c *Config) *int { return &c.Metrics.Series })},
	{"SLIPSTREAM_ROLLUP_BYTES", "4194304", "Memory for all of it, about, 65536 to 268435456. When it is nearly full, " +
		"what is there is sent.",
		numberVar(64<<10, 256<<20, false, func(c *Config) *int { return &c.Metrics.Bytes })},
	{"SLIPSTREAM_METRIC_FILTERS", "", "Metrics out of log lines: a JSON list of metric filters as CloudWatch Logs has " +
		"them, see [metrics from logs](guides/metrics-from-logs.md).",
		textVar(func(c *Config) *string { return &c.Metrics.Filters })},
	{"SLIPSTREAM_EMF", byMeans, "What becomes of documents of CloudWatch's embedded metric format: `keep` makes metrics " +
		"of them, which stay records too, `consume` keeps no record, `off` makes none. `auto` is `keep` where a " +
		"destination is there for metrics: by its format, or its `types`, or as `otlp` is.",
		wordVar(func(c *Config) *string { return &c.Metrics.EMF }, byMeans, "keep", "consume", "off")},
	{"SLIPSTREAM_METRIC_LINES", byMeans, "The same of lines that begin with `[METRIC]`.",
		wordVar(func(c *Config) *string { return &c.Metrics.Lines }, byMeans, "keep", "consume", "off")},
	{"SLIPSTREAM_PLATFORM_METRICS", byMeans, "`true` makes [metrics](platform-metrics.md) of the platform's events: " +
		"invocations, errors, durations, memory, cost; and, with SLIPSTREAM_SELF_METRICS, of our own counters. `auto` is " +
		"`true` where a destination is there for metrics.",
		wordVar(func(c *Config) *string { return &c.Metrics.Platform }, byMeans, "true", "false")},
	{"SLIPSTREAM_HOST_METRICS", byMeans, "`true` measures at the end of each invocation what the environment uses: CPU, " +
		"memory, network, /tmp, files. `auto` is as SLIPSTREAM_PLATFORM_METRICS.",
		wordVar(func(c *Config) *string { return &c.Metrics.Host }, byMeans, "true", "false")},
	{"SLIPSTREAM_METRIC_NAMES", "otel", "By whose names these two go: `otel`, `cloudwatch` or `datadog`.", setNames},
	{"LUMIGO_SECRET_MASKING_REGEX, LUMIGO_BLACKLIST_REGEX", "", "Lumigo's variables for secret keys are " +
		"understood, also the " +
		"ones for single parts (`…_HTTP_REQUEST_HEADERS`), LUMIGO_SECRET_MASKING_EXACT_PATH, " +
		"LUMIGO_WHITELIST_KEYS_REGEXES and LUMIGO_DOMAINS_SCRUBBER.", nil},
	{"LUMIGO_MAX_ENTRY_SIZE, LUMIGO_MAX_SIZE_FOR_REQUEST", "", "Lumigo's limits, and the same with `_ON_ERROR`.", nil},
	{"SLIPSTREAM_SPOOL_DIR", "/tmp/slipstream", "The folder for what is not delivered yet: it outlives the extension's " +
		"process, not the environment. `none` keeps everything in memory.", setSpoolDir},
	{"SLIPSTREAM_SPOOL_BYTES", "0", "The most that undelivered batches may take on the disk, 1048576 to 10737418240. 0 " +
		"is 64 MiB, or a quarter of the file system if that is less. When it is full, batches stay in memory.",
		setSpoolBytes},
	{"SLIPSTREAM_SELF_METRICS", "true", "`true` adds one record of type `slipstream.metrics` at SHUTDOWN, in our own " +
		"formats: what came in, was delivered, spooled and dropped.",
		boolVar(func(c *Config) *bool { return &c.SelfMetrics })},
	{"SLIPSTREAM_STRICT", "false", "`true` makes a configuration error end Init (`Extension.ConfigInvalid`). " +
		"Otherwise it is one line in the log and the function runs.", boolVar(func(c *Config) *bool { return &c.Strict })},
	{"SLIPSTREAM_LOG_LEVEL", "info", "What the extension says of itself: `debug`, `info`, `warn` or `error`.",
		setLogLevel},
	{configFileVariable, "", "A YAML file with settings, in the function's package or in a layer: " +
		"`/var/task/slipstream.yaml`, `/opt/slipstream.yaml`. See [The file](#the-file).",
		textVar(func(c *Config) *string { return &c.File })},
	{"ADAPTIVE_BATCHING_EXTENSION_S3_BUCKET", "", "Drop-in mode of AWS's adaptive batching sample: the bucket, " +
		"created if it does not exist.", nil},
	{"ADAPTIVE_BATCHING_EXTENSION_SHIP_RATE_BYTES", "4096", "Drop-in mode: bytes that close a file, at most " +
		"52428800. 0 or less closes one at each invocation.", nil},
	{"ADAPTIVE_BATCHING_EXTENSION_SHIP_RATE_INVOKES", "10", "Drop-in mode: invocations that close a file. 0 or " +
		"less closes one at each invocation.", nil},
	{"ADAPTIVE_BATCHING_EXTENSION_SHIP_RATE_MILLISECONDS", "10000", "Drop-in mode: milliseconds that close a file. " +
		"0 or less closes one at each invocation.", nil},
	{"ADAPTIVE_BATCHING_EXTENSION_LOG_TYPES", `["platform","function"]`, "Drop-in mode: what to collect, a JSON " +
		"array. SLIPSTREAM_LOG_TYPES, if set, wins.", nil},
	{"ED_ENDPOINT", "", "Drop-in mode of Edge Delta's extension: where to post its records, `https` with " +
		"`format=edgedelta` and no compression. It is in no message. [References](#secrets) may stand in it, but for the " +
		"scheme.", nil},
	{"PUSHER_MODE", "http", "Drop-in mode: `http` posts to ED_ENDPOINT, `kinesis` puts to the Firehose stream " +
		"KINESIS_ENDPOINT.", nil},
	{"KINESIS_ENDPOINT", "", "Drop-in mode: the name of a Firehose stream, used with `PUSHER_MODE=kinesis` only.", nil},
	{"ED_FORWARD_LAMBDA_TAGS", "false", "Drop-in mode: `true` adds memory size, architecture, runtime and tags of " +
		"the function. Runtime and tags need `lambda:GetFunction`, asked once, after Init; without it there is a " +
		"warning.", nil},
	{"ED_TAG_PREFIX", "", "Drop-in mode: stands before the name of each tag.", nil},
	{"ED_FLUSH_AT_NEXT_INVOKE", "false", "Drop-in mode: `true` sends when the next invocation begins (strategy " +
		"`periodic`) instead of at each one's end (`end`).", nil},
	{"ED_PRINT_EXTENSION_LOGS", "false", "Drop-in mode: `true` logs at level `info`, else `warn`. " +
		"SLIPSTREAM_LOG_LEVEL, if set, wins.", nil},
	{"ED_BUFFER_SIZE_MB", "20", "Drop-in mode: memory in millions of bytes, 1 to 1000. SLIPSTREAM_BUFFER_BYTES, if " +
		"set, wins.", nil},
	{"ED_PUSH_TIMEOUT_SEC", "5", "Drop-in mode: seconds for one try to send, 1 to 60. SLIPSTREAM_SEND_TIMEOUT_MS, if " +
		"set, wins.", nil},
	{"ED_RETRY_INTERVAL_MS", "100", "Drop-in mode: milliseconds that bound the first wait after a failure, 1 to " +
		"60000. The next ones grow.", nil},
	{"ED_LAMBDA_MAX_ITEMS, ED_LAMBDA_MAX_BYTES, ED_LAMBDA_TIMEOUT_MS", "1000, 262144, 1000", "Drop-in mode: what the " +
		"platform collects before it posts. Values that Lambda refuses become the nearest that it takes. " +
		"SLIPSTREAM_TELEMETRY_MAX_ITEMS and so on, if set, win.", nil},
	{"ED_LAMBDA_LOG_TYPES", "platform,function", "Drop-in mode: what to collect, separated by commas. " +
		"SLIPSTREAM_LOG_TYPES, if set, wins.", nil},
	{"AWS_LAMBDA_RUNTIME_API", "", "Set by Lambda: the address of its APIs.",
		textVar(func(c *Config) *string { return &c.RuntimeAPI })},
	{"AWS_LAMBDA_FUNCTION_NAME", "", "Set by Lambda.",
		textVar(func(c *Config) *string { return &c.Function.Name })},
	{"AWS_LAMBDA_FUNCTION_VERSION", "", "Set by Lambda.",
		textVar(func(c *Config) *string { return &c.Function.Version })},
	{"AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "", "Set by Lambda, in MB.",
		numberVar(1, 1<<20, true, func(c *Config) *int { return &c.Function.MemoryMB })},
	{"AWS_LAMBDA_INITIALIZATION_TYPE", "", "Set by Lambda. With `lambda-managed-instances` sending is continuous; " +
		"with `snap-start` nothing is sent before the restore, and each restored environment has its own identity.",
		textVar(func(c *Config) *string { return &c.Function.InitType })},
	{"AWS_DEFAULT_REGION", "", "Region, if AWS_REGION is not set.",
		textVar(func(c *Config) *string { return &c.Function.Region })},
	{"AWS_REGION", "", "Region of the function, and of bucket or stream unless the URL says otherwise.",
		textVar(func(c *Config) *string { return &c.Function.Region })},
	{"AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN", "", "Set by Lambda from the function's role; " +
		"read at each send.", nil},
	{"AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL_FIREHOSE, AWS_ENDPOINT_URL_LAMBDA, AWS_ENDPOINT_URL_SECRETS_MANAGER, " +
		"AWS_ENDPOINT_URL_SSM, AWS_ENDPOINT_URL_KMS, AWS_ENDPOINT_URL", "", "Other " +
		"servers for single services, or for all; S3 buckets are addressed by path there.", nil},
	{"OTEL_EXPORTER_OTLP_HEADERS, OTEL_EXPORTER_OTLP_LOGS_HEADERS", "", "Headers of `otlp+http(s)`, and the " +
		"same for TRACES and METRICS: `name=value` pairs, separated by commas, percent-encoded. A value may be a " +
		"[reference](#secrets) to a secret of AWS.", nil},
	{"OTEL_SERVICE_NAME", "", "The resource's `service.name`; the function's name unless set.",
		textVar(func(c *Config) *string { return &c.Function.ServiceName })},
	{"OTEL_RESOURCE_ATTRIBUTES", "", "More attributes of the resource: `key=value` pairs, separated by commas, " +
		"percent-encoded, at most 64.", setAttributes},
}

// listenersDoc describes the local listeners for the reference.
func listenersDoc() string {
	var b strings.Builder
	for i, l := range localListeners {
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString("`" + l.name + "`")
		if l.port != "" {
			b.WriteString(" (" + l.port + ")")
		}
		b.WriteString(", " + l.doc)
	}
	return b.String()
}

func setSpoolDir(c *Config, text string) error {
	switch {
	case text == "none":
		c.SpoolDir = ""
	case !filepath.IsAbs(text):
		return errors.New("not an absolute path")
	default:
		c.SpoolDir = filepath.Clean(text)
	}
	return nil
}

func setSpoolBytes(c *Config, text string) error {
	var n int
	err := numberVar(1<<20, 10<<30, true, func(*Config) *int { return &n })(c, text)
	c.SpoolBytes = int64(n)
	return err
}

func setStrategy(c *Config, text string) error {
	c.Strategy = flush.Strategy(text)
	if !slices.Contains(flush.Strategies(), c.Strategy) {
		return errors.New("use adaptive, end, periodic or continuous")
	}
	return nil
}

func textVar(field func(*Config) *string) func(*Config, string) error {
	return func(c *Config, text string) error {
		*field(c) = text
		return nil
	}
}

// numberVar takes a whole number from low to high, and 0 where it means off.
func numberVar(low, high int, zero bool, field func(*Config) *int) func(*Config, string) error {
	return func(c *Config, text string) error {
		n, err := strconv.Atoi(text)
		if err != nil {
			return errors.New("not a whole number")
		}
		if (n < low || n > high) && (n != 0 || !zero) {
			return fmt.Errorf("out of range %d to %d", low, high)
		}
		*field(c) = n
		return nil
	}
}

// wordVar takes one of a few words.
func wordVar(field func(*Config) *string, words ...string) func(*Config, string) error {
	return func(c *Config, text string) error {
		if !slices.Contains(words, text) {
			return fmt.Errorf("use %s", strings.Join(words, ", "))
		}
		*field(c) = text
		return nil
	}
}

func setWidth(c *Config, text string) error {
	width, err := time.ParseDuration(text)
	if err != nil || !slices.Contains([]time.Duration{10 * time.Second, time.Minute, time.Hour, 24 * time.Hour}, width) {
		return errors.New("use 10s, 1m, 1h or 24h")
	}
	c.Metrics.Width = width
	return nil
}

func setNames(c *Config, text string) (err error) {
	c.Metrics.Names, err = platform.ParseNames(text)
	return err
}

func millisVar(low, high int, field func(*Config) *time.Duration) func(*Config, string) error {
	return func(c *Config, text string) error {
		var n int
		if err := numberVar(low, high, false, func(*Config) *int { return &n })(c, text); err != nil {
			return fmt.Errorf("%w (milliseconds)", err)
		}
		*field(c) = time.Duration(n) * time.Millisecond
		return nil
	}
}

func durationVar(low, high time.Duration, field func(*Config) *time.Duration) func(*Config, string) error {
	return func(c *Config, text string) error {
		d, err := time.ParseDuration(text)
		if err != nil {
			return errors.New("not a duration such as 20s")
		}
		if d < low || d > high {
			return fmt.Errorf("out of range %v to %v", low, high)
		}
		*field(c) = d
		return nil
	}
}

func setOnError(c *Config, text string) error {
	factor, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return errors.New("not a number")
	}
	if !(factor >= 1 && factor <= 100) {
		return errors.New("out of range 1 to 100")
	}
	c.Policy.OnError = factor
	return nil
}

// offOrMillis takes milliseconds, and 0 for off.
func offOrMillis(low, high int, field func(*Config) *time.Duration) func(*Config, string) error {
	return func(c *Config, text string) error {
		if text == "0" {
			*field(c) = 0
			return nil
		}
		return millisVar(low, high, field)(c, text)
	}
}

// fields splits a list at commas and white space.
func fields(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(", \t\r\n", r) })
}

func setDestinations(c *Config, text string) error {
	c.Destinations = fields(text)
	return nil
}

var logTypes = []string{"platform", "function", "extension"}

func setLogTypes(c *Config, text string) error {
	types := fields(text)
	for _, t := range types {
		if !slices.Contains(logTypes, t) {
			return fmt.Errorf("unknown type %q (use platform, function, extension)", t)
		}
	}
	if len(types) == 0 {
		return errors.New("no type in it")
	}
	slices.Sort(types)
	c.LogTypes = slices.Compact(types)
	return nil
}

func setTelemetryAPI(c *Config, text string) error {
	if text != apiTelemetry && text != apiLogs {
		return errors.New("unknown (use telemetry or logs)")
	}
	c.TelemetryAPI = text
	return nil
}

func setTelemetryPort(c *Config, text string) error {
	if text == "9001" {
		return errors.New("the port belongs to the platform")
	}
	return numberVar(1024, 65535, true, func(c *Config) *int { return &c.TelemetryPort })(c, text)
}

func boolVar(field func(*Config) *bool) func(*Config, string) error {
	return func(c *Config, text string) error {
		value, err := strconv.ParseBool(text)
		if err != nil {
			return errors.New("not true or false")
		}
		*field(c) = value
		return nil
	}
}

func setLogLevel(c *Config, text string) error {
	if err := c.LogLevel.UnmarshalText([]byte(text)); err != nil {
		c.LogLevel = slog.LevelInfo
		return errors.New("unknown level (use debug, info, warn or error)")
	}
	return nil
}

// setAttributes reads the form of OpenTelemetry's resource SDK.
func setAttributes(c *Config, text string) error {
	const most = 64
	attributes := map[string]string{}
	for pair := range strings.SplitSeq(text, ",") {
		key, value, ok := strings.Cut(pair, "=")
		plain, err := url.PathUnescape(strings.TrimSpace(value))
		if key = strings.TrimSpace(key); !ok || key == "" || err != nil {
			return fmt.Errorf("%q is not key=value", pair)
		}
		attributes[key] = plain
	}
	if len(attributes) > most {
		return fmt.Errorf("more than %d attributes", most)
	}
	c.Function.Attributes = attributes
	return nil
}
