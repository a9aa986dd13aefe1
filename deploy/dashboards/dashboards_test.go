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
	"slipstream/process/platform"
	"slipstream/rollup"
	"slipstream/telemetry"
	"slipstream/telemetry/usage"
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

// began is one environment's cold start, and invoked a minute in it: an invocation
// that goes well, one that runs out of time, one out of memory, and records that the
// platform could not hand over. They are events as Lambda's Telemetry API has them.
const (
	began = `platform.initStart {"initializationType":"on-demand","phase":"init"}
platform.initReport {"initializationType":"on-demand","phase":"init","status":"success","metrics":{"durationMs":312.4}}`
	invoked = `platform.start {"requestId":"N-1"}
platform.runtimeDone {"requestId":"N-1","status":"success","metrics":{"durationMs":75.0,"producedBytes":16}}
platform.report {"requestId":"N-1","status":"success","metrics":{"durationMs":110.2,"billedDurationMs":423,` +
		`"memorySizeMB":128,"maxMemoryUsedMB":84},"spans":[{"name":"extensionOverhead","durationMs":34.9}]}
platform.start {"requestId":"N-2"}
platform.report {"requestId":"N-2","status":"timeout","metrics":{"durationMs":3000,"billedDurationMs":3000,` +
		`"memorySizeMB":128,"maxMemoryUsedMB":90}}
platform.start {"requestId":"N-3"}
platform.report {"requestId":"N-3","status":"error","errorType":"Runtime.OutOfMemory","metrics":{"durationMs":50,` +
		`"billedDurationMs":50,"memorySizeMB":128,"maxMemoryUsedMB":128}}
platform.logsDropped {"droppedBytes":1200,"droppedRecords":12,"reason":"slow"}`
)

// lifetime is what the extension sends of one environment, minute by minute: the
// platform's metrics, rolled up, as running totals.
func lifetime(t *testing.T, function, environment string, from time.Time, minutes int) (bodies []byte) {
	t.Helper()
	made := platform.New(platform.Config{Region: "us-east-1", Architecture: "arm64"})
	bins := rollup.New(rollup.Config{Cumulative: true})
	whose := wire.NewCompletion(&telemetry.Resource{ServiceName: function, FunctionName: function,
		EnvironmentID: environment})
	for n := range minutes {
		at := from.Add(time.Duration(n)*time.Minute + time.Second)
		events := strings.ReplaceAll(invoked, "N-", fmt.Sprint(n, "-"))
		if n == 0 {
			events = began + "\n" + events
		}
		roll := func(p *telemetry.Point) {
			if !bins.Add(p, at) {
				t.Errorf("%s is in no bin", p.Name)
			}
		}
		for line := range strings.Lines(events) {
			kind, record, _ := strings.Cut(strings.TrimSpace(line), " ")
			made.Take(&telemetry.Log{Type: kind, Time: at, Body: []byte(record)}, roll)
		}
		made.Used(&usage.Reading{Known: 0xff, CPUUser: 40 * time.Millisecond, CPUSystem: 9 * time.Millisecond, Received: 900,
			Sent: 4000, TempUsed: 1 << 20, OwnCPU: 3 * time.Millisecond, OwnMemory: 12 << 20}, at, roll)
		end := from.Add(time.Duration(n+1) * time.Minute)
		for _, bin := range bins.Close(end, true) {
			x := bin.AppendCumulative(nil, from, end)
			bodies = whose.Complete(bodies, x.Signal, x.Body)
		}
	}
	return bodies
}

// Every query of the dashboard gives data, and every name in the table is one
// that is sent.
func TestQueriesOfARealPrometheus(t *testing.T) {
	s := metrics.StartPrometheus(t, "--enable-feature=created-timestamp-zero-ingestion")
	to := time.Now().Truncate(time.Minute)
	from := to.Add(-15 * time.Minute)
	var records []byte
	for n := 0; n < 15; n += 3 {
		for _, function := range []string{"shop", "cart"} {
			begin := from.Add(time.Duration(n) * time.Minute)
			records = append(records, lifetime(t, function, fmt.Sprint(function, n), begin, 3)...)
		}
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
		if got := s.Query(t, "count by (job) ("+metric+")", to.Add(-time.Minute)); len(got) != 2 {
			t.Errorf("%s: nothing is sent as %s: %v", name, metric, got)
		}
	}
}

// board is what Grafana must find in a dashboard.
type board struct {
	Title, UID    string
	SchemaVersion int
	Time          struct{ From, To string }
	Panels        []struct {
		ID          int
		Title, Type string
		Datasource  struct{ Type, UID string }
		GridPos     struct{ X, Y, W, H int }
		FieldConfig struct {
			Defaults  struct{ Unit string }
			Overrides []any
		}
		Targets []struct {
			RefID, Expr, LegendFormat string
			Range, Instant            bool
			Datasource                struct{ UID string }
		}
	}
	Annotations struct{ List []any }
	Templating  struct {
		List []struct{ Name, Type, Query, Definition string }
	}
}

// Grafana draws each panel in a place of its own, from the data source that is
// chosen at the top. What its schema demands is there.
func TestFileIsADashboard(t *testing.T) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var b board
	if err := json.Unmarshal(text, &b); err != nil {
		t.Fatal(err)
	}
	variables := map[string]string{}
	for _, v := range b.Templating.List {
		variables[v.Name] = v.Type
	}
	if b.Title == "" || b.UID == "" || len(b.UID) > 40 || b.SchemaVersion < 36 || b.Time.From == "" || b.Time.To == "" ||
		b.Annotations.List == nil || variables["datasource"] != "datasource" || variables["function"] != "query" {
		t.Errorf("the dashboard's own fields: %+v, variables %v", b, variables)
	}
	titles, ids, taken := map[string]bool{}, map[int]bool{}, map[[2]int]string{}
	for _, p := range b.Panels {
		if p.ID <= 0 || ids[p.ID] || p.Title == "" || titles[p.Title] {
			t.Errorf("panel %q: its id %d or title is missing, or another panel's", p.Title, p.ID)
		}
		ids[p.ID], titles[p.Title] = true, true
		if p.Type != "stat" && p.Type != "timeseries" || p.Datasource.Type != "prometheus" ||
			p.Datasource.UID != "${datasource}" || p.FieldConfig.Defaults.Unit == "" || p.FieldConfig.Overrides == nil {
			t.Errorf("panel %q: %+v", p.Title, p)
		}
		g := p.GridPos
		if g.W < 1 || g.H < 3 || g.X < 0 || g.Y < 0 || g.X+g.W > 24 {
			t.Errorf("panel %q: not within 24 columns: %+v", p.Title, g)
		}
		for x := g.X; x < g.X+g.W; x++ {
			for y := g.Y; y < g.Y+g.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" {
					t.Fatalf("panel %q lies upon %q", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
		refs := map[string]bool{}
		for _, q := range p.Targets {
			if q.RefID == "" || refs[q.RefID] || q.Expr == "" || q.Range == q.Instant || q.Instant != (p.Type == "stat") ||
				q.Datasource.UID != "${datasource}" || len(p.Targets) > 1 && q.LegendFormat == "" {
				t.Errorf("panel %q: query %+v", p.Title, q)
			}
			refs[q.RefID] = true
		}
		if len(refs) == 0 {
			t.Errorf("panel %q has no query", p.Title)
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
