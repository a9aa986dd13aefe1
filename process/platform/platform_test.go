package platform_test

import (
	"bytes"
	"flag"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipstream/process/platform"
	"slipstream/telemetry"
	"slipstream/telemetry/usage"
)

var update = flag.Bool("update", false, "rewrite docs/platform-metrics.md")

var at = time.Date(2026, 10, 1, 9, 0, 0, 0, time.UTC)

// story is what happens in an environment: events as type and record, or a call.
type story struct {
	metrics *platform.Metrics
	points  []string
}

func begin(c platform.Config) *story { return &story{metrics: platform.New(c)} }

func (s *story) note(p *telemetry.Point) {
	var tags []string
	for _, tag := range p.Tags {
		tags = append(tags, fmt.Sprintf("%s=%s", tag.Key, tag.Value))
	}
	text := fmt.Sprintf("%s{%s} %s %s", p.Name, strings.Join(tags, ","), strconv.FormatFloat(p.Value, 'g', 6, 64), p.Unit)
	if p.Kind == telemetry.Counter {
		text = "+ " + text
	}
	if !p.Time.Equal(at) || p.Count != 1 {
		text += " at a wrong time"
	}
	s.points = append(s.points, text)
}

// tell gives the points of events; each is "type record", or "failed id class".
func (s *story) tell(events ...string) string {
	s.points = nil
	for _, e := range events {
		kind, record, _ := strings.Cut(e, " ")
		if kind == "failed" {
			id, class, _ := strings.Cut(record, " ")
			s.metrics.Failed(id, class, at, s.note)
			continue
		}
		if kind != "function" {
			kind = "platform." + kind
		}
		s.metrics.Take(&telemetry.Log{Type: kind, Time: at, Body: []byte(record)}, s.note)
	}
	return strings.Join(s.points, "\n")
}

func (s *story) end() string {
	s.points = nil
	s.metrics.End(at, s.note)
	return strings.Join(s.points, "\n")
}

// record writes an event with single quotes for double ones.
func record(kind, body string) string { return kind + " " + strings.ReplaceAll(body, "'", `"`) }

var (
	initStart = record("initStart", `{'initializationType':'on-demand','phase':'init','functionName':'shop',
		'functionVersion':'$LATEST','instanceId':'2026/10/01/[$LATEST]aa11','instanceMaxMemory':134217728}`)
	initDone   = record("initRuntimeDone", `{'initializationType':'on-demand','phase':'init','status':'success'}`)
	initReport = record("initReport", `{'initializationType':'on-demand','phase':'init','status':'success',
		'metrics':{'durationMs':312.4}}`)
	start       = record("start", `{'requestId':'id-1','version':'$LATEST'}`)
	runtimeDone = record("runtimeDone", `{'requestId':'id-1','status':'success','spans':[
		{'name':'responseLatency','start':'2026-10-01T09:00:00.320Z','durationMs':70.1},
		{'name':'responseDuration','start':'2026-10-01T09:00:00.390Z','durationMs':0.2},
		{'name':'runtimeOverhead','start':'2026-10-01T09:00:00.391Z','durationMs':4.0}],
		'metrics':{'durationMs':75.0,'producedBytes':16}}`)
	report = record("report", `{'requestId':'id-1','status':'success','metrics':{'durationMs':110.2,'billedDurationMs':423,
		'memorySizeMB':128,'maxMemoryUsedMB':84,'initDurationMs':312.4},
		'spans':[{'name':'extensionOverhead','start':'2026-10-01T09:00:00.395Z','durationMs':34.9}]}`)
	reportBare = record("report", `{'requestId':'id-1','status':'success','metrics':{'durationMs':110.2}}`)
)

func TestColdInvocation(t *testing.T) {
	want := map[platform.Names]string{
		platform.OTel: `faas.init_duration{aws.lambda.initialization_type=on-demand} 0.3124 s
+ aws.lambda.invocations{faas.coldstart=true} 1 {invocation}
+ faas.coldstarts{aws.lambda.initialization_type=on-demand} 1 {coldstart}
faas.invoke_duration{} 0.075 s
aws.lambda.produced_bytes{} 16 By
aws.lambda.response_latency{} 0.0701 s
aws.lambda.response_duration{} 0.0002 s
aws.lambda.runtime_overhead{} 0.004 s
+ faas.invocations{} 1 {invocation}
aws.lambda.duration{} 0.1102 s
aws.lambda.billed_duration{} 0.423 s
faas.mem_usage{} 8.80804e+07 By
aws.lambda.memory_size{} 1.34218e+08 By
aws.lambda.post_runtime_duration{} 0.0349 s
+ aws.lambda.estimated_cost{} 1.08125e-06 {USD}`,
		platform.CloudWatch: `InitDuration{InitializationType=on-demand} 312.4 ms
+ Invocations{} 1 {invocation}
+ ColdStarts{InitializationType=on-demand} 1 {coldstart}
RuntimeDuration{} 75 ms
ProducedBytes{} 16 By
ResponseLatency{} 70.1 ms
ResponseDuration{} 0.2 ms
RuntimeOverhead{} 4 ms
Duration{} 110.2 ms
BilledDuration{} 423 ms
MaxMemoryUsed{} 84 MBy
MemorySize{} 128 MBy
PostRuntimeExtensionsDuration{} 34.9 ms
+ EstimatedCost{} 1.08125e-06 {USD}`,
		platform.Datadog: `aws.lambda.enhanced.init_duration{init_type=on-demand} 0.3124 s
+ aws.lambda.enhanced.invocations{cold_start=true} 1 {invocation}
+ aws.lambda.enhanced.cold_starts{init_type=on-demand} 1 {coldstart}
aws.lambda.enhanced.runtime_duration{} 75 ms
aws.lambda.enhanced.produced_bytes{} 16 By
aws.lambda.enhanced.response_latency{} 70.1 ms
aws.lambda.enhanced.response_duration{} 0.2 ms
aws.lambda.enhanced.runtime_overhead{} 4 ms
aws.lambda.enhanced.duration{} 0.1102 s
aws.lambda.enhanced.billed_duration{} 0.423 s
aws.lambda.enhanced.max_memory_used{} 84 MBy
aws.lambda.enhanced.memorysize{} 128 MBy
aws.lambda.enhanced.post_runtime_duration{} 34.9 ms
+ aws.lambda.enhanced.estimated_cost{} 1.08125e-06 {USD}`,
	}
	for names, want := range want {
		s := begin(platform.Config{Names: names, Region: "eu-west-1", Architecture: "amd64"})
		got := s.tell(initStart, initDone, initReport, start, `function "hello"`, runtimeDone, report)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("names %d:\n%s", names, diff)
		}
		if got := s.end(); got != "" {
			t.Errorf("the end tells it again: %s", got)
		}
	}
}

const (
	invoked      = "+ aws.lambda.invocations{faas.coldstart=true} 1 {invocation}\n+ faas.coldstarts{} 1 {coldstart}"
	again        = "+ aws.lambda.invocations{faas.coldstart=false} 1 {invocation}"
	succeeded    = "+ faas.invocations{} 1 {invocation}"
	wholeMessage = "aws.lambda.duration{} 0.1102 s"
)

func lines(parts ...string) string { return strings.Join(parts, "\n") }

func TestFailures(t *testing.T) {
	timeout := record("runtimeDone", `{'requestId':'id-1','status':'timeout',
		'metrics':{'durationMs':3000.0,'producedBytes':0}}`)
	killed := record("runtimeDone", `{'requestId':'id-1','status':'error','errorType':'Runtime.ExitError'}`)
	full := record("report", `{'requestId':'id-1','status':'error','errorType':'Runtime.ExitError',
		'metrics':{'memorySizeMB':128,'maxMemoryUsedMB':128}}`)
	failure := func(class string) string { return "+ faas.errors{error.type=" + class + "} 1 {error}" }
	memory := lines("faas.mem_usage{} 1.34218e+08 By", "aws.lambda.memory_size{} 1.34218e+08 By")
	tests := []struct {
		name   string
		events []string
		want   string
	}{
		{"an exception, which the platform calls a success", []string{start, "failed id-1 TypeError", runtimeDoneBare,
			reportBare},
			lines(invoked, failure("TypeError"), wholeMessage)},
		{"told three times", []string{start, "failed id-1 TypeError", "failed id-1", runtimeDoneBare, "failed id-1 X"},
			lines(invoked, failure("TypeError"))},
		{"without a class", []string{start, "failed id-1", reportBare}, lines(invoked, "+ faas.errors{} 1 {error}",
			wholeMessage)},
		{"another's error is not its own", []string{start, timeout, "failed id-2"}, lines(invoked, failure("timeout"),
			"+ faas.timeouts{} 1 {timeout}", "faas.invoke_duration{} 3 s", "aws.lambda.produced_bytes{} 0 By",
			"+ faas.errors{} 1 {error}")},
		{"before the start", []string{"failed id-1 E", start}, lines(failure("E"), invoked)},
		{"of nothing", []string{"failed  "}, ""},
		{"a timeout", []string{start, timeout, "failed id-1 E", reportTimeout}, lines(invoked, failure("timeout"),
			"+ faas.timeouts{} 1 {timeout}", "faas.invoke_duration{} 3 s", "aws.lambda.produced_bytes{} 0 By",
			"aws.lambda.duration{} 3.1 s", "aws.lambda.post_runtime_duration{} 0.1 s")},
		{"a crash", []string{start, killed}, lines(invoked, failure("Runtime.ExitError"))},
		{"a crash with all memory used", []string{start, killed, full}, lines(invoked, failure("Runtime.ExitError"),
			"+ aws.lambda.out_of_memory{} 1 {invocation}", memory)},
		{"all memory used without a crash", []string{start, strings.ReplaceAll(full, `"error",`, `"success",`)},
			lines(invoked, succeeded, memory)},
		{"an error of memory", []string{start, "failed id-1 java.lang.OutOfMemoryError", full}, lines(invoked,
			failure("java.lang.OutOfMemoryError"), "+ aws.lambda.out_of_memory{} 1 {invocation}", memory)},
		{"the platform's error of memory", []string{start, strings.ReplaceAll(killed, "ExitError", "OutOfMemory")},
			lines(invoked, failure("Runtime.OutOfMemory"), "+ aws.lambda.out_of_memory{} 1 {invocation}")},
		{"an initialization", []string{record("initRuntimeDone",
			`{'phase':'init','status':'error','errorType':'Runtime.ExitError'}`),
			record("initReport", `{'phase':'init','status':'error','errorType':'Runtime.ExitError',
				'metrics':{'durationMs':5}}`)},
			lines("+ aws.lambda.init_errors{error.type=Runtime.ExitError} 1 {error}", "faas.init_duration{} 0.005 s")},
		{"a fault", []string{record("fault", `'RequestId: x Error: Runtime exited'`)}, "+ aws.lambda.faults{} 1 {fault}"},
		{"an extension", []string{record("extension", `{'name':'x','state':'Ready','events':[]}`),
			record("extension", `{'name':'x','state':'Failed','errorType':'Extension.Crash'}`)},
			"+ aws.lambda.extension_errors{error.type=Extension.Crash,aws.lambda.extension=x} 1 {error}"},
		{"dropped records", []string{record("logsDropped", `{'droppedBytes':12345,'droppedRecords':123,'reason':'slow'}`)},
			lines("+ aws.lambda.logs.dropped_records{} 123 {record}", "+ aws.lambda.logs.dropped_bytes{} 12345 By")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, begin(platform.Config{}).tell(tt.events...)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

var (
	runtimeDoneBare = record("runtimeDone", `{'requestId':'id-1','status':'success'}`)
	reportTimeout   = record("report", `{'requestId':'id-1','status':'timeout','metrics':{'durationMs':3100}}`)
)

func TestOtherModes(t *testing.T) {
	managed := record("report", `{'requestId':'id-2','status':'success','metrics':{'durationMs':110.2},'spans':[
		{'name':'responseLatency','durationMs':108.0},{'name':'responseDuration','durationMs':0.4}]}`)
	start2 := strings.ReplaceAll(start, "id-1", "id-2")
	typed := func(event, kind string) string { return strings.ReplaceAll(event, "on-demand", kind) }
	tests := []struct {
		name   string
		config platform.Config
		events []string
		want   string
	}{
		{"managed instances", platform.Config{Managed: true}, []string{start, start2, managed,
			record("report", `{'requestId':'id-1','status':'timeout','metrics':{'durationMs':3000}}`)},
			lines(again, again, succeeded, wholeMessage, "faas.invoke_duration{} 0.1102 s",
				"aws.lambda.response_latency{} 0.108 s",
				"aws.lambda.response_duration{} 0.0004 s", "+ faas.errors{error.type=timeout} 1 {error}",
				"+ faas.timeouts{} 1 {timeout}", "aws.lambda.duration{} 3 s", "faas.invoke_duration{} 3 s")},
		{"a snapshot", platform.Config{}, []string{typed(initStart, "snap-start"), typed(initReport, "snap-start"),
			record("restoreStart", `{}`), record("restoreRuntimeDone", `{'status':'success'}`),
			record("restoreReport", `{'status':'success','metrics':{'durationMs':200.5}}`), start,
			record("report", `{'requestId':'id-1','status':'success','metrics':{'restoreDurationMs':200.5}}`)},
			lines("aws.lambda.restore_duration{} 0.2005 s", "+ aws.lambda.invocations{faas.coldstart=true} 1 {invocation}",
				"+ faas.coldstarts{aws.lambda.initialization_type=snap-start} 1 {coldstart}", succeeded)},
		{"a restore that failed", platform.Config{}, []string{
			record("restoreReport", `{'status':'failure','errorType':'Runtime.ExitError','metrics':{'durationMs':1}}`)},
			lines("+ aws.lambda.restore_errors{error.type=Runtime.ExitError} 1 {error}",
				"aws.lambda.restore_duration{} 0.001 s")},
		{"provisioned", platform.Config{Architecture: "arm64"}, []string{typed(initStart, "provisioned-concurrency"), start,
			record("report", `{'requestId':'id-1','metrics':{'billedDurationMs':1000,'memorySizeMB':1024}}`)},
			lines(again, succeeded, "aws.lambda.billed_duration{} 1 s", "aws.lambda.memory_size{} 1.07374e+09 By",
				"+ aws.lambda.estimated_cost{} 7.9778e-06 {USD}")},
		{"provisioned in a dear region", platform.Config{Architecture: "amd64", Region: "me-south-1"}, []string{
			typed(initStart, "provisioned-concurrency"), start,
			record("report", `{'requestId':'id-1','metrics':{'billedDurationMs':1000,'memorySizeMB':1024}}`)},
			lines(again, succeeded, "aws.lambda.billed_duration{} 1 s", "aws.lambda.memory_size{} 1.07374e+09 By",
				"+ aws.lambda.estimated_cost{} 1.23055e-05 {USD}")},
		{"a dear region", platform.Config{Architecture: "arm64", Region: "me-south-1"}, []string{start,
			record("report", `{'requestId':'id-1','metrics':{'billedDurationMs':1000,'memorySizeMB':1024}}`)},
			lines(invoked, succeeded, "aws.lambda.billed_duration{} 1 s", "aws.lambda.memory_size{} 1.07374e+09 By",
				"+ aws.lambda.estimated_cost{} 1.67834e-05 {USD}")},
		{"a report that comes late, and twice", platform.Config{}, []string{start, runtimeDoneBare, start2, reportBare,
			reportBare},
			lines(invoked, again, succeeded, wholeMessage)},
		{"a start that was lost", platform.Config{}, []string{runtimeDoneBare}, invoked},
		{"only the report's word", platform.Config{}, []string{
			record("report", `{'requestId':'id-1','metrics':{'initDurationMs':7,'restoreDurationMs':8}}`)},
			lines(invoked, succeeded, "faas.init_duration{} 0.007 s", "aws.lambda.restore_duration{} 0.008 s")},
		{"nonsense", platform.Config{}, []string{"start {}", "start", "report [1]", "runtimeDone 7", "initReport null",
			record("report", `{'requestId':7,'status':{},'metrics':{'durationMs':'x'},'spans':7}`), "other {}",
			record("initReport", `{'metrics':{'durationMs':-1}}`), "logsDropped {}"}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, begin(tt.config).tell(tt.events...)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// An environment may end before the last report, and many invocations may go on.
func TestEnd(t *testing.T) {
	s := begin(platform.Config{})
	s.tell(start, runtimeDoneBare, strings.ReplaceAll(start, "id-1", "id-2"))
	if got := s.end(); got != succeeded {
		t.Errorf("the end tells %q, want the one that was done", got)
	}
	s = begin(platform.Config{Managed: true})
	const all = 1000
	for i := range all {
		s.tell(strings.ReplaceAll(start, "id-1", strconv.Itoa(i)))
	}
	var points []string
	for i := range all {
		s.tell(strings.ReplaceAll(reportBare, "id-1", strconv.Itoa(i)))
		points = append(points, s.points...)
	}
	if n := strings.Count(strings.Join(points, "\n"), succeeded); n != all {
		t.Errorf("%d successes, want %d", n, all)
	}
}

func TestUsed(t *testing.T) {
	s := begin(platform.Config{Names: platform.Datadog})
	s.metrics.Used(&usage.Reading{
		Known:   math.MaxUint8,
		CPUUser: 30 * time.Millisecond, CPUSystem: 12 * time.Millisecond, Received: 100, Sent: 20, TempUsed: 5, TempFree: 7,
		MemoryUsed: 64 << 20, Processes: 3, Threads: 20, Descriptors: 33, OwnCPU: 1500 * time.Microsecond,
		OwnMemory: 12 << 20,
	}, at, s.note)
	want := lines("aws.lambda.enhanced.cpu_total_time{} 42 ms", "aws.lambda.enhanced.cpu_user_time{} 30 ms",
		"aws.lambda.enhanced.cpu_system_time{} 12 ms", "aws.lambda.enhanced.total_network{} 120 By",
		"aws.lambda.enhanced.rx_bytes{} 100 By", "aws.lambda.enhanced.tx_bytes{} 20 By",
		"aws.lambda.enhanced.tmp_used{} 5 By",
		"aws.lambda.enhanced.tmp_free{} 7 By", "aws.lambda.enhanced.memory_used{} 64 MBy",
		"aws.lambda.enhanced.threads_use{} 20 {thread}", "aws.lambda.enhanced.processes_use{} 3 {process}",
		"aws.lambda.enhanced.fd_use{} 33 {file_descriptor}", "slipstream.cpu_time{} 1.5 ms", "slipstream.memory{} 12 MBy")
	if diff := cmp.Diff(want, lines(s.points...)); diff != "" {
		t.Error(diff)
	}
	s.points = nil
	s.metrics.Used(&usage.Reading{TempUsed: 5}, at, s.note)
	if s.points != nil {
		t.Errorf("what is not known gives %s", s.points)
	}
}

func TestNames(t *testing.T) {
	for text, want := range map[string]platform.Names{"otel": 0, "cloudwatch": 1, "datadog": 2} {
		if n, err := platform.ParseNames(text); err != nil || n != want {
			t.Errorf("%s is %v, %v", text, n, err)
		}
	}
	if _, err := platform.ParseNames("x"); err == nil {
		t.Error("x is a set of names")
	}
}

func TestReference(t *testing.T) {
	const page = "../../docs/platform-metrics.md"
	if *update {
		if err := os.WriteFile(page, []byte(platform.Reference()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(have), platform.Reference()); diff != "" {
		t.Errorf("the page is not what the code says; run `go test ./process/platform -run Reference -update`:\n%s", diff)
	}
	if n := bytes.Count(have, []byte("| –")); n != 2 || bytes.Contains(have, []byte("|  |")) {
		t.Errorf("%d names are missing, want the two of successes; or a cell is empty", n)
	}
}
