package edge

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"slipstream/edge/configfile"
)

// Setting is a value and where it comes from.
type Setting struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	// Source is "default", the name of a variable, or file:line.
	Source string `json:"source"`
}

const (
	configFileVariable = "SLIPSTREAM_CONFIG_FILE"
	ownPrefix          = "SLIPSTREAM_"
	byDefault          = "default"
)

// lists are the settings whose text is a list, separated by commas. What the
// file has of lists and maps for any other is their JSON.
var lists = []string{"SLIPSTREAM_DESTINATIONS", "SLIPSTREAM_LOG_TYPES", "SLIPSTREAM_LISTEN", "SLIPSTREAM_FORWARD"}

// secretVariables have values that no message may hold.
var secretVariables = []string{"SLIPSTREAM_REDACT_HASH_KEY", "ED_ENDPOINT", "AWS_ACCESS_KEY_ID",
	"AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
	"OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_LOGS_HEADERS"}

// hiddenText stands for a value that is not shown.
const hiddenText = "***"

// given is a setting's text, if there is any, and who gave it.
type given struct {
	text, source string
	key          string // in the file; empty for a variable
}

// called names it in messages.
func (g given) called() string {
	if g.key == "" {
		return g.source
	}
	return g.source + ", " + g.key
}

// setting gives what is known of a setting by its variable's name.
func (c *Config) setting(name string) *Setting {
	i := slices.IndexFunc(c.settings, func(s Setting) bool { return s.Name == name })
	if i < 0 {
		return &Setting{Name: name, Source: byDefault} // of a Config that Load has not made
	}
	return &c.settings[i]
}

// choose sets a setting to the variable's text if that is good, else to the
// file's, else to its default.
func (c *Config) choose(v variable, variable, file given) []error {
	var errs []error
	chosen := Setting{v.name, "", byDefault}
	texts := [...]given{variable, file, {text: v.value, source: byDefault}}
	for i, g := range texts {
		if g.text == "" {
			continue
		}
		err := v.set(c, g.text)
		if err == nil {
			chosen = Setting{v.name, g.text, g.source}
			break
		}
		instead := v.fallback()
		if i == 0 && file.text != "" {
			instead = "that of " + file.source
		}
		text := g.text
		if slices.Contains(secretVariables, v.name) {
			text = hiddenText
		}
		errs = append(errs, fmt.Errorf("read %s=%q: %w; using %s", g.called(), text, err, instead))
	}
	c.settings = append(c.settings, chosen)
	return errs
}

// readConfigFile gives the settings of the file by their variables' names. Each
// error is a part of it that could not be used; it holds no value.
func readConfigFile(path string) (map[string]given, []error) {
	if path == "" {
		return nil, nil
	}
	entries, err := configfile.Read(path)
	if err != nil {
		return nil, []error{fmt.Errorf("read %s=%q: %w; using the variables alone", configFileVariable, path, err)}
	}
	var errs []error
	file := map[string]given{}
	for _, e := range entries {
		at := fmt.Sprintf("%s:%d", path, e.Line)
		name, text, err := fileSetting(e)
		switch {
		case err == nil:
			file[name] = given{text: strings.TrimSpace(text), source: at, key: e.Key}
		case e.Key == "":
			errs = append(errs, fmt.Errorf("read %s: %w", at, err))
		default:
			errs = append(errs, fmt.Errorf("read %s, %s: %w", at, e.Key, err))
		}
	}
	return file, errs
}

// fileSetting gives the variable that an entry of the file stands for, and its
// text.
func fileSetting(e configfile.Entry) (name, text string, err error) {
	if e.Err != nil {
		return "", "", e.Err
	}
	name = ownPrefix + strings.ToUpper(e.Key)
	i := slices.IndexFunc(variables, func(v variable) bool { return v.name == name && v.set != nil })
	switch {
	case name == configFileVariable:
		return "", "", errors.New("a file cannot name another one")
	case i < 0 || e.Key != strings.ToLower(e.Key):
		return "", "", unknownSetting(e.Key)
	case e.JSON == "":
		return name, e.Text, nil
	case !slices.Contains(lists, name):
		return name, e.JSON, nil
	case e.List == nil:
		return "", "", errors.New("not a list of single values")
	case slices.ContainsFunc(e.List, func(item string) bool { return strings.ContainsAny(item, ", \t\r\n") }):
		return "", "", errors.New("an item holds a comma or space; within a URL write %2C or %20")
	}
	return name, strings.Join(e.List, ","), nil
}

// unknownSetting is the error of a key that is none, with the one that may be
// meant.
func unknownSetting(key string) error {
	plain := strings.TrimPrefix(strings.ToUpper(strings.ReplaceAll(key, "-", "_")), ownPrefix)
	if near := nearest(ownPrefix + plain); near != "" {
		return fmt.Errorf("there is no such setting; is %s meant?", strings.ToLower(strings.TrimPrefix(near, ownPrefix)))
	}
	return errors.New("there is no such setting (see docs/configuration.md: names without SLIPSTREAM_, in lower case)")
}

// nearest gives the variable of ours whose name is at most two letters away, or
// begins with the name.
func nearest(name string) string {
	const most = 2
	best, distance := "", most+1
	for _, v := range variables {
		if v.set == nil || !strings.HasPrefix(v.name, ownPrefix) {
			continue
		}
		d := letters(name, v.name)
		if strings.HasPrefix(v.name, name+"_") {
			d = 1
		}
		if d < distance {
			best, distance = v.name, d
		}
	}
	return best
}

// letters counts the letters to change, add or take away between two names.
func letters(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			other := diagonal
			if a[i] != b[j] {
				other = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], other
		}
	}
	return row[len(b)]
}

// derived are the settings that something else than their own name can decide.
var derived = []struct {
	name string
	show func(*Config) string
}{
	{"SLIPSTREAM_DESTINATIONS", func(c *Config) string { return strings.Join(c.Destinations, ",") }},
	{"SLIPSTREAM_LOG_TYPES", func(c *Config) string { return strings.Join(c.LogTypes, ",") }},
	{"SLIPSTREAM_FLUSH", func(c *Config) string { return string(c.Strategy) }},
	{"SLIPSTREAM_LOG_LEVEL", func(c *Config) string { return strings.ToLower(c.LogLevel.String()) }},
	{"SLIPSTREAM_BUFFER_BYTES", func(c *Config) string { return strconv.Itoa(c.BufferBytes) }},
	{"SLIPSTREAM_SEND_TIMEOUT_MS", func(c *Config) string { return strconv.FormatInt(c.SendTimeout.Milliseconds(), 10) }},
	{"SLIPSTREAM_TELEMETRY_API", func(c *Config) string { return c.TelemetryAPI }},
	{"SLIPSTREAM_TELEMETRY_MAX_ITEMS", func(c *Config) string { return strconv.Itoa(c.TelemetryMaxItems) }},
	{"SLIPSTREAM_TELEMETRY_MAX_BYTES", func(c *Config) string { return strconv.Itoa(c.TelemetryMaxBytes) }},
	{"SLIPSTREAM_TELEMETRY_TIMEOUT_MS", func(c *Config) string {
		return strconv.FormatInt(c.TelemetryTimeout.Milliseconds(), 10)
	}},
}

// causes says which variables of a drop-in mode may be behind a setting; those
// of "" may be behind any. The first that is set is the one.
type causes []struct {
	setting string
	names   []string
}

// derive lets do change the Config and takes note of what it has changed.
func (c *Config) derive(by causes, do func()) {
	if by.of("", c.Getenv) == "" { // that mode is off
		do()
		return
	}
	before := make([]string, len(derived))
	for i, d := range derived {
		before[i] = d.show(c)
	}
	do()
	for i, d := range derived {
		after := d.show(c)
		if after == before[i] {
			continue
		}
		source := by.of(d.name, c.Getenv)
		if d.name == "SLIPSTREAM_DESTINATIONS" && before[i] != "" {
			source = c.setting(d.name).Source + ", " + source
		}
		*c.setting(d.name) = Setting{d.name, after, source}
	}
}

// of gives the variable that is behind a setting, "" for none.
func (b causes) of(setting string, getenv func(string) string) string {
	for _, row := range b {
		if row.setting != setting && row.setting != "" {
			continue
		}
		for _, name := range row.names {
			if getenv(name) != "" {
				return name
			}
		}
	}
	return ""
}

var behindSample = causes{
	{"SLIPSTREAM_BUFFER_BYTES", []string{samplePrefix + "SHIP_RATE_BYTES"}},
	{"SLIPSTREAM_LOG_TYPES", []string{samplePrefix + "LOG_TYPES"}},
	{"", []string{samplePrefix + "S3_BUCKET"}},
}

var behindEdgeDelta = causes{
	{"SLIPSTREAM_LOG_TYPES", []string{"ED_LAMBDA_LOG_TYPES"}},
	{"SLIPSTREAM_FLUSH", []string{"ED_FLUSH_AT_NEXT_INVOKE"}},
	{"SLIPSTREAM_LOG_LEVEL", []string{"ED_PRINT_EXTENSION_LOGS"}},
	{"SLIPSTREAM_BUFFER_BYTES", []string{"ED_BUFFER_SIZE_MB"}},
	{"SLIPSTREAM_SEND_TIMEOUT_MS", []string{"ED_PUSH_TIMEOUT_SEC"}},
	{"SLIPSTREAM_TELEMETRY_MAX_ITEMS", []string{"ED_LAMBDA_MAX_ITEMS"}},
	{"SLIPSTREAM_TELEMETRY_MAX_BYTES", []string{"ED_LAMBDA_MAX_BYTES"}},
	{"SLIPSTREAM_TELEMETRY_TIMEOUT_MS", []string{"ED_LAMBDA_TIMEOUT_MS"}},
	{"", []string{"ED_ENDPOINT", "KINESIS_ENDPOINT"}},
}

var behindManaged = causes{{"", []string{"AWS_LAMBDA_INITIALIZATION_TYPE"}}}
