package edge

import (
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"

	"slipstream/destination"
	"slipstream/destination/file"
	prometheusto "slipstream/destination/prometheus"
	statsdto "slipstream/destination/statsd"
	"slipstream/destination/stdout"
	wavefrontto "slipstream/destination/wavefront"
	"slipstream/edge/buffer"
	"slipstream/telemetry"
	"slipstream/wire/emf"
	"slipstream/wire/prometheus"
	"slipstream/wire/statsd"
	"slipstream/wire/wavefront"
)

// What the destinations of metrics take.
var (
	onlyMetrics      = []telemetry.Signal{telemetry.Metrics}
	metricsAndTraces = []telemetry.Signal{telemetry.Metrics, telemetry.Traces}
)

// identity are the resource's attributes that tell series apart: a format that
// has tags only cannot take a whole resource.
func identity(res *telemetry.Resource) []string {
	tags := []string{"service.name", "faas.name", "faas.version", "faas.instance", "cloud.region", "cloud.account.id",
		"deployment.environment.name"}
	for _, a := range res.Attributes {
		if !slices.Contains(tags, a.Key) {
			tags = append(tags, a.Key)
		}
	}
	return tags
}

// choice reads an option that is one of a few words, the first unless it is set.
func choice(q url.Values, name string, words ...string) (string, error) {
	text := q.Get(name)
	switch {
	case text == "":
		return words[0], nil
	case slices.Contains(words, text):
		return text, nil
	}
	last := len(words) - 1
	return "", fmt.Errorf("option %s=%q: unknown (use %s or %s)", name, text, strings.Join(words[:last], ", "),
		words[last])
}

// ownCompression refuses the option where the protocol decides.
func ownCompression(q url.Values, scheme string) error {
	if asked := q.Get("compression"); asked != "" {
		return fmt.Errorf("option compression=%q: %s has its own; leave it out", asked, scheme)
	}
	return nil
}

func openWavefront(u *url.URL, _ *Config, res *telemetry.Resource,
	lane *laneConfig) (destination.Destination, error) {
	if err := ownCompression(u.Query(), u.Scheme); err != nil {
		return nil, err
	}
	config, err := wavefrontto.Parse(backendURL(u, "source"), string(lane.signal))
	if err != nil {
		return nil, err
	}
	lane.encoder = wavefront.New(wavefront.Options{Signal: lane.signal, Source: u.Query().Get("source"),
		Tags: identity(res)})
	lane.encoding = buffer.Plain
	return wavefrontto.New(config), nil
}

func openPrometheus(u *url.URL, _ *Config, res *telemetry.Resource, lane *laneConfig) (destination.Destination, error) {
	q := u.Query()
	if err := ownCompression(q, u.Scheme); err != nil {
		return nil, err
	}
	names, err := choice(q, "names", "underscores", "utf8")
	if err != nil {
		return nil, err
	}
	extremes, err := choice(q, "extremes", "false", "true")
	if err != nil {
		return nil, err
	}
	config, err := prometheusto.Parse(backendURL(u, "names", "extremes"))
	if err != nil {
		return nil, err
	}
	tags := slices.DeleteFunc(identity(res), func(key string) bool { // job and instance
		return key == "service.name" || key == "faas.instance"
	})
	lane.encoder = prometheus.New(prometheus.Options{Tags: tags, UTF8: names == "utf8", Extremes: extremes == "true"})
	lane.encoding, lane.cumulative = buffer.Snappy, true
	lane.pushers = 1 // a newer batch that is there first makes the older one's samples too old
	return prometheusto.New(config), nil
}

func openStatsD(u *url.URL, _ *Config, res *telemetry.Resource, lane *laneConfig) (destination.Destination, error) {
	q := u.Query()
	if err := ownCompression(q, u.Scheme); err != nil {
		return nil, err
	}
	dialect, err := choice(q, "format", string(statsd.DogStatsD), string(statsd.StatsD), string(statsd.Etsy))
	if err != nil {
		return nil, err
	}
	config, err := statsdto.Parse(backendURL(u, "format"))
	if err != nil {
		return nil, err
	}
	enc, err := statsd.New(statsd.Options{Dialect: statsd.Dialect(dialect), Tags: identity(res)})
	if err != nil {
		return nil, err
	}
	lane.encoder, lane.encoding = enc, buffer.Plain
	return statsdto.New(config), nil
}

func openEMF(u *url.URL, _ *Config, res *telemetry.Resource, lane *laneConfig) (destination.Destination, error) {
	q := u.Query()
	distributions, err := choice(q, "distributions", "values", "counts")
	if err != nil {
		return nil, err
	}
	resolution, err := choice(q, "resolution", "60", "1")
	if err != nil {
		return nil, err
	}
	namespace := q.Get("namespace")
	if namespace == "" {
		namespace = "Slipstream"
	}
	if len(namespace) > 1024 {
		return nil, fmt.Errorf("option namespace has %d bytes, at most 1,024", len(namespace))
	}
	enc := emf.New(emf.Options{Namespace: namespace, Tags: identity(res), Counts: distributions == "counts",
		HighResolution: resolution == "1"})
	if u.Scheme == "emf+stdout" {
		if err := ownCompression(q, u.Scheme); err != nil {
			return nil, err
		}
		if u.Host+u.Path != "" {
			return nil, fmt.Errorf("%s: has neither host nor path (write emf+stdout:)", u.Scheme)
		}
		lane.encoder, lane.encoding = enc, buffer.Plain
		return stdout.New(os.Stdout), nil
	}
	folder := *u
	folder.Scheme = "file"
	config, err := file.Parse(backendURL(&folder, "distributions", "resolution", "namespace"))
	if err != nil {
		return nil, err
	}
	lane.encoder = enc
	config.Layout.Function, config.Layout.Extension = res.FunctionName, enc.Extension()
	return file.New(config), nil
}
