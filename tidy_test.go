package slipstream_test

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// The limits of STYLE.md. Raising one needs a reason beside it.
const (
	maxColumns      = 120
	maxFileLines    = 800
	maxFuncLines    = 70
	maxTestLines    = 100
	maxBlobBytes    = 256 << 10
	maxExported     = 15
	exportedPerTest = "top-level functions, types, variables and const groups"
)

// badNames are package and file names that say nothing about what is inside.
var badNames = map[string]string{
	"util": "name it after the noun it works on", "utils": "name it after the noun it works on",
	"helper": "put the function beside its caller", "helpers": "put the function beside its caller",
	"common": "name the thing that is shared", "types": "put each type in the file of its noun",
	"misc": "split it by noun", "shared": "name the thing that is shared",
}

// badWords are left-overs and things that only hold on one machine. The
// patterns are spelled in pieces so that this file passes its own test.
var badWords = []struct {
	pattern *regexp.Regexp
	instead string
}{
	{regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X)\b`), "do it now, or open an issue"},
	{regexp.MustCompile(`\b[tb]\.Skip` + `(f|Now)?\(`), "let the test install what it needs, or judge what it can"},
	{regexp.MustCompile(`(^|[\s"'=(:])/(wo` + `rk|ro` + `ot|ho` + `me|Us` + `ers)/\w`),
		"no path of one machine: t.TempDir or a flag"},
	{regexp.MustCompile(`https?://[\w.-]*(artifact` + `ory|nexus|verdaccio|registry\.inter` + `nal)[\w.-]*`),
		"no registry's host: the ordinary clients know theirs"},
}

// binaries may be committed though they are not text, each for a reason.
var binaries = map[string]string{
	"wire/testdata/otlp.pb": "the golden bytes of OTLP protobuf, a few hundred",
}

func TestTidy(t *testing.T) {
	exported := map[string][]string{}
	documented := map[string]bool{}
	for _, name := range projectFiles(t) {
		src, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, problem := range judgeFile(name, src) {
			t.Error(problem)
		}
		if strings.HasSuffix(name, ".go") {
			noteFace(name, src, exported, documented)
		}
	}
	for dir, hasDoc := range documented {
		if !hasDoc {
			t.Errorf("%s: the package has no doc comment: start one file with "+
				"\"// Package NAME ...\" (\"// Command NAME ...\") that says when to use it", dir)
		}
	}
	for dir, names := range exported {
		if len(names) > maxExported {
			t.Errorf("%s: %d exported names (%s), at most %d: hide what only the package uses, or split it. Names: %s",
				dir, len(names), exportedPerTest, maxExported, strings.Join(names, " "))
		}
	}
}

// projectFiles lists every file of the tree that git does not ignore, found by
// walking so that the test also runs where there is no git.
func projectFiles(t *testing.T) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && slices.Contains([]string{".git", ".cache", "dist", "node_modules"}, d.Name()):
			return filepath.SkipDir
		case d.Type().IsRegular() && !strings.HasSuffix(name, ".test") && !strings.HasSuffix(name, ".out"):
			names = append(names, filepath.ToSlash(name))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// judgeFile gives every problem of one file as "where: what: what to do".
func judgeFile(name string, src []byte) []string {
	if reason := binaries[name]; reason == "" && (bytes.IndexByte(src, 0) >= 0 || !utf8.Valid(src)) {
		return []string{name + ": not text: build it in the test, or give its reason in binaries of tidy_test.go"}
	}
	var problems []string
	if len(src) > maxBlobBytes {
		problems = append(problems, fmt.Sprintf("%s: %d bytes, at most %d: generate it in the test, or cut it down",
			name, len(src), maxBlobBytes))
	}
	problems = append(problems, judgeName(name)...)
	problems = append(problems, judgeLines(name, src)...)
	if strings.HasSuffix(name, ".go") {
		problems = append(problems, judgeGo(name, src)...)
	}
	return problems
}

func judgeName(name string) []string {
	var problems []string
	for _, part := range strings.Split(name, "/") {
		stem, _, _ := strings.Cut(strings.TrimSuffix(strings.TrimSuffix(part, path.Ext(part)), "_test"), ".")
		if instead, bad := badNames[stem]; bad {
			problems = append(problems, fmt.Sprintf("%s: the name %q says nothing: %s", name, stem, instead))
		}
	}
	return problems
}

func judgeLines(name string, src []byte) []string {
	var problems []string
	lines := strings.Split(strings.TrimSuffix(string(src), "\n"), "\n")
	code := slices.Contains([]string{".go", ".sh", ".py", ".js", ".ts"}, path.Ext(name))
	if code && len(lines) > maxFileLines {
		problems = append(problems, fmt.Sprintf("%s: %d lines, at most %d: split it by noun",
			name, len(lines), maxFileLines))
	}
	for i, line := range lines {
		where := fmt.Sprintf("%s:%d", name, i+1)
		if columns := utf8.RuneCountInString(line); code && columns > maxColumns {
			problems = append(problems, fmt.Sprintf("%s: %d columns, at most %d: break the line",
				where, columns, maxColumns))
		}
		for _, word := range badWords {
			if hit := word.pattern.FindString(line); hit != "" {
				problems = append(problems, fmt.Sprintf("%s: %q: %s", where, strings.TrimSpace(hit), word.instead))
			}
		}
	}
	return problems
}

func judgeGo(name string, src []byte) []string {
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, name, src, parser.ParseComments)
	if err != nil {
		return []string{fmt.Sprintf("%s: does not parse: %v", name, err)}
	}
	var problems []string
	if formatted, err := format.Source(src); err == nil && !bytes.Equal(formatted, src) {
		problems = append(problems, name+": not formatted: run gofmt -w on it")
	}
	if instead, bad := badNames[file.Name.Name]; bad {
		problems = append(problems, fmt.Sprintf("%s: package %s: %s", name, file.Name.Name, instead))
	}
	limit := maxFuncLines
	if strings.HasSuffix(name, "_test.go") {
		limit = maxTestLines
	}
	for _, d := range file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok {
			continue
		}
		at := files.Position(f.Pos())
		if n := files.Position(f.End()).Line - at.Line + 1; n > limit {
			problems = append(problems, fmt.Sprintf("%s:%d: %s has %d lines, at most %d: give its parts names of their own",
				name, at.Line, f.Name.Name, n, limit))
		}
		if f.Recv == nil && f.Name.Name == "init" {
			problems = append(problems, fmt.Sprintf("%s:%d: init() runs before anyone asked: call a function from main or New",
				name, at.Line))
		}
	}
	return problems
}

// noteFace records a package's exported names and whether it has a doc comment.
func noteFace(name string, src []byte, exported map[string][]string, documented map[string]bool) {
	file, err := parser.ParseFile(token.NewFileSet(), name, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return // judgeFile says so
	}
	dir := path.Dir(name)
	if strings.HasSuffix(name, "_test.go") && dir != "." {
		return
	}
	documented[dir] = documented[dir] || isPackageDoc(file)
	if file.Name.Name == "main" || strings.HasSuffix(name, "_test.go") {
		return
	}
	for _, d := range file.Decls {
		exported[dir] = append(exported[dir], exportedBy(d)...)
	}
}

// isPackageDoc tells whether the file starts with a doc comment of Go's form.
func isPackageDoc(file *ast.File) bool {
	want := "Package " + file.Name.Name + " "
	if file.Name.Name == "main" {
		want = "Command "
	}
	return strings.HasPrefix(file.Doc.Text(), want)
}

func exportedBy(d ast.Decl) []string {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil && d.Name.IsExported() {
			return []string{d.Name.Name}
		}
	case *ast.GenDecl:
		var names []string
		for _, spec := range d.Specs {
			switch spec := spec.(type) {
			case *ast.TypeSpec:
				if spec.Name.IsExported() {
					names = append(names, spec.Name.Name)
				}
			case *ast.ValueSpec:
				if spec.Names[0].IsExported() && (d.Tok == token.VAR || len(names) == 0) {
					names = append(names, spec.Names[0].Name)
				}
			}
		}
		return names
	}
	return nil
}

// The judges themselves: each sample is wrong in one way and must be found.
func TestTidyCanFail(t *testing.T) {
	body := func(n int) string { return "package a\n\nfunc f() {\n" + strings.Repeat("\tf()\n", n) + "}\n" }
	tests := []struct{ name, file, src, want string }{
		{"good", "a/good.go", body(maxFuncLines - 2), ""},
		{"long function", "a/a.go", body(maxFuncLines), "f has 72 lines, at most 70"},
		{"tests may be longer", "a/a_test.go", body(maxFuncLines), ""},
		{"long test", "a/a_test.go", body(maxTestLines), "at most 100"},
		{"long file", "a/a.go", "package a\n" + strings.Repeat("\nvar _ = 0\n", 400), "801 lines, at most 800"},
		{"long line", "a/a.sh", strings.Repeat("x", maxColumns+1) + "\n", "a/a.sh:1: 121 columns"},
		{"runes, not bytes", "a/a.sh", strings.Repeat("─", maxColumns) + "\n", ""},
		{"prose may be long", "a/a.md", strings.Repeat("x", maxColumns+1) + "\n", ""},
		{"not formatted", "a/a.go", "package a\nvar  x = 0\n", "not formatted"},
		{"does not parse", "a/a.go", "package\n", "does not parse"},
		{"init", "a/a.go", "package a\n\nfunc init() {}\n", "init() runs before anyone asked"},
		{"a method init is none", "a/a.go", "package a\n\nfunc (t T) init() {}\n", ""},
		{"bad package", "a/a.go", "package util\n", "package util"},
		{"bad file", "a/helpers.go", "package a\n", `"helpers" says nothing`},
		{"bad test file", "a/helpers_test.go", "package a\n", `"helpers" says nothing`},
		{"bad folder", "common/a.go", "package a\n", `"common" says nothing`},
		{"left-over", "a/a.go", "package a\n\n// TO" + "DO: later\n", "open an issue"},
		{"skipped test", "a/a_test.go", "package a\n\nvar _ = t.Ski" + "p()\n", "install what it needs"},
		{"machine path", "a/a.md", "see /ho" + "me/me/x\n", "no path of one machine"},
		{"registry", "a/a.md", "https://artifact" + "ory.corp/x\n", "ordinary clients"},
		{"binary", "a/a.bin", "a\x00b", "not text"},
		{"blob", "a/a.json", strings.Repeat("x\n", maxBlobBytes/2+1), "at most 262144"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := strings.Join(judgeFile(tt.file, []byte(tt.src)), "\n")
			if tt.want == "" && got != "" || !strings.Contains(got, tt.want) || strings.Count(got, "\n") > 0 {
				t.Errorf("problems %q, want one with %q", got, tt.want)
			}
		})
	}
}

func TestTidyFaceCanFail(t *testing.T) {
	exported, documented := map[string][]string{}, map[string]bool{}
	noteFace("a/a.go", []byte("// Package b is not a.\npackage a\n\nconst (\n\tA = 1\n\tB = 2\n)\n\nvar C, d int\n"+
		"type E struct{}\n\nfunc (E) F() {}\n\nfunc G() {}\n"), exported, documented)
	noteFace("c/c.go", []byte("// Package c is for tests.\npackage c\n"), exported, documented)
	if got := strings.Join(exported["a"], ""); got != "ACEG" {
		t.Errorf("exported names %q, want ACEG: a const group counts once, methods do not", got)
	}
	if documented["a"] || !documented["c"] {
		t.Errorf("documented %v, want only c: a doc comment names its package", documented)
	}
}
