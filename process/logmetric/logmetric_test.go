package logmetric_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipstream/process/logmetric"
	"slipstream/telemetry"
)

var at = time.Date(2026, 10, 1, 9, 0, 0, 330e6, time.UTC)

// stage takes records and writes down what becomes of them.
type stage struct {
	extractor *logmetric.Extractor
	points    []string
	drops     []string
}

func newStage(tb testing.TB, filters string, emf, lines logmetric.Mode) *stage {
	tb.Helper()
	list, err := logmetric.ParseFilters(filters)
	if err != nil {
		tb.Fatal(err)
	}
	s := &stage{}
	s.extractor = logmetric.New(logmetric.Config{Filters: list, EMF: emf, Lines: lines,
		Drop: func(r logmetric.Reason) { s.drops = append(s.drops, string(r)) }})
	return s
}

func (s *stage) note(p *telemetry.Point) { s.points = append(s.points, format(p)) }

// take gives the points and drops of one record, and whether it was consumed.
func (s *stage) take(body string) string {
	s.points, s.drops = nil, nil
	consumed := s.extractor.Take(&telemetry.Log{Type: "function", Time: at, Body: []byte(body)}, s.note)
	all := append(s.points, s.drops...)
	if consumed {
		all = append(all, "consumed")
	}
	return strings.Join(all, "; ")
}

// format writes a point as kind name{tags}=values unit @time.
func format(p *telemetry.Point) string {
	var tags []string
	for _, tag := range p.Tags {
		tags = append(tags, fmt.Sprintf("%s=%s", tag.Key, tag.Value))
	}
	text := fmt.Sprintf("%s %s{%s}=", [...]string{"gauge", "change", "counter", "distribution", "set"}[p.Kind], p.Name,
		strings.Join(tags, ","))
	if p.Centroids == nil {
		text += fmt.Sprintf("%vx%v", p.Value, p.Count)
	}
	for i, c := range p.Centroids {
		if i > 0 {
			text += ","
		}
		text += fmt.Sprintf("%vx%v", c.Value, c.Count)
	}
	if p.Unit != "" {
		text += " " + p.Unit
	}
	if !p.Time.Equal(at) {
		text += " @" + p.Time.Format(time.RFC3339Nano)
	}
	return text
}

// quote makes the body of a record in text format.
func quote(line string) string {
	body, err := json.Marshal(line)
	if err != nil {
		panic(err)
	}
	return string(body)
}

const metricLine = "[METRIC] 2018-05-15T11:18:19.297Z aba1328d-5831-11e8-833f-b5cd5e8c0a59 random_number 0.563928\n"

func TestFilters(t *testing.T) {
	seed := `{"pattern":"[level=METRIC, timestamp, request_id, metric_name, metric_value]","name":"$metric_name",
		"value":"$metric_value","unit":"Milliseconds","dimensions":{"Request":"$request_id"},"consume":true}`
	tests := []struct{ name, filter, line, want string }{
		{"the article's", seed, metricLine,
			"distribution random_number{Request=aba1328d-5831-11e8-833f-b5cd5e8c0a59}=0.563928x1 ms; consumed"},
		{"no number", seed, "[METRIC] 2018-05-15T11:18:19.297Z id number is 0.56", "filter_value"},
		{"count", `{"filterPattern":"ERROR","metricName":"errors","metricNamespace":"Shop","unit":"Count"}`,
			"an ERROR\n", "counter Shop.errors{}=1x1 {count}"},
		{"no match", `{"pattern":"ERROR","name":"errors"}`, "fine", ""},
		{"constant", `{"pattern":"","name":"lines","metricValue":"2.5","kind":"gauge"}`, "x", "gauge lines{}=2.5x1"},
		{"a number for a value", `{"pattern":"x","name":"lines","value":2}`, "x", "counter lines{}=2x1"},
		{"json", `{"pattern":"{ $.latency = * }","name":"$.name","value":"$.latency","namespace":"N",
			"dimensions":{"A":"$.a","B":"$.b","C":"fixed"}}`,
			`{"name":"n\u00e9","latency":12.5,"a":"x\ty"}`, "distribution N.né{A=x\ty,C=fixed}=12.5x1"},
		{"json in a line that is not", `{"pattern":"{ $.latency = * }","name":"l","value":"$.latency"}`,
			`x {"latency":12.5}`, ""},
		{"regex", `{"regex":"took (?P<metric_value>[0-9.]+) ms for (?P<who>\\w+)(?P<x>!)?","name":"took",
			"unit":"Milliseconds","dimensions":{"Who":"$who","X":"$x","First":"$1"}}`,
			"it took 12.5 ms for me", "distribution took{Who=me,First=12.5}=12.5x1 ms"},
		{"regex names all", `{"regex":"(?P<metric_name>\\w+)=(?P<metric_value>\\d+)"}`, "a=7", "distribution a{}=7x1"},
		{"regex counts", `{"regex":"^Task timed out","name":"timeouts"}`, "Task timed out after 3 s",
			"counter timeouts{}=1x1"},
		{"without the line end", `{"regex":"=(?P<metric_value>\\d+)$","name":"a"}`, "a=7\r\n", "distribution a{}=7x1"},
		{"empty name", `{"regex":"(?P<metric_name>x*)=1"}`, "=1", "filter_name"},
		{"rate", `{"pattern":"[a, b]","name":"r","value":"$a","unit":"Kilobytes/Second"}`, "5 x",
			"distribution r{}=5x1 kBy/s"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newStage(t, "["+tt.filter+"]", logmetric.Off, logmetric.Off)
			if diff := cmp.Diff(tt.want, s.take(quote(tt.line))); diff != "" {
				t.Error(diff)
			}
			if tt.line[0] == '{' {
				if diff := cmp.Diff(tt.want, s.take(tt.line)); diff != "" {
					t.Errorf("as an object: %s", diff)
				}
			}
		})
	}
}

// A search for the pattern's literal must not miss what is escaped in another way.
func TestEscapes(t *testing.T) {
	s := newStage(t, `[{"pattern":"{ $.level = \"ERROR\" }","name":"errors"},{"pattern":"\"a/b\\\"c\"","name":"q"}]`,
		logmetric.Off, logmetric.Off)
	for body, want := range map[string]string{
		`"{\"level\":\"ERROR\"}\n"`:              "counter errors{}=1x1",
		`"{\"level\":\"\\u0045RROR\"}"`:          "counter errors{}=1x1",
		`"{\"\u006cevel\":\"\u0045RROR\"}"`:      "counter errors{}=1x1",
		`{"level":"\u0045RROR"}`:                 "counter errors{}=1x1",
		`"{\"level\":\"INFO\",\"x\":\"\\\\u\"}"`: "",
		`"a\/b\"c"`:                              "counter q{}=1x1",
		`"a/b\"c"`:                               "counter q{}=1x1",
		`12`:                                     "",
		`["level"]`:                              "",
		`""`:                                     "",
	} {
		if got := s.take(body); got != want {
			t.Errorf("%s gives %q, want %q", body, got, want)
		}
	}
}

func TestMetricLine(t *testing.T) {
	s := newStage(t, "", logmetric.Off, logmetric.Consume)
	for line, want := range map[string]string{
		metricLine: "distribution random_number{}=0.563928x1; consumed",
		strings.ReplaceAll(metricLine, " ", "\t"):            "distribution random_number{}=0.563928x1; consumed",
		"[METRIC] 2018-05-15T11:18:19.297Z id number is 0.5": "line_form",
		"[METRIC] number is 0.563928":                        "line_form",
		"[METRIC] a b c 5":                                   "line_form",
		"[METRICS] 2018-05-15T11:18:19.297Z id n 1":          "",
		" [METRIC] 2018-05-15T11:18:19.297Z id n 1":          "",
		"[INFO] 2018-05-15T11:18:19.297Z id n 1":             "",
	} {
		if got := s.take(quote(line)); got != want {
			t.Errorf("%q gives %q, want %q", line, got, want)
		}
	}
	// A filter for the same lines does not make a second point of them.
	s = newStage(t, `[{"pattern":"[level=METRIC, t, r, n, v]","name":"$n","value":"$v","kind":"gauge"}]`, 0,
		logmetric.Keep)
	if got := s.take(quote(metricLine)); got != "gauge random_number{}=0.563928x1" {
		t.Errorf("with a filter: %s", got)
	}
}

func TestOnlyLines(t *testing.T) {
	s := newStage(t, `[{"pattern":"","name":"lines"}]`, logmetric.Keep, logmetric.Keep)
	for _, kind := range []string{"platform.report", "platform.start", ""} {
		if s.extractor.Take(&telemetry.Log{Type: kind, Body: []byte(`{"a":1}`)}, s.note); s.points != nil {
			t.Errorf("%q gives %s", kind, s.points)
		}
	}
	if s.extractor.Take(&telemetry.Log{Type: "extension", Time: at, Body: []byte(`"x"`)}, s.note); len(s.points) != 1 {
		t.Errorf("an extension's line gives %s", s.points)
	}
}

func TestDefaults(t *testing.T) {
	s := newStage(t, `[{"pattern":"ERROR","name":"errors","default":0,"namespace":"Shop"},
		{"pattern":"WARN","name":"warnings","defaultValue":null}]`, logmetric.Off, logmetric.Off)
	steps := []struct{ line, want string }{{"", "counter Shop.errors{}=0x1"}, {"ERROR", ""}, {"WARN",
		"counter Shop.errors{}=0x1"}}
	for i, step := range steps {
		s.take(quote(step.line))
		s.points = nil
		s.extractor.Defaults(at, s.note)
		if got := strings.Join(s.points, "; "); got != step.want {
			t.Errorf("period %d: %q, want %q", i, got, step.want)
		}
	}
}

func TestParseErrors(t *testing.T) {
	tests := []struct{ filters, want string }{
		{"x", "metric filters are a JSON list"},
		{"[", "metric filters are a JSON list"},
		{"[1]", "metric filter 1: a filter is an object"},
		{`[{"pattern":"a","name":"b"},{}]`, "metric filter 2: a filter has either a pattern or a regex"},
		{`[{"pattern":"a","regex":"b","name":"c"}]`, "either a pattern or a regex"},
		{`[{"pattern":"a.b","name":"c"}]`, `metric filter 1: filter pattern "a.b", column 2`},
		{`[{"regex":"(","name":"c"}]`, "regex: error parsing regexp"},
		{`[{"pattern":"a"}]`, "name: 1 to 1024 bytes"},
		{`[{"pattern":"[a]","name":"$b"}]`, "name: filter pattern"},
		{`[{"regex":"x","name":"$b"}]`, "name: the regex has no group $b: write it (?P<b>…)"},
		{`[{"pattern":"a","name":"b","value":"$c"}]`, "a pattern of terms has no values"},
		{`[{"pattern":"[a]","name":"b","value":"a"}]`, `value: "a" is neither a number nor where to find one`},
		{`[{"pattern":"a","name":"b","unit":"Hours"}]`, `unit: "Hours" is none of CloudWatch's`},
		{`[{"pattern":"a","name":"b","kind":"sum"}]`, `kind: "sum" is none of`},
		{`[{"pattern":"a","name":"b","dimensions":[]}]`, "dimensions: an object is expected"},
		{`[{"pattern":"[a]","name":"b","dimensions":{"D":"$x"}}]`, "dimensions: D: filter pattern"},
		{`[{"pattern":"[a]","name":"b","dimensions":{"":"$a"}}]`, "a name has 1 to 250 bytes"},
		{`[{"pattern":"[a]","name":"b","dimensions":{"D":"$a"},"default":0}]`, "default: it goes with a fixed name"},
		{`[{"pattern":"[a]","name":"$a","default":0}]`, "default: it goes with a fixed name"},
		{`[{"pattern":"a","name":"b","default":"0"}]`, "default: a number is expected"},
		{`[{"pattern":"a","name":"b","consume":1}]`, "consume: true or false is expected"},
		{`[{"pattern":"a","nane":"b"}]`, "nane: unknown: there are pattern, regex"},
		{`[{"pattern":1}]`, "pattern: a text is expected"},
		{"[" + strings.Repeat(`{"pattern":"a","name":"b"},`, 100) + `{"pattern":"a","name":"b"}]`,
			"more than 100 metric filters"},
	}
	for _, tt := range tests {
		if _, err := logmetric.ParseFilters(tt.filters); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%.60s: error %v, want one with %q", tt.filters, err, tt.want)
		}
	}
	if list, err := logmetric.ParseFilters(" "); err != nil || list != nil {
		t.Errorf("nothing gives %v, %v", list, err)
	}
	if m, err := logmetric.ParseMode("consume"); err != nil || m != logmetric.Consume {
		t.Errorf("consume is %v, %v", m, err)
	}
	if _, err := logmetric.ParseMode("yes"); err == nil {
		t.Error("yes is a mode")
	}
}

// The guide's filters are such, and do what it says.
func TestGuide(t *testing.T) {
	guide, err := os.ReadFile("../../docs/guides/metrics-from-logs.md")
	if err != nil {
		t.Fatal(err)
	}
	_, filters, _ := strings.Cut(string(guide), "```json\n")
	filters, _, _ = strings.Cut(filters, "```")
	s := newStage(t, filters, logmetric.Keep, logmetric.Keep)
	for line, want := range map[string]string{
		metricLine: "distribution random_number{}=0.563928x1 ms; consumed",
		`{"level":"ERROR","latency":612,"service":"cart"}`: "distribution Shop.slow_errors{Service=cart}=612x1 ms",
		"Task timed out after 3.00 seconds":                "counter timeouts{}=1x1",
		"it took 7 ms for acme":                            "distribution took{Tenant=acme}=7x1",
	} {
		if got := s.take(quote(line)); got != want {
			t.Errorf("%q gives %q, want %q", line, got, want)
		}
	}
	for _, reason := range []logmetric.Reason{logmetric.FilterName, logmetric.FilterValue, logmetric.LineForm,
		logmetric.EMFSize, logmetric.EMFJSON, logmetric.EMFTimestamp, logmetric.EMFDirective, logmetric.EMFNamespace,
		logmetric.EMFDimension, logmetric.EMFMetric, logmetric.EMFValue, logmetric.EMFUnit, logmetric.EMFResolution,
		logmetric.EMFPoints} {
		if !strings.Contains(string(guide), "`"+string(reason)+"`") {
			t.Errorf("the guide does not tell the reason %s", reason)
		}
	}
}
