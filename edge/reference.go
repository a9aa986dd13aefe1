package edge

import (
	"fmt"
	"strings"
)

//go:generate go test . -run Reference -update

// Reference is docs/configuration.md, made from the tables that the extension
// itself reads. `go test ./edge -run Reference -update` rewrites the page.
func Reference() string {
	var b strings.Builder
	b.WriteString("# Configuration of the extension\n\n" +
		"<!-- Generated from edge/variables.go and edge/destinations.go; edit there. -->\n\n" +
		"Set these as environment variables of the function. A value that cannot be used is one line in the log, " +
		"and the default is taken.\n\n" +
		"| variable | default | meaning |\n|---|---|---|\n")
	for _, v := range variables {
		value := "–"
		if v.value != "" {
			value = "`" + v.value + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", strings.ReplaceAll(v.name, ", ", "`, `"), value, escapeCell(v.doc))
	}
	b.WriteString("\n## Destinations\n\n" +
		"A destination is a URL. Options are its query parameters; `${env:NAME}` anywhere in it stands for the " +
		"variable NAME.\n\n" +
		"| URL | what it is |\n|---|---|\n")
	for _, s := range schemes {
		fmt.Fprintf(&b, "| `%s` | %s |\n", s.example, escapeCell(s.doc))
	}
	b.WriteString("\n| option | for | default | meaning |\n|---|---|---|---|\n")
	for _, o := range options {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", o.name, o.where, o.value, escapeCell(o.doc))
	}
	return b.String()
}

func escapeCell(s string) string { return strings.ReplaceAll(s, "|", "\\|") }
