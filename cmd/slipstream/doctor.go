package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"slipstream/edge"
)

const doctorSynopsis = `doctor [--config FILE] [--env FILE] [--resolve] [--json]

Tells what the extension would make of the settings here: their values and sources, where records would go, what is
wrong. Secrets are not shown. It reads the variables of this process, or those of a file, and changes nothing.
The exit code is 1 when there is an error.`

// resolveTime bounds how long --resolve waits for AWS.
const resolveTime = 15 * time.Second

// runDoctor says what a configuration amounts to.
func runDoctor(ctx context.Context, args []string, stdout, _ io.Writer) error {
	flags := flag.NewFlagSet("doctor", flag.ContinueOnError)
	config := flags.String("config", "", "take settings from `FILE`, as with SLIPSTREAM_CONFIG_FILE")
	env := flags.String("env", "", "take the variables from `FILE`, lines of NAME=VALUE, instead of this process's")
	resolve := flags.Bool("resolve", false, "ask AWS for the secrets that are referred to, with the credentials here")
	asJSON := flags.Bool("json", false, "print JSON")
	if err := parse(flags, doctorSynopsis, args, stdout); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return usageError{fmt.Errorf("%q is no flag", flags.Arg(0))}
	}
	environment, err := variablesOf(*env)
	if err != nil {
		return usageError{err}
	}
	if *config != "" {
		environment["SLIPSTREAM_CONFIG_FILE"] = *config
	}
	ctx, cancel := context.WithTimeout(ctx, resolveTime)
	defer cancel()
	in := edge.Inspect(ctx, environment, *resolve)
	if *asJSON {
		text, err := json.MarshalIndent(in, "", "  ")
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(stdout, "%s\n", text)
		return errors.Join(err, errorsIn(in))
	}
	_, err = io.WriteString(stdout, doctorText(in))
	return errors.Join(err, errorsIn(in))
}

// errorsIn is an error if the configuration has any.
func errorsIn(in edge.Inspection) error {
	n := 0
	for _, p := range in.Problems {
		if p.Error {
			n++
		}
	}
	switch n {
	case 0:
		return nil
	case 1:
		return errors.New("there is an error in the configuration")
	}
	return fmt.Errorf("there are %d errors in the configuration", n)
}

// variablesOf reads a file of variables: NAME=VALUE, a # before a comment, a
// value in quotes or not. Without a file it gives this process's.
func variablesOf(path string) (map[string]string, error) {
	environment := map[string]string{}
	if path == "" {
		for _, pair := range os.Environ() {
			name, value, _ := strings.Cut(pair, "=")
			environment[name] = value
		}
		return environment, nil
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("--env: %w", err)
	}
	line := 0
	for text := range bytes.Lines(content) {
		line++
		pair := strings.TrimPrefix(strings.TrimSpace(string(text)), "export ")
		if pair == "" || pair[0] == '#' {
			continue
		}
		name, value, ok := strings.Cut(pair, "=")
		if !ok || name == "" || strings.ContainsAny(name, " \t'\"") { // the line may be a part of a secret
			return nil, fmt.Errorf("--env %s:%d: not NAME=VALUE", path, line)
		}
		if n := len(value); n > 1 && value[0] == value[n-1] && strings.IndexByte(`'"`, value[0]) >= 0 {
			value = value[1 : n-1]
		}
		environment[name] = value
	}
	return environment, nil
}

// doctorText is the inspection for a screen: at most wide columns where words
// allow.
func doctorText(in edge.Inspection) string {
	var b strings.Builder
	b.WriteString("Settings\n")
	columns(&b, in.Settings)
	b.WriteString("\nDestinations\n")
	if len(in.Lanes) == 0 {
		b.WriteString("  none: nothing would be collected\n")
	}
	for _, l := range in.Lanes {
		lane(&b, l)
	}
	b.WriteString("\nLocal listeners\n")
	if len(in.Listeners) == 0 {
		b.WriteString("  none\n")
	}
	pairs(&b, in.Listeners)
	if len(in.Secrets) > 0 {
		b.WriteString("\nSecrets\n")
		short := slices.Clone(in.Secrets)
		for i := range short {
			short[i].Value, _, _ = strings.Cut(short[i].Value, ":") // why it failed stands among the problems
		}
		columns(&b, short)
	}
	b.WriteString("\nProblems\n")
	if len(in.Problems) == 0 {
		b.WriteString("  none\n")
	}
	for _, p := range in.Problems {
		kind := "warning  "
		if p.Error {
			kind = "error    "
		}
		hanging(&b, "  "+kind, p.Text)
	}
	return b.String()
}

const (
	wide      = 100
	mostValue = 36 // columns of a value that still stands beside its source
)

// columns prints name, value and source side by side. A value that is too long
// for that comes in lines of its own.
func columns(b *strings.Builder, all []edge.Setting) {
	name, value := 0, 0
	for _, s := range all {
		name = max(name, columnsOf(shortName(s.Name)))
		if n := columnsOf(s.Value); n <= mostValue {
			value = max(value, n)
		}
	}
	for _, s := range all {
		shown, below := s.Value, []string(nil)
		switch {
		case shown == "":
			shown = "-"
		case columnsOf(shown) > mostValue:
			shown, below = "", listed(shown)
		}
		label := shortName(s.Name)
		fmt.Fprintf(b, "  %s  %s  %s\n", padded(label, name), padded(shown, value), s.Source)
		for _, line := range below {
			fmt.Fprintf(b, "    %s\n", line)
		}
	}
}

func columnsOf(text string) int { return utf8.RuneCountInString(text) }

func padded(text string, columns int) string {
	return text + strings.Repeat(" ", max(columns-columnsOf(text), 0))
}

// shortName is a setting as the file calls it; other variables keep their names.
func shortName(name string) string {
	if own, ok := strings.CutPrefix(name, "SLIPSTREAM_"); ok {
		return strings.ToLower(own)
	}
	return name
}

// listed is a long value in lines: each URL of a list by itself, each option of
// one that is too wide, too; other text is broken at its spaces.
func listed(value string) []string {
	if !strings.Contains(value, "://") {
		return broken(value, wide-4)
	}
	var lines []string
	for _, u := range strings.Split(value, ",") {
		if columnsOf(u) > wide-4 {
			u = strings.NewReplacer("?", "\n  ?", "&", "\n  &").Replace(u)
		}
		lines = append(lines, strings.Split(u, "\n")...)
	}
	return lines
}

// lane prints one way out: its name, then what it does.
func lane(b *strings.Builder, l edge.Lane) {
	fmt.Fprintf(b, "  %s\n", l.Destination)
	types := "every type"
	if len(l.Types) > 0 {
		types = strings.Join(l.Types, ", ")
	}
	compression := l.Compression
	if compression == "none" {
		compression = "not compressed"
	}
	hanging(b, "    what     ", fmt.Sprintf("%s; %s, %s", types, l.ContentType, compression))
	invokes := ""
	if l.BatchInvokes > 0 {
		invokes = fmt.Sprintf(", %d invocations", l.BatchInvokes)
	}
	hanging(b, "    batch    ", fmt.Sprintf("closes at %s%s or %s", size(l.BatchBytes), invokes, l.BatchAge))
	hanging(b, "    memory   ", fmt.Sprintf("%s; %d at once", size(l.BufferBytes), l.Sends))
	if l.Fallback != "" {
		hanging(b, "    fallback ", l.Fallback)
	}
}

// size is a number of bytes for people.
func size(bytes int) string {
	switch {
	case bytes >= 1<<20 && bytes%(1<<18) == 0:
		return fmt.Sprintf("%g MiB", float64(bytes)/(1<<20))
	case bytes >= 1<<10:
		return fmt.Sprintf("%d KiB", (bytes+512)/(1<<10))
	}
	return fmt.Sprintf("%d bytes", bytes)
}

// pairs prints names and values in two columns.
func pairs(b *strings.Builder, all []edge.Setting) {
	name := 0
	for _, s := range all {
		name = max(name, len(s.Name))
	}
	for _, s := range all {
		fmt.Fprintf(b, "  %-*s  %s\n", name, s.Name, s.Value)
	}
}

// hanging prints a text behind its label, broken at spaces, its other lines
// below the first.
func hanging(b *strings.Builder, label, text string) {
	lines := broken(text, wide-len(label))
	fmt.Fprintf(b, "%s%s\n", label, lines[0])
	for _, line := range lines[1:] {
		fmt.Fprintf(b, "%s%s\n", strings.Repeat(" ", len(label)), line)
	}
}

// broken cuts a text at spaces into lines of at most width, where words allow.
func broken(text string, width int) []string {
	lines := []string{""}
	for word := range strings.FieldsSeq(text) {
		last := &lines[len(lines)-1]
		switch {
		case *last == "":
			*last = word
		case columnsOf(*last)+1+columnsOf(word) <= width:
			*last += " " + word
		default:
			lines = append(lines, word)
		}
	}
	return lines
}
