package edge

import (
	"errors"
	"net/url"
	"strings"

	"slipstream/destination"
	"slipstream/destination/file"
	"slipstream/destination/firehose"
	"slipstream/destination/https"
	"slipstream/destination/otlp"
	"slipstream/destination/s3"
	"slipstream/edge/buffer"
	"slipstream/telemetry"
	"slipstream/wire"
)

// laneOnly are the options that the lane reads; the rest is the backend's.
var laneOnly = []string{"compression", "types", "batch_bytes", "batch_invokes", "batch_age_ms", "fallback"}

// backendURL is u without the lane's options and those named.
func backendURL(u *url.URL, more ...string) string {
	rest := *u
	q := u.Query()
	for _, name := range append(more, laneOnly...) {
		q.Del(name)
	}
	rest.RawQuery = q.Encode()
	return rest.String()
}

func openS3(u *url.URL, c *Config, res *telemetry.Resource, lane *laneConfig) (destination.Destination, error) {
	enc, err := lineEncoder(u.Query(), c, res)
	if err != nil {
		return nil, err
	}
	config, err := s3.Parse(backendURL(u, "format"), c.Getenv)
	if err != nil {
		return nil, err
	}
	lane.encoder = enc
	config.Layout.Function, config.Layout.Extension = res.FunctionName, enc.Extension()
	return s3.New(config), nil
}

func openFile(u *url.URL, c *Config, res *telemetry.Resource, lane *laneConfig) (destination.Destination, error) {
	enc, err := lineEncoder(u.Query(), c, res)
	if err != nil {
		return nil, err
	}
	config, err := file.Parse(backendURL(u, "format"))
	if err != nil {
		return nil, err
	}
	lane.encoder = enc
	config.Layout.Function, config.Layout.Extension = res.FunctionName, enc.Extension()
	return file.New(config), nil
}

func openOTLP(u *url.URL, c *Config, res *telemetry.Resource, lane *laneConfig) (destination.Destination, error) {
	signal := lane.signal
	if signal == "" {
		signal = telemetry.Logs
	}
	temporality, err := choice(u.Query(), "temporality", "delta", "cumulative")
	if err != nil {
		return nil, err
	}
	config, err := otlp.Parse(backendURL(u, "temporality"), string(signal), c.Getenv)
	if err != nil {
		return nil, err
	}
	lane.cumulative = temporality == "cumulative"
	if name, _, _ := strings.Cut(lane.name, " "); strings.Contains(name, "${") {
		config.Name = name
	}
	lane.encoder = wire.OTLPLogs(res)
	if lane.signal != "" {
		lane.encoder = wire.OTLPExports{}
	}
	return otlp.New(config), nil
}

func openHTTPS(u *url.URL, c *Config, res *telemetry.Resource, lane *laneConfig) (destination.Destination, error) {
	enc, err := lineEncoder(u.Query(), c, res)
	if err != nil {
		return nil, err
	}
	config, err := https.Parse(backendURL(u, "format"))
	if err != nil {
		return nil, err
	}
	lane.encoder, config.Name = enc, lane.name
	return https.New(config), nil
}

func openFirehose(u *url.URL, c *Config, res *telemetry.Resource, lane *laneConfig) (destination.Destination, error) {
	enc, err := lineEncoder(u.Query(), c, res)
	if err != nil {
		return nil, err
	}
	if asked := u.Query().Get("compression"); asked != "" && asked != "none" {
		return nil, errors.New("option compression: a stream's consumers run the lines together, so there is none " +
			"(let Firehose compress what it writes)")
	}
	config, err := firehose.Parse(backendURL(u, "format"), c.Getenv)
	if err != nil {
		return nil, err
	}
	lane.encoder, lane.encoding = enc, buffer.Plain
	return firehose.New(config), nil
}
