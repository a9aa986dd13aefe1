package edge

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"slipstream/edge/configfile"
	"slipstream/edge/flush"
)

// withFile is an environment with a file of settings.
func withFile(t *testing.T, text string, env map[string]string) map[string]string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	all := map[string]string{configFileVariable: path}
	for name, value := range env {
		all[name] = value
	}
	return all
}

func TestConfigFile(t *testing.T) {
	for name, tt := range map[string]struct {
		text   string
		env    map[string]string
		change func(*Config)
		errs   []string // a part of each, FILE for the path
	}{
		"a list, numbers, words": {"destinations:\n  - s3://b\n  - https://h?token=${ssm:/x#y}\nmax_staleness: 1m\n" +
			"batch_bytes: 2048\nstrict: true\nflush: end\nlisten: [statsd]\nspool_dir: none\n", nil, func(c *Config) {
			c.Destinations = []string{"s3://b", "https://h?token=${ssm:/x#y}"}
			c.MaxStaleness, c.BatchBytes, c.Strict, c.Strategy = time.Minute, 2048, true, flush.End
			c.Listen, c.SpoolDir = []listenAt{{name: "statsd"}}, ""
		}, nil},
		"one text for a list": {"destinations: s3://b, file:///d\n", nil, func(c *Config) {
			c.Destinations = []string{"s3://b", "file:///d"}
		}, nil},
		"a variable wins": {"destinations: file:///d\nbatch_bytes: 4096\nbatch_invokes: 5\n",
			map[string]string{"SLIPSTREAM_DESTINATIONS": "s3://b", "SLIPSTREAM_BATCH_BYTES": "2048"},
			func(c *Config) { c.BatchBytes, c.BatchInvokes = 2048, 5 }, nil},
		"a bad variable gives way": {"batch_bytes: 4096\ndestinations: s3://b\n",
			map[string]string{"SLIPSTREAM_BATCH_BYTES": "7"}, func(c *Config) { c.BatchBytes = 4096 },
			[]string{`read SLIPSTREAM_BATCH_BYTES="7": out of range 1024 to 8388608; using that of FILE:1`}},
		"both bad": {"batch_bytes: 8\ndestinations: s3://b\n", map[string]string{"SLIPSTREAM_BATCH_BYTES": "7"},
			func(*Config) {}, []string{"using that of FILE:1",
				`read FILE:1, batch_bytes="8": out of range 1024 to 8388608; using 0`}},
		"the file wins over a drop-in's own": {"destinations: s3://b\nsend_timeout_ms: 700\nflush: periodic\n",
			map[string]string{"ED_ENDPOINT": "https://h", "ED_PUSH_TIMEOUT_SEC": "9"}, func(c *Config) {
				own := defaults()
				edgeDeltaDefaults(&own)
				own.Destinations = append([]string{"s3://b"}, own.Destinations...)
				own.SendTimeout, own.Strategy = 700*time.Millisecond, flush.Periodic
				*c = own
			}, nil},
		"what is wrong costs itself": {"destinations: s3://b\nbacth_bytes: 9\nmax-hold-ms: 7\nSTRICT: true\n" +
			"batch_bytes: [1]\n" +
			"log_types: {a: 1}\nlisten: [\"a,b\"]\nbatch_invokes:\nregion: x\nconfig_file: y\nshutdown_wait_ms: \"\n" +
			"max_hold_ms: 7\n", nil, func(c *Config) { c.MaxHold = 7 * time.Millisecond }, []string{
			"read FILE:2, bacth_bytes: there is no such setting; is batch_bytes meant?",
			"read FILE:3, max-hold-ms: there is no such setting; is max_hold_ms meant?",
			"read FILE:4, STRICT: there is no such setting; is strict meant?",
			"read FILE:6, log_types: not a list of single values",
			"read FILE:7, listen: an item holds a comma or space",
			"read FILE:8, batch_invokes: it has no value",
			"read FILE:9, region: there is no such setting (see",
			"read FILE:10, config_file: a file cannot name another one",
			"read FILE:11: it is not YAML: could not find end character of double-quoted text",
			`read FILE:5, batch_bytes="[1]": not a whole number; using 0`,
		}},
		"empty": {"", map[string]string{"SLIPSTREAM_DESTINATIONS": "s3://b"}, func(*Config) {}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			env := withFile(t, tt.text, tt.env)
			want := defaults()
			tt.change(&want)
			want.File = env[configFileVariable]
			got, errs := Load(environment(env))
			if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(Config{}, "Getenv", "Outside", "secrets", "settings"),
				cmpopts.EquateComparable(listenAt{}), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("config (-want +got):\n%s", diff)
			}
			for i := range tt.errs {
				tt.errs[i] = strings.ReplaceAll(tt.errs[i], "FILE", want.File)
			}
			compareErrors(t, tt.errs, errs)
		})
	}
	_, errs := Load(environment(map[string]string{"SLIPSTREAM_DESTINATIONS": "s3://b", configFileVariable: "/none.yaml"}))
	compareErrors(t, []string{`read SLIPSTREAM_CONFIG_FILE="/none.yaml": open /none.yaml: no such file or directory; ` +
		"using the variables alone"}, errs)
}

// Lists and maps of the file are the JSON of a setting whose text is that.
func TestConfigFileJSON(t *testing.T) {
	entries := configfile.Parse([]byte("forward: [/a=https://h, /b=https://h]\nspool_dir:\n  - {a: 1, b: [x, ~]}\n"))
	for i, want := range []string{"SLIPSTREAM_FORWARD=/a=https://h,/b=https://h",
		`SLIPSTREAM_SPOOL_DIR=[{"a":1,"b":["x",null]}]`} {
		if name, text, err := fileSetting(entries[i]); err != nil || name+"="+text != want {
			t.Errorf("%s=%s %v, want %s", name, text, err, want)
		}
	}
}

// Each setting knows where it comes from.
func TestSources(t *testing.T) {
	for name, tt := range map[string]struct {
		text string
		env  map[string]string
		want map[string]string // but for what is the default
	}{
		"default, variable, file": {"batch_bytes: 2048\nflush: end\nmax_staleness: never\n",
			map[string]string{"SLIPSTREAM_BATCH_BYTES": "1024", "SLIPSTREAM_DESTINATIONS": "s3://b", "AWS_REGION": "x"},
			map[string]string{"BATCH_BYTES": "1024 SLIPSTREAM_BATCH_BYTES", "FLUSH": "end FILE:2",
				"DESTINATIONS": "s3://b SLIPSTREAM_DESTINATIONS", "CONFIG_FILE": "FILE SLIPSTREAM_CONFIG_FILE",
				"AWS_REGION": "x AWS_REGION"}},
		"the sample": {"destinations: s3://b\n", map[string]string{samplePrefix + "S3_BUCKET": "logs",
			samplePrefix + "SHIP_RATE_BYTES": "9000000", samplePrefix + "LOG_TYPES": `["function"]`},
			map[string]string{"DESTINATIONS": "s3://b," + sampleURL("logs", 9000000, 10, 10000) +
				" FILE:1, ADAPTIVE_BATCHING_EXTENSION_S3_BUCKET", "CONFIG_FILE": "FILE SLIPSTREAM_CONFIG_FILE",
				"BUFFER_BYTES": "18000000 ADAPTIVE_BATCHING_EXTENSION_SHIP_RATE_BYTES",
				"LOG_TYPES":    "function ADAPTIVE_BATCHING_EXTENSION_LOG_TYPES"}},
		"Edge Delta on a managed instance": {"log_level: debug\n", map[string]string{"ED_ENDPOINT": "https://h",
			"ED_BUFFER_SIZE_MB": "7", "ED_LAMBDA_TIMEOUT_MS": "30",
			"AWS_LAMBDA_INITIALIZATION_TYPE": "lambda-managed-instances"},
			map[string]string{"DESTINATIONS": "${env:ED_ENDPOINT}?compression=none&format=edgedelta ED_ENDPOINT",
				"BUFFER_BYTES": "7000000 ED_BUFFER_SIZE_MB", "TELEMETRY_TIMEOUT_MS": "30 ED_LAMBDA_TIMEOUT_MS",
				"TELEMETRY_MAX_ITEMS": "1000 ED_ENDPOINT", "FLUSH": "continuous AWS_LAMBDA_INITIALIZATION_TYPE",
				"LOG_LEVEL": "debug FILE:1", "CONFIG_FILE": "FILE SLIPSTREAM_CONFIG_FILE",
				"AWS_LAMBDA_INITIALIZATION_TYPE": "lambda-managed-instances AWS_LAMBDA_INITIALIZATION_TYPE"}},
	} {
		env := withFile(t, tt.text, tt.env)
		c, _ := Load(environment(env))
		got := map[string]string{}
		for _, s := range c.settings {
			if s.Source != byDefault {
				text := strings.ReplaceAll(s.Value+" "+s.Source, env[configFileVariable], "FILE")
				got[strings.TrimPrefix(s.Name, ownPrefix)] = text
			}
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// What Inspect tells, without touching anything.
func TestInspect(t *testing.T) {
	cloud := newCloud(t, map[string]string{"/good": "s3cret", "json": `{"a":"s3cret"}`})
	env := cloud.env(map[string]string{
		"SLIPSTREAM_DESTINATIONS": "https://h/x?token=${ssm:/good}&fallback=https%3A%2F%2Fi%3Ftoken%3Ds3cret," +
			"otlp+http://o:4318?header.a=${secretsmanager:json#b}&types=traces,gopher://g",
		"SLIPSTREAM_MAX_HOLD": "1", "SLIPSTREAM_NONSENSE": "1", "SLIPSTREAM_SPOOL_DIR": filepath.Join(t.TempDir(), "spool"),
	})
	in := Inspect(t.Context(), env, false)
	if cloud.asked > 0 || in.Secrets[0] != (Setting{"${ssm:/good}", "not tried", "https://h/x"}) {
		t.Errorf("asked %d times: %v", cloud.asked, in.Secrets)
	}
	if _, err := os.Stat(env["SLIPSTREAM_SPOOL_DIR"]); err == nil {
		t.Error("there is a spool")
	}
	in = Inspect(t.Context(), env, true)
	var lanes []string
	for _, l := range in.Lanes {
		lanes = append(lanes, fmt.Sprint(l.Destination, " ", l.Types, " ", l.Fallback, " ", l.BufferBytes))
	}
	if diff := cmp.Diff([]string{"https://h/x [] https://i 4194304", "otlp+http://o:4318 [traces]  2621440",
		"otlp+http://o:4318 logs [logs]  524288", "otlp+http://o:4318 traces [traces]  524288",
		"otlp+http://o:4318 metrics [metrics]  524288"}, lanes); diff != "" {
		t.Error(diff)
	}
	failed := `failed: the secret has no member "b"; it has: a`
	if diff := cmp.Diff([]Setting{{"${ssm:/good}", "ok", "https://h/x"},
		{"${secretsmanager:json#b}", failed, "otlp+http://o:4318"}}, in.Secrets); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]Problem{
		{true, `open destination gopher://g: unknown scheme "gopher" ` +
			"(use s3, file, otlp+http, otlp+https, https, http, firehose, wavefront+tcp, wavefront+https, " +
			"prometheus+http, prometheus+https, statsd or emf+stdout)"},
		{true, "${secretsmanager:json#b} of otlp+http://o:4318 " + failed},
		{false, "SLIPSTREAM_MAX_HOLD: there is no such variable; is SLIPSTREAM_MAX_HOLD_MS meant?"},
		{false, "SLIPSTREAM_NONSENSE: there is no such variable; it has no effect"},
		{false, "destination https://h/x: a credential stands in the configuration itself, where many can read it; " +
			"keep it in a secret and write ${secretsmanager:NAME} or ${ssm:NAME}"},
		{false, "destination otlp+http://o:4318: its credential goes over the network unencrypted; use https"},
	}, in.Problems); diff != "" {
		t.Error(diff)
	}
	if text := fmt.Sprintf("%+v", in); strings.Contains(text, "s3cret") || strings.Contains(text, "aws-key") {
		t.Errorf("a secret is in %s", text)
	}
}
