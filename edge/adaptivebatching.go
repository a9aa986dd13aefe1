package edge

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
)

// The variables and figures of AWS's adaptive batching sample.
const (
	samplePrefix       = "ADAPTIVE_BATCHING_EXTENSION_"
	sampleBytes        = 4 << 10
	sampleMostBytes    = 50 << 20
	sampleInvokes      = 10
	sampleMilliseconds = 10_000
)

// adaptiveBatching puts the sample's five variables into c: its bucket, which
// is created where it is missing, its keys, its triggers and its payload. Each
// error is a value that could not be used and what was taken instead.
func adaptiveBatching(c *Config, getenv func(string) string) []error {
	bucket := getenv(samplePrefix + "S3_BUCKET")
	if bucket == "" {
		return bucketMissing(getenv)
	}
	var errs []error
	number := func(name string, value int) int {
		text := getenv(samplePrefix + name)
		if text == "" {
			return value
		}
		n, err := strconv.Atoi(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("read %s%s=%q: not a whole number; using %d", samplePrefix, name, text, value))
			return value
		}
		return n
	}
	limitBytes := number("SHIP_RATE_BYTES", sampleBytes)
	invokes := number("SHIP_RATE_INVOKES", sampleInvokes)
	milliseconds := number("SHIP_RATE_MILLISECONDS", sampleMilliseconds)
	if limitBytes > sampleMostBytes {
		errs = append(errs, fmt.Errorf("read %sSHIP_RATE_BYTES=%d: more than 50 MiB; using %d",
			samplePrefix, limitBytes, sampleMostBytes))
		limitBytes = sampleMostBytes
	}
	// The sample looks at its triggers when an invocation begins; one that is 0
	// or less has always been reached there.
	if limitBytes <= 0 || invokes <= 0 || milliseconds <= 0 {
		invokes = 1
	}
	query := url.Values{
		"layout": {"sample"}, "create_bucket": {"true"}, "format": {"telemetry"}, "compression": {"none"},
		"batch_bytes":   {strconv.Itoa(max(limitBytes, 0))},
		"batch_invokes": {strconv.Itoa(max(invokes, 0))},
		"batch_age_ms":  {strconv.Itoa(max(milliseconds, 0))},
	}
	if getenv("SLIPSTREAM_BUFFER_BYTES") == "" { // a file as large as asked for, and the next one while it is sent
		c.BufferBytes = max(c.BufferBytes, 2*limitBytes)
	}
	if getenv("SLIPSTREAM_TELEMETRY_API") == "" && len(c.Destinations) == 0 {
		c.TelemetryAPI, c.OldLogs = apiLogs, true
	}
	c.Destinations = append(c.Destinations, "s3://"+bucket+"?"+query.Encode())
	if getenv("SLIPSTREAM_LOG_TYPES") == "" {
		errs = append(errs, sampleTypes(c, getenv(samplePrefix+"LOG_TYPES"))...)
	}
	return errs
}

// sampleTypes reads the JSON array of log types. The sample skips elements that
// it does not know, and so do we, but never ends with none.
func sampleTypes(c *Config, text string) []error {
	if text == "" {
		return nil
	}
	var listed []string
	if err := json.Unmarshal([]byte(text), &listed); err != nil {
		return []error{fmt.Errorf("read %sLOG_TYPES=%q: not a JSON array of strings; using [\"platform\",\"function\"]",
			samplePrefix, text)}
	}
	var errs []error
	var types []string
	for _, t := range listed {
		if slices.Contains(logTypes, t) {
			types = append(types, t)
			continue
		}
		errs = append(errs, fmt.Errorf("read %sLOG_TYPES: unknown type %q is left out (use platform, function, extension)",
			samplePrefix, t))
	}
	if len(types) == 0 {
		return append(errs, fmt.Errorf("read %sLOG_TYPES=%q: no type left; using [\"platform\",\"function\"]",
			samplePrefix, text))
	}
	slices.Sort(types)
	c.LogTypes = slices.Compact(types)
	return errs
}

// bucketMissing complains of the sample's other variables without its bucket.
func bucketMissing(getenv func(string) string) []error {
	for _, name := range []string{"SHIP_RATE_BYTES", "SHIP_RATE_INVOKES", "SHIP_RATE_MILLISECONDS", "LOG_TYPES"} {
		if getenv(samplePrefix+name) != "" {
			return []error{errors.New("read " + samplePrefix + name + ": it has no effect without " +
				samplePrefix + "S3_BUCKET; set the bucket")}
		}
	}
	return nil
}
