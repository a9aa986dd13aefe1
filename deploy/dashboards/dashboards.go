// Package dashboards builds the dashboards that show what the extension sends.
// Use Functions for Grafana on Prometheus; the JSON beside this file is the same,
// to be imported by hand. All names of metrics stand here, once.
//
// Prometheus' rate and increase do not see what a series counted before its first
// sample: for environments that live short, start Prometheus with
// --enable-feature=created-timestamp-zero-ingestion.
package dashboards

import (
	"encoding/json"
	"fmt"
	"strings"
)

//go:generate go test . -run UpToDate -update

// names are the metrics in Prometheus' words, by what queries call them.
var names = map[string]string{
	"invocations": "aws_lambda_invocations_total",
	"errors":      "faas_errors_total",
	"timeouts":    "faas_timeouts_total",
	"outOfMemory": "aws_lambda_out_of_memory_total",
	"coldStarts":  "faas_coldstarts_total",
	"duration":    "aws_lambda_duration_seconds",
	"billed":      "aws_lambda_billed_duration_seconds",
	"invoke":      "faas_invoke_duration_seconds",
	"init":        "faas_init_duration_seconds",
	"overhead":    "aws_lambda_post_runtime_duration_seconds",
	"memory":      "faas_mem_usage_bytes",
	"memorySize":  "aws_lambda_memory_size_bytes",
	"cost":        "aws_lambda_estimated_cost_total",
	"dropped":     "aws_lambda_logs_dropped_records_total",
	"cpu":         "faas_cpu_usage_seconds",
	"network":     "faas_net_io_bytes",
	"temp":        "aws_lambda_tmp_used_bytes",
	"ownCPU":      "slipstream_cpu_usage_seconds",
	"ownMemory":   "slipstream_mem_usage_bytes",
}

// of is the choice at the dashboard's top.
const of = `{job=~"$function"}`

// panel is one picture. In its queries a name in <> is one of names.
type panel struct {
	title, kind, unit string // kind and unit are Grafana's words
	width             int    // of 24
	about             string
	queries           []query
}

type query struct{ expr, legend string }

// increase is how much a counter rose in the dashboard's range, in all.
func increase(name string) string { return "sum(increase(<" + name + ">" + of + "[$__range]))" }

// rate is a counter's rate, by function.
func rate(name string) string {
	return "sum by (job) (rate(<" + name + ">" + of + "[$__rate_interval]))"
}

// quantile is of a native histogram, by function.
func quantile(q, name string) string {
	return "histogram_quantile(" + q + ", sum by (job) (rate(<" + name + ">" + of + "[$__rate_interval])))"
}

// sums is what a distribution's values add up to in a second, by function.
func sums(name string) string {
	return "histogram_sum(sum by (job) (rate(<" + name + ">" + of + "[$__rate_interval])))"
}

// highest is the highest value of a gauge, by function.
func highest(name string) string { return "max by (job) (<" + name + ">" + of + ")" }

var percentiles = []struct{ quantile, legend string }{{"0.5", "p50"}, {"0.95", "p95"}, {"0.99", "p99"}}

// ofDuration gives a query for each percentile.
func ofDuration(name string) (list []query) {
	for _, p := range percentiles {
		list = append(list, query{quantile(p.quantile, name), "{{job}} " + p.legend})
	}
	return list
}

// panels is the dashboard, from left to right and down.
var panels = []panel{
	{"Invocations", "stat", "short", 4, "In the range above.", []query{{increase("invocations"), ""}}},
	{"Errors", "stat", "short", 4, "Of the function and its runtime, timeouts among them.",
		[]query{{increase("errors"), ""}}},
	{"Error rate", "stat", "percentunit", 4, "Errors of all invocations.",
		[]query{{increase("errors") + " / " + increase("invocations"), ""}}},
	{"Execution time", "stat", "s", 4, "The durations of all invocations together.",
		[]query{{"histogram_sum(sum(increase(<duration>" + of + "[$__range])))", ""}}},
	{"Cold starts", "stat", "short", 4, "", []query{{increase("coldStarts"), ""}}},
	{"Estimated cost", "stat", "currencyUSD", 4, "Of requests and billed time, by list prices.",
		[]query{{increase("cost"), ""}}},
	{"Invocations by function", "timeseries", "reqps", 12, "", []query{{rate("invocations"), "{{job}}"}}},
	{"Errors by function", "timeseries", "reqps", 12, "", []query{{rate("errors"), "{{job}}"}}},
	{"Duration", "timeseries", "s", 12, "What the platform reports.", ofDuration("duration")},
	{"Duration of the runtime", "timeseries", "s", 12, "Of the function alone.", ofDuration("invoke")},
	{"Cold starts by function", "timeseries", "reqps", 8, "", []query{{rate("coldStarts"), "{{job}}"}}},
	{"Duration of Init", "timeseries", "s", 8, "", ofDuration("init")},
	{"Timeouts and out of memory", "timeseries", "reqps", 8, "", []query{
		{rate("timeouts"), "{{job}} timeouts"}, {rate("outOfMemory"), "{{job}} out of memory"}}},
	{"Memory", "timeseries", "bytes", 8, "The most that an invocation used, and what the function has.", []query{
		{quantile("1", "memory"), "{{job}} used"}, {highest("memorySize"), "{{job}} configured"}}},
	{"Billed of a second", "timeseries", "s", 8, "Billed time in a second, by function.",
		[]query{{sums("billed"), "{{job}}"}}},
	{"Cost of an hour", "timeseries", "currencyUSD", 8, "", []query{{"3600 * " + rate("cost"), "{{job}}"}}},
	{"Extensions' overhead", "timeseries", "s", 12, "From the end of the runtime to the end of the invocation.",
		ofDuration("overhead")},
	{"Dropped records", "timeseries", "short", 12, "What the platform could not hand over.",
		[]query{{rate("dropped"), "{{job}}"}}},
	{"CPU", "timeseries", "s", 6, "CPU time in a second: all environments of a function, and the extension's part of it.",
		[]query{{sums("cpu"), "{{job}}"}, {sums("ownCPU"), "{{job}} extension"}}},
	{"Network", "timeseries", "Bps", 6, "Received and sent, of all environments.", []query{{sums("network"), "{{job}}"}}},
	{"/tmp", "timeseries", "bytes", 6, "What the fullest environment has in it.", []query{{highest("temp"), "{{job}}"}}},
	{"Extension's memory", "timeseries", "bytes", 6, "Resident, of the largest.",
		[]query{{highest("ownMemory"), "{{job}}"}}},
}

// Functions is the dashboard of functions, as Grafana imports it.
func Functions() ([]byte, error) {
	var list []map[string]any
	x, y, height := 0, 0, 0
	for i, p := range panels {
		if x+p.width > 24 {
			x, y, height = 0, y+height, 0
		}
		high := 8
		if p.kind == "stat" {
			high = 4
		}
		height = max(height, high)
		var targets []map[string]any
		for j, q := range p.queries {
			expr, err := named(q.expr)
			if err != nil {
				return nil, fmt.Errorf("panel %q: %w", p.title, err)
			}
			targets = append(targets, map[string]any{"refId": string(rune('A' + j)), "expr": expr, "legendFormat": q.legend,
				"datasource": source, "range": p.kind != "stat", "instant": p.kind == "stat"})
		}
		list = append(list, map[string]any{"id": i + 1, "title": p.title, "type": p.kind, "description": p.about,
			"datasource": source, "targets": targets, "gridPos": map[string]int{"x": x, "y": y, "w": p.width, "h": high},
			"fieldConfig": map[string]any{"defaults": map[string]any{"unit": p.unit}, "overrides": []any{}}})
		x += p.width
	}
	functions, err := named("label_values(<invocations>, job)")
	if err != nil {
		return nil, err
	}
	text, err := json.MarshalIndent(map[string]any{
		"title": "Lambda functions", "uid": "slipstream-functions", "tags": []string{"aws-lambda", "slipstream"},
		"schemaVersion": 39, "editable": true, "time": map[string]string{"from": "now-3h", "to": "now"}, "refresh": "1m",
		"panels": list, "annotations": map[string]any{"list": []any{}},
		"templating": map[string]any{"list": []map[string]any{
			{"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Data source"},
			{"name": "function", "type": "query", "label": "Function", "datasource": source, "query": functions,
				"definition": functions, "refresh": 2, "multi": true, "includeAll": true, "allValue": ".+",
				"current": map[string]any{"text": "All", "value": "$__all"}},
		}},
	}, "", " ")
	return append(text, '\n'), err
}

// source is Prometheus, as chosen at the dashboard's top.
var source = map[string]string{"type": "prometheus", "uid": "${datasource}"}

// named puts the names into a query.
func named(expr string) (string, error) {
	for name, metric := range names {
		expr = strings.ReplaceAll(expr, "<"+name+">", metric)
	}
	if strings.Contains(expr, "<") {
		return "", fmt.Errorf("%s: a name that is not in the table", expr)
	}
	return expr, nil
}
