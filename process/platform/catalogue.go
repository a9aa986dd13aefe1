package platform

import (
	"fmt"
	"strings"

	"slipstream/telemetry"
)

// Names says by whose names metrics go.
type Names uint8

// The names: OpenTelemetry's conventions for FaaS, in seconds and bytes, and in
// their style what they lack; CloudWatch's, as the console shows them; Datadog's
// enhanced metrics. Where one has no name for a thing, it has one in the same style.
const (
	OTel Names = iota
	CloudWatch
	Datadog
)

// ParseNames reads otel, cloudwatch or datadog.
func ParseNames(text string) (Names, error) {
	for n, name := range [...]string{OTel: "otel", CloudWatch: "cloudwatch", Datadog: "datadog"} {
		if text == name {
			return Names(n), nil
		}
	}
	return OTel, fmt.Errorf("%q is none of otel, cloudwatch and datadog", text)
}

// metric is one of what is measured, an index of the catalogue.
type metric uint8

const (
	successes metric = iota
	invocations
	failures
	timeouts
	outOfMemory
	coldStarts
	initFailures
	restoreFailures
	extensionFailures
	faults
	initDuration
	restoreDuration
	runtimeDuration
	duration
	billedDuration
	postRuntimeDuration
	responseLatency
	responseDuration
	runtimeOverhead
	producedBytes
	memoryUsed
	memorySize
	estimatedCost
	droppedRecords
	droppedBytes
	cpuTime
	cpuUser
	cpuSystem
	networkTotal
	received
	sent
	tempUsed
	tempFree
	sandboxMemory
	threads
	processes
	descriptors
	ownCPU
	ownMemory
	metrics // how many there are
)

// naming is a metric's name, unit in UCUM, and what a value in seconds, bytes or
// pieces is multiplied by.
type naming struct {
	name, unit string
	scale      float64
}

// entry is a metric by all names. An empty name is not sent.
type entry struct {
	kind    telemetry.PointKind
	names   [3]naming
	meaning string
}

// Scales of values.
const (
	millis = 1e3
	mega   = 1.0 / (1 << 20)
)

func seconds(name string) naming      { return naming{name, "s", 1} }
func milliseconds(name string) naming { return naming{name, "ms", millis} }
func bytesOf(name string) naming      { return naming{name, "By", 1} }
func megabytes(name string) naming    { return naming{name, "MBy", mega} }
func pieces(name, unit string) naming { return naming{name, unit, 1} }

// count is a counter that has one unit by all names.
func count(unit, otel, cloudwatch, datadog, meaning string) entry {
	return entry{telemetry.Counter, [3]naming{pieces(otel, unit), pieces(cloudwatch, unit), pieces(datadog, unit)},
		meaning}
}

// measure is a distribution or a gauge.
func measure(kind telemetry.PointKind, otel, cloudwatch, datadog naming, meaning string) entry {
	return entry{kind, [3]naming{otel, cloudwatch, datadog}, meaning}
}

// catalogue has every metric. Sources: OpenTelemetry's semantic conventions for FaaS
// metrics; CloudWatch's AWS/Lambda and LambdaInsights; Datadog's aws.lambda.enhanced.
func catalogue() (c [metrics]entry) {
	fillCounters(&c)
	fillMeasures(&c)
	fillUsage(&c)
	return c
}

// fillCounters names what is counted.
func fillCounters(c *[metrics]entry) {
	c[successes] = count("{invocation}", "faas.invocations", "", "",
		"invocations that went well, told when their report is there")
	c[invocations] = count("{invocation}", "aws.lambda.invocations", "Invocations", dd+"invocations",
		"invocations that began")
	c[failures] = count("{error}", "faas.errors", "Errors", dd+"errors",
		"invocations that failed: an exception of the function, a crash, a timeout")
	c[timeouts] = count("{timeout}", "faas.timeouts", "Timeouts", dd+"timeouts", "invocations that ran out of time")
	c[outOfMemory] = count("{invocation}", "aws.lambda.out_of_memory", "OutOfMemory", dd+"out_of_memory",
		"invocations that failed for want of memory, as far as their error or their report tell")
	c[coldStarts] = count("{coldstart}", "faas.coldstarts", "ColdStarts", dd+"cold_starts",
		"environments whose first invocation had to wait for them")
	c[initFailures] = count("{error}", "aws.lambda.init_errors", "InitErrors", dd+"init_errors",
		"initializations that failed")
	c[restoreFailures] = count("{error}", "aws.lambda.restore_errors", "RestoreErrors", dd+"restore_errors",
		"restores that failed")
	c[extensionFailures] = count("{error}", "aws.lambda.extension_errors", "ExtensionErrors", dd+"extension_errors",
		"extensions that reported an error")
	c[faults] = count("{fault}", "aws.lambda.faults", "Faults", dd+"faults", "faults of the older Logs API")
	c[estimatedCost] = count("{USD}", "aws.lambda.estimated_cost", "EstimatedCost", dd+"estimated_cost",
		"what an invocation costs by the price list of "+pricesOf+", an estimate")
	c[droppedRecords] = count("{record}", "aws.lambda.logs.dropped_records", "LogRecordsDropped", dd+"log_records_dropped",
		"records that the platform dropped because we were too slow")
	c[droppedBytes] = measure(telemetry.Counter, bytesOf("aws.lambda.logs.dropped_bytes"), bytesOf("LogBytesDropped"),
		bytesOf(dd+"log_bytes_dropped"), "and their bytes")
}

// How values go together, in short.
const (
	d = telemetry.Distribution
	g = telemetry.Gauge
)

// fillMeasures names what is measured of an invocation.
func fillMeasures(c *[metrics]entry) {
	c[initDuration] = measure(d, seconds("faas.init_duration"), milliseconds("InitDuration"), seconds(dd+"init_duration"),
		"one initialization")
	c[restoreDuration] = measure(d, seconds("aws.lambda.restore_duration"), milliseconds("RestoreDuration"),
		seconds(dd+"restore_duration"), "one restore from a snapshot")
	c[runtimeDuration] = measure(d, seconds("faas.invoke_duration"), milliseconds("RuntimeDuration"),
		milliseconds(dd+"runtime_duration"), "the function's and its runtime's part of an invocation")
	c[duration] = measure(d, seconds("aws.lambda.duration"), milliseconds("Duration"), seconds(dd+"duration"),
		"a whole invocation, with what extensions added")
	c[billedDuration] = measure(d, seconds("aws.lambda.billed_duration"), milliseconds("BilledDuration"),
		seconds(dd+"billed_duration"), "what of an invocation is paid for")
	c[postRuntimeDuration] = measure(d, seconds("aws.lambda.post_runtime_duration"),
		milliseconds("PostRuntimeExtensionsDuration"),
		milliseconds(dd+"post_runtime_duration"), "what extensions added after the runtime was done")
	c[responseLatency] = measure(d, seconds("aws.lambda.response_latency"), milliseconds("ResponseLatency"),
		milliseconds(dd+"response_latency"), "until the first byte of the response")
	c[responseDuration] = measure(d, seconds("aws.lambda.response_duration"), milliseconds("ResponseDuration"),
		milliseconds(dd+"response_duration"), "from the response's first byte to its last one")
	c[runtimeOverhead] = measure(d, seconds("aws.lambda.runtime_overhead"), milliseconds("RuntimeOverhead"),
		milliseconds(dd+"runtime_overhead"), "from the response to the runtime's next request")
	c[producedBytes] = measure(d, bytesOf("aws.lambda.produced_bytes"), bytesOf("ProducedBytes"),
		bytesOf(dd+"produced_bytes"),
		"the response's size")
	c[memoryUsed] = measure(d, bytesOf("faas.mem_usage"), megabytes("MaxMemoryUsed"), megabytes(dd+"max_memory_used"),
		"the most memory that was used since the environment began")
	c[memorySize] = measure(g, bytesOf("aws.lambda.memory_size"), megabytes("MemorySize"), megabytes(dd+"memorysize"),
		"the memory that the function has")
}

// fillUsage names what is read of the environment.
func fillUsage(c *[metrics]entry) {
	c[cpuTime] = measure(d, seconds("faas.cpu_usage"), milliseconds("cpu_total_time"), milliseconds(dd+"cpu_total_time"),
		"CPU time of the environment since the last reading")
	c[cpuUser] = measure(d, seconds("aws.lambda.cpu.user"), milliseconds("cpu_user_time"),
		milliseconds(dd+"cpu_user_time"),
		"of it in programs")
	c[cpuSystem] = measure(d, seconds("aws.lambda.cpu.system"), milliseconds("cpu_system_time"),
		milliseconds(dd+"cpu_system_time"), "of it in the kernel")
	c[networkTotal] = measure(d, bytesOf("faas.net_io"), bytesOf("total_network"), bytesOf(dd+"total_network"),
		"bytes over the network since the last reading")
	c[received] = measure(d, bytesOf("aws.lambda.network.received"), bytesOf("rx_bytes"), bytesOf(dd+"rx_bytes"),
		"of them received")
	c[sent] = measure(d, bytesOf("aws.lambda.network.sent"), bytesOf("tx_bytes"), bytesOf(dd+"tx_bytes"), "of them sent")
	c[tempUsed] = measure(g, bytesOf("aws.lambda.tmp.used"), bytesOf("tmp_used"), bytesOf(dd+"tmp_used"),
		"what is used of /tmp")
	c[tempFree] = measure(g, bytesOf("aws.lambda.tmp.free"), bytesOf("tmp_free"), bytesOf(dd+"tmp_free"),
		"what is free of /tmp")
	c[sandboxMemory] = measure(g, bytesOf("aws.lambda.memory.used"), megabytes("used_memory"), megabytes(dd+"memory_used"),
		"memory in use at the reading")
	c[threads] = measure(g, pieces("aws.lambda.threads", "{thread}"), pieces("threads_use", "{thread}"),
		pieces(dd+"threads_use", "{thread}"), "threads of the environment")
	c[processes] = measure(g, pieces("aws.lambda.processes", "{process}"), pieces("processes_use", "{process}"),
		pieces(dd+"processes_use", "{process}"), "processes of the environment")
	c[descriptors] = measure(g, pieces("aws.lambda.file_descriptors", "{file_descriptor}"), pieces("fd_use",
		"{file_descriptor}"),
		pieces(dd+"fd_use", "{file_descriptor}"), "open files and sockets of the environment")
	c[ownCPU] = measure(d, seconds("slipstream.cpu_usage"), milliseconds("slipstream_cpu_time"),
		milliseconds("slipstream.cpu_time"),
		"the extension's own part of the CPU time")
	c[ownMemory] = measure(g, bytesOf("slipstream.mem_usage"), megabytes("slipstream_memory"),
		megabytes("slipstream.memory"),
		"the extension's own resident memory")
}

// dd is what Datadog's names begin with.
const dd = "aws.lambda.enhanced."

// Reference is the page of documentation about all metrics, in Markdown.
func Reference() string {
	var b strings.Builder
	b.WriteString("# Metrics of the platform and the environment\n\nMade of the code in `process/platform`. " +
		"Units are UCUM's. A counter's points add up; `–` is not sent.\n\n" +
		"| meaning | kind | otel | cloudwatch | datadog |\n|---|---|---|---|---|\n")
	kinds := map[telemetry.PointKind]string{telemetry.Counter: "counter", telemetry.Gauge: "gauge",
		telemetry.Distribution: "distribution"}
	for _, e := range catalogue() {
		fmt.Fprintf(&b, "| %s | %s |", e.meaning, kinds[e.kind])
		for _, n := range e.names {
			if n.name == "" {
				b.WriteString(" – |")
			} else {
				fmt.Fprintf(&b, " `%s` %s |", n.name, n.unit)
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}
