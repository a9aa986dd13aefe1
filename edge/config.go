package edge

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"net"
	"net/url"
	"strings"
	"time"

	"slipstream/destination"
	"slipstream/destination/secret"
	"slipstream/edge/flush"
)

// Config is everything that the extension can be told. Load fills it from the
// environment; docs/configuration.md is made from the same table.
type Config struct {
	File         string   // of settings, beside the variables
	RuntimeAPI   string   // host:port of the Runtime and Extensions API
	Name         string   // the executable's base name; the platform knows us by it
	Destinations []string // URLs
	LogTypes     []string // platform, function, extension
	Strict       bool     // configuration errors end Init
	SelfMetrics  bool     // a record of our own at SHUTDOWN
	LogLevel     slog.Level

	MaxStaleness time.Duration // age that closes a batch
	BatchBytes   int           // encoded bytes that close a batch, 0 for the destination's own
	BatchInvokes int           // invocations that close a batch, 0 for off
	BufferBytes  int           // memory for undelivered records, all destinations together
	SendTimeout  time.Duration // one try
	// RetryInterval bounds the first wait after a failure; 0 for the default.
	RetryInterval time.Duration
	// ForwardTags makes Edge Delta's records tell the function's tags and figures,
	// each tag's name behind TagPrefix.
	ForwardTags  bool
	TagPrefix    string
	ShutdownWait time.Duration // for the last records at SHUTDOWN
	SpoolDir     string        // where undelivered records lie, "" for memory only
	SpoolBytes   int64         // bound of the spool, 0 for its own default
	Strategy     flush.Strategy
	MaxHold      time.Duration // of an invocation, after the runtime is done

	Policy PolicyConfig // what may leave

	Metrics MetricsConfig

	Listen  []listenAt // local listeners
	Forward string     // routes of vendors' agents

	TelemetryAPI      string // telemetry or logs
	OldLogs           bool   // the Logs API as AWS's sample asks for it, without platform.runtimeDone
	TelemetryPort     int
	TelemetryMaxItems int
	TelemetryMaxBytes int
	TelemetryTimeout  time.Duration

	Function Function
	// Getenv reads a variable when it is needed: credentials above all.
	Getenv func(string) string
	// Outside is the world of a simulation; nothing of it is set in Lambda.
	Outside Outside

	secrets  *secret.Store // resolves references to secrets, when they are needed
	settings []Setting     // where each value comes from, in the order of the table
}

// Outside replaces what a simulation cannot have of the machine.
type Outside struct {
	Dial   func(ctx context.Context, network, address string) (net.Conn, error)
	Listen func(network, address string) (net.Listener, error)
	// Open makes the destination of a URL whose scheme is not known.
	Open func(*url.URL) (destination.Destination, error)
	// Wall is the wall clock.
	Wall func() time.Time
	// Random is the jitter of the waits between tries, in [0, 1).
	Random func() float64
}

// Function is what the environment says of the function.
type Function struct {
	Name, Version, Region string
	InitType              string // AWS_LAMBDA_INITIALIZATION_TYPE
	MemoryMB              int
	ServiceName           string            // OTEL_SERVICE_NAME
	Attributes            map[string]string // OTEL_RESOURCE_ATTRIBUTES
}

// Load reads the configuration: of each setting the variable, else what the
// file of SLIPSTREAM_CONFIG_FILE says, else the default. Each error is one of
// them that could not be used and says what was taken instead; the Config is
// good in any case.
func Load(getenv func(string) string) (Config, []error) {
	c := Config{Getenv: getenv, secrets: secret.NewStore(getenv), settings: make([]Setting, 0, len(variables))}
	file, errs := readConfigFile(strings.TrimSpace(getenv(configFileVariable)))
	for _, v := range variables {
		if v.set == nil {
			continue
		}
		variable := given{text: strings.TrimSpace(getenv(v.name)), source: v.name}
		errs = append(errs, c.choose(v, variable, file[v.name])...)
	}
	set := func(name string) string { // of two names for one setting, ours wins: here or in the file
		return first(getenv(name), file[name].text)
	}
	c.derive(behindSample, func() { errs = append(errs, adaptiveBatching(&c, set)...) })
	c.derive(behindEdgeDelta, func() { errs = append(errs, edgeDelta(&c, set)...) })
	if c.managed() {
		c.derive(behindManaged, func() { c.Strategy, c.TelemetryAPI = flush.Continuous, apiTelemetry })
	}
	if len(c.Destinations) == 0 {
		errs = append(errs, errors.New("read SLIPSTREAM_DESTINATIONS: it is empty, so nothing is collected; "+
			"set it to a URL such as s3://bucket/prefix"))
	}
	return c, errs
}

// cpus is the environment's share of CPU: one for each 1,769 MB.
func (c *Config) cpus() float64 { return float64(c.Function.MemoryMB) / 1769 }

// pushers is how many sends of one destination are under way at most.
func (c *Config) pushers() int { return min(max(int(math.Ceil(2*c.cpus())), 1), maxPushers) }

// maxPushers bounds the sends at once: each holds a batch in memory.
const maxPushers = 4

// collect is how long the platform may collect before it posts. Where invocations
// may be held it is at most half of the hold: the rest is for sending, after the
// word of the runtime's end has come.
func (c *Config) collect() time.Duration {
	if c.Strategy != flush.End && c.Strategy != flush.Adaptive {
		return c.TelemetryTimeout
	}
	return min(c.TelemetryTimeout, max(c.MaxHold/2, leastCollect))
}

// leastCollect is Lambda's.
const leastCollect = 25 * time.Millisecond

// apiVersion is the schema version to subscribe with.
func (c *Config) apiVersion() string {
	switch {
	case c.managed():
		return "2025-01-29"
	case c.TelemetryAPI == apiLogs && c.OldLogs && c.Strategy != flush.End: // which waits for platform.runtimeDone
		return "2020-08-15"
	case c.TelemetryAPI == apiLogs:
		return "2021-03-18" // the first with platform.runtimeDone
	}
	return "2022-12-13"
}

// managed tells of managed instances: no INVOKE, no freeze, several invocations
// at once, the Telemetry API only.
func (c *Config) managed() bool { return c.Function.InitType == "lambda-managed-instances" }

// snapshot tells of SnapStart: Init happens once for many environments.
func (c *Config) snapshot() bool { return c.Function.InitType == "snap-start" }
