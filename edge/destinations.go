package edge

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"slipstream/destination"
	"slipstream/edge/buffer"
	"slipstream/edge/flush"
	"slipstream/telemetry"
	"slipstream/wire"
)

// scheme is one kind of destination.
type scheme struct {
	name       string
	example    string
	doc        string
	batchBytes int
	signals    []telemetry.Signal // the only ones it has a place for; none for everything
	open       func(u *url.URL, c *Config, res *telemetry.Resource, lane *laneConfig) (destination.Destination, error)
}

// schemes is every kind there is.
var schemes = []scheme{
	{"s3", "s3://bucket/prefix", "Objects in S3, or in a server that speaks its protocol: one object a batch, " +
		"below `year=/month=/day=/hour=`.", 1 << 20, nil, openS3},
	{"file", "file:///folder", "Files in a folder, named like the objects in S3.", 1 << 20, nil, openFile},
	{"otlp+http", "otlp+http://host:4318", "OpenTelemetry logs over HTTP, protobuf.", 256 << 10, nil, openOTLP},
	{"otlp+https", "otlp+https://host:4318", "The same over TLS.", 256 << 10, nil, openOTLP},
	{"https", "https://host/path", "Any endpoint that takes a POST of lines: one request a batch, its id as the " +
		"`Idempotency-Key`. A path or host that is secret comes by reference and then is in no message.",
		256 << 10, nil, openHTTPS},
	{"http", "http://host/path", "The same without TLS.", 256 << 10, nil, openHTTPS},
	{"firehose", "firehose://stream", "A stream of Amazon Data Firehose: the lines in records of up to 1,000 KiB, " +
		"not compressed.", 1 << 20, nil, openFirehose},
	{"wavefront+tcp", "wavefront+tcp://proxy:2878", "Metrics, distributions and spans for a Wavefront proxy. Nothing " +
		"answers there: what the proxy refuses only its log tells.", 128 << 10, metricsAndTraces, openWavefront},
	{"wavefront+https", "wavefront+https://tenant", "The same by direct ingestion, with `token`.", 128 << 10,
		metricsAndTraces, openWavefront},
	{"wavefront+http", "wavefront+http://proxy:2878/", "The same over HTTP without TLS.", 128 << 10, metricsAndTraces,
		openWavefront},
	{"prometheus+http", "prometheus+http://host:9090", "Metrics by Prometheus' remote write 2.0, to `/api/v1/write` " +
		"unless there is a path. It takes cumulative metrics only.", 256 << 10, onlyMetrics, openPrometheus},
	{"prometheus+https", "prometheus+https://host", "The same over TLS.", 256 << 10, onlyMetrics, openPrometheus},
	{"statsd", "statsd://host:8125", "Metrics as StatsD's packets over UDP. What is lost on the way is lost unseen.",
		64 << 10, onlyMetrics, openStatsD},
	{"statsd+unix", "statsd+unix:///path", "The same to a Unix socket.", 64 << 10, onlyMetrics, openStatsD},
	{"emf+stdout", "emf+stdout:", "Metrics as CloudWatch's embedded metric format in the extension's own log.",
		64 << 10, onlyMetrics, openEMF},
	{"emf+file", "emf+file:///folder", "The same as files in a folder.", 256 << 10, onlyMetrics, openEMF},
}

// option is one query parameter of a destination's URL.
type option struct{ name, where, value, doc string }

// options is every query parameter that a destination understands, except
// header.NAME.
var options = []option{
	{"compression", "all", "`gzip`", "`gzip`, `zstd` or `none`; `firehose` has none, and formats of metrics " +
		"only have their own."},
	{"types", "all", "everything", "Only these: `platform`, `function`, `extension`, and what the " +
		"local listeners take: `logs`, `traces`, `metrics`; separated by `%2C`, since a comma ends the destination."},
	{"batch_bytes", "all", "SLIPSTREAM_BATCH_BYTES", "Encoded bytes that close a batch."},
	{"batch_invokes", "all", "SLIPSTREAM_BATCH_INVOKES", "Invocations that close a batch; 0 for off."},
	{"batch_age_ms", "all", "SLIPSTREAM_MAX_STALENESS", "Milliseconds after its first record that close a batch."},
	{"fallback", "all", "", "A destination of the same format that takes at SHUTDOWN what this one does not: a URL, " +
		"percent-encoded."},
	{"format", "formats of lines", "`ndjson`", "`ndjson`, our own flat lines; `telemetry`, the platform's events as " +
		"they came; or `edgedelta`, the records of Edge Delta's extension, which has them for `function`, " +
		"`platform.start`, `platform.runtimeDone` and `platform.report` only: other events do not go to that " +
		"destination. For `statsd`: `dogstatsd`, the default there, `statsd` with tags, or `etsy` without."},
	{"layout", "s3, file", "`native`", "Names: `native` by time, or `sample` as AWS's adaptive batching sample."},
	{"region", "s3, firehose", "AWS_REGION", "The bucket's or stream's region."},
	{"endpoint", "s3, firehose", "AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL_FIREHOSE", "Another server."},
	{"path_style", "s3", "with an endpoint", "`true` puts the bucket into the path."},
	{"create_bucket", "s3", "`false`", "`true` creates the bucket when it does not exist."},
	{"fsync", "file", "`false`", "`true` waits until a file is on the disk."},
	{"token", "https, prometheus, wavefront+http", "", "Sent as `Authorization: Bearer`; write it as a " +
		"[reference](#secrets)."},
	{"query", "https", "", "The request's own query, escaped once more: `query=a%3D1%26b%3D2`."},
	{"header.NAME", "otlp, https, prometheus, wavefront+http", "", "A header of each request."},
	{"temporality", "otlp", "`delta`", "Which of the extension's own metrics it gets: `delta` or `cumulative`. What " +
		"SDKs send goes on as it is."},
	{"source", "wavefront", "the function's name", "The source of each line."},
	{"trace_port", "wavefront+tcp", "`30001`", "The proxy's port for spans."},
	{"names", "prometheus", "`underscores`", "`underscores` for dots in names, or `utf8`, which keeps them, as " +
		"Prometheus 3 can; units and `_total` are added either way."},
	{"extremes", "prometheus", "`false`", "`true` adds the gauges `_min` and `_max` to each distribution: Prometheus' " +
		"histograms have no place for them."},
	{"namespace", "emf", "`Slipstream`", "CloudWatch's namespace of the metrics."},
	{"distributions", "emf", "`values`", "`values`, at most 1,000 of each distribution; or `counts`, which loses " +
		"nothing and is what OpenTelemetry's exporter writes, but in no specification of AWS."},
	{"resolution", "emf", "`60`", "Seconds, 60 or 1, of CloudWatch's storage."},
}

// continuousAge is how long the continuous strategy collects before it sends.
const continuousAge = time.Second

// openDestination makes what one URL describes, for exports of one signal or,
// without signal, for everything that has no lane of its own. The laneConfig's
// name is good for messages, also with an error.
func openDestination(c *Config, raw string, signal telemetry.Signal, res *telemetry.Resource) (
	laneConfig, destination.Destination, error) {
	lane := c.laneConfig(res)
	lane.name, lane.signal, lane.hash = publicName(raw), signal, buffer.LaneHash(raw)
	if signal != "" {
		lane.name, lane.hash = lane.name+" "+string(signal), buffer.LaneHash(raw+" "+string(signal))
	}
	at, err := readAddress(c, raw, signal)
	if err != nil {
		return lane, nil, err
	}
	u, err := at.url(nil)
	if err != nil {
		return lane, nil, err
	}
	found, err := findScheme(u.Scheme, c.Outside)
	if err != nil {
		return lane, nil, err
	}
	if lane.limits.Bytes == 0 {
		lane.limits.Bytes = found.batchBytes
	}
	if err := laneOptions(u.Query(), &lane); err != nil {
		return lane, nil, err
	}
	lane.native = !slices.Contains([]string{"telemetry", "edgedelta"}, u.Query().Get("format"))
	lane.reencode = func(res *telemetry.Resource) wire.Encoder {
		other := laneConfig{signal: signal}
		if to, err := found.open(u, at.config(nil), res, &other); err == nil {
			_ = to.Close() // it has done nothing
		}
		return other.encoder
	}
	to, err := at.open(found, res, &lane)
	if err != nil {
		return lane, nil, err
	}
	if fallback := u.Query().Get("fallback"); fallback != "" {
		if err := openFallback(fallback, c, res, &lane); err != nil {
			return lane, nil, errors.Join(err, to.Close())
		}
	}
	return lane, to, nil
}

// laneConfig is what every lane begins with.
func (c *Config) laneConfig(res *telemetry.Resource) laneConfig {
	lane := laneConfig{
		encoding: buffer.Gzip, sendTimeout: c.SendTimeout, environment: res.EnvironmentID,
		retryInterval: c.RetryInterval, pushers: c.pushers(), hold: c.MaxHold, random: c.Outside.Random,
		limits: flush.Limits{Bytes: c.BatchBytes, Invokes: c.BatchInvokes, Age: c.MaxStaleness},
	}
	if c.Strategy == flush.Continuous {
		lane.limits.Age = min(lane.limits.Age, continuousAge)
	}
	return lane
}

// openFallback makes the destination that takes at SHUTDOWN what the lane's own
// does not. It gets the same bytes, so it has to take the same format.
func openFallback(raw string, c *Config, res *telemetry.Resource, lane *laneConfig) error {
	if strings.Contains(raw, "fallback=") {
		return fmt.Errorf("option fallback=%s: it cannot have a fallback itself", publicName(raw))
	}
	other, to, err := openDestination(c, raw, lane.signal, res)
	if err != nil {
		return fmt.Errorf("option fallback=%s: %w", publicName(raw), err)
	}
	if other.encoder.ContentType() != lane.encoder.ContentType() {
		return errors.Join(fmt.Errorf("option fallback=%s: it takes %s, not %s; use a destination of the same format",
			publicName(raw), other.encoder.ContentType(), lane.encoder.ContentType()), to.Close())
	}
	lane.fallback = to
	return nil
}

// findScheme gives the scheme of that name, or the simulation's.
func findScheme(name string, outside Outside) (scheme, error) {
	i := slices.IndexFunc(schemes, func(s scheme) bool { return s.name == name })
	if i >= 0 {
		return schemes[i], nil
	}
	if outside.Open == nil {
		return scheme{}, unknownScheme(name)
	}
	return scheme{batchBytes: 1 << 20, open: func(u *url.URL, _ *Config, res *telemetry.Resource,
		lane *laneConfig) (destination.Destination, error) {
		lane.encoder = wire.NDJSON(res)
		return outside.Open(u)
	}}, nil
}

func unknownScheme(scheme string) error {
	hint := "use s3, file, otlp+http, otlp+https, https, http, firehose, wavefront+tcp, wavefront+https, " +
		"prometheus+http, prometheus+https, statsd or emf+stdout"
	if scheme == "" {
		hint += "; the list ends a URL at a comma or space, within one write %2C or %20"
	}
	return fmt.Errorf("unknown scheme %q (%s)", scheme, hint)
}

// laneOptions reads the options that every destination has.
func laneOptions(q url.Values, lane *laneConfig) error {
	for name, low := range map[string]int{"batch_bytes": 0, "batch_invokes": 0, "batch_age_ms": 0} {
		text := q.Get(name)
		if text == "" {
			continue
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < low {
			return fmt.Errorf("option %s=%q: not a whole number of 0 or more", name, text)
		}
		switch name {
		case "batch_bytes":
			lane.limits.Bytes = n
		case "batch_invokes":
			lane.limits.Invokes = n
		case "batch_age_ms":
			lane.limits.Age = time.Duration(n) * time.Millisecond
		}
	}
	switch text := q.Get("compression"); text {
	case "":
	case "none":
		lane.encoding = buffer.Plain
	case buffer.Gzip, buffer.Zstd:
		lane.encoding = text
	default:
		return fmt.Errorf("option compression=%q: unknown (use gzip, zstd or none)", text)
	}
	lane.types = fields(q.Get("types"))
	for _, t := range lane.types {
		if !slices.Contains(logTypes, t) && !slices.Contains(signals, telemetry.Signal(t)) {
			return fmt.Errorf("option types: unknown type %q (use platform, function, extension, logs, traces, metrics)", t)
		}
	}
	return nil
}

// wants tells whether the lane takes records of an event type: the user and the
// format, if it has no place for some, decide.
func (c *laneConfig) wants(eventType string) bool {
	if c.signal != "" {
		return false
	}
	if format, ok := c.encoder.(interface{ Wants(eventType string) bool }); ok && !format.Wants(eventType) {
		return false
	}
	if len(c.types) == 0 {
		return true
	}
	kind, _, _ := strings.Cut(eventType, ".")
	return slices.Contains(c.types, kind)
}

// signals are those that the local listeners take, in the order of their lanes.
var signals = []telemetry.Signal{telemetry.Logs, telemetry.Traces, telemetry.Metrics}

// signalsOf lists the signals of a destination's lanes, "" for one of all else.
func signalsOf(raw string) []telemetry.Signal {
	first, others := lanesOf(raw)
	return append([]telemetry.Signal{first}, others...)
}

// lanesOf are the signal of a destination's first lane, empty where that is for
// all, and those that need a lane of their own, because they go to another path
// than the first.
func lanesOf(raw string) (first telemetry.Signal, others []telemetry.Signal) {
	if strings.HasPrefix(raw, "otlp+") {
		return "", signals
	}
	name, _, _ := strings.Cut(raw, ":")
	i := slices.IndexFunc(schemes, func(s scheme) bool { return s.name == name })
	if i < 0 || len(schemes[i].signals) == 0 {
		return "", nil
	}
	return schemes[i].signals[0], schemes[i].signals[1:]
}

// takesRecords tells whether the user lets the platform's records come here.
func (c *laneConfig) takesRecords() bool {
	return len(c.types) == 0 ||
		slices.ContainsFunc(logTypes, func(t string) bool { return slices.Contains(c.types, t) })
}

// forMetrics tells of a lane that is there for metrics: its format or path is, or the
// user has said so. Of others nobody knows whether whoever reads them expects any.
func (c *laneConfig) forMetrics() bool {
	return c.exports(telemetry.Metrics) != nil &&
		(c.signal == telemetry.Metrics || slices.Contains(c.types, string(telemetry.Metrics)))
}

// exports gives the encoder of a lane that takes exports of the signal, nil for
// one that does not.
func (c *laneConfig) exports(signal telemetry.Signal) buffer.ExportEncoder {
	if len(c.types) > 0 && !slices.Contains(c.types, string(signal)) || c.signal != "" && c.signal != signal {
		return nil
	}
	enc, _ := c.encoder.(buffer.ExportEncoder)
	return enc
}

// lineEncoder is the encoder of every destination that takes lines.
func lineEncoder(q url.Values, c *Config, res *telemetry.Resource) (wire.Encoder, error) {
	switch text := q.Get("format"); text {
	case "", "ndjson":
		return wire.NDJSON(res), nil
	case "telemetry":
		return wire.TelemetryEvents(), nil
	case "edgedelta":
		return wire.EdgeDelta(res, functionDetails(c, res)), nil
	default:
		return nil, fmt.Errorf("option format=%q: unknown (use ndjson, telemetry or edgedelta)", text)
	}
}

// sortedAttributes keeps the resource the same from one start to the next.
func sortedAttributes(m map[string]string) []telemetry.Attribute {
	var list []telemetry.Attribute
	for _, key := range slices.Sorted(maps.Keys(m)) {
		list = append(list, telemetry.Attribute{Key: key, Value: m[key]})
	}
	return list
}
