package edge

import (
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"slipstream/destination/secret"
	"slipstream/edge/flush"
)

// edgeDeltaNames are the variables of Edge Delta's extension that have a meaning
// only together with a place to send to.
var edgeDeltaNames = []string{
	"ED_FORWARD_LAMBDA_TAGS", "ED_FLUSH_AT_NEXT_INVOKE", "ED_PRINT_EXTENSION_LOGS", "ED_BUFFER_SIZE_MB",
	"ED_PUSH_TIMEOUT_SEC", "ED_RETRY_INTERVAL_MS", "ED_LAMBDA_MAX_ITEMS", "ED_LAMBDA_MAX_BYTES", "ED_LAMBDA_TIMEOUT_MS",
	"ED_LAMBDA_LOG_TYPES", "ED_TAG_PREFIX",
}

// edgeDelta puts the variables of Edge Delta's extension into c: its endpoint or
// stream, its records, and when and how it sends. Each error is a value that
// could not be used and what was taken instead; the original ends Init on any.
// SLIPSTREAM_ variables that say the same win.
func edgeDelta(c *Config, getenv func(string) string) []error {
	e := &edgeDeltaEnv{getenv: getenv}
	to := e.destination()
	if to == "" {
		return e.errs
	}
	c.Destinations = append(c.Destinations, to)
	c.ForwardTags = e.flag("ED_FORWARD_LAMBDA_TAGS")
	c.TagPrefix = getenv("ED_TAG_PREFIX")
	strategy := flush.End
	if e.flag("ED_FLUSH_AT_NEXT_INVOKE") {
		strategy = flush.Periodic
	}
	if getenv("SLIPSTREAM_FLUSH") == "" {
		c.Strategy = strategy
	}
	level := slog.LevelWarn
	if e.flag("ED_PRINT_EXTENSION_LOGS") {
		level = slog.LevelInfo
	}
	if getenv("SLIPSTREAM_LOG_LEVEL") == "" {
		c.LogLevel = level
	}
	c.RetryInterval = time.Duration(e.number("ED_RETRY_INTERVAL_MS", 100, 1, 60_000)) * time.Millisecond
	if buffer := e.number("ED_BUFFER_SIZE_MB", 20, 1, 1000); getenv("SLIPSTREAM_BUFFER_BYTES") == "" {
		c.BufferBytes = max(buffer*1_000_000, 1<<20)
	}
	if seconds := e.number("ED_PUSH_TIMEOUT_SEC", 5, 1, 60); getenv("SLIPSTREAM_SEND_TIMEOUT_MS") == "" {
		c.SendTimeout = time.Duration(seconds) * time.Second
	}
	if n := e.clamped("ED_LAMBDA_MAX_ITEMS", 1000, 1000, 10_000); getenv("SLIPSTREAM_TELEMETRY_MAX_ITEMS") == "" {
		c.TelemetryMaxItems = n
	}
	if n := e.clamped("ED_LAMBDA_MAX_BYTES", 256<<10, 256<<10, 1<<20); getenv("SLIPSTREAM_TELEMETRY_MAX_BYTES") == "" {
		c.TelemetryMaxBytes = n
	}
	if n := e.clamped("ED_LAMBDA_TIMEOUT_MS", 1000, 25, 30_000); getenv("SLIPSTREAM_TELEMETRY_TIMEOUT_MS") == "" {
		c.TelemetryTimeout = time.Duration(n) * time.Millisecond
	}
	if getenv("SLIPSTREAM_LOG_TYPES") == "" {
		c.LogTypes = e.logTypes()
	}
	return e.errs
}

// edgeDeltaEnv reads the variables and collects what is wrong with them.
type edgeDeltaEnv struct {
	getenv func(string) string
	errs   []error
}

func (e *edgeDeltaEnv) bad(format string, args ...any) {
	e.errs = append(e.errs, fmt.Errorf("read "+format, args...))
}

// destination is what the variables amount to, "" for none. The endpoint goes
// by reference: whatever in it is a credential, no message holds it.
func (e *edgeDeltaEnv) destination() string {
	endpoint, stream, mode := e.getenv("ED_ENDPOINT"), e.getenv("KINESIS_ENDPOINT"), e.getenv("PUSHER_MODE")
	i := slices.IndexFunc(edgeDeltaNames, func(name string) bool { return e.getenv(name) != "" })
	switch {
	case mode == "kinesis" && stream == "":
		e.bad("PUSHER_MODE=kinesis: KINESIS_ENDPOINT is not set; set it to the name of a Firehose stream")
		return ""
	case mode == "kinesis":
		return "firehose://" + stream + "?format=edgedelta"
	case endpoint == "" && i < 0: // the other two names are anybody's
		return ""
	case mode != "" && mode != "http":
		e.bad("PUSHER_MODE=%q: unknown (use http or kinesis); using http", mode)
	}
	if endpoint == "" {
		if i >= 0 {
			e.bad("%s: it has no effect without ED_ENDPOINT; set the endpoint", edgeDeltaNames[i])
		}
		return ""
	}
	var refs secret.References
	if _, err := refs.Cut(endpoint); err == nil && len(refs) > 0 { // they are resolved in the destination itself
		return withReferences(endpoint)
	}
	return "${env:ED_ENDPOINT}?compression=none&format=edgedelta"
}

// withReferences is the destination of an endpoint that holds references to
// secrets, its own query an option.
func withReferences(endpoint string) string {
	front, own, _ := strings.Cut(endpoint, "?")
	options := url.Values{"compression": {"none"}, "format": {"edgedelta"}}
	if own != "" {
		options.Set("query", own)
	}
	return front + "?" + options.Encode()
}

// flag is on only when the variable is exactly "true".
func (e *edgeDeltaEnv) flag(name string) bool {
	text := e.getenv(name)
	if text != "" && text != "true" && text != "false" {
		e.bad("%s=%q: not true or false; using false", name, text)
	}
	return text == "true"
}

// number reads a whole number from low to high.
func (e *edgeDeltaEnv) number(name string, value, low, high int) int {
	text := e.getenv(name)
	if text == "" {
		return value
	}
	n, err := strconv.Atoi(text)
	switch {
	case err != nil:
		e.bad("%s=%q: not a whole number; using %d", name, text, value)
		return value
	case n < low || n > high:
		e.bad("%s=%q: out of range %d to %d; using %d", name, text, low, high, value)
		return value
	}
	return n
}

// clamped reads a number that Lambda bounds: the original passes on what Lambda
// then refuses, which ends Init.
func (e *edgeDeltaEnv) clamped(name string, value, low, high int) int {
	text := e.getenv(name)
	if text == "" {
		return value
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		e.bad("%s=%q: not a whole number; using %d", name, text, value)
		return value
	}
	if within := min(max(n, low), high); within != n {
		e.bad("%s=%q: Lambda takes %d to %d; using %d", name, text, low, high, within)
		return within
	}
	return n
}

// logTypes reads the list. One that is unknown is left out.
func (e *edgeDeltaEnv) logTypes() []string {
	var types []string
	text := e.getenv("ED_LAMBDA_LOG_TYPES")
	for _, t := range strings.Split(text, ",") {
		switch t = strings.TrimSpace(t); {
		case slices.Contains(logTypes, t):
			types = append(types, t)
		case t != "":
			e.bad("ED_LAMBDA_LOG_TYPES: unknown type %q is left out (use platform, function, extension)", t)
		}
	}
	if len(types) == 0 {
		if text != "" {
			e.bad("ED_LAMBDA_LOG_TYPES=%q: no type left; using platform,function", text)
		}
		types = []string{"platform", "function"}
	}
	slices.Sort(types)
	return slices.Compact(types)
}
