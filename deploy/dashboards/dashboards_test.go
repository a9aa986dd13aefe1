package dashboards

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/s2"

	"slipstream/destination"
	"slipstream/destination/prometheus"
	"slipstream/telemetry"
	"slipstream/test/servers/metrics"
	"slipstream/wire"
	format "slipstream/wire/prometheus"
)

var update = flag.Bool("update", false, "write the dashboard's file")

const file = "slipstream-functions.json"

func TestFileIsUpToDate(t *testing.T) {
	want, err := Functions()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(file, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if diff := cmp.Diff(string(want), string(got)); err != nil || diff != "" {
		t.Errorf("run: go generate ./deploy/dashboards: %v\n%s", err, diff)
	}
}

// sent is what the extension sends, in OpenTelemetry's words: name, unit and
// shape, which is c, g or h.
const sent = `aws.lambda.invocations {invocation} c
faas.errors {error} c
faas.timeouts {timeout} c
aws.lambda.out_of_memory {invocation} c
faas.coldstarts {coldstart} c
aws.lambda.duration s h
aws.lambda.billed_duration s h
faas.invoke_duration s h
faas.init_duration s h
aws.lambda.post_runtime_duration s h
faas.mem_usage By h
aws.lambda.memory_size By g
aws.lambda.estimated_cost {USD} c
aws.lambda.logs.dropped_records {record} c`

// exports are all metrics of one environment at a moment, n minutes after its start.
func exports(t *testing.T, function, environment string, at time.Time, n int) []byte {
	t.Helper()
	times := fmt.Sprintf(`"startTimeUnixNano":"%d","timeUnixNano":"%d"`,
		at.Add(-time.Duration(n)*time.Minute).UnixNano(), at.UnixNano())
	var list []string
	for line := range strings.Lines(sent) {
		words := strings.Fields(line)
		metric := map[string]string{
			"c": `"sum":{"aggregationTemporality":2,"isMonotonic":true,"dataPoints":[{TIMES,"asDouble":COUNT}]}`,
			"g": `"gauge":{"dataPoints":[{TIMES,"asInt":"134217728"}]}`,
			"h": `"exponentialHistogram":{"aggregationTemporality":2,"dataPoints":[{TIMES,"count":"COUNT","sum":COUNT,` +
				`"scale":3,"positive":{"offset":-1,"bucketCounts":["COUNT"]}}]}`,
		}[words[2]]
		data := strings.NewReplacer("TIMES", times, "COUNT", strconv.Itoa(n+1)).Replace(metric)
		list = append(list, fmt.Sprintf(`{"name":%q,"unit":%q,%s}`, words[0], words[1], data))
	}
	body, err := wire.ExportFromJSON(nil, telemetry.Metrics, []byte(`{"resourceMetrics":[{"scopeMetrics":[{"metrics":[`+
		strings.Join(list, ",")+`]}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	return wire.NewCompletion(&telemetry.Resource{ServiceName: function, FunctionName: function,
		EnvironmentID: environment}).Complete(nil, telemetry.Metrics, body)
}

// Every query of the dashboard gives data, and every name in the table is one
// that is sent.
func TestQueriesOfARealPrometheus(t *testing.T) {
	s := metrics.StartPrometheus(t)
	to := time.Now().Truncate(time.Minute)
	from := to.Add(-15 * time.Minute)
	var records []byte
	for n := range 15 {
		at := from.Add(time.Duration(n) * time.Minute)
		records = append(records, exports(t, "shop", "env-1", at, n)...)
		records = append(records, exports(t, "cart", "env-2", at, n)...)
	}
	body := format.New(format.Options{}).AppendBody(nil, records, func(reason string, n int) {
		t.Errorf("%d dropped: %s", n, reason)
	})
	config, err := prometheus.Parse("prometheus+" + s.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	client := prometheus.New(config)
	defer client.Close()
	if err := client.Send(context.Background(), &destination.Batch{ID: "env-1", Body: s2.EncodeSnappy(nil, body),
		Encoding: "snappy", ContentType: format.New(format.Options{}).ContentType()}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &dashboard); err != nil || len(dashboard.Panels) < 15 {
		t.Fatalf("%d panels: %v", len(dashboard.Panels), err)
	}
	for _, p := range dashboard.Panels {
		for _, q := range p.Targets {
			expr := strings.NewReplacer("$function", ".+", "$__rate_interval", "4m", "$__range", "10m").Replace(q.Expr)
			if strings.Contains(expr, "$") {
				t.Errorf("%s: a variable that nobody sets: %s", p.Title, expr)
			}
			got := s.QueryRange(t, expr, from.Add(10*time.Minute), to.Add(-time.Minute), "60s")
			if !positive(got) {
				t.Errorf("%s: %s gives %v", p.Title, expr, got)
			}
		}
	}
	for name, metric := range names {
		if got := s.Query(t, metric, to.Add(-time.Minute)); len(got) != 2 {
			t.Errorf("%s: nothing is sent as %s: %v", name, metric, got)
		}
	}
}

// positive tells whether each series has a number above zero.
func positive(list []metrics.Series) bool {
	for _, one := range list {
		good := false
		for _, value := range one.Values {
			v, err := strconv.ParseFloat(fmt.Sprint(value[1]), 64)
			good = good || err == nil && v > 0
		}
		if !good {
			return false
		}
	}
	return len(list) > 0
}

func TestNamesAreChecked(t *testing.T) {
	if _, err := named("rate(<nothing>)"); err == nil {
		t.Error("a name that is not in the table is taken")
	}
}
