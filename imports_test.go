package slipstream_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// link is one module of which the extension links packages: how many, and what
// for. A package more, or a module more, is cold start and memory for every
// user: it needs its reason here first.
type link struct {
	module   string
	packages int
	reason   string
}

const extension = "./cmd/slipstream-extension"

// linked is what the extension for linux/amd64 consisted of on 2026-11-28, with
// Go 1.26. Of the standard library only what a program can import is counted:
// its inner packages change with each release of Go.
var linked = []link{
	{module, 54, "the extension itself"},
	{goYAML, 3, "the settings file: its scanner alone, 0.13 MB; it does nothing before a file is named"},
	{easyproto, 1, "OTLP: the answer's partial success, Wavefront's spans"},
	{sdk, 9, "S3: the signature, nothing else: no client, no configuration, no credential chain"},
	{"github.com/aws/smithy-go", 19, "what the signature of " + sdk + " drags in"},
	{jx, 2, "records and answers in JSON, without reflection"},
	{"github.com/go-faster/errors", 1, "imported by " + jx},
	{"github.com/segmentio/asm", 7, "imported by " + jx},
	{xsys, 1, "imported by github.com/segmentio/asm: what the CPU can do"},
	{compress, 14, "gzip, zstd and snappy of what is sent and stored, and zlib of what OTLP's clients send"},
	{standard, 92, "HTTP with TLS is most of it; regexp is for the patterns that users write"},
}

// standard stands for the standard library.
const standard = "the standard library"

func TestExtensionImports(t *testing.T) {
	t.Setenv("GOOS", "linux")
	t.Setenv("GOARCH", "amd64")
	t.Setenv("CGO_ENABLED", "0")
	for _, problem := range judgeLinked(linked, goList(t, "-deps", extension)) {
		t.Error(problem)
	}
}

// judgeLinked gives one line for each module that links another number of
// packages than the table says.
func judgeLinked(table []link, packages []pkg) []string {
	found := map[string][]string{}
	for _, p := range packages {
		from := standard
		switch {
		case !p.Standard && p.Module != nil:
			from = p.Module.Path
		case slices.Contains(strings.Split(p.ImportPath, "/"), "internal") || strings.HasPrefix(p.ImportPath, "vendor/"):
			continue
		}
		found[from] = append(found[from], p.ImportPath)
	}
	var problems []string
	for _, l := range table {
		names := found[l.module]
		delete(found, l.module)
		switch {
		case len(names) > l.packages:
			problems = append(problems, fmt.Sprintf("the extension links %d packages of %s, stated are %d: take the new one "+
				"out, or state the number and why in imports_test.go. Linked: %s",
				len(names), l.module, l.packages, strings.Join(names, " ")))
		case len(names) < l.packages:
			problems = append(problems, fmt.Sprintf("the extension links %d packages of %s, stated are %d: state the "+
				"lower number in imports_test.go, so that it stays", len(names), l.module, l.packages))
		}
	}
	for _, from := range slices.Sorted(maps.Keys(found)) {
		problems = append(problems, fmt.Sprintf("the extension links a new module, %s (%s): every user pays for it "+
			"at each cold start; take it out, or give it a row with its reason in imports_test.go",
			from, strings.Join(found[from], " ")))
	}
	return problems
}

func TestExtensionImportsCanFail(t *testing.T) {
	table := []link{{jx, 2, ""}, {standard, 1, ""}}
	of := func(path, from string) pkg {
		p := pkg{ImportPath: path, Standard: from == standard}
		if !p.Standard {
			p.Module = &struct{ Path string }{from}
		}
		return p
	}
	good := []pkg{of(jx, jx), of(jx+"/internal", jx), of("time", standard)}
	tests := []struct {
		name     string
		packages []pkg
		want     string
	}{
		{"as stated", good, ""},
		{"a module more", append(slices.Clone(good), of(goCmp+"/cmp", goCmp)), "links a new module, " + goCmp},
		{"a package more", append(slices.Clone(good), of(jx+"/more", jx)), "links 3 packages of " + jx},
		{"a package less", good[1:], "state the lower number"},
		{"one more of the standard library", append(slices.Clone(good), of("html", standard)),
			"links 2 packages of " + standard},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := strings.Join(judgeLinked(table, tt.packages), "\n")
			if tt.want == "" && got != "" || !strings.Contains(got, tt.want) || strings.Count(got, "\n") > 0 {
				t.Errorf("problems %q, want one with %q", got, tt.want)
			}
		})
	}
}
