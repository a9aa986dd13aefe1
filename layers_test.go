// Package slipstream_test holds the architecture and the style as tests: which
// package may import which, and what every file must look like.
package slipstream_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "slipstream"

// row says what the packages at and below prefix may import besides the
// standard library. The longest prefix that fits a package is its row, so a
// folder's row is the rule for a new package in it.
type row struct {
	prefix  string   // below the module, "" for the root
	project []string // project packages, each with all below it; "=" before one: it alone
	modules []string // modules of others
	tests   []string // what tests may import beyond that: project packages or modules
}

// layers is the architecture. Dependencies point down: cmd → edge, emulator →
// intake, process, rollup, destination → wire → telemetry. Stations and steps
// never import each other: only package edge composes them.
var layers = []row{
	{prefix: ""},
	{prefix: "telemetry"},
	{prefix: "wire", project: []string{"telemetry"}, modules: []string{jx}, tests: []string{otel, protobuf, "wire/lines"}},
	{prefix: "wire/lines", project: []string{"telemetry"}, modules: []string{jx}},
	{prefix: "wire/forwarded"},
	{prefix: "process", project: []string{"telemetry", "wire", "process"}, modules: []string{jx},
		tests: []string{"bench/lines"}},
	{prefix: "process/match", project: []string{"telemetry"}, modules: []string{jx}},
	{prefix: "process/filter", project: []string{"telemetry", "process/match"}, tests: []string{"process/parse"}},
	{prefix: "process/rate", project: []string{"telemetry", "process/match"}, tests: []string{"process/parse"}},
	{prefix: "process/sample", project: []string{"telemetry", "process/frame", "wire"}, modules: []string{jx}},
	{prefix: "process/redact", project: []string{"process/jsonview"}, tests: []string{"test/secrets"}},
	{prefix: "rollup", project: []string{"telemetry", "wire"}, tests: []string{"test/exported", otel, protobuf}},
	{prefix: "wire/metrics", project: []string{"telemetry"}, modules: []string{easyproto},
		tests: []string{"test/exported", "wire", otel, protobuf}},
	// What lines mean is a language of its own, and JSON is read where it lies: neither knows a record.
	{prefix: "process/jsonview"},
	{prefix: "process/pattern", project: []string{"process/jsonview"}},
	{prefix: "process/logmetric", project: []string{"telemetry", "process/jsonview", "process/pattern"}},
	{prefix: "process/platform", project: []string{"telemetry", "process/jsonview"}},
	// A walk that reads numbers, and the formats that are made of a whole batch of exports.
	{prefix: "wire/otlpread", project: []string{"telemetry"}, modules: []string{easyproto},
		tests: []string{"test/exported", otel, protobuf}},
	// Its quantiles are judged after a rollup, as they come.
	{prefix: "wire/wavefront", project: []string{"telemetry", "=wire", "wire/otlpread"},
		tests: []string{"intake/wavefront", "rollup", "test/exported", otel, protobuf}},
	{prefix: "wire/prometheus", project: []string{"telemetry", "=wire", "wire/otlpread"},
		tests: []string{"test/exported", otel, protobuf}},
	{prefix: "wire/statsd", project: []string{"telemetry", "=wire", "wire/otlpread"},
		tests: []string{"intake/statsd", "test/exported", otel}},
	{prefix: "wire/emf", project: []string{"telemetry", "=wire", "wire/otlpread"},
		tests: []string{"test/exported", otel}},
	{prefix: "intake", project: []string{"telemetry"}},
	{prefix: "intake/wavefront", project: []string{"telemetry", "wire"}, modules: []string{easyproto, jx},
		tests: []string{otel, protobuf, wavefrontSDK}},
	{prefix: "intake/otlp", project: []string{"telemetry", "wire"}, modules: []string{compress},
		tests: []string{otel, protobuf, grpcGo, genprotoRPC}},
	// It keeps requests as they are: nothing of records, only the form that its destination reads.
	{prefix: "intake/forward", project: []string{"telemetry", "wire/forwarded"}},
	{prefix: "intake/handoff", project: []string{"telemetry"}, tests: []string{"handoff"}},
	// What functions link: it knows of the edge only what goes over the wire.
	{prefix: "handoff", tests: []string{"intake/handoff", "telemetry"}},
	{prefix: "intake/statsd", project: []string{"telemetry", "wire"}, modules: []string{easyproto},
		tests: []string{otel, protobuf, datadogStatsD, cactusStatsD}},

	// One backend never knows another one: what they share is in package destination. They are
	// given finished bytes; jx and easyproto are for the servers' answers.
	{prefix: "destination", project: []string{"=destination"}},
	// Region, endpoint, credentials and signing of every AWS service.
	{prefix: "destination/awsauth", project: []string{"=destination"}, modules: []string{sdk, jx}},
	// Secrets that AWS keeps, and a destination that is made of them.
	{prefix: "destination/secret", project: []string{"=destination", "destination/awsauth"}, modules: []string{sdk},
		tests: []string{"destination/conformance", "destination/https", "test/servers"}},
	{prefix: "destination/s3", project: []string{"=destination", "destination/awsauth"}, modules: []string{sdk},
		tests: []string{"destination/conformance", "test/servers"}},
	{prefix: "destination/firehose", project: []string{"=destination", "destination/awsauth"}, modules: []string{sdk, jx},
		tests: []string{"destination/conformance", "test/servers", sdkFirehose}},
	{prefix: "destination/https", project: []string{"=destination"}, tests: []string{"destination/conformance"}},
	{prefix: "destination/otlp", project: []string{"=destination"}, modules: []string{easyproto, jx},
		tests: []string{"destination/conformance", "test/servers", "telemetry", "wire"}},
	{prefix: "destination/prometheus", project: []string{"=destination"},
		tests: []string{"destination/conformance", "test/exported", "test/servers/metrics", "wire/prometheus", otel}},
	{prefix: "destination/wavefront", project: []string{"=destination"}, modules: []string{compress},
		tests: []string{"destination/conformance", "intake/wavefront", "telemetry", "wire"}},
	{prefix: "destination/statsd", project: []string{"=destination"},
		tests: []string{"destination/conformance", "test/servers/metrics"}},
	{prefix: "destination/stdout", project: []string{"=destination"}, tests: []string{"destination/conformance"}},
	{prefix: "destination/file", project: []string{"=destination"}, tests: []string{"destination/conformance"}},
	// Its tests are the whole lane, from an agent to a collector.
	{prefix: "destination/forward", project: []string{"=destination", "wire/forwarded"},
		tests: []string{"destination/conformance", "test/servers", "intake/forward", "telemetry"}},
	// Only tests import it, so it may do what tests do.
	{prefix: "destination/conformance", project: []string{"=destination"}, modules: []string{goleak}},

	{prefix: "edge", project: []string{"edge", "intake", "process", "rollup", "destination", "wire", "telemetry"}},
	{prefix: "edge/behind"},
	{prefix: "edge/configfile", modules: []string{goYAML}, tests: []string{yamlV3}},
	{prefix: "edge/lambda"},
	{prefix: "edge/buffer", project: []string{"telemetry", "wire"}, modules: []string{compress},
		tests: []string{"process/frame", "process/sample"}},
	{prefix: "edge/flush"},
	{prefix: "edge/spool", project: []string{"=destination"}},

	// The emulator judges the edge, so it shares nothing with it, not even a type.
	{prefix: "emulator", project: []string{"emulator"}, tests: []string{sdk, sdkCredentials, sdkLambda}},
	{prefix: "emulator/runtimeapi"},
	{prefix: "emulator/extensionsapi"},
	{prefix: "emulator/telemetryapi", project: []string{"emulator/fault"}},
	{prefix: "emulator/invokeapi", tests: []string{sdk, sdkCredentials, sdkLambda}},
	{prefix: "emulator/sandbox", modules: []string{xsys}},
	{prefix: "emulator/fault"},
	{prefix: "emulator/client", project: []string{"emulator"}},
	{prefix: "emulator/account", project: []string{"emulator"}},

	{prefix: "deploy"},
	// Its queries are tried with what the extension would send.
	{prefix: "deploy/dashboards", tests: []string{"=destination", "destination/prometheus", "process/platform", "rollup",
		"telemetry", "test/servers/metrics", "wire"}},
	{prefix: "demo", project: []string{"demo", "deploy", "emulator"}},
	{prefix: "demo/functions", project: []string{"demo/functions"}, modules: []string{lambdaGo}},
	{prefix: "demo/objects", modules: []string{compress, sdk, sdkCredentials, sdkS3}},
	// Of the edge, what a configuration amounts to: edge.Inspect.
	{prefix: "cmd/slipstream", project: []string{"=edge", "emulator", "demo", "deploy", "tail", "telemetry"},
		modules: []string{xsys}},
	// The other end of a destination, for people: it reads what the extension writes.
	{prefix: "tail", project: []string{"telemetry", "wire", "intake/otlp"}, modules: []string{compress},
		tests: []string{"rollup", "destination", "process/platform"}},
	{prefix: "cmd/slipstream-extension", project: []string{"edge"}},

	{prefix: "bench", project: []string{"bench", "emulator", "deploy", "demo/objects", "test/servers"}},
	{prefix: "bench/ingest", project: []string{"bench", "telemetry", "wire"}},
	{prefix: "bench/sample", project: []string{"bench/figure", "bench/lines", "process", "telemetry", "wire"}},
	{prefix: "bench/emptyextension"},
	{prefix: "bench/figure"},
	{prefix: "bench/handoff", project: []string{"bench/figure", "deploy/layer", "edge/behind", "handoff",
		"intake/handoff", "telemetry"}},
	{prefix: "bench/lines"},
	{prefix: "bench/leaks", project: []string{"bench/figure", "process/redact", "test/secrets"}},
	{prefix: "bench/process", project: []string{"bench/figure", "bench/pipeline", "bench/replay", "process"}},
	{prefix: "bench/collisions", project: []string{"bench/figure", "deploy/layer", "emulator", "test/servers"}},
	{prefix: "bench/collisions/writer", modules: []string{lambdaGo}},
	{prefix: "bench/rollup", project: []string{"bench/figure", "rollup", "telemetry", "wire/metrics"}},
	{prefix: "bench/function", project: []string{"bench/lines"}, modules: []string{lambdaGo}},

	// What is tested here is the programs, from outside: nothing of the edge is imported.
	{prefix: "test", project: []string{"test", "emulator", "deploy"}},
	{prefix: "test/endtoend/sender", project: []string{"handoff"}, modules: []string{lambdaGo}},
	{prefix: "test/endtoend/planter", project: []string{"handoff", "test/secrets"}, modules: []string{lambdaGo}},
	{prefix: "test/endtoend/writer", modules: []string{lambdaGo}},
	{prefix: "test/sdk/instrumented", modules: []string{lambdaGo, otel}},
	// Its own judge of what a secret is: it shares nothing with process/redact.
	{prefix: "test/secrets"},
	// Metrics as others' messages: what it reads back is checked as the extension checks it.
	{prefix: "test/exported", project: []string{"telemetry", "=wire"}, modules: []string{otel, protobuf}},
	{prefix: "test/install"},
	{prefix: "test/loggers", tests: []string{"process/parse", "telemetry", "test/install"}},
	{prefix: "test/servers/metrics", project: []string{"=test/servers"}},
	{prefix: "test/servers", modules: []string{sdk, sdkCredentials, sdkS3, sdkFirehose}},
	// What real libraries write is read by the step itself: there is no wire in between.
	{prefix: "test/emf", project: []string{"test/install"}, tests: []string{"process/logmetric", "telemetry"}},
	// The simulated platform shares nothing with the emulator, nor with the edge's client of it.
	{prefix: "test/sim", tests: []string{"edge", "destination", "process/sample", "telemetry", "wire"}},
}

const (
	easyproto      = "github.com/VictoriaMetrics/easyproto"
	jx             = "github.com/go-faster/jx"
	compress       = "github.com/klauspost/compress"
	goYAML         = "github.com/goccy/go-yaml"
	yamlV3         = "go.yaml.in/yaml/v3"
	sdk            = "github.com/aws/aws-sdk-go-v2"
	sdkCredentials = "github.com/aws/aws-sdk-go-v2/credentials"
	sdkS3          = "github.com/aws/aws-sdk-go-v2/service/s3"
	sdkFirehose    = "github.com/aws/aws-sdk-go-v2/service/firehose"
	sdkLambda      = "github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdaGo       = "github.com/aws/aws-lambda-go"
	xsys           = "golang.org/x/sys"
	otel           = "go.opentelemetry.io/"
	protobuf       = "google.golang.org/protobuf"
	grpcGo         = "google.golang.org/grpc"
	genprotoRPC    = "google.golang.org/genproto/googleapis/rpc"
	testscript     = "github.com/rogpeppe/go-internal"
	wavefrontSDK   = "github.com/wavefronthq/wavefront-sdk-go"
	goCmp          = "github.com/google/go-cmp"
	goleak         = "go.uber.org/goleak"
	datadogStatsD  = "github.com/DataDog/datadog-go/v5"
	cactusStatsD   = "github.com/cactus/go-statsd-client/v5"
)

// everyTest may be imported by the tests of any package.
var everyTest = []string{goCmp, goleak, testscript, compress}

// pkg is what `go list -json` tells of a package.
type pkg struct {
	ImportPath                         string
	Standard                           bool
	Module                             *struct{ Path string }
	Imports, TestImports, XTestImports []string
}

func TestLayers(t *testing.T) {
	modules := moduleOf(goList(t, "-deps", "-test", "./..."))
	for _, p := range goList(t, "./...") {
		for _, problem := range judge(layers, p, modules) {
			t.Error(problem)
		}
	}
}

// judge gives one line for each import of p that its row does not allow.
func judge(table []row, p pkg, modules map[string]string) []string {
	name := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
	r, ok := rowOf(table, name)
	if !ok {
		return []string{fmt.Sprintf("package %s has no row in the import table: add one to layers in layers_test.go "+
			"that says what it may import, and the folder to ARCHITECTURE.md", p.ImportPath)}
	}
	var problems []string
	check := func(imports, projects, others []string, where string) {
		for _, imported := range imports {
			if allowed(imported, name, projects, others, modules) {
				continue
			}
			problems = append(problems, fmt.Sprintf("%s%s imports %s, which row %q of layers_test.go does not allow: "+
				"move the code to where it may, or change the architecture there and say why",
				p.ImportPath, where, imported, r.prefix))
		}
	}
	check(p.Imports, r.project, r.modules, "")
	withTests := slices.Concat(r.modules, r.tests, everyTest)
	check(slices.Concat(p.TestImports, p.XTestImports), slices.Concat(r.project, r.tests), withTests, " (tests)")
	return problems
}

// allowed tells whether package name may import imported.
func allowed(imported, name string, projects, others []string, modules map[string]string) bool {
	from, known := modules[imported]
	switch {
	case !known || imported == "C": // the standard library
		return imported != "C"
	case from != module:
		return slices.ContainsFunc(others, func(m string) bool {
			return from == m || strings.HasSuffix(m, "/") && strings.HasPrefix(from, m)
		})
	}
	below := strings.TrimPrefix(imported, module+"/")
	if below == name { // a test of a package outside it
		return true
	}
	return slices.ContainsFunc(projects, func(prefix string) bool {
		alone, only := strings.CutPrefix(prefix, "=")
		return below == alone || !only && within(below, prefix)
	})
}

// rowOf gives the row with the longest prefix that fits.
func rowOf(table []row, name string) (row, bool) {
	best, found := row{}, false
	for _, r := range table {
		if fits := r.prefix == name || r.prefix != "" && within(name, r.prefix); !fits {
			continue
		}
		if !found || len(r.prefix) > len(best.prefix) {
			best, found = r, true
		}
	}
	return best, found
}

// within tells whether the package is prefix or below it.
func within(name, prefix string) bool {
	return name == prefix || strings.HasPrefix(name, prefix+"/")
}

// moduleOf maps every package that is not the standard library's to its module.
func moduleOf(packages []pkg) map[string]string {
	modules := map[string]string{"C": "C"}
	for _, p := range packages {
		if path, _, _ := strings.Cut(p.ImportPath, " "); p.Module != nil {
			modules[path] = p.Module.Path
		}
	}
	return modules
}

func goList(t *testing.T, args ...string) []pkg {
	t.Helper()
	fields := "-json=ImportPath,Standard,Module,Imports,TestImports,XTestImports"
	out, err := exec.Command("go", append([]string{"list", "-e", fields}, args...)...).Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, exit.Stderr)
		}
		t.Fatalf("go list %s: %v", strings.Join(args, " "), err)
	}
	var packages []pkg
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatalf("go list %s: %v", strings.Join(args, " "), err)
		}
		packages = append(packages, p)
	}
}

// The judge itself: each row here is an import that must be refused or allowed.
func TestLayersCanFail(t *testing.T) {
	modules := map[string]string{
		"slipstream/edge/lambda": module, "slipstream/emulator/fault": module, "slipstream/wire": module,
		"slipstream/emulator": module, "slipstream/nowhere": module, "slipstream/destination/s3": module,
		"github.com/go-faster/jx": jx, "github.com/google/go-cmp/cmp": goCmp,
	}
	tests := []struct {
		name string
		p    pkg
		want string // part of the one problem, "" for none
	}{
		{"a package without a row", pkg{ImportPath: "slipstream/nowhere"}, "has no row in the import table"},
		{"the standard library", pkg{ImportPath: "slipstream/telemetry", Imports: []string{"time"}}, ""},
		{"telemetry takes nothing else", pkg{ImportPath: "slipstream/telemetry", Imports: []string{jx}}, "imports " + jx},
		{"but its tests may compare", pkg{ImportPath: "slipstream/telemetry",
			TestImports: []string{"github.com/google/go-cmp/cmp"}}, ""},
		{"the emulator knows no edge", pkg{ImportPath: "slipstream/emulator/sandbox",
			Imports: []string{"slipstream/edge/lambda"}}, `row "emulator/sandbox"`},
		{"nor do its tests", pkg{ImportPath: "slipstream/emulator",
			XTestImports: []string{"slipstream/edge/lambda"}}, "(tests) imports slipstream/edge/lambda"},
		{"a part never imports the whole", pkg{ImportPath: "slipstream/emulator/fault",
			Imports: []string{"slipstream/emulator"}}, "imports slipstream/emulator,"},
		{"one backend never imports another", pkg{ImportPath: "slipstream/destination/file",
			Imports: []string{"slipstream/destination/s3"}}, `row "destination/file"`},
		{"a test outside a package imports it", pkg{ImportPath: "slipstream/destination/s3",
			XTestImports: []string{"slipstream/destination/s3"}}, ""},
		{"steps are composed by edge only", pkg{ImportPath: "slipstream/edge/flush",
			Imports: []string{"slipstream/edge/lambda"}}, `row "edge/flush"`},
		{"no C", pkg{ImportPath: "slipstream/edge", Imports: []string{"C"}}, "imports C"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := strings.Join(judge(layers, tt.p, modules), "\n")
			if tt.want == "" && got != "" || !strings.Contains(got, tt.want) || strings.Count(got, "\n") > 0 {
				t.Errorf("problems %q, want one with %q", got, tt.want)
			}
		})
	}
}
