package figure

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Commands make the kept results, from the top of the tree.
const Commands = "make figures"

// tableRow is one line of the README's table. Its figures stand in one cell,
// with a slash between them.
type tableRow struct {
	what    string
	figures []string
	max     bool     // the worst case of the last figure stands there too
	empty   []string // the same of the empty extension
	others  string   // measured of seven others, as it was noted
}

// tableRows is the README's table. What others do was measured on 2026-11-20:
// seven open-source extensions with their default settings, in an emulated
// environment on one machine with 2 cores, medians, the range of the seven. The
// empty Go extension took 4.1 ms to its first next there; the multiples are
// the range divided by that.
var tableRows = []tableRow{
	{"exec to the first `next`", []string{"start"}, false, []string{"start_empty"}, "6.1–35.7 ms"},
	{"the same, as a multiple of the empty extension's", []string{"start_ratio"}, false, nil, "1.5–8.7 x"},
	{"CPU until then", []string{"start_cpu"}, false, []string{"start_cpu_empty"}, "4.7–32.7 ms"},
	{"binary, stripped", []string{"binary_size"}, false, nil, ""},
	{"layer, zipped", []string{"layer_size"}, false, nil, ""},

	{"50 × 100 lines: lost / doubled", []string{"50x100/s3/lines_lost", "50x100/s3/lines_doubled"}, false, nil,
		"0–1,156 lost"},
	{"time added after the runtime is done, p50 / p99 / max", []string{"50x100/s3/added_p50", "50x100/s3/added_p99"},
		true, []string{"50x100/empty/added_p50", "50x100/empty/added_p99"}, "p50 0–1,007 ms, max 0.5–1,010 ms"},
	{"peak memory", []string{"50x100/s3/peak_memory"}, false, []string{"50x100/empty/peak_memory"}, "17–38 MB"},
	{"CPU for 1,000 lines, start included", []string{"50x100/s3/cpu_per_1000_lines"}, false,
		[]string{"50x100/empty/cpu_per_1000_lines"}, "12–37 ms"},
	{"stored for 1,000 lines", []string{"50x100/s3/bytes_per_1000_lines"}, false, nil, ""},

	{"1 × 100,000 lines: lost / doubled", []string{"1x100000/s3/lines_lost", "1x100000/s3/lines_doubled"}, false, nil,
		"0–92,091 lost"},
	{"until all of it is in S3", []string{"1x100000/s3/elapsed"}, false, nil, "1,200–12,500 ms"},
	{"Telemetry API to S3, function and emulator included", []string{"1x100000/s3/throughput"}, false, nil, ""},
	{"peak memory", []string{"1x100000/s3/peak_memory"}, false, nil, "21–208 MB"},
	{"CPU for 1,000 lines", []string{"1x100000/s3/cpu_per_1000_lines"}, false, nil, "3.3–11.7 ms"},
	{"stored for 1,000 lines", []string{"1x100000/s3/bytes_per_1000_lines"}, false, nil, "up to 500 kB sent"},

	{"a destination that takes 5 ms and gets 2 batches an invocation: lost / doubled",
		[]string{"sending/s3/lines_lost", "sending/s3/lines_doubled"}, false, nil, ""},
	{"time added, p50 / p99 / max", []string{"sending/s3/added_p50", "sending/s3/added_p99"}, true,
		[]string{"sending/empty/added_p50", "sending/empty/added_p99"}, ""},
	{"a destination that hangs, strategy `end`: added once, until that is known", []string{"hanging_end/s3/first_hold"},
		false, nil, "3,000–10,000 ms"},
	{"time added then, p99 / max", []string{"hanging_end/s3/added_p99"}, true, []string{"hanging_end/empty/added_p99"},
		""},
	{"the response, as a multiple of the empty extension's", []string{"hanging_end/s3/response_ratio"}, false, nil, ""},
	{"nobody listens for the first half: lost / doubled", []string{"refused/s3/lines_lost", "refused/s3/lines_doubled"},
		false, nil, "most lose what they held"},
	{"503 for the first half: lost / doubled", []string{"failing/s3/lines_lost", "failing/s3/lines_doubled"}, false, nil,
		""},
	{"kill -9, exits, timeouts and out of memory at random moments", []string{"drill/ends"}, false, nil, ""},
	{"lines taken before / lost / doubled", []string{"drill/lines_taken", "drill/lines_lost", "drill/lines_doubled"},
		false, nil, "10–20 % lost"},
	{"128 MB, 0.07 vCPU: Init", []string{"128MB/s3/init"}, false, []string{"128MB/empty/init"}, ""},
	{"time added, p50 / p99 / max", []string{"128MB/s3/added_p50", "128MB/s3/added_p99"}, true,
		[]string{"128MB/empty/added_p50", "128MB/empty/added_p99"}, ""},

	{"local listeners that nobody uses: added to the start", []string{"usual/start_more"}, false, nil, ""},
	{"their memory", []string{"usual/memory_more"}, false, nil, ""},
	{"CPU for an OTLP log record / a StatsD packet, in and out", []string{"otlp/cpu_per_record", "statsd/cpu_per_record"},
		false, nil, ""},

	{"secrets planted in logs, JSON, headers and queries / left after redaction", []string{"planted", "leaks"}, false, nil,
		""},
	{"redaction of ordinary text / JSON, for each second of CPU", []string{"redact/text/throughput",
		"redact/json/throughput"}, false, nil, ""},
	{"CPU with the default policy, as a multiple of that without redaction and parsing", []string{"policy/cpu_ratio"},
		false, nil, ""},
	{"all of failed invocations and 1 % of the others: bytes left, without / with all platform events",
		[]string{"whole/volume", "with_platform/volume"}, false, nil, ""},
	{"lines and spans of failed ones lost / records that the counts miss", []string{"whole/failed_lines_lost",
		"whole/counts_off"}, false, nil, ""},

	{"25 values a second from 4 environments: overwritten the naive way / lost by StatsD to Prometheus / by EMF to " +
		"Wavefront", []string{"naive/values_overwritten", "prometheus/statsd/values_lost", "wavefront/emf/values_lost"},
		false, nil, ""},
	{"their median / 99th percentile in Prometheus: error", []string{"prometheus/statsd/p50_error",
		"prometheus/statsd/p99_error"}, false, nil, ""},
	{"CPU for a point that is rolled up: counter / gauge / distribution / set", []string{"counter/insert_cost",
		"gauge/insert_cost", "distribution/insert_cost", "set/insert_cost"}, false, nil, ""},
	{"memory of a series, counter / distribution", []string{"counter/memory", "distribution/memory"}, false, nil, ""},

	{"the extension alone: prepared posts to a folder", []string{"replay/file/throughput"}, false, nil, ""},
	{"the same, for each second of CPU", []string{"replay/file/throughput_per_cpu"}, false, nil, ""},
}

// Table is the README's table of figures, in Markdown. A figure that was not
// measured is an error.
func Table(reports []Report) (string, error) {
	var b strings.Builder
	b.WriteString("| | Slipstream | goal | an empty Go extension | seven existing extensions |\n|---|---|---|---|---|\n")
	for _, row := range tableRows {
		ours, err := cell(reports, row.figures, row.max)
		if err != nil {
			return "", fmt.Errorf("row %q: %w", row.what, err)
		}
		empty, err := cell(reports, row.empty, row.max)
		if err != nil {
			return "", fmt.Errorf("row %q: %w", row.what, err)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", row.what, ours, goalsCell(row.figures), empty, row.others)
	}
	b.WriteString("\n")
	for _, r := range reports {
		fmt.Fprintf(&b, "`go run ./bench/%s`: %s, %s; other programs used %.0f %% of the CPU meanwhile.\n",
			r.Program, r.Date, r.Machine, r.Others)
	}
	b.WriteString("Medians. Lines have about 200 bytes; MB/s counts their text only. The S3 server and the " +
		"empty extension run on the same machine\nand in the same run. The others were measured on 2026-11-20 with their " +
		"default settings, in an emulated environment on one machine\nwith 2 cores, where the empty extension needed " +
		"4.1 ms to its first `next`, 1.8 ms of CPU for 1,000\nlines and 7.2 MB: compare orders of magnitude, not " +
		"milliseconds.\n")
	return b.String(), nil
}

// cell is the values of some figures of one unit: "0 / 2.40 ms".
func cell(reports []Report, names []string, worst bool) (string, error) {
	var parts []string
	var last Figure
	for _, name := range names {
		f, ok := find(reports, name)
		if !ok {
			return "", fmt.Errorf("figure %s is not among the kept results: run %s", name, Commands)
		}
		parts, last = append(parts, short(f.Value)), f
	}
	if len(parts) == 0 {
		return "", nil
	}
	if worst {
		parts = append(parts, short(last.Max))
	}
	return strings.Join(parts, " / ") + " " + last.Unit, nil
}

func find(reports []Report, name string) (Figure, bool) {
	for _, r := range reports {
		if i := slices.IndexFunc(r.Figures, func(f Figure) bool { return f.Name == name }); i >= 0 {
			return r.Figures[i], true
		}
	}
	return Figure{}, false
}

// goalsCell is the goals of a cell's figures: one for all if they are the same.
func goalsCell(names []string) string {
	var goals []string
	for _, name := range names {
		if goal := goalCell(name); goal != "" {
			goals = append(goals, goal)
		}
	}
	return strings.Join(slices.Compact(goals), " / ")
}

func goalCell(name string) string {
	goal, ok := GoalOf(name)
	if !ok {
		return ""
	}
	text := "≤ " + strconv.FormatFloat(goal.AtMost, 'f', -1, 64)
	if goal.AtMost == 0 {
		text = "0"
	}
	if goal.Aim != 0 {
		text += ", aim " + strconv.FormatFloat(goal.Aim, 'f', -1, 64)
	}
	return text
}
